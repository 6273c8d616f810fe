"""The same inputs give the same bits; batches, workers, threads and order change no score by more than 1e-4."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import picture

CASES = """
defaults: {instruction: Do it., coords: [[20, 30, 120, 110]]}
cases:
"""
CASE = """
  - id: c%d
    source: source%d.png
    edited: edit%d.png
    metrics:
      emd: {threshold: {embedded: 1.0e+9}}
      region_emd: {threshold: {embedded: 1.0e+9}}
      dinov3_structure_similarity: {threshold: {embedded: 0}}
      sam_clip_cls_sim: {threshold: {embedded: -1}, pairs: [{source: [20, 30, 120, 110], edited: [10, 20, 110, 100]}]}
      sam_dino_cls_sim: {threshold: {embedded: -1}, pairs: [{source: [20, 30, 120, 110], edited: [10, 20, 110, 100]}]}
"""
ORDER = """
import os
import random

def pytest_collection_modifyitems(items):
    if os.environ.get("ORDER"):
        random.Random(int(os.environ["ORDER"])).shuffle(items)
"""
COUNT = 4
TOLERANCE = 1e-4


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(ORDER)
    for index in range(COUNT):
        picture(60 + index, 160, 120).save(pytester.path / f"edit{index}.png")
    for index in range(2):
        picture(70 + index, 160, 120).save(pytester.path / f"source{index}.png")
    cases = "".join(CASE % (index, index % 2, index) for index in range(COUNT))
    (pytester.path / "a.edit.yaml").write_text(CASES + cases, "utf-8")
    return pytester


def run(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *options: str, device: str = "cpu", **environment: str
) -> dict[str, dict[str, Any]]:
    """The rows of a run in a process of its own, with a store of its own, by node id."""
    with monkeypatch.context() as patch:
        for name, value in {"OMP_NUM_THREADS": "1", **environment}.items():
            patch.setenv(name, value)
        store = suite.path / f"store{len(list(suite.path.glob('store*')))}"
        store.mkdir()
        own = ("--editeval-results=out.jsonl", f"--editeval-cache-dir={store}", f"--editeval-device={device}")
        result = suite.runpytest_subprocess("-p", "no:cacheprovider", *own, *options)
    result.assert_outcomes(passed=5 * COUNT)
    rows = [json.loads(line) for line in (suite.path / "out.jsonl").read_text("utf-8").splitlines()]
    return {row["node_id"]: {name: value for name, value in row.items() if name != "duration"} for row in rows}


def largest_difference(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> float:
    assert first.keys() == second.keys()
    scores = [(row["score"], second[node_id]["score"]) for node_id, row in first.items()]
    return max(abs(one - other) / max(abs(one), 1e-9) for one, other in scores)


def test_a_run_again_gives_the_same_bits(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(suite, monkeypatch)
    assert not any(row["remembered"] for row in first.values())
    assert run(suite, monkeypatch) == first


OTHERWISE: list[tuple[tuple[str, ...], dict[str, str]]] = [
    (("--editeval-batch-size=1",), {"ORDER": "1"}),
    (("--editeval-batch-size=2", "-n", "1"), {"OMP_NUM_THREADS": "2"}),
    (("--editeval-batch-size=8", "-n", "2", "--dist=load"), {"ORDER": "2"}),
]


def test_batches_workers_threads_and_order_change_no_score(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    first = run(suite, monkeypatch)
    differences = [
        largest_difference(first, run(suite, monkeypatch, *options, **environment))
        for options, environment in OTHERWISE
    ]
    record_property("largest relative differences", differences)
    print("largest relative differences:", differences)
    assert max(differences) <= TOLERANCE


def test_on_a_gpu_a_run_again_gives_the_same_bits(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA GPU")
    first = run(suite, monkeypatch, device="cuda")
    assert run(suite, monkeypatch, device="cuda") == first
    for size in ("1", "2", "8"):
        narrow = run(suite, monkeypatch, f"--editeval-batch-size={size}", device="cuda")
        assert largest_difference(first, narrow) <= TOLERANCE
