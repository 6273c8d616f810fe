"""The controls of a suite's checks, as a run scored them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pytest_editeval.candidates import DESTROYED, NOTHING_DONE
from pytest_editeval.errors import EditEvalError
from pytest_editeval.gating.lint import End, Linted
from pytest_editeval.gating.matching import Files
from pytest_editeval.results import CheckResult
from pytest_editeval.suites import SuiteCheck

NO_ROW = "the results have no such control"
CHANGED = "its boxes, scope or parameters changed since the results were scored"

_Key = tuple[Path | None, str, str]


def linted_from(checks: Sequence[SuiteCheck], results: Sequence[CheckResult], profile: str) -> list[Linted]:
    """Each check with its rows; an `EditEvalError` when the results are of another profile, or hold no control."""
    others = sorted({row.profile for row in results if row.profile != profile})
    if others:
        raise EditEvalError(f"profile: the results have {others[0]!r}, the case files are judged with {profile!r}")
    if not any(row.control for row in results):
        raise EditEvalError(
            "the results hold no controls: score them with 'controls: auto', or leave out --results to score them here"
        )
    files = Files(list(dict.fromkeys(check.case.path for check in checks)))
    rows: defaultdict[_Key, list[CheckResult]] = defaultdict(list)
    for row in results:
        rows[files.of(row), row.case, row.metric].append(row)
    return [_linted(check, rows.get((check.case.path, check.case.id, check.metric), ())) for check in checks]


def _linted(check: SuiteCheck, rows: Sequence[CheckResult]) -> Linted:
    edits = tuple(row for row in rows if row.control is None and _same_inputs(check, row))
    return Linted(check, _end(check, rows, NOTHING_DONE), _end(check, rows, DESTROYED), edits)


def _end(check: SuiteCheck, rows: Sequence[CheckResult], control: str) -> End:
    row = next((row for row in rows if row.control == control), None)
    if row is None:
        return End(None, NO_ROW)
    if not _same_inputs(check, row):
        return End(None, CHANGED)
    if row.reason is not None or row.score is None:
        return End(None, f"{row.reason}: {row.detail}" if row.reason else row.detail or str(row.outcome))
    return End(row.score)


def _same_inputs(check: SuiteCheck, row: CheckResult) -> bool:
    resolved = check.resolved
    here = (resolved.scope, resolved.coords, resolved.parameters)
    return here == (row.scope, row.coords, dict(row.parameters))
