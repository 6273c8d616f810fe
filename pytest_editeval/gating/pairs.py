"""Scores against a baseline's or another candidate's, paired on the same checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_editeval.gate_rules import BASELINE, Gate
from pytest_editeval.gating.groups import Groups, nothing_has, slices_of, why_none
from pytest_editeval.gating.slices import unusable, value_of
from pytest_editeval.gating.statistics import holm, paired_test
from pytest_editeval.gating.verdicts import margin
from pytest_editeval.results import CheckResult, GateSlice, Outcome

NEEDS_BASELINE = "needs --editeval-baseline"


@dataclass(frozen=True)
class Pairs:
    """By how much the paired checks of a slice are worse, in the metric's units, and how many could not be paired.

    `reason` says why there is nothing to compare with.
    """

    label: str
    worsening: tuple[float, ...]
    limit: float
    confidence: float | None
    soft: int = 0
    errors: int = 0
    missing: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class _Other:
    """What a check is compared with: a score, `None` where it is soft."""

    score: float | None
    error: bool = False


def pairs_of(
    gate: Gate, candidate: str | None, groups: Groups, baseline: Mapping[str, float | None] | None, limit: float
) -> list[Pairs]:
    """The pairs of every slice of a comparison."""
    checks = [check for check in groups.get(candidate, ()) if gate.about(check)]
    others, unpaired, reason = _others(gate, groups, baseline, {check.key for check in checks})
    if not checks:
        reason = why_none(gate, groups[candidate]) if candidate in groups else None
        reason = reason or nothing_has("candidate", str(candidate), [name for name in groups if name is not None])
    if reason is not None:
        return [Pairs("", (), limit, gate.confidence, reason=reason)]
    slices, missed = slices_of(gate, checks), slices_of(gate, unpaired)
    return [
        _paired(gate, label, slices.get(label, ()), others, limit, len(missed.get(label, ())))
        for label in sorted({*slices, *(label for label, part in missed.items() if part)})
    ]


def _others(
    gate: Gate, groups: Groups, baseline: Mapping[str, float | None] | None, keys: set[str]
) -> tuple[Mapping[str, _Other], Sequence[CheckResult], str | None]:
    """What there is to compare with by key, the other candidate's checks without a partner, and why there is none."""
    if gate.versus == BASELINE:
        if baseline is None:
            return {}, (), NEEDS_BASELINE
        return {key: _Other(score) for key, score in baseline.items()}, (), None
    if gate.versus not in groups:
        return {}, (), nothing_has("candidate", str(gate.versus), [name for name in groups if name is not None])
    anyone = replace(gate, where=tuple((key, value) for key, value in gate.where if key != "candidate"))
    checks = [check for check in groups[gate.versus] if anyone.about(check)]
    return {check.key: _other(check) for check in checks}, [check for check in checks if check.key not in keys], None


def _other(check: CheckResult) -> _Other:
    if check.outcome is Outcome.SOFT_FAILURE:
        return _Other(None)
    return _Other(check.score, error=check.outcome is Outcome.ERROR or check.score is None)


def _paired(
    gate: Gate, label: str, checks: Sequence[CheckResult], others: Mapping[str, _Other], limit: float, missing: int
) -> Pairs:
    worsening, soft, errors = [], 0, 0
    for check in checks:
        own, other = _other(check), others.get(check.key)
        if own.error or (other is not None and other.error):
            errors += 1
        elif other is None:
            missing += 1
        elif own.score is None or other.score is None:
            soft += 1
        else:
            worsening.append(-margin(own.score, other.score, check.higher_is_better))
    return Pairs(label, tuple(worsening), limit, gate.confidence, soft, errors, missing)


def judge_pairs(family: Sequence[Pairs]) -> list[GateSlice]:
    """The verdicts on all comparisons of one candidate: the p-values of its tests are corrected together."""
    reasons = [pairs.reason or unusable(pairs.worsening, pairs.errors, "pair") for pairs in family]
    tested = [index for index, pairs in enumerate(family) if pairs.confidence is not None and reasons[index] is None]
    raw = [paired_test(family[i].worsening, family[i].limit, family[i].confidence or 0.0).p_value for i in tested]
    p_values = dict(zip(tested, zip(raw, holm(raw), strict=True), strict=True))
    return [
        _slice(pairs, reason, p_values.get(index))
        for index, (pairs, reason) in enumerate(zip(family, reasons, strict=True))
    ]


def _slice(pairs: Pairs, reason: str | None, p_values: tuple[float, float] | None) -> GateSlice:
    """`p_values`: of the test alone, and corrected."""
    value = value_of("mean", pairs.worsening)
    part = GateSlice(
        pairs.label, value, len(pairs.worsening), False, pairs.soft, pairs.errors, pairs.missing, reason=reason
    )
    if reason is not None or value is None:
        return part
    if p_values is None or pairs.confidence is None:
        return replace(part, passed=margin(value, pairs.limit, higher_is_better=False) >= 0)
    own, corrected = p_values
    alpha = 1 - pairs.confidence
    # At the share of the error rate that the correction leaves to this test, the interval agrees with its verdict.
    level = alpha * own / corrected if corrected else alpha
    interval = paired_test(pairs.worsening, pairs.limit, 1 - level).interval
    return replace(part, passed=corrected >= alpha, interval=interval, p_value=corrected)
