"""The context that steps and async tasks share, and its tagged JSON."""

from .context import Author, Context, Record, TaskInfo, freeze, read_ahead, thaw

__all__ = ["Author", "Context", "Record", "TaskInfo", "freeze", "read_ahead", "thaw"]
