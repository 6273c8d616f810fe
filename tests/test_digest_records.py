"""Digests of large checkpoint files that outlast the process: a file is read again when anything about it changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from project import Project
from pytest_editeval import CLIPPipe
from pytest_editeval.scoring.locking import locked_checkpoint
from pytest_editeval.scoring.store import Store
from pytest_editeval.vision import checkpoints
from pytest_editeval.vision.checkpoints import file_digests


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read for their digest; no process remembers any."""
    names: list[str] = []
    digest = checkpoints._file_digest.__wrapped__

    def counted(path: Path, *own: int) -> str:
        names.append(path.name)
        return digest(path, *own)

    monkeypatch.setattr(checkpoints, "_file_digest", counted)
    monkeypatch.setattr(checkpoints, "LARGE", 1_000)
    monkeypatch.setattr(checkpoints, "SETTLED_SECONDS", -1.0)
    return names


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "sam.pth"
    path.write_bytes(b"weights " * 1_000)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_large_file_is_read_once(checkpoint: Path, store: Store, read: list[str]) -> None:
    expected = {"sam.pth": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    assert [file_digests(str(checkpoint), store) for _ in range(3)] == [expected] * 3
    assert read == ["sam.pth"]
    assert file_digests(str(checkpoint)) == expected  # who does not say where to remember gets what is there
    assert read == ["sam.pth"] * 2


def test_a_small_file_is_read_each_time(checkpoint: Path, store: Store, read: list[str]) -> None:
    checkpoint.write_bytes(b"small")
    for _ in range(2):
        file_digests(str(checkpoint), store)
    assert read == ["sam.pth"] * 2
    assert not list(store.folder.rglob("*"))


def rewritten_in_place(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"others! " * 1_000)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def copied_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"others! " * 1_000)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    shutil.copy2(other, path)


def linked(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"others! " * 1_000)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


@pytest.mark.skipif(os.name == "nt", reason="nothing is remembered there")
@pytest.mark.parametrize("change", [rewritten_in_place, replaced, copied_over, linked])
def test_no_change_goes_unseen(change: Callable[[Path], None], checkpoint: Path, store: Store, read: list[str]) -> None:
    """Of the same size, with the same time of its content."""
    before, stat = file_digests(str(checkpoint), store), checkpoint.stat()
    change(checkpoint)
    assert (checkpoint.stat().st_size, checkpoint.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = file_digests(str(checkpoint), store)
    assert after == {"sam.pth": hashlib.sha256(checkpoint.read_bytes()).hexdigest()} != before
    assert read == ["sam.pth"] * 2


def test_what_has_just_changed_is_not_remembered(
    checkpoint: Path, store: Store, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SETTLED_SECONDS", 60.0)
    for _ in range(2):
        file_digests(str(checkpoint), store)
    assert read == ["sam.pth"] * 2


def test_what_changes_while_it_is_read_is_not_remembered(
    checkpoint: Path, store: Store, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = checkpoints._file_digest

    def slow(path: Path, *own: int) -> str:
        found = digest(path, *own)
        rewritten_in_place(path)
        return found

    monkeypatch.setattr(checkpoints, "_file_digest", slow)
    file_digests(str(checkpoint), store)
    assert not list(store.folder.rglob("*"))


def test_a_lock_file_is_compared_with_what_is_read(checkpoint: Path, store: Store, read: list[str]) -> None:
    digests = file_digests(str(checkpoint), store)
    locked = locked_checkpoint(str(checkpoint))
    assert {name: file.sha256 for name, file in locked.files.items()} == digests
    assert read == ["sam.pth"] * 2


def test_a_copy_elsewhere_is_another_file(checkpoint: Path, store: Store, read: list[str], tmp_path: Path) -> None:
    other = tmp_path / "copy" / "sam.pth"
    other.parent.mkdir()
    shutil.copy2(checkpoint, other)
    assert file_digests(str(checkpoint), store) == file_digests(str(other), store)
    assert read == ["sam.pth"] * 2


def test_pipes_have_the_same_fingerprint_with_and_without(models: Path, store: Store, read: list[str]) -> None:
    pipes = [CLIPPipe(model_path=str(models / "clip")) for _ in range(3)]
    for pipe in pipes[1:]:
        pipe.records = store
    assert len({pipe.fingerprint for pipe in pipes}) == 1
    assert read.count("model.safetensors") == 2


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_run_remembers_them(project: Project, options: tuple[str, ...]) -> None:
    """Of every checkpoint, in one process and in workers."""
    project.write(
        "conftest.py",
        """
        from pytest_editeval.vision import checkpoints

        checkpoints.LARGE, checkpoints.SETTLED_SECONDS = 1_000, -1.0
        digest = checkpoints._file_digest

        def noted(path, *own):
            with open("read.txt", "a") as stream:
                print(path.name, file=stream)
            return digest(path, *own)

        checkpoints._file_digest = noted
        """,
    )
    pair = "{source: [9, 9, 80, 80], edited: [9, 9, 80, 80]}"
    project.one(f"emd: 1.0e+9, sam_dino_cls_sim: {{threshold: -1, pairs: [{pair}]}}")
    read = project.path / "read.txt"
    run = partial(project.pytester.runpytest_subprocess, "--editeval-cache-dir=store", *options)
    run().assert_outcomes(passed=2)
    assert {"model.safetensors", "sam.pth"} <= set(read.read_text("utf-8").split())
    read.unlink()
    run().assert_outcomes(passed=2)
    assert not {"model.safetensors", "sam.pth"} & set(read.read_text("utf-8").split())  # small files only
