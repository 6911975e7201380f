"""Follows the README in an empty folder: its files, its commands, and their output."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.reader import PATIENCE, WHEELS, Reader, reading, sections
from tests.support.sites import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "README.md"

ORDERS = "from shop.models import Order; print(*Order.objects.values_list('sku', flat=True))"
RUNS = "from numflow_django.models import FeatureRun; print(*FeatureRun.objects.values_list('pk', 'state'))"
COUNTS = (
    "from numflow_django.models import FeatureRun; from shop.models import Order; "
    "print(FeatureRun.objects.count(), Order.objects.count())"
)
FILE = "import numflow_django; print(numflow_django.__file__)"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A reader who has followed "Use it" and has four open terminals."""
    with reading() as reader:
        reader.follow(sections(README)["Use it"])
        yield reader


def order(reader: Reader, **data: str) -> str:
    """Run the README's last command with other data, and return its output."""
    command = re.findall(r"^curl .*", README.read_text(encoding="utf-8"), re.MULTILINE)[-1]
    return reader.run(re.sub("'{.*?}'", f"'{json.dumps(data)}'", command).replace("curl", "curl -sS"))


def wait_for_the_run(reader: Reader, answer: str) -> None:
    """Wait until the run whose id is in *answer* has succeeded."""
    run_id = re.search(r"^Numflow-Run: (\S+)", answer, re.MULTILINE)[1]
    done = f"UUID('{run_id}'), 'succeeded'"
    eventually(lambda: done in reader.ask(RUNS), timeout=PATIENCE, message=f"{run_id} has not succeeded")


@pytest.fixture
def coupon(reader: Reader) -> Iterator[None]:
    """A new step between 100 and 200."""
    path = "shop/features/create_order/steps/150_check_coupon.py"
    reader.write(f"# {path}\ndef check_coupon(ctx):\n    ctx.sku += ' with coupon'\n")
    yield
    with reader.restarting():
        (reader.folder / path).unlink()


@pytest.mark.e2e
def test_it_answers_and_its_task_runs(reader: Reader) -> None:
    """The README's order gets a 201 with its run's id, and the worker's terminal shows the output of its task."""
    answer = order(reader, sku="A-2")

    assert re.search(r"^HTTP/1.1 201 ", answer)
    wait_for_the_run(reader, answer)
    number = json.loads(answer.splitlines()[-1])["id"]
    assert f"Thank you for order {number}\n" in reader.log("rqworker")
    assert {"A-1", "A-2"} <= {*reader.ask(ORDERS).split()}


@pytest.mark.e2e
def test_its_validation_refuses(reader: Reader) -> None:
    """The README's StepError becomes a 400 with its message, and neither a run nor an order is stored."""
    before = reader.ask(COUNTS)

    answer = order(reader)

    assert re.search(r"^HTTP/1.1 400 ", answer)
    assert json.loads(answer.splitlines()[-1]) == {
        "error": {"message": "sku is required", "status": 400, "step": {"number": 100, "name": "validate"}}
    }
    assert reader.ask(COUNTS) == before


@pytest.mark.e2e
@pytest.mark.usefixtures("coupon")
def test_a_step_dropped_into_its_folder_runs(reader: Reader) -> None:
    """A2: A file between two steps runs between them, with no other edit."""
    wait_for_the_run(reader, order(reader, sku="A-3"))

    assert "A-3 with coupon" in reader.ask(ORDERS)


@pytest.mark.e2e
@pytest.mark.skipif(not WHEELS, reason="nothing was installed: NUMFLOW_WHEELS is not set")
def test_the_wheel_is_what_runs(reader: Reader) -> None:
    """The tests import the package that the README's "pip install" installed, not this checkout."""
    assert reader.ask(FILE).startswith(f"{reader.folder.resolve()}/.venv/")


def test_the_commands_of_make_are_there() -> None:
    """Each ``make`` command of the README is a target of the Makefile; the first two are the demo and the tests."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    named = re.findall(r"(?:^|`)make (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert named[:2] == ["demo", "test"]
    assert [name for name in named if name not in targets] == []
