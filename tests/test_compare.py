"""`editeval compare`: pairs, intervals, and everything that is not a pair."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_editeval.cli import main
from pytest_editeval.gating.compare import compare, read_side
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.results_file import write_results
from rows import result


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(name: str, *rows: CheckResult) -> str:
    write_results(Path(name), rows)
    return name


def scores(name: str, values: list[float | None], metric: str = "region_emd", higher: bool = False) -> str:
    rows = [
        result(
            case=f"c{index}",
            metric=metric,
            higher_is_better=higher,
            score=value,
            outcome=Outcome.PASSED if value is not None else Outcome.SOFT_FAILURE,
        )
        for index, value in enumerate(values)
    ]
    return run(name, *rows)


@given(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)).map(lambda pair: (round(pair[0], 3), round(pair[1], 3))),
        min_size=1,
        max_size=7,
    ),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_means_and_counts_are_those_of_the_pairs(pairs: list[tuple[float, float]], higher: bool) -> None:
    scores("a.jsonl", [one for one, _ in pairs], higher=higher)
    scores("b.jsonl", [other for _, other in pairs], higher=higher)
    (row,) = compare(read_side(Path("a.jsonl"), None), read_side(Path("b.jsonl"), None), tolerance=0.5).metrics
    gains = np.array([(b - a) * (1 if higher else -1) for a, b in pairs])
    assert row.pairs == len(pairs)
    assert row.mean_a == pytest.approx(np.mean([a for a, _ in pairs]))
    assert row.mean_b == pytest.approx(np.mean([b for _, b in pairs]))
    assert row.gain == pytest.approx(gains.mean())
    assert (row.better, row.worse, row.equal) == (
        (gains > 0.5).sum(),
        (gains < -0.5).sum(),
        (abs(gains) <= 0.5).sum(),
    )


def test_the_whole_output(capsys: pytest.CaptureFixture[str]) -> None:
    scores("a.jsonl", [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, None, 4.0])
    scores("b.jsonl", [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 4.0, None])
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 0
    key = "cases/a.edit.yaml::c{}::region_emd"
    assert capsys.readouterr().out.splitlines() == [
        "A  a.jsonl",
        "B  b.jsonl",
        "",
        "metric         pairs  mean A  mean B  B better by  95 % interval  better  worse  equal  soft A  soft B",
        "region_emd  ↓      8       4       3           +1       [+1, +1]       8      0      0       1       1",
        "",
        "better: 8",
        *(f"  {key.format(index)}  4 -> 3  (better by 1)" for index in range(8)),
        "",
        "verdicts that changed: 2",
        f"  soft failure -> passed: {key.format(8)}",
        f"  passed -> soft failure: {key.format(9)}",
    ]


def test_what_is_no_pair_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "a.jsonl",
        result(case="both"),
        result(case="moved"),
        result(case="nan", score=math.nan, outcome=Outcome.FAILED),
        result(case="only_a"),
        result(case="broken"),
        result(case="caught", expect="fail"),
    )
    run(
        "b.jsonl",
        result(case="both", score=9.0, outcome=Outcome.FAILED),
        result(case="moved", scope=None),
        result(case="nan"),
        *(result(case=f"only_b{index:02}") for index in range(12)),
        result(case="broken", score=None, outcome=Outcome.ERROR),
        result(case="control", control="destroyed"),
    )
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 0
    out = capsys.readouterr().out
    file = "cases/a.edit.yaml"
    assert "region_emd  ↓      1       3       9           -6        too few" in out
    assert f"worse: 1\n  {file}::both::region_emd  3 -> 9  (worse by 6)\n" in out
    assert "verdicts that changed: 2\n" in out
    assert f"  passed -> failed: {file}::both::region_emd\n" in out
    assert f"not scored in a.jsonl: 12: {file}::only_b00::region_emd, " in out
    assert f"{file}::only_b09::region_emd and 2 more\n" in out
    assert (f"not scored in b.jsonl: 2: {file}::broken::region_emd (error), {file}::only_a::region_emd\n") in out
    assert f"changed inputs, not compared: 1: {file}::moved::region_emd\n" in out
    assert f"not a finite number, not compared: 1: {file}::nan::region_emd\n" in out
    assert f"left out of a.jsonl, edits that are expected to fail: 1: {file}::caught::region_emd\n" in out
    assert f"left out of b.jsonl, errors: 1: {file}::broken::region_emd\n" in out
    assert f"left out of b.jsonl, controls: 1: {file}::control::region_emd\n" in out


def test_ten_changes_are_shown_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    scores("a.jsonl", [4.0] * 13)
    scores("b.jsonl", [4.0 - index for index in range(13)])
    main(["compare", "a.jsonl", "b.jsonl"])
    shown = capsys.readouterr().out.partition("better: 12\n")[2].splitlines()
    assert [line.split("::")[1] for line in shown[:10]] == [f"c{index}" for index in range(12, 2, -1)]
    assert shown[10] == "  ... and 2 more"


def test_a_tolerance_makes_small_differences_equal(capsys: pytest.CaptureFixture[str]) -> None:
    scores("a.jsonl", [4.0, 4.0])
    scores("b.jsonl", [3.75, 5.0])
    main(["compare", "a.jsonl", "b.jsonl", "--tolerance", "0.25"])
    assert "better: " not in (out := capsys.readouterr().out)
    assert "worse: 1\n" in out


@pytest.mark.parametrize("tolerance", ["-1", "nan", "x"])
def test_a_tolerance_that_is_none(tolerance: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", "a.jsonl", "b.jsonl", f"--tolerance={tolerance}"])
    assert caught.value.code == 4
    assert "--tolerance" in capsys.readouterr().err


def test_two_candidates_of_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    run("run.jsonl", result(candidate="v1", score=3.0), result(candidate="v2", score=2.0))
    assert main(["compare", "run.jsonl", "run.jsonl"]) == 4
    assert capsys.readouterr().err == "editeval: run.jsonl has several candidates; choose one of: v1, v2\n"
    assert main(["compare", "run.jsonl", "run.jsonl", "--candidate-a", "v1", "--candidate-b", "v2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A  run.jsonl [v1]\nB  run.jsonl [v2]\n")
    assert "better: 1\n  cases/a.edit.yaml::red_scarf::region_emd  3 -> 2  (better by 1)" in out


def test_a_baseline_file_is_a_side(capsys: pytest.CaptureFixture[str]) -> None:
    scores("a.jsonl", [4.0, 5.0])
    main(["accept", "a.jsonl"])
    scores("b.jsonl", [4.0, 6.0])
    capsys.readouterr()
    assert main(["compare", "editeval-baseline.json", "b.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "A  editeval-baseline.json\n" in out
    assert "worse: 1\n" in out
    assert "verdicts" not in out
    assert main(["compare", "editeval-baseline.json", "editeval-baseline.json"]) == 0
    assert "region_emd  ↓      2     4.5     4.5            0" in capsys.readouterr().out


def test_what_was_not_measured_alike_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run("a.jsonl", result())
    run("b.jsonl", result(profile="big", fingerprint="77" * 16, metric_version=2))
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "editeval: a.jsonl and b.jsonl were not measured alike (--allow-mismatch)\n"
        "  profile: a.jsonl has 'tiny', b.jsonl 'big'\n"
        "  region_emd: metric version 1 against 2, checkpoints c1c1c1c1… against 77777777…\n"
    )
    assert main(["compare", "a.jsonl", "b.jsonl", "--allow-mismatch"]) == 0
    assert capsys.readouterr().out.startswith(
        "not measured alike: profile: a.jsonl has 'tiny', b.jsonl 'big'\nnot measured alike: region_emd: "
    )


def test_nothing_in_common_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    run("a.jsonl", result(case="a"))
    run("b.jsonl", result(case="b"))
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 11
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to compare: no check has a score on both sides"


def test_a_metric_of_another_package_that_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    scores("a.jsonl", [1.0], metric="ours", higher=True)
    scores("b.jsonl", [2.0], metric="ours", higher=True)
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 0
    assert "ours    ↑" in capsys.readouterr().out
    main(["accept", "a.jsonl"])
    capsys.readouterr()
    assert main(["compare", "editeval-baseline.json", "editeval-baseline.json"]) == 4
    assert "unknown metric 'ours'" in capsys.readouterr().err


def test_a_missing_side(capsys: pytest.CaptureFixture[str]) -> None:
    run("a.jsonl", result())
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 4
    assert capsys.readouterr().err == "editeval: b.jsonl: no such file\n"
