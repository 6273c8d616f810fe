"""The sum that every run has to come out at: each selected check ends exactly once (docs/outcomes.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pytest_editeval.results import Outcome


class Ending(StrEnum):
    """How a check ended in the eyes of pytest. `EXPECTED`: it did not pass, and was allowed not to."""

    PASSED = "passed"
    FAILED = "failed"
    SOFT_FAILURE = "soft failure"
    EXPECTED = "expected failure"
    ERROR = "error"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


GREEN = frozenset({Ending.PASSED, Ending.SOFT_FAILURE, Ending.EXPECTED})
"""The endings that a run may have and still let a release through."""

NOUNS = frozenset({Ending.SOFT_FAILURE, Ending.EXPECTED, Ending.ERROR})


class Report(NamedTuple):
    """What pytest was told of a check: the phase, its outcome (`expected`: of an xfail), and the outcome of its row."""

    nodeid: str
    when: str
    outcome: str
    expected: bool = False
    row: Outcome | None = None

    @property
    def ending(self) -> Ending | None:
        """How the check ended, `None` of a report that does not decide it: a fixture's, or one before a rerun.

        A check that is reported as passed against its own row is what its row says.
        """
        if self.outcome == "failed":
            return Ending.ERROR if self.when != "call" or self.row is Outcome.ERROR else Ending.FAILED
        if self.outcome == "skipped" and self.when != "teardown":
            if not self.expected:
                return Ending.SKIPPED
            return Ending.SOFT_FAILURE if self.row is Outcome.SOFT_FAILURE else Ending.EXPECTED
        if self.outcome == "passed" and self.when == "call":
            return Ending.PASSED if self.row is None else Ending(str(self.row))
        return None


@dataclass(frozen=True)
class Reckoning:
    """How many of the selected checks ended how, and which did not end as they should, by node id.

    `doubled` were reported again, and count once, by their last report. `unknown` were reported, or have a row, and
    were never selected; `rowless` have a verdict and no row.
    """

    selected: int
    counts: Mapping[Ending, int]
    not_run: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    rowless: tuple[str, ...] = ()

    @property
    def balances(self) -> bool:
        """Whether what was reported, what was selected, and the rows are about the same checks."""
        return sum(self.counts.values()) == self.selected and not self.unknown and not self.rowless

    @property
    def may_be_green(self) -> bool:
        """Whether it balances, and every check passed, failed softly, or was expected to fail."""
        return self.balances and all(ending in GREEN for ending, count in self.counts.items() if count)

    def __str__(self) -> str:
        """``8 = 4 passed + 2 failed + 2 soft failures``."""
        terms = (_counted(count, ending) for ending in Ending if (count := self.counts.get(ending, 0)))
        return f"{self.selected:,} = {' + '.join(terms) or '0'}"


def _counted(count: int, ending: Ending) -> str:
    return f"{count:,} {ending}{'s' if count > 1 and ending in NOUNS else ''}"


def reckon(selected: Iterable[str], reports: Iterable[Report], rows: Iterable[str]) -> Reckoning:
    """Count every selected check once. `reports` in the order in which they came, `rows` are node ids."""
    chosen = dict.fromkeys(selected)
    endings: dict[str, Ending] = {}
    doubled: dict[str, None] = {}
    for report in reports:
        ending = report.ending
        if ending is None or (report.when == "teardown" and endings.get(report.nodeid) is Ending.FAILED):
            continue
        if report.nodeid in endings and report.when != "teardown":
            doubled[report.nodeid] = None
        endings[report.nodeid] = ending
    have_rows = dict.fromkeys(rows)
    all_endings = {nodeid: endings.get(nodeid, Ending.NOT_RUN) for nodeid in chosen}
    return Reckoning(
        selected=len(chosen),
        counts=Counter(all_endings.values()),
        not_run=tuple(nodeid for nodeid, ending in all_endings.items() if ending is Ending.NOT_RUN),
        skipped=tuple(nodeid for nodeid, ending in all_endings.items() if ending is Ending.SKIPPED),
        doubled=tuple(doubled),
        unknown=tuple(nodeid for nodeid in {**endings, **have_rows} if nodeid not in chosen),
        rowless=tuple(
            nodeid
            for nodeid, ending in all_endings.items()
            if ending not in (Ending.SKIPPED, Ending.NOT_RUN) and nodeid not in have_rows
        ),
    )
