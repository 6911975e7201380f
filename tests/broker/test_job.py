"""The id of a job: what a worker and the scripts in Redis take for a job of ours."""

import re
from uuid import UUID

import pytest

from numflow_django.broker.job import JOB_ID_IN_LUA, is_job_id, job_id, parse_job_id
from tests.broker.runs import RUN

FOREIGN = [
    "",
    "4f6d4c2e-3d0b-4f6d-8b6b-0a5a3a2f1c11",
    f"numflow-{RUN.hex}",
    f"numflow-{RUN.hex}-",
    f"numflow-{RUN.hex}-x",
    f"numflow-{RUN.hex}-1 ",
    f"numflow-{RUN.hex}-1\n",
    f"numflow-{RUN.hex}--1",
    f"numflow-{RUN.hex}0-1",
    f"numflow-{RUN.hex[1:]}-1",
    f"numflow-{RUN.hex.upper()}-1",
    f"numflow-{RUN}-1",
    f"numflow--{RUN.hex}-1",
    f"numflowX{RUN.hex}X1",
    f"x-numflow-{RUN.hex}-1",
]


def test_an_id_can_be_read():
    """The id holds the run's id and the dispatch number; it must not change, because it is in Redis."""
    assert job_id(RUN, 3) == "numflow-01a200bcb1e07370a911da0a90f78020-3"
    assert parse_job_id(job_id(RUN, 3)) == (RUN, 3)


@pytest.mark.parametrize("name", FOREIGN)
def test_another_id_is_refused(name):
    """What is not exactly an id of ours is refused, and the message names it."""
    assert not is_job_id(name)
    with pytest.raises(ValueError, match=re.escape(f"job {name!r} is not a run of numflow_django")):
        parse_job_id(name)


@pytest.mark.parametrize("name", [job_id(RUN, 1), job_id(UUID(int=0), 10**20), *FOREIGN])
def test_redis_takes_the_same_ids_for_ours(server, name):
    """The pattern of the scripts in Redis agrees with the expression that the worker uses."""
    found = server.eval(f'return string.find(ARGV[1], "{JOB_ID_IN_LUA}")', 0, name)

    assert bool(found) == is_job_id(name)
