"""A slice of checks against a gate's number: statistics of scores, and rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_editeval.gate_rules import PASS_RATE, SOFT_FAILURE_RATE, Gate
from pytest_editeval.gating.statistics import bound, rate_bound, scores_needed, statistic_of
from pytest_editeval.gating.verdicts import margin
from pytest_editeval.gating.words import higher_is_better, many
from pytest_editeval.results import CheckResult, GateSlice, Outcome

FEWEST_SCORES = 8
"""With fewer scores (pairs, checks of a pass rate) a gate has too little to tell, and does not pass."""


@dataclass(frozen=True)
class Scores:
    """The scores of some checks, and how many checks have none."""

    values: tuple[float, ...]
    soft: int
    errors: int


def scores_of(checks: Sequence[CheckResult]) -> Scores:
    """Soft failures stay out, whatever value the metric gives them; a check without a score is an error."""
    soft = sum(check.outcome is Outcome.SOFT_FAILURE for check in checks)
    hard = [check for check in checks if check.outcome is not Outcome.SOFT_FAILURE]
    values = tuple(check.score for check in hard if check.outcome is not Outcome.ERROR and check.score is not None)
    return Scores(values, soft, len(hard) - len(values))


def judge_slice(gate: Gate, label: str, checks: Sequence[CheckResult], threshold: float) -> GateSlice:
    """The gate's statistic over some checks, against its threshold."""
    if gate.statistic == SOFT_FAILURE_RATE:
        return _soft_failure_rate(gate, label, checks, threshold)
    return (_pass_rate if gate.statistic == PASS_RATE else _statistic)(gate, label, checks, threshold)


def value_of(statistic: str, values: Sequence[float]) -> float | None:
    """A statistic of scores; NaN where one of them is not finite, `None` where there are none."""
    if not values:
        return None
    return statistic_of(statistic, values) if all(map(math.isfinite, values)) else math.nan


def unusable(values: Sequence[float], errors: int, noun: str) -> str | None:
    """Why scores (or pairs of them) tell nothing: some are missing for a fault, some are no number, or too few."""
    if errors:
        have = "has" if errors == 1 else "have"
        return f"{many(errors, 'check')} ended in an error and {have} no score"
    if wrong := sum(not math.isfinite(value) for value in values):
        return f"{many(wrong, noun)} of {len(values)} {'is' if wrong == 1 else 'are'} not a finite number"
    return _too_few(len(values), noun)


def _too_few(count: int, noun: str) -> str | None:
    return f"too few to tell: {many(count, noun)}, {FEWEST_SCORES} are needed" if count < FEWEST_SCORES else None


def _statistic(gate: Gate, label: str, checks: Sequence[CheckResult], threshold: float) -> GateSlice:
    scores, statistic, higher = scores_of(checks), gate.statistic or "", higher_is_better(gate)
    values = scores.values
    value = value_of(statistic, values)
    reason, limit = unusable(values, scores.errors, "score"), None
    if reason is None and gate.confidence is not None:
        limit = bound(statistic, values, gate.confidence, upper=not higher)
        if limit is None:
            needed = scores_needed(statistic, gate.confidence, upper=not higher)
            what = f"a {100 * gate.confidence:g} % bound of {statistic}"
            reason = f"too few for {what}: {many(len(values), 'score')}, {needed} are needed"
    held = value if limit is None else limit
    good = reason is None and held is not None and margin(held, threshold, higher) >= 0
    return GateSlice(label, value, len(values), good, scores.soft, scores.errors, bound=limit, reason=reason)


def _pass_rate(gate: Gate, label: str, checks: Sequence[CheckResult], threshold: float) -> GateSlice:
    soft = sum(check.outcome is Outcome.SOFT_FAILURE for check in checks)
    errors = sum(check.outcome is Outcome.ERROR for check in checks)
    passed = sum(check.outcome is Outcome.PASSED for check in checks)
    return _rate(
        gate, label, (passed, len(checks) - soft), threshold, (soft, errors), _too_few(len(checks) - soft, "check")
    )


def _soft_failure_rate(gate: Gate, label: str, checks: Sequence[CheckResult], threshold: float) -> GateSlice:
    soft = sum(check.outcome is Outcome.SOFT_FAILURE for check in checks)
    errors = sum(check.outcome is Outcome.ERROR for check in checks)
    return _rate(gate, label, (soft, len(checks)), threshold, (soft, errors), None)


def _rate(
    gate: Gate, label: str, share: tuple[int, int], threshold: float, left_out: tuple[int, int], reason: str | None
) -> GateSlice:
    """`share`: how many checks of how many; `left_out`: soft failures and errors."""
    (count, total), higher = share, higher_is_better(gate)
    value, limit = count / total if total else None, None
    if gate.confidence is not None and total:
        limit = rate_bound(count, total, gate.confidence, upper=not higher)
    held = value if limit is None else limit
    good = reason is None and held is not None and margin(held, threshold, higher) >= 0
    return GateSlice(label, value, total, good, *left_out, bound=limit, reason=reason)
