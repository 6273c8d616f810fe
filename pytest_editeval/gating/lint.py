"""Thresholds that mean nothing: what every edit passes, what no edit passes, and what noise decides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby

from pytest_editeval.checks import EditCase
from pytest_editeval.errors import Position
from pytest_editeval.gating.noise import NoiseFloor, noise_of
from pytest_editeval.gating.verdicts import is_within, margin
from pytest_editeval.registry import get_metric
from pytest_editeval.results import CheckResult
from pytest_editeval.suites import SuiteCheck


@dataclass(frozen=True)
class End:
    """What a metric gave for a control: the score, or in words why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Linted:
    """A check, what its metric gives at both ends, and what edits got in a run."""

    check: SuiteCheck
    nothing_done: End
    destroyed: End
    rows: tuple[CheckResult, ...] = ()

    @property
    def threshold(self) -> float:
        """The profile's."""
        return self.check.resolved.threshold

    def passes(self, end: End) -> bool:
        """Whether a control is on the good side of the threshold."""
        return end.value is not None and self.margin(end.value) >= 0

    def margin(self, value: float) -> float:
        """A score's distance to the threshold, >= 0 on the good side."""
        return margin(value, self.threshold, get_metric(self.check.metric).higher_is_better)


class Rule(Enum):
    """What is wrong with a threshold."""

    UNREACHABLE = auto()
    """No score can pass it."""
    ALWAYS_PASSED = auto()
    """No score can fail it."""
    PASSED_BY_DESTROYED = auto()
    CASE_PASSED_BY_NOTHING_DONE = auto()
    """None of the case's thresholds is failed by the unedited source."""
    NEAR_DESTROYED = auto()
    NEAR_NOTHING_DONE = auto()
    NEAR_PERFECT = auto()
    """Nearer to the best score that there can be than the noise is large."""
    SCORE_WITHIN_NOISE = auto()

    @property
    def kind(self) -> str:
        """What findings are left out by: ``range``, ``destroyed``, ``nothing-done`` or ``noise``."""
        if self in (Rule.UNREACHABLE, Rule.ALWAYS_PASSED):
            return "range"
        kinds = {Rule.PASSED_BY_DESTROYED: "destroyed", Rule.CASE_PASSED_BY_NOTHING_DONE: "nothing-done"}
        return kinds.get(self, "noise")


@dataclass(frozen=True)
class Finding:
    """A rule that a check breaks, or a case (`of` has all its checks then).

    `noise` is set where it is the reason, `score` where an edit of a run is meant, `candidate` its model.
    """

    rule: Rule
    of: tuple[Linted, ...]
    noise: float | None = None
    score: float | None = None
    candidate: str | None = None

    @property
    def case(self) -> EditCase:
        """The case it is about."""
        return self.of[0].check.case

    @property
    def position(self) -> Position:
        """Where the threshold is written, or the case."""
        if self.rule is Rule.CASE_PASSED_BY_NOTHING_DONE:
            return self.case.position
        return self.of[0].check.resolved.check.threshold_position


def lint(checks: Sequence[Linted], floor: NoiseFloor | None = None) -> list[Finding]:
    """What is wrong with the thresholds of checks that are in the order of their files.

    A check with ``expect: fail`` says of a known bad edit that its metric catches it. Its threshold is held against
    "destroyed" as any other, because what noise passes catches nothing; "nothing done" tells nothing about it.
    """
    findings: list[Finding] = []
    for _, group in groupby(checks, key=lambda one: (one.check.case.path, one.check.case.id)):
        case = list(group)
        findings += _of_case(case)
        for one in case:
            findings += _of_check(one, noise_of(floor, one.check.metric))
    return findings


def _of_case(case: Sequence[Linted]) -> Iterator[Finding]:
    ordinary = tuple(one for one in case if one.check.resolved.check.expect == "pass")
    if ordinary and all(one.passes(one.nothing_done) for one in ordinary):
        yield Finding(Rule.CASE_PASSED_BY_NOTHING_DONE, ordinary)


def _of_check(one: Linted, noise: float | None) -> Iterator[Finding]:
    spec = get_metric(one.check.metric)
    worst, best = spec.bounds if spec.higher_is_better else spec.bounds[::-1]
    if one.margin(best) < 0:
        yield Finding(Rule.UNREACHABLE, (one,))
        return
    if math.isfinite(worst) and one.margin(worst) >= 0:
        yield Finding(Rule.ALWAYS_PASSED, (one,))
        return
    if one.passes(one.destroyed):
        yield Finding(Rule.PASSED_BY_DESTROYED, (one,))
    if noise is None:
        return
    if not one.passes(one.destroyed) and _near(one, one.destroyed.value, noise):
        yield Finding(Rule.NEAR_DESTROYED, (one,), noise)
    if one.check.resolved.check.expect == "pass":
        if _near(one, one.nothing_done.value, noise):
            yield Finding(Rule.NEAR_NOTHING_DONE, (one,), noise)
        elif math.isfinite(best) and _near(one, best, noise):
            yield Finding(Rule.NEAR_PERFECT, (one,), noise)
    for row in one.rows:
        if row.score is not None and row.reason is None and is_within(noise, one.margin(row.score)):
            yield Finding(Rule.SCORE_WITHIN_NOISE, (one,), noise, row.score, row.candidate)


def _near(one: Linted, value: float | None, noise: float) -> bool:
    return value is not None and abs(one.margin(value)) < noise
