"""The RQ queues of this process, with connections that do not keep a request waiting."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

import django_rq
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django_rq.connection_utils import get_connection
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool
from rq import Queue

from ..conf import conf
from .pauses import end_pauses

P = ParamSpec("P")
Result = TypeVar("Result")

#: The most seconds that a request waits for Redis: to connect, and for an answer.
CONNECT_TIMEOUT = 0.25
SOCKET_TIMEOUT = 0.5

#: The functions that empty a cache, called by reset().
_cache_clears: list[Callable[[], None]] = []


def cached_until_reset(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function whose results depend on a queue's settings, to cache them until the next reset()."""
    cached = lru_cache(maxsize=1024)(function)
    _cache_clears.append(cached.cache_clear)
    return cached  # type: ignore[return-value]


def reset() -> None:
    """Forget all connections and pauses, for example after a change of the settings."""
    for clear in _cache_clears:
        clear()
    end_pauses()


@receiver(setting_changed, dispatch_uid="numflow_django.dispatch")
def _reset_after_change(*, setting: str, **kwargs: Any) -> None:
    if setting in {"RQ_QUEUES", "RQ"}:
        reset()


@cached_until_reset
def queue_named(name: str) -> Queue:
    """
    Return the queue *name* of RQ_QUEUES. Raise ImproperlyConfigured if it is not there.

    It is cached, because a new one for each job would open a new connection each time.
    """
    if name not in conf.queues:
        raise ImproperlyConfigured(f"the queue {name!r} is not in RQ_QUEUES ({', '.join(sorted(conf.queues))})")
    # "auto" enqueues at once: the run's transaction has committed already, in whichever database
    return django_rq.get_queue(name, commit_mode="auto", connection=_connection(name))


def _connection(name: str) -> Redis:
    """Return the queue's connection with short timeouts and no retries, because a user waits for it."""
    connection = get_connection(name)
    pool = connection.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        # Keep this pool: its class asks the sentinels for the master, and nothing else shares it
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(_short_timeouts())
        return connection
    # A separate pool, because the site's cache may share the queue's pool
    kwargs = {**pool.connection_kwargs, **_short_timeouts()}
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **kwargs))


def _short_timeouts() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
    }
