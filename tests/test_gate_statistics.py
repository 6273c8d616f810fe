"""Bounds, the paired test and Holm's correction against formulas by hand, SciPy, and simulated suites."""

from __future__ import annotations

import math
import statistics as stdlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_editeval.gating.statistics import (
    bound,
    holm,
    interval_of_mean,
    paired_test,
    rate_bound,
    scores_needed,
    statistic_of,
)

VALUES = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
numbers = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))


def test_statistics_are_the_usual_ones() -> None:
    assert statistic_of("mean", VALUES) == stdlib.fmean(VALUES)
    assert statistic_of("median", VALUES) == stdlib.median(VALUES) == 3.5
    assert (statistic_of("min", VALUES), statistic_of("max", VALUES)) == (1.0, 9.0)
    assert statistic_of("p10", [float(value) for value in range(11)]) == 1.0
    assert statistic_of("p2.5", [0.0, 100.0]) == 2.5


@pytest.mark.parametrize("name", ["mean", "median", "p10", "p99.9"])
@pytest.mark.parametrize("upper", [True, False])
def test_equal_scores_are_their_own_bound_without_a_warning(name: str, upper: bool) -> None:
    assert bound(name, [0.7] * 12, 0.95, upper=upper) == 0.7
    assert bound(name, [0.7, math.nextafter(0.7, 1)] * 6, 0.95, upper=upper) == pytest.approx(0.7)


def test_the_bound_of_a_mean_is_near_that_of_the_t_distribution_and_the_same_each_time() -> None:
    values = np.random.default_rng(3).normal(10, 2, 200)
    reach = 1.6525 * values.std(ddof=1) / math.sqrt(200)  # t of 199 degrees of freedom at 95 %
    assert bound("mean", values, 0.95, upper=True) == pytest.approx(values.mean() + reach, abs=0.04)
    assert bound("mean", values, 0.95, upper=False) == pytest.approx(values.mean() - reach, abs=0.04)
    assert bound("mean", values, 0.95, upper=True) == bound("mean", values, 0.95, upper=True)


def test_a_large_sample_is_bounded_in_bounded_time_and_memory() -> None:
    values = np.random.default_rng(3).lognormal(size=5000)
    expected = values.mean() + 1.645 * values.std() / math.sqrt(5000)
    assert bound("mean", values, 0.95, upper=True) == pytest.approx(expected, rel=0.01)


def test_one_outlier_among_equal_scores_is_no_warning() -> None:
    found = bound("mean", [1.0] * 11 + [2.0], 0.95, upper=True)
    assert found is not None
    assert 13 / 12 < found <= 2


def test_the_bound_of_a_percentile_is_the_order_statistic_that_the_binomial_distribution_gives() -> None:
    values = [float(value) for value in range(1, 101)]
    # The lower bound is the r-th smallest score with the largest r for which P(Bin(100, 0.1) < r) <= 5 %.
    below = np.cumsum([math.comb(100, k) * 0.1**k * 0.9 ** (100 - k) for k in range(101)])
    rank = int(np.sum(below <= 0.05))
    assert bound("p10", values, 0.95, upper=False) == values[rank - 1]
    assert bound("p90", values, 0.95, upper=True) == values[-rank]


@pytest.mark.parametrize(("name", "upper"), [("p10", False), ("p90", True)])
def test_a_tail_has_no_bound_until_a_score_lies_beyond_it_with_confidence(name: str, upper: bool) -> None:
    assert 0.9**28 > 0.05 > 0.9**29
    assert scores_needed(name, 0.95, upper=upper) == 29
    values = [float(value) for value in range(28)]
    assert bound(name, values, 0.95, upper=upper) is None
    assert bound(name, [*values, 28.0], 0.95, upper=upper) == (28.0 if upper else 0.0)


@pytest.mark.parametrize("name", ["median", "p10", "p40"])
@given(n=st.integers(2, 80), confidence=st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]), upper=st.booleans())
@settings(deadline=None)  # the first example imports SciPy
def test_what_is_needed_is_what_scipy_needs(name: str, n: int, confidence: float, upper: bool) -> None:
    values = [float(value) for value in range(n)]
    found = bound(name, values, confidence, upper=upper)
    assert (found is not None) == (n >= scores_needed(name, confidence, upper=upper))
    assert found is None or math.isfinite(found)


def test_the_bound_of_a_rate_is_exact() -> None:
    # No event in n: the bound is the rate at which that has the probability 5 %.
    assert rate_bound(0, 10, 0.95, upper=True) == pytest.approx(1 - 0.05**0.1)
    assert rate_bound(10, 10, 0.95, upper=False) == pytest.approx(0.05**0.1)
    rate = rate_bound(3, 20, 0.9, upper=True)
    assert sum(math.comb(20, k) * rate**k * (1 - rate) ** (20 - k) for k in range(4)) == pytest.approx(0.1)


def test_holm_as_worked_by_hand() -> None:
    # 4 × 0.005, 3 × 0.01, 2 × 0.03, and 0.04 not below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    left, rejected = list(range(len(p_values))), set()
    while left:
        smallest = min(left, key=p_values.__getitem__)
        if len(left) * p_values[smallest] >= alpha:
            break
        rejected.add(smallest)
        left.remove(smallest)
    assert {index for index, p in enumerate(holm(p_values)) if p < alpha} == rejected


def test_without_skewness_the_paired_test_is_the_t_test() -> None:
    from scipy.stats import ttest_1samp

    values = [-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 2.0]
    shifted = [value + 0.7 for value in values]
    found = paired_test(shifted, 0.1, 0.95)
    expected = ttest_1samp(shifted, 0.1, alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(0.7)
    # Each end by itself at 95 %: together the t-interval at 90 %.
    assert found.interval == pytest.approx(tuple(ttest_1samp(shifted, 0.1).confidence_interval(0.9)))


def test_the_skewed_statistic_by_hand() -> None:
    from scipy.stats import t

    values = [0.1, 0.2, 0.1, 0.3, 0.2, 0.4, 0.1, 2.6]
    mean, sd, n = stdlib.fmean(values), stdlib.stdev(values), 8
    g = stdlib.fmean([(value - mean) ** 3 for value in values]) / stdlib.pstdev(values) ** 3
    u = mean / sd
    expected = math.sqrt(n) * (u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * n))
    assert paired_test(values, 0.0, 0.95).p_value == pytest.approx(t.sf(expected, n - 1))


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_nothing_changed_is_no_alarm_and_everything_worse_by_the_same_is_one(margin: float) -> None:
    same = paired_test([margin] * 12, margin, 0.95)
    assert (same.p_value, same.interval) == (1.0, (margin, margin))
    worse = paired_test([margin + 0.3] * 12, margin, 0.95)
    assert worse.p_value == 0.5**12
    assert worse.interval == pytest.approx((margin + 0.3, margin + 0.3))
    assert paired_test([margin - 0.3] * 12, margin, 0.95).p_value == 1.0


def test_one_edit_that_changed_tells_nothing_about_the_others() -> None:
    assert paired_test([0.0] * 11 + [5.0], 0.0, 0.95).p_value == 0.5


@given(
    st.lists(st.one_of(numbers, st.just(0.0)), min_size=8, max_size=40),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([0.9, 0.95, 0.99]),
)
@settings(deadline=None)  # the first example imports SciPy
def test_the_interval_agrees_with_the_verdict(worsening: list[float], margin: float, confidence: float) -> None:
    found = paired_test(worsening, margin, confidence)
    low, high = found.interval
    assert 0 <= found.p_value <= 1
    assert low <= high
    assert (low > margin) == (found.p_value < 1 - confidence)


@given(st.lists(numbers, min_size=8, max_size=40), st.floats(0.01, 50))
@settings(deadline=None)  # the first example imports SciPy
def test_a_larger_effect_never_looks_smaller(worsening: list[float], effect: float) -> None:
    assume(np.std(worsening) > 0.01)
    margin = -1000.5  # no difference equals it, so that no tie comes or goes
    shifted = [value + effect - 1000 for value in worsening]
    before = paired_test([value - 1000 for value in worsening], margin, 0.95).p_value
    assert paired_test(shifted, margin, 0.95).p_value <= before + 1e-9


def drawn(kind: str, n: int, suites: int) -> np.ndarray:
    """Differences of simulated suites, centred on 0."""
    rng, shape = np.random.default_rng([n, len(kind)]), (suites, n)
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "t3":
        return rng.standard_t(3, shape)
    if kind == "lognormal":
        return rng.lognormal(0, 0.5, shape) - math.exp(0.125)
    return (rng.random(shape) < 0.5) * rng.standard_normal(shape)  # half of the edits unchanged


@pytest.mark.parametrize("kind", ["normal", "t3", "lognormal", "unchanged"])
@pytest.mark.parametrize("n", [8, 30, 100])
def test_false_alarms_are_near_the_nominal_rate_and_power_rises(kind: str, n: int) -> None:
    differences = drawn(kind, n, 400)
    rates = [
        np.mean([paired_test(row + 0.2 + effect, 0.2, 0.95).p_value < 0.05 for row in differences])
        for effect in (0.0, 0.3, 0.8)
    ]
    assert 0.01 <= rates[0] <= 0.09
    assert rates[0] < rates[1] < rates[2] or rates[1] > 0.99


def test_the_interval_of_a_mean_is_close_to_students_where_that_is_right() -> None:
    from scipy import stats

    values = np.random.default_rng(5).normal(0.3, 1.0, 200)
    found = interval_of_mean(list(values), 0.95)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert found == pytest.approx(expected, abs=0.01)
    assert found == interval_of_mean(list(values), 0.95)


def test_the_interval_of_skewed_values_leans_to_the_long_side() -> None:
    values = np.random.default_rng(5).lognormal(0.0, 1.0, 40)
    found = interval_of_mean(list(values), 0.95)
    assert found[1] - values.mean() > 1.1 * (values.mean() - found[0])


def test_equal_values_are_the_ends_of_their_interval() -> None:
    assert interval_of_mean([0.25] * 8, 0.95) == (0.25, 0.25)
    assert interval_of_mean([0.0] * 300, 0.95) == (0.0, 0.0)


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, -2.5, 1e-9, 1e6]), min_size=8, max_size=20))
@settings(max_examples=15, deadline=None)
def test_an_interval_is_finite_and_lies_within_the_values(values: list[float]) -> None:
    found = interval_of_mean(values, 0.95)
    assert min(values) <= found[0] <= found[1] <= max(values)
