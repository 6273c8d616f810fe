"""Results as a table: equal from every format, with types that do not depend on the rows."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

import pytest_editeval as editeval
from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult, Outcome, Repeat
from pytest_editeval.results_file import COLUMNS, SUFFIXES, run_names, write_results
from rows import RESULT, result

ROOT = Path(__file__).parents[1]
KINDS = {field.name: field.type for field in dataclasses.fields(CheckResult)}
ROWS = st.lists(RESULT, min_size=1, max_size=3, unique_by=lambda row: row.node_id)


def cell(value: Any) -> Any:
    """What a table has of a value, to be compared as text, which tells 1 from 1.0 and finds NaN equal."""
    if dataclasses.is_dataclass(value):
        return repr(dataclasses.asdict(value) | {"outcome": str(value.outcome)})
    if isinstance(value, tuple) and value and isinstance(value[0], Repeat):
        return repr([dataclasses.asdict(one) | {"outcome": str(one.outcome)} for one in value])
    return repr(str(value) if isinstance(value, Outcome) else value)


@given(rows=ROWS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_format_gives_the_same_table_as_the_results(rows: list[CheckResult], tmp_path: Path) -> None:
    expected = editeval.to_frame(rows)
    objects = [name for name in COLUMNS if expected[name].dtype == object]
    for suffix in SUFFIXES:
        path = tmp_path / f"run{suffix}"
        write_results(path, rows)
        frame = editeval.load_results(path)
        assert_frame_equal(frame.drop(columns=objects), expected.drop(columns=objects), check_exact=True)
        for name in objects:
            assert [repr(value) for value in frame[name]] == [repr(value) for value in expected[name]]


@given(rows=ROWS)
@settings(deadline=None)
def test_every_cell_is_the_value_of_the_result(rows: list[CheckResult]) -> None:
    frame = editeval.to_frame(rows)
    assert tuple(frame.columns) == COLUMNS
    for name in COLUMNS:
        for found, row in zip(frame[name].tolist(), rows, strict=True):
            value = getattr(row, name)
            if value is None:
                assert found is None or found is pd.NA or math.isnan(found)
            elif name == "repeats" and not value:
                assert found == []
            else:
                assert repr(found) == cell(value)


@given(rows=ROWS)
@settings(deadline=None)
def test_types_do_not_depend_on_the_rows(rows: list[CheckResult]) -> None:
    types = editeval.to_frame([]).dtypes
    assert_series_equal(editeval.to_frame(rows).dtypes, types)
    assert {kind: {str(types[name]) for name in COLUMNS if KINDS[name] == kind} for kind in set(KINDS.values())} == {
        "str": {"string"},
        "str | None": {"string"},
        "Outcome": {"string"},
        "int": {"int64"},
        "int | None": {"Int64"},
        "float": {"float64"},
        "float | None": {"float64"},
        "bool": {"bool"},
    } | {kind: {"object"} for kind in KINDS.values() if kind.startswith(("tuple", "Mapping"))}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_several_files_are_one_table_with_the_name_of_each(folder: Path) -> None:
    for name, scores in (("v1", (3.0, 5.0)), ("v2", (2.0,))):
        write_results(folder / f"{name}.jsonl", [result(case=f"c{i}", score=score) for i, score in enumerate(scores)])
    frame = editeval.load_results("v2.jsonl", folder / "v1.jsonl")
    assert tuple(frame.columns) == ("run", *COLUMNS)
    assert list(zip(frame["run"], frame["score"], strict=True)) == [("v2", 2.0), ("v1", 3.0), ("v1", 5.0)]
    assert frame.index.tolist() == [0, 1, 2]
    types = frame.dtypes
    assert types.pop("run") == "string[python]"
    assert_series_equal(types, editeval.to_frame([]).dtypes)


def test_a_soft_failure_keeps_its_value_and_is_told_by_the_outcome(folder: Path) -> None:
    rows = [
        result(case="a", score=0.0, outcome=Outcome.SOFT_FAILURE),
        result(case="b", score=None, outcome=Outcome.ERROR),
    ]
    write_results(folder / "run.csv", rows)
    frame = editeval.load_results("run.csv")
    assert frame["score"].tolist()[0] == 0.0
    assert math.isnan(frame["score"][1])
    assert frame["outcome"].tolist() == ["soft failure", "error"]


def test_files_of_the_same_name_are_known_by_their_path() -> None:
    assert run_names(["a/run.jsonl", "b/run.csv", "c/other.jsonl"]) == ["a/run.jsonl", "b/run.csv", "other"]
    several = ["run.jsonl", "b/run.jsonl", "c/run.jsonl.csv"]
    assert run_names(several) == several


def test_mistakes_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "run.jsonl").write_text('{"a": 1}\n')
    for paths, message in (
        (["gone.jsonl"], "gone.jsonl: no such file"),
        (["run.jsonl"], "run.jsonl:1: not a results file: no column 'node_id'"),
        (["run.jsonl", "./run.jsonl"], "run.jsonl is given 2 times: its scores would count 2 times"),
    ):
        with pytest.raises(EditEvalError) as caught:
            editeval.load_results(*paths)
        assert str(caught.value) == message
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EditEvalError) as caught:
        editeval.load_results("run.jsonl")
    assert str(caught.value) == "load_results needs pandas; pip install 'pytest-editeval[report]'"


def test_the_examples_in_the_docs_run(folder: Path) -> None:
    rows = [
        result(case="a", score=9.0, task="color_alter", metric="emd"),
        result(case="b", score=1.0, task="color_alter"),
        result(case="c", score=8.0, task=None),
        result(case="d", score=9.0, control="destroyed", expect="fail"),
        result(case="e", score=0.0, outcome=Outcome.SOFT_FAILURE),
    ]
    write_results(folder / "run.jsonl", rows)
    write_results(folder / "v1.jsonl", rows)
    write_results(folder / "v2.jsonl", [result(case="b", score=2.5), result(case="c", score=8.0, task=None)])
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "results.md").read_text("utf-8"), re.DOTALL):
        exec(block, names)
    assert names["fails_by_metric"].to_dict() == {"emd": 1, "region_emd": 1}
    assert names["margin_by_task"]["mean"].to_dict() == {
        ("emd", "color_alter"): -4.0,
        ("region_emd", "color_alter"): 4.0,
    }
    assert names["worst"]["case"].tolist() == ["a", "c", "b"]
    assert names["got_worse"].to_dict() == {
        ("cases/a.edit.yaml", "b", "region_emd"): -1.5,
        ("cases/a.edit.yaml", "c", "region_emd"): 0.0,
    }
