"""Labels of edits, good or bad, from a CSV file that a person wrote."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_editeval.errors import FileError, display_path, known_names, unknown
from pytest_editeval.results import CheckResult
from pytest_editeval.results_reader import read_text

GOOD, BAD = LABELS = ("good", "bad")
NAMES = ("case", "check")
OPTIONAL = ("candidate", "metric")


@dataclass(frozen=True)
class Label:
    """One line: which checks it is about (`candidate` and `metric` may be open), and what a person said of the edit."""

    name: str
    candidate: str | None
    metric: str | None
    good: bool
    place: str


def read_labels(path: Path) -> list[Label]:
    """The labels of a CSV file with the columns ``case`` or ``check``, ``label``, and if need be those of `OPTIONAL`.

    ``check`` is a node id or `CheckResult.key`. Other columns, such as notes, are not read. Raises an `EditEvalError`.
    """
    shown = display_path(path)
    text = read_text(path)
    try:
        return list(_labels(csv.DictReader(io.StringIO(text, newline=""), strict=True), shown))
    except csv.Error as error:
        raise FileError(f"{shown}: not CSV: {error}") from None


def _labels(reader: csv.DictReader[str], shown: str) -> Iterator[Label]:
    columns = [column.strip() for column in reader.fieldnames or ()]
    names = [column for column in columns if column in NAMES]
    if len(names) != 1 or "label" not in columns:
        found = ", ".join(columns) or "nothing"
        raise FileError(f"{shown}:1: needs the columns 'label' and one of 'case', 'check'; found: {found}")
    if repeated := next((column for column in columns if columns.count(column) > 1), None):
        raise FileError(f"{shown}:1: the column {repeated!r} is there twice")
    reader.fieldnames = columns
    for row in reader:
        place = f"{shown}:{reader.line_num}"
        if None in row or None in row.values():
            raise FileError(f"{place}: has not {len(columns)} columns, as the first line has")
        cells = {column: cell.strip() for column, cell in row.items()}
        if cells["label"] not in LABELS:
            raise FileError(f"{place}: unknown label {cells['label']!r}; allowed: {', '.join(LABELS)}")
        if not cells[names[0]]:
            raise FileError(f"{place}: '{names[0]}' is empty")
        candidate, metric = (cells.get(column) or None for column in OPTIONAL)
        yield Label(cells[names[0]], candidate, metric, cells["label"] == GOOD, place)


def labelled(labels: Sequence[Label], results: Sequence[CheckResult]) -> dict[int, bool]:
    """Whether a person called the edit good, by the index of the result; results without a label are not in it.

    Raises an `EditEvalError` for a label of something that is not in the results, for one that fits several edits, of
    which it cannot be the verdict on all, and for two that contradict each other.
    """
    by_name: Mapping[str, list[int]] = _by_name(results)
    verdicts: dict[int, Label] = {}
    for label in labels:
        for index in _meant(label, results, by_name):
            other = verdicts.setdefault(index, label)
            if other.good != label.good:
                first, second = (GOOD if one.good else BAD for one in (other, label))
                raise FileError(f"{label.place}: {label.name!r} is {second}, but {first} in {other.place}")
    return {index: label.good for index, label in verdicts.items()}


def _by_name(results: Sequence[CheckResult]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, result in enumerate(results):
        for name in {result.case, result.node_id, result.key}:
            found[name].append(index)
    return dict(found)


def _meant(label: Label, results: Sequence[CheckResult], by_name: Mapping[str, list[int]]) -> list[int]:
    """The results that a label is about."""
    if label.name not in by_name:
        raise FileError(f"{label.place}: {unknown('case or check', label.name, by_name)}")
    meant = by_name[label.name]
    for column in OPTIONAL:
        wanted = getattr(label, column)
        if wanted is None:
            continue
        values = {str(getattr(results[index], column)) for index in meant}
        meant = [index for index in meant if getattr(results[index], column) == wanted]
        if not meant:
            raise FileError(f"{label.place}: {unknown(column, wanted, values)}; {known_names(values)}")
    edits = {_edit(results[index]) for index in meant}
    if len(edits) > 1:
        shown = ", ".join(sorted({_named(results[index]) for index in meant}))
        raise FileError(
            f"{label.place}: {label.name!r} fits {len(edits)} edits ({shown}); "
            "label each, by 'check' and 'candidate', or calibrate on one candidate and one run of it"
        )
    return meant


def _edit(result: CheckResult) -> tuple[str, str | None, str, str | None]:
    """Which edit was scored, as far as results tell."""
    return result.file, result.candidate, result.edited, result.edited_digest


def _named(result: CheckResult) -> str:
    candidate = f"[{result.candidate}]" if result.candidate else ""
    return f"{result.file}::{result.case}{candidate}"
