"""The author's own line on the way to an error, and the files in which the error may be fixed."""

import sys
from importlib import import_module

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist

from numflow_django.discovery.origin import files_of, place_of

BAD_RULE = "from numflow_django import async_task\n\n@async_task(timeout=-1)\ndef send(ctx): pass\n"
BAD_MODEL = """\
from django.db import models

class Order(models.Model):
    name = models.CharField(max_length=5)
    class Meta:
        app_label = "market"
        orderring = ["name"]
"""


def failed(tree, module, files):
    """The error of the import of *module* among *files*, without the line of this test."""
    tree.write(files)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any type
        import_module(f"{tree.package}.{module}")
    return caught.value.with_traceback(caught.tb.tb_next)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"a.py": BAD_RULE}, "a.py, line 3"),
        ({"a.py": BAD_MODEL}, "a.py, line 3"),
        ({"a.py": "import json\njson.loads('{')"}, "a.py, line 2"),
        ({"a.py": "\n\n1 / 0"}, "a.py, line 3"),
        ({"a.py": "from .b import c", "b.py": "import json\n\njson.loads('{')"}, "b.py, line 3"),
        ({"a.py": "def f(:"}, "a.py, line 1"),
        ({"a.py": "from .b import c", "b.py": "\ndef f(:"}, "b.py, line 2"),
        ({"a.py": "import ast\nast.parse('(')"}, "a.py, line 2"),
        ({"a.py": "raise SyntaxError('odd')"}, "a.py, line 1"),
        ({"a.py": "import no_such_module"}, "a.py, line 1"),
    ],
    ids=[
        "our rule",
        "Django's model",
        "Python's json",
        "own",
        "a helper",
        "syntax",
        "its syntax",
        "parsed",
        "raised",
        "",
    ],
)
def test_the_place_of_an_error_is_the_authors_last_line(tree, files, place):
    """An error that our code, Django's or Python's raises is placed at the line of the author's that called it."""
    error = failed(tree, "a", files)

    assert place_of(error, f"{tree.package}.a") == f"{tree.root}/{place}"


def test_a_file_that_python_cannot_read_is_the_place(tree):
    """An error before the first line of a file is placed at that file."""
    (tree.root / "a.py").write_bytes(b"\0\0")

    error = failed(tree, "a", {})

    assert place_of(error, f"{tree.package}.a").startswith(f"{tree.root}/a.py")


def test_an_error_of_a_library_that_no_line_of_the_authors_has_led_to_has_the_last_place():
    """Without a line of the author's and without a module, the place is where the error was raised."""
    with pytest.raises(FieldDoesNotExist) as caught:
        ContentType._meta.get_field("nothing")
    error = caught.value.with_traceback(caught.tb.tb_next)

    assert "django/db/models/options.py, line " in place_of(error, "no_such_package.a")


def test_a_syntax_error_in_a_library_is_placed_at_the_line_that_imports_it(tree, tmp_path, monkeypatch):
    """A library whose syntax this Python does not know is named by the text, and the author's import by the place."""
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "odd_library.py").write_text("print 1")
    monkeypatch.syspath_prepend(library)

    error = failed(tree, "a", {"a.py": "\nimport odd_library"})

    assert place_of(error, f"{tree.package}.a") == f"{tree.root}/a.py, line 2"


def test_a_site_that_is_installed_is_the_authors(tmp_path, monkeypatch):
    """The code of a site that pip has installed is the author's, if the module is in the same package."""
    package = tmp_path / "site-packages" / "installed_shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "a.py").write_text("import json\njson.loads('{')")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(ValueError, match="Expecting") as caught:
        import_module("installed_shop.a")

    assert place_of(caught.value, "installed_shop.a") == f"{package}/a.py, line 2"

    del sys.modules["installed_shop"]


def test_the_files_of_an_error_are_those_on_its_way(tree):
    """The files of an error are those of its traceback and of the errors that it was raised for."""
    error = failed(
        tree,
        "a",
        {
            "a.py": "from . import b",
            "b.py": "try:\n    from . import c\nexcept Exception as error:\n    raise RuntimeError from error",
            "c.py": "def f(:",
        },
    )

    assert {f"{tree.root}/{name}.py" for name in "abc"} <= set(files_of(error))


@pytest.mark.parametrize("source", ["from {}.shop.b import price", "from {}.shop import b"])
def test_the_package_of_a_module_that_is_missing_is_one_of_the_files(tree, source):
    """A module that is not there may be written into its package, whose folder is among the files."""
    error = failed(tree, "a", {"a.py": source.format(tree.package), "shop/__init__.py": ""})

    assert f"{tree.root}/shop" in set(files_of(error))
