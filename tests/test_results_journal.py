"""What a run has finished can be read after a kill, and never passes for a whole run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pytest_editeval
from project import Project
from pytest_editeval.cli import main
from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult
from pytest_editeval.results_file import SUFFIXES, check_results_path, read_results, write_results
from pytest_editeval.results_journal import Journal, unended
from rows import RESULT, result

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
ROWS = [result(case=f"case{number}") for number in range(4)]


def killed(results: Path, *rows: CheckResult, checks: int | None = 9) -> Path:
    """The journal of a run that got so far."""
    journal = Journal(results)
    if checks is not None:
        journal.select(checks)
    for row in rows:
        journal.add(row)
    assert journal.error is None
    journal.close(ended=False)
    return journal.path


@given(rows=st.lists(RESULT, min_size=1, max_size=4, unique_by=lambda row: row.node_id), data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journal_cut_at_any_byte_has_every_row_before_it(
    rows: list[CheckResult], data: st.DataObject, tmp_path: Path
) -> None:
    path = killed(tmp_path / "run.csv", *rows)
    content = path.read_bytes()
    end = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:end])
    lines = content[:end].split(b"\n")[:-1]
    whole = sum(not line.startswith(b'{"editeval_run"') for line in lines)
    run = unended(path)
    assert run is not None
    assert run.torn == (end > 0 and content[end - 1 : end] != b"\n")
    assert run.rows == whole
    if whole:
        assert repr(read_results(path, partial=True)) == repr(rows[:whole])


def test_a_journal_cut_inside_a_character_has_every_row_before_it(tmp_path: Path) -> None:
    path = killed(
        tmp_path / "run.csv",
        result(node_id="a.edit.yaml::first::emd"),
        result(node_id="a.edit.yaml::\u4e2d::emd"),
    )
    content = path.read_bytes()
    path.write_bytes(content[: content.index("\u4e2d".encode()) + 1])
    assert [one.node_id for one in read_results(path, partial=True)] == ["a.edit.yaml::first::emd"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_judges_refuses_a_run_that_has_not_ended(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(Path(f"run{suffix}"), ROWS)
    write_results(Path("other.jsonl"), ROWS)
    killed(Path(f"run{suffix}"), *ROWS[:2])
    cure = "; run it to its end, or remove that file (gate, accept, compare: --allow-partial)"
    said = {
        f"run{suffix}": f"run{suffix}: the last run has not ended: 2 of 9 checks in run.partial.jsonl",
        "run.partial.jsonl": "run.partial.jsonl: results of a run that has not ended: 2 of 9 checks",
    }
    for name, line in said.items():
        commands = (
            ["gate", name],
            ["accept", name],
            ["compare", name, "other.jsonl"],
            ["compare", "other.jsonl", name],
        )
        for command in commands:
            Path("a.edit.yaml").write_text("cases: []\n", "utf-8")
            assert main(command) == 4
            assert capsys.readouterr().err == f"editeval: {line}{cure}\n", command
        with pytest.raises(EditEvalError, match="has not ended"):
            read_results(Path(name))
    for name, line in said.items():
        assert main(["compare", name, "other.jsonl", "--allow-partial"]) == 0
        assert capsys.readouterr().out.startswith(f"{line}\n")
        assert main(["accept", name, "--allow-partial", "--baseline", f"{name}.json"]) == 0
        assert capsys.readouterr().out.startswith(f"{line}\n")
    assert len(read_results(Path(f"run{suffix}"), partial=True)) == 4
    Path("run.partial.jsonl").unlink()
    assert main(["compare", f"run{suffix}", "other.jsonl"]) == 0
    assert "ended" not in capsys.readouterr().out


def test_a_results_file_that_was_never_written_is_explained_by_its_journal(tmp_path: Path) -> None:
    killed(tmp_path / "run.csv", checks=None)
    with pytest.raises(EditEvalError, match=r"run.csv: the last run has not ended: 0 checks in .*run.partial.jsonl"):
        read_results(tmp_path / "run.csv")


def test_a_journal_under_another_name_is_known_for_one(tmp_path: Path) -> None:
    path = killed(tmp_path / "run.csv", *ROWS).rename(tmp_path / "green.jsonl")
    with pytest.raises(EditEvalError, match=r"green.jsonl: results of a run that has not ended: 4 of 9 checks"):
        read_results(path)


def test_a_journal_is_of_one_results_file(tmp_path: Path) -> None:
    write_results(tmp_path / "run.jsonl", ROWS)
    killed(tmp_path / "run.csv", *ROWS)
    assert read_results(tmp_path / "run.jsonl") == ROWS


def test_the_ending_of_a_journal_is_refused_for_results() -> None:
    with pytest.raises(
        EditEvalError, match=r"run.partial.jsonl: .partial.jsonl is the ending of what a run has finished"
    ):
        check_results_path(Path("run.partial.jsonl"))


def test_two_runs_at_once_keep_to_their_own_journals(tmp_path: Path) -> None:
    first = Journal(tmp_path / "run.jsonl")
    second = Journal(tmp_path / "run.jsonl")
    second.select(2)
    first.add(ROWS[0])
    second.add(ROWS[1])
    first.close(ended=True)
    assert read_results(first.path, partial=True) == [ROWS[1]]
    second.close(ended=True)
    assert not list(tmp_path.iterdir())


def test_load_results_reads_a_journal_and_warns(tmp_path: Path) -> None:
    path = killed(tmp_path / "run.parquet", *ROWS[:3])
    with path.open("ab") as stream:
        stream.write(b'{"node_id": "half a r')
    with pytest.warns(UserWarning, match="3 of 9 checks, and half a row that is left out"):
        frame = pytest_editeval.load_results(path)
    assert list(frame["case"]) == ["case0", "case1", "case2"]


def test_report_and_plot_read_a_journal_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    killed(Path("run.csv"), *ROWS[:3])
    line = "run.partial.jsonl: results of a run that has not ended: 3 of 9 checks\n"
    assert main(["report", "run.partial.jsonl", "--no-gates"]) == 0
    assert capsys.readouterr().out.startswith(line)
    assert main(["plot", "run.partial.jsonl", "--output", "plots", "--kind", "scores"]) == 0
    assert capsys.readouterr().out.startswith(line)


SEES = """
import json, os
from pathlib import Path

def pytest_runtest_logreport(report):
    \"\"\"What a kill at this moment would leave.\"\"\"
    path = Path("out/now.partial.jsonl")
    if report.when == "call" and "PYTEST_XDIST_WORKER" not in os.environ:
        lines = path.read_text("utf-8").splitlines()
        with open("seen", "a") as stream:
            print(report.nodeid, len(lines), json.loads(lines[-1])["node_id"], file=stream)
"""


@PLAIN_AND_XDIST
def test_a_row_is_there_before_its_check_is_reported_and_the_journal_goes_at_the_end(
    project: Project, options: tuple[str, ...]
) -> None:
    project.cases()
    project.pytester.makeconftest(SEES)
    project.run("--editeval-results", "out/now.csv", *options)
    seen = [line.split() for line in (project.path / "seen").read_text("utf-8").splitlines()]
    assert len(seen) == 8
    assert [int(count) for _, count, _ in seen] == [*range(3, 11)]  # two lines are about the run
    assert all(last == node_id for node_id, _, last in seen)
    assert [path.name for path in (project.path / "out").iterdir()] == ["now.csv"]


@PLAIN_AND_XDIST
def test_a_run_that_stops_at_a_failure_has_not_ended(project: Project, options: tuple[str, ...]) -> None:
    project.cases()
    result = project.run("-x", "--editeval-results", "now.jsonl", *options)
    result.stdout.fnmatch_lines(["the run has not ended: now.partial.jsonl stays until one has, or you remove it"])
    with pytest.raises(EditEvalError, match=r"the last run has not ended: \d of 8 checks"):
        read_results(project.path / "now.jsonl")
    rows = read_results(project.path / "now.jsonl", partial=True)
    assert rows == sorted(read_results(project.path / "now.partial.jsonl", partial=True), key=lambda row: row.line)
    project.run("--editeval-results", "now.jsonl", *options)
    assert len(read_results(project.path / "now.jsonl")) == 8


def test_skipped_and_broken_checks_have_ended(project: Project) -> None:
    project.cases()
    project.pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    items[1].add_marker(pytest.mark.skip)\n"
        "    items[2].fixturenames.insert(0, 'broken')\n"
        "@pytest.fixture\n"
        "def broken():\n"
        "    raise RuntimeError\n"
    )
    result = project.run("--editeval-results", "now.jsonl")
    result.stdout.no_fnmatch_line("*has not ended*")
    assert len(read_results(project.path / "now.jsonl")) == 7


@pytest.mark.parametrize("dry", ["--collect-only", "--setup-plan"])
def test_a_dry_run_has_no_journal_and_removes_none(project: Project, dry: str) -> None:
    project.one("region_emd: 1.0e+9")
    path = killed(project.path / "now.jsonl", *ROWS)
    before = path.read_bytes()
    project.run("--editeval-results", "now.jsonl", dry)
    assert path.read_bytes() == before


def test_without_a_results_file_there_is_no_journal(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    project.run()
    assert not list(project.path.glob("*.partial.jsonl"))


def test_a_journal_that_cannot_be_written_is_one_line(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    (project.path / "now.partial.jsonl").mkdir()
    result = project.run("--editeval-results", "now.jsonl")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["now.partial.jsonl could not be written, so a kill would have cost rows: *"])


def test_a_full_disk_leaves_no_half_row_between_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "run.jsonl")
    journal.add(ROWS[0])
    stream = journal._stream
    assert stream is not None

    class Full:
        def write(self, data: bytes) -> int:
            return stream.write(data[:40])

    monkeypatch.setattr(journal, "_stream", Full())
    journal.add(ROWS[1])
    monkeypatch.setattr(journal, "_stream", stream)
    journal.add(ROWS[2])
    journal.close(ended=False)
    assert str(journal.error) == "no room is left for the whole row"
    assert read_results(journal.path, partial=True) == ROWS[:1]


@PLAIN_AND_XDIST
def test_the_baseline_may_be_the_file_that_the_run_replaces(project: Project, options: tuple[str, ...]) -> None:
    project.one("region_emd: 1.0e+9")
    arguments = ("--editeval-results", "now.jsonl", "--editeval-baseline", "now.jsonl", *options)
    project.run("--editeval-results", "now.jsonl")
    for _ in range(2):
        project.run(*arguments).assert_outcomes(passed=1)
        killed(project.path / "now.jsonl")


def test_a_run_killed_while_it_collects_leaves_no_old_results_to_judge(project: Project) -> None:
    write_results(project.path / "now.jsonl", ROWS)
    project.one("region_emd: 1.0e+9")
    project.pytester.makeconftest(
        "import os, signal\ndef pytest_collection(session):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--editeval-results", "now.jsonl"]
    assert subprocess.run(command, cwd=project.path, capture_output=True, check=False).returncode == -signal.SIGKILL
    with pytest.raises(EditEvalError, match="the last run has not ended: 0 checks"):
        read_results(project.path / "now.jsonl")


def test_a_row_takes_little_time(tmp_path: Path) -> None:
    """Far less than a check; 2,000 patches explain each."""
    row = result(details={"patches": {"compared": "01" * 1000, "shares": "A" * 5400}})
    journal = Journal(tmp_path / "run.jsonl")
    begin = time.process_time()
    for _ in range(500):
        journal.add(row)
    assert (time.process_time() - begin) / 500 < 0.005
    journal.close(ended=False)
    assert len(json.loads(journal.path.read_text("utf-8").splitlines()[-1])) > 40
