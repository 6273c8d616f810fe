"""The row of a check in every report: as long as nothing was measured, and with its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_editeval.candidates import DESTROYED, Edit, Variant
from pytest_editeval.checks import EditCase, ResolvedCheck
from pytest_editeval.digests import package_versions
from pytest_editeval.errors import display_path
from pytest_editeval.locations import display
from pytest_editeval.needs import ImageRef
from pytest_editeval.registry import get_metric
from pytest_editeval.results import CheckResult, Outcome, Repeat, Score


class Scored(NamedTuple):
    """A score, its source and its edited image; `remembered`: it came from the store of an earlier run."""

    score: Score
    source: ImageRef
    edited: ImageRef
    remembered: bool


def unscored(
    node_id: str, case: EditCase, variant: Variant, resolved: ResolvedCheck, edit: Edit, profile: str, device: str
) -> CheckResult:
    """The row of a check before anything was measured: an error, until a score takes its place."""
    check, spec = resolved.check, get_metric(resolved.check.metric)
    return CheckResult(
        node_id=node_id,
        file=display_path(case.path),
        line=check.position.line,
        case=case.id,
        candidate=variant.candidate.name if variant.candidate else None,
        control=variant.control,
        metric=spec.name,
        metric_version=spec.version,
        instruction=case.instruction,
        task=case.task,
        tags=case.tags,
        source=display(case.source),
        edited=shown(edit),
        source_size=None,
        edited_size=None,
        source_digest=None,
        edited_digest=None,
        scope=resolved.scope,
        coords=resolved.coords,
        parameters=resolved.parameters | (case.bands.parameters if case.bands else {}),
        expect="fail" if variant.control == DESTROYED else check.expect,
        threshold=resolved.threshold,
        higher_is_better=spec.higher_is_better,
        score=None,
        margin=None,
        outcome=Outcome.ERROR,
        reason=None,
        detail=None,
        quota=case.repeat.quota if case.repeat and not variant.control else None,
        repeats=(),
        covered_by=None,
        baseline=None,
        tolerance=check.tolerance,
        noise=None,
        within_noise=False,
        profile=profile,
        fingerprint=None,
        device=device,
        versions=package_versions(),
        models={},
        duration=0.0,
        remembered=False,
    )


def as_reported(row: CheckResult, when: str, detail: str) -> CheckResult:
    """The row of a check that pytest reports as failed: what nobody meant to fail is an error, whatever its score.

    So ends a check that scored well, and that a strict xfail, another plugin's hook or a fixture's teardown failed. Its
    score stays, as the number that it is; nothing is judged by it.
    """
    if row.outcome is Outcome.PASSED or (when == "teardown" and row.outcome is Outcome.SOFT_FAILURE):
        return replace(row, outcome=Outcome.ERROR, detail=detail, reason=None, margin=None)
    return row


def shown(edit: Edit) -> str:
    """Where the edit is, empty as long as it is still to be made."""
    return display(edit.location) if edit.location is not None else ""


def with_images(row: CheckResult, source: ImageRef, edited: ImageRef) -> CheckResult:
    """The row of a check whose images are open."""
    return replace(
        row,
        source_size=source.size,
        source_digest=source.digest,
        edited_size=edited.size,
        edited_digest=edited.digest,
    )


def with_scores(row: CheckResult, edits: Sequence[Edit], scores: Sequence[Scored]) -> CheckResult:
    """The row with its scores, still to be judged: of several edits the first one stands for the check."""
    repeats = tuple(
        Repeat(
            seed=edit.seed,
            edited=shown(edit),
            score=scored.score.value,
            margin=None,
            outcome=Outcome.PASSED,
            reason=str(scored.score.soft_failure.reason) if scored.score.soft_failure else None,
            detail=scored.score.soft_failure.detail if scored.score.soft_failure else None,
            edited_digest=scored.edited.digest,
        )
        for edit, scored in zip(edits, scores, strict=True)
    )
    first = scores[0]
    return replace(
        with_images(row, first.source, first.edited),
        edited=repeats[0].edited,
        score=first.score.value,
        outcome=Outcome.PASSED,
        reason=repeats[0].reason,
        detail=repeats[0].detail,
        repeats=repeats if row.quota is not None else (),
        remembered=all(scored.remembered for scored in scores),
        details=dict(first.score.details),
    )


def of_deciding(row: CheckResult, scores: Sequence[Scored]) -> CheckResult:
    """A judged row with what explains the score that decides it."""
    if not row.repeats:
        return row
    index = next(index for index, repeat in enumerate(row.repeats) if repeat.edited == row.edited)
    deciding = scores[index]
    return replace(row, edited_size=deciding.edited.size, details=dict(deciding.score.details))
