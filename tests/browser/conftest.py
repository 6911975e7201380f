"""A real browser: the system's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Nothing but the page itself goes over the network
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """One browser for all tests."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the browser tests need Chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    # Playwright's own event loop runs in this thread, and the ORM would refuse to
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
