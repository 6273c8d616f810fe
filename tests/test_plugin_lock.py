"""`--editeval-lock`: a checkpoint that is not the locked one stops the run before anything is scored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from project import Project
from pytest_editeval.cli import main

PLAIN_AND_WORKERS = pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["plain", "workers"])


@pytest.fixture
def locked(project: Project, models: Path, remembered_scores: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with its own copy of the checkpoints, and a lock of them."""
    for name in ("clip", "dinov3"):
        shutil.copytree(models / name, project.path / name)
    shutil.copy(models / "sam.pth", project.path)
    project.store = remembered_scores
    config = project.path / "tiny.yaml"
    config.write_text(config.read_text().replace(f"{models}/", "./"))
    monkeypatch.chdir(project.path)
    assert main(["models", "lock", "--config", "tiny.yaml"]) == 0
    project.one("region_emd: 0.001")
    return project


def spoil(project: Project) -> None:
    path = project.path / "dinov3" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@PLAIN_AND_WORKERS
def test_checkpoints_that_are_the_locked_ones_are_scored(workers: list[str], locked: Project) -> None:
    result = locked.run("--editeval-lock=editeval.lock.json", *workers)
    result.assert_outcomes(failed=1)


@PLAIN_AND_WORKERS
def test_a_changed_checkpoint_stops_the_run(workers: list[str], locked: Project) -> None:
    (locked.path / "results.jsonl").write_text("what was there\n")
    spoil(locked)
    result = locked.run("--editeval-lock=editeval.lock.json", "--editeval-results=results.jsonl", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: editeval: editeval.lock.json: 1 difference* "
            "`editeval models lock --config tiny.yaml --output editeval.lock.json` writes the lock again",
            "*./dinov3: model.safetensors has changed: expected ????????????... (* bytes), found ????????????... *",
        ]
    )
    result.stdout.no_fnmatch_line("*1 failed*")
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert (locked.path / "results.jsonl").read_text() == "", "an earlier run's rows are not this run's"


def test_remembered_scores_are_no_way_round_the_lock(locked: Project) -> None:
    locked.run("--editeval-lock=editeval.lock.json").assert_outcomes(failed=1)
    spoil(locked)
    result = locked.run("--editeval-lock=editeval.lock.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@PLAIN_AND_WORKERS
def test_tests_with_a_fixture_are_covered(workers: list[str], locked: Project) -> None:
    (locked.path / "a.edit.yaml").unlink()
    locked.write("test_it.py", "def test_it(clip_pipe): raise SystemError('was run')\n")
    spoil(locked)
    result = locked.run("--editeval-lock=editeval.lock.json", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.no_fnmatch_line("*was run*")


def test_tests_without_models_are_not_held_up(locked: Project) -> None:
    (locked.path / "a.edit.yaml").unlink()
    locked.write("test_it.py", "def test_it(): pass\n")
    spoil(locked)
    locked.run("--editeval-lock=editeval.lock.json").assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--fixtures"])
def test_dry_runs_read_no_weights(option: str, locked: Project) -> None:
    spoil(locked)
    assert locked.run("--editeval-lock=editeval.lock.json", option).ret == 0


@PLAIN_AND_WORKERS
def test_the_ini_setting_is_relative_to_the_ini_file(workers: list[str], locked: Project) -> None:
    ini = locked.path / "tox.ini"
    ini.write_text(ini.read_text() + "\nediteval_lock = editeval.lock.json\n")
    (locked.path / "below").mkdir()
    shutil.move(locked.path / "a.edit.yaml", locked.path / "below" / "a.edit.yaml")
    for image in ("source.png", "other.png"):
        shutil.copy(locked.path / image, locked.path / "below")
    locked.pytester.chdir()
    locked.run("below", *workers).assert_outcomes(failed=1)
    spoil(locked)
    assert locked.run("below", *workers).ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "*lock file not found: editeval.lock.json*"), ("{", "*torn: it ends*"), ("{}", "*no lock file*")],
)
def test_a_lock_that_cannot_be_read_stops_the_run(content: str | None, words: str, locked: Project) -> None:
    path = locked.path / "editeval.lock.json"
    path.unlink() if content is None else path.write_text(content)
    result = locked.run("--editeval-lock=editeval.lock.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: editeval: {words.strip('*')}*" if content is None else f"ERROR: editeval: {words}"]
    )
