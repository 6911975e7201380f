"""Follows the tutorial in an empty folder: its files, its commands, and their output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.reader import PATIENCE, Reader, reading, sections
from tests.support.sites import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

TUTORIAL = ROOT / "docs" / "tutorial.md"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def reader() -> Iterator[Reader]:
    with reading() as reader:
        yield reader


def test_the_tutorial(reader: Reader) -> None:
    """A reader who follows docs/tutorial.md gets its results: a tested feature, its runs, a retry and a rollback."""
    done = []
    for title, section in sections(TUTORIAL).items():
        if "```" in section:
            reader.follow(section)
        if title in CHECKS:
            CHECKS[title](reader)
            done.append(title)

    assert done == list(CHECKS)


STATES = "from numflow_django.models import FeatureRun; print(*FeatureRun.objects.order_by('id').values_list('state'))"
TRIES = (
    "from numflow_django.models import TaskExecution; "
    "print(*TaskExecution.objects.order_by('id').values_list('run__path', 'name', 'state')[2:])"
)


def check_the_test(reader: Reader) -> None:
    """Check that both tests have run."""
    assert "Ran 2 tests" in reader.output


def check_the_run(reader: Reader) -> None:
    """Check that the run succeeded, the worker's terminal has the output of its task, and the admin has its page."""
    eventually(lambda: "succeeded" in reader.ask(STATES), timeout=PATIENCE)
    assert "Mail to minji@example.com: your order 1, 18000 won" in reader.log("rqworker")
    page = reader.ask(
        "from django.test import Client; from numflow_django.models import FeatureRun; "
        "c = Client(headers={'host': 'localhost'}); print(c.login(username='demo', password='demo')); "
        "print(c.get(f'/admin/numflow_django/featurerun/{FeatureRun.objects.get().pk}/change/').content.decode())"
    )
    assert page.startswith("True")
    for name in ("validate", "create_order", "respond", "COMMIT", "send_email", "count_sales"):
        assert name in page


def check_the_retry(reader: Reader) -> None:
    """Check that the second run succeeded after one failed try."""
    eventually(lambda: reader.ask(STATES).count("succeeded") == 2, timeout=PATIENCE)
    tries = re.findall(r"'(\w+)', '(\w+)'\)", reader.ask(TRIES))
    assert tries == [("send_email", "failed"), ("send_email", "succeeded"), ("count_sales", "succeeded")]


def check_the_rollback(reader: Reader) -> None:
    """Check that the third request left a row and no order."""
    assert "rolled_back" in reader.ask(STATES)
    assert reader.ask("from shop.models import Order; print(Order.objects.count())") == "2"


CHECKS = {
    "A test": check_the_test,
    "See it run": check_the_run,
    "A task that fails and is retried": check_the_retry,
    "A step that fails": check_the_rollback,
}
