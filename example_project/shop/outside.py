"""
Requests to other people's servers.

A ``file:`` URL is a folder that records what would have been sent: the demo has no other, so that nothing of it ever
leaves the machine.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

#: Seconds that the other side may let us wait for a byte.
TIMEOUT = 10
#: Answers that another try may change; every other refusal stands.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unreachable(OSError):
    """The other server did not answer, or answered that it cannot for now: try again."""


class Refused(Exception):
    """The other server refused the request; sending it again would not help."""


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
    """urllib would follow a redirect with a GET, and take its answer for that of the POST."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: a 3xx is a refusal."""


_opener = build_opener(_NoRedirects)


def _record(folder: Path, body: bytes, headers: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request = {"headers": dict(headers), "body": json.loads(body)}
    (folder / f"{uuid4()}.json").write_bytes(to_json(request))
