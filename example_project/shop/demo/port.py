"""Finds a free port for the web server."""

import socket

HOST = "127.0.0.1"
#: The address of Django's own server, which people know.
FAMILIAR = 8000
#: With this number, the system chooses a free port.
ANY = 0


class PortTaken(Exception):
    """The requested port is not free."""


def ports_to_try(wanted: int | None) -> list[int]:
    """Return only *wanted*, or raise PortTaken. Without it, return 8000 if that is free, and then any free port."""
    try:
        _bind(FAMILIAR if wanted is None else wanted)
    except (OSError, OverflowError) as error:
        if wanted is None:
            return [ANY]
        raise PortTaken(
            f"Port {wanted} is not free ({error}). Name another one with --port, or leave --port out: then the demo "
            "finds a free one."
        ) from error
    return [FAMILIAR, ANY] if wanted is None else [wanted]


def _bind(port: int) -> None:
    with socket.socket() as listener:
        # As the web server does, because a port that only has connections in TIME_WAIT is free
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
