"""A port of this machine for the web server."""

import socket

HOST = "127.0.0.1"
#: Where Django's own server listens: an address that people know.
FAMILIAR = 8000
#: The system chooses one that is free.
ANY = 0


class PortTaken(Exception):
    """The port that was asked for is not to be had."""


def ports_to_try(wanted: int | None) -> list[int]:
    """Return *wanted* alone, or raise PortTaken; without a wish 8000 if it is free, and then any."""
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
        # As the web server does: a port that only has connections in TIME_WAIT is free
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
