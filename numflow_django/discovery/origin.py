"""Finds where a failed import's error comes from: the author's line, and the files where a change may fix it."""

import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import TypeGuard

import django

#: Folders whose code is not the author's: Python's own modules, Django, and this package.
LIBRARIES = tuple(
    path + os.sep
    for path in (
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        site.getusersitepackages(),
        os.path.dirname(django.__file__),  # noqa: PTH120 - compared with the str of a frame
        os.path.dirname(os.path.dirname(__file__)),  # noqa: PTH120
    )
)

#: The folders into which pip installs.
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def place_of(error: BaseException, module: str) -> str:
    """Return file and line of the author's last line that led to *error*, which the import of *module* raised."""
    if is_authors_syntax(error, module):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_authors(frame.filename, module)]
    if own:
        return f"{own[-1].filename}, line {own[-1].lineno}"
    with suppress(Exception):  # its parent may be what cannot be imported
        spec = find_spec(module)
        if spec and spec.origin:
            return spec.origin
    return f"{frames[-1].filename}, line {frames[-1].lineno}"


def is_authors_syntax(error: BaseException, module: str) -> TypeGuard[SyntaxError]:
    """Return whether *error* is a SyntaxError in one of the author's files."""
    return isinstance(error, SyntaxError) and _is_authors(error.filename or "", module)


def files_of(error: BaseException) -> Iterator[str]:
    """
    Yield the files, and the folders of packages, where a change may fix *error*, a failed import.

    A folder, because a new file in it fixes an import that did not find its module.
    """
    for each in _chain(error):
        yield from (frame.filename for frame in traceback.extract_tb(each.__traceback__))
        if isinstance(each, SyntaxError) and each.filename:
            yield each.filename
        if isinstance(each, ImportError) and each.name:
            for name in (each.name, each.name.rpartition(".")[0]):
                yield from getattr(sys.modules.get(name), "__path__", ())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and the errors that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]


def _is_authors(file: str, module: str) -> bool:
    """Return whether *file* is the site's own; an installed package's file is if *module* is in that package."""
    if file.startswith("<") or not file:
        return False
    home = sys.modules.get(module.partition(".")[0])
    if any(file.startswith(f"{folder}{os.sep}") for folder in getattr(home, "__path__", ())):
        return True
    return not file.startswith(LIBRARIES) and not any(folder in file for folder in INSTALLED)
