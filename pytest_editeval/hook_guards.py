"""What a hook of a `conftest.py` or of another plugin raises about a check is that check's error, not the run's end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_editeval.errors import EditEvalError
from pytest_editeval.hooks import EditHooks
from pytest_editeval.terminal import TerminalHooks


class HookGuards:
    """Around all other hooks that make or take the report of a check."""

    def __init__(self, checks: EditHooks, terminal: TerminalHooks) -> None:
        self.checks = checks
        self._terminal = terminal

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: Any, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A report that could not be made says so, and the check has not passed."""
        try:
            return (yield)
        except Exception as error:
            if not hasattr(item, "attach_error"):
                raise
            problem = EditEvalError(_raised("pytest_runtest_makereport", error))
        report = pytest.TestReport.from_item_and_call(item, call)
        report.outcome = "failed"
        report.longrepr = str(problem)
        item.attach_error(report, problem)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """The hooks that come after the one that raised do not see the report; the summary says so."""
        try:
            yield
        except Exception as error:
            if not self.checks.run.is_edit_node(report.nodeid):
                raise
            problem = _raised("pytest_runtest_logreport", error)
            self.checks.note_fault(f"{report.nodeid} ({report.when}): {problem}; its report may be missing elsewhere")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, None, None]:
        """What went wrong with the sections of the summary themselves."""
        yield
        if not self.checks.run.is_worker:
            self._terminal.write_faults(terminalreporter)


def _raised(hook: str, error: Exception) -> str:
    from pytest_editeval.faults import fault_line

    return f"the hook {hook} raised {fault_line(error)}"
