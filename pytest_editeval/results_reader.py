"""A results file read back: every fault in it is one line that says where and what."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pytest_editeval import __version__
from pytest_editeval.errors import FileError, display_path, quoted, unknown
from pytest_editeval.json_text import parse_json
from pytest_editeval.regular_file import read_regular_file
from pytest_editeval.results import CheckResult, Reason, Repeat
from pytest_editeval.results_columns import COLUMNS, from_csv, from_json, from_table
from pytest_editeval.results_journal import is_about_run, unended
from pytest_editeval.validation import describe, problems

MAX_BYTES = 1_000_000_000  # of a results file
MAX_ROWS = 2_000_000  # of a Parquet file, where a few bytes can stand for any number
KNOWN_BY = ("node_id", "metric", "outcome")
TORN = "torn: the last line is cut off; run the checks again, or remove the line and lose the check"
REASONS = frozenset(Reason)
REPEAT_KEYS = frozenset(field.name for field in dataclasses.fields(Repeat))
Rows = Iterator[tuple[str, dict[str, Any]]]


def read_results(path: Path, *, partial: bool = False) -> list[CheckResult]:
    """The rows of a results file, in the order of the file, equal to those that were written.

    An `EditEvalError` names the place of what is wrong: a file that is missing, torn, empty, not one of ours, or of
    another version; a value that its column cannot have; a node id that stands there twice; and, unless `partial` rows
    are wanted, a run that has not ended (`results_journal.unended` says it of what is read then).
    """
    name = display_path(path)
    if path.suffix not in READERS:
        raise FileError(f"{name}: unknown format {path.suffix!r}; allowed: {', '.join(READERS)}")
    if not partial and (run := unended(path)) is not None:
        raise FileError(f"{run}; run it to its end, or remove that file (gate, accept, compare: --allow-partial)")
    results: list[CheckResult] = []
    places: dict[str, str] = {}
    for place, row in READERS[path.suffix](path):
        result = _result(place, row)
        first = places.setdefault(result.node_id, place)
        if first != place:
            raise FileError(f"{place}: node id {quoted(result.node_id)} is taken; it is first in {first}")
        results.append(result)
    if not results:
        raise FileError(f"{name}: no rows: no check was run, or the file is torn")
    return results


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8, without a byte order mark; an `EditEvalError` says why it cannot be read."""
    return _decoded(path, _content(path, max_bytes))


def _content(path: Path, max_bytes: int) -> bytes:
    name = display_path(path)
    try:
        return read_regular_file(path, max_bytes)
    except FileNotFoundError:
        raise FileError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise FileError(f"{name}: that is a directory") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FileError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileError(f"{display_path(path)}:{line}: not UTF-8: byte 0x{error.object[error.start]:02x}") from None


def require_pyarrow(subject: str) -> None:
    """Raises an `EditEvalError` that begins with `subject` where pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise FileError(f"{subject}: Parquet needs {error.name}; pip install 'pytest-editeval[parquet]'") from None


def _jsonl(path: Path) -> Rows:
    data, run = _content(path, MAX_BYTES), unended(path)
    is_journal = run is not None and run.journal == path
    if is_journal:
        data = data[: data.rfind(b"\n") + 1]  # behind it is half a row, which may end in half a character, or nothing
    # Not splitlines(): a text may hold other separators of lines, which JSON leaves as they are.
    lines = [(number, line) for number, line in enumerate(_decoded(path, data).split("\n"), 1) if line.strip()]
    for number, line in lines:
        place = f"{display_path(path)}:{number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            if line.startswith("{") and number == lines[-1][0]:
                raise FileError(f"{place}: {TORN}") from None
            raise FileError(f"{place}: not a results file: not JSON ({_reason(error)})") from None
        if is_journal and is_about_run(row):
            continue
        if not isinstance(row, dict):
            found = f"a line is a mapping with the columns of a check, found {describe(row)}"
            raise FileError(f"{place}: not a results file: {found}")
        _check_columns(place, row, row.get("versions"))
        yield place, from_json(row)


def _csv(path: Path) -> Rows:
    name, text = display_path(path), read_text(path)
    limit = csv.field_size_limit(len(text) + 1)  # the default is less than the details of a large check
    try:
        yield from _csv_rows(name, csv.reader(io.StringIO(text, newline=""), strict=True))
    finally:
        csv.field_size_limit(limit)


def _csv_rows(name: str, reader: Any) -> Rows:
    rows = _numbered(name, reader)
    _, header = next(rows, (1, []))
    if twice := [column for column in header if header.count(column) > 1]:
        raise FileError(f"{name}:1: column {twice[0]!r} is there twice")
    if not header:
        return
    pending = None
    for number, cells in rows:
        if pending is not None:
            yield _csv_row(name, header, *pending, is_last=False)
        pending = number, cells
    if pending is None:
        _check_columns(f"{name}:1", header, None)
    else:
        yield _csv_row(name, header, *pending, is_last=True)


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line that it begins in."""
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        if str(error) == "unexpected end of data":
            raise FileError(f"{name}:{start}: {TORN}") from None
        raise FileError(f"{name}:{start}: not a results file: not CSV ({error})") from None


def _csv_row(
    name: str, header: list[str], number: int, cells: list[str], *, is_last: bool
) -> tuple[str, dict[str, Any]]:
    place = f"{name}:{number}"
    row = dict(zip(header, cells, strict=False))
    _check_columns(f"{name}:1", header, row.get("versions"))
    try:
        if len(cells) != len(header):
            raise ValueError(f"{len(cells)} cells in the place of {len(header)}")
        return place, from_csv(row)
    except ValueError as error:
        torn = is_last and len(cells) <= len(header)
        raise FileError(f"{place}: {TORN if torn else error}") from None


def _parquet(path: Path) -> Rows:
    name = display_path(path)
    require_pyarrow(name)
    import pyarrow as pa
    import pyarrow.parquet

    if not path.is_file():
        raise FileError(f"{name}: {'that is a directory' if path.is_dir() else 'no such file'}")
    try:
        with pa.parquet.ParquetFile(path) as file:
            head = file.metadata
            size = sum(head.row_group(index).total_byte_size for index in range(head.num_row_groups))
            columns = file.schema_arrow.names
            rows = file.read().to_pylist() if head.num_rows <= MAX_ROWS and size <= MAX_BYTES else None
    except Exception as error:  # a damaged file ends in any of Arrow's and Python's
        raise FileError(f"{name}: torn, or not Parquet ({_reason(error)})") from None
    if rows is None:
        raise FileError(f"{name}: cannot be read: it has more than {MAX_ROWS:,} rows or {MAX_BYTES:,} bytes")
    _check_columns(name, columns, rows[0].get("versions") if rows else None)
    for number, row in enumerate(rows, 1):
        place = f"{name}: row {number}"
        try:
            yield place, from_table(row)
        except ValueError as error:
            raise FileError(f"{place}: {error}") from None


def _check_columns(place: str, columns: Iterable[str], versions: Any) -> None:
    """Raises an `EditEvalError` unless the columns are those of this version."""
    found = set(columns)
    missing = [name for name in COLUMNS if name not in found]
    others = [str(name) for name in columns if name not in COLUMNS]
    if not missing and not others:
        return
    if absent := [name for name in KNOWN_BY if name in missing]:
        raise FileError(f"{place}: not a results file: no column {absent[0]!r}")
    faults = [f"columns are missing: {', '.join(missing)}"] if missing else []
    faults += [f"unknown columns: {', '.join(others)}"] if others else []
    wrote = f"{_written_by(versions)}this is {__version__}"
    raise FileError(f"{place}: {'; '.join(faults)} ({wrote}); run the checks again with this version")


def _written_by(versions: Any) -> str:
    if isinstance(versions, str):
        try:
            versions = parse_json(versions)
        except ValueError:
            return ""
    version = versions.get("pytest-editeval") if isinstance(versions, dict) else None
    return f"written by pytest-editeval {version}, " if version else ""


@cache
def _adapter() -> TypeAdapter[CheckResult]:
    return TypeAdapter(CheckResult)


def _result(place: str, row: dict[str, Any]) -> CheckResult:
    try:
        result = _adapter().validate_python(row)
    except ValidationError as error:
        problem = next(problems(error, row, "", lambda _: ("key", ())))
        raise FileError(f"{place}: {problem.message}") from None
    # pydantic passes over the keys of a dataclass that it does not know.
    if others := [key for repeat in row["repeats"] for key in repeat if key not in REPEAT_KEYS]:
        raise FileError(f"{place}: unknown key {quoted(others[0])} in 'repeats'")
    for reason in (result.reason, *(repeat.reason for repeat in result.repeats)):
        if reason is not None and reason not in REASONS:
            raise FileError(f"{place}: {unknown('reason', reason, REASONS)}")
    if result.repeats and result.quota is not None and not 1 <= result.quota <= len(result.repeats):
        raise FileError(f"{place}: a quota of {result.quota} of {len(result.repeats)} repeats")
    return result


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


READERS: dict[str, Callable[[Path], Rows]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
