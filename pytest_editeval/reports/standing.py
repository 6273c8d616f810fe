"""Which checks stop a run, and which it lets through with a remark: what annotations and the Markdown summary show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_editeval.results import CheckResult, Outcome


@dataclass(frozen=True)
class Standing:
    """The checks that did not simply pass, each in one place, and those of them that are worst first.

    `failing`: on the wrong side, with nobody else to decide. `errors`: nothing could be scored. `soft`: soft failures.
    `toothless`: controls that a threshold lets through. `covered`: below their threshold, which a gate decides.
    `doubtful`: passed by less than harmless changes of the image move the score.
    """

    failing: tuple[CheckResult, ...]
    errors: tuple[CheckResult, ...]
    soft: tuple[CheckResult, ...]
    toothless: tuple[CheckResult, ...]
    covered: tuple[CheckResult, ...]
    doubtful: tuple[CheckResult, ...]


def standing(results: Sequence[CheckResult], *, soft_fail: bool = False, runxfail: bool = False) -> Standing:
    """Sort the checks out as a run reports them.

    `soft_fail`: soft failures are failures (``--editeval-soft-failures fail``). `runxfail`: whatever would be xfailed
    is one.
    """
    groups: dict[str, list[CheckResult]] = {name: [] for name in Standing.__dataclass_fields__}
    for result in results:
        if group := _group(result, soft_fail or runxfail, runxfail):
            groups[group].append(result)
    return Standing(**{name: tuple(worst_first(group)) for name, group in groups.items()})


def _group(result: CheckResult, soft_fail: bool, runxfail: bool) -> str | None:
    if result.outcome is Outcome.ERROR:
        return "errors"
    if result.outcome is Outcome.SOFT_FAILURE:
        return "failing" if soft_fail else "soft"
    if result.outcome is Outcome.FAILED:
        if runxfail:
            return "failing"
        return "toothless" if result.control is not None else "failing" if result.covered_by is None else "covered"
    return "doubtful" if result.within_noise and result.control is None else None


def worst_first(results: Iterable[CheckResult]) -> list[CheckResult]:
    """By how far they miss: the worst of every metric, then the second of every metric, and so on.

    Metrics have units of their own, so a margin of one says nothing beside that of another. Those without a margin
    come first; ties stay in the order that they have.
    """
    ranks: Counter[str] = Counter()
    ranked: list[tuple[int, CheckResult]] = []
    for result in sorted(results, key=lambda result: -missed_by(result)):
        ranked.append((ranks[result.metric], result))
        ranks[result.metric] += 1
    return [result for _, result in sorted(ranked, key=lambda pair: pair[0])]


def missed_by(result: CheckResult) -> float:
    """By how much a check is on the wrong side, in the metric's units: of its threshold, or of what it tolerates.

    Infinite where there is no margin, or where it is not a number; negative for a check that passed.
    """
    if result.margin is None or math.isnan(result.margin):
        return math.inf
    if result.expect == "fail":
        return result.margin
    if result.margin >= 0 and result.exceeds_tolerance:
        return (result.worsening or 0.0) - (result.tolerance or 0.0)
    return -result.margin
