"""A page in headless Chromium, watched: no console error, no page error, no dialog, no request but its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped, with the reason, where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no {', '.join(NAMES)} on the path, and CHROMIUM does not name one")
    with api.sync_playwright() as playwright:  # left again, so that no event loop stays behind for other tests
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab with one page of a report. `problems` is what must be empty when the test ends."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        usual = {"viewport": {"width": 1440, "height": 1000}, "reduced_motion": "reduce"}
        self.context = browser.new_context(**(usual | settings))
        self.context.set_default_timeout(5000)
        self.problems: list[str] = []
        self.allowed: set[str] = set()
        self.page = self._watched()

    def _watched(self) -> Any:
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("dialog", self._asked)
        page.on("request", self._requested)
        return page

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Any) -> None:
        if request.url.startswith("data:"):
            return
        if unquote(urlsplit(request.url).path) not in self.allowed or not request.url.startswith("file:"):
            self.problems.append(f"request: {request.url}")

    def open(self, path: Path, address: str = "", *, images: tuple[Path, ...] = ()) -> Any:
        """The page, with the part of the address from the ``#`` on."""
        self.allowed |= {str(one) for one in (path, *images)}
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + address)
        return self.page

    def close(self) -> None:
        self.context.close()
