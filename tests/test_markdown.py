"""The Markdown summary: read back by a Markdown parser, with links and HTML as GitHub's has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

import rows
from project import CASES, Project
from pytest_editeval.cli import main
from pytest_editeval.errors import LocatedError, Position
from pytest_editeval.escapes import cut, visible
from pytest_editeval.reports.markdown import INSTRUCTION_LENGTH, LIMIT, RunNotes, markdown
from pytest_editeval.reports.markdown_tables import cell, code
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome
from pytest_editeval.results_file import write_results

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
PARSER = MarkdownIt("gfm-like")
EXPECTED = {
    *("heading", "paragraph", "inline", "text", "code_inline", "strong", "bullet_list", "list_item", "softbreak"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
HOSTILE = [
    "a|b\\|c\\\\|d",
    "`tick` ``two`` ``` `",
    "<script>alert(1)</script><img src=x onerror=y>&lt;&amp;",
    "*bold* _it_ ~~gone~~ # head [link](http://evil.example) ![i](x)",
    "@someone #123 http://evil.example www.evil.example me@evil.example GH-1 5f5f5f5f",
    "two\nlines\r\nand\ttab\x00\x1b[31m\u202eesrever\u2028\u2066",
    "\ud800 lone \udfff",
    "שלום עולם 🎉👩‍👩‍👧",
    "- item", "1. item", "> quote", "```", "---", "|---|", "    code", ":tada: $`x`$ $$y$$", "\\", "`", " ", "  a  ",
    "x" * 10_000,
]  # fmt: skip


def walked(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from walked(token.children or ())


def text_of(inline: Token) -> str:
    """What a reader sees of a cell or a paragraph."""
    return "".join(child.content if child.type != "softbreak" else "\n" for child in inline.children or ())


def tables(source: str) -> dict[str, list[list[str]]]:
    """The cells of every table by its heading, as a reader sees them; nothing else may be there than is expected."""
    tokens = PARSER.parse(source)
    found = {token.type.removesuffix("_open").removesuffix("_close") for token in walked(tokens)}
    assert found <= EXPECTED, found - EXPECTED
    named: dict[str, list[list[str]]] = {}
    title = ""
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            title = tokens[index + 1].content
        elif token.type == "tr_open":
            named.setdefault(title, []).append([])
        elif token.type in ("td_open", "th_open"):
            named[title][-1].append(text_of(tokens[index + 1]))
    assert all(len({len(cells) for cells in table}) == 1 for table in named.values())
    return named


def failing(**overrides: object) -> CheckResult:
    return rows.result(**{"score": 7.42, **overrides})


def a_gate(*, passed: bool = False, rule: str = "mean emd ≤ 5", **overrides: object) -> GateResult:
    part = GateSlice(**{"label": "task=a", "value": 7.0, "scored": 12, "passed": passed, "bound": 7.5} | overrides)  # type: ignore[arg-type]
    return GateResult("a::gates::x", rule, "a.edit.yaml:3:5", None, "emd", "mean", 5.0, 0.95, False, (part,))


def test_a_summary_says_what_failed_and_where() -> None:
    results = [
        rows.result(case="fine"),
        failing(case="red", candidate="v2"),
        failing(case="gone", outcome=Outcome.ERROR, detail="no such image"),
        failing(case="speck", outcome=Outcome.SOFT_FAILURE),
    ]
    notes = RunNotes(
        mistakes=[LocatedError(Position(Path("/x/b.edit.yaml"), 7, 3), "unknown metric 'emdd'", "known: emd")],
        not_run=["a.edit.yaml::late::emd"],
        files={"report": "report.html", "results": "run.jsonl"},
        gates_not_judged=None,
        others=2,
    )
    text = markdown(results, [a_gate(), a_gate(passed=True, rule="min emd ≤ 9")], notes)
    assert text.splitlines()[2] == (
        "**Failed**: 1 of 4 checks fail; 1 could not be scored; 1 of 2 gates fail: `mean emd ≤ 5`; "
        "mistakes in case files: 1; not run: 1; other tests that fail: 2."
    )
    found = tables(text)
    assert found["Gates"][1:] == [
        ["FAIL", "mean emd ≤ 5", "7", "95 % upper bound 7.5", "12", "task=a"],
        ["pass", "min emd ≤ 9", "7", "95 % upper bound 7.5", "12", "task=a"],
    ]
    assert found["Failing checks, worst first"][1] == [
        *("red[v2]", "region_emd", "7.42", "≤ 5", "2.42", "Make the scarf red.", "cases/a.edit.yaml:14")
    ]
    assert found["Not scored"][1][:3] == ["gone", "region_emd", "region_emd: no such image"]
    assert found["Soft failures"][1] == ["no-patch-selected", "1", "speck region_emd"]
    assert found["Mistakes"][1] == ["/x/b.edit.yaml:7:3", "unknown metric 'emdd' (known: emd)"]
    assert found["Not run"][1] == ["a.edit.yaml::late::emd"]
    assert found["Metrics"][1][:6] == ["region_emd", "↓", "1/3", "0", "1", "1"]
    assert text.splitlines()[-5:] == [
        *("- profile: `tiny`", "- device: `cpu`", "- versions: `pytest-editeval 0.1.0`"),
        *("- report: `report.html`", "- results: `run.jsonl`"),
    ]


@pytest.mark.parametrize(
    ("results", "notes", "sentence"),
    [
        ([], RunNotes(), "**Nothing to judge**: no checks were run."),
        ([rows.result()], RunNotes(), "**Passed**: 1 of 1 checks passed."),
        (
            [rows.result(), failing(outcome=Outcome.SOFT_FAILURE), failing(covered_by="g")],
            RunNotes(),
            "**Passed**: 1 of 3 checks passed; 1 soft failure; 1 left to a gate.",
        ),
        (
            [rows.result(), failing(outcome=Outcome.SOFT_FAILURE)],
            RunNotes(soft_fail=True),
            "**Failed**: 1 of 2 checks fail.",
        ),
        (
            [failing(outcome=Outcome.SOFT_FAILURE)],
            RunNotes(),
            "**Failed**: no check has a score, so this run says nothing.",
        ),
        (
            [rows.result(), rows.result(control="destroyed", expect="fail", score=9.0)],
            RunNotes(),
            "**Passed**: 1 of 1 checks passed.",
        ),
    ],
)
def test_the_verdict_is_one_sentence(results: list[CheckResult], notes: RunNotes, sentence: str) -> None:
    assert markdown(results, (), notes).splitlines()[2] == sentence


def test_what_is_worse_than_tolerated_says_so() -> None:
    result = rows.result(score=4.0, baseline=3.0, tolerance=0.25, outcome=Outcome.FAILED)
    row = tables(markdown([result], ()))["Failing checks, worst first"][1]
    assert row[2:5] == ["4", "at most 0.25 worse than 3", "0.75"]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_shown(score: float) -> None:
    row = tables(markdown([failing(score=score, outcome=Outcome.FAILED)], ()))["Failing checks, worst first"][1]
    assert row[2] == str(score)
    assert row[4] == ("inf" if score > 0 else "not a number")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_text_everywhere(text: str) -> None:
    results = [
        failing(
            case=text,
            instruction=text,
            file=text,
            candidate=text,
            metric=text,
            profile=text,
            device=text,
            higher_is_better=False,
        ),
        failing(case=text, outcome=Outcome.ERROR, detail=text, instruction=text),
        failing(case=text, outcome=Outcome.SOFT_FAILURE, reason=text, detail=text),
        failing(case=text, covered_by=text),
        rows.result(case=text, control="destroyed", outcome=Outcome.FAILED, expect="fail"),
    ]
    notes = RunNotes(
        mistakes=[LocatedError(Position(Path("/x"), 1, 1), text, text)],
        not_run=[text],
        files={"results": text},
        gates_not_judged=text,
    )
    written = markdown(results, [a_gate(rule=text, label=text, reason=text)], notes)
    found = tables(written)
    written.encode()
    assert found["Gates"][1][1] == cut(text, 200)
    row = found["Failing checks, worst first"][1]
    assert row[0] == cut(f"{text}[{text}]", 200)
    assert row[5] == cut(text.strip(), INSTRUCTION_LENGTH)
    assert row[6] == cut(f"{text}:14", 200)
    assert found["Not run"][1] == [cut(text, 200)]


@settings(max_examples=300)
@given(st.text() | st.text(st.sampled_from("`|\\ <>&*_[]()#~@$:\n-a")))
def test_any_text_comes_back_from_a_cell_and_from_a_span(text: str) -> None:
    table = PARSER.parse(f"| a | b |\n| --- | --- |\n| {cell(text, 10_000)} | {cell('x|y')} |\n")
    inlines = [token for token in table if token.type == "inline"]
    assert [text_of(inline) for inline in inlines[2:]] == [visible(text), "x|y"]
    assert {child.type for inline in inlines[2:] for child in inline.children or ()} <= {"code_inline"}
    (paragraph,) = (token for token in PARSER.parse(f"- what: {code(text, 10_000)}\n") if token.type == "inline")
    assert text_of(paragraph) == f"what: {visible(text)}".rstrip(" " if not text else "")
    assert {child.type for child in paragraph.children or ()} <= {"text", "code_inline"}


@pytest.mark.parametrize("count", [50, 5000])
def test_a_long_summary_is_cut_at_whole_rows_and_says_what_is_missing(count: int) -> None:
    results = [failing(case=f"c{index}", instruction="wörd " * 30, score=6.0 + index) for index in range(count)]
    soft = [failing(case=f"s{index}", outcome=Outcome.SOFT_FAILURE) for index in range(count)]
    text = markdown([*results, *soft], [a_gate()], RunNotes(not_run=[f"late{index}" for index in range(count)]))
    assert len(text.encode()) <= LIMIT
    found = tables(text)
    for title, what in (("Failing checks, worst first", "failing checks"), ("Not run", "checks that were not run")):
        shown = len(found[title]) - 1
        more = re.search(rf"^… and ([\d,]+) more {what}$", text, re.MULTILINE)
        assert shown + (int(more[1].replace(",", "")) if more else 0) == count
        assert shown == count if count == 50 else 0 < shown < count
    assert found["Failing checks, worst first"][1][0] == f"c{count - 1}"
    assert found["Soft failures"][1][1] == f"{count:,}"
    assert len(found["Gates"]) == 2


@given(st.integers(8192, 100_000), st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=25, deadline=None)
def test_every_limit_is_kept_and_every_row_counted(limit: int, checks: int, late: int) -> None:
    results = [failing(case=f"c{index}") for index in range(checks)]
    text = markdown(results, (), RunNotes(not_run=[f"l{index}" for index in range(late)]), limit)
    assert len(text.encode()) <= limit
    shown = {title: len(table) - 1 for title, table in tables(text).items()}
    missing = sum(int(number.replace(",", "")) for number in re.findall(r"^… and ([\d,]+) more", text, re.MULTILINE))
    assert shown.get("Failing checks, worst first", 0) + shown.get("Not run", 0) + missing == checks + late


@pytest.fixture
def edits(project: Project, remembered_scores: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.store = remembered_scores
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return project


@PLAIN_AND_XDIST
def test_a_run_writes_its_summary(edits: Project, options: tuple[str, ...]) -> None:
    edits.cases(CASES + "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n")
    edits.cases("cases: [", name="torn.edit.yaml")
    edits.pytester.makepyfile("def test_mine(): assert False")
    result = edits.run("--editeval-markdown=out/run.md", "--editeval-results=run.jsonl", *options)
    result.stdout.fnmatch_lines(["summary: out/run.md"])
    text = (edits.path / "out/run.md").read_text("utf-8")
    assert text.splitlines()[2] == (
        "**Failed**: 2 of 8 checks fail; 1 of 1 gates fail: `mean region_emd ≤ 0.1`; mistakes in case files: 1; "
        "other tests that fail: 1."
    )
    assert [row[0] for row in tables(text)["Failing checks, worst first"]] == ["check", "toothless", "other"]
    assert "- results: `run.jsonl`" in text
    assert [path.name for path in (edits.path / "out").iterdir()] == ["run.md"]


def test_the_summary_of_a_run_that_stops_names_what_was_not_run(edits: Project) -> None:
    edits.cases()
    edits.run("-x", "-o", "editeval_markdown=run.md")
    text = (edits.path / "run.md").read_text("utf-8")
    assert len(tables(text)["Not run"]) - 1 == 4
    assert "; not run: 4." in text


def test_gates_that_were_not_judged_say_why(edits: Project) -> None:
    edits.cases(CASES + "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n")
    edits.run("-k", "same", "--editeval-markdown=run.md")
    assert "- gates were not judged: `-k leaves checks out" in (edits.path / "run.md").read_text("utf-8")


def test_runxfail_fails_in_the_summary_too(edits: Project) -> None:
    edits.cases()
    edits.run("-k", "speck or same", "--runxfail", "--editeval-markdown=run.md").assert_outcomes(passed=3, failed=1)
    assert "**Failed**: 1 of 4 checks fail" in (edits.path / "run.md").read_text("utf-8")


@PLAIN_AND_XDIST
def test_a_path_that_cannot_be_written_costs_nothing_else(edits: Project, options: tuple[str, ...]) -> None:
    edits.one("region_emd: 1.0e+9")
    edits.write("taken", "a file")
    result = edits.run("--editeval-markdown=taken/run.md", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR: editeval: --editeval-markdown taken/run.md: *"])


def test_a_directory_is_refused_before_the_run(edits: Project) -> None:
    edits.one("region_emd: 1.0e+9")
    (edits.path / "out").mkdir()
    result = edits.run("--editeval-markdown=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: --editeval-markdown out: that is a directory"])


def test_a_dry_run_leaves_the_summary_of_the_last_run_alone(edits: Project) -> None:
    edits.one("region_emd: 1.0e+9")
    edits.write("run.md", "of the last run")
    edits.run("--editeval-markdown=run.md", "--collect-only")
    assert (edits.path / "run.md").read_text("utf-8") == "of the last run"


@PLAIN_AND_XDIST
def test_on_github_the_summary_of_the_step_is_added_to(
    edits: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    step = edits.write("step.md", "# From an earlier command\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    edits.one("region_emd: 1.0e+9")
    edits.run(*options).assert_outcomes(passed=1)
    text = step.read_text("utf-8")
    assert text.startswith("# From an earlier command\n## Edit scores\n\n**Passed**: 1 of 1 checks passed.\n")
    edits.run("--editeval-annotations=off", *options)
    edits.run("--collect-only")
    assert step.read_text("utf-8") == text


def test_a_step_summary_without_room_is_left_as_it_is(edits: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    step = edits.write("step.md", "x" * (1024 * 1024 - 100))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    edits.one("region_emd: 1.0e+9")
    result = edits.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["editeval: no room left in GITHUB_STEP_SUMMARY: 1,048,476 bytes are there"])
    assert step.stat().st_size == 1024 * 1024 - 100


def test_a_step_summary_that_cannot_be_written_is_said(edits: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(edits.path / "gone" / "step.md"))
    edits.one("region_emd: 1.0e+9")
    result = edits.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["editeval: GITHUB_STEP_SUMMARY: *No such file*"])


CASE = """
cases:
  - id: one
    instruction: Make it red.
    source: source.png
    edited: edited.png
    coords: [[20, 20, 80, 80]]
    metrics: {region_emd: 5.0, emd: 5.0}
"""


def test_the_gate_command_writes_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.edit.yaml").write_text(CASE, "utf-8")
    row = failing(case="one", file="a.edit.yaml", profile="embedded")
    write_results(Path("run.jsonl"), [row])
    assert main(["gate", "run.jsonl", "--cases", "a.edit.yaml", "--markdown", "out/run.md"]) == 1
    assert "summary: out/run.md" in capsys.readouterr().out
    text = Path("out/run.md").read_text("utf-8")
    assert text.splitlines()[2] == "**Failed**: 1 of 1 checks fail; not run: 1."
    assert tables(text)["Not run"][1] == ["a.edit.yaml::one::emd"]
    Path("taken").write_text("", "utf-8")
    assert main(["gate", "run.jsonl", "--markdown", "taken/run.md"]) == 4
    assert capsys.readouterr().err.startswith("editeval: --markdown taken/run.md: ")
    Path("a.edit.yaml").write_text(CASE.replace("emd: 5.0}", "emdd: 5.0}"), "utf-8")
    assert main(["gate", "run.jsonl", "--markdown", "run.md"]) == 1
    assert "**Failed**: mistakes in case files: 1." in Path("run.md").read_text("utf-8")
