"""Gates in a run of pytest: reports, exit status, who decides a check; plain and under xdist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conftest import picture
from project import Project
from pytest_editeval.results_file import read_results
from pytest_editeval.statuses import CHECKS_FAILED, GATE_FAILED, NOTHING_SCORED

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.fixture(autouse=True)
def _remembered(project: Project, remembered_scores: Path) -> None:
    project.store = remembered_scores


# What a case is: `same` scores 0, `other` several hundred, `speck` cannot be scored, `gone` has no edited image.
EDITED = {"same": "source.png", "other": "other.png", "speck": "other.png", "gone": "gone.png"}
BOX = {"speck": "[[40, 40, 41, 41]]"}


def suite(
    project: Project,
    kinds: Sequence[str],
    gates: str = "",
    *,
    threshold: float = 1e9,
    tasks: Sequence[str] = (),
    name: str = "a.edit.yaml",
) -> None:
    """A file of cases of these kinds, with `region_emd` (inside the box for a speck, where nothing can be compared)."""
    lines = ["defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}", "cases:"]
    for index, kind in enumerate(kinds):
        task = f", task: {tasks[index]}" if tasks else ""
        box = f", coords: {BOX[kind]}" if kind in BOX else ""
        scope = "edit_area" if kind in BOX else "unedit_area"
        metric = f"{{region_emd: {{threshold: {threshold}, scope: {scope}}}}}"
        lines.append(f"  - {{id: c{index}, edited: {EDITED[kind]}, metrics: {metric}{task}{box}}}")
    project.cases("\n".join([*lines, gates]), name)


@PLAIN_AND_XDIST
@pytest.mark.parametrize(
    ("kinds", "gate", "threshold", "status", "outcomes"),
    [
        pytest.param(["same"] * 8, "statistic: mean, threshold: 0.1", 1e9, 0, {"passed": 9}, id="all well"),
        pytest.param(["same"] * 8 + ["other"], "statistic: mean, threshold: 0.1", 1e9, GATE_FAILED,
                     {"passed": 9, "failed": 1}, id="gate fails"),
        pytest.param(["same"] * 8 + ["other"], "statistic: mean, threshold: 0.1", 0.1, CHECKS_FAILED,
                     {"passed": 8, "failed": 2}, id="check and gate fail"),
        pytest.param(["same"] * 9 + ["other"], "statistic: pass_rate, threshold: 0.9", 0.1, 0,
                     {"passed": 10, "xfailed": 1}, id="covered"),
        pytest.param(["same"] * 8 + ["other"] * 2, "statistic: pass_rate, threshold: 0.9", 0.1, GATE_FAILED,
                     {"passed": 8, "xfailed": 2, "failed": 1}, id="covered and too many"),
        pytest.param(["same"] * 8 + ["gone"], "statistic: pass_rate, threshold: 0.5", 0.1, CHECKS_FAILED,
                     {"passed": 9, "failed": 1}, id="a missing edit is nobody's to cover"),
        pytest.param(["same"] * 7, "statistic: pass_rate, threshold: 0.5", 0.1, GATE_FAILED,
                     {"passed": 7, "failed": 1}, id="too few"),
        pytest.param(["speck"] * 4, "statistic: soft_failure_rate, threshold: 1.0", 0.1, NOTHING_SCORED,
                     {"passed": 1, "xfailed": 4}, id="nothing scored"),
        pytest.param(["same"] * 8 + ["speck"] * 2, "statistic: soft_failure_rate, threshold: 0.2", 0.1, 0,
                     {"passed": 9, "xfailed": 2}, id="within the budget"),
        pytest.param(["same"] * 8 + ["speck"] * 3, "statistic: soft_failure_rate, threshold: 0.2", 0.1, GATE_FAILED,
                     {"passed": 8, "xfailed": 3, "failed": 1}, id="over the budget"),
        pytest.param(["same"] * 4 + ["speck"], None, 0.1, 0, {"passed": 4, "xfailed": 1}, id="default budget holds"),
        pytest.param(["same"] * 3 + ["speck"] * 2, None, 0.1, GATE_FAILED,
                     {"passed": 3, "xfailed": 2, "failed": 1}, id="default budget is violated"),
        pytest.param(["same"] * 3 + ["speck"], None, 0.1, 0, {"passed": 3, "xfailed": 1}, id="too few for a budget"),
        pytest.param(["speck"] * 5, None, 0.1, NOTHING_SCORED, {"xfailed": 5, "failed": 1}, id="all soft"),
        pytest.param(["gone"] * 2, None, 0.1, CHECKS_FAILED, {"failed": 2}, id="all edits missing"),
    ],
)  # fmt: skip
def test_the_exit_status(
    project: Project,
    kinds: list[str],
    gate: str | None,
    threshold: float,
    status: int,
    outcomes: dict[str, int],
    options: tuple[str, ...],
) -> None:
    suite(project, kinds, f"gates: [{{metric: region_emd, {gate}}}]" if gate else "", threshold=threshold)
    result = project.run(*options)
    result.assert_outcomes(**outcomes)
    assert result.ret == status
    assert "Traceback" not in result.stdout.str()


RESULTS = "--editeval-results=run.jsonl"


def worst(project: Project) -> float:
    """The largest score; it differs between versions of the library that makes the checkpoints."""
    return max(row.score for row in read_results(project.path / "run.jsonl") if row.score is not None)


@PLAIN_AND_XDIST
def test_a_failing_slice_is_not_hidden_by_a_good_mean(project: Project, options: tuple[str, ...]) -> None:
    kinds, tasks = ["same"] * 60 + ["other"] * 8, ["color"] * 60 + ["remove"] * 8
    gates = """
gates:
  - {metric: region_emd, statistic: mean, threshold: 100}
  - {metric: region_emd, statistic: median, threshold: 100, by: task}
"""
    suite(project, kinds, gates, tasks=tasks)
    result = project.run("-rf", RESULTS, *options)
    assert result.ret == GATE_FAILED
    score = worst(project)
    result.stdout.fnmatch_lines(
        [
            "*_ a.edit.yaml::gates::median region_emd by task _*",
            "  median region_emd ≤ 100 by task",
            f"  {score:.4g}*task=remove, n=8",
            "  1 other slice passes",
            "  a.edit.yaml:*:5",
            "*─ gates ─*",
            "PASS  mean region_emd ≤ 100 *",
            f"FAIL  median region_emd ≤ 100 by task  {score:.4g} *task=remove * n=8 * (1 other slice passes)",
            "release gate: FAILED (1 of 2)",
            f"FAILED a.edit.yaml::gates::median region_emd by task - {score:.4g} must be ≤ 100, task=remove*",
        ]
    )


def test_a_gate_of_the_configuration_is_about_every_file(project: Project) -> None:
    config = (project.path / "tiny.yaml").read_text("utf-8")
    project.write("tiny.yaml", config + "gates: [{metric: region_emd, statistic: max, threshold: 1}]\n")
    suite(project, ["same"] * 5)
    suite(project, ["same"] * 5, "gates: [{metric: region_emd, statistic: max, threshold: 2}]", name="b.edit.yaml")
    result = project.run()
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(
        [
            "PASS  max region_emd ≤ 1*n=10",
            "FAIL  max region_emd ≤ 2*n=5*too few to tell: 5 scores, 8 are needed",
        ]
    )


def test_a_gate_holds_for_every_candidate_by_itself(project: Project) -> None:
    for name, content in (("v1", 1), ("v2", 2)):
        (project.path / name).mkdir()
        for index in range(8):
            picture(content).save(project.path / name / f"c{index}.png")
    suite(project, ["same"] * 8, "gates: [{metric: region_emd, statistic: mean, threshold: 1}]")
    result = project.run("--editeval-candidate=v1=v1", "--editeval-candidate=v2=v2")
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(
        [
            "PASS  mean region_emd ≤ 1 [[]v1[]]*",
            "FAIL  mean region_emd ≤ 1 [[]v2[]]*",
            "FAILED a.edit.yaml::gates::mean region_emd[[]v2[]] - *",
        ]
    )


@PLAIN_AND_XDIST
def test_gates_are_in_junit(project: Project, options: tuple[str, ...]) -> None:
    suite(project, ["same"] * 8 + ["other"], "gates: [{name: drift, metric: region_emd, statistic: max, threshold: 1}]")
    project.run("--junitxml=junit.xml", RESULTS, *options)
    tree = ElementTree.parse(project.path / "junit.xml").getroot()
    (found,) = (case for case in tree.iter("testcase") if case.get("name") == "drift")
    assert found.get("classname") == "a.edit.yaml.gates"
    failure = found.find("failure")
    assert failure is not None
    assert failure.get("message", "").startswith(f"{worst(project):.4g} must be ≤ 1, ")
    properties = {one.get("name"): one.get("value") for one in found.iter("property")}
    assert (properties["gate"], properties["scored"], properties["outcome"]) == ("max region_emd ≤ 1", "9", "failed")
    totals = tree.find("testsuite")
    assert totals is not None
    assert (totals.get("tests"), totals.get("failures")) == ("10", "1")


@PLAIN_AND_XDIST
def test_a_covered_check_says_which_gate_decides(project: Project, options: tuple[str, ...]) -> None:
    gates = "gates: [{statistic: pass_rate, threshold: 0.5}]"
    suite(project, ["same"] * 8 + ["other"], gates, threshold=0.1)
    result = project.run("-rx", RESULTS, *options)
    score = worst(project)
    misses = f"{score:.4g} must be ≤ 0.1, misses by {score - 0.1:.4g} (covered by gate pass_rate)"
    result.stdout.fnmatch_lines(
        [
            "below their threshold, which a gate decides: 1 × pass_rate",
            "PASS  pass rate ≥ 50 % *",
            f"XFAIL a.edit.yaml::c8::region_emd - *{misses}",  # pytest 8.0 has `reason: ` before it
        ]
    )
    strict = project.run("--runxfail", *options)
    assert strict.ret == CHECKS_FAILED
    strict.assert_outcomes(passed=9, failed=1)


@PLAIN_AND_XDIST
@pytest.mark.parametrize("narrowed", ["-k=c8", "a.edit.yaml::c8", "--deselect=a.edit.yaml::c0"])
def test_a_look_at_some_checks_judges_no_gate(project: Project, narrowed: str, options: tuple[str, ...]) -> None:
    """Neither do gates take over: what fails, fails."""
    gates = "gates: [{statistic: pass_rate, threshold: 0.5}, {metric: region_emd, statistic: max, threshold: 1}]"
    suite(project, ["same"] * 8 + ["other"], gates, threshold=0.1)
    result = project.run(*narrowed.split("="), *options)
    assert result.ret == CHECKS_FAILED
    result.assert_outcomes(failed=1, **{key: value for key, value in result.parseoutcomes().items() if key != "failed"})
    result.stdout.fnmatch_lines(["gates: not judged: * leaves checks out (--editeval-gates on judges what is left)"])
    judged = project.run("--editeval-gates=on", *narrowed.split("="), *options)
    assert judged.ret == GATE_FAILED
    judged.stdout.fnmatch_lines(["*─ gates ─*"])


@PLAIN_AND_XDIST
def test_a_marker_makes_a_suite(project: Project, options: tuple[str, ...]) -> None:
    """A gate about what it leaves out is not judged, one about what there is not fails as ever."""
    tasks = ["color"] * 8 + ["remove"]
    gates = """
gates:
  - {metric: region_emd, statistic: max, threshold: 1}
  - {metric: region_emd, statistic: max, threshold: 1, where: {task: remove}}
"""
    suite(project, ["same"] * 8 + ["other"], gates, tasks=tasks)
    suite(
        project,
        ["same"],
        "gates: [{name: b, statistic: pass_rate, threshold: 1}]",
        tasks=["remove"],
        name="b.edit.yaml",
    )
    result = project.run("-m", "color", *options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "PASS  max region_emd ≤ 1*n=8",
            "release gate: passed (1)",
            "gates whose checks were all deselected: max region_emd task=remove, b",
        ]
    )
    suite(project, ["same"] * 8 + ["other"], gates.replace("task: remove", "task: removed"), tasks=tasks)
    assert project.run("-m", "color", *options).ret == GATE_FAILED


def test_gates_can_be_switched_off(project: Project) -> None:
    suite(project, ["same"] * 3 + ["other"], "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    result = project.run("--editeval-gates=off")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gates: not judged: --editeval-gates off"])


@PLAIN_AND_XDIST
def test_a_run_that_stops_early_says_that_gates_were_not_judged(project: Project, options: tuple[str, ...]) -> None:
    suite(project, ["other"] * 9, "gates: [{metric: region_emd, statistic: max, threshold: 1}]", threshold=0.1)
    result = project.run("-x", *options)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["gates: not judged: the run stopped early"])


def test_a_check_that_was_skipped_is_missed(project: Project) -> None:
    project.pytester.makeconftest(
        """
        import pytest

        def pytest_runtest_setup(item):
            if "c8" in item.nodeid:
                pytest.skip("no time")
        """
    )
    suite(project, ["same"] * 9, "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    result = project.run()
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(["FAIL  max region_emd ≤ 1*1 of the run's checks were not run"])


def test_a_gate_without_a_threshold_for_the_profile_fails(project: Project) -> None:
    suite(project, ["same"] * 9, "gates: [{metric: region_emd, statistic: max, threshold: {other: 1}}]")
    result = project.run()
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(
        ["ERROR: a.edit.yaml:12:9: the gate has no threshold for profile 'tiny'", "  it has thresholds for: other"]
    )


def test_a_gate_on_an_unknown_metric_is_one_line(project: Project) -> None:
    suite(project, ["same"], "gates: [{metric: emdd, statistic: mean, threshold: 1}]")
    result = project.run()
    assert result.ret == CHECKS_FAILED
    result.stdout.fnmatch_lines(["a.edit.yaml:4:18: unknown metric 'emdd' in gates[[]0[]]; did you mean 'emd'?"])


def test_a_gate_on_an_unknown_slice_names_those_that_there_are(project: Project) -> None:
    gates = "gates: [{statistic: pass_rate, threshold: 0.5, where: {task: colour}}]"
    suite(project, ["same"] * 8, gates, tasks=["color"] * 8)
    result = project.run()
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(["FAIL  pass rate ≥ 50 % (task=colour)*no check has task 'colour'; there are: color*"])


def test_ordinary_tests_that_fail_are_the_exit_status(project: Project) -> None:
    suite(project, ["same"] * 8 + ["other"], "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    project.pytester.makepyfile("def test_it():\n    raise ValueError\n")
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_the_progress_counts_gates(project: Project) -> None:
    suite(project, ["same"] * 8, "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    result = project.run("-v")
    result.stdout.fnmatch_lines(["a.edit.yaml::gates::max region_emd PASSED *[[]100%[]]"])
    assert "101%" not in result.stdout.str() + project.run().stdout.str()


def test_collecting_alone_judges_nothing(project: Project) -> None:
    suite(project, ["same"] * 8, "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    for option in ("--collect-only", "--setup-plan"):
        result = project.run(option)
        assert result.ret == 0
        assert "gates" not in result.stdout.str()


def test_a_gate_that_failed_is_judged_again_with_lf(project: Project) -> None:
    """It is no item that could be run alone: everything runs, nothing is left out, so it is judged."""
    suite(project, ["same"] * 8 + ["other"], "gates: [{metric: region_emd, statistic: max, threshold: 1}]")
    assert project.pytester.runpytest().ret == GATE_FAILED
    again = project.pytester.runpytest("--lf")
    assert again.ret == GATE_FAILED
    again.assert_outcomes(passed=9, failed=1)
    suite(project, ["same"] * 8 + ["other"], "gates: [{metric: region_emd, statistic: max, threshold: 1}]", threshold=1)
    assert project.pytester.runpytest().ret == CHECKS_FAILED
    narrowed = project.pytester.runpytest("--lf")
    narrowed.assert_outcomes(failed=1, deselected=8)
    narrowed.stdout.fnmatch_lines(["gates: not judged: --lf leaves checks out*"])
