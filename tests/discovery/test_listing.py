"""Folders are listed once, and a large tree is cheap to look at."""

import os
import py_compile
import sys

import pytest

from numflow_django.discovery.listing import Folder, meant_part
from numflow_django.discovery.modules import find_steps
from numflow_django.discovery.registry import registry
from numflow_django.routing.scan import scan

STEP = "def answer(ctx, request, response): response.json({})\n"


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/x.py", "b/c/x.py"], ["a", "b"]),
        (["_a/x.py", ".b/x.py", "__pycache__/x.pyc"], []),
        (["a/__pycache__/x.pyc"], []),
        (["a/b/c/__pycache__/x.pyc", "a/__pycache__/y.pyc"], []),
        (["a/__pycache__/x.pyc", "a/b/data.csv"], ["a"]),
        (["a/_b/x.py"], ["a"]),
    ],
    ids=str,
)
def test_the_folders_in_a_folder(tree, files, names):
    """Hidden folders, the user's own, and what a switch of branches leaves behind are not there."""
    tree.write(dict.fromkeys(files, ""))

    assert [folder.name for folder in Folder(str(tree.root)).folders] == names


def test_an_empty_folder_is_there(tree):
    """A folder that was made and not filled yet is no left-over."""
    (tree.root / "@get").mkdir()

    assert [folder.name for folder in Folder(str(tree.root)).folders] == ["@get"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "steps") for name in ("steps", "stpes", "step", "STEPS", "Steps", "_steps")),
        *((name, "async_tasks") for name in ("async_tasks", "asyc_tasks", "async-tasks", "AsyncTasks")),
        *((name, None) for name in ("tasks", "orders", "templates", "tests", "async")),
    ],
)
def test_what_a_folder_was_meant_to_be(name, part):
    """A name that nearly is that of a part of a feature is taken for it, and others are not."""
    assert meant_part(name) == part


def test_a_large_tree_is_listed_in_proportion(tree, monkeypatch):
    """Discovery lists a folder a few times at most, at any depth."""
    deep = "/".join(f"level{number}" for number in range(12))
    tree.write({f"{deep}/r{number}/@get/steps/100_answer.py": STEP for number in range(5)})
    folders = sum(1 for _ in Folder(str(tree.root)).below())
    listed = []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or original(path))

    assert len(scan(tree.package)) == 5

    assert len(listed) <= 2 * (folders + 1)
    assert registry.mistakes == []


def test_packages_without_an_init_file_have_a_plain_path(tree):
    """Discovery takes from Python the work of finding out a package's path again at each import."""
    tree.write({"a/b/@get/steps/100_answer.py": STEP})

    scan(tree.package)

    names = [name for name in sys.modules if name.startswith(f"{tree.package}.") and not name.endswith("100_answer")]
    assert [type(sys.modules[name].__path__) for name in names] == [list] * 4


def test_a_step_without_its_source_is_found(tree):
    """A step that was compiled, and whose source is not delivered, is a step."""
    tree.write({"steps/100_answer.py": STEP})
    source = tree.root / "steps/100_answer.py"
    py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")))
    source.unlink()
    mistakes = []

    [step] = find_steps(f"{tree.package}.steps", "shop.buy", mistakes)

    assert (step.name, mistakes) == ("answer", [])
    assert step.file.endswith("/steps/100_answer.pyc")
