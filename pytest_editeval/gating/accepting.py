"""A run becomes the baseline of the next release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.gating.baseline import Accepted, Baseline, baseline_of, metric_of, mismatches
from pytest_editeval.gating.changes import Change, change, largest_first
from pytest_editeval.gating.rows import Rows, profile_of, sort_out
from pytest_editeval.results import CheckResult, Outcome


@dataclass(frozen=True)
class Changes:
    """What accepting a run does to a baseline; checks by `CheckResult.key`.

    `better` and `worse` have the largest first. `not_compared` are checks whose inputs, metric version or checkpoints
    changed, or whose score is not finite: they have a new score that says nothing beside the old one. `kept` has no
    score in this run. `failing` checks are accepted, although they did not pass.
    """

    new: tuple[str, ...]
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    equal: tuple[str, ...]
    now_soft: tuple[str, ...]
    no_longer_soft: tuple[str, ...]
    not_compared: tuple[str, ...]
    kept: tuple[str, ...]
    pruned: tuple[str, ...]
    failing: tuple[str, ...]
    left_out: Rows


def accept(run: Sequence[CheckResult], old: Baseline | None, prune: bool, path: Path) -> tuple[Baseline, Changes]:
    """The baseline with the scores of a run of one candidate, to be written to `path`, and what changed.

    A score that this run has none for is kept, and deleted with `prune`. An `EditEvalError` refuses a run without
    scores, one of another profile, and one that would leave scores of another metric version or of other checkpoints
    beside its own.
    """
    rows = sort_out(run)
    if not rows.scored:
        raise EditEvalError("nothing to accept: the run has no score beside those of controls")
    new = baseline_of(rows, profile_of(run, "the run"), path)
    old = old if old is not None else Baseline(path, new.profile, {}, {})
    if old.profile != new.profile:
        lines = mismatches(old, new.profile, {})
        raise EditEvalError(f"{display_path(old.path)}: {lines[0]}; a profile has a baseline file of its own")
    absent = {key: accepted for key, accepted in old.scores.items() if key not in new.scores}
    kept = {} if prune else absent
    _check_mixture(old, new, kept)
    scores = kept | dict(new.scores)
    metrics = {**old.metrics, **new.metrics}
    used = {metric_of(key) for key in scores}
    baseline = Baseline(path, new.profile, {metric: part for metric, part in metrics.items() if metric in used}, scores)
    return baseline, _changes(old, new, rows, tuple(sorted(kept)), tuple(sorted(absent)) if prune else ())


def _check_mixture(old: Baseline, new: Baseline, kept: dict[str, Accepted]) -> None:
    for metric, identity in new.metrics.items():
        staying = [key for key in kept if metric_of(key) == metric]
        if staying and (lines := mismatches(old, old.profile, {metric: identity})):
            message = f"{lines[0]}, and scores that this run does not have would stay ({len(staying)}: {min(staying)}"
            rest = ", ...)" if len(staying) > 1 else ")"
            raise EditEvalError(f"{display_path(old.path)}: {message}{rest}; run these too, or drop them with --prune")


def _changes(old: Baseline, new: Baseline, rows: Rows, kept: tuple[str, ...], pruned: tuple[str, ...]) -> Changes:
    changed: list[Change] = []
    names: dict[str, list[str]] = {name: [] for name in ("new", "now_soft", "no_longer_soft", "equal", "not_compared")}
    for result in sorted(rows.scored, key=lambda result: result.key):
        key = result.key
        before, after = old.scores.get(key), new.scores[key]
        if before is None:
            names["new"].append(key)
        elif before.inputs != after.inputs or old.metrics[result.metric] != new.metrics[result.metric]:
            names["not_compared"].append(key)
        elif before.score == after.score:
            names["equal"].append(key)
        elif after.score is None:
            names["now_soft"].append(key)
        elif before.score is None:
            names["no_longer_soft"].append(key)
        elif math.isfinite(before.score) and math.isfinite(after.score):
            changed.append(change(key, before.score, after.score, result.higher_is_better))
        else:
            names["not_compared"].append(key)
    return Changes(
        **{name: tuple(keys) for name, keys in names.items()},
        better=tuple(largest_first(one for one in changed if one.gain > 0)),
        worse=tuple(largest_first(one for one in changed if one.gain < 0)),
        kept=kept,
        pruned=pruned,
        failing=tuple(sorted(result.key for result in rows.scored if result.outcome is Outcome.FAILED)),
        left_out=rows,
    )
