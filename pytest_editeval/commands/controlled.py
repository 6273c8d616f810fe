"""The controls of a suite's checks, scored."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_editeval.candidates import DESTROYED, NOTHING_DONE
from pytest_editeval.controls import controls
from pytest_editeval.gating.lint import End, Linted
from pytest_editeval.results import Score
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.suite import score_all, wanted_score
from pytest_editeval.suites import SuiteCheck


def score_controls(editeval: EditEval, checks: Sequence[SuiteCheck]) -> list[Linted]:
    """Each check with what its metric gives for its controls, whatever the case's `controls` say."""
    wanted = []
    for check in checks:
        edits = controls(check.case, check.resolved)
        for control in (NOTHING_DONE, DESTROYED):
            wanted.append(wanted_score(editeval, check.resolved, check.case.source, edits[control]))
    ends = (_end(outcome) for outcome in score_all(editeval, wanted))
    return [Linted(check, next(ends), next(ends)) for check in checks]


def _end(outcome: Score | Exception) -> End:
    if isinstance(outcome, Exception):
        return End(None, (str(outcome) or repr(outcome)).splitlines()[0])
    if outcome.soft_failure is not None:
        return End(None, str(outcome.soft_failure))
    return End(outcome.value)
