"""What a run prints: at which width, verbosity, encoding and colour; plain and under xdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from project import Project
from pytest_editeval.reports.layout import width

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
SUITE = """
gates:
  - {metric: region_emd, statistic: max, threshold: 0.001}
  - {statistic: soft_failure_rate, threshold: 0.9}
cases:
  - {id: same, instruction: "Change nothing.", source: source.png, edited: source.png, coords: [[20, 20, 80, 80]],
     metrics: {region_emd: 0.0, dinov3_structure_similarity: 1.0}}
  - {id: other, instruction: "Bell\\a, \\e[31mred\\e[0m,\\n\\u202eturned.", source: source.png, edited: other.png,
     coords: [[20, 20, 80, 80]], metrics: {region_emd: 0.001, emd: 1.0e+9}}
  - {id: speck, instruction: Too small., source: source.png, edited: other.png, coords: [[40, 40, 41, 41]],
     metrics: {dinov3_structure_similarity: 0.5}}
"""


@pytest.fixture
def suite(project: Project, remembered_scores: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("CI", raising=False)
    project.store = remembered_scores
    project.cases(SUITE)
    return project


def in_a_process(suite: Project, *options: str, **environment: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        f"--editeval-cache-dir={suite.store}",
        *options,
    ]
    cleared = {name: value for name, value in os.environ.items() if name not in ("CI", "PY_COLORS", "FORCE_COLOR")}
    done = subprocess.run(command, cwd=suite.path, env=cleared | environment, capture_output=True, check=False)
    assert done.stderr == b""
    return done.stdout.decode(environment.get("PYTHONIOENCODING", "utf-8"))


def ours(result: pytest.RunResult) -> list[str]:
    """From the section "edit scores" to pytest's short summary."""
    lines = result.stdout.lines
    start = next(index for index, line in enumerate(lines) if "edit scores" in line)
    end = next(index for index, line in enumerate(lines) if "short test summary" in line)
    return lines[start:end]


@PLAIN_AND_XDIST
@pytest.mark.parametrize("columns", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(
    suite: Project, monkeypatch: pytest.MonkeyPatch, columns: int, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = suite.run(*options)
    result.assert_outcomes(passed=4, failed=2, xfailed=1)
    assert max(map(width, ours(result))) <= columns
    explained = [line for line in result.stdout.lines if line.startswith("  ")]
    assert all(width(line) <= columns or "/" in line for line in explained)


@PLAIN_AND_XDIST
def test_verbose_lines_show_the_score(suite: Project, options: tuple[str, ...]) -> None:
    result = suite.run("-v", *options)
    shown = [line for line in result.stdout.lines if "%]" in line]
    words = "\n".join(shown)
    assert re.search(r"PASSED \(\S+ ≤ 1e\+09\)", words)
    assert re.search(r"FAILED \(\S+ > 0\.001\)", words)
    (soft,) = (line for line in shown if "::speck::" in line)
    assert soft.count("no-patch-selected") == 1
    assert "::gates::max region_emd FAILED (too few to tell: 2 scores, 8 are needed)" in words
    assert re.search(r"::gates::soft_failure_rate PASSED \(50 % ≤ 90 %\)", words)
    result.stdout.fnmatch_lines(["FAILED a.edit.yaml::other::region_emd - * must be ≤ 0.001, misses by *"])
    assert "PASSED" not in "\n".join(ours(result))


@PLAIN_AND_XDIST
def test_a_plain_run_keeps_its_dots(suite: Project, options: tuple[str, ...]) -> None:
    result = suite.run(*options)
    assert re.search(r"^(a\.edit\.yaml )?[.Fx]{5,7} ", result.stdout.str(), re.MULTILINE)
    assert not re.search(r"\(\S+ ≤", result.stdout.str())


def test_an_unscored_check_with_a_long_name_shows_its_reason_once(suite: Project) -> None:
    case = (suite.path / "a.edit.yaml").read_text("utf-8")
    (suite.path / "a.edit.yaml").write_text(case.replace("id: speck", "id: a_speck_of_dust_on_the_lens"), "utf-8")
    (line,) = (line for line in suite.run("-v", "-k", "dust").stdout.lines if "%]" in line)
    assert "XFAIL (no-patch-selected) " in line


def test_a_quiet_run_says_what_is_wrong_and_the_total(suite: Project) -> None:
    result = suite.run("-q")
    text = result.stdout.str()
    assert "edit scores" not in text
    result.stdout.fnmatch_lines(
        [
            "soft failures: 1 × no-patch-selected (details: -rx)",
            "editeval: 5 checks (3 passed, 1 failed, 1 soft) · profile tiny",
            "FAIL  max region_emd ≤ 0.001  *",
            "release gate: FAILED (1 of 2)",
        ]
    )
    assert "PASS " not in text


def test_a_silent_run_says_nothing_unless_something_is_wrong(suite: Project) -> None:
    assert "editeval" not in suite.run("-qq", "-k", "same", "--editeval-gates=on").stdout.str().replace("editeval-", "")
    suite.run("-qq").stdout.fnmatch_lines(["soft failures: *", "editeval: 5 checks *", "FAIL  *", "release gate: *"])


def test_no_summary_leaves_our_sections_out_too(suite: Project) -> None:
    text = suite.run("--no-summary").stdout.str()
    assert "edit scores" not in text
    assert "release gate" not in text


def test_a_results_file_that_cannot_be_written_is_named_all_the_same(suite: Project) -> None:
    (suite.path / "file").write_text("", "utf-8")
    result = suite.run("--no-summary", "-k", "same", "--editeval-results", "file/run.jsonl")
    assert result.ret != 0


def test_what_a_terminal_would_obey_is_spelled_out(suite: Project) -> None:
    result = suite.run("--junitxml=junit.xml", "-v")
    text = result.stdout.str() + (suite.path / "junit.xml").read_text("utf-8")
    assert not set("\x1b\x07\u202e").intersection(text)
    result.stdout.fnmatch_lines([r"  Bell\x07, \x1b[[]31mred\x1b[[]0m,\n\u202eturned."])
    (failure, *_) = ElementTree.parse(suite.path / "junit.xml").getroot().iter("failure")
    assert r"Bell\x07" in (failure.text or "")
    assert re.fullmatch(r"\S+ must be ≤ 0\.001, misses by \S+", failure.get("message") or "")


def test_a_long_instruction_is_cut_with_its_rest_counted(suite: Project) -> None:
    case = (suite.path / "a.edit.yaml").read_text("utf-8")
    suite.cases(re.sub(r'"Bell.*?"', "word " * 2000 + "end", case))
    assert "(9,703 more characters)" in " ".join(suite.run("-k", "other").stdout.str().split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("options", [("-v",), ("-q",), ("-n", "2")], ids=" ".join)
def test_a_terminal_without_unicode_gets_plain_characters(
    suite: Project, encoding: str, options: tuple[str, ...]
) -> None:
    text = in_a_process(suite, *options, PYTHONIOENCODING=encoding)
    assert "Traceback" not in text
    assert "UnicodeEncodeError" not in text
    assert "\\u" not in text.replace("\\u202e", "")
    assert "must be <= 0.001" in text
    assert "max region_emd <= 0.001" in text


def test_the_command_prints_plain_characters_too(suite: Project) -> None:
    suite.run("--editeval-results", "run.jsonl")
    program = "import sys; from pytest_editeval.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "gate", "run.jsonl", "--config", "tiny.yaml"]
    done = subprocess.run(
        command, cwd=suite.path, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert b"FAIL  max region_emd <= 0.001" in done.stdout


def test_colour_is_only_for_those_who_see_it(suite: Project) -> None:
    assert "\x1b" not in in_a_process(suite)
    coloured = in_a_process(suite, "--color=yes")
    assert "\x1b[31mFAIL\x1b[0m  max region_emd" in coloured
    assert "\x1b[32mPASS\x1b[0m  soft failures" in coloured
    assert "release gate: \x1b[31mFAILED (1 of 2)\x1b[0m" in coloured
    assert "\x1b[33msoft failures: 1 ×" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured).splitlines()[-20:-2] == in_a_process(suite).splitlines()[-20:-2]


def test_every_line_of_a_wide_failure_can_be_read_in_a_log(suite: Project) -> None:
    """pytest cuts no message in a CI system's log."""
    text = in_a_process(suite, CI="true")
    assert (
        "FAILED a.edit.yaml::gates::max region_emd - too few to tell: 2 scores, 8 are needed, n=2; max region_emd"
        in text
    )
    assert re.search(r"FAILED a.edit.yaml::other::region_emd - \S+ must be ≤ 0.001, misses by \S+\n", text)
