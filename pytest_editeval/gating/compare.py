"""Two releases beside each other: the same checks in pairs, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pytest_editeval.errors import display_path
from pytest_editeval.gating.baseline import Baseline, baseline_of, metric_of
from pytest_editeval.gating.baseline_file import read_baseline
from pytest_editeval.gating.changes import Change, change, largest_first
from pytest_editeval.gating.rows import Rows, of_candidate, profile_of, sort_out
from pytest_editeval.gating.seeds import SeedsPair, over_seeds
from pytest_editeval.gating.slices import FEWEST_SCORES
from pytest_editeval.gating.statistics import interval_of_mean
from pytest_editeval.registry import get_metric
from pytest_editeval.results import CheckResult
from pytest_editeval.results_file import SUFFIXES, read_results

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Side:
    """One of the two: its scores and, from a results file, the rows that they come from."""

    name: str
    baseline: Baseline
    rows: Rows | None

    @property
    def results(self) -> Mapping[str, CheckResult]:
        """The rows with a score by `CheckResult.key`; none from a baseline file."""
        return {result.key: result for result in self.rows.scored} if self.rows else {}


@dataclass(frozen=True)
class MetricRow:
    """A metric on both sides, over the pairs that have a score on both.

    `gain` is the mean difference in the metric's better direction, in its units, and `interval` its two-sided 95 %
    interval, `None` for fewer than 8 pairs. `soft` counts on either side the pairs that are a soft failure there.
    """

    metric: str
    higher_is_better: bool
    pairs: int
    mean_a: float | None
    mean_b: float | None
    gain: float | None
    interval: tuple[float, float] | None
    better: int
    worse: int
    equal: int
    soft: tuple[int, int]


@dataclass(frozen=True)
class VerdictChange:
    """A check whose outcome differs, though its threshold may as well."""

    key: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What two sides differ in. Checks are named by `CheckResult.key`; `better` and `worse` have the largest first, and
    so have `seeds`, by their means.

    Left out of the pairs: `missing`, which only the other side has a score of (errors have none); `changed_inputs`; and
    `not_finite` scores.
    """

    metrics: tuple[MetricRow, ...]
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    verdicts: tuple[VerdictChange, ...]
    seeds: tuple[SeedsPair, ...]
    missing: tuple[tuple[str, ...], tuple[str, ...]]
    changed_inputs: tuple[str, ...]
    not_finite: tuple[str, ...]


def read_side(path: Path, candidate: str | None, *, partial: bool = False) -> Side:
    """A results file, of a run that has not ended where `partial`, or a baseline file.

    Raises `EditEvalError` as `read_baseline` does.
    """
    name = display_path(path)
    if path.suffix not in SUFFIXES:
        return Side(name, read_baseline(path, candidate), None)
    results = of_candidate(read_results(path, partial=partial), candidate, name)
    rows = sort_out(results)
    shown = f"{name} [{candidate}]" if candidate else name
    return Side(shown, baseline_of(rows, profile_of(results, name), path), rows)


def compare(a: Side, b: Side, tolerance: float = 0.0) -> Comparison:
    """Pair the checks of both sides; a difference of at most `tolerance`, in the metric's units, counts as equal."""
    one, other = a.baseline.scores, b.baseline.scores
    both = sorted(one.keys() & other.keys())
    changed_inputs = tuple(key for key in both if one[key].inputs != other[key].inputs)
    alike = [key for key in both if one[key].inputs == other[key].inputs]
    not_finite = [key for key in alike if not all(math.isfinite(side[key].score or 0.0) for side in (one, other))]
    by_metric: dict[str, list[str]] = {metric: [] for metric in sorted({metric_of(key) for key in both})}
    for key in sorted(set(alike) - set(not_finite)):
        by_metric[metric_of(key)].append(key)
    rows, changes = [], []
    for metric, keys in by_metric.items():
        row, own = _metric(metric, keys, a, b, tolerance)
        rows.append(row)
        changes += own
    return Comparison(
        metrics=tuple(rows),
        better=tuple(largest_first(one for one in changes if one.gain > 0)),
        worse=tuple(largest_first(one for one in changes if one.gain < 0)),
        verdicts=_verdicts(a.results, b.results),
        seeds=_seeds(a.results, b.results),
        missing=(tuple(sorted(other.keys() - one.keys())), tuple(sorted(one.keys() - other.keys()))),
        changed_inputs=changed_inputs,
        not_finite=tuple(not_finite),
    )


def _metric(metric: str, keys: Sequence[str], a: Side, b: Side, tolerance: float) -> tuple[MetricRow, list[Change]]:
    higher = _higher_is_better(metric, a, b)
    pairs: list[Change] = []
    soft = [0, 0]
    for key in keys:
        before, after = a.baseline.scores[key].score, b.baseline.scores[key].score
        soft = [soft[0] + (before is None), soft[1] + (after is None)]
        if before is not None and after is not None:
            pairs.append(change(key, before, after, higher))
    changes = [one for one in pairs if abs(one.gain) > tolerance]
    better = sum(one.gain > 0 for one in changes)
    gains = [one.gain for one in pairs]
    row = MetricRow(
        metric=metric,
        higher_is_better=higher,
        pairs=len(pairs),
        mean_a=fmean(one.before for one in pairs) if pairs else None,
        mean_b=fmean(one.after for one in pairs) if pairs else None,
        gain=fmean(gains) if pairs else None,
        interval=interval_of_mean(gains, CONFIDENCE) if len(gains) >= FEWEST_SCORES else None,
        better=better,
        worse=len(changes) - better,
        equal=len(pairs) - len(changes),
        soft=(soft[0], soft[1]),
    )
    return row, changes


def _higher_is_better(metric: str, a: Side, b: Side) -> bool:
    """As the rows have it, because a results file may hold metrics that are not installed here."""
    for side in (a, b):
        for result in side.rows.scored if side.rows else ():
            if result.metric == metric:
                return result.higher_is_better
    return get_metric(metric).higher_is_better


def _verdicts(a: Mapping[str, CheckResult], b: Mapping[str, CheckResult]) -> tuple[VerdictChange, ...]:
    return tuple(
        VerdictChange(key, str(a[key].outcome), str(b[key].outcome))
        for key in sorted(a.keys() & b.keys())
        if a[key].outcome is not b[key].outcome
    )


def _seeds(a: Mapping[str, CheckResult], b: Mapping[str, CheckResult]) -> tuple[SeedsPair, ...]:
    before, after = ({key: found for key, row in side.items() if (found := over_seeds(row))} for side in (a, b))
    pairs = {key: SeedsPair(key, before.get(key), after.get(key)) for key in sorted(before.keys() | after.keys())}
    changes = []
    for key, pair in pairs.items():
        first, second = (None if side is None else side.mean for side in (pair.before, pair.after))
        if first is not None and second is not None:
            changes.append(change(key, first, second, higher_is_better=True))
    order = [one.key for one in largest_first(changes)]
    return tuple(pairs[key] for key in dict.fromkeys([*order, *pairs]))
