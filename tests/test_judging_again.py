"""`editeval gate`: stored scores, judged by thresholds and gates as they are written now."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_editeval.cli import main
from pytest_editeval.results import CheckResult, Outcome, Repeat
from pytest_editeval.results_file import read_results, write_results
from rows import result

FILE = "cases/a.edit.yaml"
CASE = """\
  - id: {id}
    instruction: Make it red.
    task: color_alter
    tags: [people]
    source: source.png
    edited: edited.png
    coords: [[20, 20, 80, 80]]
    metrics:
      region_emd: {check}
"""


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def row(case: str = "one", **overrides: Any) -> CheckResult:
    return result(case=case, **{"profile": "embedded", "line": 8, **overrides})


def failed(case: str = "one", **overrides: Any) -> CheckResult:
    return row(case, **{"score": 9.0, "outcome": Outcome.FAILED, **overrides})


def soft(case: str = "one", **overrides: Any) -> CheckResult:
    reason = {"reason": "no-patch-selected", "detail": "no patch", "outcome": Outcome.SOFT_FAILURE, "score": None}
    return row(case, **{**reason, **overrides})


def cases(*checks: tuple[str, object], gates: str = "", name: str = FILE) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(CASE.format(id=case, check=check) for case, check in checks)
    path.write_text(f"cases:\n{body}{gates}", "utf-8")


def gate(*rows: CheckResult, options: tuple[str, ...] = ()) -> int:
    write_results(Path("run.jsonl"), rows)
    return main(["gate", "run.jsonl", *options])


def out(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_nothing_changed_and_everything_passes(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), ("two", 5.0))
    assert gate(row(), row("two")) == 0
    assert out(capsys) == ["checks judged again: 2 (2 passed)"]


@pytest.mark.parametrize(
    ("threshold", "status", "lines"),
    [
        (3.0, 0, ["checks judged again: 1 (1 passed)"]),
        (
            2.5,
            1,
            [
                f"{FILE}:10: one: region_emd = 3   must be ≤ 2.5   (lower is better)   misses by 0.5",
                "checks judged again: 1 (0 passed, 1 failed)",
            ],
        ),
        ("{threshold: {embedded: 3.5, other: 1.0}}", 0, ["checks judged again: 1 (1 passed)"]),
        ("{threshold: 2.5, expect: fail}", 0, ["checks judged again: 1 (1 passed)"]),
        (
            "{threshold: 3.5, expect: fail}",
            1,
            [
                f"{FILE}:10: one: region_emd = 3 does not catch this control (threshold ≤ 3.5, lower is better)",
                "checks judged again: 1 (0 passed, 1 failed)",
            ],
        ),
    ],
)
def test_changed_thresholds(
    threshold: object, status: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cases(("one", threshold))
    assert gate(row()) == status
    assert out(capsys) == lines


def test_verdicts_of_many_scores_in_both_directions(capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(7)
    thresholds = {f"case{index}": draw.choice([0.25, 0.5, 0.75]) for index in range(200)}
    cases(*((case, f"{number}\n      emd: {number}") for case, number in thresholds.items()))
    text = Path(FILE).read_text("utf-8").replace("      emd:", "      dinov3_structure_similarity:")
    Path(FILE).write_text(text, "utf-8")
    rows = []
    for case in thresholds:
        score = draw.choice([0.25, 0.5, 0.75, draw.random(), math.nan])
        rows.append(failed(case, score=score, threshold=9.0))
        rows.append(
            row(case, metric="dinov3_structure_similarity", higher_is_better=True, scope="edit_area", score=score)
        )
    assert gate(*rows, options=("--output", "again.parquet")) == 1
    for before, after in zip(rows, read_results(Path("again.parquet")), strict=True):
        assert before.score is not None
        threshold = thresholds[before.case]
        good = before.score >= threshold if before.higher_is_better else before.score <= threshold
        assert after.outcome is (Outcome.PASSED if good else Outcome.FAILED), after.node_id
    assert capsys.readouterr().out.count("must be") == sum(
        one.outcome is Outcome.FAILED for one in read_results(Path("again.parquet"))
    )


def test_a_check_that_failed_passes_by_a_threshold_that_lets_it() -> None:
    cases(("one", 9.0))
    assert gate(failed(), options=("--output", "again.csv")) == 0
    (again,) = read_results(Path("again.csv"))
    assert (again.threshold, again.margin, again.outcome, again.line) == (9.0, 0.0, Outcome.PASSED, 10)
    assert again.node_id == failed().node_id


def test_judging_again_by_the_same_rules_changes_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), ("two", 5.0), ("three", 5.0))
    rows = [row(line=10), failed("two", line=19), soft("three", line=28)]
    rows = [replace(one, instruction="Make it red.") for one in rows]
    assert gate(*rows, options=("--output", "again.jsonl")) == 1
    assert read_results(Path("again.jsonl")) == rows
    assert out(capsys)[0] == "results: again.jsonl (3 rows)"


@pytest.mark.parametrize(("option", "status"), [("xfail", 0), ("fail", 1)])
def test_soft_failures(option: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), ("two", 5.0))
    assert gate(row(), soft("two"), options=("--soft-failures", option)) == status
    expected = [f"{FILE}:19: two: region_emd: no-patch-selected: no patch"] if status else []
    assert out(capsys) == [*expected, "checks judged again: 2 (1 passed, 1 soft)"]


def test_a_run_without_a_score_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    assert gate(soft()) == 11
    assert gate(soft(), row("one", control="destroyed", node_id=f"{FILE}::one[destroyed]::region_emd")) == 11


def test_errors_stay_errors(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    assert gate(row(score=None, outcome=Outcome.ERROR, detail="image not found: x.png")) == 1
    assert out(capsys) == [
        f"{FILE}:10: one: region_emd: image not found: x.png",
        "checks judged again: 1 (0 passed, 1 error)",
    ]


@pytest.mark.parametrize(
    ("overrides", "detail"),
    [
        ({"coords": ((1.0, 2.0, 3.0, 4.0),)}, "its boxes changed since it was scored: run it again"),
        ({"scope": None}, "its scope changed since it was scored: run it again"),
        (
            {"scope": "edit_area", "parameters": {"patch_mask_threshold": 0.5}},
            "its scope and parameters changed since it was scored: run it again",
        ),
        ({"metric_version": 0}, "scored with version 0 of the metric, which has version 1: run it again"),
        (
            {"repeats": (Repeat(0, "a", 1.0, 4.0, Outcome.PASSED),), "quota": 1},
            "its seeds changed since it was scored: run it again",
        ),
    ],
)
def test_a_score_of_something_else_is_an_error(
    overrides: dict[str, Any], detail: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cases(("one", 5.0))
    assert gate(row(**overrides)) == 1
    assert out(capsys) == [f"{FILE}:10: one: region_emd: {detail}", "checks judged again: 1 (0 passed, 1 error)"]


def test_a_check_of_several_edits_is_judged_by_its_quota(capsys: pytest.CaptureFixture[str]) -> None:
    edits = (Repeat(0, "a", 9.0, -4.0, Outcome.FAILED), Repeat(1, "b", 1.0, 4.0, Outcome.PASSED))
    repeated = row(repeats=edits, quota=2, score=9.0, outcome=Outcome.FAILED)
    for quota, status in ((2, 1), (1, 0)):
        cases(("one", 5.0))
        repeat = f"edited-{{seed}}.png\n    repeat: {{pass: {quota}, of: 2}}"
        Path(FILE).write_text(Path(FILE).read_text("utf-8").replace("edited.png", repeat), "utf-8")
        assert gate(repeated, options=("--output", "again.jsonl")) == status
        (again,) = read_results(Path("again.jsonl"))
        assert (again.score, again.quota, again.edited) == ((9.0, 2, "a"), (1.0, 1, "b"))[quota == 1]
    assert gate(row()) == 1
    assert "its seeds changed since it was scored: run it again" in out(capsys)[-2]


def test_a_check_without_a_row_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), ("two", 5.0))
    assert gate(row()) == 1
    assert out(capsys) == [
        f"{FILE}:19:7: two::region_emd was not scored: run it",
        "checks judged again: 1 (1 passed, 1 not scored)",
    ]


def test_a_file_without_any_row_counts_when_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    cases(("one", 5.0), name="cases/deep/b.edit.yml")
    cases(("one", 5.0), name="cases/.hidden/c.edit.yaml")
    assert gate(row()) == 0
    assert gate(row(), options=("--cases", "cases")) == 1
    assert out(capsys)[1:] == [
        "cases/deep/b.edit.yml:10:7: one::region_emd was not scored: run it",
        "checks judged again: 1 (1 passed, 1 not scored)",
    ]


def test_rows_of_checks_that_are_gone_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    assert gate(row(), failed("old"), row(metric="emd")) == 0
    assert out(capsys) == [
        f"left out, no longer in the case files: 2: {FILE}::old::region_emd, {FILE}::one::emd",
        "checks judged again: 1 (1 passed)",
    ]


def test_controls_never_fail_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 1e9))
    control = failed(control="destroyed", threshold=5.0, node_id=f"{FILE}::one[destroyed]::region_emd")
    assert gate(row(), control, options=("--output", "again.jsonl")) == 0
    assert out(capsys)[-1] == "checks judged again: 1 (1 passed, controls: 1)"
    again = read_results(Path("again.jsonl"))[1]
    assert (again.threshold, again.expect, again.outcome) == (1e9, "fail", Outcome.FAILED)  # nothing is caught


def test_every_candidate_needs_a_row_of_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), ("two", 5.0), ("fixed", 5.0))
    rows = [row(candidate="v1"), row(candidate="v2"), failed("two", candidate="v1"), row("fixed")]
    assert gate(*rows) == 1
    assert out(capsys) == [
        f"{FILE}:19: two[v1]: region_emd = 9   must be ≤ 5   (lower is better)   misses by 4",
        f"{FILE}:19:7: two[v2]::region_emd was not scored: run it",
        "checks judged again: 4 (3 passed, 1 failed, 1 not scored)",
    ]
    assert gate(*rows, options=("--candidate", "v1")) == 1
    assert out(capsys)[-1] == "checks judged again: 3 (2 passed, 1 failed)"
    assert gate(*rows, options=("--candidate", "v3")) == 4
    assert capsys.readouterr().err == ("editeval: run.jsonl: unknown candidate 'v3'\n  known: v1, v2\n")


def test_results_of_another_directory_are_found_by_the_end_of_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), name="checkout/suite/cases/a.edit.yaml")
    cases(("one", 5.0), name="checkout/suite/other/b.edit.yaml")
    elsewhere = {"file": "/ci/suite/cases/a.edit.yaml", "node_id": "suite/cases/a.edit.yaml::one::region_emd"}
    b = {"file": "/ci/suite/other/b.edit.yaml", "node_id": "../other/b.edit.yaml::one::region_emd"}
    assert gate(row(**elsewhere), row(**b), options=("--cases", "checkout")) == 0
    assert gate(row(**elsewhere)) == 4
    assert capsys.readouterr().err == (
        "editeval: /ci/suite/cases/a.edit.yaml: no such file; "
        "--cases says where the case files of the results are now\n"
    )


def test_a_path_that_can_be_two_files(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0), name="x/a.edit.yaml")
    cases(("one", 5.0), name="y/a.edit.yaml")
    moved = row(file="/ci/a.edit.yaml", node_id="a.edit.yaml::one::region_emd")
    assert gate(moved, options=("--cases", "x", "y")) == 4
    assert capsys.readouterr().err == (
        "editeval: a.edit.yaml of the results can be x/a.edit.yaml and y/a.edit.yaml; give --cases only one of them\n"
    )
    named = row(file="x/a.edit.yaml", node_id="a.edit.yaml::one::region_emd")
    assert gate(named, options=("--cases", "x/a.edit.yaml", "y", "x")) == 1
    assert "y/a.edit.yaml:10:7: one::region_emd was not scored: run it" in capsys.readouterr().out


def test_two_rows_of_one_check(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    assert gate(row(), row(node_id="a.edit.yaml::one::region_emd")) == 4
    assert capsys.readouterr().err == (
        "editeval: two rows are of one check: cases/a.edit.yaml::one::region_emd and a.edit.yaml::one::region_emd\n"
    )


def test_mistakes_in_case_files(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    cases(("one", "{threshold: {big: 1}}"), ("two", "text"), name="cases/b.edit.yaml")
    Path("cases/c.edit.yaml").write_text("hue: red\n", "utf-8")
    assert gate(row(), options=("--cases", "cases")) == 1
    lines = out(capsys)
    assert [line.split(": ")[0] for line in lines if line.startswith("cases/")] == [
        "cases/b.edit.yaml:10:31",
        "cases/b.edit.yaml:19:19",
        "cases/c.edit.yaml:1:1",
        "cases/c.edit.yaml:1:1",
    ]
    assert lines[-1] == "nothing judged: mistakes in case files: 4"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--cases", "nowhere"), "editeval: nowhere: no such file or directory\n"),
        (("--cases", "empty"), "editeval: empty: no case files in it (*.edit.yaml or *.edit.yml)\n"),
        (("--baseline", "nowhere.json"), "editeval: nowhere.json: no such file\n"),
        (("--output", "x.txt"), "editeval: --output x.txt: unknown format '.txt'; allowed: .jsonl, .csv, .parquet\n"),
        (("--output", "run.jsonl/x.csv"), "editeval: --output run.jsonl/x.csv: File exists\n"),
    ],
)
def test_options_that_lead_nowhere(options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    Path("empty").mkdir()
    assert gate(row(), options=options) == 4
    assert capsys.readouterr().err == expected


def test_another_profile(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    assert gate(row(profile="clip-b32")) == 4
    assert capsys.readouterr().err == (
        "editeval: run.jsonl was scored with profile 'clip-b32', not 'embedded'; "
        "--config names the configuration that it was scored with\n"
    )
    Path("big.yaml").write_text(
        "profile: clip-b32\nmetric_configs: {region_emd: {default_config: {model_path: x}}}\n", "utf-8"
    )
    assert gate(row(profile="clip-b32"), options=("--config", "big.yaml")) == 0


def test_a_tolerance_is_held_against_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", "{threshold: 5.0, tolerance: 0.25}"), ("two", "{threshold: 5.0, tolerance: 0.25}"))
    write_results(Path("old.jsonl"), [row(score=2.5), row("two", score=2.75)])
    assert main(["accept", "old.jsonl"]) == 0
    capsys.readouterr()
    rows = [row(), row("two")]
    assert gate(*rows) == 0
    assert out(capsys)[0] == (
        f"tolerance without effect, no score in a baseline: 2: {FILE}::one::region_emd, {FILE}::two::region_emd"
    )
    for baseline in ("editeval-baseline.json", "old.jsonl"):
        assert gate(*rows, options=("--baseline", baseline, "--output", "again.jsonl")) == 1
        assert out(capsys) == [
            "results: again.jsonl (2 rows)",
            f"{FILE}:10: one: region_emd = 3   was 2.5   (lower is better)   worse by 0.5, tolerance 0.25",
            "checks judged again: 2 (1 passed, 1 failed)",
        ]
    # The score of the baseline is in the rows: without one, they are held against the same.
    again = read_results(Path("again.jsonl"))
    assert [one.baseline for one in again] == [2.5, 2.75]
    assert gate(*again) == 1
    cases(("one", "{threshold: 5.0, tolerance: 0.5}"), ("two", 5.0))
    assert gate(*again) == 0


def test_checks_that_changed_since_the_baseline_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", "{threshold: 5.0, tolerance: 0.25}"))
    write_results(Path("old.jsonl"), [row(score=1.0, source_digest="00")])
    assert gate(row(), options=("--baseline", "old.jsonl")) == 0
    assert out(capsys) == [
        f"changed since the baseline, not compared with it: 1: {FILE}::one::region_emd",
        f"tolerance without effect, no score in a baseline: 1: {FILE}::one::region_emd",
        "checks judged again: 1 (1 passed)",
    ]


def test_a_baseline_that_was_measured_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    cases(("one", 5.0))
    write_results(Path("old.jsonl"), [row(fingerprint="77" * 16)])
    assert gate(row(), options=("--baseline", "old.jsonl")) == 4
    assert capsys.readouterr().err == (
        "editeval: old.jsonl and run.jsonl were not measured alike (--allow-mismatch)\n"
        "  region_emd: checkpoints 77777777… against c1c1c1c1…\n"
    )
    assert gate(row(), options=("--baseline", "old.jsonl", "--allow-mismatch")) == 0
    assert out(capsys)[0] == "not measured alike: region_emd: checkpoints 77777777… against c1c1c1c1…"


TEN = [f"case{index}" for index in range(10)]


@pytest.mark.parametrize(
    ("threshold", "status", "verdict", "passed"), [(0.9, 0, "PASS", "1 of 1"), (0.95, 10, "FAIL", "0 of 1")]
)
@pytest.mark.parametrize("name", ["", "name: nearly all, "])
def test_a_pass_rate_decides_about_failed_checks(
    name: str, threshold: float, status: int, verdict: str, passed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = f"gates: [{{{name}statistic: pass_rate, threshold: {threshold}}}]\n"
    cases(*((case, 5.0) for case in TEN), gates=gates)
    rows = [failed(TEN[0]), *(row(case) for case in TEN[1:])]
    assert gate(*rows, options=("--output", "again.jsonl")) == status
    lines = out(capsys)
    assert any(line.startswith(verdict) for line in lines)
    assert lines[-1] == (
        f"checks judged again: 10 (9 passed, 1 failed (1 for a gate to decide), gates passed: {passed})"
    )
    covered_by = read_results(Path("again.jsonl"))[0].covered_by
    assert covered_by == "nearly all" if name else covered_by == "pass_rate"
    # An error, or a soft failure that counts as failed, is not the gate's business.
    assert gate(soft(TEN[0]), *rows[1:], options=("--soft-failures", "fail")) == 1


def test_gates_of_the_configuration_and_of_files_against_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    cases(*((case, 5.0) for case in TEN), gates="gates: [{metric: region_emd, statistic: mean, threshold: 3.5}]\n")
    Path("own.yaml").write_text(
        "profile: embedded\nmetric_configs: {region_emd: {default_config: {model_path: x}}}\n"
        "gates: [{metric: region_emd, versus: baseline, no_worse_than: 0.5}]\n",
        "utf-8",
    )
    rows = [row(case) for case in TEN]
    assert gate(*rows) == 0
    assert gate(*rows, options=("--config", "own.yaml")) == 10  # no baseline: nothing to hold it against
    for score, status in ((2.5, 0), (2.25, 10)):
        write_results(Path("old.jsonl"), [row(case, score=score) for case in TEN])
        assert gate(*rows, options=("--config", "own.yaml", "--baseline", "old.jsonl")) == status
    assert out(capsys)[-1] == "checks judged again: 10 (10 passed, gates passed: 1 of 2)"
    # Of other inputs, the baseline has nothing to say.
    write_results(Path("old.jsonl"), [row(case, score=9.0, source_digest="00") for case in TEN])
    assert gate(*rows, options=("--config", "own.yaml", "--baseline", "old.jsonl")) == 10


def test_a_gate_between_candidates_sees_both_though_one_is_judged() -> None:
    gates = "gates: [{metric: region_emd, versus: v1, no_worse_than: 0.5}]\n"
    cases(*((case, 5.0) for case in TEN), gates=gates)
    old = [row(case, candidate="v1") for case in TEN]
    for score, status in ((3.25, 0), (4.0, 10)):
        rows = [*old, *(row(case, candidate="v2", score=score) for case in TEN)]
        assert gate(*rows, options=("--candidate", "v2")) == status


def test_a_gate_whose_checks_were_not_run_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    gates = "gates: [{metric: region_emd, statistic: mean, threshold: 5}]\n"
    cases(*((case, 5.0) for case in (*TEN, "new")), gates=gates)
    assert gate(*(row(case) for case in TEN)) == 1
    assert out(capsys)[-1] == "checks judged again: 10 (10 passed, 1 not scored, gates passed: 0 of 1)"


def test_ten_thousand_rows_without_torch() -> None:
    names = [f"case{index}" for index in range(10_000)]
    cases(*((case, 5.0) for case in names), gates="gates: [{metric: region_emd, statistic: mean, threshold: 5}]\n")
    write_results(Path("run.jsonl"), [row(case) for case in names])
    code = (
        "import sys; from pytest_editeval.cli import main; status = main(['gate', 'run.jsonl', '--cases', 'cases']); "
        "print('torch' in sys.modules, status)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-2:] == [
        "checks judged again: 10,000 (10,000 passed, gates passed: 1 of 1)",
        "False 0",
    ]
