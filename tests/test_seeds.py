"""Mean and standard deviation of checks of several edits: the numbers, and where they are shown."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import picture
from pages import page
from project import Project
from pytest_editeval.cli import main
from pytest_editeval.gating.seeds import over_seeds, repeated, widest
from pytest_editeval.gating.verdicts import settled
from pytest_editeval.reports.layout import Screen
from pytest_editeval.reports.seeds import SHOWN, seeds_lines
from pytest_editeval.reports.summary import summary_lines
from pytest_editeval.reports.text import explanation
from pytest_editeval.results import CheckResult, Outcome, Reason, Repeat
from pytest_editeval.results_file import write_results
from results import result

SOFT = (None, 0.0)
"""The values that stand for a soft failure of a metric."""


def edits(*scores: float | None, soft: tuple[int, ...] = (), **overrides: Any) -> CheckResult:
    """A check of several edits, judged; those at the places `soft` are soft failures, whatever their value."""
    repeats = tuple(
        Repeat(
            seed=10 + index,
            edited=f"{index}.png",
            score=score,
            margin=None,
            outcome=Outcome.PASSED,
            reason=str(Reason.NO_PATCH_SELECTED) if index in soft else None,
            detail="none" if index in soft else None,
        )
        for index, score in enumerate(scores)
    )
    return settled(result(**{"repeats": repeats, "quota": 1, **overrides}))


@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from(SOFT).map(lambda value: ("soft", value)), min_size=2, max_size=8)
)
def test_the_numbers_are_the_standard_librarys(values: list[Any]) -> None:
    soft = tuple(index for index, value in enumerate(values) if isinstance(value, tuple))
    scores = [value[1] if isinstance(value, tuple) else value for value in values]
    scored = [value for value in values if not isinstance(value, tuple)]
    found = over_seeds(edits(*scores, soft=soft))
    assert found is not None
    assert (found.edits, found.soft, len(found.scores)) == (len(values), len(soft), len(scored))
    assert found.mean == (pytest.approx(statistics.mean(scored), abs=1e-9) if scored else None)
    if len(scored) < 2:
        assert found.deviation is None
    else:
        by_hand = math.sqrt(sum((one - sum(scored) / len(scored)) ** 2 for one in scored) / (len(scored) - 1))
        assert found.deviation == pytest.approx(by_hand, rel=1e-6, abs=1e-6)
        assert found.deviation == pytest.approx(statistics.stdev(scored))


def test_one_edit_and_an_error_have_none() -> None:
    assert over_seeds(result()) is None
    assert over_seeds(edits(1.0)) is None
    assert over_seeds(edits(1.0, 2.0, outcome=Outcome.ERROR)) is None


def test_the_table_by_hand() -> None:
    rows = [
        edits(1.0, 2.0, 3.0, case="red", candidate="v2", node_id="a.edit.yaml::red[v2]::emd"),
        edits(4.0, 0.0, None, soft=(1, 2), case="blue"),
        result(case="plain"),
    ]
    assert seeds_lines(repeated(rows), Screen()) == [
        "",
        "over seeds  metric  scored  mean  std  soft",
        "red[v2]     emd        3/3     2    1     0",
        "blue        emd        1/3     4    -     2",
        "",
    ]
    assert seeds_lines(repeated(rows[:1]), Screen())[1] == "over seeds  metric  scored  mean  std"
    assert not any("over seeds" in line for line in summary_lines([result()], {}, Screen()))
    assert "  over seeds: mean 4 of 1 score, 2 soft failures" in explanation(rows[1]).split("\n")
    assert "  over seeds: mean 2, standard deviation 1 of 3 scores" in explanation(rows[0]).split("\n")


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_the_table_fits_a_terminal(columns: int) -> None:
    rows = [edits(1.0, 2.0, case="a_case_with_a_very_long_name_" * 3), edits(0.1, 0.2, metric="sam_clip_cls_sim")]
    lines = seeds_lines(repeated(rows), Screen(columns))
    assert len(lines) == 5
    assert max(map(len, lines)) <= columns
    assert lines[2].startswith("a_case_wi")


def test_of_many_the_widest_are_shown_in_their_order() -> None:
    """Each for its metric, whose units are its own."""
    tight = [edits(1.0, 1.0 + 1e-6, case=f"t{index}") for index in range(SHOWN)]
    wide = edits(0.1, 0.2, case="wide", metric="sam_clip_cls_sim")
    rows = repeated([*tight, edits(1.0, 9.0, case="widest"), wide])
    assert [one.case for one, _ in widest(rows, 2)] == ["widest", "wide"]
    lines = seeds_lines(rows, Screen())
    assert len(lines) == SHOWN + 4
    assert lines[-2] == "... and 2 more checks of several seeds"
    assert [line.split()[0] for line in lines[-4:-2]] == ["widest", "wide"]


def test_a_run_and_a_comparison_show_them(
    project: Project, capsys: pytest.CaptureFixture[str], remembered_scores: Path
) -> None:
    project.store = remembered_scores
    for name, contents in (("v1", (1, 2, 3)), ("v2", (4, 5, 6))):
        for seed, content in enumerate(contents):
            path = project.path / name / str(seed) / "one.png"
            path.parent.mkdir(parents=True)
            picture(content).save(path)
    project.cases(
        "cases: [{id: one, instruction: Do it., source: source.png, coords: [[20, 20, 80, 80]], "
        "repeat: {pass: 1, of: 3}, metrics: {region_emd: 1.0e+9}}]"
    )
    result = project.run(
        "--editeval-candidate=v1=v1", "--editeval-candidate=v2=v2", "--editeval-results=run.jsonl", "-n", "2"
    )
    result.assert_outcomes(passed=2)
    rows = [json.loads(line) for line in (project.path / "run.jsonl").read_text("utf-8").splitlines()]
    values = {row["candidate"]: [one["score"] for one in row["repeats"]] for row in rows}
    shown = {
        name: ["3/3", f"{statistics.mean(scores):.4g}", f"{statistics.stdev(scores):.4g}"]
        for name, scores in values.items()
    }
    lines = [line.split() for line in result.outlines]
    assert ["over", "seeds", "metric", "scored", "mean", "std"] in lines
    for name, numbers in shown.items():
        assert [f"one[{name}]", "region_emd", *numbers] in lines

    capsys.readouterr()
    assert main(["compare", "run.jsonl", "run.jsonl", "--candidate-a", "v1", "--candidate-b", "v2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a.edit.yaml::one::region_emd", *shown["v1"], *shown["v2"]] in lines


def test_a_comparison_has_the_largest_difference_first_and_sides_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [edits(1.0, 2.0, case="b"), edits(1.0, 2.0, case="c"), edits(1.0, 2.0, case="d"), result(case="e")]
    after = [edits(1.5, 2.5, case="b"), edits(4.0, 5.0, case="c"), result(case="d"), result(case="e")]
    for name, rows in (("a.jsonl", before), ("b.jsonl", after)):
        write_results(Path(name), rows)
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("over seeds"))
    assert lines[start - 1 : start + 4] == [
        "",
        "over seeds           scored A  mean A   std A  scored B  mean B   std B",
        "a.edit.yaml::c::emd       2/2     1.5  0.7071       2/2     4.5  0.7071",
        "a.edit.yaml::b::emd       2/2     1.5  0.7071       2/2       2  0.7071",
        "a.edit.yaml::d::emd       2/2     1.5  0.7071         -       -       -",
    ]


def test_the_page_has_them_with_the_check(tmp_path: Path) -> None:
    found = page(tmp_path, [edits(1.0, 3.0, case="seeds"), result(case="one")]).data["cases"]
    told = {case["id"]: case["checks"][0]["overSeeds"] for case in found}
    assert told == {"seeds": "over seeds: mean 2, standard deviation 1.414 of 2 scores", "one": None}
