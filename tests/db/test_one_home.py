"""Only the modules of db/ ask which database this is, or close all connections."""

import ast
from pathlib import Path

import pytest

import numflow_django

PACKAGE = Path(numflow_django.__file__).parent

#: Names of Django's and the drivers' that answer which database this is, or what its connection is doing.
QUESTIONS = {
    "can_return_columns_from_insert",
    "close_all",
    "has_select_for_update_skip_locked",
    "in_transaction",
    "mysql_is_mariadb",
    "pgconn",
    "transaction_status",
    "vendor",
}
#: What an earlier version wrote is history, and migrations do not change.
EXCEPT = ("db", "migrations")


def questions_in(source: str) -> list[str]:
    """Return the names of QUESTIONS that a module asks an object other than itself for, also by getattr()."""
    nodes = list(ast.walk(ast.parse(source)))
    asked = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    asked += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return sorted(QUESTIONS.intersection(asked))


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in EXCEPT]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_other_module_asks(module):
    """A question about the database has its home in db/, where a newcomer looks for it."""
    assert questions_in(module.read_text(encoding="utf-8")) == [], f"move it from {module} to numflow_django/db/"


def test_a_question_is_found():
    """An attribute and its name in a getattr() are both found; the name of a variable is not."""
    source = "vendor = 1\nif connection.vendor == 'sqlite': getattr(raw, 'in_transaction', 0)\n"

    assert questions_in(source) == ["in_transaction", "vendor"]
