"""The object that the steps and async tasks of one run share: how it is written to the run row and read back."""

import json
from collections.abc import Iterable, Iterator, KeysView
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, Self
from uuid import UUID

from ..conf import conf
from ..db.ids import new_run_id
from ..exceptions import ContextError, ContextTooLarge, ContextValueError, ReservedKey
from . import codec

#: Names that the engine sets on every context.
RESERVED = frozenset({"run_id", "task", "_numflow", "get", "keys"})

#: What to write instead of the methods of dict that a context does not have, because keys may have these names.
_DICT_METHODS = {
    "items": "dict(ctx).items()",
    "values": "dict(ctx).values()",
    "copy": "dict(ctx)",
    "update": "ctx[key] = value for each key",
    "setdefault": "ctx[key] = value if the key is not in ctx",
    "pop": "ctx[key] and del ctx[key]",
    "popitem": "ctx[key] and del ctx[key]",
    "clear": "del ctx[key] for each key",
}


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """The value of ``ctx.task``: which async task this is, and which of its executions."""

    run_id: UUID
    name: str  # without the number, "send_email"
    attempt: int  # counted from 1 over the life of the run

    @property
    def idempotency_key(self) -> str:
        """Return a text that is the same in every attempt of this task in this run, for services that accept a key."""
        return f"{self.run_id}:{self.name}"


class Author(NamedTuple):
    """Who writes to a context; turned into words only when a value cannot be stored."""

    role: str  # "step"
    module: object  # 200 create_order
    feature: str

    def __str__(self) -> str:
        return f"{self.role} {self.module} of {self.feature}"


class Record:
    """What the engine remembers about one context: who wrote what, and what came from the run row."""

    __slots__ = ("author", "authors", "instances", "run_id", "task", "text", "trees")

    def __init__(self, run_id: UUID, *, text: str = "{}", task: TaskInfo | None = None) -> None:
        self.run_id = run_id
        self.task = task
        self.text = text  # the frozen context as the row holds it
        self.trees: dict[str, Any] = json.loads(text)  # by key; decoded at its first use
        self.instances: dict[str, codec.Instances] = {}  # by key; read ahead for a coroutine, which may not query
        self.author: Author | str = ""  # who is writing now
        self.authors: dict[str, Author | str] = {}  # key -> who wrote it last


class UndeclaredKey(Protocol):
    """
    Marks Context itself for type checkers: it accepts any key, while a subclass accepts only those it declares.

    Its method makes the difference: Context's accepts any Context, a subclass's only an instance of that subclass.
    """

    _numflow: Record

    def _is_like(self, other: "Context") -> bool: ...

    def __iter__(self) -> Iterator[str]: ...


class Context:
    """
    ``ctx``: the values that the steps and async tasks of one run share, as attributes or by key.

    ``ctx.order = order`` and ``ctx["order"] = order`` are the same. The values that the steps store are written to the
    run row inside their transaction, and the tasks read equal values. A model instance is read from the database again
    when a task first uses it. Keys that start with ``_`` stay in the process that set them.

    To call one step or task by itself, create a context: ``validate(Context(sku="A-1"), request)``.

    ``ctx.run_id`` (UUID) is the run's identifier. In an async task, ``ctx.task`` holds its name, attempt
    and idempotency_key.

    For type checkers, a subclass declares keys, ``class OrderContext(Context): order: Order``, and steps and tasks
    use it in ``ctx: OrderContext``. They still receive a plain Context, so a subclass that defines more than
    annotations raises TypeError.
    """

    __slots__ = ("__dict__", "_numflow")
    _numflow: Record

    def __init__(self, record: Record | None = None, /, **values: Any) -> None:
        if not isinstance(record, Record | None):
            raise TypeError(f"Context({record!r}): pass values by name, such as Context(sku='A-1')")
        object.__setattr__(self, "_numflow", record or Record(new_run_id()))
        for key, value in values.items():
            self[key] = value

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        more = [name for name, value in vars(cls).items() if not name.startswith("__") or _is_method(name, value)]
        if more:
            raise TypeError(
                f"{cls.__qualname__} defines {', '.join(more)}; a context class is for type checkers and may have "
                "annotations only, such as total: int, because steps and tasks get a plain Context; use a function"
            )

    @property
    def run_id(self) -> UUID:
        """Return the id of the run. It identifies the run; knowing it grants no access."""
        return self._numflow.run_id

    @property
    def task(self) -> TaskInfo:
        """Return the async task that is running. Raise AttributeError in a step."""
        if self._numflow.task is None:
            raise AttributeError  # Python then calls __getattr__, whose error says more
        return self._numflow.task

    if TYPE_CHECKING:

        def _is_like(self, other: Self) -> bool: ...

    def __setattr__(self: UndeclaredKey, key: str, value: Any) -> None:
        if key in RESERVED:
            raise AttributeError(_reserved(key))
        self.__dict__[key] = value
        self._numflow.authors[key] = self._numflow.author

    def __getattr__(self: UndeclaredKey, key: str) -> Any:
        trees = self._numflow.trees
        if key == "task":
            raise AttributeError("only async tasks have ctx.task; this is a step")
        if key not in trees:
            raise AttributeError(_missing(self, key) + _dict_method(key))
        try:
            value = codec.decode(trees[key], _place(key), self._numflow.instances.get(key))
        except AttributeError as error:
            # hasattr() and getattr(ctx, key, default) would read a model's AttributeError as a missing key
            raise ContextError(f"{_place(key)} cannot be read: {error}") from error
        if key not in RESERVED:  # a row of an older version may have such a key; keep the method
            self.__dict__[key] = value
        return value

    def __delattr__(self, key: str) -> None:
        if key not in self:
            raise AttributeError(_missing(self, key))
        self.__dict__.pop(key, None)
        self._numflow.trees.pop(key, None)
        self._numflow.text = ""  # the row's text is out of date

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"ctx[{key!r}]: keys must be str, not {type(key).__name__}")
        if key in RESERVED:
            raise ReservedKey(_reserved(key), name=key)
        setattr(self, key, value)

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(_missing(self, key))
        return self.__dict__[key] if key in self.__dict__ else self.__getattr__(key)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(_missing(self, key))
        delattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.__dict__ or key in self._numflow.trees

    def __iter__(self) -> Iterator[str]:
        yield from self._numflow.trees
        yield from (key for key in self.__dict__ if key not in self._numflow.trees)

    def __len__(self) -> int:
        return len(self._numflow.trees.keys() | self.__dict__.keys())

    def __bool__(self) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, or *default* if there is none."""
        return self[key] if key in self else default  # noqa: SIM401 - that would be this method

    def keys(self) -> KeysView[str]:
        """Return the keys as they are now, which ``dict(ctx)`` and ``{**ctx}`` need."""
        return dict.fromkeys(self).keys()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Context cannot be copied or pickled; pass the values that are needed")

    def __repr__(self) -> str:
        return f"<Context of run {self.run_id}: {', '.join(self) or 'empty'}>"


def _is_method(name: str, value: Any) -> bool:
    return callable(value) and "annot" not in name  # Python 3.14 keeps annotations as a function


def _reserved(key: str) -> str:
    return f"ctx.{key} is reserved for the context itself; choose another name"


def _dict_method(name: str) -> str:
    if name not in _DICT_METHODS:
        return ""
    return f". It has no method {name}(), because a key of your own may have that name; write {_DICT_METHODS[name]}"


def _missing(ctx: Iterable[str], key: object) -> str:
    return f"ctx has no {key!r}; its keys are: {', '.join(ctx) or 'none yet'}"


def thaw(text: str, *, run_id: UUID, task: TaskInfo | None = None) -> Context:
    """Return the context from *text*, the text in a run row."""
    return Context(Record(run_id, text=text, task=task))


def read_ahead(ctx: Context) -> None:
    """
    Read the model instances that *ctx* holds, for a task that is a coroutine: Django refuses queries there.

    A value that cannot be read raises its error when the task uses it, as in any other task.
    """
    record = ctx._numflow
    for key, tree in record.trees.items():
        with suppress(ContextError):
            record.instances[key] = codec.fetch_instances(tree, _place(key))


def freeze(ctx: Context) -> str:
    """
    Return *ctx* as the text that a run row holds.

    Raise ContextValueError for a value that cannot be stored, ContextTooLarge for too much text; both name the key and
    who set it.
    """
    record = ctx._numflow
    if record.text and not ctx.__dict__:
        return record.text
    parts = {key: _dump(_tree(ctx, key)) for key in ctx if not key.startswith("_")}
    text = "{" + ",".join(f"{_dump(key)}:{part}" for key, part in parts.items()) + "}"
    size = len(text.encode())
    if size > conf.CONTEXT_MAX_BYTES:
        raise _too_large(record, size, parts)
    return text


def _tree(ctx: Context, key: str) -> Any:
    """Return the JSON tree of one key."""
    record = ctx._numflow
    if key not in ctx.__dict__:
        return record.trees[key]
    # A task may delete an instance that it received; later tasks get the error when they use it
    handed_over = key in record.trees and key not in record.authors
    try:
        # A key is encoded, too: a lone surrogate in it would fail the INSERT
        codec.encode(key, "a key of ctx")
        return codec.encode(ctx.__dict__[key], _place(key), keep_deleted=handed_over)
    except ContextValueError as error:
        raise ContextValueError(f"{error}.{_set_by(record, key)}") from None


def _set_by(record: Record, key: str) -> str:
    author = record.authors.get(key)
    return f" ctx[{key!r}] was set by {author}" if author else ""


def _too_large(record: Record, size: int, parts: dict[str, str]) -> ContextTooLarge:
    largest = max(parts, key=lambda key: len(parts[key].encode()))
    return ContextTooLarge(
        f"the context takes {size:,} bytes, more than NUMFLOW['CONTEXT_MAX_BYTES'] = {conf.CONTEXT_MAX_BYTES:,}; "
        f"its largest key is {largest!r} with {len(parts[largest].encode()):,} bytes; store a key or a path instead."
        f"{_set_by(record, largest)}"
    )


# ensure_ascii off: Korean takes three bytes a syllable and is readable in the row; json still escapes NUL
_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _place(key: str) -> str:
    return f"ctx.{key}" if key.isidentifier() else f"ctx[{key!r}]"
