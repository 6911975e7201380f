"""The request to stop: this process finishes the current task and releases its run."""


class Stop:
    """Whether this process was asked to stop."""

    requested = False


def request_stop() -> None:
    """Ask to release the run after the current task. It is safe to call this from a signal handler."""
    Stop.requested = True
