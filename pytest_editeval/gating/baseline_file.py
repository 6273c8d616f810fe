"""The baseline file: JSON for a repository, sorted and one check a line, so that versions of it can be merged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pytest_editeval import __version__
from pytest_editeval.errors import FileError, display_path, quoted
from pytest_editeval.gating.baseline import Accepted, Baseline, baseline_of, metric_of
from pytest_editeval.gating.rows import of_candidate, profile_of, sort_out
from pytest_editeval.json_text import json_document
from pytest_editeval.results import MetricIdentity
from pytest_editeval.results_columns import encoded
from pytest_editeval.results_file import SUFFIXES, read_results
from pytest_editeval.results_reader import read_text
from pytest_editeval.validation import Settings, problems
from pytest_editeval.whole_file import written_whole

FORMAT_NAME = "pytest-editeval baseline"
FORMAT = f"{FORMAT_NAME} 1"
MAX_BYTES = 50_000_000  # 300,000 scores
KEYS = ("format", "profile", "metrics", "scores")


class _Metric(Settings):
    version: int
    fingerprint: str


class _Score(Settings):
    score: float | None
    inputs: str


class _File(Settings):
    format: str
    profile: str
    metrics: dict[str, _Metric]
    scores: dict[str, _Score]


def baseline_text(baseline: Baseline) -> str:
    """The text of the baseline file; `read_baseline` gives back an equal baseline."""
    return (
        "{\n"
        f'  "format": {_json(FORMAT)},\n'
        f'  "profile": {_json(baseline.profile)},\n'
        f'  "metrics": {_block(baseline.metrics)},\n'
        f'  "scores": {_block(baseline.scores)}\n'
        "}\n"
    )


def write_baseline(baseline: Baseline) -> None:
    """Write the baseline to its path, as a whole or not at all; raises `EditEvalError`."""
    try:
        with written_whole(baseline.path) as unfinished:
            unfinished.write_text(baseline_text(baseline), "utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"{display_path(baseline.path)}: cannot be written: {reason}") from None


def read_baseline(path: Path, candidate: str | None = None, *, partial: bool = False) -> Baseline:
    """The baseline in a baseline file, or the scores in a results file, of which `candidate` chooses one's.

    `partial`: of a run that has not ended too. Every fault of the file is an `EditEvalError` of one line; several
    candidates without a choice are one.
    """
    if path.suffix in SUFFIXES:
        name = display_path(path)
        results = of_candidate(read_results(path, partial=partial), candidate, name)
        return baseline_of(sort_out(results), profile_of(results, name), path)
    if candidate is not None:
        raise FileError(f"{display_path(path)} is a baseline file, and has no candidates; leave out {candidate!r}")
    return read_baseline_file(path)


def read_baseline_file(path: Path) -> Baseline:
    """The baseline in a file that `baseline_text` wrote; an `EditEvalError` says in one line what is wrong with it."""
    name, text = display_path(path), read_text(path, MAX_BYTES)
    data = json_document(name, text)
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(found, str) or not found.startswith(FORMAT_NAME):
        raise FileError(f'{name}: not a baseline: it does not begin with "format": {_json(FORMAT)}')
    if found != FORMAT:
        raise FileError(f"{name}: has the format {quoted(found)}; pytest-editeval {__version__} reads {FORMAT!r}")
    try:
        file = TypeAdapter(_File).validate_python(data)
    except ValidationError as error:
        problem = next(problems(error, data, "", lambda path: ("key", () if path else KEYS)))
        raise FileError(f"{name}: {problem.message}") from None
    metrics = {metric: MetricIdentity(part.version, part.fingerprint) for metric, part in file.metrics.items()}
    for key in file.scores:
        if metric_of(key) not in metrics:
            raise FileError(f"{name}: the metric of {quoted(key)} is not in 'metrics'")
    scores = {key: Accepted(part.score, part.inputs) for key, part in file.scores.items()}
    return Baseline(path, file.profile, metrics, scores)


def _block(parts: Mapping[str, MetricIdentity | Accepted]) -> str:
    if not parts:
        return "{}"
    lines = [f"    {_json(key)}: {_json(_plain(part))}" for key, part in sorted(parts.items())]
    return "{\n" + ",\n".join(lines) + "\n  }"


def _plain(part: MetricIdentity | Accepted) -> dict[str, Any]:
    values = part._asdict() if isinstance(part, MetricIdentity) else asdict(part)
    return {key: encoded(value) if isinstance(value, float) else value for key, value in values.items()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
