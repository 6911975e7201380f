"""How a run row is written inside the transaction of its feature."""
