"""Print pip constraints for the lowest versions that pyproject.toml allows of what a site installs with us."""

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

#: A requirement with a lower bound, such as ``uuid-utils>=0.9; python_version < '3.14'``.
BOUNDED = re.compile(r"(?P<name>[\w.-]+)>=(?P<lowest>[\w.]+)[^;]*(?P<marker>;.*)?")


def constraints(pyproject: Path) -> Iterator[str]:
    """Yield a constraint for each dependency and extra; the developers' tools stay at their latest versions."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    for requirement in sorted({*project["dependencies"], *chain(*project["optional-dependencies"].values())}):
        match = BOUNDED.fullmatch(requirement)
        if match is None:
            sys.exit(f"{pyproject}: {requirement!r} has no lower bound that this script can read; write name>=version")
        yield f"{match['name']}=={match['lowest']}{match['marker'] or ''}"


if __name__ == "__main__":
    print("\n".join(constraints(Path(__file__).parent.parent / "pyproject.toml")))
