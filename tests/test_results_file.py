"""Results files: an exact round trip in every format, and one line for everything that can be wrong with a file."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_editeval import __version__
from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult, Outcome, Repeat
from pytest_editeval.results_file import COLUMNS, SUFFIXES, read_results, write_results
from rows import RESULT, result

EVERY_FORMAT = pytest.mark.parametrize("suffix", SUFFIXES)


def written(path: Path, *results: CheckResult) -> Path:
    write_results(path, results)
    return path


def message(path: Path) -> str:
    with pytest.raises(EditEvalError) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@EVERY_FORMAT
@given(rows=st.lists(RESULT, min_size=1, max_size=3, unique_by=lambda row: row.node_id))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_column_comes_back_as_it_was(suffix: str, rows: list[CheckResult], tmp_path: Path) -> None:
    # The text of a result tells 1 from 1.0 and -0.0 from 0.0, and NaN equals itself in it.
    assert repr(read_results(written(tmp_path / f"run{suffix}", *rows))) == repr(rows)


@EVERY_FORMAT
def test_the_order_of_the_rows_is_kept(suffix: str, tmp_path: Path) -> None:
    rows = [result(case=f"case{number}") for number in (3, 1, 2)]
    assert read_results(written(tmp_path / f"run{suffix}", *rows)) == rows


def test_json_lines_hold_no_token_that_json_does_not_have(tmp_path: Path) -> None:
    row = result(score=math.nan, margin=-math.inf, details={"pairs": [math.inf, "NaN", 1.5]})
    (line,) = written(tmp_path / "run.jsonl", row).read_text("utf-8").splitlines()

    def refuse(token: str) -> Any:
        raise AssertionError(token)

    data = json.loads(line, parse_constant=refuse)
    assert (data["score"], data["margin"]) == ("NaN", "-Infinity")
    assert data["details"] == {"pairs": ["Infinity", "\\NaN", 1.5]}
    assert float(data["score"]) != float(data["score"])


@EVERY_FORMAT
def test_pandas_reads_the_scores(suffix: str, tmp_path: Path) -> None:
    rows = [result(case="a", score=0.1 + 0.2), result(case="b", score=None, outcome=Outcome.SOFT_FAILURE)]
    path = written(tmp_path / f"run{suffix}", *rows)
    if suffix == ".jsonl":
        frame = pd.read_json(path, lines=True, precise_float=True)
    else:
        frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["score"][0] == pytest.approx(0.1 + 0.2, rel=1e-15)
    assert math.isnan(frame["score"][1])


def test_types_of_parquet_do_not_depend_on_the_rows(tmp_path: Path) -> None:
    import pyarrow.parquet

    full = written(tmp_path / "a.parquet", result(reason="r", quota=2, baseline=1.0, source_size=None))
    bare = written(tmp_path / "b.parquet", result())
    assert pyarrow.parquet.read_schema(full) == pyarrow.parquet.read_schema(bare)


@EVERY_FORMAT
def test_a_name_that_is_not_unicode_does_not_cost_the_file(suffix: str, tmp_path: Path) -> None:
    (row,) = read_results(written(tmp_path / f"run{suffix}", result(edited="caf\udce9.png")))
    assert row.edited == ("caf\udce9.png" if suffix == ".jsonl" else "caf\\udce9.png")


@EVERY_FORMAT
def test_writing_replaces_a_file_as_a_whole_or_not_at_all(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / "deep" / f"run{suffix}", result())
    path.chmod(0o640)
    before = path.read_bytes()
    broken = replace(result(), details={"unknown": object()})
    with pytest.raises(TypeError):
        write_results(path, [result(case="other"), broken])
    assert path.read_bytes() == before
    write_results(path, [result(case="other")])
    assert path.stat().st_mode & 0o777 == 0o640
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = written(tmp_path / "real.jsonl", result())
    link = tmp_path / "latest.jsonl"
    link.symlink_to(target)
    write_results(link, [result(case="other")])
    assert link.is_symlink()
    assert read_results(target)[0].case == "other"


@pytest.mark.parametrize("cut", [1, 40, 300, 900])
def test_json_lines_that_were_cut_off(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "run.jsonl", *(result(case=f"case{number}") for number in range(12)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
    assert message(path) == (
        "run.jsonl:12: torn: the last line is cut off; run the checks again, or remove the line and lose the check"
    )


@pytest.mark.parametrize("cut", [20, 330, -4, -10])
def test_csv_that_was_cut_off(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "run.csv", result(case="first"), result(instruction="two\nlines"))
    lines = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join(lines[:2]) + b"\r\n" + lines[2][:cut])
    assert message(path).startswith("run.csv:3: torn: the last line is cut off; ")


def test_csv_with_large_cells(tmp_path: Path) -> None:
    row = result(details={"text": "x" * 200_000})
    limit = csv.field_size_limit()
    assert read_results(written(tmp_path / "run.csv", row)) == [row]
    assert csv.field_size_limit() == limit


def test_a_last_line_without_its_end_is_whole(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".csv"):
        path = written(tmp_path / f"run{suffix}", result())
        path.write_bytes(path.read_bytes().rstrip())
        assert read_results(path) == [result()]


def test_parquet_that_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "run.parquet", result())
    path.write_bytes(path.read_bytes()[:-20])
    assert message(path).startswith("run.parquet: torn, or not Parquet (")


@EVERY_FORMAT
def test_a_file_without_rows(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message(written(tmp_path / f"run{suffix}")) == (
        f"run{suffix}: no rows: no check was run, or the file is torn"
    )


@EVERY_FORMAT
def test_a_node_id_that_stands_there_twice(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = (result(), result(case="other"), result())
    places = {".jsonl": ("run.jsonl:3", "run.jsonl:1"), ".csv": ("run.csv:4", "run.csv:2")}
    place, first = places.get(suffix, ("run.parquet: row 3", "run.parquet: row 1"))
    assert message(written(tmp_path / f"run{suffix}", *rows)) == (
        f"{place}: node id 'cases/a.edit.yaml::red_scarf::region_emd' is taken; it is first in {first}"
    )


def altered(path: Path, change: Any) -> Path:
    """A results file of another version: `change` alters the columns of each row."""
    write_results(path, [result()])
    if path.suffix == ".jsonl":
        row = json.loads(path.read_text("utf-8"))
        change(row)
        path.write_text(json.dumps(row), "utf-8")
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            row = next(csv.DictReader(stream))
        change(row)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            writer.writeheader()
            writer.writerow(row)
    else:
        import pyarrow as pa
        import pyarrow.parquet

        row = pyarrow.parquet.read_table(path).to_pylist()[0]
        change(row)
        pyarrow.parquet.write_table(pa.Table.from_pylist([row]), path)
    return path


@EVERY_FORMAT
def test_files_of_other_versions_name_the_columns(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = "old.parquet" if suffix == ".parquet" else f"old{suffix}:1"

    def older(row: dict[str, Any]) -> None:
        del row["candidate"], row["control"]

    assert message(altered(tmp_path / f"old{suffix}", older)) == (
        f"{place}: columns are missing: candidate, control (written by pytest-editeval 0.1.0, this is {__version__}); "
        "run the checks again with this version"
    )
    assert message(altered(tmp_path / f"old{suffix}", lambda row: row.update(hue="red"))) == (
        f"{place}: unknown columns: hue (written by pytest-editeval 0.1.0, this is {__version__}); "
        "run the checks again with this version"
    )
    assert message(altered(tmp_path / f"old{suffix}", lambda row: row.pop("outcome"))) == (
        f"{place}: not a results file: no column 'outcome'"
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.jsonl",
            b"[1, 2]\n",
            "a.jsonl:1: not a results file: a line is a mapping with the columns of a check, found a",
        ),
        ("a.jsonl", b"hello\n", "a.jsonl:1: not a results file: not JSON (Expecting value"),
        ("a.jsonl", b'{\n"a": 1\n}\n', "a.jsonl:1: not a results file: not JSON (Expecting property name"),
        ("a.jsonl", b'{"a": 1}\n', "a.jsonl:1: not a results file: no column 'node_id'"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl:1: not a results file: not JSON ("),
        ("a.jsonl", b"\n\n\xff\n", "a.jsonl:3: not UTF-8: byte 0xff"),
        ("a.jsonl", b"", "a.jsonl: no rows"),
        ("a.csv", b"name,age\nx,3\n", "a.csv:1: not a results file: no column 'node_id'"),
        ("a.csv", b"name\n", "a.csv:1: not a results file: no column 'node_id'"),
        ("a.csv", b"", "a.csv: no rows"),
        ("a.csv", b"node_id,score,score\n", "a.csv:1: column 'score' is there twice"),
        ("a.csv", b"\xfe\n", "a.csv:1: not UTF-8: byte 0xfe"),
        ("a.parquet", b"hello", "a.parquet: torn, or not Parquet ("),
        ("a.txt", b"", "a.txt: unknown format '.txt'; allowed: .jsonl, .csv, .parquet"),
    ],
)
def test_files_of_something_else(
    name: str, content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert message(Path(name)).startswith(expected)


@EVERY_FORMAT
def test_missing_files_and_directories(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message(Path(f"run{suffix}")) == f"run{suffix}: no such file"
    Path(f"run{suffix}").mkdir()
    assert message(Path(f"run{suffix}")) == f"run{suffix}: that is a directory"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("score", "abc", "'score' must be a number, found 'abc'"),
        ("node_id", 7, "'node_id' must be text, found 7"),
        ("outcome", "passt", "'outcome' is wrong: Input should be 'passed', 'failed', 'soft failure' or 'error'"),
        ("coords", [[1, 2, 3]], "'coords[0][3]' is missing"),
        ("repeats", [{"seed": 1}], "'repeats[0].edited' is missing"),
    ],
)
def test_values_that_a_column_cannot_have(
    column: str, value: object, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = altered(tmp_path / "run.jsonl", lambda row: row.update({column: value}))
    assert message(path) == f"run.jsonl:1: {expected}"


def test_an_unknown_key_of_a_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "run.jsonl", result(repeats=(Repeat(0, "a.png", 1.0, 4.0, Outcome.PASSED),)))
    path.write_text(path.read_text("utf-8").replace('"seed"', '"hue": 1, "seed"'), "utf-8")
    assert message(path) == "run.jsonl:1: unknown key 'hue' in 'repeats'"


def test_a_cell_that_is_not_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "run.csv", result(), result(case="other"))
    path.write_text(path.read_text("utf-8").replace('"[""people""]"', "people", 1), "utf-8")
    assert message(path) == "run.csv:2: column 'tags' is not JSON"
