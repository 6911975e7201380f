"""The numbered modules of a folder: which they are, and in what order they run."""

import unicodedata

import pytest

from numflow_django.discovery.modules import find_steps, find_tasks

NFD_NAME = unicodedata.normalize("NFD", "검증")
NFC_NAME = unicodedata.normalize("NFC", "검증")


def module(name):
    """The source of a step or task called *name*."""
    return f"def {name}(ctx):\n    return {name!r}\n"


@pytest.fixture
def found(tree):
    """Write a folder of modules; return what is found in it as steps or tasks, and the mistakes."""

    def find(*names, kind="steps", with_init=False):
        files = {f"{kind}/{name}": "def run(ctx):\n    pass\n" for name in names}
        tree.write(files | ({f"{kind}/__init__.py": ""} if with_init else {}))
        mistakes = []
        package = f"{tree.package}.{kind}"
        if kind == "steps":
            return find_steps(package, "shop.buy", mistakes), mistakes
        return find_tasks(package, "shop.buy", mistakes, required=False), mistakes

    return find


def names_of(modules):
    return [str(module) for module in modules]


def test_steps_run_by_number_and_not_by_name(found):
    """A1: Steps run in ascending numeric order, not alphabetical."""
    steps, mistakes = found("1000_f.py", "10_a.py", "200_e.py", "50_b.py", "150_d.py", "100_c.py")

    assert names_of(steps) == ["10 a", "50 b", "100 c", "150 d", "200 e", "1000 f"]
    assert [step.number for step in steps] == [10, 50, 100, 150, 200, 1000]
    assert mistakes == []


def test_a_new_file_runs_between_its_neighbours(found):
    """A2: A file inserted between two others runs between them, with no other edit."""
    before, _ = found("100_validate.py", "200_sell.py")

    after, _ = found("150_coupon.py")

    assert names_of(before) == ["100 validate", "200 sell"]
    assert names_of(after) == ["100 validate", "150 coupon", "200 sell"]


def test_leading_zeros_and_zero_are_numbers(found):
    """A1: 007 is the number 7, and 0 is a number like any other."""
    steps, mistakes = found("010_c.py", "007_b.py", "0_a.py")

    assert names_of(steps) == ["0 a", "7 b", "10 c"]
    assert mistakes == []


def test_tasks_without_a_number_run_last_by_name(found):
    """A7: Async tasks run by number; those without a number run after them, by name."""
    tasks, mistakes = found("publish.py", "200_notify.py", "archive.py", "0_first.py", "1000_late.py", kind="tasks")

    assert names_of(tasks) == ["0 first", "200 notify", "1000 late", "archive", "publish"]
    assert [task.number for task in tasks] == [0, 200, 1000, None, None]
    assert mistakes == []


def test_fifty_tasks_keep_their_order(found):
    """A7: Fifty tasks keep their order."""
    numbers = list(range(10, 510, 10))

    tasks, mistakes = found(*(f"{number}_task{number}.py" for number in reversed(numbers)), kind="tasks")

    assert [task.number for task in tasks] == numbers
    assert mistakes == []


@pytest.mark.parametrize("with_init", [False, True])
def test_an_init_file_is_not_needed(found, with_init):
    """A folder is a package with or without an ``__init__.py``."""
    steps, mistakes = found("100_validate.py", with_init=with_init)

    assert names_of(steps) == ["100 validate"]
    assert mistakes == []


def test_helpers_start_with_an_underscore(found):
    """A4: Modules and folders that start with ``_`` are the user's helpers, and other files are no modules."""
    steps, mistakes = found(
        "100_validate.py", "_prices.py", "_100_off.py", "_lib/rules.py", "__init__.py", "README.md", ".hidden/a.py"
    )

    assert names_of(steps) == ["100 validate"]
    assert mistakes == []


def test_a_folder_of_data_is_no_step(found):
    """A folder that holds no Python at all may stand beside the steps."""
    steps, mistakes = found("100_validate.py", "prices/2026.csv", "__pycache__/200_gone.py")

    assert names_of(steps) == ["100 validate"]
    assert mistakes == []


def test_names_may_be_korean_in_either_normal_form(tree):
    """A name that macOS stores decomposed is the same name; the function is found in both forms."""
    tree.write({f"a/100_{NFD_NAME}.py": module(NFC_NAME), f"b/100_{NFC_NAME}.py": module(NFD_NAME)})
    mistakes = []

    [decomposed] = find_steps(f"{tree.package}.a", "shop.buy", mistakes)
    [composed] = find_steps(f"{tree.package}.b", "shop.buy", mistakes)

    assert mistakes == []
    assert decomposed.name == composed.name == NFC_NAME
    assert decomposed.function(None) == NFC_NAME


def test_the_facts_of_a_step(tree):
    """A found module holds its number, its name, where it is, and its function."""
    tree.write({"steps/100_validate.py": module("validate")})

    [step] = find_steps(f"{tree.package}.steps", "shop.buy", [])

    assert (step.number, step.name, str(step)) == (100, "validate", "100 validate")
    assert step.dotted == f"{tree.package}.steps.100_validate"
    assert step.file == str(tree.root / "steps" / "100_validate.py")
    assert step.function(None) == "validate"


@pytest.mark.parametrize("files", [{}, {"async_tasks/__init__.py": ""}, {"async_tasks/_helper.py": ""}], ids=str)
def test_no_tasks_is_no_mistake(tree, files):
    """A5: No ``async_tasks`` package, or one without a task: zero tasks and no mistake."""
    tree.write(files)
    mistakes = []

    assert find_tasks(f"{tree.package}.async_tasks", "shop.buy", mistakes, required=False) == ()
    assert mistakes == []
