"""A whole suite judged again: its checks, then its gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_editeval.config import Profile
from pytest_editeval.gate_rules import Gate
from pytest_editeval.gating.again import JudgedAgain, judge_again
from pytest_editeval.gating.baseline import Baseline
from pytest_editeval.gating.evaluate import judge_gates
from pytest_editeval.gating.written import WrittenChecks
from pytest_editeval.results import CheckResult, GateResult, Outcome


@dataclass(frozen=True)
class Suite:
    """The checks with their verdicts, `covered_by` set where a gate decides, and the verdicts of the gates."""

    checks: JudgedAgain
    gates: tuple[GateResult, ...]

    def of(self, candidate: str) -> Suite:
        """What belongs to one candidate, or to none."""
        return Suite(
            self.checks.of(candidate), tuple(gate for gate in self.gates if gate.candidate in (candidate, None))
        )


def judge_suite(
    rows: Sequence[CheckResult], written: WrittenChecks, profile: Profile, baseline: Baseline | None
) -> Suite:
    """Judge the rows of a results file again, by the checks and gates as they are written now.

    Every candidate is judged, because a gate may compare two of them. Raises `EditEvalError` as `judge_again` does, and
    for a gate that has no number for the profile.
    """
    judged = judge_again(rows, written, baseline)
    gates = (*profile.gates, *written.gates)
    verdicts = judge_gates(
        gates,
        [result for result in judged.results if result.control is None],
        profile.name,
        None if baseline is None else _comparable_scores(baseline, judged.changed_inputs),
        [check.node_id for check in judged.missing],
    )
    rules = {verdict.place: verdict.rule for verdict in verdicts}
    results = tuple(_covered(result, gates, rules) for result in judged.results)
    return Suite(replace(judged, results=results), tuple(verdicts))


def _covered(result: CheckResult, gates: Sequence[Gate], rules: Mapping[str, str]) -> CheckResult:
    """With the name, else the rule, of the first gate that decides about a check that failed."""
    if result.outcome is not Outcome.FAILED:
        return result
    gate = next((gate for gate in gates if gate.decides(result)), None)
    return result if gate is None else replace(result, covered_by=gate.name or rules[str(gate.position)])


def _comparable_scores(baseline: Baseline, changed_inputs: Sequence[CheckResult]) -> dict[str, float | None]:
    changed = {result.key for result in changed_inputs}
    return {key: accepted.score for key, accepted in baseline.scores.items() if key not in changed}
