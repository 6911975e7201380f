"""Mistakes in a folder of modules: each is reported with its feature, its file and its remedy, and all at once."""

import unicodedata

import pytest

from numflow_django.discovery.modules import find_steps, find_tasks

GOOD = "def run(ctx): pass\n"


@pytest.fixture
def mistakes(tree):
    """Write a folder of steps (or tasks); return the mistakes in it as (code, message), without the folder's path."""

    def find(files, kind="steps"):
        tree.write({f"{kind}/{name}": source for name, source in files.items()})
        found = []
        package = f"{tree.package}.{kind}"
        if kind == "steps":
            find_steps(package, "shop.buy", found)
        else:
            find_tasks(package, "shop.buy", found, required=True)
        return [(mistake.code, str(mistake).replace(f"{tree.root}/", "")) for mistake in found]

    return find


@pytest.mark.parametrize(
    ("names", "example"),
    [
        (["100_a.py", "100_b.py"], "150_b.py"),
        (["100_a.py", "100_b.py", "150_c.py"], "125_b.py"),
        (["100_a.py", "100_b.py", "101_c.py"], "151_b.py"),
        (["0100_a.py", "100_b.py"], "150_b.py"),
        (["0_a.py", "00_b.py"], "50_a.py"),
    ],
    ids=str,
)
def test_two_steps_with_one_number(mistakes, names, example):
    """A3: Two steps with one number are a mistake that names both files and a number that is free; 0100 is 100."""
    first, second = sorted(names[:2])
    number = int(names[0].partition("_")[0])

    assert mistakes(dict.fromkeys(names, GOOD)) == [
        (
            "numflow.E103",
            f"feature shop.buy: two steps have the number {number}: steps/{first} and steps/{second}; renumber one of "
            f"them, for example {example}",
        )
    ]


def test_two_tasks_with_one_number(mistakes):
    """A7: Two async tasks with one number are a mistake like two steps."""
    assert mistakes({"100_a.py": GOOD, "100_b.py": GOOD}, "async_tasks") == [
        (
            "numflow.E103",
            "feature shop.buy: two async tasks have the number 100: async_tasks/100_a.py and async_tasks/100_b.py; "
            "renumber one of them, for example 150_b.py",
        )
    ]


@pytest.mark.parametrize(
    ("kind", "first", "second", "name"),
    [
        ("steps", "100_check.py", "200_check.py", "check"),
        ("async_tasks", "100_send.py", "send.py", "send"),
        (
            "steps",
            f"100_{unicodedata.normalize('NFC', '검증')}.py",
            f"200_{unicodedata.normalize('NFD', '검증')}.py",
            unicodedata.normalize("NFC", "검증"),
        ),
    ],
    ids=["steps", "tasks", "normal forms"],
)
def test_two_modules_with_one_name(mistakes, kind, first, second, name):
    """A3: Two modules with one name, also in two normal forms, are a mistake that names both files."""
    noun = {"steps": "steps", "async_tasks": "async tasks"}[kind]

    assert mistakes({first: GOOD, second: GOOD}, kind) == [
        (
            "numflow.E104",
            f"feature shop.buy: two {noun} are named {name!r}: {kind}/{first} and {kind}/{second}; give one of them "
            "another name",
        )
    ]


@pytest.mark.parametrize("files", [{}, {"__init__.py": ""}, {"_helper.py": ""}], ids=["missing", "empty", "helpers"])
def test_no_steps(tree, files):
    """A4: A missing or empty ``steps`` package is a mistake that shows which file to add."""
    tree.write({f"steps/{name}": source for name, source in files.items()})
    found = []

    assert find_steps(f"{tree.package}.steps", "shop.buy", found) == ()

    [mistake] = found
    assert mistake.code == "numflow.E101"
    place = f"{tree.root}/steps holds no step" if files else f"its steps, {tree.root}/steps, do not exist"
    assert str(mistake) == (
        f"feature shop.buy: {place}; add a module such as 100_validate.py with a function validate(ctx, request)"
    )


def test_a_tasks_package_that_is_asked_for_by_name_must_exist(tree):
    """A4: A package that ``async_tasks`` names and that does not exist is a mistake, and no silent zero tasks."""
    found = []

    find_tasks(f"{tree.package}.later", "shop.buy", found, required=True)

    [mistake] = found
    assert mistake.code == "numflow.E108"
    assert str(mistake) == (
        f"feature shop.buy: async_tasks = '{tree.package}.later' names a package that does not exist; give the dotted "
        "name of one, or remove the attribute"
    )


def test_a_module_in_the_place_of_the_package(tree):
    """A4: ``steps.py`` instead of a folder is a mistake that says so, and the only one."""
    tree.write({"steps.py": GOOD})
    found = []

    find_steps(f"{tree.package}.steps", "shop.buy", found)

    [mistake] = found
    assert mistake.code == "numflow.E108"
    assert str(mistake) == (
        f"feature shop.buy: {tree.root}/steps.py is a module; make it a folder, steps/, and move its code into modules"
    )


HELPER = "or start its name with _ if it is a helper and not one of the steps"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("validate.py", "to 100_validate.py"),
        ("100validate.py", "to 100_validate.py"),
        ("100-validate.py", "to 100_validate.py"),
        ("100_my-step.py", "to 100_my_step.py"),
        ("100 validate.py", "to 100_validate.py"),
        ("100_validate.v2.py", "to 100_validate_v2.py"),
        ("v100_validate.py", "to 100_v100_validate.py"),
        ("\N{FULLWIDTH DIGIT ONE}00_validate.py", "to 100_validate.py"),
        *((name, "like 100_validate.py") for name in ("100_.py", "-1_a.py", "100_2fa.py", "1.5_half.py")),
        ("1\N{ARABIC-INDIC DIGIT ZERO}0_validate.py", "like 100_validate.py"),
    ],
)
def test_a_step_that_is_not_named_as_one(mistakes, name, good):
    """A4: A module in ``steps`` that is not named as a step is a mistake with a good name; other digits are none."""
    assert mistakes({"50_good.py": GOOD, name: GOOD}) == [
        ("numflow.E102", f"feature shop.buy: steps/{name} is not named <number>_<name>.py; rename it {good}, {HELPER}")
    ]


@pytest.mark.parametrize("name", ["100_check.PY", "100_check.pyw", "100_check.Py", "100_check", "100_check.py.txt"])
@pytest.mark.parametrize(("kind", "noun"), [("steps", "step"), ("async_tasks", "async task")])
def test_a_file_that_python_does_not_import(mistakes, kind, noun, name):
    """A4: A numbered file that Python does not import is a mistake, and is not ignored."""
    assert mistakes({"50_good.py": GOOD, name: GOOD}, kind) == [
        (
            "numflow.E102",
            f"feature shop.buy: {kind}/{name} is not a module that Python imports; rename it to 100_check.py, or start "
            f"its name with _ if it is not one of the {noun}s",
        )
    ]


def test_a_task_without_a_number_that_python_does_not_import(mistakes):
    """A4: An async task needs no number, so that ``send.PY`` was meant to be one; a step does."""
    [(_, message)] = mistakes({"send.PY": GOOD}, "async_tasks")

    assert "async_tasks/send.PY is not a module that Python imports; rename it to send.py" in message


@pytest.mark.parametrize("name", ["100_check.sql", "README", "notes.txt", "100_check.py~", "100_good.pyi", "_1_a.PY"])
def test_other_files_beside_the_modules_are_the_user_s_own(mistakes, name):
    """A4: What was not meant to be a module is left alone."""
    assert mistakes({"100_good.py": GOOD, name: ""}) == []


def test_good_names_have_numbers_that_are_free(mistakes):
    """A4: The names that are proposed for modules without a number come after all others."""
    found = mistakes({"100_a.py": GOOD, "450_b.py": GOOD, "check.py": GOOD, "sell.py": GOOD})

    assert [message.partition("rename it to ")[2].partition(",")[0] for _, message in found] == [
        "500_check.py",
        "600_sell.py",
    ]


@pytest.mark.parametrize("files", [["100_a/__init__.py"], ["100_a/b.py"], ["100_a/b/c.py"], ["more/__init__.py"]])
def test_a_folder_of_code_among_the_steps(mistakes, files):
    """A4: A folder with Python in it is a mistake in ``steps``, with an ``__init__.py`` or without."""
    folder = files[0].partition("/")[0]
    good = "100_a.py" if folder == "100_a" else "100_more.py"

    assert mistakes({"50_good.py": GOOD} | dict.fromkeys(files, "")) == [
        ("numflow.E102", f"feature shop.buy: steps/{folder} is a folder; make it a module like {good}, {HELPER}")
    ]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("100send.py", "100_send.py"),
        ("send-mail.py", "100_send_mail.py"),
        ("send mail.py", "100_send_mail.py"),
        ("send.later.py", "100_send_later.py"),
    ],
)
def test_a_task_that_is_not_named_as_one(mistakes, name, good):
    """A4: A module in ``async_tasks`` needs a number and a name, or a name; the message shows a good one."""
    assert mistakes({name: GOOD}, "async_tasks") == [
        (
            "numflow.E102",
            f"feature shop.buy: async_tasks/{name} is not named <number>_<name>.py; rename it to {good}, or start its "
            "name with _ if it is a helper and not one of the async tasks",
        )
    ]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import json\nraise RuntimeError('no key')", "RuntimeError: no key (steps/100_a.py, line 2)"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package' (steps/100_a.py, line 1)"),
        ("def a(ctx:\n", "SyntaxError: '(' was never closed (steps/100_a.py, line 1)"),
        ("from json import nothing", "ImportError: cannot import name 'nothing' from 'json'"),
        (
            "import json\njson.loads('')",
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (steps/100_a.py, line 2)",
        ),
    ],
)
def test_an_import_that_fails_in_a_step(tree, mistakes, source, error):
    """A4: An error while a step is imported is a mistake with the error, its file and its line."""
    [(code, message)] = mistakes({"100_a.py": source})

    assert code == "numflow.E107"
    assert message.startswith(f"feature shop.buy: the import of '{tree.package}.steps.100_a' failed: {error}")


@pytest.mark.parametrize("source", ["import no_such_package", "from . import nothing", "1 / 0"])
@pytest.mark.parametrize("kind", ["steps", "async_tasks"])
def test_an_import_that_fails_in_the_package_is_no_missing_package(tree, mistakes, kind, source):
    """A4: An ``__init__.py`` that fails is reported as that, and not as a package that does not exist."""
    [(code, message)] = mistakes({"__init__.py": source, "100_a.py": GOOD}, kind)

    assert code == "numflow.E107"
    assert message.startswith(f"feature shop.buy: the import of '{tree.package}.{kind}' failed: ")
    assert message.endswith(f"({kind}/__init__.py, line 1)")


def test_a_missing_module_of_a_parent_is_no_missing_package(tree):
    """A4: A missing module that the feature's own ``__init__.py`` imports is reported as what it is."""
    tree.write({"buy/__init__.py": "import no_such_package", "buy/steps/100_a.py": GOOD})
    found = []

    find_steps(f"{tree.package}.buy.steps", "shop.buy", found)

    [mistake] = found
    assert mistake.code == "numflow.E107"
    assert "No module named 'no_such_package'" in str(mistake)


def test_all_mistakes_are_reported_at_once(mistakes):
    """A4: Each mistake in a folder is reported, and one does not hide another."""
    found = mistakes(
        {
            "validate.py": GOOD,
            "100_a.py": GOOD,
            "100_b.py": GOOD,
            "200_a.py": GOOD,
            "300_broken.py": "1 / 0",
            "400_empty.py": "",
            "500_wrong.py": "def wrong(request): pass",
            "600_folder/__init__.py": "",
        }
    )

    codes = [code for code, _ in found]
    assert sorted(codes) == [f"numflow.E10{number}" for number in (2, 2, 3, 4, 5, 6, 7)]
    assert all(message.startswith("feature shop.buy: ") for _, message in found)


@pytest.mark.parametrize("name", ["stpes", "step", "Steps", "setps"])
def test_steps_in_a_folder_that_is_misspelt(tree, name):
    """A4: A folder that was meant to be ``steps`` is one mistake that says so."""
    tree.write({f"{name}/100_a.py": GOOD})
    found = []

    find_steps(f"{tree.package}.steps", "shop.buy", found)

    [mistake] = found
    assert mistake.code == "numflow.E101"
    assert str(mistake) == f"feature shop.buy: {tree.root}/{name}: did you mean 'steps'? Rename the folder"


@pytest.mark.parametrize("name", ["asyc_tasks", "async_task", "async-tasks", "asynctasks"])
def test_tasks_in_a_folder_that_is_misspelt(tree, name):
    """A4: A folder that was meant to be ``async_tasks`` is a mistake, and no silent zero tasks."""
    tree.write({f"{name}/send.py": GOOD})
    found = []

    find_tasks(f"{tree.package}.async_tasks", "shop.buy", found, required=False)

    [mistake] = found
    assert mistake.code == "numflow.E109"
    assert str(mistake) == (
        f"feature shop.buy: {tree.root}/{name}: did you mean 'async_tasks'? Rename the folder, otherwise "
        "its tasks never run"
    )


@pytest.mark.parametrize("name", ["tasks", "sync", "tests"])
def test_other_folders_beside_the_steps_are_the_user_s_own(tree, name):
    """A5: A folder whose name only resembles ``async_tasks`` a little is none."""
    tree.write({f"{name}/send.py": GOOD})
    found = []

    assert find_tasks(f"{tree.package}.async_tasks", "shop.buy", found, required=False) == ()
    assert found == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "",
            "it defines no function; a function cannot have a keyword of Python as its name: rename the file, or "
            "define exactly one function",
        ),
        (
            "def one(ctx): pass\ndef two(ctx): pass",
            "it defines one, two; a function cannot have a keyword of Python as its name: rename the file, or "
            "define exactly one function",
        ),
    ],
)
def test_a_name_that_no_function_can_have(mistakes, source, problem):
    """A4: For a step with a keyword of Python as its name, the error asks for no function of that name."""
    assert mistakes({"100_import.py": source}) == [
        ("numflow.E105", f"feature shop.buy: steps/100_import.py has no function 'import'; {problem}")
    ]


def test_an_imported_function_that_shadows_the_step(mistakes):
    """A4: A function that the file imports under its own name does not silently take the place of the step."""
    assert mistakes({"100_copy.py": "from shutil import copy\ndef copy_files(ctx): copy(1, 2)"}) == [
        (
            "numflow.E105",
            "feature shop.buy: steps/100_copy.py imports 'copy' from shutil, which hides copy_files; define copy(ctx, "
            "request), or rename the file",
        )
    ]


def test_an_imported_function_that_cannot_be_a_step(mistakes):
    """A4: The message about a function that is imported says where it is from."""
    [(code, message)] = mistakes({"100_lookup.py": "from django.shortcuts import render as lookup"})

    assert code == "numflow.E106"
    assert message.startswith(
        "feature shop.buy: steps/100_lookup.py: lookup, imported from django.shortcuts, (request, "
    )
    assert "asks for 'request' where it cannot get it" in message


def test_a_class_is_no_step(mistakes):
    """A4: A class named like the file is a mistake and is not called as a step."""
    assert mistakes({"100_check.py": "class check:\n    def __init__(self, ctx): pass"}) == [
        ("numflow.E105", "feature shop.buy: steps/100_check.py: 'check' is a class; make it a function")
    ]
