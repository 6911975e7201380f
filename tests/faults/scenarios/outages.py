"""Redis and PostgreSQL: away, silent, emptied, restarted."""

import threading
import time
from contextlib import contextmanager
from itertools import cycle

from numflow_django.models import FeatureRun
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE
from tests.support.waiting import eventually


def redis_away(scene):
    """Requests are answered as ever, quickly, and their tasks run when Redis is back."""
    count = scene.size(100, 20)
    scene.web()
    scene.workers(2)
    scene.post_all([f"warm-{number}" for number in range(8)])
    slowest = []
    for name, begin, end, limit in (
        ("down", scene.redis.kill, scene.redis.start, 0.7),
        ("hole", scene.redis.stop_answering, scene.redis.answer_again, 1.5),
    ):
        begin()
        answers = []
        for number in range(count):
            scene.progress(f"{name} {number}")
            answers.append(scene.post(f"{name}-{number}"))
            time.sleep(6 / count)  # longer than the pause after a failure, so that some requests try
        end()
        slowest.append(max(answer.seconds for answer in answers))
        scene.check(all(answer.status == 201 for answer in answers), f"{name}: an answer other than 201")
        scene.check(slowest[-1] < limit, f"{name}: {slowest[-1]:.2f} s for an answer, {limit} s may be")
        scene.wait(90, name)
    verdict = scene.judge(THREE, extra=0)
    return f"2 x {count} x 3", f"slowest answer {slowest[0]:.2f} s and {slowest[1]:.2f} s, {len(verdict.lost)} lost"


def flushed(scene):
    """The jobs that Redis lost are enqueued again, and no task runs twice because of that."""
    count, seconds = scene.size((1_000, 0.1), (100, 0.3))
    for _ in range(count):
        scene.start("one", seconds=seconds)  # so that every flush finds some in the queue
    scene.workers(2)
    for _ in range(5):
        message = "the jobs are not in Redis again"
        eventually(lambda: scene.redis.client.llen("rq:queue:default"), timeout=30, message=message)
        scene.redis.client.flushall()
        time.sleep(scene.random.uniform(0, 0.5))
    scene.wait(scene.size(240, 90))
    verdict = scene.judge(["solo"], extra=0)
    return f"{count} x 1", f"5 flushes, {len(verdict.lost)} lost, {verdict.extra} extra"


@contextmanager
def restarting(scene, every, restart):
    """Restart something again and again meanwhile; gives the list of when."""
    over, times = threading.Event(), []

    def again():
        while not over.wait(every * scene.random.uniform(0.8, 1.2)):
            restart()
            times.append(time.monotonic())

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def traffic(scene, count, seconds):
    """*count* requests over *seconds*; gives the answers."""
    answers = []
    began = time.monotonic()
    for number in range(0, count, 4):
        scene.progress(f"{number} requests")
        items = [f"item-{number + offset}" for offset in range(min(4, count - number))]
        answers += scene.post_all(items, seconds=0.25)  # so that every fault finds tasks that run
        time.sleep(max(0.0, began + (number + 4) * seconds / count - time.monotonic()))
    return answers


def redis_restarted(scene):
    """Nothing is lost by a Redis that is killed and comes back empty, over and over."""
    count, every, seconds = scene.size((500, 10, 180), (60, 4, 16))
    scene.web()
    workers = scene.workers(4)
    # The longest outlasts redis-py's own retries, so that workers end
    outages = cycle((0.1, 5, 1.5))

    def restart():
        scene.redis.kill()
        time.sleep(next(outages))
        scene.redis.start()

    with restarting(scene, every, restart) as restarts:
        answers = traffic(scene, count, seconds)
    scene.wait(scene.size(240, 90))
    scene.check(all(answer.status == 201 for answer in answers), "an answer other than 201")
    verdict = scene.judge(THREE, extra=count)
    figures = f"{len(restarts)} restarts, {len(verdict.lost)} lost, {verdict.extra} extra"
    return f"{count} x 3", f"{figures}, {workers.restarts} workers restarted"


def postgres_restarted(scene):
    """What was committed runs, atomic tasks take effect once, and no answer tells of a success that there was not."""
    count, every, seconds = scene.size((500, 20, 180), (60, 6, 20))
    scene.web(TASK_MAX_CRASHES=1_000)
    workers = scene.workers(4, TASK_MAX_CRASHES=1_000)
    crashes = 0

    def restart():
        nonlocal crashes
        crash = scene.random.random() < 0.5
        crashes += crash
        scene.base.stop(crash=crash)
        time.sleep(scene.random.uniform(0, 2))
        scene.base.start()

    with restarting(scene, every, restart) as restarts:
        answers = traffic(scene, count, seconds)
    scene.wait(scene.size(240, 90))
    good = [answer.run for answer in answers if answer.status == 201]
    kept = scene.query(lambda: {str(pk) for pk in FeatureRun.objects.values_list("pk", flat=True)})
    missing = [run for run in good if run not in kept]
    scene.check(not missing, f"{len(missing)} answers 201 without a row")
    rolled_back = scene.query(lambda: FeatureRun.objects.filter(state="rolled_back").delete()[0])
    # A server that crashes has forgotten the checkpoints of the last moments, which did not wait for its disk
    verdict = scene.judge(THREE, extra=count, may_repeat=bool(crashes))
    figures = f"{len(restarts)} restarts ({crashes} crashes), {len(good)} answers 201, {len(missing)} without a row"
    return (
        f"{count} x 3",
        f"{figures}, {rolled_back} rollbacks logged, {len(verdict.lost)} lost, {verdict.extra} extra, "
        f"{workers.restarts} workers restarted",
    )


SCENARIOS = [
    Scenario(
        number="5",
        fault="Redis down at commit; black-holed",
        wanted="answers under 0.7 s and 1.5 s, all run after it is back",
        play=redis_away,
    ),
    Scenario(number="6", fault="FLUSHALL while they are queued, five times", wanted="0 lost, 0 extra", play=flushed),
    Scenario(
        number="7",
        fault="Redis killed and restarted empty, again and again",
        wanted="0 lost",
        play=redis_restarted,
    ),
    Scenario(
        number="8",
        fault="PostgreSQL restarted again and again",
        wanted="0 lost, `atomic` effects exactly one, no 2xx without a row",
        play=postgres_restarted,
        databases=("postgresql",),
    ),
]
