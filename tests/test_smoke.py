import pytest
from django.test import RequestFactory

pytestmark = pytest.mark.django_db


def test_a_tree_works(tree):
    """A feature on disk answers."""
    tree.feature("hello", steps={"100_hi.py": "def hi(ctx, request, response):\n    response.json({'a': 1})\n"})

    answer = tree.view("hello").as_view()(RequestFactory().get("/"))

    assert answer.status_code == 200
