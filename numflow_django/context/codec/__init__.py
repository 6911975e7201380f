"""
Tagged JSON: turns Python values into JSON and back into equal values, without pickle.

A JSON value is stored unchanged. Everything else is an object ``{"$": <tag>, ...}``; a dict that itself has a key
``"$"`` is wrapped, so that no user data looks like a tag. A model instance is stored as a reference, and read from its
database again.
"""

from .decoder import Instances, decode, fetch_instances
from .encoder import MAX_DEPTH, MAX_INT_BITS, encode

__all__ = ["MAX_DEPTH", "MAX_INT_BITS", "Instances", "decode", "encode", "fetch_instances"]
