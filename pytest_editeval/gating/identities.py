"""With what scores were measured, and whether two sides were measured alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult, MetricIdentity

UNKNOWN = "unknown"


def identities_of(results: Iterable[CheckResult], name: str) -> dict[str, MetricIdentity]:
    """The identity of each metric; an `EditEvalError` where rows of one metric have two. `name` is the file's."""
    found: dict[str, MetricIdentity] = {}
    for result in results:
        own = MetricIdentity(result.metric_version, result.fingerprint or UNKNOWN)
        first = found.setdefault(result.metric, own)
        if own != first:
            raise EditEvalError(f"{name} mixes scores of {result.metric}: {_difference(first, own)}")
    return found


def differences(
    profiles: tuple[str, str],
    one: Mapping[str, MetricIdentity],
    other: Mapping[str, MetricIdentity],
    names: tuple[str, str],
) -> list[str]:
    """A line for each reason why scores of two sides cannot be compared; both are named.

    A metric that one side lacks is no reason.
    """
    lines = []
    if profiles[0] != profiles[1]:
        lines.append(f"profile: {names[0]} has {profiles[0]!r}, {names[1]} {profiles[1]!r}")
    for metric in sorted(one.keys() & other.keys()):
        if one[metric] != other[metric]:
            lines.append(f"{metric}: {_difference(one[metric], other[metric])}")
    return lines


def _difference(one: MetricIdentity, other: MetricIdentity) -> str:
    parts = [f"metric version {one.version} against {other.version}"] if one.version != other.version else []
    if one.fingerprint != other.fingerprint:
        parts.append(f"checkpoints {_short(one, other)} against {_short(other, one)}")
    return ", ".join(parts)


def _short(one: MetricIdentity, other: MetricIdentity) -> str:
    """As much of a fingerprint as tells it from the other: an object metric's has two parts."""
    text, beside = one.fingerprint, other.fingerprint
    length = next((end for end in range(8, len(text)) if text[:end] != beside[:end]), len(text))
    return text[:length] + ("…" if length < len(text) else "")
