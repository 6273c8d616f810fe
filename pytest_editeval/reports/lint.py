"""Findings about thresholds in words."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.lint import Finding, Linted, Rule
from pytest_editeval.registry import get_metric
from pytest_editeval.reports.text import number


def finding_line(finding: Finding) -> str:
    """``cases/a.edit.yaml:14:21: red_scarf region_emd: threshold ≤ 5 is passed by "destroyed" ...``."""
    if finding.rule is Rule.CASE_PASSED_BY_NOTHING_DONE:
        scores = ", ".join(f"{one.check.metric} {_beside(one, one.nothing_done.value)}" for one in finding.of)
        return visible(
            f'{finding.position}: {finding.case.id}: "nothing done" passes every threshold of the case ({scores}): '
            "no metric of it sees whether the edit was made"
        )
    (one,) = finding.of
    return visible(f"{finding.position}: {finding.case.id} {one.check.metric}: {_said(finding, one)}")


def not_told(checks: Sequence[Linted]) -> list[str]:
    """A line for each check of which a control has no score, and why there is none."""
    return [
        visible(f"{one.check.label}: not told: {'; '.join(reasons)}") for one in checks if (reasons := _reasons(one))
    ]


def _reasons(one: Linted) -> list[str]:
    nothing, destroyed = one.nothing_done, one.destroyed
    if nothing.value is None and nothing == destroyed:
        return [nothing.reason]
    named = (("nothing done", nothing), ("destroyed", destroyed))
    return [f'"{name}": {end.reason}' for name, end in named if end.value is None]


def _said(finding: Finding, one: Linted) -> str:
    spec = get_metric(one.check.metric)
    lowest, highest = spec.bounds
    best, worst = (highest, lowest) if spec.higher_is_better else (lowest, highest)
    end = "highest" if spec.higher_is_better else "lowest"
    noise = f"the noise {number(finding.noise)}" if finding.noise is not None else ""
    match finding.rule:
        case Rule.UNREACHABLE:
            return f"no score reaches the threshold {_threshold(one, best)}: the {end} there can be is {number(best)}"
        case Rule.ALWAYS_PASSED:
            other = "lowest" if spec.higher_is_better else "highest"
            return f"every score passes the threshold {_threshold(one)}: the {other} there can be is {number(worst)}"
        case Rule.PASSED_BY_DESTROYED:
            destroyed = one.destroyed.value
            what = f'threshold {_threshold(one, destroyed)} is passed by "destroyed" ({_ends(one)})'
            return f"{what}: it can catch nothing; {_cure(one)}"
        case Rule.NEAR_DESTROYED:
            return f'threshold {_threshold(one)} is within {noise} of "destroyed" ({_ends(one)})'
        case Rule.NEAR_NOTHING_DONE:
            return f'threshold {_threshold(one)} is within {noise} of "nothing done" ({_ends(one)})'
        case Rule.NEAR_PERFECT:
            return f"threshold {_threshold(one)} is within {noise} of a perfect score ({number(best)})"
        case _:
            of = f" of {finding.candidate}" if finding.candidate else ""
            return f"the score {_beside(one, finding.score)}{of} is within {noise} of the threshold {_threshold(one)}"


def _threshold(one: Linted, beside: float | None = None) -> str:
    sign = "≥" if get_metric(one.check.metric).higher_is_better else "≤"
    return f"{sign} {number(one.threshold, beside)}"


def _beside(one: Linted, value: float | None) -> str:
    return "not told" if value is None else number(value, one.threshold)


def _ends(one: Linted) -> str:
    return f"nothing done {_beside(one, one.nothing_done.value)}, destroyed {_beside(one, one.destroyed.value)}"


def _cure(one: Linted) -> str:
    good, bad = one.nothing_done.value, one.destroyed.value
    if good is None or bad is None or one.margin(good) <= one.margin(bad):
        return "the metric does not tell them apart here"
    return f"a threshold between them would be {number((good + bad) / 2)}"
