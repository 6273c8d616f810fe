"""The books of a run: which checks were selected, what pytest was told of each, and their rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_editeval.reckoning import Reckoning, Report
    from pytest_editeval.results import CheckResult


class Books:
    """Kept in the process that gathers results; a worker of xdist only knows what it selected."""

    def __init__(self) -> None:
        self._selected: dict[str, None] = {}  # in the order of collection
        self._reports: list[Report] = []
        self._results: dict[str, CheckResult] = {}
        self._reckoning: Reckoning | None = None  # while nothing was noted since

    def select(self, nodeids: Iterable[str]) -> int:
        """Note checks that will run; how many there are with those of before."""
        self._reckoning = None
        self._selected.update(dict.fromkeys(nodeids))
        return len(self._selected)

    def note_report(self, report: pytest.TestReport, outcome: str | None) -> None:
        """What pytest is told of a check, and the outcome of the row that comes with it."""
        from pytest_editeval.reckoning import Report
        from pytest_editeval.results import Outcome

        self._reckoning = None
        row = Outcome(outcome) if outcome is not None else None
        found = Report(report.nodeid, report.when, report.outcome, hasattr(report, "wasxfail"), row)
        if found.ending is not None:
            self._reports.append(found)

    def add(self, result: CheckResult) -> None:
        """The row of a check, in the place of an earlier one."""
        self._reckoning = None
        self._results[result.node_id] = result

    def has_row(self, nodeid: str) -> bool:
        """Whether a check has a row."""
        return nodeid in self._results

    def reckoning(self) -> Reckoning:
        """How many of the selected checks have ended how."""
        if self._reckoning is None:
            from pytest_editeval.reckoning import reckon

            self._reckoning = reckon(self._selected, self._reports, self._results)
        return self._reckoning

    def in_order(self) -> list[CheckResult]:
        """The results as the checks were collected, whatever order xdist's workers finished in."""
        order = {nodeid: index for index, nodeid in enumerate(self._selected)}
        return sorted(self._results.values(), key=lambda result: order.get(result.node_id, len(order)))

    @property
    def has_checks(self) -> bool:
        """Whether checks of edit cases were selected."""
        return bool(self._selected)

    @property
    def anything_ran(self) -> bool:
        """Whether a check has ended."""
        return bool(self._results)

    def anything_scored(self) -> bool:
        """Whether a check that is no control has a score."""
        return any(result.control is None and result.has_score for result in self._results.values())

    def not_run(self) -> list[str]:
        """The selected checks that have no result: they were skipped, or not run."""
        return [nodeid for nodeid in self._selected if nodeid not in self._results]
