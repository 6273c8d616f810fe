"""What a check ends in, as plain data: it crosses process boundaries and is what every report reads."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


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

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> SoftFailure:
        """The soft failure that `Score.to_data` wrote; raises `ValueError` for anything else."""
        if not isinstance(data, Mapping) or data.keys() != {"reason", "detail"} or not isinstance(data["detail"], str):
            raise ValueError("a soft failure has a reason and a detail")
        return cls(Reason(data["reason"]), data["detail"])


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
        """The score that `to_data` wrote; raises `ValueError` for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, Mapping) or data.keys() != names:
            raise ValueError(f"a score has {', '.join(sorted(names))}")
        metric, value, failure, details = (data[name] for name in ("metric", "value", "soft_failure", "details"))
        if not isinstance(metric, str) or not isinstance(details, Mapping):
            raise ValueError("a score has a metric's name, and details")
        finite = type(value) in (int, float) and abs(value) <= sys.float_info.max
        if not finite and (value is not None or failure is None):
            raise ValueError("a score's value is a finite number, or none of a soft failure")
        return cls(metric, value, None if failure is None else SoftFailure.from_data(failure), details)


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


class MetricIdentity(NamedTuple):
    """With what the scores of a metric were measured: its version, and the fingerprint of the checkpoints."""

    version: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """One of several edits of a check: by its seed, with its own score."""

    seed: int
    edited: str
    score: float | None
    margin: float | None
    outcome: Outcome
    reason: str | None = None
    detail: str | None = None
    edited_digest: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One row of every report: what was checked, what came out, and with what it was measured.

    A check of several edits (`repeats`, of which `quota` have to pass) has the score that decides it: with 4 of 5 to
    pass, the fourth best.
    """

    node_id: str
    file: str
    line: int
    case: str
    candidate: str | None
    control: str | None
    metric: str
    metric_version: int
    instruction: str
    task: str | None
    tags: tuple[str, ...]
    source: str
    edited: str
    source_size: tuple[int, int] | None
    edited_size: tuple[int, int] | None
    source_digest: str | None
    edited_digest: str | None
    scope: str | None
    coords: tuple[tuple[float, float, float, float], ...]
    parameters: Mapping[str, Any]
    expect: str
    threshold: float
    higher_is_better: bool
    score: float | None
    margin: float | None
    outcome: Outcome
    reason: str | None
    detail: str | None
    quota: int | None
    repeats: tuple[Repeat, ...]
    covered_by: str | None
    baseline: float | None
    tolerance: float | None
    noise: float | None
    within_noise: bool
    profile: str
    fingerprint: str | None
    device: str
    versions: Mapping[str, str]
    models: Mapping[str, Any]
    duration: float
    remembered: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_score(self) -> bool:
        """Whether it ended with a score, on either side of the threshold."""
        return self.outcome in (Outcome.PASSED, Outcome.FAILED)

    @property
    def key(self) -> str:
        """The check whatever the candidate: what baselines and comparisons know it by."""
        return f"{self.node_id.split('::')[0]}::{self.case}::{self.metric}"

    @property
    def worsening(self) -> float | None:
        """By how much the score is worse than the baseline's, in the metric's units; negative where it is better."""
        if self.score is None or self.baseline is None or self.outcome is Outcome.SOFT_FAILURE:
            return None
        return self.baseline - self.score if self.higher_is_better else self.score - self.baseline

    @property
    def exceeds_tolerance(self) -> bool:
        """Whether the score is worse than the baseline's by more than the check tolerates."""
        if self.tolerance is None or self.worsening is None:
            return False
        return not self.worsening <= self.tolerance  # NaN is not within it

    def to_data(self) -> dict[str, Any]:
        """Plain data (JSON types) that `from_data` turns back into an equal result."""
        # Not `asdict`, which copies every value of the details one by one.
        data = {name: getattr(self, name) for name in self.__slots__}
        for name in ("parameters", "versions", "models", "details"):
            data[name] = dict(data[name])
        data["outcome"] = str(self.outcome)
        data["coords"] = [list(box) for box in self.coords]
        data["repeats"] = [{**dataclasses.asdict(repeat), "outcome": str(repeat.outcome)} for repeat in self.repeats]
        for name in ("tags", "source_size", "edited_size"):
            data[name] = None if data[name] is None else list(data[name])
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> CheckResult:
        """The result that `to_data` wrote; raises `TypeError` on a missing or an unknown column."""
        values = dict(data)
        values["outcome"] = Outcome(values["outcome"])
        values["coords"] = tuple(tuple(box) for box in values["coords"])
        values["repeats"] = tuple(
            Repeat(**{**repeat, "outcome": Outcome(repeat["outcome"])}) for repeat in values["repeats"]
        )
        for name in ("tags", "source_size", "edited_size"):
            values[name] = None if values[name] is None else tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class GateSlice:
    """What a gate found in one slice (`label` as ``task=color_alter``, empty where the gate has none).

    `value` is the statistic, or the mean worsening against `versus`; `bound` its one-sided bound on the bad side, or
    `interval` the two-sided interval that belongs to the test. `scored` is how many scores it is made of (pairs, for a
    comparison), `soft` and `errors` how many checks are not among them; `missing` of a comparison: on either side.
    `p_value` is corrected over the gates (Holm). `reason` says in words why it did not pass, where the numbers do not.
    """

    label: str
    value: float | None
    scored: int
    passed: bool
    soft: int = 0
    errors: int = 0
    missing: int = 0
    bound: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class GateResult:
    """The verdict of a gate for one candidate. `rule` is the gate in words, `place` where it is written."""

    node_id: str
    rule: str
    place: str
    candidate: str | None
    metric: str | None
    statistic: str | None
    threshold: float
    confidence: float | None
    higher_is_better: bool
    slices: tuple[GateSlice, ...]

    @property
    def passed(self) -> bool:
        """Every slice has to pass; a gate without any has nothing to show."""
        return bool(self.slices) and all(part.passed for part in self.slices)

    def to_data(self) -> dict[str, Any]:
        """Plain data (JSON types)."""
        return {**dataclasses.asdict(self), "passed": self.passed}
