"""Scores against thresholds: the only place where the two are compared."""

from __future__ import annotations

from pytest_editeval.checks import Expect
from pytest_editeval.results import Outcome, Score, Verdict


def margin(value: float, threshold: float, higher_is_better: bool) -> float:
    """Distance to the threshold, in the metric's units; >= 0 is the good side (thresholds are inclusive)."""
    return value - threshold if higher_is_better else threshold - value


def judge(score: Score, threshold: float, higher_is_better: bool, expect: Expect = "pass") -> Verdict:
    """The verdict on one score.

    A control (`expect` ``"fail"``) passes only when the score is on the bad side. A soft failure stays one, for a
    control as well: a metric that was not computed has caught nothing. NaN is on neither side, so it never passes.
    """
    if score.soft_failure is not None or score.value is None:
        return Verdict(Outcome.SOFT_FAILURE)
    distance = margin(score.value, threshold, higher_is_better)
    good = distance >= 0 if expect == "pass" else distance < 0
    return Verdict(Outcome.PASSED if good else Outcome.FAILED, distance)
