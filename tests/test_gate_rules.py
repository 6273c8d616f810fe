# ruff: noqa: E501  (a mistake per line reads best)
"""Gates as case files write them: what is read, and the one line of every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_editeval.cases import load_cases
from pytest_editeval.errors import CaseError, LocatedError
from pytest_editeval.gate_rules import Gate, number_for

KNOWN = "\n  known: dinov3_structure_similarity, emd, region_emd, sam_clip_cls_sim, sam_dino_cls_sim"
STATISTICS = "mean, median, min, max, a percentile such as p10, pass_rate or soft_failure_rate"
CASES = "cases: [{id: c, instruction: Do it., source: a.png, edited: b.png, metrics: {emd: 1}}]\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(gates: str) -> tuple[Gate, ...]:
    path = Path("x.edit.yaml")
    path.write_text(f"gates:\n{gates}\n{CASES}", "utf-8")
    return load_cases(path).gates


def test_a_gate_is_read_with_its_file_and_its_place() -> None:
    (gate,) = read(
        "  - {metric: emd, statistic: p10, threshold: {embedded: 5, base: 7}, confidence: 0.95, by: task, where: {case: 7}}"
    )
    assert (gate.metric, gate.statistic, gate.confidence, gate.by) == ("emd", "p10", 0.95, "task")
    assert gate.where == (("case", "7"),)
    assert (gate.file, str(gate.position)) == ("x.edit.yaml", "x.edit.yaml:2:5")
    assert number_for(gate.threshold, gate, "base") == 7


def test_a_comparison_allows_no_worsening_unless_it_says_so() -> None:
    (gate,) = read("  - {metric: emd, versus: baseline}")
    assert (gate.versus, gate.no_worse_than, gate.threshold) == ("baseline", 0.0, None)


@pytest.mark.parametrize("gates", ["  []", "  null"])
def test_there_may_be_none(gates: str) -> None:
    assert read(gates) == ()


def test_a_profile_without_a_number_is_a_mistake_with_a_place() -> None:
    (gate,) = read("  - {metric: emd, statistic: mean, threshold: {embedded: 5, base: 7}}")
    with pytest.raises(LocatedError) as caught:
        number_for(gate.threshold, gate, "large")
    assert str(caught.value) == (
        "x.edit.yaml:2:5: the gate has no threshold for profile 'large'\n  it has thresholds for: base, embedded"
    )


MEAN = "metric: emd, statistic: mean"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{metric: emdd, statistic: mean, threshold: 5}", f"2:14: unknown metric 'emdd' in gates[0]; did you mean 'emd'?{KNOWN}"),
        ("{metric: 5, statistic: mean, threshold: 5}", "2:14: 'metric' in gates[0] must be text, found 5\n  quote it"),
        ("{metric: emd, statistic: meen, threshold: 5}", f"2:30: 'statistic' in gates[0] must be {STATISTICS}, found 'meen'"),
        ("{metric: emd, statistic: p101, threshold: 5}", f"2:30: 'statistic' in gates[0] must be {STATISTICS}, found 'p101'"),
        (f"{{{MEAN}, threshold: 5, by: candidate}}", "2:54: 'by' in gates[0] must be 'task', 'tag', 'metric', 'file' or 'scope', found 'candidate'"),
        (f"{{{MEAN}, threshold: 5, by: [task]}}", "2:54: 'by' in gates[0] must be 'task', 'tag', 'metric', 'file' or 'scope', found a list"),
        (f"{{{MEAN}, threshold: 5, where: {{tsk: a}}}}", "2:58: unknown key 'tsk' of 'where' in gates[0]; did you mean 'task'?\n  known: candidate, case, file, metric, scope, tag, task"),
        (f"{{{MEAN}, threshold: 5, where: {{metric: emdd}}}}", f"2:66: unknown metric 'emdd' in gates[0]; did you mean 'emd'?{KNOWN}"),
        (f"{{{MEAN}, threshold: 5, where: {{task: null}}}}", "2:64: 'where.task' in gates[0] must be a plain value, found nothing"),
        (f"{{{MEAN}, threshold: 5, where: {{task: [a, b]}}}}", "2:64: 'where.task' in gates[0] must be a plain value, found a list"),
        (f"{{{MEAN}, threshold: 5, where: {{1: a}}}}", "2:58: the key 1 of 'where' in gates[0] must be text\n  quote it"),
        (f"{{{MEAN}, threshold: 5, where: [a]}}", "2:57: 'where' in gates[0] must be a mapping, found a list"),
        (f"{{{MEAN}, versus: baseline, threshold: 5}}", "2:5: gates[0] has both 'statistic' and 'versus'\n  keep one"),
        ("{metric: emd}", "2:5: gates[0] needs a 'statistic' or a 'versus'"),
        (f"{{{MEAN}}}", "2:5: gates[0] has no 'threshold'"),
        ("{statistic: mean, threshold: 5}", f"2:5: the mean in gates[0] needs a 'metric'{KNOWN}"),
        ("{versus: baseline}", f"2:5: a comparison in gates[0] needs a 'metric'{KNOWN}"),
        ("{metric: emd, versus: v1, threshold: 0.2}", "2:31: 'threshold' in gates[0] goes with a 'statistic'\n  write 'no_worse_than'"),
        (f"{{{MEAN}, threshold: 5, no_worse_than: 0.2}}", "2:50: 'no_worse_than' in gates[0] goes with 'versus'\n  write 'threshold'"),
        ("{metric: emd, versus: v1, where: {candidate: v1}}", "2:50: gates[0] compares candidate 'v1' with itself"),
        ("{statistic: pass_rate, threshold: 98}", "2:39: 'threshold' in gates[0] must be from 0 to 1 for a rate, found 98"),
        ("{statistic: pass_rate, threshold: {embedded: 98}}", "2:50: 'threshold.embedded' in gates[0] must be from 0 to 1 for a rate, found 98"),
        ("{metric: emd, versus: v1, no_worse_than: -0.2}", "2:46: 'no_worse_than' in gates[0] must be at least 0, found -0.2"),
        (f"{{{MEAN}, threshold: 5, confidence: 1.5}}", "2:62: 'confidence' in gates[0] must be less than 1, found 1.5"),
        (f"{{{MEAN}, threshold: 5, confidence: 0.3}}", "2:62: 'confidence' in gates[0] must be at least 0.5, found 0.3"),
        (f"{{{MEAN}, threshold: 5, confidence: high}}", "2:62: 'confidence' in gates[0] must be a number, found 'high'"),
        ("{metric: emd, statistic: min, threshold: 5, confidence: 0.9}", "2:49: 'confidence' in gates[0] does not go with 'min': a sample does not bound the extremes\n  remove it, or write a percentile such as p5 or p95"),
        ("{metric: emd, statistic: p100, threshold: 5, confidence: 0.9}", "2:50: 'confidence' in gates[0] does not go with 'p100': a sample does not bound the extremes\n  remove it, or write a percentile such as p5 or p95"),
        (f"{{{MEAN}, threshold: five}}", "2:47: 'threshold' in gates[0] must be a number, found 'five'"),
        (f"{{{MEAN}, threshold: [5]}}", "2:47: 'threshold' in gates[0] must be a number or a mapping, found a list"),
        (f"{{{MEAN}, threshold: true}}", "2:47: 'threshold' in gates[0] must be a number, found true"),
        (f"{{{MEAN}, threshold: .inf}}", "2:47: 'threshold' in gates[0] must be a finite number, found .inf"),
        (f"{{{MEAN}, threshold: {{}}}}", "2:47: 'threshold' in gates[0] must not be empty"),
        (f"{{{MEAN}, threshold: {{embedded: five}}}}", "2:58: 'threshold.embedded' in gates[0] must be a number, found 'five'"),
        (f"{{{MEAN}, treshold: 5}}", "2:36: unknown key 'treshold' in gates[0]; did you mean 'threshold'?\n  known: by, confidence, metric, name, no_worse_than, statistic, threshold, versus, where"),
        (f"{{{MEAN}, threshold: 5, name: ''}}", "2:56: 'name' in gates[0] must not be empty"),
        ("{metric: emd, versus: 2}", "2:27: 'versus' in gates[0] must be text, found 2\n  quote it"),
        ("5", "2:5: gates[0] must be a mapping, found 5"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(gate: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        read(f"  - {gate}")
    assert str(caught.value) == f"x.edit.yaml:{message}"


def test_gates_that_are_no_list_are_a_mistake() -> None:
    with pytest.raises(CaseError) as caught:
        read("  {metric: emd}")
    assert str(caught.value) == "x.edit.yaml:2:3: 'gates' must be a list, found a mapping"


def test_every_mistake_of_every_gate_is_told() -> None:
    with pytest.raises(CaseError) as caught:
        read("  - {metric: emdd, statistic: pass_rate, threshold: 98}\n  - {metric: emd}")
    lines = [line for line in str(caught.value).splitlines() if not line.startswith(" ")]
    assert [line.split(": ")[0] for line in lines] == ["x.edit.yaml:2:14", "x.edit.yaml:2:53", "x.edit.yaml:3:5"]
