"""The verdict on a whole run, and why, in one sentence: what the Markdown summary and the page begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_editeval.errors import LocatedError
from pytest_editeval.reports.gates import gate_title
from pytest_editeval.reports.standing import standing
from pytest_editeval.results import CheckResult, GateResult, Outcome


@dataclass(frozen=True)
class RunNotes:
    """What is known of a run beside its results.

    `not_run` are node ids. `gates_not_judged` says why not. `others` is how many tests failed that are no checks.
    `files` are what else was written, by what it is. `soft_fail` and `runxfail` are those of `standing`. `facts` are
    further lines on how the run was measured, by what they are of.
    """

    mistakes: Sequence[LocatedError] = ()
    not_run: Sequence[str] = ()
    gates_not_judged: str | None = None
    others: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    soft_fail: bool = False
    runxfail: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """A part of the sentence, and the names that follow it."""

    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunVerdict:
    """Whether the run lets the release through (`None` where nothing was checked), and why."""

    passed: bool | None
    facts: tuple[Fact, ...]

    @property
    def word(self) -> str:
        """What the sentence begins with."""
        return "Nothing to judge" if self.passed is None else "Passed" if self.passed else "Failed"


def verdict(results: Sequence[CheckResult], gates: Sequence[GateResult], notes: RunNotes) -> RunVerdict:
    """The verdict on a run of these results and gates."""
    checks = standing(results, soft_fail=notes.soft_fail, runxfail=notes.runxfail)
    judged = sum(result.control is None for result in results)
    rules = tuple(gate_title(gate) for gate in gates if not gate.passed)
    faults = [
        Fact(text, names)
        for count, text, names in (
            (len(checks.failing), f"{len(checks.failing):,} of {judged:,} checks fail", ()),
            (len(checks.errors), f"{len(checks.errors):,} could not be scored", ()),
            (len(rules), f"{len(rules):,} of {len(gates):,} gates fail", rules),
            (len(checks.covered) if rules else 0, f"{len(checks.covered):,} left to gates", ()),
            (len(notes.mistakes), f"mistakes in case files: {len(notes.mistakes):,}", ()),
            (len(notes.not_run), f"not run: {len(notes.not_run):,}", ()),
            (notes.others, f"other tests that fail: {notes.others:,}", ()),
        )
        if count
    ]
    if judged and not any(result.control is None and result.has_score for result in results):
        faults.append(Fact("no check has a score, so this run says nothing"))
    if faults:
        return RunVerdict(False, tuple(faults))
    if not judged:
        return RunVerdict(None, (Fact("no checks were run"),))
    passed = sum(result.control is None and result.outcome is Outcome.PASSED for result in results)
    also = (
        (len(checks.soft), "soft failure", "soft failures"),
        (len(checks.covered), "left to a gate", "left to gates"),
        (len(checks.toothless), "toothless threshold", "toothless thresholds"),
        (len(gates), "gate passed", "gates passed"),
    )
    rest = (Fact(f"{count:,} {one if count == 1 else many}") for count, one, many in also if count)
    return RunVerdict(True, (Fact(f"{passed:,} of {judged:,} checks passed"), *rest))
