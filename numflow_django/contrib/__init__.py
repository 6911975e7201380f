"""Views that need other packages; no other module of numflow_django imports them."""
