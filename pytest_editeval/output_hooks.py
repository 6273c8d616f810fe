"""The hooks that say how a run went elsewhere than in the terminal: page, summary in Markdown, GitHub's annotations.

What they say is in `pytest_editeval.reports`; here is what it takes from the run, and where it goes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.errors import EditEvalError, LocatedError, Position
from pytest_editeval.hooks import EditHooks
from pytest_editeval.run import EditRun

if TYPE_CHECKING:
    from pytest_editeval.gate_hooks import GateHooks
    from pytest_editeval.reports.html.page import PageSettings
    from pytest_editeval.reports.verdict import RunNotes
    from pytest_editeval.results import CheckResult, GateResult

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_SUMMARY_LIMIT = 1024 * 1024
"""Bytes that GitHub takes of one step; of a longer file it shows nothing."""


class OutputHooks:
    """Writes the page and the summary, prints annotations; in a worker, only passes on where mistakes are."""

    def __init__(self, checks: EditHooks) -> None:
        self.run = checks.run
        self.checks = checks
        self._mistakes: list[LocatedError] = []
        self._others = 0
        self._lines: list[tuple[str, bool]] = []  # what there is to say of the files, and whether it is a fault
        self._begun = time.monotonic()
        self._page_settings = None if self.run.is_worker or self.run.report_path is None else _page_settings(self.run)

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any], report: Any) -> None:
        """Put the places of mistakes in a case file on the report that says that it was not collected."""
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(report, pytest.CollectReport) and isinstance(error, EditEvalError):
            found: Any = getattr(node, "errors", None) or getattr(error, "errors", (error,))
            report.editeval_mistakes = [  # type: ignore[attr-defined]
                (str(one.position.path), one.position.line, one.position.column, one.message, one.hint)
                for one in found
                if isinstance(one, LocatedError)
            ]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Gather the mistakes."""
        for path, line, column, message, hint in getattr(report, "editeval_mistakes", ()):
            self._mistakes.append(LocatedError(Position(Path(path), line, column), message, hint))
        self._others += report.failed and not getattr(report, "editeval_mistakes", ())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what fails that is neither a check nor a gate."""
        is_ours = self.run.is_edit_node(report.nodeid) or hasattr(report, "editeval_gate")
        self._others += report.failed and not is_ours

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the page and the Markdown file, and add to the summary of the step."""
        if self.run.is_worker or self.checks.is_dry_run():
            return
        results, gates = self.checks.books.in_order(), self._gates.results if self._gates else ()
        notes = self._notes()
        if (path := self.run.report_path) is not None:
            self._write("report", path, partial(self._write_page, path, results, gates, notes))
        step_summary = os.environ.get(STEP_SUMMARY) if self.run.annotates else None
        if not self.checks.books.has_checks and not self._mistakes:
            step_summary = None
        if self.run.markdown_path is None and not step_summary:
            return
        from pytest_editeval.reports.markdown import markdown, write_markdown

        summary = self.run.markdown_path
        with self.checks.making(STEP_SUMMARY if summary is None else f"--editeval-markdown {summary}"):
            text = markdown(results, gates, notes)
            if summary is not None:
                self._write("markdown", summary, partial(write_markdown, summary, text))
            if step_summary:
                self._append(Path(step_summary), text)

    @property
    def _gates(self) -> GateHooks | None:
        gates: GateHooks | None = self.run.config.pluginmanager.get_plugin("editeval-gates")
        return gates

    def _notes(self) -> RunNotes:
        from pytest_editeval.reports.verdict import RunNotes

        files = {"report": self.run.report_path, "results": self.run.results_path}
        return RunNotes(
            mistakes=self._all_mistakes(),
            not_run=self.checks.books.not_run(),
            gates_not_judged=self._gates.why_not() if self._gates else None,
            others=self._others,
            files={what: str(path) for what, path in files.items() if path is not None},
            soft_fail=self.run.soft_failures == "fail",
            runxfail=bool(self.run.config.getoption("runxfail", False)),
        )

    def _all_mistakes(self) -> list[LocatedError]:
        error = self._gates.error if self._gates else None
        return [*self._mistakes, *([error] if isinstance(error, LocatedError) else [])]

    def _write_page(
        self, path: Path, results: Sequence[CheckResult], gates: Sequence[GateResult], notes: RunNotes
    ) -> list[str]:
        from pytest_editeval.reports.html.page import page_lines, write_page
        from pytest_editeval.reports.summary import work

        facts = {"time of the run": f"{time.monotonic() - self._begun:.1f} s", "work": work(self.checks.counts)}
        return page_lines(path, write_page(path, results, gates, replace(notes, facts=facts), self._page_settings))

    def _write(self, option: str, path: Path, write: Callable[[], list[str] | None]) -> None:
        """Write a file, and note what there is to say of it."""
        with self.checks.making(f"--editeval-{option} {path}"):
            lines = write() or [f"summary: {path}"]
            self._lines += [(line, False) for line in lines]

    def _append(self, path: Path, text: str) -> None:
        """GitHub's file, which earlier commands of the step may have written to; that it fails is not the run's."""
        try:
            size = path.stat().st_size if path.exists() else 0
            if size + len(text.encode()) > STEP_SUMMARY_LIMIT:
                self._lines.append((f"editeval: no room left in {STEP_SUMMARY}: {size:,} bytes are there", True))
                return
            with path.open("a", encoding="utf-8", newline="\n") as stream:
                stream.write(f"{text}\n")
        except OSError as error:
            self._lines.append((f"editeval: {STEP_SUMMARY}: {error}", True))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was written, and print the annotations, each on a line of its own."""
        if self.run.is_worker or self.checks.is_dry_run():
            return
        for line, is_fault in self._lines:
            terminalreporter.write_line(line, red=is_fault)
        if self.run.annotates:
            with self.checks.making("annotations"):
                self._annotate(terminalreporter)

    def _annotate(self, terminalreporter: Any) -> None:
        from pytest_editeval.reports.annotations import annotation_lines
        from pytest_editeval.reports.standing import standing

        notes = self._notes()
        checks = standing(self.checks.books.in_order(), soft_fail=notes.soft_fail, runxfail=notes.runxfail)
        gates = self._gates.results if self._gates else ()
        for line in annotation_lines(checks, gates, notes.mistakes, os.environ.get("GITHUB_WORKSPACE")):
            terminalreporter.write_line(line)


def _page_settings(run: EditRun) -> PageSettings:
    """How images come into the page; an `EditEvalError` for a setting that is wrong, or where it cannot be made."""
    from pytest_editeval.reports.html.page import PageSettings, check_can_render
    from pytest_editeval.reports.html.pictures import parse_side

    option = f"--editeval-report {run.report_path}"
    if run.report_path is not None and run.report_path.is_dir():
        raise EditEvalError(f"{option}: that is a directory")
    check_can_render(option)
    images = run.choice("report_images")
    return PageSettings("link" if images == "link" else "embed", parse_side(run.setting("report_size") or ""))
