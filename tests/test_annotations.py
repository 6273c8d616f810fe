"""Annotations of GitHub Actions: what is printed, how it is escaped, what the limits cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rows
from project import CASES, Project
from pytest_editeval.errors import LocatedError, Position
from pytest_editeval.escapes import cut, visible
from pytest_editeval.reports.annotations import MESSAGE_LENGTH, PER_LEVEL, annotation_lines
from pytest_editeval.reports.standing import missed_by, standing, worst_first
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
HOSTILE = 'a%b,c:d::e\r\n::error::x\x1b[31m\u202eevil\u2028<b>"q"\ud800 \u05e9\u05dc\u05d5\u05dd 🎉'


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A command as the runner reads it: unescaped in the runner's order, `%25` last (ActionCommand.cs)."""
    command = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert command is not None, line
    level, properties, message = command.groups()
    values = dict(entry.split("=", 1) for entry in properties.split(","))
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        values = {name: value.replace(code, character) for name, value in values.items()}
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        message = message.replace(code, character)
    return level, values, message


def failing(**overrides: object) -> CheckResult:
    return rows.result(**{"score": 7.42, "case": "red_scarf", "candidate": "v2", **overrides})


def lines_of(*results: CheckResult, **options: object) -> list[str]:
    return annotation_lines(standing(results), (), (), **options)  # type: ignore[arg-type]


def a_gate(*, passed: bool = False, place: str = "cases/a.edit.yaml:30:5", name: str = "mean emd ≤ 5") -> GateResult:
    part = GateSlice("task=a", 7.0, 12, passed)
    return GateResult("a::gates::x", name, place, "v2", "emd", "mean", 5.0, None, False, (part,))


def test_a_failing_check_is_an_error_at_its_line() -> None:
    (line,) = lines_of(failing())
    level, properties, message = parsed(line)
    assert level == "error"
    assert properties == {"file": "cases/a.edit.yaml", "line": "14", "title": "red_scarf[v2] region_emd"}
    first, instruction, images = message.split("\n")
    assert first == "region_emd = 7.42 must be ≤ 5 (lower is better) misses by 2.42"
    assert (instruction, images) == (
        "Make the scarf red.",
        "source cases/images/source.png, edited cases/images/edited.png",
    )


@pytest.mark.parametrize(
    ("overrides", "level"),
    [
        ({}, "error"),
        ({"outcome": Outcome.ERROR, "detail": "no image"}, "error"),
        ({"outcome": Outcome.SOFT_FAILURE}, "warning"),
        ({"control": "destroyed", "outcome": Outcome.FAILED, "expect": "fail"}, "warning"),
        ({"covered_by": "pass rate ≥ 98 %"}, "notice"),
        ({"score": 4.9, "within_noise": True, "noise": 0.5}, "notice"),
        ({"score": 4.9}, None),
        ({"expect": "fail", "score": 4.9}, "error"),
    ],
)
def test_what_a_check_ends_in_says_the_level(overrides: dict[str, object], level: str | None) -> None:
    assert [parsed(line)[0] for line in lines_of(failing(**overrides))] == ([level] if level else [])


def test_what_runs_with_runxfail_are_told_fails() -> None:
    soft, covered = failing(outcome=Outcome.SOFT_FAILURE), failing(covered_by="gate")
    assert standing([soft, covered], soft_fail=True).failing == (soft,)
    assert len(standing([soft, covered], runxfail=True).failing) == 2


def test_gates_and_mistakes_are_errors_where_they_are_written() -> None:
    mistake = LocatedError(
        Position(Path("cases/b,c:d.edit.yaml").absolute(), 7, 3), "unknown metric 'emdd'", "known: emd"
    )
    first, second = (
        parsed(line) for line in annotation_lines(standing(()), [a_gate(), a_gate(passed=True)], [mistake])
    )
    assert first[1] == {"file": "cases/a.edit.yaml", "line": "30", "title": "gate: mean emd ≤ 5 [v2]"}
    assert first[2] == "7 must be ≤ 5, task=a, n=12; mean emd ≤ 5 [v2]"
    assert second[1]["file"].endswith("cases/b,c:d.edit.yaml")
    assert second[2] == "unknown metric 'emdd'\nknown: emd"


def test_a_gate_that_is_written_nowhere_has_no_file() -> None:
    (line,) = annotation_lines(standing(()), [a_gate(place="")], ())
    assert line.startswith("::error title=gate%3A mean emd ≤ 5 [v2]::")


@pytest.mark.parametrize("count", [9, 10, 11, 33])
def test_what_the_limit_cuts_is_counted_in_the_last_one(count: int) -> None:
    found = lines_of(*(failing(case=f"c{index}", score=6.0 + index) for index in range(count)))
    assert len(found) == min(count, PER_LEVEL)
    assert parsed(found[0])[1]["title"] == f"c{count - 1}[v2] region_emd"
    if count > PER_LEVEL:
        _, properties, message = parsed(found[-1])
        assert properties == {"title": f"and {count - PER_LEVEL + 1} more"}
        assert message == f"{count - PER_LEVEL + 1} × failing checks: see the summary of the run"


def test_every_level_has_a_limit_of_its_own() -> None:
    soft = [failing(case=f"s{index}", outcome=Outcome.SOFT_FAILURE) for index in range(12)]
    found = [parsed(line)[0] for line in lines_of(*soft, *(failing(case=f"c{index}") for index in range(12)))]
    assert found == ["error"] * 10 + ["warning"] * 10


def test_the_worst_of_every_metric_comes_before_the_second_of_any() -> None:
    units = {"emd": 100.0, "dinov3_structure_similarity": 0.01}
    results = [
        rows.result(metric=metric, case=f"{metric}{step}", threshold=0.0, score=step * unit * sign)
        for metric, unit in units.items()
        for sign in [1 if metric == "emd" else -1]
        for step in (1, 2, 3)
    ]
    assert [result.case[-1] for result in worst_first(results)] == ["3", "3", "2", "2", "1", "1"]


def test_a_check_worse_than_it_tolerates_misses_by_the_excess() -> None:
    result = rows.result(score=4.0, baseline=3.0, tolerance=0.25, outcome=Outcome.FAILED)
    assert missed_by(result) == pytest.approx(0.75)


def test_paths_are_from_the_root_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo" / "eval").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    monkeypatch.chdir(tmp_path / "repo" / "eval")

    def file(name: str, workspace: Path) -> str:
        return parsed(lines_of(failing(file=name), workspace=str(workspace))[0])[1]["file"]

    assert file("cases/a.edit.yaml", tmp_path / "repo") == "eval/cases/a.edit.yaml"
    assert file("cases/a.edit.yaml", tmp_path / "link") == "eval/cases/a.edit.yaml"
    assert file(str(tmp_path / "repo" / "x.yaml"), tmp_path / "repo") == "x.yaml"
    assert file(str(tmp_path / "x.yaml"), tmp_path / "repo") == str(tmp_path / "x.yaml")


def test_hostile_text_stays_one_line_and_comes_back_visible() -> None:
    (line,) = lines_of(failing(instruction=HOSTILE, file=f"{HOSTILE}.yaml", edited="e,\n.png"))
    assert line.isprintable()
    line.encode()
    _, properties, message = parsed(line)
    assert properties["file"] == visible(f"{HOSTILE}.yaml")
    assert message.split("\n")[1] == visible(HOSTILE)
    assert "\\u202eevil" in message
    assert "שלום 🎉" in message


@given(st.text(), st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_text_is_one_line_that_the_runner_reads_back(instruction: str, name: str) -> None:
    (line,) = lines_of(failing(instruction=instruction, candidate=name, edited="", source=""))
    assert not re.search(r"[\r\n\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", line)
    _, properties, message = parsed(line)
    assert properties["title"] == cut(f"red_scarf[{name}] region_emd", 255)
    assert message.split("\n")[1] == visible(cut(instruction.strip(), 300))


def test_an_instruction_of_ten_thousand_characters_is_shortened() -> None:
    (line,) = lines_of(failing(instruction="word " * 2000, edited="e" * 10_000))
    assert len(parsed(line)[2]) <= MESSAGE_LENGTH
    assert "…\n" in parsed(line)[2]


@given(st.text(), st.integers(2, 50))
def test_visible_text_is_cut_to_its_length_and_says_so(text: str, length: int) -> None:
    shown = cut(text, length)
    assert len(shown) <= length
    assert shown == visible(text) or shown.endswith("…")
    assert visible(shown) == shown


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch, project: Project, remembered_scores: Path) -> Project:
    """A project in a job of GitHub Actions."""
    project.store = remembered_scores
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return project


def printed(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::error" in line or "::warning" in line or "::notice" in line]


@PLAIN_AND_XDIST
@pytest.mark.parametrize("shown", [(), ("-q",), ("-qq", "--color=yes"), ("-s", "-v"), ("--tb=no", "-ra")])
def test_a_run_prints_its_annotations_once_in_one_block(
    actions: Project, options: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    actions.cases(CASES + "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n")
    actions.cases("cases: [", name="torn.edit.yaml")
    result = actions.run(*options, *shown)
    found = printed(result)
    start = result.outlines.index(found[0])
    assert result.outlines[start : start + len(found)] == found
    folder = actions.path.name
    assert [(level, values.get("file"), values.get("line")) for level, values, _ in map(parsed, found)] == [
        ("error", f"{folder}/a.edit.yaml", "45"),
        ("error", f"{folder}/torn.edit.yaml", "2"),
        ("error", f"{folder}/a.edit.yaml", "43"),
        ("error", f"{folder}/a.edit.yaml", "21"),
        ("warning", f"{folder}/a.edit.yaml", "29"),
    ]


@PLAIN_AND_XDIST
def test_every_mistake_of_a_file_is_at_its_line(actions: Project, options: tuple[str, ...]) -> None:
    actions.cases(
        """
        defaults: {source: source.png, edited: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
        cases:
          - {id: fine, metrics: {region_emd: 0.0}}
          - id: half
            metrics:
              emdd: 1.0
          - {id: boxed, coords: [[20, 20, 10, 80]], metrics: {region_emd: 0.0}}
        """
    )
    found = [parsed(line) for line in printed(actions.run(*options))]
    assert [values["line"] for _, values, _ in found] == ["7", "8"]
    assert found[0][2].startswith("unknown metric 'emdd' in case 'half'; did you mean 'emd'?\nknown: ")


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ("true", (), True),
        ("true", ("--editeval-annotations=off",), False),
        ("true", ("-o", "editeval_annotations=off"), False),
        ("", (), False),
        ("", ("--editeval-annotations=on",), True),
        ("", ("-o", "editeval_annotations=on"), True),
        ("false", (), False),
    ],
)
def test_annotations_are_switched_by_environment_option_and_ini(
    actions: Project,
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    options: tuple[str, ...],
    expected: bool,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", environment)
    actions.one("region_emd: 0.001")
    result = actions.run(*options)
    result.assert_outcomes(failed=1)
    assert bool(printed(result)) is expected


def test_a_mode_that_there_is_not_is_one_line(actions: Project) -> None:
    result = actions.run("-o", "editeval_annotations=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: unknown editeval_annotations 'maybe'; allowed: auto, on, off"])


@pytest.mark.parametrize("dry", ["--collect-only", "--setup-plan"])
def test_a_dry_run_annotates_nothing(actions: Project, dry: str) -> None:
    actions.one("region_emd: 0.001")
    assert not printed(actions.run(dry))


def test_a_run_without_edit_cases_prints_nothing(actions: Project) -> None:
    actions.pytester.makepyfile("def test_mine(): assert False")
    result = actions.run()
    result.assert_outcomes(failed=1)
    assert not printed(result)


def test_beside_a_plugin_that_prints_while_tests_run(actions: Project) -> None:
    """As pytest-github-actions-annotate-failures does, which reads the report of every failing call."""
    actions.pytester.makeconftest(
        """
        import sys
        import pytest
        from _pytest._code.code import ExceptionRepr

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            if report.when == "call" and report.failed:
                path, line, _ = report.location
                assert not isinstance(report.longrepr, ExceptionRepr)
                print(f"::error file={path},line={line + 1}::{report.head_line}", file=sys.stderr)
        """
    )
    actions.one("region_emd: 0.001")
    result = actions.run("-s")
    result.assert_outcomes(failed=1)
    result.stderr.fnmatch_lines(["::error file=a.edit.yaml,line=1::one.region_emd"])
    assert len(printed(result)) == 1


@PLAIN_AND_XDIST
def test_an_instruction_is_no_command_of_the_runner(
    actions: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = actions.one("region_emd: 0.001")
    path.write_text(path.read_text("utf-8").replace("Do it.", "'::stop-commands::x ##[add-path]/x'"), "utf-8")
    lines = actions.run("--editeval-annotations=off", *options).stdout.lines
    assert r"  \x3a:stop-commands::x \x23#[add-path]/x" in lines
    assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    assert "  ::stop-commands::x ##[add-path]/x" in actions.run(*options).stdout.lines
