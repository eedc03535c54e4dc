"""A real Chromium for tests of the search page; they skip with the reason where there is none, and fail in CI."""

import os
import shutil
from collections.abc import Iterator

import pytest

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium_here() -> str:
    """Where Chromium is. Nobody reads what CI skips, so there its absence is a failure."""
    executable = shutil.which("chromium")
    if executable is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell("chromium is not installed: apt-get install chromium")
    return executable


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium, started once for a module: as long as it runs, no other code of this process can have an event loop."""
    chromium = chromium_here()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()
