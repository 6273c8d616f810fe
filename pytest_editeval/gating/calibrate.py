"""A threshold from scores: from good and bad edits, or from edits that were accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from pytest_editeval.gating.calibration_groups import Group
from pytest_editeval.gating.verdicts import margin

FEWEST = 8
"""Good edits, and bad ones, that it takes to choose a threshold between them."""

CONFIDENCE = 0.95
DIGITS = 3

Interval = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """How many of how many, with the interval of the share (Clopper-Pearson)."""

    count: int
    of: int
    interval: Interval

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.count / self.of


@dataclass(frozen=True)
class Proposal:
    """What the scores of a group say of its threshold.

    `exact` is the strictest threshold that keeps the promised rate of false alarms, and `threshold` what is proposed:
    `exact`, rounded to the lenient side. Both are `None` where the group cannot tell, for which `reason` is given.
    `extreme`: there are too few good scores for the rate, so that it is the worst of them. With labels, `area` (the
    AUC) and `caught` are there; without, `quantile_interval`, whose ends are infinite where the scores do not bound it.
    `missed` counts the edits expected to fail that the proposal lets through.
    """

    group: Group
    exact: float | None = None
    threshold: float | None = None
    extreme: bool = False
    false_alarms: Rate | None = None
    caught: Rate | None = None
    area: float | None = None
    area_interval: Interval | None = None
    quantile_interval: Interval | None = None
    missed: int = 0
    reason: str | None = None


def propose(group: Group, false_alarm: float, *, has_labels: bool) -> Proposal:
    """The threshold that rejects at most the share `false_alarm` of the good edits."""
    good, bad, higher = group.good, group.bad, group.higher_is_better
    separated = separation(group)
    if has_labels and min(len(good), len(bad)) < FEWEST:
        reason = f"{len(good)} good and {len(bad)} bad edits: too few, it takes {FEWEST} of each"
        return replace(separated, reason=reason)
    if not good:
        return Proposal(group, reason="no scores")
    exact = strictest_threshold(good, false_alarm, higher)
    threshold = lenient(exact, higher)
    false_alarms = rejected(good, threshold, higher)
    assert false_alarms.share <= false_alarm, "a more lenient threshold rejects no more"  # noqa: S101
    return replace(
        separated,
        exact=exact,
        threshold=threshold,
        extreme=1 / len(good) > false_alarm,
        false_alarms=false_alarms,
        caught=rejected(bad, threshold, higher) if has_labels else None,
        missed=sum(margin(score, threshold, higher) >= 0 for score in group.must_fail),
        quantile_interval=None if has_labels else quantile_interval(good, false_alarm, higher),
    )


def separation(group: Group) -> Proposal:
    """How well the metric tells good edits from bad ones, without a proposal."""
    if not group.good or not group.bad:
        return Proposal(group)
    area = auc(group.good, group.bad, group.higher_is_better)
    return Proposal(group, area=area, area_interval=auc_interval(area, len(group.good), len(group.bad)))


def auc(good: Sequence[float], bad: Sequence[float], higher_is_better: bool) -> float:
    """Area under the ROC curve: the share of pairs in which the good edit has the better score, ties counting half.

    It is the Mann-Whitney U of the good scores over the number of pairs.
    """
    from scipy.stats import mannwhitneyu

    better, worse = (good, bad) if higher_is_better else (bad, good)
    return float(mannwhitneyu(better, worse, method="asymptotic").statistic) / (len(good) * len(bad))


def auc_interval(area: float, n_good: int, n_bad: int) -> Interval:
    """Score interval of an AUC (Newcombe, Statistics in Medicine 25, 2006, p. 559-573: method 5).

    DeLong's interval and the bootstrap shrink to a point when the edits are perfectly separated, as few good metrics
    and few labels make them; this one stays honest: of 8 good and 8 bad edits in perfect order it says 0.76 to 1.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    square = float(norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    size = (n_good + n_bad) / 2 - 1

    def outside(true: float) -> float:
        """Below 0 where the AUC that was found is no surprise under the true one."""
        variance = true * (1 - true) * (1 + size * ((1 - true) / (2 - true) + true / (1 + true))) / (n_good * n_bad)
        return float((area - true) ** 2 - square * variance)

    edge = 1e-12  # at 0 and 1 themselves the variance is 0
    low = 0.0 if area <= edge else float(brentq(outside, 0, min(area, 1 - edge)))
    high = 1.0 if area >= 1 - edge else float(brentq(outside, max(area, edge), 1))
    return low, high


def strictest_threshold(good: Sequence[float], false_alarm: float, higher_is_better: bool) -> float:
    """The strictest threshold that rejects at most the share `false_alarm` of the good scores.

    It is one of them, as thresholds are inclusive: from the worst, the one behind as many as may be rejected.
    """
    worst_first = sorted(good, reverse=not higher_is_better)
    allowed = max(count for count in range(len(good)) if count / len(good) <= false_alarm)
    return worst_first[allowed]


def lenient(threshold: float, higher_is_better: bool) -> float:
    """`threshold` with 3 significant digits, rounded so that what reaches it reaches the result too."""
    exact = Decimal(repr(threshold))
    if not exact:
        return 0.0
    step = Decimal(1).scaleb(exact.adjusted() - DIGITS + 1)
    rounding = ROUND_FLOOR if higher_is_better else ROUND_CEILING
    return float((exact / step).to_integral_value(rounding) * step)


def rejected(scores: Sequence[float], threshold: float, higher_is_better: bool) -> Rate:
    """How many of the scores are on the bad side of a threshold."""
    from scipy.stats import binomtest

    count = sum(margin(score, threshold, higher_is_better) < 0 for score in scores)
    interval = binomtest(count, len(scores)).proportion_ci(CONFIDENCE, method="exact")
    return Rate(count, len(scores), (float(interval.low), float(interval.high)))


def quantile_interval(scores: Sequence[float], share: float, higher_is_better: bool) -> Interval:
    """Distribution-free interval, from order statistics, of the quantile with this share of scores on its bad side.

    An end is infinite where there are too few scores to bound it.
    """
    from scipy.stats import quantile_test

    test = quantile_test(scores, q=0, p=share if higher_is_better else 1 - share)
    found: Any = test.confidence_interval(CONFIDENCE)
    low, high = float(found.low), float(found.high)
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def roc(good: Sequence[float], bad: Sequence[float], higher_is_better: bool) -> tuple[list[float], list[float]]:
    """The ROC curve: for every threshold, from the most lenient, the shares of good and of bad edits it rejects."""
    import numpy as np

    sign = 1 if higher_is_better else -1
    thresholds = np.unique(sign * np.array([*good, *bad]))
    shares = (
        np.searchsorted(np.sort(sign * np.array(scores)), thresholds, side="left") / len(scores)
        for scores in (good, bad)
    )
    alarms, catches = ([*share.tolist(), 1.0] for share in shares)
    return alarms, catches
