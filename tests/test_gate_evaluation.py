"""Gates over results, with numbers worked by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_editeval.errors import LocatedError, Position
from pytest_editeval.gate_rules import Gate
from pytest_editeval.gating.evaluate import BUDGET_FROM_CHECKS, SOFT_FAILURE_BUDGET, judge_gates
from pytest_editeval.reports.gates import gate_explanation, gate_lines, gate_message
from pytest_editeval.reports.layout import Screen
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome
from results import result, scores

WIDE = Screen()

SOFT, ERROR = Outcome.SOFT_FAILURE, Outcome.ERROR


def gate(**overrides: Any) -> Gate:
    fields: dict[str, Any] = {
        "statistic": None if "versus" in overrides else "mean",
        "metric": "emd",
        "threshold": None if "versus" in overrides else 5.0,
        "confidence": None,
        "by": None,
        "where": (),
        "versus": None,
        "no_worse_than": 0.0,
        "name": None,
        "file": None,
        "position": Position(Path("a.edit.yaml"), 2, 5),
    }
    return Gate(**(fields | overrides))


def judge(rule: Gate, results: list[CheckResult], **options: Any) -> GateResult:
    (found,) = judge_gates([rule], results, "tiny", **options)
    return found


def only(found: GateResult) -> GateSlice:
    (part,) = found.slices
    return part


# --- statistics ----------------------------------------------------------------------------------


def test_a_mean_is_held_against_its_threshold_inclusively() -> None:
    found = judge(gate(), scores(4, 6, 4, 6, 4, 6, 4, 6))
    assert found.passed
    assert only(found) == GateSlice("", 5.0, 8, passed=True)
    assert (found.node_id, found.rule, found.place) == (
        "a.edit.yaml::gates::mean emd",
        "mean emd ≤ 5",
        "a.edit.yaml:2:5",
    )
    assert not judge(gate(threshold=4.999), scores(4, 6, 4, 6, 4, 6, 4, 6)).passed


def test_a_failing_slice_behind_a_good_mean() -> None:
    results = [*scores(*[1.0] * 90, task="color_alter"), *scores(*[6.0] * 10, task="subject_replace")]
    assert only(judge(gate(), results)).value == pytest.approx(1.5)
    found = judge(gate(by="task"), results)
    assert not found.passed
    assert [(part.label, part.value, part.passed) for part in found.slices] == [
        ("task=color_alter", 1.0, True),
        ("task=subject_replace", 6.0, False),
    ]


def test_the_direction_is_the_metrics_own() -> None:
    results = scores(*[0.5, 0.9] * 8, metric="sam_clip_cls_sim", threshold=0.1)
    assert judge(gate(metric="sam_clip_cls_sim", statistic="p10", threshold=0.5), results).passed
    found = judge(gate(metric="sam_clip_cls_sim", statistic="p10", threshold=0.51, by="task"), results)
    assert not found.passed
    assert found.rule == "p10 sam_clip_cls_sim ≥ 0.51 by task"
    assert found.node_id == "a.edit.yaml::gates::p10 sam_clip_cls_sim by task"
    assert found.slices[0].label == "task=(none)"


def test_with_confidence_the_bound_on_the_bad_side_has_to_meet_the_threshold() -> None:
    results = scores(*[3.0, 5.0] * 20)
    part = only(judge(gate(threshold=4.2, confidence=0.95), results))
    assert part.value == 4.0
    assert part.bound == pytest.approx(4 + 1.685 / math.sqrt(39), abs=0.05)
    assert not part.passed
    assert only(judge(gate(threshold=4.5, confidence=0.95), results)).passed


def test_too_few_scores_for_the_bound_of_a_tail_do_not_pass() -> None:
    part = only(judge(gate(statistic="p90", confidence=0.95), scores(*[1.0, 2.0] * 6)))
    assert not part.passed
    assert part.reason == "too few for a 95 % bound of p90: 12 scores, 29 are needed"


def test_a_check_with_several_tags_is_in_several_slices() -> None:
    results = [*scores(*[4.0] * 8, tags=("a", "b")), *scores(*[9.0] * 8, tags=("b",)), *scores(*[1.0] * 8)]
    found = judge(gate(by="tag"), results)
    assert [(part.label, part.value, part.scored) for part in found.slices] == [
        ("tag=(none)", 1.0, 8),
        ("tag=a", 4.0, 8),
        ("tag=b", 6.5, 16),
    ]


@pytest.mark.parametrize(
    ("extra", "reason", "counts"),
    [
        ([], "too few to tell: 7 scores, 8 are needed", (0, 0)),
        ([result(outcome=SOFT, score=0.0)], "too few to tell: 7 scores, 8 are needed", (1, 0)),
        ([result(outcome=ERROR)], "1 check ended in an error and has no score", (0, 1)),
        ([result(outcome=ERROR)] * 2, "2 checks ended in an error and have no score", (0, 2)),
        ([result(score=math.nan)], "1 score of 8 is not a finite number", (0, 0)),
    ],
)
def test_what_is_no_score_is_counted_and_never_averaged(
    extra: list[CheckResult], reason: str, counts: tuple[int, int]
) -> None:
    part = only(judge(gate(), [*scores(*[4.0] * 7), *extra]))
    assert (part.passed, part.reason, (part.soft, part.errors)) == (False, reason, counts)


def test_soft_failures_stay_out_of_a_mean_whatever_their_value() -> None:
    results = scores(*[0.8] * 8, metric="dinov3_structure_similarity", threshold=0.5)
    soft = result(metric="dinov3_structure_similarity", outcome=SOFT, score=0.0, threshold=0.5)
    part = only(judge(gate(metric="dinov3_structure_similarity", threshold=0.8), [*results, soft]))
    assert (part.passed, part.value, part.scored, part.soft) == (True, pytest.approx(0.8), 8, 1)


def test_controls_and_covered_failures() -> None:
    controls = [result(score=99.0, control="noise"), result(score=99.0, expect="fail")]
    covered = result(score=6.0, covered_by="a.edit.yaml::gates::pass_rate")
    part = only(judge(gate(), [*scores(*[4.0] * 9), covered, *controls]))
    assert (part.value, part.scored) == (pytest.approx(4.2), 10)


# --- rates ---------------------------------------------------------------------------------------


def test_a_pass_rate_counts_errors_against_and_leaves_soft_failures_out() -> None:
    results = [*scores(*[4.0] * 18), result(score=9.0), result(outcome=ERROR), result(outcome=SOFT)]
    found = judge(gate(metric=None, statistic="pass_rate", threshold=0.9, where=(("metric", "emd"),)), results)
    assert only(found) == GateSlice("", 0.9, 20, passed=True, soft=1, errors=1)
    assert found.rule == "pass rate ≥ 90 % (metric=emd)"
    strict = only(judge(gate(statistic="pass_rate", threshold=0.9, confidence=0.95), results))
    # 18 of 20: the rate at which 18 or more have the probability 5 %.
    rate = strict.bound or 0.0
    assert sum(math.comb(20, k) * rate**k * (1 - rate) ** (20 - k) for k in (18, 19, 20)) == pytest.approx(0.05)
    assert not strict.passed


def test_a_pass_rate_of_few_checks_does_not_pass() -> None:
    assert only(judge(gate(statistic="pass_rate", threshold=0.5), scores(1, 1, 1))).reason == (
        "too few to tell: 3 checks, 8 are needed"
    )


def test_a_metric_that_is_always_soft_does_not_hide_among_others() -> None:
    results = [*scores(*[4.0] * 96), *[result(metric="region_emd", outcome=SOFT)] * 4]
    found = judge(gate(metric=None, statistic="soft_failure_rate", threshold=0.05), results)
    assert [(part.label, part.value, part.passed) for part in found.slices] == [
        ("metric=emd", 0.0, True),
        ("metric=region_emd", 1.0, False),
    ]
    assert found.rule == "soft failures ≤ 5 %"


@pytest.mark.parametrize(("soft", "checks", "violated"), [(1, 5, False), (2, 5, True), (4, 4, False), (3, 10, True)])
def test_the_default_budget(soft: int, checks: int, violated: bool) -> None:
    assert (SOFT_FAILURE_BUDGET, BUDGET_FROM_CHECKS) == (0.2, 5)
    results = [*[result(outcome=SOFT)] * soft, *[result()] * (checks - soft), *[result(control="noise")] * 20]
    found = judge_gates([], results, "tiny")
    assert len(found) == violated
    for budget in found:
        assert (budget.passed, budget.place) == (False, "")
        assert budget.rule == "soft failures ≤ 20 % of emd (the default budget)"
        assert budget.node_id == "editeval::gates::soft_failure_rate emd"


@pytest.mark.parametrize(
    ("rule", "covers"),
    [
        ({"metric": None}, True),
        ({}, True),
        ({"metric": "region_emd"}, False),
        ({"file": "a.edit.yaml"}, True),
        ({"file": "b.edit.yaml"}, False),
        ({"where": (("task", "t"),)}, True),
        ({"where": (("task", "other"),)}, False),
    ],
)
def test_an_own_gate_takes_the_place_of_the_default_budget(rule: dict[str, Any], covers: bool) -> None:
    own = gate(statistic="soft_failure_rate", threshold=1.0, **rule)
    found = judge_gates([own], [result(outcome=SOFT, task="t")] * 6, "tiny")
    assert any("default budget" in budget.rule for budget in found) is not covers


def test_the_default_budget_holds_for_each_candidate() -> None:
    results = [result(candidate="v1")] * 9 + [result(candidate="v2", outcome=SOFT)] * 6
    (found,) = judge_gates([], results, "tiny")
    assert found.node_id == "editeval::gates::soft_failure_rate emd[v2]"


# --- candidates, names, and what is not there ----------------------------------------------------


def test_a_gate_holds_for_every_candidate_by_itself() -> None:
    results = [*scores(*[4.0] * 8, candidate="v1"), *scores(*[6.0] * 8, candidate="v2")]
    found = judge_gates([gate()], results, "tiny")
    assert [(part.node_id, part.candidate, part.passed) for part in found] == [
        ("a.edit.yaml::gates::mean emd[v1]", "v1", True),
        ("a.edit.yaml::gates::mean emd[v2]", "v2", False),
    ]
    (asked,) = judge_gates([gate(where=(("candidate", "v1"),))], results, "tiny")
    assert (asked.candidate, asked.passed) == ("v1", True)


def test_edits_without_a_candidate_beside_those_of_candidates() -> None:
    """They are known bad ones, whatever the model: nobody answers for them."""
    results = [*scores(*[4.0] * 8, candidate="v1"), *scores(*[9.0] * 8, file="b.edit.yaml")]
    (found,) = judge_gates([gate()], results, "tiny")
    assert (found.candidate, found.slices[0].scored) == ("v1", 8)


def test_names_are_unique_and_keep_to_node_ids() -> None:
    gates = [gate(), gate(), gate(name="mean emd 2"), gate(name="a::b [c]"), gate(versus="baseline")]
    slugs = [found.node_id.split("::gates::")[1] for found in judge_gates(gates, scores(*[1.0] * 8), "tiny")]
    assert slugs == ["mean emd", "mean emd 2", "mean emd 2 2", "a:b (c)", "emd versus baseline"]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (
            {"where": (("task", "colour_alter"),)},
            "no check has task 'colour_alter'; there are: color_alter, subject_remove",
        ),
        ({"metric": "region_emd"}, "no check has metric 'region_emd'; there are: emd"),
        ({"file": "b.edit.yaml"}, "no check has file 'b.edit.yaml'; there are: a.edit.yaml"),
        ({"where": (("candidate", "v9"),)}, "no check has candidate 'v9'; there are none"),
        ({"where": (("tag", "x"),)}, "no check has tag 'x'; there are none"),
        (
            {"where": (("task", "color_alter"), ("case", "c1"))},
            "no check has all of: metric 'emd', task 'color_alter', case 'c1'",
        ),
        ({"versus": "v9"}, "no check has candidate 'v9'; there are none"),
        ({"versus": "baseline"}, "needs --editeval-baseline"),
    ],
)
def test_a_gate_about_nothing_does_not_pass_and_names_what_there_is(rule: dict[str, Any], reason: str) -> None:
    results = [result(case="c0", task="color_alter"), result(case="c1", task="subject_remove")]
    part = only(judge(gate(**rule), results))
    assert (part.passed, part.reason) == (False, reason)


def test_without_any_check_a_gate_does_not_pass() -> None:
    assert not judge(gate(), []).passed
    assert not judge(gate(metric=None, statistic="soft_failure_rate", threshold=0.5), []).passed


def test_checks_that_were_not_run_may_be_the_gates_own() -> None:
    good = scores(*[4.0] * 8)
    part = only(judge(gate(), good, not_run=["a.edit.yaml::c8::emd", "b.edit.yaml::c9::emd"]))
    assert (part.passed, part.reason) == (False, "2 of the run's checks were not run")
    assert judge(gate(), good, not_run=["a.edit.yaml::c8::region_emd"]).passed
    assert judge(gate(file="a.edit.yaml"), good, not_run=["b.edit.yaml::c8::emd"]).passed
    sliced = judge(gate(by="task"), good, not_run=["a.edit.yaml::c8::emd"])
    assert [part.passed for part in sliced.slices] == [True, False]


def test_a_candidate_of_which_nothing_was_run_does_not_vanish() -> None:
    results = scores(*[4.0] * 8, candidate="v1")
    found = judge_gates([gate()], results, "tiny", not_run=["a.edit.yaml::c0[v2]::emd"])
    assert [(part.candidate, part.passed) for part in found] == [("v1", True), ("v2", False)]
    assert found[1].slices[0].reason == "1 of the run's checks were not run"


def test_a_threshold_of_another_profile_is_a_mistake_with_a_place() -> None:
    with pytest.raises(LocatedError, match=r"^a\.edit\.yaml:2:5: the gate has no threshold for profile 'tiny'"):
        judge_gates([gate(threshold={"base": 5.0})], scores(1, 2), "tiny")


# --- comparisons ---------------------------------------------------------------------------------


def test_against_a_baseline_pair_by_pair() -> None:
    results = [*scores(*[5.0] * 10), result(case="new"), result(case="soft", outcome=SOFT), result(case="was_soft")]
    baseline = {f"a.edit.yaml::c{index}::emd": 4.9 - index / 100 for index in range(10)}
    baseline |= {"a.edit.yaml::soft::emd": 4.0, "a.edit.yaml::was_soft::emd": None, "a.edit.yaml::gone::emd": 1.0}
    found = judge(gate(versus="baseline", no_worse_than=0.2), results, baseline=baseline)
    part = only(found)
    assert part.value == pytest.approx(0.145)  # 0.10, 0.11, ..., 0.19
    assert (part.passed, part.scored, part.soft, part.missing) == (True, 10, 2, 1)
    assert found.rule == "emd no worse than baseline + 0.2"
    assert not judge(gate(versus="baseline", no_worse_than=0.14), results, baseline=baseline).passed


def test_worse_is_lower_where_higher_is_better() -> None:
    results = scores(*[0.7] * 8, metric="sam_clip_cls_sim", threshold=0.5)
    baseline = {check.key: 0.8 for check in results}
    found = judge(gate(metric="sam_clip_cls_sim", versus="baseline", no_worse_than=0.05), results, baseline=baseline)
    assert only(found).value == pytest.approx(0.1)
    assert not found.passed
    assert found.rule == "sam_clip_cls_sim no worse than baseline - 0.05"


def test_against_another_candidate() -> None:
    results = [
        *scores(*[4.0] * 9, candidate="v1"),
        result(candidate="v1", case="c0", score=99.0, control="noise"),
        *scores(*[4.5] * 8, candidate="v2"),
        result(candidate="v2", case="own", score=1.0),
    ]
    found = judge(gate(versus="v1", no_worse_than=0.4), results)
    assert found.node_id == "a.edit.yaml::gates::emd versus v1[v2]"
    assert only(found) == GateSlice("", 0.5, 8, passed=False, missing=2)  # `own`, and v1's ninth


def test_an_error_on_either_side_of_a_comparison_fails_it() -> None:
    results = [*scores(*[4.0] * 9, candidate="v1"), *scores(*[4.0] * 9, candidate="v2")]
    results[0] = result(candidate="v1", case="c0", outcome=ERROR)
    part = only(judge(gate(versus="v1"), results))
    assert (part.passed, part.reason) == (False, "1 check ended in an error and has no score")


def test_tests_of_one_candidate_are_corrected_together() -> None:
    from scipy.stats import ttest_1samp

    steps = [0.3 * step for step in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 1.5, -1.5)]  # no skewness, mean 0
    shifts = {"emd": 0.3, "region_emd": 0.9}
    results = [
        check
        for metric, shift in shifts.items()
        for check in scores(*(4 + shift + step for step in steps), metric=metric)
    ]
    gates = [gate(metric=metric, versus="baseline", no_worse_than=0.1, confidence=0.95) for metric in shifts]
    found = judge_gates(gates, results, "tiny", baseline={check.key: 4.0 for check in results})
    raw = [
        ttest_1samp([shift + step for step in steps], 0.1, alternative="greater").pvalue for shift in shifts.values()
    ]
    assert raw[1] < 0.05 < raw[0]
    assert only(found[1]).p_value == pytest.approx(2 * raw[1])
    assert only(found[0]).p_value == pytest.approx(raw[0])
    assert [part.passed for part in found] == [True, False]
    for part in (only(judged) for judged in found):
        assert part.interval is not None
        assert (part.interval[0] > 0.1) is not part.passed


def test_the_verdict_of_a_comparison_is_corrected() -> None:
    steps = [0.3 * step for step in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 1.5, -1.5)]
    results = scores(*(4.4 + step for step in steps))
    baseline = {check.key: 4.0 for check in results}
    alone = gate(versus="baseline", no_worse_than=0.1, confidence=0.95)
    assert not judge(dataclasses.replace(alone, no_worse_than=0.05), results, baseline=baseline).passed
    many = [dataclasses.replace(alone, no_worse_than=0.05)] * 10
    found = judge_gates(many, results, "tiny", baseline=baseline)
    assert all(part.passed and (only(part).interval or (1.0,))[0] <= 0.05 for part in found)


# --- whatever the results are --------------------------------------------------------------------

checks = st.builds(
    result,
    case=st.sampled_from(["c0", "c1", "c2", "c3"]),
    candidate=st.sampled_from([None, "v1", "v2"]),
    metric=st.sampled_from(["emd", "sam_clip_cls_sim"]),
    task=st.sampled_from([None, "a", "b"]),
    tags=st.sampled_from([(), ("x",), ("x", "y", "x")]),
    score=st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0, math.nan, math.inf])),
    outcome=st.sampled_from(Outcome),
)
EVERY_KIND = [
    gate(by="tag"),
    gate(confidence=0.95, by="task"),
    gate(statistic="p10", confidence=0.9),
    gate(statistic="pass_rate", metric=None, threshold=0.9, confidence=0.99),
    gate(statistic="soft_failure_rate", metric=None, threshold=0.1, confidence=0.95),
    gate(versus="baseline", confidence=0.95, by="task"),
    gate(versus="v1", metric="sam_clip_cls_sim", confidence=0.9),
    gate(versus="v2", by="tag"),
]


@given(st.lists(checks, max_size=40), st.floats(-1e9, 1e9))
@settings(deadline=None)  # the first example imports SciPy
def test_any_results_have_a_verdict_that_can_be_printed(results: list[CheckResult], score: float) -> None:
    baseline = {f"a.edit.yaml::c{index}::emd": score for index in range(4)}
    found = judge_gates(EVERY_KIND, results, "tiny", baseline)
    assert len({verdict.node_id for verdict in found}) == len(found)
    for verdict in found:
        assert verdict.slices
        assert all(part.passed or part.reason or part.value is not None for part in verdict.slices)
        assert "\n" not in gate_message(verdict)
        assert gate_explanation(verdict)
        json.dumps(verdict.to_data())
    assert bool(gate_lines(found, WIDE)) is bool(found)


# --- reports -------------------------------------------------------------------------------------


def test_the_section_of_the_terminal_summary() -> None:
    results = [*scores(*[4.0] * 40, task="a"), *scores(*[6.0] * 10, task="b"), *[result(outcome=SOFT, task="b")] * 2]
    gates = [gate(), gate(by="task"), gate(metric=None, statistic="soft_failure_rate", threshold=0.05)]
    gates.append(gate(versus="baseline", no_worse_than=0.2))
    lines = gate_lines(judge_gates(gates, results, "tiny"), WIDE)
    assert lines == [
        "PASS  mean emd ≤ 5                      4.4     n=50   2 soft",
        "FAIL  mean emd ≤ 5 by task              6       task=b   n=10   2 soft   (1 other slice passes)",
        "PASS  soft failures ≤ 5 %               3.85 %  metric=emd   n=52   2 soft",
        "FAIL  emd no worse than baseline + 0.2  -       needs --editeval-baseline",
        "release gate: FAILED (2 of 4)",
    ]
    assert gate_lines([], WIDE) == []


def test_a_comparison_in_words() -> None:
    results = scores(*(4.4 + step / 10 for step in range(12)), candidate="v2")
    rule = gate(versus="baseline", no_worse_than=0.2, confidence=0.95)
    found = judge(rule, results, baseline={check.key: 4.0 for check in results})
    line, verdict = gate_lines([found], WIDE)
    assert line.startswith("FAIL  emd no worse than baseline + 0.2 [v2]  +0.95  [")
    assert line.endswith("p<0.001   paired, n=12, Holm-corrected over 1")
    assert verdict == "release gate: FAILED (1 of 1)"
    assert gate_message(found).startswith("+0.95, at most 0.2 worse, [")


def test_every_failing_slice_is_explained_and_ten_are_listed() -> None:
    results = [check for index in range(13) for check in scores(*[6.0 + index] * 8, task=f"t{index:02}")]
    found = judge(gate(by="task"), [*results, *scores(*[1.0] * 8, task="good")])
    lines = gate_lines([found], WIDE)
    assert sum(line.startswith("FAIL") for line in lines) == 10
    assert lines[0].split() == ["FAIL", "mean", "emd", "≤", "5", "by", "task", "18", "task=t12", "n=8"]
    assert lines[-2].strip() == "... and 3 more   (1 other slice passes)"
    text = gate_explanation(found)
    assert all(f"task=t{index:02}" in text for index in range(13))
    assert text.splitlines()[-1] == "  a.edit.yaml:2:5"
    assert gate_message(found) == "18 must be ≤ 5, task=t12, n=8; 12 more failing; mean emd ≤ 5 by task"


def test_bounds_and_passing_gates_in_words() -> None:
    found = judge(gate(confidence=0.95), scores(*[4.0] * 9))
    assert gate_lines([found], WIDE) == ["PASS  mean emd ≤ 5  4  95 % upper bound 4   n=9", "release gate: passed (1)"]


def test_a_control_that_was_not_run_is_no_gates_own() -> None:
    skipped = ["a.edit.yaml::one[destroyed]::emd", "a.edit.yaml::one[nothing-done]::emd"]
    (found,) = judge_gates([gate()], scores(*[1.0] * 8), "tiny", not_run=skipped)
    assert found.passed
    (missed,) = judge_gates([gate()], scores(*[1.0] * 8), "tiny", not_run=["a.edit.yaml::nine::emd"])
    assert not missed.passed
