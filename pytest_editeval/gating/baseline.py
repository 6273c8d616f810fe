"""The accepted scores of the last release: what they are, when they can be compared, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_editeval.digests import digest_of
from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.gating.identities import differences, identities_of
from pytest_editeval.gating.rows import Rows
from pytest_editeval.results import CheckResult, MetricIdentity, Outcome


@dataclass(frozen=True)
class Accepted:
    """A score, `None` for a soft failure, and the digest of what was judged (`inputs_of`)."""

    score: float | None
    inputs: str


@dataclass(frozen=True)
class Baseline:
    """Accepted scores by `CheckResult.key`; all scores of a metric have one identity."""

    path: Path
    profile: str
    metrics: Mapping[str, MetricIdentity]
    scores: Mapping[str, Accepted]


def inputs_of(result: CheckResult) -> str:
    """Digest, 16 hexadecimal digits, of what was judged beside the edit and the models.

    The source, the region and the parameters; of a check of several edits also how many they are and have to pass,
    because they choose which edit's score is the check's.
    """
    parts: dict[str, object] = {
        "source": result.source_digest,
        "scope": result.scope,
        "coords": [[float(value) for value in box] for box in result.coords],
        "parameters": result.parameters,
    }
    if result.repeats:
        parts |= {"quota": result.quota, "repeats": len(result.repeats)}
    return digest_of(parts)[:16]


def baseline_of(rows: Rows, profile: str, path: Path) -> Baseline:
    """The scores of the rows that count, one for each check; `path` is where they come from."""
    name = display_path(path)
    node_ids: dict[str, str] = {}
    for result in rows.scored:
        first = node_ids.setdefault(result.key, result.node_id)
        if first != result.node_id:
            raise EditEvalError(f"{name} has two scores of {result.key}: {first} and {result.node_id}")
    return Baseline(
        path=path,
        profile=profile,
        metrics=identities_of(rows.scored, name),
        scores={result.key: Accepted(score_of(result), inputs_of(result)) for result in rows.scored},
    )


def score_of(result: CheckResult) -> float | None:
    """The score; `None` for a soft failure, whatever value stands for it."""
    return None if result.outcome is Outcome.SOFT_FAILURE else result.score


def metric_of(key: str) -> str:
    """The metric of a `CheckResult.key`."""
    return key.rpartition("::")[2]


def mismatches(
    baseline: Baseline,
    profile: str,
    identities: Mapping[str, MetricIdentity],
    names: tuple[str, str] = ("the baseline", "this run"),
) -> list[str]:
    """Why scores cannot be compared with the baseline's, a line for each difference; `names` are the sides'."""
    return differences((baseline.profile, profile), baseline.metrics, identities, names)


def check_alike(
    baseline: Baseline,
    profile: str,
    identities: Mapping[str, MetricIdentity],
    names: tuple[str, str],
    allow_mismatch: bool,
    details: Sequence[str] = (),
) -> list[str]:
    """The `mismatches` as lines to print; an `EditEvalError` with them, where there are any that are not allowed.

    `details` are what else differs, which alone is no reason not to compare.
    """
    found = mismatches(baseline, profile, identities, names)
    if found and not allow_mismatch:
        differences = "".join(f"\n  {line}" for line in (*found, *details))
        raise EditEvalError(f"{' and '.join(names)} were not measured alike (--allow-mismatch){differences}")
    return [f"not measured alike: {line}" for line in found] + [f"differs: {line}" for line in details]


def has_changed(baseline: Baseline, result: CheckResult) -> bool:
    """Whether the baseline has a score of the check that was made of other inputs."""
    accepted = baseline.scores.get(result.key)
    return accepted is not None and result.outcome is not Outcome.ERROR and accepted.inputs != inputs_of(result)


def comparable(baseline: Baseline, result: CheckResult) -> float | None:
    """The baseline's score of a check; `None` where it has none, a soft failure, no number, or one of other inputs."""
    accepted = baseline.scores.get(result.key)
    if accepted is None or accepted.score is None or has_changed(baseline, result):
        return None
    return accepted.score if math.isfinite(accepted.score) else None


def accepted_scores(baseline: Baseline, results: Iterable[CheckResult]) -> dict[str, float | None]:
    """The baseline's scores by `CheckResult.key`, without those of checks that have changed since."""
    changed = {result.key for result in results if has_changed(baseline, result)}
    return {key: accepted.score for key, accepted in baseline.scores.items() if key not in changed}
