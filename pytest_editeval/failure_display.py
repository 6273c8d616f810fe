"""How checks stand in pytest's output and in JUnit: the word of a check, its failure's own text, and its node id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.errors import display_path
from pytest_editeval.run import EditRun

if TYPE_CHECKING:
    from pytest_editeval.results import CheckResult


class FailureDisplay:
    """Puts words on reports before pytest shows them."""

    def __init__(self, run: EditRun) -> None:
        self._run = run
        self._headed: list[pytest.TestReport] = []
        self._superseded: dict[int, Any] = {}  # test cases in JUnit of attempts that decide nothing, by identity

    def show(self, report: pytest.TestReport, result: CheckResult) -> None:
        """The word of a check, and of a failure its text."""
        from pytest_editeval.reports.text import brief, status

        report.editeval_status = status(result)  # type: ignore[attr-defined]
        if isinstance(report.longrepr, str):
            place = f"{result.file}:{result.line}: {result.metric}"
            self.explain(report, report.longrepr + self._where_on_page(result), brief(result), place)
            self.head_with_id(report)

    def explain(
        self, report: pytest.CollectReport | pytest.TestReport, text: str, message: str | None = None, place: str = ""
    ) -> None:
        """Put a text in a traceback's place; its first line is the message, unless one is given."""
        from pytest_editeval.explanations import explained

        report.longrepr = explained(self._run.config, text, message or text.split("\n", 1)[0], place)

    def repair_id(self, report: pytest.TestReport) -> None:
        """pytest reads ``a::red[v2]::emd`` as a parameter of ``a::red``, in JUnit, and from 9.2 on from workers too."""
        if "]::" not in report.nodeid:
            return
        path, *names = report.nodeid.split("::")
        if (known := getattr(report, "id", None)) is not None:
            report._id = type(known)(path=path, names=tuple(names))
        for plugin in self.junit_plugins():
            attributes = plugin.node_reporter(report)
            classes = (*filter(None, (getattr(plugin, "prefix", None),)), path.replace("/", "."), *names[:-1])
            attributes.add_attribute("classname", ".".join(classes))
            attributes.add_attribute("name", names[-1])

    def note_attempt(self, report: pytest.TestReport, *, is_final: bool) -> None:
        """An attempt that a plugin makes again decides nothing: its test case in JUnit would be read as passed.

        One that fails in its teardown has been reported as passed, and stays.
        """
        if report.when == "teardown" or (is_final and not self._superseded):
            return
        for test_case in (plugin.node_reporter(report) for plugin in self.junit_plugins()):
            if is_final:  # some versions of pytest-rerunfailures have all attempts in one
                self._superseded.pop(id(test_case), None)
            else:
                self._superseded[id(test_case)] = test_case

    def junit_plugins(self) -> list[Any]:
        """What writes JUnit's file: pytest's own, where it was asked for."""
        plugins = self._run.config.pluginmanager.get_plugins()
        return [one for one in plugins if hasattr(one, "node_reporter") and hasattr(one, "add_global_property")]

    def head_with_id(self, report: pytest.TestReport) -> None:
        """Have the failure headed by its node id, which can be given to pytest again, when it is printed."""
        self._headed.append(report)

    def finish(self) -> None:
        """Before JUnit and failures are written: pytest heads failures by their location, their line until then."""
        for report in self._headed:
            report.location = (*report.location[:2], report.nodeid)
        for plugin in self.junit_plugins() if self._superseded else ():
            kept = [one for one in plugin.node_reporters_ordered if id(one) not in self._superseded]
            plugin.node_reporters_ordered[:] = kept

    def _where_on_page(self, result: CheckResult) -> str:
        if self._run.report_path is None:
            return ""
        from pytest_editeval.reports.html.anchors import anchor

        return f"\n  report: {display_path(self._run.report_path)}{anchor(result)}"
