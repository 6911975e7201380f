"""Requests to other servers, tested with a server on this machine."""

import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

from django.test import SimpleTestCase

from example_project.shop.outside import Refused, Unreachable, post, to_json


class Handler(BaseHTTPRequestHandler):
    """Sends the prepared answers and records the requests."""

    status: ClassVar[int]
    seen: ClassVar[list[tuple[str, str | None, bytes]]]

    def do_POST(self) -> None:
        """Send the next prepared answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers["Content-Type"], self.headers["Idempotency-Key"], body))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class PostTests(SimpleTestCase):
    """post()."""

    def setUp(self) -> None:
        """Start the server."""
        Handler.status, Handler.seen = 200, []
        server = self.enterContext(HTTPServer(("127.0.0.1", 0), Handler))
        self.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.shutdown)

    def test_what_is_sent(self) -> None:
        """The body is JSON in UTF-8, and the headers are sent."""
        post(self.url, to_json({"name": "민지"}), {"Idempotency-Key": "k"})

        assert Handler.seen == [("application/json", "k", '{"name": "민지"}'.encode())]

    def test_refusals(self) -> None:
        """A temporary refusal is Unreachable, and any other one is Refused; no redirect is followed."""
        for status, error in [(503, Unreachable), (429, Unreachable), (422, Refused), (302, Refused)]:
            with self.subTest(status=status):
                Handler.status = status

                with self.assertRaisesMessage(error, f"{self.url} answered {status}"):
                    post(self.url, b"{}", {})

        assert len(Handler.seen) == 4

    def test_nobody_there(self) -> None:
        """Without a server, the error is Unreachable."""
        with self.assertRaisesMessage(Unreachable, "http://127.0.0.1:1/ did not answer"):
            post("http://127.0.0.1:1/", b"{}", {})

    def test_the_recorder(self) -> None:
        """With a file: URL, the request is recorded in the folder, and nothing is sent."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()), "a folder")

        post(folder.as_uri(), to_json({"name": "민지"}), {"Idempotency-Key": "k"})

        recorded = json.loads(next(folder.iterdir()).read_text(encoding="utf-8"))
        assert recorded == {"headers": {"Idempotency-Key": "k"}, "body": {"name": "민지"}}
        assert Handler.seen == []
