"""A whole suite judged again: its checks, then its gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_editeval.gating.again import JudgedAgain, judge_again
from pytest_editeval.gating.baseline import Baseline, accepted_scores
from pytest_editeval.gating.evaluate import covered, judge_gates
from pytest_editeval.profiles import Profile
from pytest_editeval.results import CheckResult, GateResult
from pytest_editeval.suites import Suite


@dataclass(frozen=True)
class JudgedSuite:
    """The checks with their verdicts, `covered_by` set where a gate decides, and the verdicts of the gates."""

    checks: JudgedAgain
    gates: tuple[GateResult, ...]

    def of(self, candidate: str) -> JudgedSuite:
        """What belongs to one candidate, or to none."""
        return JudgedSuite(
            self.checks.of(candidate), tuple(gate for gate in self.gates if gate.candidate in (candidate, None))
        )


def judge_suite(
    rows: Sequence[CheckResult], written: Suite, profile: Profile, baseline: Baseline | None
) -> JudgedSuite:
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
        None if baseline is None else accepted_scores(baseline, judged.results),
        [check.node_id for check in judged.missing],
    )
    results = tuple(covered(result, gates) for result in judged.results)
    return JudgedSuite(replace(judged, results=results), tuple(verdicts))
