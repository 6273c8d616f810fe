"""Gates over the results of a suite: one verdict per gate and candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_editeval.errors import Position, display_path
from pytest_editeval.gate_rules import SOFT_FAILURE_RATE, Gate, number_for
from pytest_editeval.gating.groups import (
    Groups,
    by_candidate,
    count_not_run,
    judged_candidates,
    nothing_has,
    slices_of,
    why_none,
)
from pytest_editeval.gating.pairs import judge_pairs, pairs_of
from pytest_editeval.gating.slices import judge_slice
from pytest_editeval.gating.words import higher_is_better, rule, slugs, title
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome

SOFT_FAILURE_BUDGET = 0.2
"""The share of soft failures that a metric may have where no gate says otherwise."""

BUDGET_FROM_CHECKS = 5
"""Checks of a metric from which the default budget holds."""

_NOWHERE = Position(Path("editeval"), 0, 0)


def judge_gates(
    gates: Sequence[Gate],
    results: Sequence[CheckResult],
    profile: str,
    baseline: Mapping[str, float | None] | None = None,
    not_run: Collection[str] = (),
) -> list[GateResult]:
    """The verdict of every gate on every candidate by itself, and the default budgets that are violated.

    `baseline` maps `CheckResult.key` to a score, `None` where it was a soft failure; `not_run` are the node ids of
    selected checks without a result: where one may be a gate's own, the gate does not pass. A gate that has no number
    for the profile raises a `LocatedError`.
    """
    groups = by_candidate(results, not_run)
    numbers = [number_for(gate.no_worse_than if gate.versus else gate.threshold, gate, profile) for gate in gates]
    asked = [(index, name) for index, gate in enumerate(gates) for name in judged_candidates(gate, groups)]
    compared = _comparisons(gates, numbers, asked, groups, baseline)
    names = slugs(gates)
    judged = []
    for index, candidate in asked:
        gate = gates[index]
        slices = compared.get((index, candidate)) or _slices(gate, candidate, groups, numbers[index])
        if count := count_not_run(gate, candidate, groups, not_run):
            slices = _incomplete(slices, f"{count} of the run's checks were not run")
        judged.append(_result(gate, names[index], candidate, numbers[index], slices))
    return [*judged, *_default_budgets(gates, groups)]


def covered(result: CheckResult, gates: Sequence[Gate]) -> CheckResult:
    """A check that failed with the first gate that takes the decision over, if there is one."""
    if result.outcome is not Outcome.FAILED:
        return result
    gate = next((gate for gate in gates if gate.decides(result)), None)
    return dataclasses.replace(result, covered_by=title(gate) if gate else None)


def _comparisons(
    gates: Sequence[Gate],
    numbers: Sequence[float],
    asked: Sequence[tuple[int, str | None]],
    groups: Groups,
    baseline: Mapping[str, float | None] | None,
) -> dict[tuple[int, str | None], list[GateSlice]]:
    """The slices of every comparison; those of one candidate, which is released or not, are one family of tests."""
    judged: dict[tuple[int, str | None], list[GateSlice]] = {}
    for candidate in dict.fromkeys(name for _, name in asked):
        family = [
            (index, pairs)
            for index, name in asked
            if name == candidate and gates[index].versus is not None
            for pairs in pairs_of(gates[index], candidate, groups, baseline, numbers[index])
        ]
        slices = judge_pairs([pairs for _, pairs in family])
        for (index, _), part in zip(family, slices, strict=True):
            judged.setdefault((index, candidate), []).append(part)
    return judged


def _slices(gate: Gate, candidate: str | None, groups: Groups, threshold: float) -> list[GateSlice]:
    if candidate not in groups:
        reason = nothing_has("candidate", str(candidate), [name for name in groups if name is not None])
        return [GateSlice("", None, 0, passed=False, reason=reason)]
    checks = [check for check in groups[candidate] if gate.about(check)]
    if not checks:
        return [GateSlice("", None, 0, passed=False, reason=why_none(gate, groups[candidate]))]
    return [judge_slice(gate, label, part, threshold) for label, part in slices_of(gate, checks).items()]


def _incomplete(slices: Sequence[GateSlice], reason: str) -> list[GateSlice]:
    """The slices of a gate whose checks were not all run."""
    if [part.label for part in slices] == [""]:
        return [dataclasses.replace(slices[0], passed=False, reason=reason)]
    return [*slices, GateSlice("", None, 0, passed=False, reason=reason)]


def _result(gate: Gate, slug: str, candidate: str | None, number: float, slices: Sequence[GateSlice]) -> GateResult:
    suffix = "" if candidate is None else f"[{candidate}]"
    return GateResult(
        node_id=f"{display_path(gate.position.path)}::gates::{slug}{suffix}",
        rule=rule(gate, number),
        place=str(gate.position),
        candidate=candidate,
        metric=gate.metric,
        statistic=gate.statistic,
        threshold=number,
        confidence=gate.confidence,
        higher_is_better=higher_is_better(gate),
        slices=tuple(slices),
    )


def _default_budgets(gates: Sequence[Gate], groups: Groups) -> Iterator[GateResult]:
    """The budgets that are violated, of each metric's checks whose soft failures no gate limits."""
    own = [gate for gate in gates if gate.statistic == SOFT_FAILURE_RATE]
    for candidate, checks in groups.items():
        free = [check for check in checks if not any(gate.about(check) for gate in own)]
        for metric in sorted({check.metric for check in free}):
            gate = _budget(metric)
            part = judge_slice(gate, "", [check for check in free if gate.about(check)], SOFT_FAILURE_BUDGET)
            if part.scored >= BUDGET_FROM_CHECKS and not part.passed:
                found = _result(gate, f"{SOFT_FAILURE_RATE} {metric}", candidate, SOFT_FAILURE_BUDGET, [part])
                yield dataclasses.replace(found, rule=f"{found.rule} (the default budget)", place="")


def _budget(metric: str) -> Gate:
    return Gate(
        statistic=SOFT_FAILURE_RATE,
        metric=metric,
        threshold=SOFT_FAILURE_BUDGET,
        confidence=None,
        by=None,
        where=(),
        versus=None,
        no_worse_than=0.0,
        name=None,
        file=None,
        position=_NOWHERE,
    )
