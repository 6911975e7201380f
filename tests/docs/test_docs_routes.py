"""The reference of folders and URLs describes what the code does."""

import re

import pytest
from django.urls import NoReverseMatch, get_resolver, resolve, reverse

from numflow_django.discovery.registry import registry
from numflow_django.routing.urlconf import views_of
from tests.support.sites import ROOT

TEXT = (ROOT / "docs" / "reference/routes.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `([^`]+)` \| (?:`([A-Z]+) (/[^`]*)`|any method of `(/[^`]*)`) \| `([^`]+)` \|", TEXT, re.MULTILINE
)
STEP = "def answer(ctx, request, response): response.json({})\n"
VIEW = "from numflow_django import FeatureView\n\nclass CreateOrder(FeatureView): pass\n"
VALUES = {"order_id": 7, "slug": "news", "where": "a/b"}


@pytest.fixture
def site(tree, settings):
    """The folders of the table, with the URLs of the page's code block."""
    for folder, *_ in ROWS:
        if folder.endswith("feature.py"):
            tree.write({f"shop/features/{folder}": VIEW})
        tree.write({f"shop/features/{folder.removesuffix('/feature.py')}/steps/100_answer.py": STEP})
    [urls] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    tree.write({"urls.py": urls.replace("shop.features", f"{tree.package}.shop.features")})
    settings.ROOT_URLCONF = f"{tree.package}.urls"
    return tree


def test_each_row_of_the_table_is_true(site):
    """A29, A31, A32: Each folder of the table has its method, its URL and its name."""
    assert len(ROWS) == 9
    for _, method, path, any_path, name in ROWS:
        named = name.replace("shop:", f"{site.package}.shop.features:")
        given = {key: VALUES[key] for key in re.findall(r":(\w+)>", path)}
        url = reverse(named, kwargs=given)
        assert url == re.sub(r"<\w+:(\w+)>", lambda match: str(VALUES[match[1]]), path or any_path)
        assert (method or None) in [view.method for view in views_of(resolve(url).func)]
    assert registry.mistakes == []


def test_the_table_is_all_there_is(site):
    """A33: There are no other routes."""
    [include] = get_resolver().url_patterns

    assert len(include.url_patterns) == len(ROWS)
    with pytest.raises(NoReverseMatch):
        reverse(f"{site.package}.shop.features:api-orders-put")
