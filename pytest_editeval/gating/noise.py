"""The noise floor: what changes that do no harm do to each metric, measured once and kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from pytest_editeval.errors import FileError, display_path
from pytest_editeval.gating.identities import differences
from pytest_editeval.json_text import json_document
from pytest_editeval.results import MetricIdentity
from pytest_editeval.results_reader import read_text
from pytest_editeval.validation import Settings, describe, problems
from pytest_editeval.whole_file import written_whole

FORMAT = "pytest-editeval noise 1"
PERCENTILE = 95.0
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class MetricNoise:
    """What was measured for a metric, in its units, over `checks` scores.

    `disturbances` has the 95th percentile of the absolute change of the score under each, `None` where it was not
    measured; `noise` is the largest of them.
    """

    noise: float
    version: int
    fingerprint: str
    checks: int
    disturbances: Mapping[str, float | None]


@dataclass(frozen=True)
class NoiseFloor:
    """A noise file: the metrics of one profile. `path` is `None` until it is written."""

    path: Path | None
    profile: str
    metrics: Mapping[str, MetricNoise]


def metric_noise(
    version: int, fingerprint: str, checks: int, differences: Mapping[str, Sequence[float]]
) -> MetricNoise | None:
    """The noise of a metric from the changes of its scores under each disturbance, which may be none.

    The percentile is interpolated linearly between order statistics (numpy's default). `None` without any change
    measured: no noise is not noise 0.
    """
    percentiles = {
        name: float(np.percentile(np.abs(values), PERCENTILE)) if len(values) else None
        for name, values in differences.items()
    }
    measured = [value for value in percentiles.values() if value is not None]
    return MetricNoise(max(measured), version, fingerprint, checks, percentiles) if measured else None


def noise_of(floor: NoiseFloor | None, metric: str) -> float | None:
    """The noise of a metric; `None` where none was measured."""
    return floor.metrics[metric].noise if floor is not None and metric in floor.metrics else None


def mismatches(floor: NoiseFloor, profile: str, identities: Mapping[str, MetricIdentity]) -> list[str]:
    """One line per reason why the floor is not that of a run of `profile` and of these metrics; both are named."""
    own = {name: MetricIdentity(metric.version, metric.fingerprint) for name, metric in floor.metrics.items()}
    return differences((floor.profile, profile), own, identities, ("the noise file", "this run"))


def noise_text(floor: NoiseFloor) -> str:
    """The noise file: JSON, sorted, a line per number, every digit of each kept."""
    metrics = {
        name: {
            "checks": metric.checks,
            "disturbances": dict(sorted(metric.disturbances.items())),
            "fingerprint": metric.fingerprint,
            "noise": metric.noise,
            "version": metric.version,
        }
        for name, metric in sorted(floor.metrics.items())
    }
    data = {"format": FORMAT, "profile": floor.profile, "metrics": metrics}
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_noise(path: Path, floor: NoiseFloor) -> None:
    """Write the noise file, whole or not at all; `EditEvalError` when that cannot be done."""
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(noise_text(floor), "utf-8")
    except OSError as error:
        raise FileError(f"cannot write {display_path(path)}: {error.strerror}") from None


Noise = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Whole = Annotated[int, Field(ge=0, strict=True)]


class _Metric(Settings):
    checks: Whole
    disturbances: dict[str, Noise | None]
    fingerprint: str
    noise: Noise
    version: Whole


class _File(Settings):
    format: Literal["pytest-editeval noise 1"]
    profile: str
    metrics: dict[str, _Metric]


def read_noise(path: Path) -> NoiseFloor:
    """Read a noise file; an `EditEvalError` says in a line what is wrong with it."""
    data = _read(path)
    name = display_path(path)
    if not isinstance(data, dict) or not str(data.get("format", "")).startswith("pytest-editeval noise "):
        raise FileError(f'{name}: no noise file: it has no "format": "{FORMAT}"')
    if data["format"] != FORMAT:
        raise FileError(f"{name}: its format is {describe(data['format'])}, and this version reads {FORMAT!r}")
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        problem = next(problems(error, data, " in the noise file", lambda path: ("key", _known(len(path)))))
        raise FileError(f"{name}: {problem.message}; `editeval noise` measures it again") from None
    metrics = {metric: MetricNoise(**dict(entry)) for metric, entry in file.metrics.items()}
    return NoiseFloor(path, file.profile, metrics)


def _known(depth: int) -> Sequence[str]:
    return tuple((_Metric if depth else _File).model_fields)


def _read(path: Path) -> Any:
    name = display_path(path)
    if not os.path.lexists(path):
        raise FileError(f"noise file not found: {name}; `editeval noise --output {name} PATH...` makes it")
    return json_document(name, read_text(path, MAX_BYTES))
