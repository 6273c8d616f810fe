"""A real read-only file system: scores and verdicts are the same, and what was not saved is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project import Project

PLAIN_AND_XDIST = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
MOUNTS = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$1" && shift && exec "$@"'
NOT_SAVED = "could not be written, and remembers less: "
STORE = ("-p", "no:cacheprovider", "--editeval-cache-dir=store")


def mounted(read_only: Path, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in `folder`, which finds a file system in the place of `read_only` that it cannot write to."""
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    line = ["unshare", "--mount", *as_root, "sh", "-c", MOUNTS, str(read_only), str(folder), *command]
    return subprocess.run(line, capture_output=True, encoding="utf-8", check=False, timeout=120)


@pytest.fixture(scope="session")
def _mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mount")
    try:
        found = mounted(folder, "touch", str(folder / "file"), folder=folder)
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    if "Read-only file system" not in found.stderr:
        pytest.skip(f"this user may not mount: {found.stderr.strip()}")


@pytest.fixture(autouse=True)
def _output(_mounts: None, project: Project) -> None:
    """Where runs write that may: beside the project."""
    (project.path / "out").mkdir()


def run(project: Project, read_only: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *options)
    found = mounted(read_only, *command, folder=project.path)
    assert "Traceback" not in found.stdout + found.stderr
    assert "INTERNALERROR" not in found.stdout + found.stderr
    return found


def rows(path: Path) -> list[dict[str, Any]]:
    """Without what depends on the moment and on the store."""
    return [json.loads(line) | {"duration": None, "remembered": None} for line in path.read_text("utf-8").splitlines()]


def expected(project: Project) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and rows of a run without a store."""
    result = project.run("--editeval-cache=off", "--editeval-results=expected.jsonl")
    return int(result.ret), rows(project.path / "expected.jsonl")


def lines(found: subprocess.CompletedProcess[str], words: str) -> list[str]:
    return [line for line in found.stdout.splitlines() if words in line]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@PLAIN_AND_XDIST
def test_a_store_that_cannot_be_begun_costs_the_memory_only(project: Project, workers: tuple[str, ...]) -> None:
    project.one("region_emd: 1.0e+9, dinov3_structure_similarity: 2.0")
    status, without = expected(project)
    assert status == pytest.ExitCode.TESTS_FAILED
    store = project.path / "store"
    store.mkdir()
    found = run(project, store, *STORE, "--editeval-results=out/rows.jsonl", *workers)
    assert found.returncode == status
    assert rows(project.path / "out" / "rows.jsonl") == without
    (line,) = lines(found, NOT_SAVED)
    assert line.startswith("the store store ")
    assert line.endswith(" × Read-only file system")
    assert len(lines(found, "editeval: store store (0 scores, cannot be written)")) == 1
    assert files(store) == {}


@PLAIN_AND_XDIST
def test_a_store_of_earlier_runs_is_read(project: Project, workers: tuple[str, ...]) -> None:
    project.one("region_emd: 1.0e+9, dinov3_structure_similarity: 0.0")
    project.pytester.runpytest(*STORE).assert_outcomes(passed=2)
    store = project.path / "store"
    before = files(store)
    warm = run(project, store, *STORE, *workers)
    assert warm.returncode == 0
    assert len(lines(warm, "editeval: store store (2 scores, cannot be written)")) == 1
    assert len(lines(warm, "scores: 0 computed, 2 remembered")) == 1
    assert not lines(warm, NOT_SAVED), "there was nothing to write"
    if not workers:
        project.one("region_emd: 1.0e+9, dinov3_structure_similarity: 0.0, emd: 1.0e+9")
        status, without = expected(project)
        more = run(project, store, *STORE, "--editeval-results=out/rows.jsonl")
        assert more.returncode == status == 0
        assert rows(project.path / "out" / "rows.jsonl") == without
        assert len(lines(more, "scores: 1 computed, 2 remembered")) == 1
        (line,) = lines(more, NOT_SAVED)
        assert line.endswith(": 1 × Read-only file system")
    assert files(store) == before


def test_a_checkout_that_is_read_only_with_pytests_cache_in_it(project: Project, tmp_path: Path) -> None:
    project.one("region_emd: 1.0e+9")
    status, without = expected(project)
    outside = project.path.parent / "outside.jsonl"
    before = files(project.path)
    found = run(project, project.path, f"--editeval-results={outside}")
    assert found.returncode == status == 0
    assert rows(outside) == without
    assert len(lines(found, f"the store .pytest_cache/d/editeval {NOT_SAVED}")) == 1
    assert files(project.path) == before


OUTPUTS = {"results": "rows.jsonl", "report": "page.html", "markdown": "summary.md"}


@pytest.mark.parametrize(
    ("option", "threshold", "status"),
    [("results", "1.0e+9", 4), ("results", "0.0", 1), ("report", "1.0e+9", 4), ("markdown", "1.0e+9", 4)],
)
def test_an_output_that_cannot_be_written_is_one_line_and_no_green_run(
    option: str, threshold: str, status: int, project: Project, remembered_scores: Path
) -> None:
    project.one(f"region_emd: {threshold}")
    project.store = remembered_scores
    project.run()
    mount = project.path / "mount"
    mount.mkdir()
    (mount / OUTPUTS[option]).write_text("of an earlier run")
    place = f"--editeval-{option} mount/{OUTPUTS[option]}"
    found = run(
        *(project, mount, "-p", "no:cacheprovider", f"--editeval-cache-dir={remembered_scores}", *place.split())
    )
    assert found.returncode == status
    (line,) = lines(found, "ERROR: ")
    assert line.startswith(f"ERROR: editeval: {place}: ")
    assert "Read-only file system" in line
    assert len(lines(found, "checks: 1 = 1 ")) == 1
    assert not lines(found, "the run has not ended"), "there is no journal either"
    assert [*files(mount).values()] == [b"of an earlier run"]
