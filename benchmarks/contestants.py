"""Who takes part: how each contestant's workers are started, as its documentation starts them."""

from dataclasses import dataclass, field

RQWORKER = ("-m", "django", "rqworker", "default", "--verbosity", "0")
BARE = ("-m", "benchmarks.site.bare")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to have three tasks done in order."""

    command: tuple[str, ...]  # arguments of Python; {workers}: how many worker processes
    environment: dict[str, str] = field(default_factory=dict)
    queue: str = ""  # the Redis list of what waits

    @property
    def is_single(self):
        """Whether the command makes one worker, and is started once for each."""
        return "{workers}" not in self.command


def _rq(worker_class, **environment):
    environment = {"BENCH_WORKER_CLASS": worker_class, **environment}
    return Contestant(command=RQWORKER, environment=environment, queue="rq:queue:default")


DRAMATIQ = Contestant(
    command=("-m", "dramatiq", "benchmarks.site.dramatiq_app", "--processes", "{workers}"),
    queue="dramatiq:default",
)
HUEY = Contestant(
    command=(
        *("-m", "huey.bin.huey_consumer", "benchmarks.site.huey_app.huey", "--quiet"),
        *("--worker-type", "process", "--workers", "{workers}"),
    ),
    queue="huey.redis.benchmarks",
)

CONTESTANTS = {
    # One run with three tasks, everything logged
    "ours": _rq("numflow_django.worker.FeatureWorker"),
    # The same with Django's default, which prepares no statement
    "ours-unprepared": _rq("numflow_django.worker.FeatureWorker", BENCH_PREPARE_THRESHOLD=""),
    # One job that runs the three tasks
    "rq": _rq("rq.worker.Worker"),
    "rq-simple": _rq("rq.worker.SimpleWorker"),
    # A chain of three
    "celery": Contestant(
        command=(
            *("-m", "celery", "--app", "benchmarks.site.celery_app", "worker"),
            *("--loglevel", "WARNING", "--concurrency", "{workers}"),
        ),
        queue="celery",
    ),
    # A pipeline of three, and one message that runs the three tasks
    "dramatiq": DRAMATIQ,
    "dramatiq-one": DRAMATIQ,
    "huey": HUEY,
    "huey-one": HUEY,
    # The ceilings: claim, a write for each task, finish; the same without waiting for the disk; claim and finish
    "bare-5": Contestant(command=(*BARE, "bare-5")),
    "bare-5-async": Contestant(command=(*BARE, "bare-5-async")),
    "bare-2": Contestant(command=(*BARE, "bare-2")),
}
