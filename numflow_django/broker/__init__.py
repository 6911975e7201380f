"""Redis and RQ: everything of theirs that we touch outside of the worker."""
