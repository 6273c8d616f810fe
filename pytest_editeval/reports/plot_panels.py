"""Which checks a picture shows: those of one metric, by run and candidate, and what is counted beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pytest_editeval.candidates import CONTROLS
from pytest_editeval.gating.rows import sort_out
from pytest_editeval.reports.plotting import Pictures
from pytest_editeval.results import CheckResult, Outcome

PANELS = 6
"""In one picture; the others are in further ones."""

EXPECTED_TO_FAIL = "expected to fail"

T = TypeVar("T")
Runs = Mapping[str, Sequence[CheckResult]]
"""Results by the name of their run."""

_LARGEST = 1e100  # matplotlib computes with the squares of what it draws


@dataclass(frozen=True)
class Panel:
    """The ordinary checks of a metric that one candidate has in one run (controls are not among them)."""

    run: str
    candidate: str | None
    checks: tuple[CheckResult, ...]

    @property
    def scored(self) -> list[CheckResult]:
        """Those with a score that can be drawn."""
        return drawable(self.checks)


def panels_of(runs: Runs, metric: str) -> list[Panel]:
    """Those that have checks, in the order of the runs; without a score they have nothing to show but their counts."""
    found: dict[tuple[str, str | None], list[CheckResult]] = {}
    for run, results in runs.items():
        rows = sort_out([result for result in results if result.metric == metric])
        for row in (*rows.scored, *rows.errors):
            found.setdefault((run, row.candidate), []).append(row)
    return [Panel(*key, tuple(checks)) for key, checks in found.items()]


def references_of(runs: Runs, metric: str) -> dict[str, list[CheckResult]]:
    """What is made or known to be bad, or to have nothing done, by what it is; without what there is none of."""
    found: dict[str, list[CheckResult]] = {name: [] for name in (*CONTROLS, EXPECTED_TO_FAIL)}
    for results in runs.values():
        rows = sort_out([result for result in results if result.metric == metric])
        for row in rows.controls:
            found.setdefault(str(row.control), []).append(row)
        found[EXPECTED_TO_FAIL] += rows.expected_to_fail
    return {name: rows for name, rows in found.items() if rows}


def drawable(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """The checks with a score and a margin, of a size that can be drawn."""
    return [check for check in checks if check.has_score and _can_be_drawn(check.score) and _can_be_drawn(check.margin)]


def _can_be_drawn(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and abs(value) < _LARGEST


def scores_of(checks: Sequence[CheckResult]) -> list[float]:
    """Of checks that are `drawable`."""
    return [check.score for check in checks if check.score is not None]


def pages(parts: Sequence[T]) -> Iterator[tuple[Sequence[T], str]]:
    """What each picture shows of the parts, and, where it takes several, which of them it is: ` (1 of 3)`."""
    count = math.ceil(len(parts) / PANELS)
    for page in range(count):
        yield parts[page * PANELS : (page + 1) * PANELS], f" ({page + 1} of {count})" if count > 1 else ""


def counted(checks: Sequence[CheckResult]) -> str:
    """`38 scores: 30 passed, 8 failed · 2 soft failures · 1 error`; what is not there is not named."""
    outcomes = Counter(check.outcome for check in checks)
    shown = drawable(checks)
    passed = sum(check.outcome is Outcome.PASSED for check in shown)
    soft, errors = outcomes[Outcome.SOFT_FAILURE], outcomes[Outcome.ERROR]
    rest = len(checks) - len(shown) - soft - errors
    scores = "1 score" if len(shown) == 1 else f"{len(shown):,} scores"
    words = [f"{scores}: {passed:,} passed, {len(shown) - passed:,} failed" if shown else "no scores"]
    words += [f"{soft:,} soft failure{'s' * (soft > 1)}"] if soft else []
    words += [f"{errors:,} error{'s' * (errors > 1)}"] if errors else []
    words += [f"{rest:,} not finite, or too large to draw"] if rest else []
    return " · ".join(words)


def heading(pictures: Pictures, panel: Panel, runs: Runs) -> str:
    """Which run and candidate a panel shows, where there are several, and what is counted in it."""
    words = [pictures.text(panel.run)] if len(runs) > 1 else []
    words += [f"candidate {pictures.text(panel.candidate)}"] if panel.candidate is not None else []
    if len(_profiles(runs)) > 1:
        words += [f"profile {pictures.text(panel.checks[0].profile)}"]
    return " · ".join([*words, counted(panel.checks)])


def subject(pictures: Pictures, runs: Runs, metric: str) -> str:
    """The metric, and the profile where all runs have the same."""
    profiles = _profiles(runs)
    named = f", profile {pictures.text(min(profiles))}" if len(profiles) == 1 else ""
    return pictures.text(metric) + named


def _profiles(runs: Runs) -> set[str]:
    return {result.profile for results in runs.values() for result in results}
