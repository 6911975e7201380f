"""The hosts, or the reason why there are none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.network import Network


def missing() -> str:
    """What this machine lacks; empty if nothing."""
    if os.geteuid() != 0:
        return "the hosts are network namespaces, which only root may make"
    if shutil.which("ip") is None:
        return "the hosts need ip: apt install iproute2"
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return "the data host needs PostgreSQL's server programs: apt install postgresql"
    try:
        with Network():
            return ""
    except OSError as error:
        return f"no network namespaces here: {error}"


@pytest.fixture
def stage() -> Iterator[Any]:
    """Four hosts; if the test fails, it shows what their processes printed."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    pytest.importorskip("psycopg")
    from tests.hosts.stage import Stage

    # Not pytest's folder, through which no other user may pass: PostgreSQL runs as one
    folder = Path(tempfile.mkdtemp(prefix="numflow-hosts-"))
    folder.chmod(0o755)
    try:
        with Network() as network, network.inside("data"), Stage(folder, network) as stage:
            yield stage
            print(stage.logs())  # noqa: T201 - pytest shows it if the test failed
    finally:
        shutil.rmtree(folder, ignore_errors=True)
