"""Two hosts with workers; the cable of one is pulled out in the middle of its tasks."""

import time
from collections import Counter

import pytest

from tests.faults.processes import is_gone
from tests.support.waiting import eventually

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(240)]

THREE = ["alpha", "beta", "gamma"]

#: Workers on each host.
COUNT = 2


def test_a_host_that_is_cut_off_and_healed(stage):
    """C13, D5, D8: nothing is lost or out of order; the other host takes its runs over; atomic effects are one each."""
    stage.start_workers("east", "west", count=COUNT)
    stage.start_web()

    # Cut, while all of east's workers are in a task, one of them in an atomic one
    statuses = stage.post(24, seconds=0.3)
    names = stage.names("east")
    tasks = eventually(lambda: all_at_work(stage), timeout=60, message="the workers on east are never all at work")
    stage.network.cut("east")
    eventually(lambda: stage.is_quiet("east"), timeout=10, message="PostgreSQL is still at work for east")
    held = stage.held(names)
    statuses |= stage.post(10, seconds=0.1)
    stage.await_success("while east is cut off")

    # Heal, and let it work
    healed = time.time()
    stage.network.heal("east")
    eventually(lambda: works_again(stage, statuses, healed), timeout=90, message="east does not work again")
    eventually(lambda: all(is_over(stage, line.pid, healed) for line in tasks), timeout=60, message="stale holders")
    stage.await_success("after east is back")

    runs = stage.ask("SELECT run::text FROM site_order")
    assert statuses == {201}
    assert len(runs) == stage.posted
    assert stage.truth.not_done(runs, THREE) == set()
    assert stage.truth.out_of_order(THREE) == []
    assert {line.run for line in tasks} <= held
    assert {run for run, _ in stage.truth.repeated()} <= held
    assert max(stage.truth.repeated().values()) == 1
    assert set(stage.ask("SELECT run_id::text FROM numflow_django_taskexecution WHERE state = 'lost'")) == held
    effects = Counter(stage.ask("SELECT run::text, task FROM site_effect"))
    assert effects == Counter((run, "beta") for run in runs)


def all_at_work(stage):
    """The tasks of east's workers, if all have one, one of these is atomic, and none is the last of its run."""
    tasks = stage.truth.under_way("east")
    names = {line.task for line in tasks}
    return tasks if len(tasks) == COUNT and "beta" in names and "gamma" not in names else None


def works_again(stage, statuses, healed):
    """Whether every worker on east has done a task since; asks for work for them."""
    statuses |= stage.post(1, seconds=0)
    # Its clock and PostgreSQL's are one
    query = "SELECT DISTINCT worker FROM numflow_django_taskexecution WHERE started_at > to_timestamp(%s)"
    names = stage.names("east")
    return len(names) == COUNT and names <= set(stage.ask(query, healed))


def is_over(stage, pid, healed):
    """Whether the process that held a run when the cable was cut has ended, or is at work on others."""
    return is_gone(pid) or any(line.pid == pid for line in stage.truth.begun("east", since=healed))
