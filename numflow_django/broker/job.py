"""The RQ job of a run: the function that RQ calls, and the job's id, which is all that a worker reads."""

import re
from uuid import UUID

#: The wire format: the function that RQ calls by name. Never rename it.
JOB = "numflow_django.jobs.run_feature"

#: Seconds after which Redis forgets a job that RQ gave up, or whose worker died; our own record is the task log.
FAILURE_TTL = 86_400

#: What the id of a job begins with; the run's id and the dispatch number follow.
PREFIX = "numflow-"
JOB_ID = re.compile(PREFIX + "(?P<run>[0-9a-f]{32})-(?P<number>[0-9]+)")

#: The same pattern for the scripts in Redis. Lua cannot count repetitions, and escapes "-" with "%".
JOB_ID_IN_LUA = "^" + PREFIX.replace("-", "%-") + "[0-9a-f]" * 32 + "%-[0-9]+$"


def job_id(run_id: UUID, dispatch_no: int) -> str:
    """Return the id of the RQ job for a run and its dispatch number."""
    return f"{PREFIX}{run_id.hex}-{dispatch_no}"


def is_job_id(name: str) -> bool:
    """Return whether *name* is the id of a job of ours."""
    return JOB_ID.fullmatch(name) is not None


def parse_job_id(name: str) -> tuple[UUID, int]:
    """Return the run's id and the dispatch number from the job's id *name*. Raise ValueError if it is not ours."""
    match = JOB_ID.fullmatch(name)
    if match is None:
        raise ValueError(f"job {name!r} is not a run of numflow_django; this worker runs nothing else")
    return UUID(match["run"]), int(match["number"])
