"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

WAIT_MS = 150_000  # nothing takes so long; a busy machine is slow
CHROMIUM = shutil.which("chromium")
# It runs as root here, with no screen and no network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's synchronous interface."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, timeout=WAIT_MS
        )
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, condition: str) -> None:
    """Wait until a JavaScript expression holds.

    Playwright's own way is a string that the page evaluates, which a page's policy may forbid.
    """
    deadline = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)
