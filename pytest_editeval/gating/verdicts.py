"""Scores against thresholds: the only place where one score is held against its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_editeval.candidates import NOTHING_DONE
from pytest_editeval.checks import Expect
from pytest_editeval.results import CheckResult, Outcome, Reason, Repeat, Score, SoftFailure, Verdict


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


def judge_repeats(
    scores: Sequence[Score], threshold: float, higher_is_better: bool, expect: Expect, quota: int
) -> tuple[Verdict, int]:
    """The verdict on several edits of which `quota` have to pass, and which score decides it, counted from 0.

    It is the worst of the best `quota`, so that the verdict is that score's. Soft failures are neither: where they
    could tip the verdict, it is a soft failure.
    """
    verdicts = [judge(score, threshold, higher_is_better, expect) for score in scores]
    soft = [index for index, verdict in enumerate(verdicts) if verdict.outcome is Outcome.SOFT_FAILURE]
    sign = 1 if higher_is_better == (expect == "pass") else -1

    def goodness(index: int) -> float:
        value = scores[index].value
        return -math.inf if value is None or math.isnan(value) else sign * value

    scored = sorted((index for index in range(len(scores)) if index not in soft), key=goodness, reverse=True)
    passed = sum(verdict.outcome is Outcome.PASSED for verdict in verdicts)
    if passed < quota <= passed + len(soft):
        return Verdict(Outcome.SOFT_FAILURE), soft[0]
    decides = scored[quota - 1 if passed >= quota else quota - len(soft) - 1]
    return verdicts[decides], decides


def settled(result: CheckResult) -> CheckResult:
    """A check's result with everything that follows from its scores, threshold, quota, baseline and tolerance.

    An error stays one. The control "nothing done" only shows where a score begins: it passes when there is a score.
    """
    if result.outcome is Outcome.ERROR:
        return result
    expect: Expect = "fail" if result.expect == "fail" else "pass"
    sides = result.threshold, result.higher_is_better, expect
    if result.repeats:
        scores = [score_of(result.metric, repeat) for repeat in result.repeats]
        verdict, index = judge_repeats(scores, *sides, result.quota or len(scores))
        each = [judge(score, *sides) for score in scores]
        decides = result.repeats[index]
        if decides.edited != result.edited:
            result = replace(result, details={}, edited_size=None)  # they are of another edit
        result = replace(
            result,
            repeats=tuple(
                replace(repeat, margin=one.margin, outcome=one.outcome)
                for repeat, one in zip(result.repeats, each, strict=True)
            ),
            score=decides.score,
            reason=decides.reason,
            detail=decides.detail,
            edited=decides.edited,
            edited_digest=decides.edited_digest,
        )
    else:
        verdict = judge(score_of(result.metric, result), *sides)
    outcome = verdict.outcome
    if outcome is Outcome.FAILED and result.control == NOTHING_DONE:
        outcome = Outcome.PASSED
    if outcome is Outcome.PASSED and result.expect == "pass" and result.exceeds_tolerance:
        outcome = Outcome.FAILED
    within = is_within(result.noise, verdict.margin)
    return replace(result, outcome=outcome, margin=verdict.margin, within_noise=within)


def is_within(noise: float | None, distance: float | None) -> bool:
    """Whether a margin is smaller than what harmless changes of the image do to the metric."""
    return noise is not None and distance is not None and abs(distance) < noise


def score_of(metric: str, row: CheckResult | Repeat) -> Score:
    """The score that a row holds."""
    failure = SoftFailure(Reason(row.reason), row.detail or "") if row.reason else None
    return Score(metric, row.score, failure)
