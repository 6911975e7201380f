"""docs/how-to/ninja.md: a feature behind an operation of django-ninja."""

import pytest

from tests.support.sites import ROOT, Site, files_in

MODELS = """
    from django.db import models

    class Order(models.Model):
        sku = models.CharField(max_length=20)
"""
ASK = """
    def ask(data):
        answer = post("/api/orders", data)
        return [answer.status_code, answer.json(), "Numflow-Run" in answer.headers]
"""


@pytest.fixture
def site(tmp_path):
    page = (ROOT / "docs" / "how-to/ninja.md").read_text(encoding="utf-8")
    return Site(tmp_path).write(files_in(page)).write({"shop/models.py": MODELS})


def test_the_how_to_page(site):
    """how-to/ninja.md: the schema is validated before the feature, which answers 201 and mails after."""
    outcome = site.run(f"""{ASK}
    invalid, valid = ask({{}}), ask({{"sku": "A-1"}})
    result = [invalid[0], invalid[1]["detail"][0]["loc"], valid, run_tasks(), mail.outbox[0].body]
    """)

    assert outcome == [422, ["body", "order", "sku"], [201, {"id": 1}, True], ["succeeded"], "Order 1"]


@pytest.mark.parametrize("atomic_requests", [False, True])
def test_an_error_for_ninja_rolls_back(site, atomic_requests):
    """A13: An exception of django-ninja's rolls back and is answered by it; an order in between is not there."""
    site.write(
        {"settings_here.py": f"from settings import *\nDATABASES['default']['ATOMIC_REQUESTS'] = {atomic_requests}\n"}
    )

    outcome = site.run(
        f"""{ASK}
    result = [ask({{"sku": "B-2"}}), Order.objects.count(), run_tasks()]
    """,
        settings="settings_here",
    )

    assert outcome[0][:2] == [409, {"detail": "Sold out."}]
    assert outcome[1:] == [0, ["rolled_back"]]
