"""Several hosts on one machine, joined by a network that is cut: ``pytest -m hosts``, as root."""
