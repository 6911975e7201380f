"""Random lives of a run, compared with a small model of what the state diagram allows."""

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from numflow_django.db.timestamps import Now
from numflow_django.exceptions import ClaimLost
from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution

NAMES = ["mail", "notify", "publish"]
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)

#: The changes of state that a run may make.
EDGES = {
    (RunState.PENDING, RunState.QUEUED),
    (RunState.WAITING, RunState.QUEUED),
    (RunState.WAITING, RunState.PENDING),
    (RunState.QUEUED, RunState.PENDING),
    (RunState.QUEUED, RunState.RUNNING),
    (RunState.PENDING, RunState.RUNNING),
    (RunState.RUNNING, RunState.WAITING),
    (RunState.RUNNING, RunState.PENDING),
    *((RunState.RUNNING, end) for end in ENDED),
    *((state, RunState.CANCELLED) for state in (RunState.PENDING, RunState.QUEUED, RunState.WAITING)),
    (RunState.FAILED, RunState.PENDING),
    (RunState.CANCELLED, RunState.PENDING),
}


class Life(RuleBasedStateMachine):
    """One run, the workers that have claimed it, also dead ones, and all other processes."""

    @initialize(waits=st.booleans())
    def begin(self, waits):
        facts = {"feature": "market.buy", "queue": "default", "task_names": NAMES}
        self.run = FeatureRun.objects.create_run(wait=60 if waits else 0, **facts)
        self.holders = []
        self.is_due = not waits
        self.seen = self.row()
        self.log_size = 0
        self.resumed = False

    # What is there

    def row(self):
        return FeatureRun.objects.values().get(pk=self.run.pk)

    def read(self):
        return FeatureRun.objects.get(pk=self.run.pk)

    def holds(self, worker):
        return self.seen["state"] == RunState.RUNNING and self.seen["claim_id"] == worker.claim_id

    def execution(self, worker, state):
        position = worker.position
        return TaskExecution(run=worker, name=NAMES[position], position=position, token=worker.token, state=state)

    # The holder's transitions

    @precondition(lambda self: self.seen["state"] in {RunState.QUEUED, RunState.PENDING})
    @rule()
    def claim(self):
        """A worker takes the RQ job of a run."""
        worker = FeatureRun.objects.claim(self.run.pk, self.seen["dispatch_no"], worker=f"w{len(self.holders)}")

        self.holders.append(worker)
        assert worker.token == self.seen["token"] + 1
        self.expect(RunState.RUNNING)

    @precondition(lambda self: self.seen["state"] == RunState.RUNNING and not self.seen["cancel_requested"])
    @rule()
    def take_over(self):
        """The worker is assumed dead and another one claims the run; the first one still works."""
        self.recover(gives_up=False, expired=False, lapse=False)
        self.dispatch()
        self.claim()

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), how=st.sampled_from(["checkpoint", "postpone", "release", "fail"]), later=st.booleans())
    def transition(self, data, how, later):
        """A worker, who may have lost its claim long ago, comes to the end of a task."""
        worker = data.draw(st.sampled_from(self.holders[-2:]))
        holds = self.holds(worker)
        position = worker.position
        try:
            changes = self.write(worker, how, later)
        except ClaimLost:
            assert not holds
            self.expect_nothing()
            return
        worker.remember(changes)
        if not holds:
            self.expect_nothing()  # it had written the same before, and gets the same answer
            return
        wanted = {"postpone": RunState.WAITING, "release": RunState.PENDING, "fail": RunState.FAILED}.get(how)
        if how == "checkpoint":
            wanted = RunState.SUCCEEDED if position + 1 == len(NAMES) else RunState.RUNNING
        if self.seen["cancel_requested"] and wanted not in ENDED:
            wanted = RunState.CANCELLED
        self.is_due = not (how == "postpone" and later)
        self.expect(
            wanted, position=position + (how == "checkpoint"), executions=int(how in {"checkpoint", "postpone"})
        )
        assert worker.state == wanted

    def write(self, worker, how, later):
        if worker.position == len(NAMES):
            return worker.release("handed over")  # it has ended the run, and claims to go on
        if how == "checkpoint":
            end = RunState.SUCCEEDED if worker.position + 1 == len(NAMES) else None
            return worker.checkpoint([self.execution(worker, ExecutionState.SUCCEEDED)], end=end)
        if how == "postpone":
            tried = [self.execution(worker, ExecutionState.FAILED)]
            return worker.postpone(tried, seconds=60 if later else 0, reason="again")
        return worker.release("handed over") if how == "release" else worker.fail("unknown task")

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def renew(self, data):
        """A worker renews its lease, if it still has one."""
        worker = data.draw(st.sampled_from(self.holders[-2:]))
        holds = self.holds(worker)

        assert worker.renew_lease() is holds
        self.expect(self.seen["state"]) if holds else self.expect_nothing()

    # Transitions by other processes

    @precondition(lambda self: self.seen["state"] == RunState.RUNNING)
    @rule(gives_up=st.booleans(), expired=st.booleans(), lapse=st.booleans())
    def recover(self, gives_up, expired, lapse):
        """The relay, or a worker's parent, finds the holder dead."""
        if lapse:
            FeatureRun.objects.filter(pk=self.run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
            self.seen = self.row()
        run = self.read()
        position = run.position
        dead = lapse or not expired
        end = RunState.FAILED if gives_up and position + 1 == len(NAMES) else None
        lost = [self.execution(run, ExecutionState.LOST)]

        assert run.recover(lost, settled=int(gives_up), end=end, reason="resuming", only_if_expired=expired) is dead
        if not dead:
            self.expect_nothing()
            return
        wanted = end or (RunState.CANCELLED if self.seen["cancel_requested"] else RunState.PENDING)
        self.is_due = True
        self.expect(wanted, position=position + gives_up, executions=1)

    @precondition(lambda self: self.seen["state"] in {RunState.PENDING, RunState.WAITING})
    @rule()
    def dispatch(self):
        """The relay enqueues a run that is due; a second one that has read the same row does not."""
        run, late = self.read(), self.read()

        assert run.begin_dispatch() is self.is_due
        assert late.begin_dispatch() is False
        self.expect(RunState.QUEUED) if self.is_due else self.expect_nothing()

    @precondition(lambda self: self.seen["state"] == RunState.QUEUED)
    @rule()
    def undispatch(self):
        """The run was not enqueued, or Redis has lost it."""
        assert self.read().undispatch() is True
        self.is_due = True
        self.expect(RunState.PENDING)

    @precondition(lambda self: not self.is_due)
    @rule()
    def time_passes(self):
        """A run that waits becomes due."""
        FeatureRun.objects.filter(pk=self.run.pk).update(available_at=Now())
        self.is_due = True
        self.seen = self.row()

    @precondition(lambda self: self.seen["state"] == RunState.WAITING)
    @rule()
    def skip_wait(self):
        """The run's wait is ended."""
        assert self.read().skip_wait() is True
        self.is_due = True
        self.expect(RunState.PENDING)

    @precondition(lambda self: self.seen["state"] not in ENDED)
    @rule()
    def cancel(self):
        """A person cancels the run."""
        state = self.seen["state"]

        assert self.read().cancel() is True
        self.expect(state if state == RunState.RUNNING else RunState.CANCELLED)
        assert self.seen["cancel_requested"]

    @precondition(lambda self: self.seen["state"] in {RunState.FAILED, RunState.CANCELLED})
    @rule(only_failed=st.booleans())
    def resume(self, only_failed):
        """A person resumes the run; in one that has no failed task, none is to be run again."""
        states = dict(self.run.log.values_list("name", "state"))
        has_failed = {ExecutionState.FAILED, ExecutionState.LOST} & set(states.values())
        has_rest = any(states.get(name) != ExecutionState.SUCCEEDED for name in NAMES)

        resumed = self.read().resume(only_failed=only_failed)

        assert resumed is bool(has_failed if only_failed else has_rest)
        if resumed:
            self.is_due = self.resumed = True
            self.expect(RunState.PENDING, position=self.row()["position"])
            assert not self.seen["cancel_requested"]
            assert sorted(self.seen["task_names"]) == NAMES
            assert self.seen["position"] < len(NAMES)
        else:
            self.expect_nothing()

    @rule(behind=st.integers(min_value=1, max_value=3))
    def what_the_state_does_not_allow(self, behind):
        """Everything is tried at the wrong moment, and stale RQ jobs run."""
        state, number = self.seen["state"], self.seen["dispatch_no"]
        assert FeatureRun.objects.claim(self.run.pk, number - behind, worker="late") is None
        if state not in {RunState.QUEUED, RunState.PENDING}:
            assert FeatureRun.objects.claim(self.run.pk, number, worker="late") is None
        if state not in {RunState.PENDING, RunState.WAITING}:
            assert self.read().begin_dispatch() is False
        if state != RunState.QUEUED:
            assert self.read().undispatch() is False
        if state != RunState.WAITING:
            assert self.read().skip_wait() is False
        if state in ENDED:
            assert self.read().cancel() is False
        if state not in {RunState.FAILED, RunState.CANCELLED}:
            assert self.read().resume() is False
        if state != RunState.RUNNING:
            assert self.read().recover([], settled=0, end=None, reason="late", only_if_expired=False) is False
        self.expect_nothing()

    # What always holds

    def expect(self, state, *, position=None, executions=0):
        """Check that the run has changed as expected, and remember its row."""
        before, after = self.seen, self.row()
        assert after["state"] == state
        assert before["state"] == state or (before["state"], state) in EDGES
        assert after["position"] == (before["position"] if position is None else position)
        assert after["token"] >= before["token"]
        assert after["dispatch_no"] >= before["dispatch_no"]
        assert self.resumed or after["position"] >= before["position"]
        assert TaskExecution.objects.filter(run=self.run).count() == self.log_size + executions
        self.log_size += executions
        self.seen, self.resumed = after, False

    def expect_nothing(self):
        """Neither row nor log have changed."""
        assert self.row() == self.seen
        assert TaskExecution.objects.filter(run=self.run).count() == self.log_size

    @invariant()
    def a_running_run_has_a_lease_and_no_other_has(self):
        if hasattr(self, "seen"):
            assert (self.row()["lease_expires_at"] is not None) is (self.seen["state"] == RunState.RUNNING)

    @invariant()
    def what_has_ended_has_an_end(self):
        if hasattr(self, "seen"):
            assert (self.row()["finished_at"] is not None) is (self.seen["state"] in ENDED)


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_the_life_of_a_run():
    """C13: in whatever order things happen, only the diagram's arrows are used, and stale workers change nothing."""
    run_state_machine_as_test(Life, settings=settings(max_examples=80, stateful_step_count=30, deadline=None))
