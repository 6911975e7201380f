"""Text for people: suggestions in messages, redaction, snapshots of values, tracebacks and the console."""
