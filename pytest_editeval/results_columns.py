"""The columns of a results file, and how their values are written in JSON and in the cells of a table.

JSON has no NaN and no infinity: they are written as the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, as in
Protocol Buffers' JSON. Where free text may stand beside numbers (`OPEN`), a text that reads like one of them gets a
backslash in front.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

from pytest_editeval.json_text import parse_json
from pytest_editeval.results import CheckResult

KINDS: dict[str, str] = {field.name: str(field.type) for field in dataclasses.fields(CheckResult)}
COLUMNS = tuple(KINDS)
OPEN = ("coords", "parameters", "repeats", "models", "details")
OPTIONAL_TEXT = frozenset(name for name, kind in KINDS.items() if kind == "str | None")
NUMBERS = frozenset(name for name, kind in KINDS.items() if kind in ("float", "float | None"))
_PLAIN = {"str", "str | None", "int", "int | None", "float", "float | None", "bool", "Outcome"}
STRUCTURED = frozenset(name for name, kind in KINDS.items() if kind not in _PLAIN)

_NOT_FINITE = re.compile(r"\\*(NaN|Infinity|-Infinity)")


def json_row(result: CheckResult) -> dict[str, Any]:
    """A row as JSON has it."""
    row = _encoded_row(result)
    return row | {name: encoded(row[name]) for name in NUMBERS}


def json_line(result: CheckResult) -> str:
    """A row as a line of JSON Lines, with its end."""
    return json.dumps(json_row(result), ensure_ascii=False, allow_nan=False) + "\n"


def table_row(result: CheckResult) -> dict[str, Any]:
    """A row as a table with typed columns has it: lists and mappings are JSON text."""
    row = _encoded_row(result)
    for name in STRUCTURED:
        row[name] = None if row[name] is None else json.dumps(row[name], ensure_ascii=False, allow_nan=False)
    for name in NUMBERS:
        row[name] = None if row[name] is None else float(row[name])  # a NumPy number has another text
    return row


def csv_row(result: CheckResult) -> dict[str, Any]:
    """A row as CSV has it: an empty cell is null, and an empty text is the two characters ``""``."""
    row = table_row(result)
    for name in OPTIONAL_TEXT:
        text = row[name]
        if text is not None and (text == "" or text.startswith('"')):
            row[name] = json.dumps(text, ensure_ascii=False)
    return row


def from_csv(row: dict[str, str]) -> dict[str, Any]:
    """The row that `csv_row` wrote, with its numbers still text; raises `ValueError` on a cell that is no JSON."""
    values: dict[str, Any] = {}
    for name, cell in row.items():
        if name in STRUCTURED or (name in OPTIONAL_TEXT and cell.startswith('"')):
            values[name] = _structure(name, cell)
        else:
            values[name] = None if cell == "" and KINDS[name] != "str" else cell
    return values


def from_table(row: dict[str, Any]) -> dict[str, Any]:
    """The row that `table_row` wrote; raises `ValueError` on a cell that is no JSON."""
    return {name: _structure(name, value) if name in STRUCTURED else value for name, value in row.items()}


def from_json(row: dict[str, Any]) -> dict[str, Any]:
    """The row that `json_row` wrote."""
    return row | {name: decoded(row[name]) for name in OPEN}


def encoded(value: Any) -> Any:
    """Plain data with nothing in it that JSON does not have; `decoded` turns it back."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return "\\" + value if _NOT_FINITE.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: encoded(part) for key, part in value.items()}
    return [encoded(part) for part in value] if isinstance(value, list | tuple) else value


def decoded(value: Any) -> Any:
    """What `encoded` was given, with lists in the place of tuples."""
    if isinstance(value, str):
        if not _NOT_FINITE.fullmatch(value):
            return value
        return value[1:] if value.startswith("\\") else float(value)
    if isinstance(value, dict):
        return {key: decoded(part) for key, part in value.items()}
    return [decoded(part) for part in value] if isinstance(value, list) else value


def _encoded_row(result: CheckResult) -> dict[str, Any]:
    row = result.to_data()
    return row | {name: encoded(row[name]) for name in OPEN}


def _structure(name: str, cell: Any) -> Any:
    if cell is None or cell == "":
        return None
    try:
        value = parse_json(cell)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"column {name!r} is not JSON") from None
    return decoded(value) if name in OPEN else value
