"""Web processes that die: after the COMMIT, and before it."""

import time

from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE
from tests.faults.site.models import Order

SHARE = 0.3


def after_commit(scene):
    """The tasks of every committed request run once, although the web process did not enqueue them."""
    count = scene.size(500, 60)
    scene.web()
    scene.workers()
    items = [f"item-{number}" for number in range(count)]
    doomed = set(scene.random.sample(items, int(count * SHARE)))
    for item in doomed:
        scene.plan(item, "before-enqueue", "horse")

    answers = scene.post_all(items)
    scene.wait(scene.size(240, 90))

    verdict = scene.judge(THREE, extra=0)
    silent = {answer.item for answer in answers if answer.status is None}
    scene.check(silent == doomed, f"{len(silent)} unanswered instead of {len(doomed)}")
    scene.check(Order.objects.count() == count == len(scene.runs()), "orders, runs and requests differ in number")
    return f"{count} x 3", f"{len(doomed)} killed, {len(verdict.lost)} lost, {verdict.extra} extra"


def in_transaction(scene):
    """A request that died inside its transaction leaves nothing."""
    count = scene.size(200, 30)
    scene.web()
    scene.workers(1)
    items = [f"item-{number}" for number in range(count)]
    for number, item in enumerate(items):
        scene.plan(item, ("in-transaction", "before-commit")[number % 2], "horse")

    answers = scene.post_all(items)
    time.sleep(2)  # two ticks of the relay

    orders, runs, begun = Order.objects.count(), len(scene.runs()), len(scene.ledger.begun())
    scene.check((orders, runs, begun) == (0, 0, 0), f"{orders} orders, {runs} runs, {begun} executions")
    scene.check(all(answer.status is None for answer in answers), "a killed request was answered")
    return f"{count} x 3", f"{orders} orders, {runs} runs"


SCENARIOS = [
    Scenario(
        number="1",
        fault="web process killed between COMMIT and enqueue, 30 % of requests",
        wanted="0 lost, 0 extra",
        play=after_commit,
    ),
    Scenario(
        number="2",
        fault="web process killed inside the transaction",
        wanted="neither order nor run",
        play=in_transaction,
    ),
]
