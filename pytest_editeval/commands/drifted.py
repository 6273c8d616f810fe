"""The checks of a suite, scored with different settings of the models."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace

from pytest_editeval.candidates import Edit
from pytest_editeval.check_rows import Scored, unscored, with_scores
from pytest_editeval.commands.edits import EditedCheck, why_none
from pytest_editeval.device import kind_of, resolve_device
from pytest_editeval.errors import EditEvalError, ImageError
from pytest_editeval.gating.drift import Measured
from pytest_editeval.gating.verdicts import settled
from pytest_editeval.profiles import Profile
from pytest_editeval.results import CheckResult, Score
from pytest_editeval.scoring.ahead import UNOPENED, Wanted
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.suite import open_editeval, score_all, wanted_score


def measure(profile: Profile, device: str, checks: Sequence[EditedCheck]) -> Measured:
    """Score and judge checks, as a run of pytest would; what could not be scored is an error, with its reason.

    Nothing is remembered from earlier runs, or for later ones.
    """
    measured = _measure(profile, device, checks)
    gc.collect()  # pipes and what they share know each other, and their weights would stay beside the next ones
    return measured


def _measure(profile: Profile, device: str, checks: Sequence[EditedCheck]) -> Measured:
    from pytest_editeval.vision.costs import forward_time, warm_up, weight_bytes

    with open_editeval(profile, device, in_turn=True) as editeval:
        asked = [_wanted(editeval, check, edit) for check in checks for edit in check.edits]
        models = editeval.scorer.backbones.values(), editeval.scorer.segmenters.values()
        warm_up(*models)
        started = forward_time.seconds
        outcomes = score_all(editeval, [one for one in asked if isinstance(one, Wanted)])
        found = iter([next(outcomes) if isinstance(one, Wanted) else one for one in asked])
        seconds = forward_time.seconds - started
        rows = [_row(profile, device, check, [next(found) for _ in check.edits]) for check in checks]
        devices = {kind_of(model.device) for group in models for model in group}
        return Measured(tuple(rows), seconds, weight_bytes(*models), tuple(sorted(devices)))


def _wanted(editeval: EditEval, check: EditedCheck, edit: Edit) -> Wanted | Exception:
    """What an edit asks for; where there is none, or the settings do not fit the checkpoint, why not."""
    if edit.location is None:
        return ImageError(why_none(edit))
    try:
        return wanted_score(editeval, check.check.resolved, check.check.case.source, edit.location)
    except EditEvalError as error:
        return error


def _row(profile: Profile, device: str, check: EditedCheck, outcomes: Sequence[Score | Exception]) -> CheckResult:
    own = check.check.case, check.variant, check.check.resolved, check.edits[0]
    row = unscored(check.node_id, *own, profile.name, resolve_device(None if device == "auto" else device))
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if errors:
        return replace(row, detail=(str(errors[0]) or repr(errors[0])).splitlines()[0])
    scores = [Scored(score, UNOPENED, UNOPENED, False) for score in outcomes if isinstance(score, Score)]
    return settled(with_scores(row, check.edits, scores))
