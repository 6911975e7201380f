"""
Keeps and restores what a request holds: the session, the user, the messages and the body.

The database rolls back what a failed attempt wrote. This module undoes what the attempt did to the request, so that the
next attempt begins as the first one did.
"""

from contextlib import suppress
from copy import copy, deepcopy
from itertools import chain
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSession
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.functional import LazyObject, empty

from .body import is_json

#: Where a request keeps its user: Django's middleware, and Django REST Framework on a request of its own.
USER_KEYS = ("user", "_cached_user", "auser", "_acached_user", "_user", "_auth", "_authenticator")

#: Where Django REST Framework keeps the body: its class Empty until it is parsed.
REST_KEYS = ("_data", "_files", "_full_data", "_stream")

#: Where a session keeps its key and, once it is read, its data.
KEY, DATA = "_SessionBase__session_key", "_session_cache"


class RequestState:
    """One request as it was before its first attempt. *can_retry*: whether there may be another attempt."""

    def __init__(self, request: HttpRequest, *, can_retry: bool) -> None:
        inner = getattr(request, "_request", request)  # Django REST Framework wraps Django's request
        self._users = [UserState(inner)] if inner is request else [UserState(inner), UserState(request)]
        session = vars(inner).get("session")
        self._session = SessionState(session, can_retry=can_retry) if isinstance(session, SessionBase) else None
        self._others: list[MessageState | BodyState | RestBodyState] = (
            [MessageState(inner), BodyState(inner)] if can_retry else []
        )
        if can_retry and inner is not request:
            self._others.append(RestBodyState(request, inner))

    def undo_login(self) -> None:
        """
        Undo a login or logout. Every other change of the session stays, as after an error in one of Django's views.

        Called after a rollback, which has removed the new session's row and restored the old one's. The middleware
        could not save the new session, and would raise SessionInterrupted.
        """
        session = self._session
        if session and (session.has_new_key or (session.is_cookie and self._users[0].is_replaced)):
            self._restore_identity()

    def restore(self) -> None:
        """Restore the request as it was. Called before another attempt."""
        self._restore_identity()
        for part in self._others:
            part.restore()

    def _restore_identity(self) -> None:
        if self._session:
            self._session.restore()
        for user in self._users:
            user.restore()


class UserState:
    """The user before the first attempt, in each place where the request keeps it."""

    def __init__(self, request: HttpRequest) -> None:
        self._facts = vars(request)
        self._kept = {name: self._facts[name] for name in USER_KEYS if name in self._facts}
        self._unread = [user for user in self._kept.values() if isinstance(user, LazyObject) and user._wrapped is empty]
        read = [user._wrapped if isinstance(user, LazyObject) else user for user in self._kept.values()]
        # A step may change a user in memory and save it
        self._states = [(user, copy(vars(user))) for user in read if user is not empty and hasattr(user, "__dict__")]

    @property
    def is_replaced(self) -> bool:
        """Return whether a login or logout has replaced the user."""
        return self._facts.get("user") is not self._kept.get("user")

    def restore(self) -> None:
        for name in USER_KEYS:
            self._facts.pop(name, None)
        self._facts.update(self._kept)
        for user in self._unread:
            user._wrapped = empty
        for user, state in self._states:
            _put_back(user, state)


class SessionState:
    """The session before the first attempt. Django reads its data on first use, so there may be none to keep yet."""

    def __init__(self, session: SessionBase, *, can_retry: bool) -> None:
        self._session = session
        #: Signed cookies: the key is the signed data. Two keys of one second are equal, and no store has them.
        self.is_cookie = isinstance(session, CookieSession)
        if can_retry and session.session_key and not (self.is_cookie or isinstance(session, DatabaseSession)):
            # A login deletes this key for good in a store without transactions, so read its data now
            self._read_ahead()
        self._kept = _copied(vars(session))

    def _read_ahead(self) -> None:
        session, before = self._session, dict(vars(self._session))
        with suppress(Exception):  # if the store is down, a step that needs the session fails
            session.keys()
        session.accessed = before["accessed"]
        if session.session_key is None:
            _put_back(session, before)  # it has expired; its cookie is deleted only if a step reads it

    @property
    def has_new_key(self) -> bool:
        """Return whether a login or logout has changed the session's key."""
        return self._session.session_key != self._kept.get(KEY)

    def restore(self) -> None:
        session = self._session
        old_key = self._kept.get(KEY)
        is_gone = self.has_new_key and old_key is not None and not self._is_stored(old_key)
        if is_gone and DATA not in self._kept and self._is_stored(session.session_key):
            return  # its database is not in the transaction, and has the data under the new key only
        accessed = session.accessed
        _put_back(session, _copied(self._kept))
        session.accessed |= accessed  # Vary: Cookie, because the response may depend on the session
        if is_gone and not self._is_stored_again():
            setattr(session, KEY, None)  # then the middleware saves it under a new key
            session.modified = bool(self._kept.get(DATA))

    def _is_stored_again(self) -> bool:
        """Store the data under the client's old key again: the response to an error may not set a cookie."""
        if not self._kept.get(DATA):
            return False
        with suppress(Exception):  # the store is down; the error that is being handled matters more
            self._session.save(must_create=True)
            return True
        return False

    def _is_stored(self, key: str | None) -> bool:
        if self.is_cookie:
            return True  # in the client's cookie, until a response replaces it
        try:
            return key is not None and self._session.exists(key)
        except Exception:  # noqa: BLE001 - the store is down; the error that is being handled matters more
            return True


class MessageState:
    """The messages to the user before the first attempt, if Django's middleware is installed."""

    def __init__(self, request: HttpRequest) -> None:
        self._storage = vars(request).get("_messages")
        self._kept = _copied(vars(self._storage)) if self._storage is not None else {}

    def restore(self) -> None:
        if self._storage is not None:
            _put_back(self._storage, _copied(self._kept))


class BodyState:
    """The parsed body, which steps may change, and the uploaded files, which they read to the end."""

    def __init__(self, request: HttpRequest) -> None:
        self._facts = vars(request)
        self._kept = _deep_copy(self._facts["data"]) if self._is_json else None

    @property
    def _is_json(self) -> bool:
        data = self._facts.get("data")
        return isinstance(data, dict | list) and not isinstance(data, QueryDict)  # a QueryDict cannot be changed

    def restore(self) -> None:
        if self._kept is not None:
            self._facts["data"] = _deep_copy(self._kept)
        elif self._is_json:
            del self._facts["data"]  # request.data parses the bytes again, which Django keeps
        uploads = self._facts.get("_files")
        if isinstance(uploads, MultiValueDict):
            for file in chain.from_iterable(files for _, files in uploads.lists()):
                if not file.closed:
                    file.seek(0)


class RestBodyState:
    """The JSON body of a request of Django REST Framework, which steps may change."""

    def __init__(self, request: HttpRequest, inner: HttpRequest) -> None:
        self._facts = vars(request)
        self._kept = {name: self._facts[name] for name in REST_KEYS if name in self._facts} if is_json(inner) else {}
        self._data = _deep_copy(self._kept.get("_full_data"))
        if self._kept and isinstance(self._data, type):  # DRF's class Empty: not parsed yet
            try:
                _ = inner.body  # else Django REST Framework reads it from the socket, and can parse it only once
            except RequestDataTooBig:  # Django REST Framework reads it all the same
                self._kept = {}

    def restore(self) -> None:
        self._facts.update(self._kept)
        if self._kept:
            self._facts["_data"] = self._facts["_full_data"] = _deep_copy(self._data)


def _put_back(thing: Any, state: dict[str, Any]) -> None:
    vars(thing).clear()
    vars(thing).update(state)


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the attributes of an object, with copies of its lists and sets, and of the session's data."""
    copied = {name: copy(value) if isinstance(value, list | set) else value for name, value in state.items()}
    return copied | {DATA: _deep_copy(state[DATA])} if DATA in state else copied


def _deep_copy(data: Any) -> Any:
    try:
        return deepcopy(data)
    except Exception:  # noqa: BLE001 - a session may hold objects of the site that cannot be deep-copied
        return copy(data)
