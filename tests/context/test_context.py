"""The context as steps and tasks use it: it stores values by name."""

import copy
from uuid import UUID

import pytest

from numflow_django import Context
from numflow_django.context.context import RESERVED, TaskInfo, freeze, thaw
from numflow_django.exceptions import ReservedKey

RUN = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def passed_on(ctx):
    """Return *ctx* as the next task gets it."""
    return thaw(freeze(ctx), run_id=ctx.run_id)


def test_attributes_and_keys_are_the_same():
    """A value stored as an attribute can be read by key, and the other way round."""
    ctx = Context(sku="A-1")

    ctx.order = 1
    ctx["two words"] = 2

    assert (ctx["order"], ctx["sku"]) == (1, "A-1")
    assert getattr(ctx, "two words") == 2
    assert list(ctx) == ["sku", "order", "two words"]
    assert len(ctx) == 3
    assert "order" in ctx
    assert "price" not in ctx


def test_values_are_given_by_name():
    """Passing a dict instead of names is an error that shows the right way."""
    with pytest.raises(TypeError) as caught:
        Context({"sku": "A-1"})

    assert str(caught.value) == "Context({'sku': 'A-1'}): pass values by name, such as Context(sku='A-1')"


def test_an_empty_context_is_true():
    """An empty context is true too, so ``if ctx:`` asks only whether there is one."""
    ctx = Context()

    assert ctx
    assert len(ctx) == 0
    assert repr(ctx) == f"<Context of run {ctx.run_id}: empty>"


def test_repr_shows_the_keys_and_no_value():
    """The repr shows only the keys, because values may be secret."""
    assert repr(Context(password="hunter2")).endswith(": password>")


@pytest.mark.parametrize("thawed", [False, True])
def test_a_missing_key_is_an_error_that_lists_the_keys(thawed):
    """A missing attribute raises AttributeError and a missing key KeyError; the message lists the keys."""
    ctx = Context(order=1, sku="A-1")
    ctx = passed_on(ctx) if thawed else ctx

    with pytest.raises(AttributeError) as no_attribute:
        ctx.ordre  # noqa: B018 - the access is what raises
    with pytest.raises(KeyError) as no_key:
        ctx["ordre"]
    with pytest.raises(AttributeError) as not_deleted:
        del ctx.ordre
    with pytest.raises(KeyError) as not_removed:
        del ctx["ordre"]

    messages = {str(caught.value.args[0]) for caught in (no_attribute, no_key, not_deleted, not_removed)}
    assert messages == {"ctx has no 'ordre'; its keys are: order, sku"}


def test_the_first_missing_key_of_an_empty_context():
    """The message for an empty context says that it has no keys yet."""
    with pytest.raises(AttributeError, match="ctx has no 'order'; its keys are: none yet"):
        Context().order  # noqa: B018


def test_get_gives_a_default():
    """``ctx.get`` returns the value, the default, or None."""
    ctx = passed_on(Context(a=None))

    assert (ctx.get("a", 1), ctx.get("b", 1), ctx.get("b")) == (None, 1, None)
    assert not hasattr(ctx, "b")


@pytest.mark.parametrize("name", ["items", "values", "pop", "update", "copy"])
def test_names_of_dict_methods_are_the_user_s(name):
    """A key may have the name of a method of dict, before and after it is stored."""
    ctx = Context()
    setattr(ctx, name, ["mug"])
    later = passed_on(ctx)

    assert getattr(ctx, name) == ctx[name] == ["mug"]
    assert getattr(later, name) == later[name] == ["mug"]


@pytest.mark.parametrize("name", ["run_id", "task", "_numflow", "get", "keys"])
def test_names_of_the_engine_cannot_be_set(name):
    """A name that every context has, such as a method's, is refused as attribute, as key and as argument."""
    ctx = Context()

    with pytest.raises(AttributeError) as as_attribute:
        setattr(ctx, name, 1)
    with pytest.raises(ReservedKey) as as_key:
        ctx[name] = 1
    with pytest.raises(ReservedKey) as as_argument:
        Context(**{name: 1})

    assert not isinstance(as_attribute.value, ReservedKey)
    assert {str(caught.value) for caught in (as_attribute, as_key, as_argument)} == {
        f"ctx.{name} is reserved for the context itself; choose another name"
    }
    assert (as_key.value.name, as_argument.value.name) == (name, name)
    assert not ctx.keys()


def test_every_public_method_is_reserved():
    """No key can hide a method or property of the context."""
    assert {name for name in dir(Context) if not name.startswith("_")} <= RESERVED


def test_a_row_in_flight_may_hold_a_name_that_is_reserved_now():
    """If an older row has a key that is reserved now, it is read and deleted by key, and hides no method."""
    ctx = thaw('{"get":[1],"a":2}', run_id=RUN)

    assert ctx["get"] == [1]
    assert ctx.get("a") == 2
    assert freeze(ctx) == '{"get":[1],"a":2}'
    del ctx["get"]
    assert dict(passed_on(ctx)) == {"a": 2}


@pytest.mark.parametrize("thawed", [False, True])
def test_a_context_becomes_a_dict(thawed):
    """``dict(ctx)`` and ``{**ctx}`` have the keys and values; ``ctx.keys()`` has the keys of that time."""
    ctx = Context(order=1, items=["mug"])
    ctx = passed_on(ctx) if thawed else ctx

    keys = ctx.keys()
    ctx.total = 3

    assert dict(ctx) == {**ctx} == {"order": 1, "items": ["mug"], "total": 3}
    assert keys == {"order", "items"}
    assert list(ctx.keys()) == ["order", "items", "total"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("items", "dict(ctx).items()"),
        ("values", "dict(ctx).values()"),
        ("copy", "dict(ctx)"),
        ("update", "ctx[key] = value for each key"),
        ("setdefault", "ctx[key] = value if the key is not in ctx"),
        ("pop", "ctx[key] and del ctx[key]"),
        ("popitem", "ctx[key] and del ctx[key]"),
        ("clear", "del ctx[key] for each key"),
    ],
)
def test_a_method_that_only_a_dict_has_is_an_error_that_names_the_way(name, remedy):
    """A context has no other methods of dict, because keys may have these names; the error says what to write."""
    with pytest.raises(AttributeError) as caught:
        getattr(Context(order=1), name)()

    assert str(caught.value) == (
        f"ctx has no {name!r}; its keys are: order. It has no method {name}(), because a key of your own may have that "
        f"name; write {remedy}"
    )


@pytest.mark.parametrize("key", [1, None, ("a",)])
def test_keys_are_text(key):
    """A key that is not a str is refused with its type."""
    with pytest.raises(TypeError) as caught:
        Context()[key] = 1

    assert str(caught.value) == f"ctx[{key!r}]: keys must be str, not {type(key).__name__}"


def test_del_removes_a_key_for_the_tasks_too():
    """A deleted key is gone, even if it came from the run row."""
    ctx = passed_on(Context(a=1, b=2, c=3))

    del ctx.a
    del ctx["b"]

    assert list(ctx) == ["c"]
    assert list(passed_on(ctx)) == ["c"]


def test_iteration_lists_each_key_once():
    """Keys from the row come first, then the new ones, each once, even while values are read."""
    ctx = passed_on(Context(a=1, b=2))

    ctx.c = 3
    ctx.a = 4
    pairs = [(key, ctx[key]) for key in ctx]

    assert pairs == [("a", 4), ("b", 2), ("c", 3)]
    assert len(ctx) == 3


def test_keys_with_an_underscore_never_leave():
    """A value under a name with a leading ``_`` exists only during the request, whatever its type."""
    ctx = Context(a=1, _file=object(), _nan=float("nan"))

    assert ctx._file
    assert freeze(ctx) == '{"a":1}'
    assert list(passed_on(ctx)) == ["a"]


def test_task_is_for_tasks_only():
    """``ctx.task`` in a step is an AttributeError that says why; in a task it has the task's name and attempt."""
    info = TaskInfo(run_id=RUN, name="send_email", attempt=2)

    with pytest.raises(AttributeError, match=r"^only async tasks have ctx.task; this is a step$"):
        Context().task  # noqa: B018

    assert not hasattr(Context(), "task")
    assert thaw("{}", run_id=RUN, task=info).task is info
    assert info.idempotency_key == f"{RUN}:send_email"


def test_run_ids_are_distinct_and_kept():
    """Each request's context has its own run id, and the tasks get the same one."""
    ctx, other = Context(), Context()

    assert ctx.run_id != other.run_id
    assert passed_on(ctx).run_id == ctx.run_id


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_context_cannot_be_copied(duplicate):
    """Copying a context is refused, because the copy would share half of it."""
    with pytest.raises(TypeError, match=r"a Context cannot be copied or pickled; pass the values"):
        duplicate(Context(a=1))


def test_a_subclass_declares_keys_for_type_checkers():
    """A subclass with annotations only is a Context like any other, and may have subclasses."""

    class HasUser(Context):
        """Declares the user of the request."""

        user: int

    class HasCart(Context):
        cart: list[int]

    class OrderContext(HasUser, HasCart):
        total: int

    ctx = OrderContext(user=1)
    ctx.total = 3

    assert (list(ctx), ctx.user, ctx["total"]) == (["user", "total"], 1, 3)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"currency": "KRW"}, "currency"),
        ({"total": property(lambda self: 3), "double": lambda self: 6}, "total, double"),
        ({"__init__": lambda self: None}, "__init__"),
    ],
)
def test_a_subclass_with_more_than_annotations_is_refused(body, names):
    """A subclass with a default or a method is refused, because a step gets a plain Context without it."""
    with pytest.raises(TypeError) as caught:
        type("OrderContext", (Context,), body)

    assert str(caught.value) == (
        f"OrderContext defines {names}; a context class is for type checkers and may have annotations only, such as "
        "total: int, because steps and tasks get a plain Context; use a function"
    )
