"""What outlasts a run: kept whole, never wrong, shared by processes."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import checkpoints
from conftest import picture
from project import Project
from pytest_editeval.needs import ImageRef
from pytest_editeval.results import Reason, Score, SoftFailure
from pytest_editeval.scoring.store import STALE_SECONDS, Store

PATCHES = np.arange(12, dtype=np.float32).reshape(4, 3)
CLS = np.array([1, 2, 3], np.float32)
KEY = "0123456789abcdef" * 2
OTHER_KEY = "fedcba9876543210" * 2
SCORE = Score("emd", 0.1 + 0.2, None, {"pairs": [1e-300, 5e-324, 1 / 3]})
REF = ImageRef("0f" * 16, (640, 480))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.save(KEY, PATCHES, CLS, "bWFzaw==")
    store.save_score(KEY, SCORE)
    store.save_image(KEY, REF)
    return store


def files(store: Store) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


def assert_right_or_absent(store: Store) -> int:
    """How many of the three entries are there; what is there is what was stored."""
    features = store.load(KEY)
    if features is not None:
        assert np.array_equal(features[0], PATCHES)
        assert np.array_equal(features[1], CLS)
        assert features[0].dtype == features[1].dtype == np.float32
        assert features[2] == "bWFzaw=="
    assert store.load_score(KEY) in (None, (SCORE, True))
    assert store.load_image(KEY) in (None, REF)
    return sum(entry is not None for entry in (features, store.load_score(KEY), store.load_image(KEY)))


def test_what_is_stored_comes_back_to_the_bit(store: Store) -> None:
    assert assert_right_or_absent(store) == 3
    assert store.load(OTHER_KEY) is store.load_score(OTHER_KEY) is store.load_image(OTHER_KEY) is None


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(), st.sampled_from([None, *Reason]))
def test_a_score_survives_as_plain_data(value: float, detail: str, reason: Reason | None) -> None:
    failure = None if reason is None else SoftFailure(reason, detail)
    score = Score("emd", value, failure, {"pairs": [value], "worst": {"rows": [0, 1]}})
    again = Score.from_data(json.loads(json.dumps(score.to_data())))
    assert again == score
    assert again.value is not None
    assert math.copysign(1, again.value) == math.copysign(1, value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_entry_is_absent_and_written_again(store: Store, share: float) -> None:
    for file in files(store):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])
    assert assert_right_or_absent(store) == 0
    store.save_score(KEY, SCORE)
    assert store.load_score(KEY) == (SCORE, True)


def test_a_flipped_bit_never_gives_another_entry(store: Store) -> None:
    for file in files(store):
        content = file.read_bytes()
        for position in range(0, len(content), 3):
            file.write_bytes(
                content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :]
            )
            assert assert_right_or_absent(store) == 2
        file.write_bytes(content)


def test_an_entry_in_anothers_place_is_absent(store: Store) -> None:
    for kind in ("features", "scores", "images"):
        place = store._path(kind, OTHER_KEY)  # type: ignore[arg-type]
        place.parent.mkdir(parents=True)
        shutil.copy(store._path(kind, KEY), place)  # type: ignore[arg-type]
    assert store.load(OTHER_KEY) is store.load_score(OTHER_KEY) is store.load_image(OTHER_KEY) is None
    shutil.copy(store._path("images", KEY), store._path("scores", KEY))
    assert store.load_score(KEY) is None


def test_a_store_for_reading_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, writable=False)
    store.save(KEY, PATCHES, CLS)
    store.save_score(KEY, SCORE)
    store.prune()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", "utf-8")
    store = Store(blocked)
    store.save(KEY, PATCHES, CLS)
    assert store.load(KEY) is None


def test_a_full_disk_leaves_nothing_half_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    before = files(store)
    store.save_score(OTHER_KEY, SCORE)
    assert files(store) == before


def test_what_was_used_longest_ago_is_evicted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = first, _, third = "a" * 32, "b" * 32, "c" * 32
    for index, key in enumerate(keys):
        store.save(key, PATCHES, CLS)
        os.utime(store._path("features", key), (index, index))
    store.load(first)
    store.max_bytes = 2 * store._path("features", first).stat().st_size
    store.prune()
    assert [key for key in keys if store.load(key) is not None] == [first, third]


def test_what_a_killed_process_left_goes_after_an_hour(store: Store) -> None:
    fresh, old = (store._path("scores", KEY).with_name(f"{KEY}.{mark * 32}.tmp") for mark in "ab")
    for file in (fresh, old):
        file.write_bytes(b"half")
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    store.prune()
    assert fresh.exists()
    assert not old.exists()


def run(project: Project, *options: str) -> str:
    """The summary's line about the work; pytest's cache directory is kept, as in a second run by hand."""
    result = project.pytester.runpytest("--editeval-results", "now.jsonl", "-k", "same or other or speck", *options)
    (line,) = (line for line in result.outlines if line.startswith("scores:"))
    return line


def rows(project: Project) -> list[object]:
    """The results file without what a run takes."""
    lines = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    return [{**json.loads(line), "duration": None, "remembered": None} for line in lines]


def remembered(project: Project) -> list[bool]:
    lines = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["remembered"] for line in lines]


def scores(project: Project) -> list[object]:
    lines = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["score"] for line in lines]


ALL_NEW = "scores: 6 computed, 0 remembered · images and objects: 2 × CLIP, 2 × DINOv3, 1 × SAM encoded, 0 remembered"
ALL_REMEMBERED = "scores: 0 computed, 6 remembered"


def test_a_second_run_computes_nothing_and_is_the_same_to_the_bit(project: Project) -> None:
    project.cases()
    assert run(project) == ALL_NEW
    first = rows(project)
    assert remembered(project) == [False] * 6
    assert run(project) == ALL_REMEMBERED
    assert rows(project) == first
    assert remembered(project) == [True] * 6
    assert run(project, "-n", "2") == ALL_REMEMBERED
    assert rows(project) == first
    assert run(project, "-o", "editeval_cache=read") == ALL_REMEMBERED
    assert run(project, "--editeval-cache", "off") == ALL_NEW
    assert run(project, "--cache-clear") == ALL_NEW


def test_a_check_of_several_edits_is_remembered_when_all_of_its_scores_are(project: Project) -> None:
    case = """
        defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
        cases:
          - {id: several, edited: "{seed}.png", metrics: {region_emd: 1.0e+9}, repeat: {pass: 1, of: %d}}
          - {id: lost, edited: nowhere.png, metrics: {region_emd: 1.0e+9}}
    """
    for seed in range(3):
        picture(seed + 50).save(project.path / f"{seed}.png")
    found = []
    for count in (2, 3, 3):
        project.cases(case % count)
        project.pytester.runpytest("--editeval-results", "now.jsonl").assert_outcomes(passed=1, failed=1)
        found.append(remembered(project))
    assert found == [[False, False], [False, False], [True, False]]


@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "load")], ids=["plain", "xdist"])
def test_what_another_check_of_the_run_saved_is_not_an_earlier_runs(project: Project, options: tuple[str, ...]) -> None:
    """It depended on the moment: the second of two equal checks may find the first one's score, or compute it too."""
    defaults = "defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]], metrics: {emd: 1.0e+9}}"
    others = [f"between{index}" for index in range(20)]
    for index, name in enumerate(others):
        picture(200 + index).save(project.path / f"{name}.png")
    lines = [f"  - {{id: {name}, edited: {name}.png}}" for name in others]
    first, last = (f"  - {{id: {name}, edited: other.png}}" for name in ("first", "last"))
    project.cases("\n".join([defaults, "cases:", first, *lines, last]))
    for expected in (False, True):
        result = project.pytester.runpytest("--editeval-results", "now.jsonl", "--editeval-batch-size", "1", *options)
        result.assert_outcomes(passed=22)
        assert remembered(project) == [expected] * 22
        result.stdout.fnmatch_lines([f"scores: {'0 computed, 22' if expected else '22 computed, 0'} remembered*"])


def test_a_named_folder_outlasts_the_cache_of_pytest(project: Project) -> None:
    project.cases()
    folder = ("--editeval-cache-dir", "mine", "-p", "no:cacheprovider")
    assert run(project, *folder) == ALL_NEW
    assert run(project, *folder) == ALL_REMEMBERED
    project.pytester.makeini(
        "[pytest]\nediteval_config = tiny.yaml\nediteval_device = cpu\nediteval_cache_dir = mine\n"
    )
    assert run(project, "--cache-clear") == ALL_REMEMBERED


def test_features_are_remembered_where_only_the_score_is_new(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    result = project.pytester.runpytest()
    result.stdout.fnmatch_lines(["scores: 1 computed, 0 remembered * 2 × CLIP encoded, 0 remembered"])
    project.one("region_emd: 1.0e+9", coords="[[10, 10, 70, 70]]")
    result = project.pytester.runpytest()
    result.stdout.fnmatch_lines(["scores: 1 computed, 0 remembered * 0 encoded, 2 remembered"])
    project.one("region_emd: 3.0", coords="[[10, 10, 70, 70]]")
    result = project.pytester.runpytest()
    result.stdout.fnmatch_lines(["scores: 0 computed, 1 remembered"])


def test_damaged_entries_are_computed_again(project: Project) -> None:
    project.cases()
    assert run(project) == ALL_NEW
    first = rows(project)
    for kind, expected in (("scores", "scores: 6 computed"), ("images", "scores: 0 computed, 6 remembered")):
        for file in (project.path / ".pytest_cache/d/editeval" / kind).rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[:-1] + b"!")
        assert run(project).startswith(expected)
        assert rows(project) == first


def test_a_metric_of_another_package_is_known_by_its_code(project: Project) -> None:
    project.one("brightness: 0.0")
    module = """
        from pytest_editeval import MetricSpec, register_metric

        def brightness(source, edited):
            return {value}

        register_metric(MetricSpec("brightness", "clip-pipe", True, None, None, "patches", "mymetric:brightness", "x"))
    """
    project.pytester.makeconftest("import mymetric")
    config = (project.path / "tiny.yaml").read_text("utf-8")
    metric = "  brightness:\n    pipe_name: clip-pipe\n    default_config: {model_path: " + f"{project.models}/clip}}\n"
    project.write("tiny.yaml", config.rstrip() + "\n" + metric)
    for value in (1.5, 2.5):
        project.write("mymetric.py", module.format(value=value))
        arguments = ("-p", "no:hypothesispytest", "--editeval-results", "now.jsonl", "-o", "pythonpath=.")
        project.pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
        assert scores(project) == [value]


def test_a_hand_written_test_shares_the_store(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    project.pytester.runpytest().assert_outcomes(passed=1)
    (project.path / "a.edit.yaml").unlink()
    project.write(
        "test_mine.py",
        """
        import sys

        def test_mine(editeval):
            score = editeval.score("region_emd", "source.png", "other.png", coords=[(20, 20, 80, 80)])
            assert score.value > 0
            assert editeval.counts == {"scores remembered": 1}
        """,
    )
    project.pytester.runpytest().assert_outcomes(passed=1)


def test_another_checkpoint_at_the_same_path_is_another_key(project: Project) -> None:
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
    project.one("region_emd: 1.0e+9")
    project.pytester.runpytest("--editeval-results", "now.jsonl").assert_outcomes(passed=1)
    before = scores(project)
    picture(77).save(project.path / "other.png")
    project.pytester.runpytest("--editeval-results", "now.jsonl").assert_outcomes(passed=1)
    assert scores(project) != before


def test_the_header_says_where_the_store_is_and_what_it_holds(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    for count in (0, 1):
        result = project.pytester.runpytest()
        result.stdout.fnmatch_lines([f"editeval: store .pytest_cache/d/editeval ({count} scores)"])
    for options in (("--editeval-cache", "off"), ("--collect-only",), ("-q",)):
        assert "editeval: store" not in project.pytester.runpytest(*options).stdout.str()
    result = project.pytester.runpytest("-n", "1", "--editeval-cache-dir", "mine")
    result.stdout.fnmatch_lines(["editeval: store mine (0 scores)"])


def test_the_counts_are_of_scores_that_were_used(project: Project) -> None:
    """A skipped check was foreseen, and its score remembered, but it is counted in no run."""
    project.cases()
    assert run(project) == ALL_NEW
    project.pytester.makeconftest(
        "import pytest\ndef pytest_collection_modifyitems(items):\n    items[2].add_marker(pytest.mark.skip)\n"
    )
    assert run(project) == "scores: 0 computed, 5 remembered"
