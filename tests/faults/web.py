"""
A web server of several processes, each of which answers one request at a time: killing one kills one request.

``python -m tests.faults.web PORT COUNT [ADDRESS]``
"""

import os
import signal
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django


class Handler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *arguments):
        """Say nothing."""


def main(port, count, address="127.0.0.1"):
    """Listen, fork, and fork again whenever a child dies."""
    from django.core.wsgi import get_wsgi_application

    django.setup()
    WSGIServer.request_queue_size = 128
    server = WSGIServer((address, port), Handler)
    server.set_app(get_wsgi_application())
    children = {fork(server) for _ in range(count)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        while True:
            children.discard(os.wait()[0])
            children.add(fork(server))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def fork(server):
    """A child that answers."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                request, address = server.get_request()
                try:
                    server.process_request(request, address)
                except Exception:
                    server.handle_error(request, address)
        finally:
            os._exit(1)
    return child


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
