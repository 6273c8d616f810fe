"""Statistics of scores, their one-sided bounds, and the paired test: numbers in, numbers out.

Which method is used where was chosen by simulation: `benchmarks/gate_simulation.py` prints the table.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4999
SEED = 20260101
"""Of the bootstrap: fixed, so that the same scores have the same bound."""

BCA_UP_TO = 1000
"""Scores up to which the bootstrap is corrected: the jackknife costs their square, and gains ever less."""

_BATCH = 1_000_000  # values of the bootstrap in memory at a time
_TIE = 1e-9

_Floats = NDArray[np.float64]
_FUNCTIONS: dict[str, Callable[[_Floats], Any]] = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}


def _percent(name: str) -> float:
    return 50.0 if name == "median" else float(name.removeprefix("p"))


def statistic_of(name: str, values: Sequence[float]) -> float:
    """``mean``, ``median``, ``min``, ``max`` or a percentile (``p10``, interpolated linearly) of at least one score."""
    array = np.asarray(values, float)
    return float(_FUNCTIONS[name](array) if name in _FUNCTIONS else np.percentile(array, _percent(name)))


def bound(name: str, values: Sequence[float], confidence: float, *, upper: bool) -> float | None:
    """The one-sided bound of a statistic (no extreme: a sample has no bound of it) of what the scores are a sample of.

    Of the mean by the bootstrap (BCa), of the median and the percentiles by order statistics, which are exact for every
    distribution where the bootstrap of a tail is not: its 95 % bound of ``p10`` misses one time in four with 12 scores.
    `None` where so few scores have none at this confidence (`scores_needed`). Equal scores are their own bound.
    """
    array = np.asarray(values, float)
    if np.ptp(array) <= _TIE * np.abs(array).max():
        return float(array.max() if upper else array.min())
    if name == "mean":
        return _bootstrapped_mean(array, confidence, "less" if upper else "greater")[1 if upper else 0]
    if len(array) < scores_needed(name, confidence, upper=upper):
        return None
    from scipy.stats import quantile_test

    side: Literal["less", "greater"] = "less" if upper else "greater"
    tested: Any = quantile_test(array, p=_percent(name) / 100, alternative=side)
    interval = tested.confidence_interval(confidence)
    return float(interval.high if upper else interval.low)


def interval_of_mean(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """The two-sided bootstrap interval of the mean; values that are all equal are its ends."""
    array = np.asarray(values, float)
    if np.ptp(array) == 0:
        return float(array[0]), float(array[0])
    return _bootstrapped_mean(array, confidence, "two-sided")


def _bootstrapped_mean(
    values: _Floats, confidence: float, side: Literal["less", "greater", "two-sided"]
) -> tuple[float, float]:
    """Bias-corrected and accelerated (Efron, 1987) where that is worth it and defined, else of percentiles."""
    from scipy.stats import bootstrap

    methods: tuple[Literal["BCa", "percentile"], ...] = ("BCa", "percentile")
    low = high = math.nan
    for method in methods if len(values) <= BCA_UP_TO else methods[1:]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of data without an acceleration: the ends are NaN, which is asked below
            low, high = bootstrap(
                (values,),
                np.mean,
                n_resamples=RESAMPLES,
                batch=max(1, _BATCH // len(values)),
                vectorized=True,
                confidence_level=confidence,
                alternative=side,
                method=method,
                random_state=np.random.default_rng(SEED),
            ).confidence_interval
        if not (math.isnan(low) or math.isnan(high)):
            break
    return float(low), float(high)


def scores_needed(name: str, confidence: float, *, upper: bool) -> int:
    """How many scores it takes to have a bound: of a percentile, so many that one lies beyond it at this confidence."""
    if name == "mean":
        return 1
    share = _percent(name) / 100
    return math.ceil(math.log1p(-confidence) / math.log(share if upper else 1 - share) - _TIE)


def rate_bound(count: int, total: int, confidence: float, *, upper: bool) -> float:
    """The exact one-sided bound of a rate (Clopper and Pearson, 1934)."""
    from scipy.stats import binomtest

    interval = binomtest(count, total, alternative="less" if upper else "greater").proportion_ci(confidence, "exact")
    return float(interval.high if upper else interval.low)


@dataclass(frozen=True)
class PairedTest:
    """A test of H0 "the mean worsening is at most the margin".

    `interval` holds the mean worsening, each of its ends by itself at the test's confidence; it lies above the margin
    exactly where `p_value` < 1 - confidence.
    """

    mean: float
    p_value: float
    interval: tuple[float, float]


def paired_test(worsening: Sequence[float], margin: float, confidence: float) -> PairedTest:
    """Test by how much paired scores are worse (at least two), in the metric's units, against a margin.

    A t-test whose statistic is corrected for skewness (Hall, On the removal of skewness by transformation, JRSS B 54,
    1992): a few bad edits among many good ones make the plain t-test miss what it should see, a few very good ones make
    it alarm in vain. Differences that equal the margin, as of edits that are the same, speak for neither side, and many
    of them make a sample look skewed: H0 has to be rejected with them and without them.
    """
    values = np.asarray(worsening, float)
    beyond = values - margin
    changed = np.abs(beyond) > _TIE * max(float(np.abs(values).max()), abs(margin))
    share, alpha = float(changed.mean()), 1 - confidence
    p_value, low, high = _skewed_t(beyond, alpha)
    if not changed.any():
        p_value, low, high = 1.0, 0.0, 0.0
    elif share < 1:
        other, other_low, other_high = _skewed_t(beyond[changed], alpha)
        p_value, low, high = max(p_value, other), min(low, share * other_low), max(high, share * other_high)
    if p_value >= alpha:
        low = min(low, 0.0)
    return PairedTest(float(values.mean()), p_value, (margin + low, margin + high))


def _skewed_t(values: _Floats, alpha: float) -> tuple[float, float, float]:
    """The p-value of "the mean is at most 0", and the mean's one-sided bounds on either side.

    With ``u = mean / s`` and the sample's skewness g, ``u + g u²/3 + g² u³/27 + g/6n`` times ``√n`` is held against
    Student's t of n - 1; as it rises with u, it has an inverse. Equal values have the sign test's p-value.
    """
    from scipy.stats import t

    n, mean = len(values), float(values.mean())
    deviation = float(values.std(ddof=1)) if n > 1 else 0.0
    if deviation <= _TIE * abs(mean):
        return (0.5**n if mean > 0 else 1.0), mean, mean
    skewness = float(((values - mean) ** 3).mean() / values.std() ** 3)
    u = mean / deviation
    statistic = math.sqrt(n) * (u + skewness * u**2 / 3 + skewness**2 * u**3 / 27 + skewness / (6 * n))
    reach = float(t.ppf(1 - alpha, n - 1)) / math.sqrt(n)
    low, high = (mean - deviation * _unskewed(side, skewness, n) for side in (reach, -reach))
    return float(t.sf(statistic, n - 1)), low, high


def _unskewed(transformed: float, skewness: float, n: int) -> float:
    """The ``mean / s`` whose transformed value is given: the inverse of Hall's cubic."""
    if abs(skewness) < _TIE:
        return transformed
    return 3 / skewness * (float(np.cbrt(1 + skewness * (transformed - skewness / (6 * n)))) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, corrected step by step (Holm, 1979), in the order they are given."""
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
