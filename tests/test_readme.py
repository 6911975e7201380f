"""The README's own example, written to disk as it stands there and run."""

import json
import re
from pathlib import Path

import pytest

from tests.sites import ROOT, Site, files_in, python_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")

MODELS = """
    from django.db import models
    class Order(models.Model):
        sku = models.CharField(max_length=20)
"""
PROGRAM = """
    answer = post("/api/orders/", %r)
    result = {
        "status": answer.status_code,
        "body": answer.json(),
        "states": run_tasks(),
        "mails": [message.body for message in mail.outbox],
        "orders": list(Order.objects.values_list("sku", flat=True)),
    }
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A new Django project that holds what the README shows, and nothing else of numflow_django."""
    urls = next(block for block in python_blocks(README) if "urlpatterns" in block).partition("# urls.py\n")[2]
    files = {name: text for name, text in files_in(README).items() if name.startswith("shop/")}
    return Site(tmp_path).write({"urls.py": urls, "shop/models.py": MODELS, **files})


def test_the_readmes_feature_works_as_it_is_printed(site: Site) -> None:
    """A folder copied from the README answers 201, and its task sends the mail."""
    outcome = site.run(PROGRAM % '{"sku": "A-1"}')

    assert outcome == {
        "status": 201,
        "body": {"id": 1},
        "states": ["succeeded"],
        "mails": ["Order 1"],
        "orders": ["A-1"],
    }


def test_the_readmes_validation_refuses(site: Site) -> None:
    """The README's StepError is a 400 with its message, and no run is written."""
    outcome = site.run(PROGRAM % "{}")

    assert outcome["status"] == 400
    assert outcome["body"] == {
        "error": {"message": "sku is required", "status": 400, "step": {"number": 100, "name": "validate"}}
    }
    assert outcome["states"] == outcome["orders"] == []


def test_a_step_dropped_into_the_readmes_folder_runs(site: Site) -> None:
    """A2: A file inserted between two steps runs between them, with no other edit."""
    site.write(
        {
            "shop/features/create_order/steps/150_check_coupon.py": """
                def check_coupon(ctx):
                    ctx.sku += ' with coupon'
            """
        }
    )

    outcome = site.run(PROGRAM % json.dumps({"sku": "A-1"}))

    assert outcome["orders"] == ["A-1 with coupon"]
    assert outcome["states"] == ["succeeded"]


def test_the_readme_names_the_two_commands() -> None:
    """The README's two commands are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()

    for command in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
