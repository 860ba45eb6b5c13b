"""A real browser, for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip(f"no Chromium on the path ({', '.join(_NAMES)})")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=list(_OPTIONS))
        yield running
        running.close()
