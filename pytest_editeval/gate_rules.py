"""Gates: rules over the scores of many checks, as case files and configurations write them.

A gate is read and checked here; `pytest_editeval.gating` judges it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationError

from pytest_editeval.errors import LocatedError, Position, display_path, known_names
from pytest_editeval.registry import metrics
from pytest_editeval.results import CheckResult
from pytest_editeval.validation import (
    MAX_MISTAKES,
    Line,
    Settings,
    describe,
    dotted,
    mistake,
    no_boolean,
    number_or_mapping,
    problems,
    unknown_within,
)
from pytest_editeval.yamlfile import DataPath

SCORE_STATISTICS = ("mean", "median", "min", "max")
RATES = ("pass_rate", "soft_failure_rate")
PASS_RATE, SOFT_FAILURE_RATE = RATES
BASELINE = "baseline"
SLICES = ("task", "tag", "metric", "file", "scope")
WHERE = (*SLICES, "candidate", "case")

_PERCENTILE = re.compile(r"p(100|\d{1,2}(?:\.\d+)?)")

Slice = Literal["task", "tag", "metric", "file", "scope"]
Mistake = TypeVar("Mistake", bound=LocatedError)


@dataclass(frozen=True)
class Gate:
    """A rule over many scores, as it is written.

    Either `statistic` (of the scores of `metric`, or a rate) is held against `threshold`, or the scores of `metric`
    against those of `versus`: ``"baseline"`` or the name of a candidate. A number may be one per profile. `file` is the
    case file whose checks the gate is about, as `CheckResult.file` has it; `None` is every file.
    """

    statistic: str | None
    metric: str | None
    threshold: float | Mapping[str, float] | None
    confidence: float | None
    by: Slice | None
    where: tuple[tuple[str, str], ...]
    versus: str | None
    no_worse_than: float | Mapping[str, float]
    name: str | None
    file: str | None
    position: Position

    def to_data(self) -> dict[str, Any]:
        """Plain data that `from_data` turns back into an equal gate."""
        position = (str(self.position.path), self.position.line, self.position.column)
        return {**dataclasses.asdict(self), "position": position}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Gate:
        """The gate that `to_data` wrote."""
        path, line, column = data["position"]
        where = tuple((key, value) for key, value in data["where"])
        return cls(**{**data, "where": where, "position": Position(Path(path), line, column)})

    def about(self, result: CheckResult) -> bool:
        """Whether the gate is about a check: controls, which are made to score badly, are never averaged."""
        if result.control is not None:
            return False
        if result.expect != "pass" and self.statistic != SOFT_FAILURE_RATE:
            return False
        if self.metric not in (None, result.metric) or self.file not in (None, result.file):
            return False
        return all(value in values_of(result, key) for key, value in self.where)

    def decides(self, result: CheckResult) -> bool:
        """Whether the gate takes over the decision on a check: a failing one is the gate's business."""
        return self.statistic == PASS_RATE and self.about(result)


def values_of(result: CheckResult, key: str) -> tuple[str, ...]:
    """What a check has under a key of `by` or `where`: one value, for ``tag`` any number, none where it is not set."""
    if key == "tag":
        return result.tags
    value = getattr(result, key)
    return () if value is None else (str(value),)


def number_for(value: float | Mapping[str, float] | None, gate: Gate, profile: str) -> float:
    """A gate's number under a profile; a `LocatedError` names the profiles that it has one for."""
    if isinstance(value, Mapping):
        if profile not in value:
            message = f"the gate has no threshold for profile {profile!r}"
            raise LocatedError(gate.position, message, f"it has thresholds for: {', '.join(sorted(value))}")
        return value[profile]
    assert value is not None, "read_gates asks for it"  # noqa: S101
    return value


# Not strict: a reference in a configuration (`${env:NAME:5}`) gives text.
GateNumber = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(no_boolean)]
GateNumbers = Annotated[
    Annotated[GateNumber, Tag("<number>")] | Annotated[dict[str, GateNumber], Field(min_length=1), Tag("<mapping>")],
    Discriminator(number_or_mapping),
]
Confidence = Annotated[float, Field(ge=0.5, lt=1), BeforeValidator(no_boolean)]


def _statistic(value: str) -> str:
    if value in (*SCORE_STATISTICS, *RATES) or _PERCENTILE.fullmatch(value):
        return value
    known = ", ".join((*SCORE_STATISTICS, "a percentile such as p10", PASS_RATE))
    raise mistake(f"must be {known} or {SOFT_FAILURE_RATE}, found {describe(value)}")


def _plain_text(value: object) -> object:
    if value is None or isinstance(value, dict | list | tuple | bool):
        raise mistake(f"must be a plain value, found {describe(value)}")
    return str(value)


class GateFields(Settings):
    """A rule over the scores of many checks."""

    name: Line | None = Field(None, description="How reports call the gate.")
    metric: str | None = Field(None, description="The metric whose scores, or checks, the gate is about.")
    statistic: Annotated[str, AfterValidator(_statistic)] | None = Field(
        None, description="mean, median, min, max, a percentile (p10), pass_rate, or soft_failure_rate."
    )
    threshold: GateNumbers | None = Field(
        None, description="What the statistic must reach, in the metric's direction: a number, or one per profile."
    )
    confidence: Confidence | None = Field(
        None, description="The one-sided bound at this confidence must reach the threshold, not only the estimate."
    )
    by: Slice | None = Field(None, description="Every slice has to pass by itself.")
    where: dict[str, Annotated[str, BeforeValidator(_plain_text)]] | None = Field(
        None, description="Only checks that have these values."
    )
    versus: Line | None = Field(None, description="`baseline`, or a candidate's name: paired on the same cases.")
    no_worse_than: GateNumbers | None = Field(
        None, description="By how much the mean may be worse, in the metric's units; 0 by default."
    )


def read_gates(
    data: Any, place: Callable[[DataPath, bool], Position], error: type[Mistake], *, of_file: bool
) -> tuple[tuple[Gate, ...], list[Mistake]]:
    """The gates of a block, and every mistake in it.

    `place` says where the value at a path below the block (or with true its key) is written. `of_file`: they are about
    the checks of the file that they are written in.
    """
    if data is None:
        return (), []
    if not isinstance(data, list):
        return (), [error(place((), False), f"'gates' must be a list, found {describe(data)}")]
    gates: list[Gate] = []
    errors: list[Mistake] = []
    for index, raw in enumerate(data):
        if len(errors) > MAX_MISTAKES:
            break
        mistakes = list(islice(_mistakes(raw, index, place, error), MAX_MISTAKES))
        errors += mistakes
        if not mistakes:
            position = place((index,), False)
            gates.append(_gate(GateFields.model_validate(raw), position, of_file))
    return tuple(gates), errors


def _gate(fields: GateFields, position: Position, of_file: bool) -> Gate:
    return Gate(
        statistic=fields.statistic,
        metric=fields.metric,
        threshold=fields.threshold,
        confidence=fields.confidence,
        by=fields.by,
        where=tuple((fields.where or {}).items()),
        versus=fields.versus,
        no_worse_than=0.0 if fields.no_worse_than is None else fields.no_worse_than,
        name=fields.name,
        file=display_path(position.path) if of_file else None,
        position=position,
    )


def _mistakes(
    raw: Any, index: int, place: Callable[[DataPath, bool], Position], error: type[Mistake]
) -> Iterator[Mistake]:
    context = f" in gates[{index}]"
    try:
        fields = GateFields.model_validate(raw)
    except ValidationError as invalid:
        for problem in problems(invalid, raw, context, lambda path: ("key", () if path else GateFields.model_fields)):
            yield error(place((index, *problem.path), problem.on_key), problem.message, problem.hint)
        return

    yield from _unknown_names(fields, index, place, error)
    if (fields.statistic is None) == (fields.versus is None):
        found = "has both 'statistic' and 'versus'" if fields.statistic else "needs a 'statistic' or a 'versus'"
        yield error(place((index,), False), f"gates[{index}] {found}", "keep one" if fields.statistic else None)
        return
    if fields.metric is None and fields.statistic not in RATES:
        what = f"the {fields.statistic}" if fields.statistic else "a comparison"
        yield error(place((index,), False), f"{what}{context} needs a 'metric'", known_names(metrics()))
    if fields.versus is not None and fields.threshold is not None:
        message = f"'threshold'{context} goes with a 'statistic'"
        yield error(place((index, "threshold"), True), message, "write 'no_worse_than'")
    if fields.statistic is not None and fields.no_worse_than is not None:
        message = f"'no_worse_than'{context} goes with 'versus'"
        yield error(place((index, "no_worse_than"), True), message, "write 'threshold'")
    if fields.statistic is not None and fields.threshold is None:
        yield error(place((index,), False), f"gates[{index}] has no 'threshold'")
    if fields.confidence is not None and fields.statistic is not None and _is_extreme(fields.statistic):
        message = f"'confidence'{context} does not go with {fields.statistic!r}: a sample does not bound the extremes"
        yield error(place((index, "confidence"), True), message, "remove it, or write a percentile such as p5 or p95")
    if fields.versus not in (None, BASELINE) and (fields.where or {}).get("candidate") == fields.versus:
        message = f"gates[{index}] compares candidate {fields.versus!r} with itself"
        yield error(place((index, "where", "candidate"), False), message)
    if fields.statistic in RATES:
        for path, number in _numbers("threshold", fields.threshold):
            if not 0 <= number <= 1:
                message = f"{dotted(path)}{context} must be from 0 to 1 for a rate, found {number:g}"
                yield error(place((index, *path), False), message)
    for path, number in _numbers("no_worse_than", fields.no_worse_than):
        if number < 0:
            message = f"{dotted(path)}{context} must be at least 0, found {number:g}"
            yield error(place((index, *path), False), message)


def _unknown_names(
    fields: GateFields, index: int, place: Callable[[DataPath, bool], Position], error: type[Mistake]
) -> Iterator[Mistake]:
    context, where = f" in gates[{index}]", fields.where or {}
    for path, name in ((("metric",), fields.metric), (("where", "metric"), where.get("metric"))):
        if name is not None and name not in metrics():
            message = unknown_within(context, "metric", name, metrics())
            yield error(place((index, *path), False), message, known_names(metrics()))
    for key in where:
        if key not in WHERE:
            message = unknown_within(f" of 'where'{context}", "key", key, WHERE)
            yield error(place((index, "where", key), True), message, known_names(WHERE))


def _is_extreme(statistic: str) -> bool:
    found = _PERCENTILE.fullmatch(statistic)
    return statistic in ("min", "max") or (found is not None and float(found[1]) in (0, 100))


def _numbers(key: str, value: float | dict[str, float] | None) -> Iterator[tuple[DataPath, float]]:
    """A gate's number, or those of its profiles, each with its path in the gate."""
    if isinstance(value, dict):
        yield from (((key, profile), number) for profile, number in value.items())
    elif value is not None:
        yield (key,), value
