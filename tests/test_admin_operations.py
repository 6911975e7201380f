"""The buttons of the admin: cancel a run, and run its tasks again."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.urls import reverse

from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

LIST = "admin:numflow_django_featurerun_changelist"
TITLES = {
    "cancel": "Cancel",
    "resume_failed": "Run the failed tasks again",
    "resume": "Run all that remains",
}


def login(client, *permissions):
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user


@pytest.fixture
def operator(client):
    return login(client, "view_featurerun", "operate_featurerun")


def run_row(state, *executed):
    """Return a run of two tasks, with an execution for each state in *executed*."""
    names = ["mail", "notify"]
    run = FeatureRun.objects.create(
        feature="market.buy", queue="default", state=state, task_names=names, token=1, position=len(executed)
    )
    for position, each in enumerate(executed):
        TaskExecution.objects.create(run=run, name=names[position], position=position, token=1, state=each)
    return run


def press(client, run, operation):
    return client.post(reverse("admin:numflow_django_operate", args=[run.pk]), {"operation": operation})


def messages_of(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


OK, NO = ExecutionState.SUCCEEDED, ExecutionState.FAILED
OFFERS = [
    (RunState.PENDING, [], {"cancel"}),
    (RunState.WAITING, [NO], {"cancel"}),
    (RunState.RUNNING, [OK], {"cancel"}),
    (RunState.SUCCEEDED, [OK, OK], set()),
    (RunState.FAILED, [OK, NO], {"resume_failed"}),
    (RunState.FAILED, [NO, ExecutionState.SKIPPED], {"resume_failed", "resume"}),
    (RunState.CANCELLED, [OK], {"resume"}),
    (RunState.ROLLED_BACK, [], set()),
]


@pytest.mark.parametrize(("state", "executed", "offered"), OFFERS)
def test_a_run_s_page_offers_what_its_state_allows(client, operator, state, executed, offered):
    """D4: a run's page has only the buttons that its state allows."""
    run = run_row(state, *executed)

    shown = client.get(reverse("admin:numflow_django_featurerun_change", args=[run.pk])).content.decode()

    assert {name for name in TITLES if f'value="{name}"' in shown} == offered


def test_a_cancelled_run(client, operator):
    """C9: the button cancels a waiting run, and the history and a message say so."""
    run = run_row(RunState.WAITING, NO)

    answer = press(client, run, "cancel")

    run.refresh_from_db()
    assert (answer.status_code, run.state) == (302, RunState.CANCELLED)
    assert messages_of(answer) == ["Cancel: 1 run."]
    assert list(LogEntry.objects.values_list("user", "object_id", "change_message")) == [
        (operator.pk, str(run.pk), "Cancel")
    ]


@pytest.mark.parametrize(
    ("operation", "names", "position"),
    [("resume_failed", ["notify", "mail"], 1), ("resume", ["mail", "notify"], 0)],
)
def test_a_resumed_run(client, operator, enqueued, operation, names, position):
    """D4: the page of a failed run resumes it at once, with its failed tasks or all remaining ones."""
    run = run_row(RunState.FAILED, NO, ExecutionState.SKIPPED)

    answer = press(client, run, operation)

    run.refresh_from_db()
    assert (run.state, run.task_names, run.position) == (RunState.QUEUED, names, position)
    assert enqueued == [run.pk]
    assert messages_of(answer) == [f"{TITLES[operation]}: 1 run."]


def test_a_run_that_has_ended_meanwhile(client, operator, enqueued):
    """C9: a button that is pressed too late changes nothing, and a message says so."""
    run = run_row(RunState.SUCCEEDED, OK, OK)

    answer = press(client, run, "resume")

    assert (FeatureRun.objects.get().state, list(enqueued)) == (RunState.SUCCEEDED, [])
    assert messages_of(answer) == ["1 run was left as it is: its state does not allow this."]
    assert not LogEntry.objects.exists()


def test_several_runs_at_once(client, operator, enqueued):
    """B7: the failed runs among the selected ones are run again; the others are left as they are."""
    failed, done = run_row(RunState.FAILED, NO, OK), run_row(RunState.SUCCEEDED, OK, OK)

    answer = client.post(reverse(LIST), {"action": "resume_failed", "_selected_action": [failed.pk, done.pk]})

    assert dict(FeatureRun.objects.values_list("pk", "state")) == {failed.pk: "queued", done.pk: "succeeded"}
    assert messages_of(answer) == [
        "Run the failed tasks again: 1 run.",
        "1 run was left as it is: its state does not allow this.",
    ]


def test_redis_is_down(client, operator, enqueued):
    """D5: a run that is resumed while Redis is down is pending, and the relay enqueues it."""
    enqueued.is_down = True
    run = run_row(RunState.FAILED, NO, OK)

    press(client, run, "resume")

    assert FeatureRun.objects.get().state == RunState.PENDING


@pytest.mark.parametrize("permissions", [("view_featurerun",), ("operate_featurerun",)])
def test_users_without_the_permission(client, permissions):
    """C11: users without the permission see no button and are refused."""
    run = run_row(RunState.FAILED, NO, OK)
    login(client, *permissions)

    shown = client.get(reverse("admin:numflow_django_featurerun_change", args=[run.pk])).content.decode()
    answers = [press(client, run, operation).status_code for operation in TITLES]
    client.post(reverse(LIST), {"action": "resume", "_selected_action": [run.pk]})

    assert 'name="operation"' not in shown
    assert answers == [403, 403, 403]
    assert FeatureRun.objects.get().state == RunState.FAILED


def test_what_cannot_be_done(client, operator):
    """An unknown operation, an unknown run and a GET are refused and change nothing."""
    run = run_row(RunState.FAILED, NO, OK)
    url = reverse("admin:numflow_django_operate", args=[run.pk])

    answers = [press(client, run, "delete"), press(client, FeatureRun(), "cancel"), client.get(url)]

    assert [answer.status_code for answer in answers] == [404, 404, 405]
    assert FeatureRun.objects.get().state == RunState.FAILED
