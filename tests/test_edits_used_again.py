"""Edits that a model made, and that a later run of the same model uses again (`pytest_editeval_edit_key`)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import picture
from project import Project

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])

MODEL = """
import os
from pathlib import Path

def pytest_editeval_edit(case, source, seed, candidate):
    with Path("calls.txt").open("a") as calls:
        calls.write(f"{case.id} {candidate} {seed}\\n")
    return source.rotate(90 * seed, fillcolor=(seed, 0, 0) if candidate == "v2" else (0, seed, 0))

def pytest_editeval_edit_key(candidate):
    return %s
"""
KEY = "'a checkpoint, 20 steps'"

CASES = """
defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
cases:
  - {id: one, metrics: {region_emd: 1.0e+9, emd: 1.0e+9}, repeat: {pass: 1, of: 2}}
  - {id: two, metrics: {region_emd: 1.0e+9, emd: 1.0e+9}, repeat: {pass: 1, of: 2}}
"""
CANDIDATES = ("--editeval-candidate=v1", "--editeval-candidate=v2")
EDITS = 8
STOPS = """

def pytest_runtest_logreport(report):
    if report.when == "call" and "two[v1]::region_emd" in report.nodeid:
        %s
"""


@pytest.fixture
def made(project: Project) -> Project:
    project.cases(CASES)
    model(project)
    return project


def model(project: Project, key: str = KEY, more: str = "") -> None:
    project.pytester.makeconftest(MODEL % key + more)


def run(project: Project, *options: str) -> pytest.RunResult:
    arguments = ("-p", "no:cacheprovider", "--editeval-cache-dir=store", "--editeval-results=now.jsonl", *CANDIDATES)
    return project.pytester.runpytest_subprocess(*arguments, *options)


def calls(project: Project) -> list[str]:
    """Which edits were made since this was asked last."""
    path = project.path / "calls.txt"
    found = path.read_text("utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def rows(project: Project) -> list[object]:
    lines = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    return [{**json.loads(line), "duration": None, "remembered": None} for line in lines]


def edits(project: Project) -> list[Path]:
    return sorted((project.path / "now.edits").rglob("*.png"))


@PLAIN_AND_XDIST
def test_after_an_interruption_only_what_is_missing_is_made(made: Project, options: tuple[str, ...]) -> None:
    whole = run(made)
    whole.assert_outcomes(passed=8)
    whole.stdout.fnmatch_lines(["edits made in the run: 8, in now.edits"])
    expected = rows(made)
    assert len(calls(made)) == EDITS
    for place in ("store", "now.edits"):
        (made.path / place).rename(made.path / f"whole-{place}")

    model(made, more=STOPS % "raise KeyboardInterrupt")
    assert run(made, *options).ret == pytest.ExitCode.INTERRUPTED
    before = calls(made)
    assert 0 < len(before) < EDITS
    model(made)
    after = run(made, *options)
    after.assert_outcomes(passed=8)
    rest = calls(made)
    assert sorted(before + rest) == sorted({*before, *rest})
    assert len(before + rest) == EDITS
    after.stdout.fnmatch_lines([f"edits made in the run: {len(rest)}, used again: {len(before)}, in now.edits"])
    assert rows(made) == expected

    run(made, *options).stdout.fnmatch_lines(
        ["scores: 0 computed, 16 remembered", "edits made in the run: 0, used again: 8, in now.edits"]
    )
    assert calls(made) == []


def test_after_a_worker_crashed_only_what_is_missing_is_made_and_computed(made: Project) -> None:
    crash = "\ndef pytest_runtest_teardown(item):\n    if item.nodeid.endswith('one[v2]::emd'):\n        os._exit(9)\n"
    model(made, more=crash)
    crashed = run(made, "-n", "2")
    assert crashed.ret != 0
    before = calls(made)
    model(made)
    after = run(made, "-n", "2")
    after.assert_outcomes(passed=8)
    assert not {*before}.intersection(calls(made))
    (counted,) = (line for line in after.outlines if line.startswith("scores:"))
    computed, remembered = map(int, re.findall(r"\d+", counted)[:2])
    assert computed + remembered == 16
    assert remembered >= 4  # both edits of a check of each worker at least


@pytest.mark.parametrize("change", ["the key", "an instruction", "the source", "no key", "another's files", "damage"])
def test_what_is_not_known_to_be_the_same_is_made_again(made: Project, change: str) -> None:
    run(made).assert_outcomes(passed=8)
    assert len(calls(made)) == EDITS
    again = EDITS
    match change:
        case "the key":
            model(made, "'another checkpoint'")
        case "an instruction":
            made.cases(CASES.replace("{id: two,", "{id: two, instruction: Do something else.,"))
            again = 4
        case "the source":
            picture(77).save(made.path / "source.png")
        case "no key":
            model(made, "None")
        case "another's files":
            for path in edits(made):
                picture(3).save(path)
        case "damage":
            for path in edits(made)[:3]:
                path.write_bytes(path.read_bytes()[:-60])
            again = 3
    run(made).assert_outcomes(passed=8)
    assert len(calls(made)) == again


def test_a_candidates_key_is_its_own(made: Project) -> None:
    model(made, "'a'")
    run(made)
    assert len(calls(made)) == EDITS
    model(made, "'a' if candidate == 'v1' else 'b'")
    run(made)
    assert {line.split()[1] for line in calls(made)} == {"v2"}


def test_the_edit_itself_is_the_same_with_a_key_and_without(made: Project) -> None:
    run(made)
    (with_key, texts), _ = contents(made), model(made, "None")
    assert all(text.keys() == {"editeval"} for text in texts)
    run(made)
    assert contents(made) == (with_key, [{}] * EDITS)


def contents(project: Project) -> tuple[list[bytes], list[dict[Any, Any]]]:
    """Of the edits the pixels, and what the files say beside."""
    pixels, texts = [], []
    for path in edits(project):
        with Image.open(path) as image:
            pixels.append(image.tobytes())
            texts.append(dict(image.info))
    return pixels, texts


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("3", "pytest_editeval_edit_key has to return a text or None, not int"),
        ("missing()", "pytest_editeval_edit_key raised NameError: name 'missing' is not defined (conftest.py:10)"),
    ],
)
def test_a_key_that_is_none_is_that_edits_error(made: Project, key: str, message: str) -> None:
    model(made, key)
    result = run(made)
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines([f"a.edit.yaml:4:10: case 'one', candidate v1, seed 0: {message}"])
    assert "making.py" not in result.stdout.str()
    assert calls(made) == []
