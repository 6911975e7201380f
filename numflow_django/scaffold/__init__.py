"""``manage.py startfeature``: plan, render, verify and write a new feature."""
