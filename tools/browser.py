"""A real Chromium, driven by Playwright: the one that the system has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox",  # Chromium's own needs a user namespace, which root in a container has not
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
LAUNCH_MILLISECONDS: Final = 180_000
PATIENCE_MILLISECONDS: Final = 60_000
"""For a page or an element: on a busy machine everything takes longer, and no test is about speed."""


class NoChromium(RuntimeError):
    """There is none: a failure, never a reason to skip."""


def program() -> str:
    """Path of the Chromium to run. Raises NoChromium, saying how to get one."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else PROGRAMS)), None)
    if found is None:
        raise NoChromium(
            "Chromium is needed: run tools/require-chromium, or name its program in the environment "
            "variable CHROMIUM."
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. While it is open, no other asyncio loop can run in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(), args=list(ARGUMENTS), timeout=LAUNCH_MILLISECONDS
        )
        try:
            yield browser
        finally:
            browser.close()
