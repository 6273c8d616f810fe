"""Thresholds from scores: the numbers against other ways to get them, labels, and the command."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from pytest_editeval.cli import main
from pytest_editeval.errors import EditEvalError
from pytest_editeval.gating.calibrate import (
    Proposal,
    auc,
    auc_interval,
    lenient,
    propose,
    quantile_interval,
    rejected,
    roc,
    strictest_threshold,
)
from pytest_editeval.gating.calibration_groups import Group, group_scores
from pytest_editeval.gating.labels import labelled, read_labels
from pytest_editeval.reports.calibration import WIDTH, calibration_lines, histogram
from pytest_editeval.reports.layout import Screen
from pytest_editeval.results import CheckResult, Outcome, Reason, SoftFailure
from pytest_editeval.results_file import write_results
from scored import result

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0]) | st.floats(0, 1), min_size=1, max_size=30)
SHARES = st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.29, 0.5, 0.95])
SOFT = SoftFailure(Reason.NO_BOXES, "no boxes")


def is_rejected(score: float, threshold: float, higher: bool) -> bool:
    return score < threshold if higher else score > threshold


@given(SCORES, SCORES, st.booleans())
def test_the_auc_is_the_share_of_pairs_in_order(good: list[float], bad: list[float], higher: bool) -> None:
    pairs = [(one - other) * (1 if higher else -1) for one in good for other in bad]
    counted = sum(1.0 if pair > 0 else 0.5 if pair == 0 else 0.0 for pair in pairs) / len(pairs)
    assert auc(good, bad, higher) == pytest.approx(counted, abs=1e-12)


@given(SCORES, SCORES, st.booleans())
def test_the_area_under_the_curve_is_the_auc(good: list[float], bad: list[float], higher: bool) -> None:
    alarms, catches = roc(good, bad, higher)
    assert (alarms[0], catches[0], alarms[-1], catches[-1]) == (0.0, 0.0, 1.0, 1.0)
    steps = zip(alarms, alarms[1:], catches, catches[1:], strict=False)
    area = sum((right - left) * (low + high) / 2 for left, right, low, high in steps)
    assert area == pytest.approx(auc(good, bad, higher), abs=1e-12)


@given(SCORES, SHARES, st.booleans())
def test_the_threshold_is_the_strictest_of_all_that_keep_the_promise(
    good: list[float], share: float, higher: bool
) -> None:
    found = strictest_threshold(good, share, higher)

    def alarms(threshold: float) -> float:
        return sum(is_rejected(score, threshold, higher) for score in good) / len(good)

    allowed = [threshold for threshold in good if alarms(threshold) <= share]
    assert found == (max(allowed) if higher else min(allowed))
    assert alarms(math.nextafter(found, math.inf if higher else -math.inf)) > share


def test_a_share_that_is_no_sum_of_halves_is_counted_exactly() -> None:
    """0.29 x 100 is 28.999999999999996 in floating point; 29 of 100 may be rejected."""
    assert strictest_threshold([float(number) for number in range(100)], 0.29, True) == 29.0


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), st.booleans())
def test_rounding_is_lenient_close_and_to_three_digits(threshold: float, higher: bool) -> None:
    rounded = lenient(threshold, higher)
    assert rounded <= threshold if higher else rounded >= threshold
    assert float(f"{rounded:.2e}") == rounded
    if abs(threshold) > 1e-290:
        assert abs(rounded - threshold) <= abs(threshold) * 0.0100000001


@pytest.mark.parametrize(
    ("threshold", "higher", "rounded"),
    [
        (4.22, True, 4.22),
        (4.22, False, 4.22),
        (4.2251, True, 4.22),
        (4.2251, False, 4.23),
        (-4.2251, True, -4.23),
        (0.0012345, True, 0.00123),
        (12345.0, False, 12400.0),
        (0.9999, False, 1.0),
        (0.0, False, 0.0),
    ],
)
def test_rounding_by_hand(threshold: float, higher: bool, rounded: float) -> None:
    assert lenient(threshold, higher) == rounded


@given(SCORES, SCORES, SHARES, st.booleans())
def test_the_promise_holds_after_rounding(good: list[float], bad: list[float], share: float, higher: bool) -> None:
    proposal = propose(Group("m", None, higher, good * 8, bad * 8), share, has_labels=True)
    assert proposal.threshold is not None
    assert proposal.false_alarms is not None
    assert proposal.caught is not None
    alarms = sum(is_rejected(score, proposal.threshold, higher) for score in proposal.group.good)
    assert alarms / len(proposal.group.good) <= share
    assert (alarms, len(good) * 8) == (proposal.false_alarms.count, proposal.false_alarms.of)
    assert proposal.caught.count == 8 * sum(is_rejected(score, proposal.threshold, higher) for score in bad)


def test_an_example_by_hand() -> None:
    """Lower is better; of 20 good edits one may be rejected, the worst, and the second worst is 3.014."""
    good = [*(1 + index / 10 for index in range(18)), 3.014, 6.0]
    bad = [2.55, 3.014, 3.016, *(4.0 + index for index in range(7))]
    proposal = propose(Group("emd", None, False, good, bad), 0.05, has_labels=True)
    assert (proposal.exact, proposal.threshold, proposal.extreme) == (3.014, 3.02, False)
    assert proposal.false_alarms is not None
    assert proposal.caught is not None
    assert (proposal.false_alarms.share, proposal.caught.count, proposal.caught.of) == (0.05, 7, 10)
    # 2.55 beats 3 good scores (2.6, 2.7, 3.014 and 6.0 are 4), 3.014 beats one and ties one, 3.016, 4 and 5 beat one,
    # 6 ties with one.
    assert proposal.area == pytest.approx(1 - (4 + 1.5 + 1 + 1 + 1 + 0.5) / 200)


@given(st.integers(1, 40), st.data())
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(number: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, number))
    low, high = rejected([1.0] * count + [0.0] * (number - count), 0.5, False).interval
    assert low == pytest.approx(beta.ppf(0.025, count, number - count + 1) if count else 0.0)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, number - count) if count < number else 1.0)


@given(st.floats(0, 1), st.integers(8, 60), st.integers(8, 60))
def test_the_interval_of_the_auc_is_proper_and_symmetric(area: float, n_good: int, n_bad: int) -> None:
    low, high = auc_interval(area, n_good, n_bad)
    assert 0 <= low <= area <= high <= 1
    assert high - low > 0.01
    mirrored = auc_interval(1 - area, n_bad, n_good)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_perfect_separation_is_not_taken_for_certainty() -> None:
    """The end solves the score equation of Newcombe's method 5, here in whole numbers at its root."""
    low, high = auc_interval(1.0, 8, 8)
    variance = low * (1 - low) / 64 * (1 + 7 * ((1 - low) / (2 - low) + low / (1 + low)))
    assert (1 - low) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    assert (round(low, 2), high) == (0.76, 1.0)
    assert auc_interval(1.0, 200, 200)[0] > 0.98


@pytest.mark.parametrize("higher", [True, False])
def test_the_interval_of_the_quantile_by_the_binomial_distribution(higher: bool) -> None:
    """The order statistics between which the 5 % quantile lies with 95 % confidence, found by going through all."""
    scores = [float(number) for number in range(1, 101)]
    low, high = quantile_interval(scores, 0.05, higher)
    lower = max(rank for rank in range(1, 101) if binom.cdf(rank - 1, 100, 0.05) <= 0.025)
    upper = min(rank for rank in range(1, 101) if binom.cdf(rank - 1, 100, 0.05) >= 0.975)
    expected = (scores[lower - 1], scores[upper - 1])
    assert (low, high) == (expected if higher else (101 - expected[1], 101 - expected[0]))


def test_too_few_scores_leave_the_quantile_open_on_the_bad_side() -> None:
    assert quantile_interval([1.0, 2.0, 3.0], 0.05, True)[0] == -math.inf
    assert quantile_interval([1.0, 2.0, 3.0], 0.05, False)[1] == math.inf


def test_too_few_accepted_edits_give_the_worst_of_them_and_say_so() -> None:
    nineteen = [1.0 + index / 100 for index in range(19)]
    proposal = propose(Group("emd", None, False, nineteen), 0.05, has_labels=False)
    assert (proposal.threshold, proposal.extreme) == (1.18, True)
    proposal = propose(Group("emd", None, False, [*nineteen, 9.0]), 0.05, has_labels=False)
    assert (proposal.threshold, proposal.extreme) == (1.18, False)


@pytest.mark.parametrize(("good", "bad"), [(7, 8), (8, 7), (0, 9), (9, 0)])
def test_too_few_labels_give_no_proposal(good: int, bad: int) -> None:
    proposal = propose(Group("emd", None, False, [1.0] * good, [2.0] * bad), 0.05, has_labels=True)
    assert proposal.threshold is None
    assert proposal.reason == f"{good} good and {bad} bad edits: too few, it takes 8 of each"


def test_only_ordinary_scores_count_and_the_others_are_named() -> None:
    rows = [
        result(case="a", score=1.0),
        result(case="b", score=9.0),  # failed, and yet a score
        result(case="c", score=2.0, control="unedited"),
        result(case="d", score=3.0, expect="fail"),
        result(case="e", score=None, soft=SOFT),
        result(case="f", score=None, outcome=Outcome.ERROR),
        result(case="g", score=math.nan),
        result(case="h", score=4.0, edited_digest="d1"),
        result(case="h", score=4.0, edited_digest="d1"),
        result(case="h", score=4.5, edited_digest="d2"),
    ]
    group = group_scores({"run": rows}).groups["emd", None]
    assert group.good == [1.0, 9.0, 4.0, 4.5]
    assert group.must_fail == [3.0]
    assert dict(group.left_out) == {
        "control": 1,
        "expected to fail": 1,
        "soft failure": 1,
        "error": 1,
        "no finite score": 1,
        "scored again": 1,
    }


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"profile": "b32"}, "one profile, but a.jsonl is of 'embedded' and b.jsonl of 'b32'"),
        ({"metric_version": 2}, "'emd' cannot be put together: its version is 1 in a.jsonl and 2 in b.jsonl"),
        ({"fingerprint": "0"}, "its fingerprint is 'ffffffffffffffff' in a.jsonl and '0' in b.jsonl"),
    ],
)
def test_scores_of_two_makes_are_refused(other: dict[str, object], message: str) -> None:
    with pytest.raises(EditEvalError, match=message):
        group_scores({"a.jsonl": [result()], "b.jsonl": [result(case="b", **other)]})


def test_tasks_and_candidates_are_told_apart() -> None:
    rows = [result(task=task, candidate=name, score=1.0) for task in ("day", None) for name in ("v1", "v2")]
    groups = group_scores({"run": rows}, candidate="v2", by_task=True)
    assert {key: group.good for key, group in groups.groups.items()} == {("emd", "day"): [1.0], ("emd", None): [1.0]}
    with pytest.raises(EditEvalError, match="--candidate: unknown candidate 'v3'; known: v1, v2"):
        group_scores({"run": rows}, candidate="v3")


def labels_of(tmp_path: Path, text: str, rows: Sequence[CheckResult]) -> dict[int, bool]:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8"))
    return labelled(read_labels(path), rows)


ROWS = (
    result(case="a", candidate="v1", edited="v1/a.png"),
    result(case="a", candidate="v2", edited="v2/a.png"),
    result(case="a", candidate="v1", edited="v1/a.png", metric="region_emd"),
    result(case="b", candidate="v1", edited="v1/b.png"),
)
KEY = "cases/a.edit.yaml::a::emd"


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("case,label,candidate\na,good,v1\na,bad,v2\nb,bad,\n", {0: True, 2: True, 1: False, 3: False}),
        (f"check,label,candidate\n{KEY},good,v2\n", {1: True}),
        ("check,label\r\ncases/a.edit.yaml::a[v1]::emd,bad\r\n", {0: False}),
        ("\ufeffcase, label ,metric,candidate,note\na, good ,region_emd,v1,\"why, so\"\n", {2: True}),
        ("case,candidate,label\na,v1,good\na,v1,good\n", {0: True, 2: True}),
    ],
)  # fmt: skip
def test_labels_by_case_check_candidate_and_metric(text: str, verdicts: dict[int, bool], tmp_path: Path) -> None:
    assert labels_of(tmp_path, text, ROWS) == verdicts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,label\nb,fine\n", "labels.csv:2: unknown label 'fine'; allowed: good, bad"),
        ("case,label\nb,good\n\nc,good\n", "labels.csv:4: unknown case or check 'c'"),
        ("case,label\nb,good\nb,bad\n", "labels.csv:3: 'b' is bad, but good in "),
        ("case,label,candidate\nb,good,v3\n", "labels.csv:2: unknown candidate 'v3'; known: v1"),
        ("case,label,metric\nb,good,region_emd\n", "labels.csv:2: unknown metric 'region_emd'"),
        ("case,label\na,good\n", "labels.csv:2: 'a' fits 2 edits (cases/a.edit.yaml::a[v1], cases/a.edit.yaml::a[v2])"),
        ("case,verdict\n", "labels.csv:1: needs the columns 'label' and one of 'case', 'check'; found: case, verdict"),
        ("case;label\nb;good\n", "found: case;label"),
        ("case,check,label\n", "labels.csv:1: needs the columns 'label' and one of"),
        ("case,label,label\n", "labels.csv:1: the column 'label' is there twice"),
        ("", "labels.csv:1: needs the columns 'label' and one of 'case', 'check'; found: nothing"),
        ("case,label\nb\n", "labels.csv:2: has not 2 columns"),
        ("case,label\nb,good,x\n", "labels.csv:2: has not 2 columns"),
        ("case,label\n,good\n", "labels.csv:2: 'case' is empty"),
        ('case,label\n"b,good\n', "labels.csv: not CSV: unexpected end of data"),
    ],
)
def test_a_mistake_in_the_labels_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EditEvalError) as caught:
        labels_of(tmp_path, text, ROWS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_that_are_not_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(EditEvalError, match=r"gone\.csv: no such file"):
        read_labels(tmp_path / "gone.csv")
    (tmp_path / "latin.csv").write_bytes("case,label\né,good\n".encode("latin-1"))
    with pytest.raises(EditEvalError, match=r"latin\.csv:2: not UTF-8: byte 0xe9"):
        read_labels(tmp_path / "latin.csv")


@given(SCORES, SCORES, st.booleans(), st.sampled_from([0.0, 0.5, 1e9]))
def test_a_histogram_has_every_score_and_fits(good: list[float], bad: list[float], higher: bool, now: float) -> None:
    group = Group("emd", None, higher, good * 8, bad * 8, now={now})
    groups = group_scores({"run": [result()]}, [])
    proposal = propose(group, 0.05, has_labels=True)
    lines = histogram(proposal, groups)
    assert all(len(line) <= WIDTH for line in lines)
    for line, scores in ((lines[1], good), (lines[2], bad)):
        assert sum(mark in "▁▂▃▄▅▆▇█" for mark in line) <= len(set(scores))
        assert any(mark in "▁▂▃▄▅▆▇█" for mark in line)
    assert ("P" in lines[3]) or ("B" in lines[3])


def test_notes_say_what_a_proposal_is_worth() -> None:
    rows = [result(case=f"c{index}", score=1.0 + index, scope=None if index else "edit_area") for index in range(3)]
    groups = group_scores({"run": [*rows, result(case="control", expect="fail", score=2.0)]})
    text = "\n".join(
        calibration_lines(groups, [propose(groups.groups["emd", None], 0.05, has_labels=False)], 0.05, Screen())
    )
    assert "emd: 3 good scores are too few for that rate of false alarms: the worst of them is proposed" in text
    assert "emd: scores of different scopes are put together: edit_area, whole image" in text
    assert "emd: the proposal lets 1 of 1 edits through that are expected to fail" in text


CASES = """\
# The thresholds of the release.
defaults:
  metrics: {emd: 4.0}      # all of it
cases:
  - {id: c0, instruction: a, task: day, source: s.png, edited: e.png, coords: [[1, 2, 3, 4]]}
  - id: c1
    instruction: a
    source: s.png
    edited: e.png
    coords: [[1, 2, 3, 4]]
    metrics:
      emd:                 # its own
        threshold: {b32: 9, embedded: 5}
      region_emd: {threshold: 1.5, expect: fail}
      sam_clip_cls_sim: {threshold: 0.5, pairs: [{source: [1, 2, 3, 4], edited: [1, 2, 3, 4]}]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 40 edits of each of two metrics, labels (the last ten are bad), and a case file."""
    monkeypatch.chdir(tmp_path)
    rows = [
        result(case=f"c{index}", edited=f"{index}.png", metric=metric, score=1 + index / 10, task="day")
        for index in range(40)
        for metric in ("emd", "region_emd")
    ]
    write_results(tmp_path / "run.jsonl", rows)
    labels = [f"c{index},{'good' if index < 30 else 'bad'}" for index in range(38)]
    (tmp_path / "labels.csv").write_text("\n".join(["case,label", *labels]))
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "a.edit.yaml").write_text(CASES)
    return tmp_path


def test_the_table_and_what_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "run.jsonl", "--labels", "labels.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "profile embedded · labels · false alarms at most 0.05"
    head = "metric good bad AUC [95 %] now proposed false alarms catches [95 %] left out"
    assert " ".join(lines[2].split()) == head
    row = "emd 30 8 1 [0.842, 1] ≤ 4 ≤ 3.8 3.33 % (1 of 30) 100 % [63, 100] (8 of 8) without a label: 2"
    assert " ".join(lines[3].split()) == row
    assert lines[6] == "emd: no good and no bad edit has a score between 3.9 and 4"
    assert lines[-1] == "no case files were named (--cases), so that nothing can be written"


def test_the_diff_is_shown_and_written_only_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "cases" / "a.edit.yaml"
    arguments = ["calibrate", "run.jsonl", "--labels", "labels.csv", "--cases", "cases"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert path.read_text() == CASES
    assert [line for line in out.splitlines() if line[:1] in ("-", "+")] == [
        "--- cases/a.edit.yaml",
        "+++ cases/a.edit.yaml",
        "-  metrics: {emd: 4.0}      # all of it",
        "+  metrics: {emd: 3.8}      # all of it",
        "-        threshold: {b32: 9, embedded: 5}",
        "-      region_emd: {threshold: 1.5, expect: fail}",
        "+        threshold: {b32: 9, embedded: 3.8}",
        "+      region_emd: {threshold: 3.8, expect: fail}",
    ]
    assert out.splitlines()[-1] == "1 of 1 case files would change; nothing is written without --write"
    assert main([*arguments, "--write"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "wrote 1 of 1 case files"
    expected = CASES.replace("{emd: 4.0}", "{emd: 3.8}").replace("embedded: 5", "embedded: 3.8")
    assert path.read_text() == expected.replace("threshold: 1.5", "threshold: 3.8")
    assert main([*arguments, "--write"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no threshold in the 1 case files would change"


def test_a_check_of_another_scope_is_left_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cases" / "a.edit.yaml").write_text(CASES.replace("{threshold: 1.5", "{threshold: 1.5, scope: edit_area"))
    assert main(["calibrate", "run.jsonl", "--cases", "cases"]) == 0
    out = capsys.readouterr().out
    assert "cases/a.edit.yaml:14:31: left as it is: its scope is edit_area, the scores are of unedit_area" in out
    assert "+      region_emd" not in out


def test_a_threshold_for_each_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "run.jsonl", "--by", "task", "--cases", "cases"]) == 0
    out = capsys.readouterr().out
    assert "no check in the case files: region_emd · task day" in out
    assert [line for line in out.splitlines() if line[:2] == "+ "] == ["+  metrics: {emd: 4.7}      # all of it"]
    (folder / "cases" / "a.edit.yaml").write_text(CASES[: CASES.index("    metrics:\n")])
    assert main(["calibrate", "run.jsonl", "--by", "task", "--cases", "cases"]) == 4
    assert capsys.readouterr().err.startswith(
        "editeval: cases/a.edit.yaml:3:18: metric 'emd' in case 'c0' of task 'day' (to be 4.7) and "
        "metric 'emd' in case 'c1' (to stay) share one threshold\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run.jsonl", "--write"], "--write needs --cases"),
        (["run.jsonl", "run.jsonl"], "run.jsonl is given 2 times"),
        (["run.jsonl", "--cases", "gone"], "gone: no such file or directory"),
        (["run.jsonl", "--cases", "empty"], "empty: no case files in it (*.edit.yaml or *.edit.yml)"),
        (["run.jsonl", "--candidate", "v1"], "unknown candidate 'v1'; the runs name no candidates"),
        (["run.jsonl", "--plots", "run.jsonl"], "--plots run.jsonl: File exists"),
        (["run.jsonl", "--config", "b32.yaml"], "the runs are of profile 'embedded', --config b32.yaml is 'b32'"),
        (["run.jsonl", "--false-alarm", "5"], "must be a share between 0 and 1, such as 0.05, found '5'"),
        (["run.jsonl", "--false-alarm", "nan"], "must be a share between 0 and 1"),
        (["gone.jsonl"], "gone.jsonl"),
    ],
)
def test_a_mistake_of_usage_is_one_line(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "b32.yaml").write_text("metric_configs: {emd: {default_config: {model_path: x}}}\n")
    try:
        status = main(["calibrate", *arguments])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    assert status == 4
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("labels", [[], ["--labels", "labels.csv"]])
def test_the_plots_are_pictures(labels: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    assert main(["calibrate", "run.jsonl", *labels, "--plots", "plots/new"]) == 0
    assert "wrote plots/new/emd.png\nwrote plots/new/region_emd.png\n" in capsys.readouterr().out
    with Image.open(folder / "plots" / "new" / "emd.png") as picture:
        assert picture.width == (1320 if labels else 840)


def test_without_matplotlib_the_package_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["calibrate", "run.jsonl", "--plots", "plots"]) == 4
    assert capsys.readouterr().err == "editeval: --plots needs matplotlib; pip install 'pytest-editeval[report]'\n"
    assert main(["calibrate", "run.jsonl"]) == 0


def test_a_proposal_without_scores_says_so() -> None:
    assert propose(Group("emd", None, False), 0.05, has_labels=False) == Proposal(
        Group("emd", None, False), reason="no scores"
    )
