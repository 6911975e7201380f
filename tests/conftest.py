"""Fixtures that several files of tests use."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from numflow_django.broker import queues
from numflow_django.discovery.registry import registry
from numflow_django.execution.stop import Stop
from numflow_django.routing.scan import scan
from tests.apps import app  # noqa: F401 - a fixture
from tests.support.brokers import broker, server  # noqa: F401 - fixtures
from tests.support.enqueuing import enqueued  # noqa: F401 - a fixture
from tests.support.running import task
from tests.support.trees import Tree


@pytest.fixture(autouse=True)
def fresh_broker() -> Iterator[None]:
    """No test inherits another's connection to Redis, nor its pause after a failure."""
    queues.reset()
    yield
    queues.reset()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """An empty package of features, and a registry that forgets what the test registered."""
    monkeypatch.syspath_prepend(tmp_path)
    tree = Tree(tmp_path)
    with registry.isolated():
        yield tree
    tree.forget()
    scan.cache_clear()


@pytest.fixture
def feature(tree: Tree) -> Callable[..., Any]:
    """
    Write a feature with these async tasks, 100, 200, ..., and give its facts.

    The body of a task is its source, or that of its module from ``tests.support.running.task``. Called again, it
    deploys: the same feature with other tasks.
    """

    def write(folder: str = "shop", using: str = "default", **tasks: str) -> Any:
        sources = {name: body if "def {name}" in body else task(body) for name, body in tasks.items()}
        tree.remove(folder)
        tree.write({"journal.py": "lines = []\n"}).feature(
            folder,
            steps={"100_respond.py": "def respond(ctx, request, response):\n    response.json({})\n"},
            tasks={
                f"{100 * number}_{name}.py": source.replace("{name}", name)
                for number, (name, source) in enumerate(sources.items(), start=1)
            },
            using=using,
        )
        view = tree.view(folder)
        view.as_view()
        return view.feature

    return write


@pytest.fixture
def journal(tree: Tree) -> Callable[[], list[Any]]:
    """What the tasks have written to *lines*."""
    return lambda: import_module(f"{tree.package}.journal").lines


@pytest.fixture
def listen() -> Iterator[Callable[..., None]]:
    """Connect receivers to signals until the test ends."""
    connected = []

    def connect(signal: Any, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> type[Stop]:
    """Whether the worker was asked to stop; as before when the test ends."""
    monkeypatch.setattr(Stop, "requested", False)
    return Stop
