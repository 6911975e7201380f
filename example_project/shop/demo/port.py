"""A port of this machine for the web server."""

import socket

HOST = "127.0.0.1"
#: Where Django's own server listens: an address that people know.
FAMILIAR = 8000


class PortTaken(Exception):
    """The port that was asked for is not to be had."""


def choose_port(wanted: int | None) -> int:
    """Give *wanted*, or raise PortTaken; without a wish 8000 if it is free, else one that the system chooses."""
    if wanted is not None:
        try:
            return _bind(wanted)
        except (OSError, OverflowError) as error:
            raise PortTaken(
                f"Port {wanted} is not free ({error}). Name another one with --port, or leave --port out: then the "
                "demo finds a free one."
            ) from error
    try:
        return _bind(FAMILIAR)
    except OSError:
        return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as listener:
        # As the web server does: a port that only has connections in TIME_WAIT is free
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        bound: int = listener.getsockname()[1]
        return bound
