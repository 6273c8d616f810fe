"""The hooks that print: the section "edit scores", and the score behind each verdict of `-v`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_editeval.errors import display_path
from pytest_editeval.hooks import EditHooks
from pytest_editeval.statuses import EDITS_KEPT, EDITS_MADE

if TYPE_CHECKING:
    from pytest_editeval.reports.layout import Screen

NAMES_SHOWN = 10
QUIET, SILENT = -1, -2  # verbosity of -q and -qq
STATUSES = {
    "passed": ("passed", ".", "PASSED"),
    "failed": ("failed", "F", "FAILED"),
    "skipped": ("xfailed", "x", "XFAIL"),
}


class TerminalHooks:
    """Prints what `EditHooks` gathers."""

    def __init__(self, checks: EditHooks) -> None:
        self.run = checks.run
        self.checks = checks
        self._ended = False
        self._faults_written = 0

    def pytest_sessionfinish(self) -> None:
        """From here on pytest asks for the words of its short summary, which has the score anyway."""
        self._ended = True

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """With `-v`, the score and what it is held against behind the verdict of a check or a gate."""
        status = getattr(report, "editeval_status", None)
        if status is None or self._ended or report.when != "call" or self.run.config.get_verbosity() <= 0:
            return None
        if report.outcome not in STATUSES:
            return None  # another plugin's word, as ``rerun``
        category, letter, word = STATUSES[report.outcome]
        screen = self._screen()
        shown = f" ({screen.text(status)})"
        if category == "xfailed" and self._shows_reasons(report, word + shown, screen):
            return None
        return category, letter, word + shown

    def _shows_reasons(self, report: Any, words: str, screen: Screen) -> bool:
        """Whether pytest shows the reason itself, and enough of it: not of what xdist's workers report.

        It cuts a reason to the room that is left on the line, and leaves it out where the words have taken all.
        """
        from pytest_editeval.reports.layout import width

        room = (screen.columns or 0) - width(f"{report.nodeid} {words} [100%] ")
        return not hasattr(report, "node") and (self.run.config.get_verbosity() > 1 or room >= len(" (...)"))

    # After the section "FAILURES", before pytest's short summary.
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table per metric, and the checks that were not scored, by name; with `-q` only what is wrong."""
        if self.run.is_worker:
            return
        if not (self.checks.faults or self.checks.books.anything_ran or self.checks.books.has_checks):
            return  # of no concern, and not to be slowed down
        self.write_faults(terminalreporter)
        with self.checks.making("edit scores"):
            self._write_scores(terminalreporter, self._screen())

    def _write_scores(self, terminalreporter: Any, screen: Screen) -> None:
        self._make_encodable(terminalreporter, screen)
        if self.checks.is_dry_run() or self.run.config.getoption("no_summary", False):
            return
        if self.run.config.get_verbosity() < 0:
            self._write_quietly(terminalreporter, screen)
        else:
            self._write_section(terminalreporter, screen)

    def write_faults(self, reporter: Any) -> None:
        """Those of reports and of others' hooks that were not written yet."""
        for line in list(self.checks.faults)[self._faults_written :]:
            for part in self._screen().wrapped(f"ERROR: {line}"):
                reporter.write_line(part, red=True)
        self._faults_written = len(self.checks.faults)

    def _screen(self) -> Screen:
        from pytest_editeval.reports.layout import Screen

        return Screen.of_writer(self.run.config.get_terminal_writer())

    def _write_section(self, reporter: Any, screen: Screen) -> None:
        from pytest_editeval.reports.summary import SOFT_FAILURES, summary_lines

        results = self.checks.books.in_order()
        reporter.write_sep(screen.text("─"), screen.text(f"edit scores · profile {self.run.profile.name}"))
        for line in summary_lines(results, self.checks.counts, screen) if results else ():
            reporter.write_line(line, yellow=line.startswith(SOFT_FAILURES))
        notes = [f"checks: {self.checks.books.reckoning()}"] if self.checks.books.has_checks else []
        made, kept = self.checks.counts[EDITS_MADE], self.checks.counts[EDITS_KEPT]
        if made or kept:
            again = f", used again: {kept}" if kept else ""
            notes.append(f"edits made in the run: {made}{again}, in {display_path(self.run.maker.folder)}")
        if self.run.cluster is not None and results:
            notes.append(self.run.cluster.summary)
        self._write(reporter, screen, notes)
        self._write(reporter, screen, self._trouble(), yellow=True)
        if self.run.results_path is not None and self.checks.results_written:
            self._write(reporter, screen, [f"results: {self.run.results_path} ({len(results)} rows)"])

    def _write_quietly(self, reporter: Any, screen: Screen) -> None:
        from pytest_editeval.reports.summary import soft_failures, total
        from pytest_editeval.results import Outcome

        results = self.checks.books.in_order()
        soft = soft_failures(results)
        trouble = [*([soft] if soft else []), *self._trouble()]
        self._write(reporter, screen, trouble, yellow=True)
        failed = any(result.outcome is not Outcome.PASSED and result.control is None for result in results)
        if trouble or failed or self.run.config.get_verbosity() > SILENT:
            self._write(reporter, screen, [total(results, self.run.profile.name)])

    def _write(self, reporter: Any, screen: Screen, lines: list[str], **markup: bool) -> None:
        for line in lines:
            for part in screen.wrapped(line):
                reporter.write_line(part, **markup)

    def _make_encodable(self, reporter: Any, screen: Screen) -> None:
        """What pytest's short summary shows of checks and gates: where a character is lacking, it escapes them all."""
        if screen.encoding.lower().startswith("utf"):
            return
        from pytest_editeval.explanations import Explanation, Headline

        for report in (report for reports in reporter.stats.values() for report in reports):
            if isinstance(explained := getattr(report, "longrepr", None), Explanation):
                headline = Headline(screen.text(explained.reprcrash.message), explained.reprcrash.place)
                report.longrepr = Explanation(explained.text, headline, explained.shown)
            if hasattr(report, "wasxfail"):
                report.wasxfail = screen.text(report.wasxfail)

    def _trouble(self) -> list[str]:
        """What was noted in the run, and the checks that were not scored."""
        return [*self.checks.notices, *self._not_saved(), *self._of_journal(), *self._not_scored()]

    def _of_journal(self) -> Iterator[str]:
        journal = self.checks.journal
        if journal is None:
            return
        if journal.error is not None and self.checks.results_written:
            yield f"{display_path(journal.path)} could not be written, so a kill would have cost rows: {journal.error}"
        elif (self.checks.books.reckoning().not_run or not self.checks.results_written) and journal.path.exists():
            yield f"the run has not ended: {display_path(journal.path)} stays until one has, or you remove it"

    def _not_saved(self) -> Iterator[str]:
        from pytest_editeval.reports.summary import not_saved

        store = self.run.store
        if store is not None and (line := not_saved(self.checks.counts, display_path(store.folder))):
            yield line

    def _not_scored(self) -> Iterator[str]:
        from pytest_editeval.reports.text import named

        if mistakes := self.checks.mistakes:
            yield f"not collected: {mistakes} × a mistake in a case file (listed above as errors)"
        found = self.checks.books.reckoning()
        for what, nodeids in (
            ("not run", found.not_run),
            ("skipped", found.skipped),
            ("reported more than once, and counted by the last report", found.doubled),
            ("reported, but never selected", found.unknown),
            ("without a row in the results", found.rowless),
        ):
            if nodeids:
                yield f"{what}: {len(nodeids)} of {found.selected} checks: {named(nodeids, NAMES_SHOWN)}"
        if self.checks.crashed:
            yield f"workers that crashed: {', '.join(self.checks.crashed)}"
