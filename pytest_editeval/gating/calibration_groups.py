"""Which scores of which runs a threshold is chosen from, and which are left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_editeval.errors import EditEvalError, known_names, unknown
from pytest_editeval.gating.labels import Label, labelled
from pytest_editeval.results import CheckResult, Outcome

MUST_FAIL = "expected to fail"

Key = tuple[str, str | None]
"""A metric, and a task where every task gets its own threshold (else, and for cases without one, `None`)."""


@dataclass
class Group:
    """The scores that one threshold is chosen from.

    `good` and `bad` are scores in the metric's units; without labels every score is in `good`. `now` holds the
    thresholds that the scores were held against and `scopes` their scopes; `left_out` counts by reason what is in
    neither. `must_fail` are the scores of checks with ``expect: fail``, which test a threshold and do not make it.
    """

    metric: str
    task: str | None
    higher_is_better: bool
    good: list[float] = field(default_factory=list)
    bad: list[float] = field(default_factory=list)
    must_fail: list[float] = field(default_factory=list)
    now: set[float] = field(default_factory=set)
    scopes: set[str | None] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Groups:
    """The groups of some runs, and the profile that the scores belong to."""

    profile: str
    by_task: bool
    has_labels: bool
    groups: Mapping[Key, Group]


def group_scores(
    runs: Mapping[str, Sequence[CheckResult]],
    labels: Sequence[Label] | None = None,
    *,
    candidate: str | None = None,
    by_task: bool = False,
) -> Groups:
    """The scores of `runs` (results by the name of the run), by metric, or by metric and task.

    Only ordinary checks count. An edit that several runs gave the same score counts once. Raises an `EditEvalError`
    for runs of two profiles, for a metric of two versions, fingerprints or directions, and for an unknown candidate.
    """
    named = [(run, result) for run, results in runs.items() for result in results]
    profile = _profile(named)
    if candidate is not None:
        candidates = {str(result.candidate) for _, result in named if result.candidate is not None}
        if candidate not in candidates:
            known = known_names(candidates) if candidates else "the runs name no candidates"
            raise EditEvalError(f"--candidate: {unknown('candidate', candidate, candidates)}; {known}")
        named = [(run, result) for run, result in named if result.candidate == candidate]
    results = [result for _, result in named]
    verdicts = None if labels is None else labelled(labels, results)
    _check_identities([(run, result) for run, result in named if _why_not_scored(result) is None])
    groups: dict[Key, Group] = {}
    seen: set[tuple[object, ...]] = set()
    for index, result in enumerate(results):
        key = (result.metric, result.task if by_task else None)
        group = groups.setdefault(key, Group(*key, result.higher_is_better))
        reason = _why_not_scored(result) or _again(result, seen)
        if reason is None and verdicts is not None and index not in verdicts:
            reason = "without a label"
        if reason is not None:
            group.left_out[reason] += 1
            if reason == MUST_FAIL and _has_score(result):
                group.must_fail.append(float(result.score))  # type: ignore[arg-type]
            continue
        assert result.score is not None, "rows without a score were left out"  # noqa: S101
        group.now.add(result.threshold)
        group.scopes.add(result.scope)
        (group.good if verdicts is None or verdicts[index] else group.bad).append(result.score)
    ordered = dict(sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or "")))
    return Groups(profile, by_task, labels is not None, ordered)


def _profile(named: Sequence[tuple[str, CheckResult]]) -> str:
    runs: dict[str, str] = {}
    for run, result in named:
        runs.setdefault(result.profile, run)
    if not runs:
        raise EditEvalError("the runs hold no results")
    if len(runs) > 1:
        (first, run), (second, other) = list(runs.items())[:2]
        raise EditEvalError(
            f"a threshold belongs to one profile, but {run} is of {first!r} and {other} of {second!r}; give runs of one"
        )
    return next(iter(runs))


def _check_identities(named: Sequence[tuple[str, CheckResult]]) -> None:
    """Scores of two versions or checkpoints of a metric are not on one scale."""
    first: dict[str, tuple[str, CheckResult]] = {}
    for run, result in named:
        other, before = first.setdefault(result.metric, (run, result))
        for column in ("metric_version", "fingerprint", "higher_is_better"):
            values = getattr(before, column), getattr(result, column)
            if values[0] != values[1]:
                what = column.removeprefix("metric_")
                found = f"{values[0]!r} in {other} and {values[1]!r} in {run}"
                raise EditEvalError(f"the scores of {result.metric!r} cannot be put together: its {what} is {found}")


def _why_not_scored(result: CheckResult) -> str | None:
    """Why a result has no score that a threshold could be chosen from."""
    if result.control is not None:
        return "control"
    if result.expect != "pass":
        return MUST_FAIL
    if result.outcome in (Outcome.SOFT_FAILURE, Outcome.ERROR):
        return str(result.outcome)
    return None if _has_score(result) else "no finite score"


def _has_score(result: CheckResult) -> bool:
    judged = result.outcome in (Outcome.PASSED, Outcome.FAILED)
    return judged and result.score is not None and math.isfinite(result.score)


def _again(result: CheckResult, seen: set[tuple[object, ...]]) -> str | None:
    if result.edited_digest is None:
        return None
    edit = (result.key, result.candidate, result.edited_digest, result.score)
    if edit in seen:
        return "scored again"
    seen.add(edit)
    return None
