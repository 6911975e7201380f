"""The run row, written inside the transaction of the feature."""
