"""The runs and the task log in the admin, for a superuser and for staff with the view permission."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from numflow_django.context import Context, freeze
from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution

pytestmark = pytest.mark.django_db

RUNS, LOG = "numflow_django_featurerun", "numflow_django_taskexecution"
STEPS = [{"number": 100, "name": "validate", "ms": 1.234}, {"number": 1200, "name": "sell", "ms": 20.0}]


def staff(*permissions):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


LOOKERS = {
    "superuser": lambda: User.objects.create_superuser("root"),
    "view-only staff": lambda: staff("view_featurerun", "view_taskexecution"),
}


@pytest.fixture(params=LOOKERS.values(), ids=LOOKERS)
def browser(request, client):
    """A client of a user with the view permission."""
    client.force_login(request.param())
    return client


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def run_row(**fields):
    defaults = {
        "feature": "market.buy",
        "queue": "default",
        "state": RunState.FAILED,
        "method": "POST",
        "path": "/buy/",
        "status_code": 201,
        "steps": STEPS,
        "task_names": ["mail", "notify", "publish"],
        "position": 3,
    }
    return FeatureRun.objects.create(**defaults | fields)


def execution(run, **fields):
    now = timezone.now()
    defaults = {"name": "mail", "position": 0, "token": 1, "state": ExecutionState.SUCCEEDED, "worker": "w1"}
    times = {"started_at": now, "finished_at": now + timedelta(milliseconds=250)}
    return TaskExecution.objects.create(run=run, **defaults | times | fields)


def page(client, name, *args, **query):
    answer = client.get(reverse(f"admin:{name}", args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def listed(client, model, **query):
    """Return the rows of a list."""
    answer = client.get(reverse(f"admin:{model}_changelist"), query)
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


# Permissions


def test_both_lists(browser):
    """The list of runs shows state, progress and request; the task log shows feature, time and worker."""
    run = run_row(position=2, state=RunState.RUNNING)
    execution(run, error_type="ValueError")

    runs, log = page(browser, f"{RUNS}_changelist"), page(browser, f"{LOG}_changelist")

    for shown in ("market.buy", "running", "2/3", "POST /buy/ \N{RIGHTWARDS ARROW} 201", str(run.pk)):
        assert shown in runs
    for shown in ("mail", "market.buy", "succeeded", "250 ms", "ValueError", "w1"):
        assert shown in log


def test_both_detail_pages(browser):
    """A run's page shows queue and worker; an execution's page shows result, error and traceback."""
    run = run_row(reason="1 of 3 tasks failed: notify", created_by="17", worker="w1", queue="bulk")
    failed = execution(
        run,
        name="notify",
        state=ExecutionState.FAILED,
        error_type="ValueError",
        error_message="no",
        traceback="Traceback <module>",
    )
    done = execution(run, result={"to": "사용자"})

    shown = page(browser, f"{RUNS}_change", run.pk)
    for text in ("1 of 3 tasks failed: notify", "POST /buy/", "17", "w1", "bulk"):
        assert text in shown
    assert "Traceback &lt;module&gt;" in page(browser, f"{LOG}_change", failed.pk)
    assert escape('{"to": "사용자"}') in page(browser, f"{LOG}_change", done.pk)


@pytest.mark.parametrize("model", [RUNS, LOG])
def test_no_user_may_write(browser, model):
    """No user, not even a superuser, can add, change or delete a row, and no page has a link for it."""
    run = run_row()
    row = run if model == RUNS else execution(run)
    before = list(type(row).objects.values())
    urls = {kind: reverse(f"admin:{model}_{kind}", args=[row.pk]) for kind in ("change", "delete")}
    urls["add"] = reverse(f"admin:{model}_add")

    offered = page(browser, f"{model}_change", row.pk) + page(browser, f"{model}_changelist")
    refused = [browser.post(url, {"state": "succeeded", "post": "yes"}).status_code for url in urls.values()]
    browser.post(reverse(f"admin:{model}_changelist"), {"action": "delete_selected", "_selected_action": row.pk})

    assert refused == [403, 403, 403]
    assert list(type(row).objects.values()) == before
    assert not [what for what in ("_save", urls["add"], urls["delete"], "delete_selected") if what in offered]


@pytest.mark.parametrize("model", [RUNS, LOG])
def test_the_pages_are_closed_by_default(client, model):
    """C11: staff without the permission can open neither list nor row."""
    run = run_row()
    row = run if model == RUNS else execution(run)
    client.force_login(staff())

    answers = [
        client.get(reverse(f"admin:{model}_changelist")),
        client.get(reverse(f"admin:{model}_change", args=[row.pk])),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]


# One run on one page


def test_the_timeline_of_a_run(root):
    """D1: a run's page shows steps, the COMMIT and every execution of every task in order, each with its time."""
    run = run_row(task_names=["mail", "notify", "publish"])
    execution(run, result={"to": "buyer"})
    execution(run, name="notify", position=1, state=ExecutionState.LOST, finished_at=None)
    execution(
        run,
        name="notify",
        position=1,
        attempt=2,
        state=ExecutionState.FAILED,
        error_type="OSError",
        error_message="down",
    )
    skipped = {"started_at": None, "finished_at": None, "error_message": "notify failed"}
    execution(run, name="publish", position=2, state=ExecutionState.SKIPPED, **skipped)

    shown = page(root, f"{RUNS}_change", run.pk)

    timeline = shown.partition('<ol class="numflow-timeline">')[2].partition("</ol>")[0]
    assert_in_order(
        timeline,
        *("100 validate", "1.2 ms", "1200 sell", "20.0 ms", "COMMIT"),
        *("mail", "succeeded", "250 ms", escape('{"to": "buyer"}')),
        *("notify", "lost", "notify #2", "failed", "250 ms", "OSError: down"),
        *("publish", "skipped", "notify failed"),
    )
    assert "not run yet" not in timeline


def assert_in_order(text, *parts):
    at = 0
    for part in parts:
        assert part in text[at:], f"{part!r} is not there, or not after what comes before it:\n{text}"
        at = text.index(part, at) + len(part)


def test_the_timeline_of_a_run_that_goes_on(root):
    """D1: a run's page shows the task that is running and the tasks that have not run yet."""
    run = run_row(state=RunState.RUNNING, position=1)
    execution(run)

    shown = page(root, f"{RUNS}_change", run.pk)

    assert_in_order(shown, "COMMIT", "mail", "succeeded", "notify", "running", "publish", "not run yet")


def test_a_request_that_was_rolled_back(root):
    """D2: the row of a rolled-back request shows which steps ran, the error, and how many tasks were not run."""
    steps = [STEPS[0], STEPS[1] | {"error": "RuntimeError: <boom>"}]
    run = run_row(state=RunState.ROLLED_BACK, steps=steps, position=0, reason="RuntimeError: <boom>", status_code=500)

    shown = page(root, f"{RUNS}_change", run.pk)

    assert_in_order(shown, "100 validate", "1200 sell", "RuntimeError: &lt;boom&gt;", "ROLLBACK: 3 async tasks not run")
    assert "COMMIT" not in shown
    assert "not run yet" not in shown


def test_a_request_that_raised_shows_its_traceback(root):
    """D2: the page of a request that raised has the traceback; other pages have no such section."""
    raised = run_row(state=RunState.ROLLED_BACK, traceback='File "steps/100_validate.py"\nOSError: <down>')

    assert "OSError: &lt;down&gt;" in page(root, f"{RUNS}_change", raised.pk)
    assert "Traceback" not in page(root, f"{RUNS}_change", run_row(state=RunState.ROLLED_BACK).pk)


@pytest.mark.parametrize(
    ("names", "text"), [(["mail"], "ROLLBACK: 1 async task not run"), ([], "ROLLBACK</li>")], ids=["one", "none"]
)
def test_how_many_tasks_were_not_run(root, names, text):
    """D2: one task that was not run is in the singular; for a feature without tasks there is no such text."""
    run = run_row(state=RunState.ROLLED_BACK, task_names=names, position=0)

    assert text in page(root, f"{RUNS}_change", run.pk)


def test_secrets_are_masked(browser):
    """The values of secret keys in context and result are never shown, at any depth."""
    context = Context(password="hunter2", card={"card_number": "4111", "name": "Kim"}, item="book")
    run = run_row(context=freeze(context))
    row = execution(run, result={"token": "s3cret", "to": "buyer"})

    pages = [page(browser, f"{RUNS}_change", run.pk), page(browser, f"{LOG}_change", row.pk)]

    for secret in ("hunter2", "4111", "s3cret"):
        assert not [shown for shown in pages if secret in shown]
    assert_in_order(pages[0], escape('"password": "********"'), escape('"card_number": "********"'), "Kim", "book")
    assert escape('"token": "********"') in pages[1]


def test_a_run_whose_code_is_gone(browser):
    """A run is shown as before when its feature, or the model of an instance on ctx, no longer exists."""
    context = '{"order":{"$":"model","m":"gone.Order","pk":1,"db":"default"}}'
    run = run_row(feature="gone.place_order", task_names=["vanished"], context=context, position=1)
    execution(run, name="vanished")

    shown = page(browser, f"{RUNS}_change", run.pk)

    assert_in_order(shown, "gone.place_order", "vanished", "gone.Order")
    assert [row.feature for row in listed(browser, RUNS)] == ["gone.place_order"]


# Search, filters and order


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{0}", ["/a/"]),
        ("/b", ["/b/"]),
        ("kim", ["/a/"]),
        ("buy", []),
        ("0193", []),
        ("'); --", []),
    ],
    ids=["id", "path", "user", "feature", "part of an id", "nonsense"],
)
def test_search_for_runs(root, text, found):
    """Runs are found by their whole id, by path and by user."""
    runs = [run_row(path="/a/", created_by="kim"), run_row(path="/b/", created_by="lee")]

    assert [run.path for run in listed(root, RUNS, q=text.format(*(run.pk for run in runs)))] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("{0}", ["mail"]), ("notif", ["notify"]), ("connectionerror", ["notify"]), ("nonsense", [])],
    ids=["run", "name", "error", "nonsense"],
)
def test_search_in_the_task_log(root, text, found):
    """Executions are found by the id of their run, by name and by type of error."""
    runs = [run_row(), run_row()]
    execution(runs[0])
    execution(runs[1], name="notify", error_type="ConnectionError")

    assert [row.name for row in listed(root, LOG, q=text.format(*(run.pk for run in runs)))] == found


@pytest.mark.parametrize(
    ("model", "query", "found"),
    [
        (RUNS, {"state__exact": "failed"}, ["market.buy"]),
        (RUNS, {"feature": "market.sell"}, ["market.sell"]),
        (RUNS, {"queue": "bulk"}, ["market.sell"]),
        (LOG, {"state__exact": "failed"}, ["market.sell"]),
        (LOG, {"name": "mail"}, ["market.buy"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_filters(root, model, query, found):
    """Runs are filtered by state, feature and queue, executions by state and name, and the page has these filters."""
    execution(run_row())
    other = run_row(feature="market.sell", queue="bulk", state=RunState.SUCCEEDED)
    execution(other, name="notify", state=ExecutionState.FAILED)

    rows = listed(root, model, **query)

    assert [getattr(row, "run", row).feature for row in rows] == found
    [name] = query
    assert f"?{name}=" in page(root, f"{model}_changelist")


def test_the_newest_comes_first(root):
    """Both lists begin with the newest row."""
    runs = [run_row(path=path) for path in ("/first/", "/second/")]
    for run in runs:
        execution(run)

    assert [run.path for run in listed(root, RUNS)] == ["/second/", "/first/"]
    assert [row.run.path for row in listed(root, LOG)] == ["/second/", "/first/"]


def test_the_task_log_asks_once_for_all_runs(root, django_assert_max_num_queries):
    """The number of queries for the task log does not grow with its rows."""
    for _ in range(20):
        execution(run_row())

    with django_assert_max_num_queries(8):
        page(root, f"{LOG}_changelist")
