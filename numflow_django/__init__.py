"""Feature-first requests for Django."""
