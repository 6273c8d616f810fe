"""The hooks that judge a run's gates once its checks have ended, and report each like a test."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.errors import EditEvalError
from pytest_editeval.explanations import explained
from pytest_editeval.hooks import EditHooks
from pytest_editeval.statuses import GATE_FAILED, INCOMPLETE, NOTHING_SCORED
from pytest_editeval.terminal import SILENT

if TYPE_CHECKING:
    from pytest_editeval.reports.layout import Screen
    from pytest_editeval.results import GateResult

NOT_JUDGED = "gates: not judged"


class GateHooks:
    """Judges gates in the process that gathers results: a plain run's, or xdist's controller."""

    def __init__(self, checks: EditHooks) -> None:
        self.run = checks.run
        self.checks = checks
        self.results: list[GateResult] = []
        self._failed = 0
        self._ended = False
        self.error: EditEvalError | None = None
        self._narrowed: str | None = None
        self._left_out: list[str] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count, because a run that leaves checks out does not judge a suite."""
        self.run.gating.deselected += [item for item in items if hasattr(item, "edits")]  # type: ignore[misc]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker collected of gates; the controller collects nothing itself."""
        found = getattr(node, "workeroutput", {}).get("editeval_gates")
        if found is not None:
            gates, deselected, self._narrowed = found
            self.run.gating.note_worker(gates, deselected)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Refuse a baseline of other checkpoints before the first check, and judge after the last."""
        if self.run.is_worker or self.checks.is_dry_run():
            return (yield)
        if self.checks.books.has_checks or self.run.config.getoption("dist", "no") != "no":
            try:
                self.run.gating.check_models()
            except EditEvalError as error:
                raise pytest.UsageError(f"editeval: {error}") from None
        result = yield
        self._ended = True
        if self.checks.books.has_checks:
            self._judge(session)
        return result

    def _judge(self, session: pytest.Session) -> None:
        gating = self.run.gating
        self._narrowed = self._narrowed or gating.narrowed
        if gating.mode == "off" or (gating.mode == "auto" and self._narrowed):
            return
        from pytest_editeval.gating.evaluate import judge_gates

        results = self.checks.books.in_order()
        reference = gating.accepted(results)
        gates, self._left_out = gating.judged_gates(results)
        try:
            self.results = judge_gates(gates, results, self.run.profile.name, reference, self.checks.books.not_run())
        except EditEvalError as error:  # a gate that has no threshold for this profile
            self.error = error
            session.testsfailed += 1
            return
        reporter = self.run.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.results:
            reporter.currentfspath = None  # the line of the last check says 100 % already
            if self.run.config.get_verbosity() < 0:
                reporter.write("\n")
        for gate in self.results:
            self._report(gate, session)

    def _report(self, gate: GateResult, session: pytest.Session) -> None:
        """What pytest is told of a test: start, three reports, end."""
        from pytest_editeval.reports.gates import gate_explanation, gate_message, gate_properties, gate_status

        hook = self.run.config.hook
        path, _, name = gate.node_id.partition("::")
        line = int(gate.place.split(":")[-2]) - 1 if gate.place else 0
        location = (path, line, name.replace("::", "."))
        self._failed += not gate.passed
        session.testscollected += 1
        hook.pytest_runtest_logstart(nodeid=gate.node_id, location=location)
        properties = gate_properties(gate) if self.run.config.getini("editeval_junit_properties") else []
        for when in ("setup", "call", "teardown"):
            report = pytest.TestReport(
                nodeid=gate.node_id,
                location=location,
                keywords={"gates": 1},
                outcome="passed" if gate.passed or when != "call" else "failed",
                longrepr=None,
                when=when,
                user_properties=properties,
                editeval_gate=True,
                editeval_status=gate_status(gate),
            )
            if report.failed:
                report.longrepr = explained(self.run.config, gate_explanation(gate), gate_message(gate), gate.place)
                self.checks.display.head_with_id(report)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=gate.node_id, location=location)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give a gate that failed, a run without a score and one that was cut short an exit status of their own."""
        if self.run.is_worker:
            gating = self.run.gating
            data = {path: [gate.to_data() for gate in gates] for path, gates in gating.of_files.items()}
            deselected = [list(gate) for gate in sorted(gating.gates_deselected())]
            found = (data, deselected, gating.narrowed)
            self.run.config.workeroutput["editeval_gates"] = found  # type: ignore[attr-defined]
            return
        if self.checks.is_dry_run() or not self.checks.books.has_checks:
            return
        gate_failures = self._failed + (self.error is not None)
        only_gates = session.exitstatus == pytest.ExitCode.TESTS_FAILED and session.testsfailed == gate_failures
        if session.exitstatus != pytest.ExitCode.OK and not only_gates:
            return
        if not self.checks.books.anything_scored():
            session.exitstatus = NOTHING_SCORED
        elif gate_failures:
            session.exitstatus = GATE_FAILED
        elif not self._ended:  # `pytest.exit` may name a status of its own, 0 included
            session.exitstatus = INCOMPLETE

    # Last of this package's sections, so that the verdict stands at the end.
    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The section "gates", or why there is none."""
        if self.run.is_worker or self.checks.is_dry_run() or not self.checks.books.has_checks:
            return
        with self.checks.making("gates"):
            self._write(terminalreporter)

    def _write(self, terminalreporter: Any) -> None:
        from pytest_editeval.reports.layout import Screen

        screen = Screen.of_writer(self.run.config.get_terminal_writer())

        def write(line: str, **markup: bool) -> None:
            for part in screen.wrapped(line):
                terminalreporter.write_line(part, **markup)

        if self.error is not None:
            for line in f"ERROR: {self.error}".splitlines():
                write(line, red=True)
        if self.run.config.getoption("no_summary", False):
            return
        self._write_gates(terminalreporter, screen)
        if self._left_out:
            write(f"gates whose checks were all deselected: {', '.join(self._left_out)}", yellow=True)
        if why := self.why_not():
            write(f"{NOT_JUDGED}: {why}", yellow=True)
        if not self.checks.books.anything_scored():
            write("nothing was scored: no check has a score, so this run says nothing", red=True)

    def _write_gates(self, reporter: Any, screen: Screen) -> None:
        """With `-q` the gates that fail, and the verdict; with `-qq` nothing where all pass."""
        verbosity = self.run.config.get_verbosity()
        all_pass = all(gate.passed for gate in self.results)
        if not self.results or (all_pass and verbosity <= SILENT):
            return
        from pytest_editeval.reports.gates import VERDICT, WORD, gate_lines

        if verbosity >= 0:
            reporter.write_sep(screen.text("─"), "gates")
        reporter.ensure_newline()
        for line in gate_lines(self.results, screen, only_failing=verbosity < 0):
            start, end = (len(VERDICT), len(line)) if line.startswith(VERDICT) else (0, WORD)
            bad = line.startswith("FAIL", start)
            good = line.startswith(("PASS", "passed"), start)
            reporter.write(line[:start])
            reporter.write(line[start:end], green=good, red=bad)
            reporter.write(f"{line[end:]}\n")

    def why_not(self) -> str | None:
        """Why there are gates and no verdict on them."""
        gating = self.run.gating
        if self.results or self.error is not None or not gating.gates:
            return None
        if gating.mode == "off":
            return "--editeval-gates off"
        if not self._ended:
            return "the run stopped early"
        return (
            f"{self._narrowed} leaves checks out (--editeval-gates on judges what is left)" if self._narrowed else None
        )
