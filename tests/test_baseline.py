"""Baselines: the file, what is comparable, and `editeval accept`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.cli import main
from pytest_editeval.errors import EditEvalError
from pytest_editeval.gating.accepting import accept
from pytest_editeval.gating.baseline import Accepted, Baseline, comparable, has_changed, inputs_of, mismatches
from pytest_editeval.gating.baseline_file import baseline_text, read_baseline, write_baseline
from pytest_editeval.gating.changes import change, largest_first
from pytest_editeval.results import CheckResult, MetricIdentity, Outcome, Repeat
from pytest_editeval.results_file import SUFFIXES, write_results
from rows import result

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["NaN", '"', "\u2028"])
METRICS = st.dictionaries(
    TEXT.filter(lambda text: "::" not in text and not text.startswith(":")),
    st.builds(MetricIdentity, st.integers(1, 9), TEXT),
    min_size=1,
    max_size=3,
)
ACCEPTED = st.builds(Accepted, st.none() | st.floats(), TEXT)


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@st.composite
def baselines(draw: st.DrawFn) -> Baseline:
    metrics = draw(METRICS)
    keys = st.tuples(TEXT, st.sampled_from(sorted(metrics))).map(lambda parts: f"cases/{parts[0]}::{parts[1]}")
    return Baseline(Path("b.json"), draw(TEXT), metrics, draw(st.dictionaries(keys, ACCEPTED, max_size=4)))


@given(baseline=baselines())
def test_a_baseline_file_comes_back_as_it_was(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    write_baseline(replace(baseline, path=path))
    found = read_baseline(path)
    assert (found.profile, found.metrics) == (baseline.profile, baseline.metrics)
    assert {key: repr(accepted) for key, accepted in found.scores.items()} == {
        key: repr(accepted) for key, accepted in baseline.scores.items()
    }
    assert baseline_text(found) == path.read_text("utf-8").replace("\r\n", "\n")


def test_the_file_is_sorted_with_a_check_per_line() -> None:
    baseline = Baseline(
        Path("b.json"),
        "clip-b32",
        {"emd": MetricIdentity(1, "f0")},
        {"b.edit.yaml::x::emd": Accepted(None, "01"), "a.edit.yaml::ä::emd": Accepted(0.1 + 0.2, "02")},
    )
    text = baseline_text(baseline)
    assert text == (
        "{\n"
        '  "format": "pytest-editeval baseline 1",\n'
        '  "profile": "clip-b32",\n'
        '  "metrics": {\n'
        '    "emd": {"fingerprint": "f0", "version": 1}\n'
        "  },\n"
        '  "scores": {\n'
        '    "a.edit.yaml::ä::emd": {"inputs": "02", "score": 0.30000000000000004},\n'
        '    "b.edit.yaml::x::emd": {"inputs": "01", "score": null}\n'
        "  }\n"
        "}\n"
    )
    assert json.loads(text)["scores"]["b.edit.yaml::x::emd"]["score"] is None


def test_a_score_that_is_not_finite_is_plain_json() -> None:
    path = Path("b.json")
    metrics = {"emd": MetricIdentity(1, "f")}
    write_baseline(Baseline(path, "p", metrics, {"a::b::emd": Accepted(math.nan, "0")}))
    assert json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)["scores"]["a::b::emd"]["score"] == "NaN"
    score = read_baseline(path).scores["a::b::emd"].score
    assert score is not None
    assert math.isnan(score)


def text(**overrides: Any) -> str:
    data = {"format": "pytest-editeval baseline 1", "profile": "p", "metrics": {}, "scores": {}, **overrides}
    return json.dumps(data)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "b.json: empty"),
        ("[1]", 'b.json: not a baseline: it does not begin with "format": "pytest-editeval baseline 1"'),
        ('{"a": 1}', 'b.json: not a baseline: it does not begin with "format": "pytest-editeval baseline 1"'),
        ('{\n"format":', "b.json:2:10: torn: it ends"),
        ("hello", "b.json:1:1: not JSON: Expecting value"),
        ("{\n<<<<<<< mine\n}", "b.json:2: a merge conflict; keep one of the two sides"),
        ('{"a": 1, "a": 2}', "b.json: 'a' is there twice, as after a merge; keep one"),
        ("[" * 100_000, "b.json:1:1: not JSON: nested deeper than 100 levels"),
        (
            text(format="pytest-editeval baseline 2"),
            "b.json: has the format 'pytest-editeval baseline 2'; "
            "pytest-editeval 0.1.0 reads 'pytest-editeval baseline 1'",
        ),
        (text(hue=1), "b.json: unknown key 'hue'"),
        (text(scores={"a::b::emd": {"inputs": "x"}}), "b.json: 'scores.a::b::emd.score' is missing"),
        (
            text(scores={"a::b::emd": {"inputs": "x", "score": "y"}}),
            "b.json: 'scores.a::b::emd.score' must be a number",
        ),
        (
            text(scores={"a::b::emd": {"inputs": "x", "score": 1}}),
            "b.json: the metric of 'a::b::emd' is not in 'metrics'",
        ),
    ],
)
def test_faults_of_a_baseline_file(content: str, expected: str) -> None:
    Path("b.json").write_text(content, "utf-8")
    with pytest.raises(EditEvalError) as caught:
        read_baseline(Path("b.json"))
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_a_missing_baseline() -> None:
    with pytest.raises(EditEvalError, match=r"^b\.json: no such file$"):
        read_baseline(Path("b.json"))


def test_a_candidate_of_a_baseline_file() -> None:
    Path("b.json").write_text(text(), "utf-8")
    with pytest.raises(EditEvalError) as caught:
        read_baseline(Path("b.json"), "v2")
    assert str(caught.value) == "b.json is a baseline file, and has no candidates; leave out 'v2'"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_scores_of_a_results_file_are_a_baseline(suffix: str) -> None:
    path = Path(f"run{suffix}")
    rows = [
        result(),
        result(case="soft", score=0.0, outcome=Outcome.SOFT_FAILURE),
        result(case="failed", score=9.0, outcome=Outcome.FAILED),
        result(case="error", score=None, outcome=Outcome.ERROR, fingerprint=None),
        result(case="caught", expect="fail"),
        result(case="nothing", control="nothing-done"),
    ]
    write_results(path, rows)
    baseline = read_baseline(path)
    assert baseline.profile == "tiny"
    assert baseline.metrics == {"region_emd": MetricIdentity(1, "c1" * 16)}
    assert {key.split("::")[1]: accepted.score for key, accepted in baseline.scores.items()} == {
        "red_scarf": 3.0,
        "soft": None,
        "failed": 9.0,
    }


def test_one_candidate_of_several_has_to_be_chosen() -> None:
    path = Path("run.jsonl")
    v1, v2, none = result(candidate="v1", score=1.0), result(candidate="v2", score=2.0), result(case="fixed", score=3.0)
    write_results(path, [v1, v2, none])
    with pytest.raises(EditEvalError) as caught:
        read_baseline(path)
    assert str(caught.value) == "run.jsonl has several candidates; choose one of: v1, v2"
    with pytest.raises(EditEvalError) as caught:
        read_baseline(path, "v11")
    assert str(caught.value) == "run.jsonl: unknown candidate 'v11'; did you mean 'v1'?\n  known: v1, v2"
    assert {accepted.score for accepted in read_baseline(path, "v2").scores.values()} == {2.0, 3.0}


def test_a_results_file_that_mixes_measurements() -> None:
    for other, expected in (
        (result(case="b", metric_version=2), "run.jsonl mixes scores of region_emd: metric version 1 against 2"),
        (result(case="b", profile="big"), "run.jsonl has rows of several profiles: big, tiny"),
        (
            result(node_id="x", candidate="v1"),
            "run.jsonl has two scores of cases/a.edit.yaml::red_scarf::region_emd",
        ),
    ):
        if other.candidate:
            other = replace(other, node_id="cases/a.edit.yaml::red_scarf[v1]::region_emd")
        write_results(Path("run.jsonl"), [result(), other])
        with pytest.raises(EditEvalError) as caught:
            read_baseline(Path("run.jsonl"))
        assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"source_digest": "00"},
        {"scope": None},
        {"coords": ((20.0, 20.0, 81.0, 80.0),)},
        {"parameters": {"patch_mask_threshold": 0.2}},
    ],
)
def test_other_inputs_have_another_digest(changed: dict[str, Any]) -> None:
    row = result()
    assert len(inputs_of(row)) == 16
    assert inputs_of(replace(row, **changed)) != inputs_of(row)


def test_what_is_no_input_does_not_change_the_digest() -> None:
    row = result()
    for other in ({"edited_digest": "0"}, {"score": 1.0}, {"threshold": 1.0}, {"fingerprint": "x"}, {"candidate": "v"}):
        assert inputs_of(replace(row, **other)) == inputs_of(row)
    assert inputs_of(result(coords=((20, 20, 80, 80),))) == inputs_of(row)


def test_a_quota_chooses_the_score_and_is_an_input() -> None:
    repeats = (Repeat(0, "a", 1.0, 4.0, Outcome.PASSED), Repeat(1, "b", 2.0, 3.0, Outcome.PASSED))
    assert inputs_of(result(quota=1, repeats=repeats)) != inputs_of(result(quota=2, repeats=repeats))


def test_mismatches_name_both_sides() -> None:
    one = MetricIdentity(1, "3fa9" * 8)
    baseline = Baseline(Path("b.json"), "a", {"emd": one, "region_emd": one, "gone": one}, {})
    others = {
        "emd": MetricIdentity(2, "3fa9" * 8),
        "region_emd": MetricIdentity(1, "77b0" * 8),
        "new": MetricIdentity(1, "x"),
    }
    assert mismatches(baseline, "b", others) == [
        "profile: the baseline has 'a', this run 'b'",
        "emd: metric version 1 against 2",
        "region_emd: checkpoints 3fa93fa9… against 77b077b0…",
    ]
    assert mismatches(baseline, "a", {"emd": one}) == []


def test_fingerprints_with_the_same_beginning_are_told_apart() -> None:
    baseline = Baseline(Path("b.json"), "a", {"emd": MetricIdentity(1, "aaaaaaaaaa+bbbb1")}, {})
    assert mismatches(baseline, "a", {"emd": MetricIdentity(1, "aaaaaaaaaa+bbbb2")}) == [
        "emd: checkpoints aaaaaaaaaa+bbbb1 against aaaaaaaaaa+bbbb2"
    ]


def test_scores_are_comparable_while_the_inputs_are_the_same() -> None:
    row = result()
    baseline = Baseline(Path("b.json"), "tiny", {}, {row.key: Accepted(2.5, inputs_of(row))})
    moved = replace(row, scope=None)
    assert (comparable(baseline, row), comparable(baseline, moved)) == (2.5, None)
    assert (has_changed(baseline, row), has_changed(baseline, moved)) == (False, True)
    assert comparable(baseline, result(case="other")) is None
    assert not has_changed(baseline, result(case="other"))
    assert comparable(replace(baseline, scores={row.key: Accepted(math.nan, inputs_of(row))}), row) is None


@pytest.mark.parametrize(
    ("overrides", "within"),
    [
        ({"tolerance": None, "baseline": 1.0}, True),
        ({"tolerance": 0.5, "baseline": None}, True),
        ({"tolerance": 0.5, "baseline": 2.5}, True),
        ({"tolerance": 0.5, "baseline": 2.25}, False),
        ({"tolerance": 0.5, "baseline": 9.0}, True),
        ({"tolerance": 0.5, "baseline": 9.0, "higher_is_better": True}, False),
        ({"tolerance": 0.5, "baseline": 1.0, "score": math.nan}, False),
    ],
)
def test_the_tolerance_is_inclusive_and_has_the_direction(overrides: dict[str, Any], within: bool) -> None:
    assert result(**overrides).exceeds_tolerance is not within


def test_changes_of_several_metrics_are_ranked_by_their_own_scale() -> None:
    changes = [
        change("a::1::emd", 5.0, 4.0, False),
        change("a::2::emd", 5.0, 5.5, False),
        change("a::1::sim", 0.9, 0.85, True),
        change("a::2::sim", 0.9, 0.9001, True),
    ]
    assert [one.key for one in largest_first(changes)] == ["a::1::sim", "a::1::emd", "a::2::emd", "a::2::sim"]
    assert [round(one.gain, 4) for one in changes] == [1.0, -0.5, -0.05, 0.0001]
    assert largest_first([change("a::1::emd", 1.0, 1.0, True)])[0].gain == 0.0


def run(*rows: CheckResult, name: str = "run.jsonl") -> Path:
    write_results(Path(name), rows)
    return Path(name)


def test_accept_prints_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    first = [
        result(case="a", score=1.0),
        result(case="b", score=2.0),
        result(case="c", score=3.0),
        result(case="d", score=4.0),
        result(case="e", score=4.0),
        result(case="gone", score=4.0),
    ]
    assert main(["accept", str(run(*first))]) == 0
    assert capsys.readouterr().out == (
        "editeval-baseline.json: accepted run.jsonl (profile tiny, scores now: 6)\n"
        "  new: 6: cases/a.edit.yaml::a::region_emd, cases/a.edit.yaml::b::region_emd, "
        "cases/a.edit.yaml::c::region_emd and 3 more\n"
    )
    second = [
        result(case="a", score=1.0),
        result(case="b", score=1.5),
        result(case="c", score=8.0, outcome=Outcome.FAILED),
        result(case="d", score=None, outcome=Outcome.SOFT_FAILURE),
        result(case="e", score=1.0, scope=None),
        result(case="new"),
        result(case="bad", score=None, outcome=Outcome.ERROR),
        result(case="caught", expect="fail"),
        result(case="control", control="destroyed"),
    ]
    assert main(["accept", str(run(*second))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "editeval-baseline.json: accepted run.jsonl (profile tiny, scores now: 7)",
        "  new: 1: cases/a.edit.yaml::new::region_emd",
        "  better: 1, the largest: cases/a.edit.yaml::b::region_emd  2 -> 1.5  (better by 0.5)",
        "  worse: 1, the largest: cases/a.edit.yaml::c::region_emd  3 -> 8  (worse by 5)",
        "  equal: 1",
        "  now a soft failure: 1: cases/a.edit.yaml::d::region_emd",
        "  replaced, not to be compared (inputs, metric version or checkpoints changed): "
        "1: cases/a.edit.yaml::e::region_emd",
        "  kept, not scored by this run: 1: cases/a.edit.yaml::gone::region_emd",
        "  accepted, although the check failed: 1: cases/a.edit.yaml::c::region_emd",
        "  not accepted, errors: 1: cases/a.edit.yaml::bad::region_emd",
        "  not accepted, controls: 1: cases/a.edit.yaml::control::region_emd",
        "  not accepted, edits that are expected to fail: 1: cases/a.edit.yaml::caught::region_emd",
    ]
    third = run(result(case="a"), result(case="d", score=2.0))
    assert main(["accept", str(third), "--prune"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "editeval-baseline.json: accepted run.jsonl (profile tiny, scores now: 2)"
    assert "  no longer a soft failure: 1: cases/a.edit.yaml::d::region_emd" in lines
    assert lines[-1].startswith("  pruned, not scored by this run: 5: cases/a.edit.yaml::b::region_emd, ")
    assert list(read_baseline(Path("editeval-baseline.json")).scores) == [
        "cases/a.edit.yaml::a::region_emd",
        "cases/a.edit.yaml::d::region_emd",
    ]


def test_accepting_the_same_run_again_changes_nothing() -> None:
    path = run(result(), result(case="b", score=None, outcome=Outcome.SOFT_FAILURE))
    main(["accept", str(path)])
    before = Path("editeval-baseline.json").read_bytes()
    main(["accept", str(path)])
    assert Path("editeval-baseline.json").read_bytes() == before
    _, changes = accept([result()], read_baseline(Path("editeval-baseline.json")), False, Path("x.json"))
    assert changes.equal == (result().key,)
    assert changes.kept == ("cases/a.edit.yaml::b::region_emd",)


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        (
            [result(profile="big")],
            [],
            "editeval: b.json: profile: the baseline has 'tiny', this run 'big'; "
            "a profile has a baseline file of its own\n",
        ),
        (
            [result(fingerprint="77" * 16)],
            [],
            "editeval: b.json: region_emd: checkpoints c1c1c1c1… against 77777777…, and scores that this run "
            "does not have would stay (1: cases/a.edit.yaml::b::region_emd); "
            "run these too, or drop them with --prune\n",
        ),
        (
            [result(control="destroyed")],
            ["--prune"],
            "editeval: nothing to accept: the run has no score beside those of controls\n",
        ),
        (
            [result(candidate="v1"), result(candidate="v2")],
            [],
            "editeval: run.jsonl has several candidates; choose one of: v1, v2\n",
        ),
    ],
)
def test_what_accept_refuses_leaves_the_file(
    rows: list[CheckResult], options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["accept", str(run(result(), result(case="b"))), "--baseline", "b.json"])
    before = Path("b.json").read_bytes()
    capsys.readouterr()
    assert main(["accept", str(run(*rows)), "--baseline", "b.json", *options]) == 4
    assert capsys.readouterr().err == expected
    assert Path("b.json").read_bytes() == before


def test_other_checkpoints_are_accepted_when_nothing_old_stays(capsys: pytest.CaptureFixture[str]) -> None:
    main(["accept", str(run(result(), result(case="b"))), "--baseline", "b.json"])
    assert main(["accept", str(run(result(fingerprint="77", score=1.0))), "--baseline", "b.json", "--prune"]) == 0
    baseline = read_baseline(Path("b.json"))
    assert baseline.metrics == {"region_emd": MetricIdentity(1, "77")}
    assert [accepted.score for accepted in baseline.scores.values()] == [1.0]
    assert "better" not in capsys.readouterr().out


def test_a_metric_that_is_not_run_keeps_its_scores_and_its_identity() -> None:
    main(["accept", str(run(result(metric="emd", fingerprint="old"))), "--baseline", "b.json"])
    main(["accept", str(run(result())), "--baseline", "b.json"])
    assert set(read_baseline(Path("b.json")).metrics) == {"emd", "region_emd"}


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("b.csv", "editeval: --baseline b.csv: a baseline file ends in .json; .csv is for results\n"),
        (".", "editeval: .: that is a directory\n"),
        ("run.jsonl/b.json", "editeval: run.jsonl/b.json: cannot be written: "),
    ],
)
def test_a_baseline_that_cannot_be_written(baseline: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accept", str(run(result())), "--baseline", baseline]) == 4
    assert capsys.readouterr().err.startswith(expected)
