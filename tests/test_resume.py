"""After an interruption the same command computes only what was not finished; soft failures are retried when asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from killing import killed
from project import Project
from pytest_editeval.results import Reason, Score, SoftFailure
from pytest_editeval.results_file import read_results
from pytest_editeval.scoring.store import Store

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
RETRY = "--editeval-retry-soft-failures"


def run(project: Project, *options: str) -> str:
    """The summary's line about the work."""
    arguments = ("-p", "no:cacheprovider", "--editeval-cache-dir", "mine", "--editeval-results", "now.jsonl", *options)
    result = project.pytester.runpytest(*arguments)
    return next(line for line in result.outlines if line.startswith("scores:")).partition(" · images")[0]


def make_soft(folder: Path, metric: str) -> None:
    """Have the store remember a soft failure of a metric in the place of its score."""
    store = Store(folder)
    for path in folder.glob("scores/*/*"):
        stored = store.load_score(path.name)
        if stored is not None and stored.score.metric == metric:
            failure = SoftFailure(Reason.EMPTY_OBJECT_MASK, "The object was not found.")
            store.save_score(path.name, Score(metric, None, failure))


@PLAIN_AND_XDIST
def test_soft_failures_are_computed_again_where_that_is_asked(project: Project, options: tuple[str, ...]) -> None:
    project.cases()
    run(project)
    before = [row.score for row in read_results(project.path / "now.jsonl")]
    make_soft(project.path / "mine", "sam_dino_cls_sim")
    assert run(project, *options) == "scores: 0 computed, 8 remembered"
    assert [row.score for row in read_results(project.path / "now.jsonl")] != before
    line = run(project, RETRY, *options)
    assert line == "scores: 2 computed, 6 remembered · soft failures retried: 2, with a score now: 1"
    assert [row.score for row in read_results(project.path / "now.jsonl")] == before
    assert run(project, *options) == "scores: 0 computed, 8 remembered"
    assert [row.score for row in read_results(project.path / "now.jsonl")] == before


def test_a_hand_written_test_retries_once_in_a_run(project: Project) -> None:
    project.cases("cases: []")
    project.write(
        "test_mine.py",
        """
        def test_mine(editeval):
            arguments = ("dinov3_structure_similarity", "source.png", "other.png")
            first, second = (editeval.score(*arguments, coords=[(40, 40, 41, 41)]) for _ in range(2))
            assert first == second
            print(dict(editeval.counts))
        """,
    )
    project.pytester.makeini(
        "[pytest]\nediteval_config = tiny.yaml\nediteval_device = cpu\nediteval_cache_dir = mine\n"
        "editeval_retry_soft_failures = yes\n"
    )
    (project.path / "a.edit.yaml").unlink()
    project.pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
    result = project.pytester.runpytest("-p", "no:cacheprovider", "-s")
    result.stdout.fnmatch_lines(["*'scores computed': 2, 'soft failures retried': 2*"])


def test_an_ini_setting_that_is_neither_yes_nor_no_is_one_line(project: Project) -> None:
    project.cases()
    result = project.run("-o", "editeval_retry_soft_failures=perhaps")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: editeval_retry_soft_failures is yes or no: *'perhaps'*"])


INTERRUPTS = """
def pytest_runtest_teardown(item):
    if item.nodeid.endswith({last!r}):
        raise KeyboardInterrupt
"""


def test_after_ctrl_c_only_the_rest_is_computed(project: Project) -> None:
    project.cases()
    project.pytester.makeconftest(INTERRUPTS.format(last="other::region_emd"))
    arguments = ("-p", "no:cacheprovider", "--editeval-cache-dir", "mine", "--editeval-results", "now.jsonl")
    result = project.pytester.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["scores: 4 computed, 0 remembered*"])
    finished = len(read_results(project.path / "now.jsonl", partial=True))
    assert finished == 4
    (project.path / "conftest.py").unlink()
    computed, remembered = map(int, re.findall(r"\d+", run(project)))
    assert computed <= 8 - finished
    assert computed + remembered == 8
    assert len(read_results(project.path / "now.jsonl")) == 8


def test_a_run_that_is_killed_costs_nothing_that_was_finished() -> None:
    """`make kill-test` does it fifty times."""
    found = killed(times=2, seed=5)
    assert [one.faults for one in found] == [(), ()]
