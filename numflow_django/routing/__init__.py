"""Turns folders into URL patterns: methods, paths and routes."""
