"""Stored scores judged again: thresholds and tolerances as the case files have them now, with no model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pytest_editeval.candidates import DESTROYED
from pytest_editeval.errors import EditEvalError, Position, display_path
from pytest_editeval.gating.baseline import Baseline, comparable, has_changed
from pytest_editeval.gating.matching import Files
from pytest_editeval.gating.rows import candidates_of
from pytest_editeval.gating.verdicts import settled
from pytest_editeval.registry import get_metric
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.suites import Suite, SuiteCheck

CheckId = tuple[Path, str, str]
"""The case file, the id of the case, and the metric."""


@dataclass(frozen=True)
class MissingCheck:
    """A check of the case files that the results have no row of."""

    node_id: str
    candidate: str | None
    position: Position


Row = TypeVar("Row", CheckResult, MissingCheck)


@dataclass(frozen=True)
class JudgedAgain:
    """The rows with their new verdicts; `gone` are rows of checks that are no longer written.

    `changed_inputs` are rows that the baseline has a score of other inputs for, `without_baseline` those that have a
    tolerance, and nothing to hold it against.
    """

    results: tuple[CheckResult, ...]
    missing: tuple[MissingCheck, ...]
    gone: tuple[CheckResult, ...]
    changed_inputs: tuple[CheckResult, ...]
    without_baseline: tuple[CheckResult, ...]

    def of(self, candidate: str) -> JudgedAgain:
        """What belongs to one candidate, or to none."""

        def own(rows: tuple[Row, ...]) -> tuple[Row, ...]:
            return tuple(row for row in rows if row.candidate in (candidate, None))

        return JudgedAgain(
            results=own(self.results),
            missing=own(self.missing),
            gone=own(self.gone),
            changed_inputs=own(self.changed_inputs),
            without_baseline=own(self.without_baseline),
        )


def judge_again(rows: Sequence[CheckResult], written: Suite, baseline: Baseline | None) -> JudgedAgain:
    """Judge the rows of a results file again.

    Without a `baseline` a row keeps the baseline's score that it was held against. A row that was scored with other
    boxes, scope, parameters or another version of the metric than are asked for now ends in an error. Raises
    `EditEvalError` where a row's file or check cannot be told.
    """
    files = Files(written.files)
    checks = {(check.case.path, check.case.id, check.metric): check for check in written.checks}
    results: list[CheckResult] = []
    gone: list[CheckResult] = []
    changed: list[CheckResult] = []
    names: dict[Path, str] = {}
    node_ids: dict[tuple[CheckId, str | None], str] = {}
    for row in rows:
        file = files.of(row)
        check = None if file is None else checks.get((file, row.case, row.metric))
        if file is None or check is None:
            gone.append(row)
            continue
        names.setdefault(file, row.node_id.split("::")[0])
        if row.control is not None:
            results.append(_judged(row, check))
            continue
        first = node_ids.setdefault(((file, row.case, row.metric), row.candidate), row.node_id)
        if first != row.node_id:
            raise EditEvalError(f"two rows are of one check: {first} and {row.node_id}")
        if baseline is not None:
            if has_changed(baseline, row):
                changed.append(row)
            row = replace(row, baseline=comparable(baseline, row))
        results.append(_judged(row, check))
    return JudgedAgain(
        results=tuple(results),
        missing=tuple(_missing(checks, node_ids, candidates_of(rows), names)),
        gone=tuple(gone),
        changed_inputs=tuple(changed),
        without_baseline=tuple(
            result
            for result in results
            if result.control is None and result.tolerance is not None and result.has_score and result.baseline is None
        ),
    )


def _judged(row: CheckResult, written: SuiteCheck) -> CheckResult:
    case, resolved, spec = written.case, written.resolved, get_metric(row.metric)
    current = replace(
        row,
        file=display_path(case.path),
        line=resolved.check.position.line,
        instruction=case.instruction,
        task=case.task,
        tags=case.tags,
        expect="fail" if row.control == DESTROYED else resolved.check.expect,
        threshold=resolved.threshold,
        higher_is_better=spec.higher_is_better,
        tolerance=resolved.check.tolerance,
        quota=case.repeat.quota if case.repeat and row.control is None else None,
        covered_by=None,
    )
    if row.outcome is Outcome.ERROR:
        return current
    if fault := _not_to_be_judged(row, written):
        return replace(current, score=None, margin=None, outcome=Outcome.ERROR, reason=None, detail=fault)
    return settled(current)


def _not_to_be_judged(row: CheckResult, written: SuiteCheck) -> str | None:
    """Why the score is not that of the check as it is written now."""
    case, resolved, spec = written.case, written.resolved, get_metric(row.metric)
    if row.metric_version != spec.version:
        return f"scored with version {row.metric_version} of the metric, which has version {spec.version}: run it again"
    parts = {
        "boxes": row.coords != resolved.coords,
        "scope": row.scope != resolved.scope,
        "parameters": dict(row.parameters) != resolved.parameters,
        "seeds": row.control is None
        and tuple(repeat.seed for repeat in row.repeats) != (case.repeat.seeds if case.repeat else ()),
    }
    changed = [name for name, differs in parts.items() if differs]
    return f"its {' and '.join(changed)} changed since it was scored: run it again" if changed else None


def _missing(
    checks: Mapping[CheckId, SuiteCheck],
    found: Collection[tuple[CheckId, str | None]],
    candidates: Sequence[str],
    names: Mapping[Path, str],
) -> Iterator[MissingCheck]:
    """Every candidate of the results needs a row of every check, unless the check has one of no candidate."""
    for key, check in checks.items():
        if (key, None) in found:
            continue
        file, case, metric = key
        for candidate in candidates or (None,):
            if (key, candidate) not in found:
                mark = f"[{candidate}]" if candidate else ""
                node_id = f"{names.get(file, display_path(file))}::{case}{mark}::{metric}"
                yield MissingCheck(node_id, candidate, check.resolved.check.position)
