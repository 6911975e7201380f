"""Fixtures that several files of tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from numflow_django import dispatch
from numflow_django.folders import scan
from numflow_django.registry import registry
from tests.trees import Tree


@pytest.fixture(autouse=True)
def fresh_broker() -> Iterator[None]:
    """No test inherits another's connection to Redis, nor its pause after a failure."""
    dispatch.reset()
    yield
    dispatch.reset()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """An empty package of features, and a registry that forgets what the test registered."""
    known = dict(registry._features), dict(registry._by_class), list(registry.mistakes)
    monkeypatch.syspath_prepend(tmp_path)
    tree = Tree(tmp_path)
    yield tree
    tree.forget()
    scan.cache_clear()
    registry._features, registry._by_class, registry.mistakes = known
