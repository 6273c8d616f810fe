"""The results file: one row per check, with stable columns (docs/results.md)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.results import CheckResult
from pytest_editeval.results_columns import COLUMNS, KINDS, csv_row, json_line, table_row
from pytest_editeval.results_journal import SUFFIX as JOURNAL
from pytest_editeval.results_reader import READERS, read_results, require_pyarrow
from pytest_editeval.whole_file import written_whole

__all__ = ["COLUMNS", "SUFFIXES", "check_results_path", "read_results", "read_runs", "run_names", "write_results"]

SUFFIXES = tuple(READERS)


def check_results_path(path: Path, option: str = "--editeval-results") -> Path:
    """The path, if its ending names a format that can be written here; `EditEvalError` says what is allowed."""
    if path.suffix not in SUFFIXES:
        raise EditEvalError(f"{option} {path}: unknown format {path.suffix!r}; allowed: {', '.join(SUFFIXES)}")
    if path.name.endswith(JOURNAL):
        raise EditEvalError(f"{option} {path}: {JOURNAL} is the ending of what a run has finished so far; take another")
    if path.is_dir():
        raise EditEvalError(f"{option} {path}: that is a directory")
    if path.suffix == ".parquet":
        require_pyarrow(f"{option} {path}")
    return path


def read_runs(paths: Sequence[Path], *, partial: bool = False) -> dict[str, list[CheckResult]]:
    """The rows of several results files, by path as a user would type it, in the order in which they are given.

    Raises an `EditEvalError` as `read_results` does, and for a file that is given twice.
    """
    runs: dict[str, list[CheckResult]] = {}
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise EditEvalError(f"{display_path(path)} is given {count} times: its scores would count {count} times")
        runs[display_path(path)] = read_results(path, partial=partial)
    return runs


def run_names(paths: Iterable[str]) -> list[str]:
    """A short name for each file: without folder and ending, but the whole path where two would have the same."""
    paths = list(paths)
    counts = Counter(Path(path).stem for path in paths)
    names = [Path(path).stem if counts[Path(path).stem] == 1 else path for path in paths]
    return names if len({*names}) == len(names) else paths  # a stem may be another's path: `run.jsonl.csv`


def write_results(path: Path, results: Sequence[CheckResult]) -> None:
    """Write all rows in the format that the path's ending names; a file that is there is replaced as a whole.

    Half a surrogate pair, as in the name of a file that is not UTF-8, is written as the six characters of its escape.
    Raises `OSError`, and leaves the file that was there.
    """
    with written_whole(path) as unfinished:
        _WRITERS[path.suffix](unfinished, results)


def _write_jsonl(path: Path, results: Sequence[CheckResult]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        for result in results:
            stream.write(json_line(result))


def _write_csv(path: Path, results: Sequence[CheckResult]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(csv_row(result) for result in results)


def _write_parquet(path: Path, results: Sequence[CheckResult]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    # The types do not depend on the rows: a column of nulls has the type that it has in other files.
    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([(name, types.get(kind.removesuffix(" | None"), pa.string())) for name, kind in KINDS.items()])
    rows = [table_row(result) for result in results]
    columns = {name: [_without_surrogates(row[name]) for row in rows] for name in COLUMNS}
    pa.parquet.write_table(pa.table(columns, schema=schema), path)


def _without_surrogates(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


_WRITERS: dict[str, Callable[[Path, Sequence[CheckResult]], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
