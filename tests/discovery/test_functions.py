"""The function of a module: which one it is, and what it is given."""

import sys

import pytest

from numflow_django.discovery.modules import find_steps, find_tasks


@pytest.fixture
def step(tree):
    """The one step whose module has the given source; the only mistake, if it has one."""

    def find(source, *, name="100_validate.py", kind="steps"):
        tree.write({"shared.py": SHARED, f"{kind}/{name}": source.replace("{tree}", tree.package)})
        mistakes = []
        package = f"{tree.package}.{kind}"
        if kind == "steps":
            found = find_steps(package, "shop.buy", mistakes)
        else:
            found = find_tasks(package, "shop.buy", mistakes, required=True)
        [result] = [*found, *mistakes]
        return result

    return find


SHARED = """
from functools import wraps

def validate(ctx, request):
    return "shared"

def logged(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return "logged", function(*args, **kwargs)
    return wrapper
"""


@pytest.mark.parametrize(
    ("source", "returned"),
    [
        ("def validate(ctx): return 1\ndef other(ctx): return 2", 1),
        ("def check(ctx): return 1", 1),
        ("def check(ctx): return _helper()\ndef _helper(): return 1", 1),
        ("from os.path import join, split\ndef check(ctx): return 1", 1),
        ("from {tree}.shared import validate", "shared"),
        ("import json as validate\ndef check(ctx): return 1", 1),
        ("validate = 3\ndef check(ctx): return 1", 1),
        ("from {tree}.shared import logged\n@logged\ndef validate(ctx): return 1", ("logged", 1)),
        ("from {tree}.shared import logged\n@logged\ndef check(ctx): return 1", ("logged", 1)),
        ("from functools import partial\nvalidate = partial(lambda n, ctx: n, 1)", 1),
        ("class Check:\n    def __call__(self, ctx): return 1\nvalidate = Check()", 1),
        ("validate = lambda ctx: 1", 1),
    ],
)
def test_the_function_is_the_one_of_the_file_s_name_or_the_only_one(step, source, returned):
    """The function is what the module calls like itself, else the only public function that it defines."""
    found = step(source)

    assert found.function(*[None] * found.arity) == returned


def test_the_name_is_read_as_python_reads_names(step):
    """A file name with a compatibility character finds the function, whose name Python normalises."""
    found = step("def fix(ctx): return 1\ndef other(ctx): return 2", name="100_\N{LATIN SMALL LIGATURE FI}x.py")

    assert found.function(None) == 1


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "has no function 'validate'; it defines no function; define validate(ctx, request)"),
        ("from os.path import join", "has no function 'validate'; it defines no function"),
        ("def _validate(ctx): pass", "has no function 'validate'; it defines no function"),
        ("def a(ctx): pass\ndef b(ctx): pass", "has no function 'validate'; it defines a, b; define validate("),
        ("class Validate: pass", "has no function 'validate'; it defines no function"),
        ("validate = {}", "'validate' is of type dict; make it a function"),
        ("import json as validate", "'validate' is of type module; make it a function"),
        ("validate = 1\ndef a(ctx): pass\ndef b(ctx): pass", "'validate' is of type int; make it a function"),
    ],
)
def test_a_module_without_its_function_is_a_mistake(tree, step, source, problem):
    """A4: A module without its function is a mistake that names feature, file, what is there and what to define."""
    mistake = step(source)

    assert mistake.code == "numflow.E105"
    assert str(mistake).startswith(f"feature shop.buy: {tree.root}/steps/100_validate.py")
    assert problem in str(mistake)


def test_the_error_for_a_task_without_its_function_shows_its_form(step):
    """A4: The remedy for a task shows a task's parameters."""
    mistake = step("", name="send.py", kind="async_tasks")

    assert str(mistake).endswith("define send(ctx)")


@pytest.mark.parametrize(
    ("signature", "arity"),
    [
        ("ctx", 1),
        ("context", 1),
        ("ctx, request", 2),
        ("c, r", 2),
        ("ctx, request, response", 3),
        ("ctx, request=None", 2),
        ("ctx, /, request", 2),
        ("*args", 3),
        ("ctx, *args, **kwargs", 3),
        ("ctx, request, *, limit=10", 2),
        ("ctx, **kwargs", 1),
        ("ctx: 'NoSuchName', request: 'Neither'", 2),
    ],
)
@pytest.mark.parametrize("prefix", ["def", "async def"])
def test_a_step_takes_what_it_asks_for(step, prefix, signature, arity):
    """A6: A step may be sync or async and takes one, two or three parameters, by position."""
    found = step(f"{prefix} validate({signature}): pass")

    assert found.arity == arity
    assert found.is_async is (prefix == "async def")


@pytest.mark.parametrize("signature", ["ctx", "c", "ctx, *, limit=10", "*args", "ctx=None"])
@pytest.mark.parametrize("prefix", ["def", "async def"])
def test_a_task_takes_the_context(step, prefix, signature):
    """A6: An async task may be sync or async and is given the context only."""
    found = step(f"{prefix} send({signature}): pass", name="100_send.py", kind="async_tasks")

    assert found.arity == 1
    assert found.is_async is (prefix == "async def")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before, such a module cannot be imported")
def test_annotations_are_not_evaluated(step):
    """A6: A step may annotate its parameters with names that are imported for type checkers only."""
    found = step("def validate(ctx: Context, request: HttpRequest) -> HttpResponse: pass")

    assert found.arity == 2


def test_an_async_partial_is_async(step):
    """A6: A partial of an async function is awaited like the function."""
    found = step("from functools import partial\nasync def _send(n, ctx): pass\nvalidate = partial(_send, 1)")

    assert (found.arity, found.is_async) == (1, True)


GENERATOR = "is a generator, whose body would never run"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def validate(): pass", "validate() takes no parameter"),
        ("def validate(**kwargs): pass", "validate(**kwargs) takes no parameter"),
        ("def validate(request): pass", "validate(request) asks for 'request' where it cannot get it"),
        ("def validate(ctx, response): pass", "asks for 'response' where it cannot get it"),
        ("def validate(request, ctx): pass", "asks for 'request' where it cannot get it"),
        ("def validate(req, res): pass", "validate(req, res) asks for 'req' where it cannot get it"),
        ("def validate(ctx, res): pass", "asks for 'res' where it cannot get it"),
        ("def validate(ctx, response, request): pass", "asks for 'response' where it cannot get it"),
        ("def validate(ctx, request, response, extra): pass", "takes 4 parameters"),
        ("def validate(ctx, *, user): pass", "needs the keyword 'user'"),
        ("def validate(ctx, limit=10): pass", "has a parameter 'limit' with a default; put a * before it"),
        ("def validate(ctx):\n    yield", GENERATOR),
        ("async def validate(ctx):\n    yield", GENERATOR),
        (
            "from {tree}.shared import logged\n@logged\ndef validate(ctx, response): pass",
            "validate(ctx, response) asks for 'response'",
        ),
    ],
)
def test_a_step_that_asks_for_what_it_cannot_get_is_a_mistake(tree, step, source, problem):
    """A4: A step with a signature that cannot be served is a mistake with file, problem and the good forms."""
    mistake = step(source)

    assert mistake.code == "numflow.E106"
    assert str(mistake).startswith(f"feature shop.buy: {tree.root}/steps/100_validate.py: validate")
    assert problem in str(mistake)
    assert str(mistake).endswith("; steps take (ctx) or (ctx, request) or (ctx, request, response)")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "def send(ctx, request): pass",
            "send(ctx, request) asks for 'request', which a task does not have: let a step store",
        ),
        ("def send(ctx, request=None): pass", "asks for 'request', which a task does not have"),
        ("def send(ctx, req): pass", "asks for 'req', which a task does not have"),
        ("def send(ctx, response): pass", "asks for 'response', which a task does not have"),
        ("def send(request): pass", "asks for 'request', which a task does not have"),
        ("def send(ctx, more): pass", "takes 2 parameters"),
        ("def send(): pass", "takes no parameter"),
        ("def send(ctx):\n    yield ctx", GENERATOR),
    ],
)
def test_a_task_that_asks_for_the_request_is_a_mistake(tree, step, source, problem):
    """A20: A task has no request and no response; asking for one is a start-up error."""
    mistake = step(source, name="100_send.py", kind="async_tasks")

    assert mistake.code == "numflow.E106"
    assert str(mistake).startswith(f"feature shop.buy: {tree.root}/async_tasks/100_send.py: send(")
    assert problem in str(mistake)
    assert str(mistake).endswith("; async tasks take (ctx)")
