"""The fault suite: ``python -m tests.faults`` kills what can be killed and counts what is left."""
