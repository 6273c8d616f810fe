"""Which checks a gate is about, candidate by candidate and slice by slice, and why there are none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

from pytest_editeval.candidates import CONTROLS
from pytest_editeval.gate_rules import SOFT_FAILURE_RATE, Gate, values_of
from pytest_editeval.results import CheckResult

NO_VALUE = "(none)"
"""The slice of the checks that have no value under the key of `by`."""

_CANDIDATE = re.compile(r"\[([^\[\]]+)\]::[^:]+$")

Groups = Mapping[str | None, Sequence[CheckResult]]


def by_candidate(results: Sequence[CheckResult], not_run: Collection[str]) -> Groups:
    """The results of each candidate, one of whose checks none was run has none; without any, those of the files' edits.

    Beside candidates, what belongs to none are known bad edits, which are nobody's to answer for.
    """
    groups: dict[str | None, list[CheckResult]] = {}
    for result in results:
        groups.setdefault(result.candidate, []).append(result)
    for node_id in not_run:
        found = _CANDIDATE.search(node_id)
        if found and found[1] not in CONTROLS:
            groups.setdefault(found[1], [])
    if len(groups) > 1:
        groups.pop(None, None)
    return groups or {None: []}


def judged_candidates(gate: Gate, groups: Groups) -> list[str | None]:
    """The candidates that a gate holds for; one that others are held against is not held against itself."""
    asked = dict(gate.where).get("candidate")
    if asked is not None:
        return [asked]
    return [name for name in groups if gate.versus is None or name != gate.versus]


def slices_of(gate: Gate, checks: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    """The checks of each slice by its label; a check with several tags is in several.

    A rate of soft failures over all metrics holds for each by itself: a metric that is always soft must not hide
    among others.
    """
    by = gate.by
    if by is None and gate.statistic == SOFT_FAILURE_RATE and gate.metric is None:
        by = "metric"
    if by is None:
        return {"": list(checks)}
    slices: dict[str, list[CheckResult]] = {}
    for check in checks:
        for value in dict.fromkeys(values_of(check, by) or (NO_VALUE,)):
            slices.setdefault(f"{by}={value}", []).append(check)
    return dict(sorted(slices.items()))


def why_none(gate: Gate, checks: Sequence[CheckResult]) -> str:
    """Why a gate is about none of a candidate's checks: the first of its conditions that no check meets."""
    everything = dataclasses.replace(gate, metric=None, file=None, where=())
    checks = [check for check in checks if everything.about(check)]
    own = [("file", gate.file), ("metric", gate.metric), *gate.where]
    conditions = [(key, value) for key, value in own if value is not None]
    for key, value in conditions:
        there = {found for check in checks for found in values_of(check, key)}
        if value not in there:
            return nothing_has(key, value, there)
    return f"no check has all of: {', '.join(f'{key} {value!r}' for key, value in conditions)}"


def nothing_has(key: str, value: str, there: Collection[str]) -> str:
    """`no check has task 'colour_alter'; there are: color_alter, subject_remove`."""
    known = f"there are: {', '.join(sorted(there))}" if there else "there are none"
    return f"no check has {key} {value!r}; {known}"


def count_not_run(gate: Gate, candidate: str | None, groups: Groups, not_run: Collection[str]) -> int:
    """How many of the checks that were not run may be the gate's own, by what a node id says."""
    others = {*CONTROLS, *(name for name in groups if name is not None)} - {candidate, gate.versus}
    count = 0
    for node_id in not_run:
        found = _CANDIDATE.search(node_id)
        file, _, rest = node_id.partition("::")
        count += not (
            (gate.metric is not None and rest.rpartition("::")[2] != gate.metric)
            or (gate.file is not None and PurePath(file).name != PurePath(gate.file).name)
            or (found is not None and found[1] in others)
        )
    return count
