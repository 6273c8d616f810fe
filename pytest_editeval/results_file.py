"""The results file: one row per check, with stable columns (docs/results.md)."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult

SUFFIXES = (".jsonl", ".csv", ".parquet")
COLUMNS = tuple(field.name for field in dataclasses.fields(CheckResult))


def check_results_path(path: Path) -> Path:
    """The path, if its ending names a format that can be written here; `EditEvalError` says what is allowed."""
    if path.suffix not in SUFFIXES:
        raise EditEvalError(
            f"--editeval-results {path}: unknown format {path.suffix!r}; allowed: {', '.join(SUFFIXES)}"
        )
    if path.is_dir():
        raise EditEvalError(f"--editeval-results {path}: that is a directory")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise EditEvalError(
                f"--editeval-results {path}: Parquet needs {error.name}; pip install 'pytest-editeval[parquet]'"
            ) from None
    return path


def write_results(path: Path, results: Sequence[CheckResult]) -> None:
    """Write all rows in the format that the path's ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [result.to_data() for result in results]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(_flat(row) for row in rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet

        flat = [_flat(row) for row in rows]
        columns = {name: [row[name] for row in flat] for name in COLUMNS}
        pa.parquet.write_table(pa.table(columns), path)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Lists and mappings as JSON text, which a cell of a table can hold."""
    return {
        key: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for key, value in row.items()
    }
