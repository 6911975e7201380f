"""Runs the code of the how-to pages, added to the README's feature as the pages say."""

import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from example_project.settings import SQLITE
from tests.support.sites import ROOT, Site, files_in, python_blocks

FEATURE = files_in((ROOT / "README.md").read_text(encoding="utf-8"))

MODELS = """
    from django.db import models
    from django.utils.timezone import localdate

    class Order(models.Model):
        sku = models.CharField(max_length=20)
        reference = models.CharField(max_length=20, blank=True)
        total = models.IntegerField(default=60_000)
        day = models.DateField(default=localdate)

    class Reward(models.Model):
        order = models.ForeignKey(Order, models.CASCADE)
        points = models.IntegerField()

    class FailedLogin(models.Model):
        name = models.CharField(max_length=20)

    class DailySales(models.Model):
        day = models.DateField(unique=True)
        orders = models.IntegerField(default=0)

    class Notification(models.Model):
        key = models.CharField(max_length=200, unique=True)
        text = models.CharField(max_length=200)
"""
URLS = """
    from django.urls import include, path
    from numflow_django import feature_urls
    urlpatterns = [path("", include(feature_urls("shop.features")))]
"""
OPEN = "from django.views.decorators.csrf import csrf_exempt"

pages = pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A project with the README's feature, whose orders also have a reference and a total."""
    files = {name: text for name, text in FEATURE.items() if name.startswith("shop/")}
    return Site(tmp_path).write({**files, "urls.py": URLS, "shop/models.py": MODELS})


def test_add_a_step(site: Site) -> None:
    """how-to/add-a-step.md: the step runs between 100 and 200, refuses unknown coupons, and its test passes."""
    site.write(files_in(text_of("how-to/add-a-step.md"))).write({"shop/tests/__init__.py": ""})

    answers = site.run("""
        bad = post("/api/orders/", {"sku": "A-1", "coupon": "AUTUMN"})
        good = post("/api/orders/", {"sku": "A-1", "coupon": "SPRING"})
        context = json.loads(FeatureRun.objects.get().context)
        result = [bad.status_code, bad.json()["error"]["code"], good.status_code, context["discount"], list(context)]
    """)
    tests = site.python("-m", "django", "test", "shop")

    assert answers == [400, "unknown_coupon", 201, 10, ["sku", "discount", "order"]]
    assert "Ran 1 test" in tests.stderr
    assert tests.returncode == 0, tests.stderr


def test_add_a_task(site: Site) -> None:
    """how-to/add-a-task.md: the task rewards an order of 50,000 and more, and returns early otherwise."""
    site.write(files_in(text_of("how-to/add-a-task.md")))

    outcome = site.run("""
        post("/api/orders/", {"sku": "A-1"})
        states = run_tasks()
        Order._meta.get_field("total").default = 49_999
        post("/api/orders/", {"sku": "A-1"})
        log = [(row.name, row.state, row.result) for row in TaskExecution.objects.order_by("id")]
        result = [run_tasks(), [(row.name, row.state, row.result) for row in TaskExecution.objects.order_by("id")]]
    """)

    assert outcome == [
        ["succeeded", "succeeded"],
        [
            ["send_email", "succeeded", None],
            ["reward", "succeeded", {"points": 600}],
            ["thank", "succeeded", {"points": 600}],
            ["send_email", "succeeded", None],
            ["reward", "succeeded", None],
            ["thank", "succeeded", {"points": 0}],
        ],
    ]


def test_return_early(site: Site) -> None:
    """how-to/return-early.md: a success commits and runs the tasks; a refusal does not, unless it must be stored."""
    site.write(files_in(text_of("how-to/return-early.md")))
    create = "shop/features/create_order/steps/200_create_order.py"
    site.write({create: FEATURE[create].replace("sku=ctx.sku", "sku=ctx.sku, reference=ctx.reference")})

    outcome = site.run("""
        order = {"sku": "A-1", "reference": "R-7"}
        first, second = post("/api/orders/", order), post("/api/orders/", order)
        unknown, sold_out = post("/api/orders/", {"sku": "B-2"}), post("/api/orders/", {"sku": "A-1", "quantity": 4})
        login = post("/api/login/", {"name": "minji", "password": "guess"})
        result = {
            "first": [first.status_code, first.json()],
            "second": [second.status_code, second.json()],
            "orders": Order.objects.count(),
            "runs": run_tasks(),
            "unknown": [unknown.status_code, unknown.json()],
            "sold out": [sold_out.status_code, sold_out.json()["error"]],
            "login": [login.status_code, FailedLogin.objects.count()],
        }
    """)

    assert outcome == {
        "first": [201, {"id": 1}],
        "second": [200, {"id": 1}],
        "orders": 1,
        "runs": ["succeeded", "succeeded"],
        "unknown": [404, {"error": "no such product"}],
        "sold out": [
            409,
            {
                "message": "sold out",
                "status": 409,
                "code": "sold_out",
                "details": {"left": 3},
                "step": {"number": 130, "name": "check_stock"},
            },
        ],
        "login": [403, 1],
    }


FAILING_STEP = """
    from django.db import OperationalError
    from shop import payments

    def charge(ctx, request):
        ctx.executions = ctx.get("executions", 0) + 1
        if request.data["sku"] == "declined":
            raise payments.CardDeclined("no funds")
        if ctx.executions < request.data.get("works_at", 1):
            raise OperationalError("deadlock detected")
"""
PAYMENTS = """
    class CardDeclined(Exception):
        pass
"""


@pytest.fixture
def error_site(site: Site) -> Site:
    """The site of how-to/handle-errors-and-retry.md, with services that fail."""
    site.write(files_in(text_of("how-to/handle-errors-and-retry.md")))
    return site.write(
        {
            "shop/payments.py": PAYMENTS,
            "shop/analytics.py": "waits = [30, 0]\ndef publish(order):\n    return waits.pop(0)\n",
            "shop/features/create_order/steps/250_charge.py": FAILING_STEP,
            "shop/features/import_prices/steps/100_fetch.py": """
                def fetch(ctx, request, response):
                    if ctx.get("tries", 0) < request.data["works_after"]:
                        raise ConnectionError("down")
                    response.json({"tries": ctx.tries})
            """,
        }
    )


def test_handle_errors(error_site: Site) -> None:
    """A28: how-to/handle-errors-and-retry.md: on_error responds, retries, and makes the waits longer."""
    outcome = error_site.run("""
        from unittest import mock
        from django.test import RequestFactory
        declined = post("/api/orders/", {"sku": "declined"})
        third = post("/api/orders/", {"sku": "A-1", "works_at": 3})
        never = post("/api/orders/", {"sku": "A-1", "works_at": 4})
        with mock.patch("numflow_django.request.handling.time.sleep") as sleep:
            client = Client()  # this feature requires a CSRF token
            prices = client.post("/api/prices/", {"works_after": 3}, content_type="application/json")
        result = {
            "declined": [declined.status_code, declined.json()],
            "third": third.status_code,
            "never": never.status_code,
            "orders": Order.objects.count(),
            "prices": [prices.json(), [call.args[0] for call in sleep.call_args_list]],
        }
    """)

    assert outcome == {
        "declined": [402, {"declined": "no funds"}],
        "third": 201,
        "never": 500,
        "orders": 1,
        "prices": [{"tries": 3}, [0.2, 0.4, 0.8]],
    }


def test_retry_a_task(error_site: Site) -> None:
    """how-to/handle-errors-and-retry.md: tasks are retried after an error or a Retry, and failed runs are resumed."""
    blocks = python_blocks(text_of("how-to/handle-errors-and-retry.md"))
    resume = next(block for block in blocks if "resume" in block)

    outcome = error_site.run(f"""
        from unittest import mock
        down = mock.patch("django.core.mail.backends.locmem.EmailBackend.send_messages")
        post("/api/orders/", {{"sku": "A-1"}})
        states = []
        with down as send:
            send.side_effect = OSError("down")
            states += run_tasks() + run_again()
            send.side_effect = ValueError("a mistake in the code")
            states += run_again()
        states += run_again()
        exec({resume!r})
        states += run_again()
        log = [(row.name, row.attempt, row.state, row.error_type) for row in TaskExecution.objects.order_by("id")]
        result = [states, log, len(mail.outbox)]
    """)

    assert outcome == [
        ["waiting", "waiting", "waiting", "failed", "succeeded"],
        [
            ["send_email", 1, "failed", "OSError"],
            ["send_email", 2, "failed", "OSError"],
            ["send_email", 3, "failed", "ValueError"],
            ["publish_analytics", 1, "failed", "Retry"],
            ["publish_analytics", 2, "succeeded", ""],
            ["send_email", 4, "succeeded", ""],
        ],
        1,
    ]


def test_fall_back_to_another_provider(site: Site) -> None:
    """A28: how-to/fall-back-to-another-provider.md: the next provider gets the order, in less than ten lines."""
    page = text_of("how-to/fall-back-to-another-provider.md")
    site.write(files_in(page)).write(
        {
            "shop/payments.py": """
                calls = []
                down = set()
                def charge(provider, total, idempotency_key):
                    calls.append((provider, idempotency_key))
                    if provider in down:
                        raise ConnectionError(f"{provider} is down")
            """,
            "shop/messages.py": """
                calls = []
                def send(gateway, order):
                    calls.append(gateway)
                    if gateway != "mail":
                        raise ConnectionError
            """,
        }
    )

    outcome = site.run("""
        from shop import messages, payments
        payments.down = {"toss", "kakao"}
        answer = post("/api/orders/", {"sku": "A-1"})
        fallback = [answer.status_code, json.loads(FeatureRun.objects.get().context)["provider"]]
        orders, providers = Order.objects.count(), [provider for provider, key in payments.calls]
        keys = len({key for provider, key in payments.calls})
        run_tasks(), run_again(), run_again()
        payments.down = {"toss", "kakao", "naver"}
        result = [fallback, orders, providers, keys, messages.calls, post("/api/orders/", {"sku": "A-1"}).status_code]
    """)

    assert outcome == [[201, "naver"], 1, ["toss", "kakao", "naver"], 1, ["kakao", "sms", "mail"], 500]
    hooks = re.search(r"    def initialize_context.*?return None\n", page, re.DOTALL)
    assert hooks is not None
    assert len(hooks[0].split("\n")) < 10


def test_signals(site: Site) -> None:
    """reference/signals.md: its receiver is called for a failed task, and its LOGGING shows the run's lines."""
    files = files_in(text_of("reference/signals.md"))
    site.write(
        {
            "shop/signals.py": files["shop/signals.py"],
            "shop/pager.py": "pages = []\npage = pages.append\n",
            "shop/apps.py": """
                from django.apps import AppConfig
                class ShopConfig(AppConfig):
                    name = "shop"
                    def ready(self):
                        from . import signals
            """,
            "shop/features/create_order/async_tasks/200_fail.py": "def fail(ctx):\n    raise ValueError('no')\n",
            "logged.py": f"from settings import *\n{files['settings.py']}",
        }
    )

    pages = site.run(
        """
        from shop import pager
        post("/api/orders/", {"sku": "A-1"})
        run_tasks()
        result = pager.pages
        """,
        settings="logged",
    )

    assert pages == ["shop.create_order: fail failed: no"]
    assert re.search(
        r"^run failed run=\S+ feature=shop.create_order reason='1 of 2 tasks failed: fail'$", site.log, re.MULTILINE
    )


def test_coming_from_numflow(site: Site) -> None:
    """explanation/coming-from-numflow.md: its Python half responds, makes three attempts, and sends a mail."""
    site.write(files_in(text_of("explanation/coming-from-numflow.md"))).write(
        {"shop/models.py": MODELS.replace("sku =", "user_id = models.IntegerField(default=0)\n        sku =")}
    )
    shutil.rmtree(site.folder / "shop/features/create_order")
    sessions = "from settings import *\nSESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'\n"
    names = ["sessions.middleware.Session", "auth.middleware.Authentication"]
    sessions += f"MIDDLEWARE += {[f'django.contrib.{name}Middleware' for name in names]}\n"
    (site.folder / "with_users.py").write_text(sessions)

    outcome = site.run(
        """
        from unittest import mock
        from django.contrib.auth.models import User
        visitor = post("/api/orders/", {"sku": "A-1"})
        client = Client(raise_request_exception=False)
        client.force_login(User.objects.create_user("minji"))
        answer = client.post("/api/orders/", {"sku": "A-1"}, content_type="application/json")
        states = run_tasks()
        with mock.patch.object(Order.objects, "create", side_effect=TimeoutError) as create:
            failed = client.post("/api/orders/", {"sku": "A-1"}, content_type="application/json")
        result = [visitor.status_code, answer.status_code, answer.json(), Order.objects.get().user_id, states]
        result += [mail.outbox[0].subject, failed.status_code, create.call_count]
        """,
        settings="with_users",
    )

    assert outcome == [403, 201, {"id": 1}, 1, ["succeeded"], "Order 1", 500, 3]


def test_write_an_idempotent_task(site: Site) -> None:
    """how-to/write-an-idempotent-task.md: its three tasks do their work once, and pay with the same key."""
    blocks = python_blocks(text_of("how-to/write-an-idempotent-task.md"))
    prelude = (
        "from django.db.models import F\nfrom numflow_django import async_task\nfrom shop import payments\n"
        "from shop.models import DailySales, Notification\n\n\n"
    )
    names = [re.search(r"def (\w+)", block)[1] for block in blocks]  # type: ignore[index]
    folder = "shop/features/create_order/async_tasks"
    site.write({f"{folder}/{name}.py": prelude + block for name, block in zip(names, blocks, strict=True)}).write(
        {"shop/payments.py": "calls = []\ndef charge(total, idempotency_key):\n    calls.append(idempotency_key)\n"}
    )

    outcome = site.run("""
        from django.utils.timezone import localdate
        from shop import payments
        DailySales.objects.create(day=localdate())
        post("/api/orders/", {"sku": "A-1"})
        states, run = run_tasks(), FeatureRun.objects.get()
        result = [states, DailySales.objects.get().orders, payments.calls == [f"{run.pk}:charge"]]
        result.append(Notification.objects.get().key == f"{run.pk}:send_notification")
    """)

    assert names == ["count_order", "charge", "send_notification"]
    assert outcome == [["succeeded"], 1, True, True]


RENAMING = "how-to/rename-or-remove-a-task.md"


def test_rename_a_task(site: Site) -> None:
    """how-to/rename-or-remove-a-task.md: old and new runs send one mail each, and unfinished runs are found."""
    program = """
        from numflow_django import start_run
        waiting = start_run("shop.create_order", {"order": Order.objects.create(sku="A-1")}, start_after=3600)
        result = [post("/api/orders/", {"sku": "A-1"}).status_code, waiting.task_names]
    """
    before = site.run(program)
    site.write({name: text for name, text in files_in(text_of(RENAMING)).items() if "create_order" in name})
    site.write({"shop/in_flight.py": files_in(text_of(RENAMING))["shop/in_flight.py"]})

    outcome = site.run("""
        from shop.in_flight import runs_before
        answer = post("/api/orders/", {"sku": "A-1"})
        before = [len(runs_before("shop.create_order", name)) for name in ("send_email", "mail_customer")]
        states, mails = run_tasks(), len(mail.outbox)
        in_flight = [run.state for run in runs_before("shop.create_order", "send_email")]
        log = [(row.run.task_names == ["send_email"], row.name) for row in TaskExecution.objects.order_by("id")]
        result = [answer.status_code, before, sorted(states), mails, in_flight, log, len(run_again()), len(mail.outbox)]
    """)

    assert before == [201, ["send_email"]]
    log = [[True, "send_email"], [False, "send_email"], [False, "mail_customer"]]
    assert outcome == [201, [3, 1], ["succeeded", "succeeded", "waiting"], 2, ["waiting"], log, 3, 3]


def test_remove_a_task(site: Site) -> None:
    """how-to/rename-or-remove-a-task.md: new runs do not have it, even on a worker that has it; old runs wait."""
    task = site.folder / "shop/features/create_order/async_tasks/100_send_email.py"
    source = task.read_text(encoding="utf-8")
    site.write({"shop/features/create_order/async_tasks/200_count.py": "def count(ctx): ...\n"})
    site.run("result = post('/api/orders/', {'sku': 'A-1'}).status_code")
    task.unlink()

    without = site.run("""
        post("/api/orders/", {"sku": "A-1"})
        run_tasks()
        result = [(run.state, run.task_names) for run in FeatureRun.objects.order_by("pk")]
        post("/api/orders/", {"sku": "A-1"})
    """)
    warned = site.log
    task.write_text(source, encoding="utf-8")
    put_back = site.run("""
        run_again()
        result = [(run.state, [task.name for task in run.log]) for run in FeatureRun.objects.order_by("pk")]
    """)

    assert without == [["waiting", ["send_email", "count"]], ["succeeded", ["count"]]]
    assert re.search(r"run waits for code run=\S+ feature=shop.create_order task=send_email ", warned)
    assert put_back == [["succeeded", ["send_email", "count"]], *[["succeeded", ["count"]]] * 2]


def test_rename_a_feature(site: Site) -> None:
    """how-to/rename-or-remove-a-task.md: the runs of the old label end, no request reaches it, and no check fails."""
    site.run("result = post('/api/orders/', {'sku': 'A-1'}).status_code")
    shutil.move(site.folder / "shop/features/create_order", site.folder / "shop/features/place_order")
    files = files_in(text_of(RENAMING))
    _, at_the_end = python_blocks(text_of(RENAMING))[-1].split("# urls.py, at the end\n")
    site.write({"shop/retired.py": files["shop/retired.py"], "urls.py": dedent(URLS) + at_the_end})

    checked = site.python("-m", "django", "check")
    outcome = site.run("""
        answer = post("/api/orders/", {"sku": "A-1"})
        states = run_tasks()
        result = [answer.status_code, list(FeatureRun.objects.order_by("pk").values_list("feature", "state"))]
    """)

    assert "numflow.E" not in checked.stderr
    assert "numflow.W205" not in checked.stderr
    assert outcome == [201, [["shop.create_order", "succeeded"], ["shop.place_order", "succeeded"]]]


def test_rename_a_feature_in_a_deeper_folder(site: Site) -> None:
    """how-to/rename-or-remove-a-task.md: the old folder keeps its label with the steps and tasks of the new one."""
    old, new = site.folder / "shop/features/api/orders/@post", site.folder / "shop/features/place_order"
    shutil.move(site.folder / "shop/features/create_order", old)
    site.run("result = post('/api/orders/', {'sku': 'A-1'}).status_code")
    shutil.move(old, new)
    places = {name: f"shop.features.place_order.{name}" for name in ("steps", "async_tasks")}
    lines = "".join(f"    {name} = {place!r}\n" for name, place in ({"path": "retired/orders/"} | places).items())
    view = f"from numflow_django import FeatureView\n\n\nclass Retired(FeatureView):\n{lines}"
    site.write({"shop/features/api/orders/@post/feature.py": view})

    outcome = site.run("run_tasks()\nresult = list(FeatureRun.objects.values_list('feature', 'state'))")

    assert outcome == [["shop.api.orders.@post", "succeeded"]]


def test_deploy(site: Site) -> None:
    """how-to/deploy.md: its settings pass the checks, and SQLite's options are those of the example project."""
    settings, prepared, options = (block for block in python_blocks(text_of("how-to/deploy.md")))
    assert eval(f"{{{prepared}}}")["OPTIONS"] == {"prepare_threshold": 5}  # tests/db/test_statements.py tries it
    assert eval(f"{{{options}}}")["OPTIONS"] == SQLITE["OPTIONS"]
    lines = ["from settings import *", *settings.splitlines(), f"DATABASES['default'].update({{{options}}})"]
    site.write({"deployed.py": "\n".join(line.strip() for line in lines)})

    checked = site.python("-m", "django", "check", "--settings", "deployed")

    assert "no issues" in checked.stdout, checked.stderr


@pages
def test_every_page_with_code_is_run(page: Path) -> None:
    """Each page with Python code is named in a test that runs the code."""
    if not python_blocks(page.read_text(encoding="utf-8")):
        return
    name = str(page.relative_to(ROOT / "docs"))
    tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]

    assert any(f'"{name}"' in text for text in tests), f"no test runs the code of {name}"
