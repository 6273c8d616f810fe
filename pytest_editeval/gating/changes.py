"""Scores that changed between two releases, and which changes are large."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from pytest_editeval.gating.baseline import metric_of


@dataclass(frozen=True)
class Change:
    """A check's score before and after; `gain` is the difference in the metric's better direction, in its units."""

    key: str
    before: float
    after: float
    gain: float


def change(key: str, before: float, after: float, higher_is_better: bool) -> Change:
    """The change of one score."""
    return Change(key, before, after, after - before if higher_is_better else before - after)


def largest_first(changes: Iterable[Change]) -> list[Change]:
    """Changes of several metrics by size, each in units of the root mean square of its metric's changes.

    Metrics have different units: 0.2 is little for a transport distance and a lot for a cosine.
    """
    changes = list(changes)
    squares: dict[str, list[float]] = {}
    for one in changes:
        squares.setdefault(metric_of(one.key), []).append(one.gain**2)
    scale = {metric: sqrt(sum(values) / len(values)) or 1.0 for metric, values in squares.items()}
    return sorted(changes, key=lambda one: (-abs(one.gain) / scale[metric_of(one.key)], one.key))
