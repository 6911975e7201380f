"""Doorbells that ring too often."""

from rq import Queue

from numflow_django.broker import dispatch
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE


def ringing(scene):
    """However often a run is announced, also by doorbells of the past and of the future, its tasks run once."""
    count = scene.size(300, 40)
    queue = Queue("default", connection=scene.redis.client)
    for _ in range(count):
        run = scene.start("three", seconds=0.02)
        for number in (0, 2):  # stale, and not rung yet
            dispatch._enqueue(run, number, "default", 60, "site.three")
        # Side by side, so that the workers take them at once
        jobs = [dispatch.job_id(run, number) for number in (1, 0, 2) for _ in range(4)]
        scene.random.shuffle(jobs)
        scene.redis.client.rpush(queue.key, *jobs)
    scene.pool(8)
    scene.wait(scene.size(300, 90))
    verdict = scene.judge(THREE, extra=0)
    scene.check(verdict.executions == count * 3, f"{verdict.executions} executions of {count * 3} tasks")
    return f"{count} x 3", f"{verdict.executions} executions of {count * 3} tasks, by 8 workers of an rqworker-pool"


SCENARIOS = [
    Scenario(
        number="9",
        fault="every doorbell five times, stale ones too; 8 workers race one run",
        wanted="executions = tasks",
        play=ringing,
    )
]
