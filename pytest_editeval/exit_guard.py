"""`os._exit(0)` in a metric or a model ends the process on the spot: that must not look like a run that has passed."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, NoReturn

import pytest

from pytest_editeval.hooks import EditHooks
from pytest_editeval.statuses import INCOMPLETE


class ExitGuard:
    """While checks run, ``os._exit(0)`` in this process ends it with `INCOMPLETE`; in a worker, xdist sees to that."""

    def __init__(self, checks: EditHooks) -> None:
        self.checks = checks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Take the place of `os._exit`, and give it back."""
        if self.checks.run.is_worker or not self.checks.books.has_checks:
            return (yield)
        module: Any = os
        original = module._exit
        module._exit = self._instead_of(original)
        try:
            return (yield)
        finally:
            module._exit = original

    def _instead_of(self, original: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
        process = os.getpid()

        def _exit(status: int) -> NoReturn:
            if status == 0 and os.getpid() == process:  # a child that was forked may end as it likes
                with suppress(Exception):
                    self._say()
                status = INCOMPLETE
            original(status)

        return _exit

    def _say(self) -> None:
        plugins = self.checks.run.config.pluginmanager
        if (capture := plugins.get_plugin("capturemanager")) is not None:
            capture.suspend()
        reporter: Any = plugins.get_plugin("terminalreporter")
        reporter.ensure_newline()
        line = f"ERROR: editeval: os._exit(0) has ended the process; checks: {self.checks.books.reckoning()}"
        reporter.write_line(line, red=True)
        reporter.flush()
