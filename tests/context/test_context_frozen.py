"""How the context is written to the run row and read from it, and what is refused."""

import json
from uuid import UUID

import pytest

from numflow_django import Context
from numflow_django.context.context import freeze, read_ahead, thaw
from numflow_django.exceptions import (
    ContextCorrupt,
    ContextError,
    ContextInstanceGone,
    ContextTooLarge,
    ContextValueError,
)
from tests.market.models import Sale

RUN = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def passed_on(ctx):
    """Return *ctx* as the next task gets it."""
    return thaw(freeze(ctx), run_id=ctx.run_id)


def written_by(ctx, author, **values):
    """Store *values* as the step or task *author* would."""
    ctx._numflow.author = author
    for key, value in values.items():
        setattr(ctx, key, value)


def test_a_frozen_context_is_readable_text():
    """The row has compact JSON in UTF-8 that a person can read, with NUL escaped."""
    ctx = Context(name="김철수", mood="📦\x00")

    text = freeze(ctx)

    assert text == '{"name":"김철수","mood":"📦\\u0000"}'
    assert passed_on(ctx).mood == "📦\x00"


def test_an_unchanged_context_freezes_to_the_identical_text():
    """A task that only reads leaves the text as it is, so nothing is written."""
    text = freeze(Context(a={"z": 1, "b": [1.0, "é"]}, numbers={8, 0, 16}, when=None))

    untouched = thaw(text, run_id=RUN)
    touched = thaw(text, run_id=RUN)
    for key in touched:
        touched[key]

    assert freeze(untouched) == text
    assert freeze(touched) == text


def test_what_a_task_stores_is_read_by_the_next():
    """A19: A task gets what steps and earlier tasks stored, including changes inside a value."""
    first = passed_on(Context(order={"lines": []}, note="a"))
    first.order["lines"].append("mug")
    first.sent = True

    second = passed_on(first)

    assert (second.order, second.note, second.sent) == ({"lines": ["mug"]}, "a", True)


@pytest.mark.django_db
def test_instances_are_read_when_they_are_touched(django_assert_num_queries):
    """A task that does not use an instance makes no query; one that uses it makes one query, however often."""
    text = freeze(Context(sale=Sale.objects.create(item="mug"), other=Sale.objects.create(item="cup")))

    with django_assert_num_queries(0):
        ctx = thaw(text, run_id=RUN)
        assert "sale" in ctx
        assert freeze(ctx) == text
    with django_assert_num_queries(1):
        assert ctx.sale.item == "mug"
        assert ctx.sale is ctx["sale"]


@pytest.mark.django_db
def test_a_gone_instance_matters_only_to_who_touches_it():
    """A deleted row raises ContextInstanceGone only in the task that uses its key."""
    sale = Sale.objects.create(item="mug")
    text = freeze(Context(sale=sale, note="a"))
    Sale.objects.all().delete()

    ctx = thaw(text, run_id=RUN)

    assert ctx.note == "a"
    assert json.loads(freeze(ctx)) == json.loads(text)
    for touch in (lambda: ctx.sale, lambda: ctx["sale"], lambda: ctx.get("sale"), lambda: hasattr(ctx, "sale")):
        with pytest.raises(ContextInstanceGone, match=rf"ctx\.sale: market\.Sale with primary key {sale.pk} no longer"):
            touch()


@pytest.mark.django_db
def test_what_is_read_ahead_is_not_read_again(django_assert_num_queries):
    """The instances are read before a coroutine begins; those that it does not use are stored unchanged."""
    text = freeze(Context(sale=Sale.objects.create(item="mug"), bag=[Sale.objects.create(item="cup")]))
    ctx = thaw(text, run_id=RUN)

    with django_assert_num_queries(2):
        read_ahead(ctx)
    with django_assert_num_queries(0):
        assert (ctx.sale.item, ctx.bag[0].item) == ("mug", "cup")
    assert freeze(thaw(text, run_id=RUN)) == freeze(ctx) == text


def test_a_reference_that_means_nothing_matters_only_to_who_touches_it():
    """A key whose model or database no longer exists fails only the coroutine that uses it."""
    gone = {"a": ("market.Gone", "default"), "b": ("market.Sale", "gone")}
    trees = {key: {"$": "model", "m": model, "pk": 1, "db": database} for key, (model, database) in gone.items()}
    ctx = thaw(json.dumps(trees), run_id=RUN)

    read_ahead(ctx)

    with pytest.raises(ContextCorrupt, match=r"market\.Gone, which is not installed"):
        ctx.a  # noqa: B018
    with pytest.raises(ContextCorrupt, match="the database 'gone', which is not in DATABASES"):
        ctx.b  # noqa: B018


@pytest.mark.django_db
def test_a_task_may_delete_what_it_was_handed():
    """A key whose instance a task deleted keeps its reference, and other values may change."""
    ctx = passed_on(Context(sale=Sale.objects.create(item="mug"), bag=[Sale.objects.create(item="cup")]))

    ctx.sale.delete()
    ctx.bag[0].delete()
    ctx.bag.append("paid")
    later = passed_on(ctx)

    with pytest.raises(ContextInstanceGone, match=r"ctx\.sale: market\.Sale"):
        later.sale  # noqa: B018
    assert json.loads(freeze(ctx))["bag"][1] == "paid"


@pytest.mark.django_db
def test_a_deleted_instance_cannot_be_stored_again():
    """D6: Storing an instance after it was deleted is refused at once, with who stored it."""
    ctx = passed_on(Context(sale=Sale.objects.create(item="mug")))
    ctx.sale.delete()
    written_by(ctx, "async task 100 clean", last=ctx.sale)

    with pytest.raises(ContextValueError) as caught:
        freeze(ctx)

    assert str(caught.value) == (
        "ctx.last is a market.Sale that has been deleted; store what you need of it as plain values. "
        "ctx['last'] was set by async task 100 clean"
    )


@pytest.mark.parametrize(("key", "place"), [("upload", "ctx.upload"), ("to do", "ctx['to do']"), ("주문", "ctx.주문")])
def test_a_refusal_names_the_key_and_who_set_it(key, place):
    """D6: The error for a value that cannot be stored names the key, the type, the remedy and the step."""
    ctx = Context(a=1)
    written_by(ctx, "step 100 validate of shop.buy", **{key: [1]})
    written_by(ctx, "step 200 buy of shop.buy", **{key: [object()]})

    with pytest.raises(ContextValueError) as caught:
        freeze(ctx)

    assert str(caught.value) == (
        f"{place}[0] is an object, which cannot be stored for the async tasks; store plain values, a model instance or "
        f"a dataclass. ctx[{key!r}] was set by step 200 buy of shop.buy"
    )


def test_a_key_that_is_no_text_is_refused():
    """D6: A key with a lone surrogate, which no database could store, is refused with who set it."""
    ctx = Context()
    written_by(ctx, "step 100 read", **{"a\udc80": 1})

    with pytest.raises(ContextValueError) as caught:
        freeze(ctx)

    assert str(caught.value).startswith("a key of ctx is a str with a lone surrogate, which is not valid Unicode;")
    assert str(caught.value).endswith("ctx['a\\udc80'] was set by step 100 read")


def test_a_context_that_is_too_large_is_refused(settings):
    """D6: The error for a context over the limit has its size, its largest key and who set that key."""
    settings.NUMFLOW = {"CONTEXT_MAX_BYTES": 1_000}
    ctx = Context(small="a")
    written_by(ctx, "step 200 load", report="가" * 400, rows=[1] * 100)

    with pytest.raises(ContextTooLarge) as caught:
        freeze(ctx)

    assert str(caught.value) == (
        "the context takes 1,434 bytes, more than NUMFLOW['CONTEXT_MAX_BYTES'] = 1,000; its largest key is 'report' "
        "with 1,202 bytes; store a key or a path instead. ctx['report'] was set by step 200 load"
    )


def test_the_limit_counts_bytes_of_utf_8(settings):
    """A context of exactly the limit is accepted. A Korean syllable counts as three bytes."""
    ctx = Context(a="가나다")

    settings.NUMFLOW = {"CONTEXT_MAX_BYTES": len('{"a":"가나다"}'.encode())}
    assert freeze(ctx)
    settings.NUMFLOW = {"CONTEXT_MAX_BYTES": len('{"a":"가나다"}'.encode()) - 1}
    with pytest.raises(ContextTooLarge):
        freeze(ctx)


def test_an_attribute_error_inside_a_value_is_no_missing_key(monkeypatch):
    """
    An AttributeError from loading a value becomes a ContextError, so that getattr() with a default cannot hide it.
    """
    ctx = thaw('{"sale":1}', run_id=RUN)

    def fail(tree, path, instances):
        raise AttributeError("the model is broken")

    monkeypatch.setattr("numflow_django.context.codec.decode", fail)

    with pytest.raises(ContextError, match=r"ctx\.sale cannot be read: the model is broken"):
        getattr(ctx, "sale", None)


def test_a_value_whose_class_is_gone_is_an_error_of_that_key():
    """A key that cannot be loaded raises ContextCorrupt with its place, and the other keys can be read."""
    ctx = thaw('{"a":1,"colour":{"$":"enum","t":"gone:Colour","v":"RED"}}', run_id=RUN)

    assert ctx.a == 1
    with pytest.raises(ContextCorrupt, match=r"ctx\.colour: the class gone:Colour cannot be found"):
        ctx.colour  # noqa: B018
