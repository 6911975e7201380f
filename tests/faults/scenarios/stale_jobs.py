"""Jobs that are in Redis too often."""

from rq import Queue

from numflow_django.broker.job import job_id
from numflow_django.broker.push import push
from numflow_django.models import FeatureRun
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE


def enqueue_too_often(scene):
    """However often a run is enqueued, also under old and future dispatch numbers, its tasks run once."""
    count = scene.size(300, 40)
    queue = Queue("default", connection=scene.redis.client)
    for _ in range(count):
        run = scene.start("three", seconds=0.02)
        for number in (0, 2):  # an old one, and one that is not used yet
            push(FeatureRun(pk=run, dispatch_no=number, queue="default", feature="site.three"), timeout=60)
        # Side by side, so that the workers take them at once
        jobs = [job_id(run, number) for number in (1, 0, 2) for _ in range(4)]
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
        fault="every job five times, stale ones too; 8 workers race one run",
        wanted="executions = tasks",
        play=enqueue_too_often,
    )
]
