"""The hooks that follow a run: collection errors, results, reports.

Under xdist the workers score and the controller, which collects nothing itself, gathers; nothing but plain data goes
from one to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.books import Books
from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.failure_display import FailureDisplay
from pytest_editeval.run import EditRun
from pytest_editeval.statuses import INCOMPLETE, OF_SCORES, SCORES_COMPUTED

if TYPE_CHECKING:
    from pytest_editeval.results_journal import Journal

DRY_RUNS = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test", "cacheshow")
MODEL_FIXTURES = frozenset({"editeval", "clip_pipe", "dinov3_pipe", "sam_segmenter"})
FINAL = ("passed", "failed", "skipped")
"""Outcomes that stand; plugins that run a test again have others, as ``rerun``, for what does not."""


class EditHooks:
    """Gathers what the run finds, and reports it."""

    def __init__(self, run: EditRun) -> None:
        self.run = run
        self.display = FailureDisplay(run)
        self.books = Books()
        self.counts: Counter[str] = Counter()
        self.notices: dict[str, None] = {}
        self.mistakes = 0
        self.faults: dict[str, None] = {}  # of reports and of others' hooks, a line each
        self.results_written = False
        self.crashed: list[str] = []  # workers
        self.journal: Journal | None = None
        self._session: pytest.Session | None = None
        self._broke = False
        self._other_errors = 0
        self._lock_checked = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """From here on the results of the last run are no longer this one's."""
        self._session = session  # whose exit status is pytest's
        if self.run.results_path is not None and not self.run.is_worker and not self.is_dry_run():
            from pytest_editeval.results_journal import Journal

            self.journal = Journal(self.run.results_path)

    @contextmanager
    def making(self, what: str) -> Iterator[None]:
        """Whatever is raised while a report is made costs that report only: it is a line of the summary."""
        try:
            yield
        except (OSError, EditEvalError) as error:
            self.note_fault(f"{what}: {error}")
        except Exception as error:  # raised here, it would take the summary and JUnit's file with it
            from pytest_editeval.faults import fault_line

            self.note_fault(f"{what}: {fault_line(error)}")

    def note_fault(self, line: str) -> None:
        """A line of the summary, and no exit status of 0."""
        self.faults[f"editeval: {line}"] = None
        if self._session is not None and self._session.exitstatus == pytest.ExitCode.OK:
            self._session.exitstatus = pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count collection errors: mistakes in edit cases, and all others."""
        if not report.failed:
            return
        if not self.run.is_edit_node(report.nodeid):
            self._other_errors += 1
            return
        self.mistakes += 1
        if not self.run.is_worker:
            self.display.explain(report, str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave what the command line names of candidates' checks."""
        if self.run.asked is not None:
            self.run.asked.select(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """A mistake in one edit case does not stop the others; any other collection error stops the run as ever."""
        self.note_checks([item.nodeid for item in session.items])
        if self.mistakes and not self._other_errors:
            session.config.option.continue_on_collection_errors = True
        if not self.run.is_worker and not self.is_dry_run() and _use_models(session.items):
            self.run.check_lock()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The controller, which collects nothing itself, learns which checks there are, and prints the header."""
        first = not self.books.has_checks
        self.note_checks(ids)
        if not self._lock_checked and not self.is_dry_run():
            self._lock_checked = True
            self.run.check_lock()  # before xdist gives out the first test; which fixtures they take is not known here
        reporter = self.run.config.pluginmanager.get_plugin("terminalreporter")
        if first and self.books.has_checks and reporter is not None and self.run.config.get_verbosity() >= 0:
            for line in self._header():
                reporter.write_line(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """What a worker did beside its checks; one that crashed says nothing."""
        if error is not None:
            if not hasattr(node, "workeroutput"):
                self.crashed.append(node.gateway.id)
            return
        counts, notices, faults = getattr(node, "workeroutput", {}).get("editeval", ({}, (), ()))
        self.counts.update(counts)
        self.notices.update(dict.fromkeys(notices))
        self.faults.update(dict.fromkeys(faults))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A check that took its worker with it has a row as any other."""
        if not self.run.is_edit_node(crashitem):
            return
        from pytest_editeval.lost_rows import lost_row

        row = lost_row(self.run, crashitem, str(report.longrepr))
        if row is not None:
            report.editeval_result = row.to_data()  # type: ignore[attr-defined]

    def pytest_internalerror(self) -> None:
        """Note it: of an error inside of a worker, xdist prints the traceback and may call the run a success."""
        self._broke = True

    def note_checks(self, nodeids: Sequence[str]) -> None:
        """These are selected."""
        selected = self.books.select(nodeid for nodeid in nodeids if self.run.is_edit_node(nodeid))
        if self.journal is not None:
            self.journal.select(selected)

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """The header lines: which profile and device are in use."""
        if self.run.config.get_verbosity() < 0 or not _use_models(items):
            return []
        return self._header()

    def _header(self) -> list[str]:
        from pytest_editeval.registry import broken_metrics
        from pytest_editeval.reports.header import header_lines
        from pytest_editeval.reports.layout import Screen

        lines = header_lines(self.run.profile, self.run.device, self.run.ray)
        lines += [f"editeval: {problem}" for problem in broken_metrics().values()]
        store = None if self.is_dry_run() else self.run.store
        if store is not None:
            fault = ", cannot be written" if store.writable and not store.can_be_written() else ""
            lines.append(f"editeval: store {display_path(store.folder)} ({store.score_count()} scores{fault})")
        screen = Screen.of_writer(self.run.config.get_terminal_writer())
        return [part for line in lines for part in screen.wrapped(line)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """What a check holds beside its reports goes when they are made."""
        try:
            return (yield)
        finally:
            if (forget := getattr(item, "forget_result", None)) is not None:
                forget()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the result of a check on its report; errors that explain themselves need no traceback."""
        report = yield
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, EditEvalError):
            report.longrepr = str(error)
            report.editeval_explained = True  # type: ignore[attr-defined]
        attach = getattr(item, "attach_result", None)
        if attach is not None:
            with self.making("properties in JUnit"):
                attach(report, error)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather (not in a worker: its reports are gathered by the controller)."""
        if self.run.is_worker:
            return
        in_edit_file = self.run.is_edit_node(report.nodeid)
        if in_edit_file:
            self.display.repair_id(report)
            self.display.note_attempt(report, is_final=report.outcome in FINAL)
        data = report.__dict__.pop("editeval_result", None)  # pytest keeps every report to the end of the run
        if in_edit_file and not hasattr(report, "editeval_gate"):
            self.books.note_report(report, data["outcome"] if data is not None else None)
        self._note_counts(report)
        if data is not None and report.outcome in FINAL:
            from pytest_editeval.results import CheckResult

            result = CheckResult.from_data(data)
            self.books.add(result)
            if self.journal is not None:
                self.journal.add(result)
            with self.making("what the terminal shows of a check"):
                self.display.show(report, result)
        elif getattr(report, "editeval_explained", False):
            self.display.explain(report, str(report.longrepr))

    def _note_counts(self, report: pytest.TestReport) -> None:
        """Every attempt has encoded what it encoded; the score of a check counts once."""
        counts = getattr(report, "editeval_counts", {})
        if report.outcome not in FINAL or self.books.has_row(report.nodeid):
            counts = {name: count for name, count in counts.items() if name not in OF_SCORES}
        self.counts.update(counts)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the results file, and the properties of the JUnit suite; a worker says what its checks did not."""
        rest = self.run.new_counts()
        notices = self.run.editeval.notices if self.run.editeval else []
        if self.run.is_worker:
            self.run.config.workeroutput["editeval"] = (rest, notices, list(self.faults))  # type: ignore[attr-defined]
            return
        self.counts.update(rest)
        self.notices.update(dict.fromkeys(notices))
        if self.counts[SCORES_COMPUTED] and self.run.store is not None:
            with self.making("--editeval-cache-dir"):
                self.run.store.prune()
        self.display.finish()
        if self.run.results_path is not None and not self.is_dry_run():
            from pytest_editeval.results_file import write_results

            with self.making(f"--editeval-results {self.run.results_path}"):
                write_results(self.run.results_path, self.books.in_order())
                self.results_written = True
            if self.journal is not None:
                self.journal.close(ended=self.results_written and not self.books.reckoning().not_run)
        if self.books.anything_ran:
            from pytest_editeval.reports.junit import suite_properties

            with self.making("properties in JUnit"):
                for plugin in self.display.junit_plugins():
                    for name, value in suite_properties(self.books.in_order()).items():
                        plugin.add_global_property(name, value)
        self._close_books(session)

    def _close_books(self, session: pytest.Session) -> None:
        """A run that pytest calls a success is one only if every selected check ended well, once, and has its row."""
        if session.exitstatus != pytest.ExitCode.OK or self.is_dry_run():
            return
        if self._broke and self.books.has_checks:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif self.books.has_checks and (self.crashed or not self.books.reckoning().may_be_green):
            session.exitstatus = INCOMPLETE
        elif self.faults:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR  # of those that came while it was not known

    def is_dry_run(self) -> bool:
        """Whether pytest was asked for something else than to run tests."""
        return any(self.run.config.getoption(name, None) for name in DRY_RUNS)


def _use_models(items: Sequence[pytest.Item]) -> bool:
    """Whether any of the tests takes a fixture that holds models."""
    return any(MODEL_FIXTURES.intersection(getattr(item, "fixturenames", ())) for item in items)
