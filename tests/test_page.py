"""The page of a run, read by a parser: what stands in it, and what does not."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pages
from pages import check, gate, page, soft
from pytest_editeval.escapes import visible
from pytest_editeval.reports.html.anchors import anchor
from pytest_editeval.reports.html.charts import BINS, HEIGHT, INTERVAL_WIDTH, WIDTH, distribution, interval
from pytest_editeval.reports.html.contents import TEXT_LENGTH
from pytest_editeval.reports.html.page import write_page
from pytest_editeval.reports.html.tables import (
    gate_table,
    in_order_of_trouble,
    measured_with,
    metric_table,
    slowest,
    soft_table,
    task_table,
)
from pytest_editeval.reports.verdict import RunNotes
from pytest_editeval.results import CheckResult, GateSlice, Outcome, Repeat
from rows import RESULT, TEXT

HUGE = st.floats(allow_nan=False, allow_infinity=False)


def scored(*values: float, higher: bool = False, threshold: float = 5.0, **overrides: Any) -> list[CheckResult]:
    return [
        check(case=f"c{index}", score=value, threshold=threshold, higher_is_better=higher, **overrides)
        for index, value in enumerate(values)
    ]


@pytest.mark.parametrize("higher", [False, True])
def test_bars_are_the_histogram_of_the_scores(higher: bool) -> None:
    values = np.random.default_rng(3).normal(5, 2, 300)
    found = distribution(scored(*values, higher=higher))
    assert found is not None
    low, high = min(values.min(), 5.0), max(values.max(), 5.0)
    room = 0.02 * (high - low)
    counts, _ = np.histogram(values, BINS, (low - room, high + room))
    heights = np.zeros(BINS)
    for bar in found.bars:
        heights[round(bar.x / WIDTH * BINS)] += bar.height
    np.testing.assert_allclose(heights, (counts if higher else counts[::-1]) * HEIGHT / counts.max(), atol=0.02)
    assert found.scored == 300
    assert (found.left, found.right) == ((values.min(), values.max()) if higher else (values.max(), values.min()))


@given(st.lists(HUGE, min_size=1, max_size=20), HUGE, st.booleans())
def test_bars_of_what_passes_lie_right_of_the_threshold_and_all_in_the_picture(
    values: list[float], threshold: float, higher: bool
) -> None:
    found = distribution(scored(*values, higher=higher, threshold=threshold))
    assert found is not None
    (limit,) = found.thresholds
    assert 0 <= limit <= WIDTH
    for bar in found.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert -0.05 <= bar.y <= bar.y + bar.height <= HEIGHT + 0.05
        assert bar.x + WIDTH / BINS >= limit - 0.01 if bar.passed else bar.x <= limit + 0.01
    assert sum(bar.height for bar in found.bars) > 0


def test_a_distribution_counts_no_soft_failures_and_nothing_that_is_no_number() -> None:
    found = distribution([*scored(1.0, 2.0), soft(score=0.0), check(case="nan", score=math.nan)])
    assert found is not None
    assert found.scored == 2
    assert distribution([soft(), check(score=math.inf)]) is None


def test_an_interval_lies_around_its_value_and_better_is_to_the_right() -> None:
    part = GateSlice("", 3.0, 10, True, interval=(2.0, 3.5))
    found = interval(gate(part), part)
    assert found is not None
    assert found.limit < found.low < found.value < found.high  # lower is better, and all is below 4
    mirrored = interval(gate(part, higher_is_better=True), part)
    assert mirrored is not None
    assert mirrored.low == pytest.approx(INTERVAL_WIDTH - found.high, abs=0.01)
    assert mirrored.limit == pytest.approx(INTERVAL_WIDTH - found.limit, abs=0.01)
    # By hand: 2 to 4 and a tenth of that free at both ends, so 3 is in the middle and 4 at 0.1 / 1.2 of the width.
    assert (found.value, found.limit) == (60.0, 10.0)


@pytest.mark.parametrize("higher", [False, True])
def test_a_bound_on_the_bad_side_leaves_the_good_side_open(higher: bool) -> None:
    part = GateSlice("", 3.0, 10, True, bound=2.5 if higher else 3.5)
    found = interval(gate(part, higher_is_better=higher), part)
    assert found is not None
    assert found.low < found.value < found.high == INTERVAL_WIDTH


@given(HUGE, HUGE | st.sampled_from([math.inf, -math.inf]), st.none() | HUGE, st.booleans())
def test_an_interval_stays_in_its_picture(value: float, limit: float, bound: float | None, higher: bool) -> None:
    part = GateSlice("", value, 3, True, bound=bound)
    found = interval(gate(part, threshold=limit, higher_is_better=higher), part)
    assert found is not None
    assert all(0 <= place <= INTERVAL_WIDTH for place in (found.value, found.low, found.high, found.limit))
    assert found.low <= found.high


def test_a_gate_without_a_value_has_no_picture() -> None:
    part = GateSlice("", None, 0, False)
    assert interval(gate(part), part) is None


def test_the_metric_table_counts_and_takes_the_worst_of_what_has_to_pass() -> None:
    rows = [*scored(1.0, 3.0, 9.0), soft(case="soft"), check(case="control", score=50.0, expect="fail")]
    rows += [check(case="broken", outcome=Outcome.ERROR, score=None)]
    (row,) = metric_table(rows)
    assert (row.checks, row.median, row.worst_score, row.thresholds) == (6, "3", "9", "≤ 5")
    assert row.worst is not None
    assert row.worst.case == "c2"
    assert [row.counts[outcome] for outcome in Outcome] == [3, 1, 1, 1]


def test_candidates_and_metrics_have_rows_of_their_own() -> None:
    rows = [check(candidate=name, metric=metric) for name in ("v2", "v1") for metric in ("region_emd", "emd")]
    found = [(row.metric, row.candidate) for row in metric_table(rows)]
    assert found == [("emd", "v1"), ("emd", "v2"), ("region_emd", "v1"), ("region_emd", "v2")]


def test_the_task_table_tells_judged_from_soft() -> None:
    rows = [*scored(1.0, 9.0, task="color"), soft(case="s", task="color"), check(metric="emd", task=None, threshold=5)]
    metrics, tasks = task_table(rows)
    assert metrics == ["emd", "region_emd"]
    assert list(tasks) == ["color", "no task"]
    cell = tasks["color"]["region_emd"]
    assert (cell.passed, cell.judged, cell.soft) == (1, 2, 1)
    assert "emd" not in tasks["color"]


def test_tasks_that_are_shown_alike_are_counted_together() -> None:
    _, tasks = task_table([check(task="a\n"), check(task="a\\n", case="two")])
    assert [cells["region_emd"].judged for cells in tasks.values()] == [2]


def test_soft_failures_are_counted_by_reason_the_most_frequent_first() -> None:
    rows = soft_table([soft(case="a"), soft(case="b", reason="no-boxes"), soft(case="c", reason="no-boxes"), check()])
    assert [(row.reason, len(row.results)) for row in rows] == [("no-boxes", 2), ("no-patch-selected", 1)]


def test_gates_that_fail_come_first_and_show_each_slice_that_fails() -> None:
    good, bad = GateSlice("task=a", 1.0, 5, True), GateSlice("task=b", 6.0, 4, False, soft=2, bound=6.5)
    worst = GateSlice("task=c", 2.0, 5, True)
    passed, failing = gate(good, worst, rule="one"), gate(good, bad, rule="two", candidate="v2")
    first, second = gate_table([passed, failing])
    assert (first.title, first.passed, first.others) == ("two [v2]", False, 1)
    (shown,) = first.slices
    assert (shown.label, shown.value, shown.bounds) == ("task=b", "6", "95 % upper bound 6.5")
    assert (shown.scored, shown.soft) == (4, 2)
    assert [part.label for part in second.slices] == ["task=c"]  # the one nearest to failing


def test_what_was_measured_with_is_told_with_all_versions() -> None:
    rows = [check(versions={"torch": version}, remembered=version == "2.5", duration=1.0) for version in ("2.5", "2.4")]
    facts = dict(measured_with(rows))
    assert facts["torch"] == "2.4, 2.5"
    assert facts["checks"] == "2, 1 of them remembered"
    assert facts["time of the checks"] == "2.0 s"
    assert facts["checkpoints of region_emd"] == "c1" * 16
    assert facts["profile"] == "tiny"


def test_what_the_models_are_is_told_once_for_each() -> None:
    clip = {"path": "openai/clip", "revision": None, "dtype": "float32", "input_size": 224, "mean": [0.5, 0.25]}
    sam = {"path": "<b>sam</b>\n", "dtype": "bfloat16"}
    both = {"backbone": clip, "segmenter": sam}
    rows = [
        check(metric="region_emd", models={"backbone": clip}),
        check(metric="emd", models={"backbone": clip}),
        check(metric="sam_clip_cls_sim", models=both),
        check(metric="emd", models={"backbone": {"note": "x" * 10_000}, "segmenter": {}}),
        check(metric="emd", models={}),
    ]
    facts = dict(measured_with(rows))
    known = "path openai/clip; revision none; dtype float32; input size 224; mean 0.5, 0.25"
    assert facts["backbone of emd, region_emd, sam_clip_cls_sim"] == known
    assert facts["segmenter of sam_clip_cls_sim"] == "path <b>sam</b>\\n; dtype bfloat16"
    assert len(facts["backbone of emd"]) == 600
    assert [name for name in facts if name.startswith("segmenter")] == ["segmenter of sam_clip_cls_sim"]


def test_the_slowest_checks_come_first() -> None:
    rows = [check(case=f"c{index}", duration=float(index)) for index in range(9)]
    assert [row.case for row in slowest(rows)] == ["c8", "c7", "c6", "c5", "c4"]


def test_trouble_comes_first() -> None:
    rows = [
        check(case="clear", score=1.0),
        check(case="near", score=4.9),
        soft(case="soft"),
        check(case="bad", score=6.0),
        check(case="worst", score=60.0),
        check(case="broken", outcome=Outcome.ERROR, score=None),
    ]
    ranks = in_order_of_trouble(rows)
    assert sorted(ranks, key=lambda name: ranks[name]) == [
        f"cases/a.edit.yaml::{case}::region_emd" for case in ("broken", "worst", "bad", "soft", "near", "clear")
    ]


def test_a_page_says_verdict_gates_tables_and_run(tmp_path: Path) -> None:
    rows = [*scored(1.0, 9.0), soft(case="s"), check(case="one", control="destroyed", score=9.0, expect="fail")]
    notes = RunNotes(not_run=["cases/b.edit.yaml::x::emd"], files={"results": "run.jsonl"}, facts={"seed": "7"})
    part = GateSlice("", 5.0, 2, False, bound=6.0)
    text = page(tmp_path, rows, [gate(part)], notes).text
    assert "Failed 1 of 3 checks fail; 1 of 1 gates fail: mean of region_emd ≤ 4; not run: 1." in text
    assert "First to look at: c1 region_emd" in text
    assert "mean of region_emd ≤ 4gates.yaml:3" in text.replace(" gates", "gates")
    assert "95 % upper bound 6" in text
    assert "no-patch-selected" in text
    for fact in ("profile tiny", "pytest-editeval 0.1.0", "results run.jsonl", "seed 7", "not run: cases/b.edit.yaml"):
        assert fact.replace(" ", "") in text.replace(" ", "")


def test_why_gates_were_not_judged_stands_on_the_page(tmp_path: Path) -> None:
    text = page(tmp_path, [check()], (), RunNotes(gates_not_judged="no <file>")).text
    assert "Gates were not judged: no <file>." in text


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    found = page(tmp_path, [])
    assert "Nothing to judge no checks were run." in found.text
    assert found.data["cases"] == []


def test_cases_and_their_checks_come_worst_first(tmp_path: Path) -> None:
    rows = [check(case="good", score=1.0), check(case="bad", score=2.0), check(case="bad", metric="emd", score=90.0)]
    cases = page(tmp_path, rows).data["cases"]
    assert [case["id"] for case in cases] == ["bad", "good"]
    assert [found["metric"] for found in cases[0]["checks"]] == ["emd", "region_emd"]


def test_candidates_of_a_case_are_one_family(tmp_path: Path) -> None:
    cases = page(tmp_path, [check(candidate=name) for name in ("v1", "v2")]).data["cases"]
    assert len({case["family"] for case in cases}) == 1
    assert [case["key"] for case in cases] == ["cases/a/red_scarf~v1", "cases/a/red_scarf~v2"]


def test_automatic_controls_are_marks_on_the_scale_of_their_check(tmp_path: Path) -> None:
    rows = [check(candidate="v2"), check(case="other")]
    rows += [
        check(control=name, candidate=name, score=score, node_id=f"cases/a.edit.yaml::red_scarf[{name}]::region_emd")
        for name, score in (("nothing-done", 0.5), ("destroyed", 40.0))
    ]
    (one, other) = sorted(page(tmp_path, rows).data["cases"], key=lambda case: case["id"], reverse=True)
    assert one["checks"][0]["controls"] == {"nothing-done": 0.5, "destroyed": 40.0}
    assert other["checks"][0]["controls"] == {}


def test_files_that_differ_in_their_suffix_are_different_cases(tmp_path: Path) -> None:
    rows = [check(file="a.edit.yaml"), check(file="a.edit.yml", metric="emd")]
    assert len(page(tmp_path, rows).data["cases"]) == 2


def test_an_anchor_opens_its_check(tmp_path: Path) -> None:
    for text in ("plain", "a b/ü~&=#%+<>", *pages.HOSTILE):
        row = check(case=text, metric=text, file=f"{text}.edit.yaml", node_id=f"{text}.edit.yaml::{text}::{text}")
        (case,) = page(tmp_path, [row]).data["cases"]
        found = parse_qs(anchor(row).removeprefix("#"), strict_parsing=True)
        assert found == {"case": [case["key"]], "check": [case["checks"][0]["metric"]]}


def test_a_check_has_what_explains_its_score(tmp_path: Path) -> None:
    shares = [0.0, 0.25, 0.0, 0.75]
    worst = {"rows": [1, 1], "columns": [1, 1], "share": 0.75, "area": [48, 48, 96, 96]}
    details = {**pages.patches("0101", shares, 2, (0, 0, 96, 96)), "worst": worst}
    row = check(details=details, noise=0.5, baseline=2.5, tolerance=1.0, source_size=(192, 96))
    (found,) = page(tmp_path, [row]).data["cases"][0]["checks"]
    assert found["patches"]["area"] == [0.0, 0.0, 0.5, 1.0]
    assert found["worst"] == worst
    written = np.frombuffer(base64.b64decode(found["patches"]["shares"]), "<u2") / 65535
    np.testing.assert_allclose(written, shares, atol=1e-5)
    assert (found["noise"], found["baseline"], found["worsening"], found["tolerance"]) == (0.5, 2.5, 0.5, 1.0)
    assert found["relation"] == "3 ≤ 5"
    assert found["brief"] == "3 must be ≤ 5, clears by 2"


@pytest.mark.parametrize(
    "details",
    [
        {"worst": {"rows": [0, math.nan], "columns": [0, 0], "share": 1, "area": [0, 0, 1, 1]}},
        {"worst": "x", "pairs": 7, "objects": "xy", "patches": 3},
        {"pairs": [math.nan, "<b>", None, True], "objects": [{"source": {"box": [0, 0, 0, 0]}}]},
        {"objects": [{"source": 1}], "patches": {"rows": 0, "columns": 0, "area": [0, 0, 1, 1], "compared": ""}},
        {"patches": {"rows": 1, "columns": 1, "area": [0, 0, math.inf, 1], "compared": "1"}},
    ],
)
def test_details_of_another_form_are_left_out(tmp_path: Path, details: dict[str, Any]) -> None:
    row = check(details=details, parameters={"bg_color": ["red", None]})
    (found,) = page(tmp_path, [row]).data["cases"][0]["checks"]
    assert (found["worst"], found["objects"], found["patches"]) == (None, None, None)
    assert set(found["pairs"]) <= {None}


def test_long_texts_are_cut_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (case,) = page(tmp_path, [check(instruction="x" * (TEXT_LENGTH + 1234))]).data["cases"]
    assert case["instruction"] == "x" * TEXT_LENGTH + "… (1,234 more characters)"


def test_lists_are_cut_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [soft(case=f"s{index}") for index in range(25)]
    text = page(tmp_path, rows, (), RunNotes(not_run=[f"n{index}" for index in range(23)])).text
    assert "and 5 more" in text
    assert "not run: n19and 3 more" in text


def test_the_policy_lets_in_this_script_and_this_style_and_nothing_else(tmp_path: Path) -> None:
    found = page(tmp_path, [check()])
    (policy,) = [meta["content"] for meta in found.all("meta") if meta.get("http-equiv")]

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(found.style)}'; "
        f"script-src 'sha256-{digest(found.scripts[''])}'"
    )
    assert not [attributes for _, attributes in found.elements if "style" in attributes]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert [attributes["href"] for attributes in found.all("link")] == ["data:,"]


def test_the_same_results_make_the_same_bytes(tmp_path: Path) -> None:
    images = [pages.save(tmp_path / f"{name}.png", (index * 20, 0, 0)) for index, name in enumerate("abcdefgh")]
    rows = [check(one, images[0], case=one.stem) for one in images]
    written = []
    for _ in range(2):
        page(tmp_path, rows)
        written.append((tmp_path / "report.html").read_bytes())
    assert written[0] == written[1]


def test_a_page_that_cannot_be_written_leaves_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(tmp_path, [check()])
    before = (tmp_path / "report.html").read_bytes()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(base64, "b64encode", full)
    pages.save(tmp_path / "a.png")
    with pytest.raises(OSError, match="No space"):
        write_page(tmp_path / "report.html", [check(tmp_path / "a.png")], [], RunNotes())
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "report.html"]


FIELDS = ("case", "metric", "instruction", "task", "reason", "detail", "profile", "device", "covered_by", "scope")


def everywhere(text: str) -> tuple[list[CheckResult], RunNotes, Any]:
    """Results with a text in every field that has one."""
    fields: dict[str, Any] = dict.fromkeys(FIELDS, text)
    file = f"{text}.edit.yaml"
    row = check(
        **fields,
        file=file,
        node_id=f"{file.replace(':', ';')}::case::metric",
        candidate=text,
        tags=(text, "second"),
        source=f"./{text}",
        edited=f"./{text}2",
        versions={text: text},
        fingerprint=text,
        higher_is_better=False,
        details={text: text, "worst": text, "pairs": text},
        parameters={"bg_color": text},
        repeats=(Repeat(1, f"./{text}", 3.0, 2.0, Outcome.PASSED, text, text),),
        quota=1,
    )
    unscored = check(**fields, outcome=Outcome.SOFT_FAILURE, node_id="a::b::c", candidate=text, versions={text: text})
    part = GateSlice(text, 9.0, 1, False, bound=9.5, reason=text)
    judged = gate(part, rule=text, place=text, candidate=text, metric=text)
    notes = RunNotes(not_run=[text], files={text: text}, facts={text: text}, gates_not_judged=text)
    return [row, unscored], notes, judged


@given(TEXT | st.sampled_from(pages.HOSTILE))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_texts_make_no_markup_and_come_back_as_they_are_shown(tmp_path: Path, text: str) -> None:
    text = f"x{text}x"
    plain_rows, plain_notes, plain_gate = everywhere("xx")
    rows, notes, judged = everywhere(text)
    plain = page(tmp_path, plain_rows, [plain_gate], plain_notes)
    found = page(tmp_path, rows, [judged], notes)
    assert found.shape == plain.shape
    assert re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", "".join(found.texts)) == "".join(
        found.texts
    )
    shown = visible(text)
    for case in found.data["cases"]:
        assert (case["id"], case["instruction"], case["task"], case["candidate"]) == (shown, shown, shown, shown)
        assert case["checks"][0]["metric"] == shown
    assert found.data["names"]["metric"] == [shown]
    assert " ".join(f"Gates were not judged: {shown}.".split()) in found.text


@given(st.lists(RESULT, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_page_can_be_made_of_whatever_a_results_file_holds(tmp_path: Path, rows: list[CheckResult]) -> None:
    found = page(tmp_path, rows)
    named = [check_ for case in found.data["cases"] for check_ in case["checks"]]
    assert len(named) == sum(row.control is None for row in rows)


def test_an_address_is_percent_encoded() -> None:
    assert anchor(check(case="a b", metric="é")) == f"#case=cases/a/a%20b&check={quote('é')}"
