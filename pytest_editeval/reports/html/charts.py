"""Pictures of the overview: the distribution of a metric's scores, the interval of a gate. Better is to the right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome

BINS = 28
WIDTH, HEIGHT = 280.0, 56.0
INTERVAL_WIDTH = 120.0


@dataclass(frozen=True)
class Bar:
    """A bar in units of the picture: left edge, top, width, height. `passed` tells the lower part from the upper."""

    x: float
    y: float
    width: float
    height: float
    passed: bool


@dataclass(frozen=True)
class Distribution:
    """Bars and thresholds in a picture of `WIDTH` x `HEIGHT`, and the worst and the best score (`left`, `right`)."""

    bars: tuple[Bar, ...]
    thresholds: tuple[float, ...]
    left: float
    right: float
    scored: int


def distribution(results: Sequence[CheckResult]) -> Distribution | None:
    """Of the scores of one metric; `None` without any.

    All scores and thresholds lie in the picture. A check that must fail counts with the side its score is on.
    """
    found = [(result.score, result.margin) for result in results if _is_finite(result)]
    scored = [(score, margin) for score, margin in found if score is not None and margin is not None]
    if not scored:
        return None
    higher = results[0].higher_is_better
    limits = sorted({result.threshold for result in results if math.isfinite(result.threshold)})
    values = [score for score, _ in scored]
    place = _placing([*values, *limits], WIDTH, 0.02, higher)
    good, bad = [0] * BINS, [0] * BINS
    for score, margin in scored:
        index = min(BINS - 1, int(place(score) / WIDTH * BINS))
        (good if margin >= 0 else bad)[index] += 1
    tallest = max(one + other for one, other in zip(good, bad, strict=True))
    bars = [
        bar for index in range(BINS) for bar in _stack(index, good[index], bad[index], HEIGHT / tallest) if bar.height
    ]
    ends = (min(values), max(values)) if higher else (max(values), min(values))
    return Distribution(tuple(bars), tuple(map(place, limits)), *ends, scored=len(scored))


def _placing(numbers: Sequence[float], width: float, room: float, higher: bool) -> Callable[[float], float]:
    """Where a number stands in a picture that holds all of these, with `room` of their span free at both ends."""
    low, high = min(numbers), max(numbers)
    span = high / 2 - low / 2  # halves, because the span of two numbers may be none

    def place(value: float) -> float:
        part = (value / 2 - low / 2) / span if span else 0.5 + (value - low)
        share = min(max((part + room) / (1 + 2 * room), 0.0), 1.0)
        return round(width * (share if higher else 1 - share), 2)

    return place


def _stack(index: int, good: int, bad: int, unit: float) -> tuple[Bar, Bar]:
    x, width = round(index * WIDTH / BINS, 2), round(WIDTH / BINS - 1, 2)
    lower, upper = round(good * unit, 2), round(bad * unit, 2)
    return Bar(x, round(HEIGHT - lower, 2), width, lower, True), Bar(x, HEIGHT - lower - upper, width, upper, False)


@dataclass(frozen=True)
class Interval:
    """A gate's value beside its limit, in a picture `INTERVAL_WIDTH` wide: `low` to `high` is how sure the value is."""

    value: float
    low: float
    high: float
    limit: float


def interval(gate: GateResult, part: GateSlice) -> Interval | None:
    """Of a slice of a gate; `None` where it has no value. What one bound leaves open ends at the picture's edge."""
    if part.value is None or not math.isfinite(part.value):
        return None
    known = [part.value, gate.threshold, *(part.interval or ()), *([] if part.bound is None else [part.bound])]
    place = _placing(list(filter(math.isfinite, known)), INTERVAL_WIDTH, 0.1, gate.higher_is_better)
    ends = part.interval or ()
    if not ends and part.bound is not None:
        ends = (part.bound, math.inf if gate.higher_is_better else -math.inf)
    places = sorted(place(end) for end in ends) or [place(part.value)] * 2
    return Interval(place(part.value), places[0], places[1], place(gate.threshold))


def _is_finite(result: CheckResult) -> bool:
    return result.outcome is not Outcome.SOFT_FAILURE and result.score is not None and math.isfinite(result.score)
