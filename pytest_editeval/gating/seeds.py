"""The scores of checks of several edits, one per seed: their mean, and how far they lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pytest_editeval.results import CheckResult, Outcome


@dataclass(frozen=True)
class OverSeeds:
    """Of a check of `edits` edits the `scores` by seed, how many are soft failures, and what follows of the scores.

    `deviation` is the sample standard deviation, with n - 1, and `None` for a single score. Soft failures are in
    neither number, whatever value stands for them.
    """

    edits: int
    soft: int
    scores: Mapping[int, float]

    @property
    def mean(self) -> float | None:
        """`None` without a score."""
        return fmean(self.scores.values()) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """In the metric's units."""
        return stdev(self.scores.values()) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class SeedsPair:
    """A check that is of several edits on a side at least; `None` where it is not, or has no row."""

    key: str
    before: OverSeeds | None
    after: OverSeeds | None


def over_seeds(result: CheckResult) -> OverSeeds | None:
    """The scores of a check; `None` for one of a single edit, and for an error."""
    if len(result.repeats) < 2 or result.outcome is Outcome.ERROR:
        return None
    soft = sum(one.reason is not None for one in result.repeats)
    scored = {one.seed: one.score for one in result.repeats if one.reason is None and one.score is not None}
    return OverSeeds(len(result.repeats), soft, {seed: one for seed, one in scored.items() if math.isfinite(one)})


def repeated(results: Iterable[CheckResult]) -> list[tuple[CheckResult, OverSeeds]]:
    """The checks of several edits, in their order."""
    return [(result, found) for result in results if (found := over_seeds(result)) is not None]


def widest(checks: Sequence[tuple[CheckResult, OverSeeds]], count: int) -> list[tuple[CheckResult, OverSeeds]]:
    """As many of the checks, in their order: those whose scores lie farthest apart, for their metric."""
    squares: dict[str, list[float]] = {}
    for result, found in checks:
        squares.setdefault(result.metric, []).append((found.deviation or 0.0) ** 2)
    scale = {metric: math.sqrt(fmean(values)) or 1.0 for metric, values in squares.items()}
    deviations = [(found.deviation or 0.0) / scale[result.metric] for result, found in checks]
    chosen = sorted(range(len(checks)), key=lambda index: -deviations[index])[:count]
    return [checks[index] for index in sorted(chosen)]
