"""Features that stand on other packages; nothing else of numflow_django imports these modules."""
