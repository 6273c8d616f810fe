"""Features on disk: kept whole, never wrong, shared by runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from project import Project
from pytest_editeval.scoring.store import FeatureStore

PATCHES = np.arange(12, dtype=np.float32).reshape(4, 3)
CLS = np.array([1, 2, 3], np.float32)
KEY = "0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path)
    store.save(KEY, PATCHES, CLS)
    return store


def only_file(store: FeatureStore) -> Path:
    (file,) = (path for path in store.folder.rglob("*") if path.is_file())
    return file


def test_what_is_stored_comes_back_to_the_bit(store: FeatureStore) -> None:
    found = store.load(KEY)
    assert found is not None
    assert np.array_equal(found[0], PATCHES)
    assert np.array_equal(found[1], CLS)
    assert found[0].dtype == found[1].dtype == np.float32
    assert store.load("fedcba9876543210") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_absent(store: FeatureStore, share: float) -> None:
    file = only_file(store)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert store.load(KEY) is None
    store.save(KEY, PATCHES, CLS)
    assert store.load(KEY) is not None


def test_a_flipped_bit_never_gives_other_features(store: FeatureStore) -> None:
    file = only_file(store)
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        file.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        found = store.load(KEY)
        assert found is None or (np.array_equal(found[0], PATCHES) and np.array_equal(found[1], CLS))


def test_a_pickle_is_not_read(store: FeatureStore) -> None:
    np.savez(only_file(store), patches=np.array([{"a": 1}], dtype=object), cls=CLS)
    assert store.load(KEY) is None


def test_a_store_for_reading_writes_nothing(tmp_path: Path) -> None:
    FeatureStore(tmp_path, writable=False).save(KEY, PATCHES, CLS)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", "utf-8")
    store = FeatureStore(blocked)
    store.save(KEY, PATCHES, CLS)
    assert store.load(KEY) is None


def test_what_was_used_longest_ago_is_evicted(tmp_path: Path) -> None:
    import os

    store = FeatureStore(tmp_path)
    for index, key in enumerate(("aa", "bb", "cc")):
        store.save(key, PATCHES, CLS)
        os.utime(store._path(key), (index, index))
    store.load("aa")
    store.max_bytes = 2 * store._path("aa").stat().st_size
    store.prune()
    assert [key for key in ("aa", "bb", "cc") if store.load(key) is not None] == ["aa", "cc"]


def run(project: Project, *options: str) -> str:
    """The summary's line about encoding; pytest's cache directory is kept, as in a second run by hand."""
    result = project.pytester.runpytest("--editeval-results", "now.jsonl", "-k", "same or other", *options)
    (line,) = (line for line in result.outlines if line.startswith("encoded"))
    return line


def scores(project: Project) -> list[object]:
    import json

    return [json.loads(line)["score"] for line in (project.path / "now.jsonl").read_text("utf-8").splitlines()]


def test_a_second_run_encodes_nothing_and_scores_the_same(project: Project) -> None:
    project.cases()
    assert run(project).startswith("encoded 2 × CLIP, 2 × DINOv3, 1 × SAM")
    first = scores(project)
    assert run(project).startswith("encoded nothing")
    assert scores(project) == first
    assert run(project, "-n", "2").startswith("encoded nothing")
    assert sorted(map(str, scores(project))) == sorted(map(str, first))
    assert run(project, "--editeval-cache", "off").startswith("encoded 2 × CLIP")
    assert run(project, "-o", "editeval_cache=read").startswith("encoded nothing")
    assert run(project, "--cache-clear").startswith("encoded 2 × CLIP")


def test_another_checkpoint_at_the_same_path_is_another_key(project: Project) -> None:
    import shutil

    import checkpoints

    shutil.copytree(project.models / "clip", project.path / "clip")
    text = (
        (project.path / "tiny.yaml")
        .read_text("utf-8")
        .replace(str(project.models / "clip"), str(project.path / "clip"))
    )
    project.write("tiny.yaml", text)
    project.one("region_emd: 1.0e+9")
    arguments = ("--editeval-results", "now.jsonl")
    project.pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
    before = scores(project)
    checkpoints.make_clip(project.path / "clip", seed=5)
    project.pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
    assert scores(project) != before


def test_an_edited_image_is_another_key(project: Project) -> None:
    from conftest import picture

    project.one("region_emd: 1.0e+9")
    project.pytester.runpytest("--editeval-results", "now.jsonl").assert_outcomes(passed=1)
    before = scores(project)
    picture(77).save(project.path / "other.png")
    project.pytester.runpytest("--editeval-results", "now.jsonl").assert_outcomes(passed=1)
    assert scores(project) != before
