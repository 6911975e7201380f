"""What the registry knows of the features: their labels, their options and their mistakes."""

import sys
from contextlib import suppress
from types import ModuleType

import pytest
from django.test import override_settings

from numflow_django import FeatureView
from numflow_django.db.lengths import LABEL_LENGTH, QUEUE_LENGTH, TASK_LENGTH
from numflow_django.discovery.label import label_of
from numflow_django.discovery.registry import JOB_MARGIN, Registry, registry
from numflow_django.exceptions import InvalidFeatures
from numflow_django.models import FeatureRun, TaskExecution
from numflow_django.routing.scan import scan
from tests.market.features.buy.feature import Buy

STEP = {"100_answer.py": "def answer(ctx, request, response):\n    response.json({})\n"}
TASK = "def run(ctx): pass\n"


@pytest.fixture
def mistakes(tree):
    """The mistakes of one feature that is written with the given attributes."""

    def find(tasks=None, **attributes):
        tree.feature("buy", steps=STEP, tasks=tasks, **attributes)
        return [message.replace(f"{tree.package}.", "").replace(f"{tree.root}/", "") for message in tree.mistakes()]

    return find


@pytest.mark.parametrize(
    ("package", "label"),
    [
        ("tests.market.features.buy", "market.buy"),
        ("tests.market.features.api.orders.@post", "market.api.orders.@post"),
        ("tests.market.flows.buy", "market.flows.buy"),
        ("tests.market.features.주문", "market.주문"),
        ("elsewhere.features.buy", "elsewhere.features.buy"),
    ],
)
def test_a_feature_is_labelled_by_its_app_and_its_folder(package, label):
    """A feature's label is the app's label and the folder's path below ``features``; outside apps the dotted name."""
    assert label_of(package) == label


def test_a_feature_of_the_market_is_known_with_its_facts():
    """The registry holds a feature's package, class, steps and tasks, in order."""
    feature = registry.find("market.buy")

    assert feature.package == "tests.market.features.buy"
    assert feature.declared_in == f"{Buy.__module__}.Buy"
    assert [step.name for step in feature.steps] == ["validate", "sell", "respond"]
    assert feature.task_names == ["mail", "notify", "publish"]
    assert feature.task("notify").number == 200
    assert feature.task("unknown") is None
    assert feature in registry


@pytest.mark.parametrize(
    ("module", "name", "package", "label"),
    [
        ("tests.market.views", "CreateOrder", "tests.market", "market.create_order"),
        ("tests.market.features.late.feature", "Anything", "tests.market.features.late", "market.late"),
        ("elsewhere.views", "CreateOrder", "elsewhere", "elsewhere.create_order"),
    ],
)
def test_a_feature_that_is_routed_by_hand_is_labelled_by_its_class(monkeypatch, module, name, package, label):
    """A class outside a ``feature.py`` is labelled by app and class; its folder is its module's package."""
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    sys.modules[module].__package__ = package

    feature = Registry().register(type(name, (FeatureView,), {"__module__": module}))

    assert (feature.label, feature.package) == (label, package)


def test_a_test_leaves_no_feature_behind(tree):
    """What is registered, or found wrong, inside isolated() is forgotten at its end, also after an error."""
    tree.feature("good", steps=STEP)
    tree.feature("bad", steps={"wrong.py": ""})
    before = [*registry], [*registry.mistakes], dict(registry.scanned)

    with suppress(OSError), registry.isolated():
        scan(tree.package)
        assert registry.find(f"{tree.package}.good")
        assert len(registry.mistakes) == len(before[1]) + 1
        raise OSError

    assert ([*registry], registry.mistakes, registry.scanned) == before
    assert registry.find(f"{tree.package}.good") is None


def test_a_forgotten_feature_is_read_again(tree):
    """After forget(), a registration of the same class reads the folder as it is now; other features stay."""
    tree.feature("buy", steps=STEP)
    tree.feature("sell", steps=STEP)
    buy, sell = (registry.register(tree.view(name)) for name in ("buy", "sell"))

    registry.forget(f"{tree.package}.buy")

    assert registry.find(buy.label) is None
    assert registry.find(sell.label) == sell
    assert registry.register(tree.view("buy")) is not buy
    assert registry.register(tree.view("sell")) is sell


def test_the_folder_of_a_class_in_an_init_file_is_that_package(tree):
    """A class in a package's ``__init__.py`` has its steps in that package."""
    tree.write(
        {
            "buy/__init__.py": "from numflow_django import FeatureView\nclass Buy(FeatureView): pass\n",
            "buy/steps/100_answer.py": STEP["100_answer.py"],
        }
    )
    view = __import__(f"{tree.package}.buy", fromlist=["Buy"]).Buy

    feature = registry.register(view)

    assert feature.package == f"{tree.package}.buy"
    assert [step.name for step in feature.steps] == ["answer"]
    assert feature.mistakes == ()


def test_a_feature_is_looked_at_once(tree):
    """A second registration of a class returns the same facts and does not read its folder again."""
    tree.feature("buy", steps=STEP)

    assert registry.register(tree.view("buy")) is registry.register(tree.view("buy"))


def test_steps_and_tasks_may_lie_elsewhere(tree):
    """``steps`` and ``async_tasks`` name other packages, which features may share."""
    tree.write({"shared/100_answer.py": STEP["100_answer.py"], "mail/send.py": TASK})
    facts = {"steps": f"{tree.package}.shared", "async_tasks": f"{tree.package}.mail"}
    views = [type(name, (FeatureView,), {"__module__": f"{tree.package}.views", **facts}) for name in ("Buy", "Sell")]

    features = [registry.register(view) for view in views]

    assert [feature.label for feature in features] == [f"{tree.package}.buy", f"{tree.package}.sell"]
    assert [[step.name for step in feature.steps] for feature in features] == [["answer"]] * 2
    assert [feature.task_names for feature in features] == [["send"]] * 2


def test_the_job_s_time_is_the_tasks_time_and_a_margin(tree, settings):
    """RQ's limit for a run covers all its tasks, each with its own limit or the setting's, and a margin."""
    settings.NUMFLOW = {"TASK_TIMEOUT": 100}
    slow = "from numflow_django import async_task\n@async_task(timeout=7.5)\ndef slow(ctx): pass\n"
    tree.feature("buy", steps=STEP, tasks={"100_slow.py": slow, "200_a.py": TASK, "300_b.py": TASK})

    feature = registry.register(tree.view("buy"))

    assert feature.job_timeout == 207 + JOB_MARGIN


def test_the_queue_is_the_feature_s_or_the_setting_s(tree, settings):
    """A feature's queue is its own, else the one of the settings when it is read."""
    tree.feature("a", steps=STEP)
    tree.feature("b", steps=STEP, queue="mail")
    a, b = (registry.register(tree.view(name)) for name in "ab")

    settings.NUMFLOW = {"QUEUE": "slow"}

    assert (a.queue, b.queue) == ("slow", "mail")


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"using": "othr"}, "using = 'othr' is not in DATABASES; did you mean 'other'?"),
        ({"using": "warehouse"}, "using = 'warehouse' is not in DATABASES; use one of default, other"),
        ({"using": None}, "using = None is not in DATABASES; use one of default, other"),
        ({"queue": "mails"}, "queue = 'mails' is not in RQ_QUEUES; did you mean 'mail'?"),
        ({"queue": "x"}, "queue = 'x' is not in RQ_QUEUES; use one of default, mail"),
        (
            {"method": "PSOT"},
            "method = 'PSOT' is not a method that a feature accepts; did you mean 'POST'? (None: all of them)",
        ),
        (
            {"method": ["GET", "POST"]},
            "method = ['GET', 'POST'] is not a method that a feature accepts; use one of GET, POST, PUT, PATCH, DELETE "
            "(None: all of them)",
        ),
        ({"async_tasks": 5}, "async_tasks = 5 is not a str; write the dotted name of a package"),
        (
            {"decorators": ["login_required"]},
            "decorators has 'login_required', which is not a function; write the decorator itself, without quotes",
        ),
    ],
    ids=str,
)
def test_an_option_that_means_nothing_is_a_mistake(mistakes, attributes, problem):
    """A4: An option that cannot be is a mistake with the attribute and what it may be."""
    assert mistakes(**attributes) == [f"feature buy: buy/feature.py: {problem}"]


@pytest.mark.parametrize(
    ("value", "good"),
    {
        "./flow": "buy.flow",
        "buy/steps": "buy.steps",
        "buy/steps/": "buy.steps",
        "/srv/site/buy/steps": "buy.steps",
        "../shared/steps": "shared.steps",
        "": "buy.steps",
        ".": "buy.steps",
        ".steps": "buy.steps",
        "..shared": "shared",
        "steps": "buy.steps",
        "steps.py": "buy.steps",
    }.items(),
)
@pytest.mark.parametrize("attribute", ["steps", "async_tasks"])
def test_a_package_that_is_no_dotted_name_is_a_mistake(tree, attribute, value, good):
    """E3: A path, a relative name or an empty one in the place of a dotted name is a mistake that shows the name."""
    modules = {f"buy/{folder}/100_answer.py": "def answer(ctx): pass" for folder in {"steps", attribute}}
    view = f"from numflow_django import FeatureView\n\nclass View(FeatureView):\n    {attribute} = {value!r}\n"
    tree.write(modules | {"buy/feature.py": view})
    if value in ("", "."):
        good = f"buy.{attribute}"

    mistakes = tree.mistakes()

    assert (
        f"{attribute} = {value!r} is not the dotted name of a package; write {attribute} = '{tree.package}.{good}', or "
        "remove it to use the folder's own"
    ) in mistakes[0]
    assert len(mistakes) == 1


def test_a_dotted_name_with_a_slip_is_a_mistake(tree):
    """E3: A dotted name with a dot or a space too many is a mistake that shows it without."""
    for number, wrong in enumerate(["{}..steps", "{}.steps.", " {}.steps"]):
        package = f"{tree.package}.buy{number}"
        tree.write(
            {
                f"buy{number}/steps/100_answer.py": STEP["100_answer.py"],
                f"buy{number}/feature.py": "from numflow_django import FeatureView\n\n"
                f"class View(FeatureView):\n    steps = {wrong.format(package)!r}\n",
            }
        )

    mistakes = tree.mistakes()

    assert [f"write steps = '{tree.package}.buy{n}.steps'" in mistake for n, mistake in enumerate(mistakes)] == [
        True
    ] * 3


def test_the_names_of_tasks_and_queues_fit_their_columns():
    """A name that the row can hold is no mistake, and a longer one is: the lengths are those of the columns."""
    assert TaskExecution._meta.get_field("name").max_length == TASK_LENGTH
    assert FeatureRun._meta.get_field("queue").max_length == QUEUE_LENGTH
    assert FeatureRun._meta.get_field("feature").max_length == LABEL_LENGTH


def test_a_task_whose_name_is_too_long(mistakes):
    """A4: A task's name that the task log would cut is a mistake."""
    name = "x" * 201

    assert mistakes(tasks={f"100_{name}.py": TASK, f"200_{name[1:]}.py": TASK}) == [
        f"feature buy: buy/feature.py: buy/async_tasks/100_{name}.py: the name of an async task has at most 200 "
        "characters; shorten it"
    ]


def test_a_queue_whose_name_is_too_long(mistakes, settings):
    """A4: A queue's name that the run row cannot hold is a mistake."""
    settings.RQ_QUEUES = {"q" * 101: {}, "default": {}}

    assert mistakes(queue="q" * 101) == [
        f"feature buy: buy/feature.py: the name of its queue, {'q' * 101!r}, is longer than 100 characters; shorten it"
    ]


@pytest.mark.parametrize("path", [["a/", "b/"], 5], ids=str)
def test_a_path_that_is_no_string_is_a_mistake(mistakes, path):
    """A4: A path of another type is a mistake that shows a good one."""
    assert mistakes(path=path) == [f"feature buy: buy: path = {path!r} is not a str; write path = 'api/orders/'"]


@pytest.mark.parametrize("attributes", [{"queue": None}, {"method": "post"}, {"method": None}, {"using": "other"}])
def test_good_options_are_no_mistake(mistakes, attributes):
    """A method may be written in any case; no queue and no method have a meaning."""
    assert mistakes(**attributes) == []


def test_tasks_need_a_transaction(mistakes):
    """A4: ``atomic = False`` with async tasks is a mistake that names the tasks and both ways out."""
    assert mistakes(atomic=False, tasks={"100_send.py": TASK, "tell.py": TASK}) == [
        "feature buy: buy/feature.py: atomic = False with async tasks (send, tell): without a transaction nothing says "
        "when they may run; remove atomic = False or the tasks"
    ]
    assert registry.mistakes[-1].code == "numflow.E109"


def test_no_transaction_without_tasks_is_no_mistake(mistakes):
    """A feature without async tasks may do without a transaction."""
    assert mistakes(atomic=False) == []


def test_two_features_of_one_label_are_a_mistake():
    """A4: Two features of one label are a mistake that names both classes, since a run row carries the label only."""
    registry = Registry()
    first = type("Buy", (FeatureView,), {"__module__": "tests.market.a", "steps": "tests.market.features.buy.steps"})
    second = type("Buy", (FeatureView,), {"__module__": "tests.market.b", "steps": "tests.market.features.buy.steps"})

    registry.register(first)
    feature = registry.register(second)

    assert [str(mistake) for mistake in registry.mistakes] == [
        "two features are called 'market.buy': tests.market.a.Buy and tests.market.b.Buy; rename one of them"
    ]
    assert feature.mistakes == tuple(registry.mistakes)
    assert registry.find("market.buy").declared_in == "tests.market.a.Buy"


def test_mistakes_are_raised_all_at_once(tree):
    """A4: The error that stops the start-up lists every mistake with its id, and holds them in ``errors``."""
    tree.feature("a", steps={}, queue="x")
    tree.mistakes()

    with pytest.raises(InvalidFeatures) as caught:
        registry.raise_mistakes()

    assert [error.code for error in caught.value.errors] == ["numflow.E109", "numflow.E101"]
    first, *rest = str(caught.value).splitlines()
    assert first == "2 mistakes in the features:"
    assert [line[:14] for line in rest] == ["(numflow.E109)", "(numflow.E101)"]


def test_a_feature_with_mistakes_answers_no_request(tree, rf):
    """A4: A feature with mistakes that got past the checks raises them at its request, and runs no step."""
    tree.feature("buy", steps={**STEP, "wrong.py": ""})

    with pytest.raises(InvalidFeatures, match=r"wrong\.py is not named <number>_<name>\.py"):
        tree.view("buy").as_view()(rf.get("/"))


def test_find_loads_the_features_that_are_routed_by_hand(tree):
    """A worker that is asked for a feature it has not seen loads the URLconf, which registers those routed by hand."""
    tree.feature("buy", steps=STEP)
    label = f"{tree.package}.buy"
    tree.write(
        {
            "site.py": f"""
                from django.urls import path
                from {label}.feature import View
                urlpatterns = [path("buy/", View.as_view())]
            """
        }
    )

    with override_settings(ROOT_URLCONF=f"{tree.package}.site"):
        assert label not in [feature.label for feature in registry]
        assert registry.find(label).label == label


def test_find_without_a_urlconf_finds_nothing(settings):
    """A process without a URLconf knows the scanned features only."""
    del settings.ROOT_URLCONF

    assert registry.find("market.unknown") is None


def test_databases_are_those_of_features_with_tasks(tree):
    """The databases that hold runs are the default one and those of features with tasks."""
    tree.feature("a", steps=STEP, using="other")
    registry.register(tree.view("a"))
    assert list(registry.databases()) == ["default"]

    tree.feature("b", steps=STEP, tasks={"send.py": TASK}, using="other")
    registry.register(tree.view("b"))

    assert list(registry.databases()) == ["default", "other"]


@pytest.mark.parametrize("config", [{}, {"ENGINE": ""}, {"ENGINE": "django.db.backends.dummy"}], ids=str)
def test_a_database_without_an_engine_holds_no_runs(tree, settings, monkeypatch, config):
    """``"default": {}``, as Django's docs have it, before and after Django has completed it, is no database to ask."""
    tree.feature("b", steps=STEP, tasks={"send.py": TASK}, using="other")
    registry.register(tree.view("b"))
    monkeypatch.setitem(settings.DATABASES, "default", config)

    assert list(registry.databases()) == ["other"]


def test_a_default_database_that_a_router_keeps_from_us_holds_no_runs(tree, settings):
    """Where a router keeps our tables out of the default database and no feature uses it, it is not read."""

    class Router:
        def allow_migrate(self, db, app_label, **hints):
            return (db == "other") == (app_label == "numflow_django")

    registry = Registry()
    tree.feature("b", steps=STEP, tasks={"send.py": TASK}, using="other")
    registry.register(tree.view("b"))
    settings.DATABASE_ROUTERS = [Router()]

    assert list(registry.databases()) == ["other"]

    tree.feature("a", steps=STEP, tasks={"send.py": TASK})
    registry.register(tree.view("a"))
    assert list(registry.databases()) == ["default", "other"]


def test_the_features_are_listed_by_label(tree):
    """The registry lists its features by label."""
    for name in "ba":
        tree.feature(name, steps=STEP)
        registry.register(tree.view(name))

    labels = [feature.label for feature in registry]

    assert labels == sorted(labels)
    assert {"market.buy", f"{tree.package}.a", f"{tree.package}.b"} <= set(labels)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("decorators = print", "is not a list; write decorators = [...]"),
        ("steps = ['a']", "steps = ['a'] is not a str; write the dotted name of a package"),
        ("def post(self, request): ...", "the class defines post(), which is never called"),
        (
            "async def on_error(self, error, ctx, request): ...",
            "on_error is 'async def', and it is never awaited; make it",
        ),
        (
            "async def initialize_context(self, ctx, request): ...",
            "initialize_context is 'async def', and it is never awaited",
        ),
        ("decorator = []", "decorator is not an attribute of a feature; did you mean 'decorators'?"),
        ("methods = ['GET']", "methods is not an attribute of a feature; did you mean 'method'?"),
        (
            "def onError(self, error, ctx, request): ...",
            "onError is not an attribute of a feature; did you mean 'on_error'?",
        ),
    ],
)
def test_what_nothing_would_come_of_is_a_mistake(tree, body, message):
    """An attribute or a method that Numflow would pass over in silence is a mistake that says what to do."""
    tree.write(
        {
            "shop/feature.py": f"from numflow_django import FeatureView\n\nclass View(FeatureView):\n    {body}\n",
            "shop/steps/100_hi.py": "def hi(ctx): ...",
        }
    )

    (mistake,) = tree.mistakes()

    assert message in mistake


def test_attributes_of_the_author_s_own(tree):
    """A feature may have attributes of its own, those of a base class too."""
    base = "class Base(FeatureView):\n    step = 1\n    paths = ['a']\n\n"
    view = "class View(Base):\n    step = 2\n    currency = 'KRW'\n    _methods = 1\n"
    tree.write(
        {
            "_base.py": f"from numflow_django import FeatureView\n\n{base}",
            "shop/feature.py": f"from .._base import Base\n\n{view}",
            "shop/steps/100_hi.py": "def hi(ctx): ...",
        }
    )

    assert tree.mistakes() == []


def test_a_policy_on_a_step_is_a_mistake(tree):
    """@async_task on a step has no effect, and start-up says so."""
    step = "from numflow_django import async_task\n\n@async_task(timeout=3)\ndef hi(ctx): ..."
    tree.feature("shop", steps={"100_hi.py": step})

    (mistake,) = tree.mistakes()

    assert "100_hi.py: @async_task has no effect on a step" in mistake
