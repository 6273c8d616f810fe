"""A distribution of scores in a few characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVELS = " ▁▂▃▄▅▆▇█"
MARK = "│"
BINS = 8


def bars(counts: Sequence[int], most: int | None = None) -> str:
    """A bar for each count, as high as its share of the largest (or of `most`); only a count of none has no bar."""
    most = max(counts) if most is None else most
    return "".join(LEVELS[math.ceil(count / most * (len(LEVELS) - 1))] for count in counts)


def sparkline(
    scores: Sequence[float], *, higher_is_better: bool, threshold: float | None = None, bins: int = BINS
) -> str:
    """A histogram of scores, `bins` characters wide, with the better ones to the right; empty without any.

    It spans the scores and the threshold. Where there is a threshold, a further character, `MARK`, stands at it: what
    passes (scores at the threshold too) is to the right of it, what fails to the left, however near they are.
    """
    sign = 1 if higher_is_better else -1
    values = sorted(sign * score for score in scores if math.isfinite(score))
    if not values:
        return ""
    if threshold is None or not math.isfinite(threshold):
        return bars(_counts(values, values[0], values[-1], bins))
    limit = sign * threshold
    failing = [value for value in values if value < limit]
    passing = values[len(failing) :]
    low, high = min(values[0], limit), max(values[-1], limit)
    left = round(bins * _share(limit, low, high))
    # A bin at least for either side, as far as it has scores.
    left = min(max(left, 1 if failing else 0), bins - 1 if passing else bins)
    counts = _counts(failing, low, limit, left), _counts(passing, limit, high, bins - left)
    most = max(map(max, filter(None, counts)))
    return bars(counts[0], most) + MARK + bars(counts[1], most)


def _counts(values: Sequence[float], low: float, high: float, bins: int) -> list[int]:
    """How many values each of the bins has; the first one, where all are equal."""
    counts = [0] * bins
    for value in values:
        counts[min(int(_share(value, low, high) * bins), bins - 1)] += 1
    return counts


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; halved, because the difference may be beyond all floats."""
    spread = high / 2 - low / 2
    return (value / 2 - low / 2) / spread if spread else 0.0
