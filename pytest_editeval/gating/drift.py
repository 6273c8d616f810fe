"""What settings of the models do to scores and verdicts: the same checks, measured twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev

from pytest_editeval.results import CheckResult, Outcome


@dataclass(frozen=True)
class Measured:
    """The judged rows of some checks, and what it took.

    `seconds` are those of the forward passes, one after the other, of models that are loaded and have seen an image;
    `weights` is how many bytes these take, in memory; `devices` are the kinds of device they are on.
    """

    rows: tuple[CheckResult, ...]
    seconds: float
    weights: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A check before and after; both have ended with a verdict."""

    before: CheckResult
    after: CheckResult

    @property
    def flips(self) -> bool:
        """Whether the verdict is another one."""
        return self.before.outcome is not self.after.outcome

    @property
    def is_control(self) -> bool:
        """Whether it is of an edit that is known to be bad, or that nothing was done in."""
        return self.before.expect == "fail" or self.before.control is not None

    @property
    def moves(self) -> list[float]:
        """By how much each score moves that there is on both sides; a check of several edits has one of each."""
        sides = zip(scores_of(self.before), scores_of(self.after), strict=True)
        return [after - before for before, after in sides if before is not None and after is not None]


@dataclass(frozen=True)
class MetricDrift:
    """How the scores of a metric move, in its units; `None` where there is nothing to say it of.

    `median` and `largest` are of the absolute moves of `scores` scores, `spread` is the sample standard deviation of
    these scores before, and `relative` the largest move in spreads. `flips` are verdicts of its `checks` checks.
    """

    metric: str
    checks: int
    scores: int
    median: float | None
    largest: float | None
    spread: float | None
    relative: float | None
    flips: int


@dataclass(frozen=True)
class Drift:
    """All metrics and checks, in the order of the suite; `left_out` could be scored before and not after."""

    metrics: tuple[MetricDrift, ...]
    pairs: tuple[Pair, ...]
    left_out: tuple[CheckResult, ...]

    @property
    def flips(self) -> list[Pair]:
        """The checks whose verdict is another one."""
        return [pair for pair in self.pairs if pair.flips]

    @property
    def has_run(self) -> bool:
        """Whether anything was scored."""
        return any(pair.after.has_score for pair in self.pairs) or not self.left_out


def drift(before: Sequence[CheckResult], after: Sequence[CheckResult]) -> Drift:
    """Hold the judged rows of the same checks, in the same order, against each other.

    Checks that are errors before say nothing and are no part of it.
    """
    both = (Pair(*rows) for rows in zip(before, after, strict=True))
    alike = [pair for pair in both if pair.before.outcome is not Outcome.ERROR]
    pairs = tuple(pair for pair in alike if pair.after.outcome is not Outcome.ERROR)
    by_metric: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_metric[pair.before.metric].append(pair)
    left_out = tuple(pair.after for pair in alike if pair.after.outcome is Outcome.ERROR)
    return Drift(tuple(_metric(name, group) for name, group in by_metric.items()), pairs, left_out)


def scores_of(row: CheckResult) -> list[float | None]:
    """The scores of a check's edits, one unless it has several; `None` for a soft failure."""
    return [one.score if one.reason is None else None for one in row.repeats or (row,)]


def _metric(name: str, pairs: Sequence[Pair]) -> MetricDrift:
    moves = [abs(move) for pair in pairs for move in pair.moves]
    scores = [score for pair in pairs for score in scores_of(pair.before) if score is not None]
    largest = max(moves, default=None)
    spread = stdev(scores) if len(scores) > 1 else None
    return MetricDrift(
        metric=name,
        checks=len(pairs),
        scores=len(moves),
        median=median(moves) if moves else None,
        largest=largest,
        spread=spread,
        relative=largest / spread if largest is not None and spread else None,
        flips=sum(pair.flips for pair in pairs),
    )
