"""`--editeval-report`: the page of a run, and the addresses in it that the terminal names."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from project import CASES, Project
from pytest_editeval.evidence import patch_costs

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
GATE = "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n"


@pytest.fixture
def edits(project: Project, remembered_scores: Path) -> Project:
    project.store = remembered_scores
    return project


def page(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a page without its images, and its data."""
    text = path.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL), json.loads(found[1])


@PLAIN_AND_XDIST
def test_a_run_writes_its_page(edits: Project, options: tuple[str, ...]) -> None:
    edits.cases(CASES + GATE)
    edits.cases("cases: [", name="torn.edit.yaml")
    edits.pytester.makepyfile("def test_mine(): assert False")
    result = edits.run("--editeval-report=out/page.html", *options)
    result.stdout.fnmatch_lines(["report: out/page.html (5 cases, * MB)"])
    text, data = page(edits.path / "out/page.html")
    sentence = " ".join(re.sub("<.*?>", "", text.split('class="why">')[1].split("</p>")[0]).split())
    assert sentence == (
        "2 of 8 checks fail; 1 of 1 gates fail: mean region_emd ≤ 0.1; mistakes in case files: 1; "
        "other tests that fail: 1."
    )
    assert "torn.edit.yaml:" in text
    assert {case["key"] for case in data["cases"]} == {*("a/same", "a/other", "a/speck", "a/caught", "a/toothless")}
    verdicts = {
        f"{case['id']} {check['metric']}": check["outcome"] for case in data["cases"] for check in case["checks"]
    }
    assert verdicts["other region_emd"] == verdicts["toothless region_emd"] == "failed"
    assert verdicts["speck dinov3_structure_similarity"] == "soft failure"
    assert data["images"][0]["embedded"] == "image/webp"
    assert [path.name for path in (edits.path / "out").iterdir()] == ["page.html"]


@PLAIN_AND_XDIST
def test_a_failing_check_ends_with_its_address(edits: Project, options: tuple[str, ...]) -> None:
    edits.cases()
    result = edits.run("--editeval-report=page.html", *options)
    result.stdout.fnmatch_lines(
        ["  report: page.html#case=a/other&check=region_emd", "  report: page.html#case=a/toothless&check=region_emd"]
    )
    _, data = page(edits.path / "page.html")
    assert any(case["key"] == "a/other" for case in data["cases"])
    assert "#case" not in edits.run(*options).stdout.str()


def test_a_second_run_shows_the_same_and_that_it_was_remembered(edits: Project) -> None:
    edits.cases()
    edits.run("--editeval-report=first.html")
    edits.run("--editeval-report=second.html")
    (_, first), (text, second) = page(edits.path / "first.html"), page(edits.path / "second.html")
    assert "8 of them remembered" in text
    for data in (first, second):
        for case in data["cases"]:
            for check in case["checks"]:
                del check["seconds"], check["remembered"]
    assert first == second


def test_the_page_has_the_patches_of_the_results(edits: Project) -> None:
    edits.cases()
    edits.run("--editeval-report=page.html", "--editeval-results=run.jsonl", "-k", "other and region_emd")
    _, data = page(edits.path / "page.html")
    row = json.loads((edits.path / "run.jsonl").read_text("utf-8"))
    found = patch_costs(row["details"])
    assert found is not None
    assert data["cases"][0]["checks"][0]["patches"]["shares"] == row["details"]["patches"]["shares"]
    assert "".join("01"[int(one)] for one in found.compared.reshape(-1)) == row["details"]["patches"]["compared"]


@PLAIN_AND_XDIST
def test_the_ini_settings_are_the_options(edits: Project, options: tuple[str, ...]) -> None:
    edits.one("region_emd: 1.0e+9")
    settings = ("editeval_report=page.html", "editeval_report_images=link", "editeval_report_size=200")
    edits.run(*(part for setting in settings for part in ("-o", setting)), *options).assert_outcomes(passed=1)
    _, data = page(edits.path / "page.html")
    assert [image["link"] for image in data["images"]] == ["./source.png", "./other.png"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--editeval-report-size=huge", "editeval_report_size is full or a number of pixels from 160, not 'huge'"),
        ("--editeval-report-size=12", "editeval_report_size is full or a number of pixels from 160, not '12'"),
        ("-oediteval_report_images=inline", "unknown editeval_report_images 'inline'; allowed: embed, link"),
        ("--editeval-report=out", "--editeval-report out: that is a directory"),
    ],
)
def test_a_wrong_setting_stops_the_run_before_it_begins(edits: Project, option: str, message: str) -> None:
    edits.one("region_emd: 1.0e+9")
    (edits.path / "out").mkdir()
    result = edits.run("--editeval-report=page.html", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: editeval: {message}"])


def test_without_jinja_the_cure_is_named(edits: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    edits.one("region_emd: 1.0e+9")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = edits.run("--editeval-report=page.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    cure = "pip install 'pytest-editeval[[]report]'"
    result.stderr.fnmatch_lines([f"ERROR: editeval: --editeval-report page.html: the page needs Jinja2; {cure}"])
    edits.run().assert_outcomes(passed=1)


@PLAIN_AND_XDIST
def test_a_path_that_cannot_be_written_costs_nothing_else(edits: Project, options: tuple[str, ...]) -> None:
    edits.one("region_emd: 1.0e+9")
    edits.write("taken", "a file")
    result = edits.run("--editeval-report=taken/page.html", "--editeval-markdown=run.md", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR: editeval: --editeval-report taken/page.html: *", "summary: run.md"])


def test_a_dry_run_leaves_the_page_of_the_last_run_alone(edits: Project) -> None:
    edits.one("region_emd: 1.0e+9")
    edits.write("page.html", "of the last run")
    edits.run("--editeval-report=page.html", "--collect-only")
    assert (edits.path / "page.html").read_text("utf-8") == "of the last run"


def test_a_run_without_cases_has_a_page_that_says_so(edits: Project) -> None:
    edits.pytester.makepyfile("def test_mine(): pass")
    edits.run("--editeval-report=page.html").assert_outcomes(passed=1)
    text, data = page(edits.path / "page.html")
    assert "Nothing to judge" in text
    assert data["cases"] == []


def test_a_run_that_stops_has_a_page_of_what_was_run(edits: Project) -> None:
    edits.cases()
    edits.run("-x", "--editeval-report=page.html")
    text, _ = page(edits.path / "page.html")
    assert "; not run: 4." in " ".join(text.split())
    assert "not run: a.edit.yaml::speck" in text


def test_an_edit_that_vanishes_during_the_run_is_named(edits: Project) -> None:
    edits.one("region_emd: 1.0e+9")
    edits.write(
        "conftest.py", "def pytest_runtest_teardown(item):\n    (item.config.rootpath / 'other.png').unlink()\n"
    )
    result = edits.run("--editeval-report=page.html")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["report: 1 image could not be had: other.png"])
    _, data = page(edits.path / "page.html")
    assert data["images"][1]["note"] == "image not found: other.png"
