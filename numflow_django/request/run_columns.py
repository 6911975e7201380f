"""What a run row keeps of its request."""

from typing import Any

from django.http import HttpRequest


def request_columns(request: HttpRequest, status: int) -> dict[str, Any]:
    """Return the columns of the run row that describe *request* and its response, without the user."""
    return {"method": request.method or "", "path": request.path, "status_code": status, "created_by": ""}


def user_key(request: HttpRequest) -> str:
    """Return the user's primary key as text; "" without a user. It may read the session from the database."""
    key = getattr(getattr(request, "user", None), "pk", None)
    return "" if key is None else str(key)
