"""
Requests to other servers.

With a ``file:`` URL, the request is recorded in a folder. The demo has only such URLs, so it sends nothing to other
machines.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

#: The most seconds that we wait for a byte.
TIMEOUT = 10
#: The statuses after which another try may succeed. Every other refusal is final.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unreachable(OSError):
    """The other server did not answer, or cannot answer now. Try again."""


class Refused(Exception):
    """The other server refused the request, and would refuse it again."""


def to_json(data: Any) -> bytes:
    """Return *data* as the body of a request."""
    return json.dumps(data, ensure_ascii=False).encode()


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post the JSON *body* to *url*. Raise Unreachable or Refused."""
    if urlsplit(url).scheme == "file":
        return _record(Path(unquote(urlsplit(url).path)), body, headers)
    request = Request(url, body, {"Content-Type": "application/json", **headers}, method="POST")  # noqa: S310 - a setting's
    try:
        _opener.open(request, timeout=TIMEOUT).close()
    except HTTPError as error:
        error.close()
        raise (Unreachable if error.code in PASSING else Refused)(f"{url} answered {error.code}") from None
    except (URLError, OSError) as error:
        raise Unreachable(f"{url} did not answer: {error}") from error


class _NoRedirects(HTTPRedirectHandler):
    """Refuses redirects: urllib would follow one with a GET, and return its response for that of the POST."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Return None, so that a 3xx raises an error."""


_opener = build_opener(_NoRedirects)


def _record(folder: Path, body: bytes, headers: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request = {"headers": dict(headers), "body": json.loads(body)}
    (folder / f"{uuid4()}.json").write_bytes(to_json(request))
