"""What a check ends in, as plain data: it crosses process boundaries and is what every report reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SCORES_COMPUTED = "scores computed"
SCORES_REMEMBERED = "scores remembered"
FEATURES_REMEMBERED = "features remembered"
"""What is counted beside the images that were encoded, which are counted under the name of the model's family."""


class Reason(StrEnum):
    """Why a metric could not be computed: the closed list of reason codes (docs/soft-failures.md)."""

    NO_PATCH_SELECTED = "no-patch-selected"
    REGION_OUTSIDE_CROP = "region-outside-crop"
    BOX_OUTSIDE_IMAGE = "box-outside-image"
    ODD_BOX_COUNT = "odd-box-count"
    NO_BOXES = "no-boxes"
    EMPTY_OBJECT_MASK = "empty-object-mask"
    SEGMENTER_FAILED = "segmenter-failed"


@dataclass(frozen=True)
class SoftFailure:
    """A metric that could not be computed: the reason's code and, in words, what was found and the cure."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Score:
    """What a metric gave for one edit.

    `value` is the score, or the metric's soft-failure value (`None` or `0.0`) when `soft_failure` is set.
    `details` is plain data that explains the score: for patch metrics the scope, the patch grid, how many
    patches were compared and which of them cost the most; for object metrics the score of each pair.
    """

    metric: str
    value: float | None
    soft_failure: SoftFailure | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Plain data (JSON types) that `from_data` turns back into an equal score."""
        return dataclasses.asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Score:
        """The score that `to_data` wrote."""
        failure = data["soft_failure"]
        soft_failure = SoftFailure(Reason(failure["reason"]), failure["detail"]) if failure else None
        return cls(**{**data, "soft_failure": soft_failure})


class Outcome(StrEnum):
    """The verdict on a check."""

    PASSED = "passed"
    FAILED = "failed"
    SOFT_FAILURE = "soft failure"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """The outcome and, for a score that was held against a threshold, its margin (>= 0 is the good side)."""

    outcome: Outcome
    margin: float | None = None


@dataclass(frozen=True)
class CheckResult:
    """One row of every report: what was checked, what came out, and with what it was measured."""

    node_id: str
    file: str
    line: int
    case: str
    metric: str
    instruction: str
    task: str | None
    tags: tuple[str, ...]
    source: str
    edited: str
    source_size: tuple[int, int] | None
    edited_size: tuple[int, int] | None
    scope: str | None
    expect: str
    threshold: float
    higher_is_better: bool
    score: float | None
    margin: float | None
    outcome: Outcome
    reason: str | None
    detail: str | None
    profile: str
    fingerprint: str | None
    device: str
    duration: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Plain data (JSON types) that `from_data` turns back into an equal result."""
        data = dataclasses.asdict(self)
        data["outcome"] = str(self.outcome)
        for name in ("tags", "source_size", "edited_size"):
            data[name] = None if data[name] is None else list(data[name])
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> CheckResult:
        """The result that `to_data` wrote; raises `TypeError` on a missing or an unknown column."""
        values = dict(data)
        values["outcome"] = Outcome(values["outcome"])
        for name in ("tags", "source_size", "edited_size"):
            values[name] = None if values[name] is None else tuple(values[name])
        return cls(**values)
