"""What may come of any bytes in any file that users hand over: data, or an error of a line with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_editeval.cases import CaseFileError, load_cases
from pytest_editeval.checks import CaseFile, EditCase, resolve_check
from pytest_editeval.config import load_profile
from pytest_editeval.errors import EditEvalError, LocatedError, display_path
from pytest_editeval.gating.baseline_file import read_baseline_file
from pytest_editeval.gating.labels import read_labels
from pytest_editeval.gating.noise import read_noise
from pytest_editeval.results_file import read_results
from pytest_editeval.threshold_edits import edit_thresholds

BASE_FILE = "base.yaml"
BASE_TEXT = "pipes: {clip-pipe: {model_path: ./clip}, b: '${a.pipes}'}\na: [1, '${profile}']\nloop: '${loop}'\n"
EMBEDDED = load_profile(None)

_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def cases(path: Path) -> None:
    """Case files, completed by a profile as at collection."""
    for error in mistakes_of(load_cases(path)):
        check_error(error, path)


def thresholds(path: Path) -> None:
    """Thresholds changed in a case file, which read as before but for them."""
    edit_thresholds(path.read_bytes(), path, "embedded", lambda _, check: 0.25)


def configuration(path: Path) -> None:
    """Configuration files with references, also into a base beside them."""
    load_profile(path)


def baseline(path: Path) -> None:
    """Baseline files."""
    read_baseline_file(path)


def noise(path: Path) -> None:
    """Noise files."""
    read_noise(path)


def results(path: Path) -> None:
    """Results files."""
    read_results(path)


def labels(path: Path) -> None:
    """Labels for calibration."""
    read_labels(path)


TARGETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cases": (cases, "any.edit.yaml"),
    "thresholds": (thresholds, "any.edit.yaml"),
    "configuration": (configuration, "any.yaml"),
    "baseline": (baseline, "baseline.json"),
    "noise": (noise, "noise.json"),
    "jsonl": (results, "any.jsonl"),
    "csv": (results, "any.csv"),
    "parquet": (results, "any.parquet"),
    "labels": (labels, "labels.csv"),
}
"""By name: the reader, and what its file is called."""


def run(target: str, content: bytes, folder: Path) -> bool:
    """Whether the reader takes the content; raises whatever it must not raise, and `AssertionError` for a bad error."""
    reader, name = TARGETS[target]
    path = folder / name
    path.write_bytes(content)
    try:
        reader(path)
    except EditEvalError as error:
        check_error(error, path)
        return False
    return True


def check_error(error: EditEvalError, path: Path) -> None:
    """Asserts that an error is a line, or two with its hint, that can be printed, and begins with a place of a file."""
    if isinstance(error, CaseFileError):
        for one in error.errors:
            check_error(one, path)
        return
    text = str(error)
    line, *hints = text.split("\n")
    assert len(hints) <= 1, text
    assert all(hint.startswith("  ") for hint in hints), text
    assert not _NOT_SHOWN.search(text.replace("\n", "")), ascii(text)
    assert len(text) < 10_000
    if isinstance(error, LocatedError):
        position = error.position
        assert line.startswith(f"{display_path(position.path)}:{position.line}:{position.column}: "), text
        lines = _LINE_BREAK.split(position.path.read_bytes().decode("utf-8-sig", "replace"))
        assert 1 <= position.line <= len(lines) + 1, text
        longest = len(lines[position.line - 1]) if position.line <= len(lines) else 0
        assert 1 <= position.column <= longest + 2, text  # after the end, and after a byte order mark
    else:
        assert path.name in line, text


def mistakes_of(file: CaseFile) -> Iterator[EditEvalError]:
    """Every mistake that the file or the embedded profile leaves in the checks of a file."""
    for case in file.cases:
        if not isinstance(case, EditCase):
            yield from case.errors
            continue
        for check in case.checks:
            try:
                if hasattr(check, "errors"):
                    yield from check.errors
                else:
                    resolve_check(case, check, EMBEDDED)
            except EditEvalError as error:
                yield error
