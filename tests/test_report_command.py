"""`editeval report`: the page of stored results, and one line for each mistake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pages import Page, check, save
from pytest_editeval.cli import main
from pytest_editeval.results import CheckResult
from pytest_editeval.results_file import write_results

CASES = """\
cases:
  - id: red_scarf
    instruction: Make it red.
    source: source.png
    edited: edited.png
    coords: [[20, 20, 80, 80]]
    metrics: {region_emd: 5.0}
gates:
  - {metric: region_emd, statistic: max, threshold: 2.0}
"""


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stored(*rows: CheckResult, name: str = "run.jsonl") -> str:
    write_results(Path(name), rows)
    return name


def row(**overrides: Any) -> CheckResult:
    return check(**{"profile": "embedded", "task": None, "tags": ()} | overrides)


def written(name: str = "report.html") -> Page:
    return Page(Path(name).read_text("utf-8"))


def test_the_page_says_what_was_judged(capsys: pytest.CaptureFixture[str]) -> None:
    Path("cases").mkdir()
    Path("cases/a.edit.yaml").write_text(CASES, "utf-8")
    assert main(["report", stored(row())]) == 0
    assert capsys.readouterr().out == "report: report.html (1 case, 0.1 MB)\n"
    page = written()
    assert "1 of 1 gates fail" in page.text
    assert "Gates were not judged" not in page.text
    assert main(["report", "run.jsonl", "--no-gates"]) == 0
    assert "gates fail" not in written().text


def test_gates_that_cannot_be_judged_are_no_mistake_and_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", stored(row())]) == 0
    (first, second) = capsys.readouterr().out.splitlines()
    assert first.startswith("gates were not judged: ")
    assert second.startswith("report: ")
    assert f"Gates were not judged: {first.removeprefix('gates were not judged: ')}." in written().text
    assert main(["report", stored(row(profile="other"))]) == 0
    assert "scored with profile 'other'; --config names its configuration" in capsys.readouterr().out


def test_case_files_that_have_moved_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("moved/cases").mkdir(parents=True)
    Path("moved/cases/a.edit.yaml").write_text(CASES, "utf-8")
    assert main(["report", stored(row()), "--cases", "moved"]) == 0
    assert "1 of 1 gates fail" in written().text
    capsys.readouterr()
    assert main(["report", "run.jsonl", "--cases", "elsewhere"]) == 4
    assert "elsewhere: no such file or directory" in capsys.readouterr().err


def test_candidates_come_from_several_files(capsys: pytest.CaptureFixture[str]) -> None:
    names = [stored(row(candidate=name), name=f"{name}.jsonl") for name in ("v1", "v2")]
    assert main(["report", *names, "--no-gates", "--output", "new/page.html"]) == 0
    assert "new/page.html (2 cases" in capsys.readouterr().out
    assert written("new/page.html").data["names"]["candidate"] == ["v1", "v2"]


def test_images_are_embedded_or_linked_in_the_size_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("elsewhere/a.png"), size=(400, 200))
    command = ["report", stored(row(edited="a.png")), "--no-gates", "--root", "elsewhere"]
    assert main([*command, "--size", "200"]) == 0
    assert len(written().image(0)) < 1000
    assert main([*command, "--size", "full"]) == 0
    assert written().image(0) == Path("elsewhere/a.png").read_bytes()
    assert main([*command, "--images", "link"]) == 0
    assert written().data["images"][0]["link"] == "./elsewhere/a.png"
    assert "could not be had" not in capsys.readouterr().out


def test_an_image_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", stored(row(edited="gone\n.png")), "--no-gates"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["report: 1 image could not be had: gone\\n.png"]


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line of a command that goes wrong; no page is written."""
    assert main(["report", *arguments]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not Path("report.html").exists()
    (line,) = captured.err.splitlines()
    return str(line)


def test_mistakes_are_one_line_each(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is full or a number of pixels from 160, not 'huge'" in mistake(capsys, stored(row()), "--size", "huge")
    assert "gone.jsonl" in mistake(capsys, "gone.jsonl")
    Path("broken.jsonl").write_text("{", "utf-8")
    assert "broken.jsonl:1" in mistake(capsys, "broken.jsonl")
    Path("file").write_text("", "utf-8")
    assert "--output file/page.html: " in mistake(capsys, "run.jsonl", "--no-gates", "--output", "file/page.html")
    assert "gone.yaml" in mistake(capsys, "run.jsonl", "--config", "gone.yaml")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    line = mistake(capsys, "run.jsonl")
    assert line == "editeval: editeval report: the page needs Jinja2; pip install 'pytest-editeval[report]'"


def test_a_check_that_two_files_have_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, stored(row()), stored(row(), name="other.jsonl"))
    assert line.startswith("editeval: other.jsonl: 'cases/a.edit.yaml::red_scarf::region_emd' is in run.jsonl too")


def test_an_output_that_is_a_directory_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert "--output folder: " in mistake(capsys, stored(row()), "--no-gates", "--output", "folder")


def test_what_is_no_choice_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["report", "run.jsonl", "--images", "none"])
    assert exit_.value.code == 4
    assert "invalid choice: 'none'" in capsys.readouterr().err
