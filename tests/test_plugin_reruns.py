"""pytest-rerunfailures, the plugin itself: a check that is run again counts once, by its last attempt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from endings import PAINT
from pytest_editeval import registry
from pytest_editeval.results import CheckResult
from pytest_editeval.results_file import read_results
from pytest_editeval.statuses import INCOMPLETE

pytest.importorskip("pytest_rerunfailures")
PLAIN_AND_XDIST = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])

METRICS = """
from collections import Counter

calls = Counter()

def closeness(source, edited):
    value = round(float(edited.mean()) * 255)
    calls[value] += 1
    if value == 110 and calls[value] == 1:
        raise ValueError("a bad moment of the metric")
    if value == 120:
        raise ValueError("this metric never works")
    return 1 - abs(float(source.mean()) - float(edited.mean()))
"""

BAD_MOMENTS = """
faults = 0
asked = []
tried = []

def fault():
    global faults
    faults += 1
    if faults <= 2:  # the batch, then the image alone
        raise RuntimeError("a bad moment of the model")

def pytest_editeval_edit(case, source):
    asked.append(case.id)
    if len(asked) == 1:
        raise RuntimeError("a bad moment of the editing model")
    return source

def pytest_runtest_setup(item):
    if "::late::" in item.nodeid:
        tried.append(item)
        if len(tried) == 2:
            pathlib.Path("grey.png").replace("late.png")
"""

CASES = """
defaults: {source: source.png, instruction: Do it.}
cases:
  - {id: fine, edited: source.png, metrics: {closeness: 0.5}}
  - {id: metric_once, edited: 110.png, metrics: {closeness: 0.5}}
  - {id: model_once, edited: red.png, metrics: {closeness: 0.5}}
  - {id: edit_once, metrics: {closeness: 0.5}}
  - {id: late, edited: late.png, metrics: {closeness: 0.5}}
"""
BAD_CASES = """
  - {id: metric_never, edited: 120.png, metrics: {closeness: 0.5}}
  - {id: gone, edited: gone.png, metrics: {closeness: 0.5}}
  - {id: below, edited: white.png, metrics: {closeness: 0.5}}
  - {id: soft, edited: source.png, metrics: {closeness: {threshold: 0, scope: edit_area, coords: [[90, 90, 99, 99]]}}}
"""
FIRST_TRY = {"fine": "passed"}
SECOND_TRY = dict.fromkeys(["metric_once", "model_once", "edit_once", "late"], "passed")
NEVER = {"metric_never": "error", "gone": "error", "below": "failed", "soft": "soft failure"}


class Flaky:
    """A suite that has bad moments."""

    def __init__(self, pytester: pytest.Pytester, models: Path) -> None:
        self.pytester = pytester
        self.models = models
        self.path = pytester.path
        colors = {"source": 100, "grey": 100, "110": 110, "120": 120, "white": 255}
        for name, value in colors.items():
            Image.new("RGB", (48, 48), (value,) * 3).save(self.path / f"{name}.png")
        Image.new("RGB", (48, 48), (255, 0, 0)).save(self.path / "red.png")
        (self.path / "paint.py").write_text(METRICS)
        pytester.makeini("[pytest]\nediteval_device = cpu\nediteval_edits = made\n")
        self.write(BAD_MOMENTS, CASES)

    def write(self, conftest: str, cases: str) -> None:
        (self.path / "conftest.py").write_text(PAINT.replace("MODELS", str(self.models)) + conftest)
        (self.path / "a.edit.yaml").write_text(cases)

    def run(self, *options: str) -> pytest.RunResult:
        arguments = ("--editeval-results=rows.jsonl", "--junitxml=junit.xml", "--editeval-cache=off", *options)
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    @property
    def rows(self) -> dict[str, CheckResult]:
        """By case; there is one of each."""
        found = read_results(self.path / "rows.jsonl")
        assert len({row.node_id for row in found}) == len(found)
        assert not (self.path / "rows.partial.jsonl").exists()
        return {row.case: row for row in found}

    @property
    def outcomes(self) -> dict[str, str]:
        return {case: str(row.outcome) for case, row in self.rows.items()}

    @property
    def junit(self) -> dict[str, tuple[str, str]]:
        """Of each case the element, and the outcome in its properties; there is one test case of each."""
        root = ElementTree.parse(self.path / "junit.xml")
        tests = list(root.iter("testcase"))
        names = [test.get("classname", "").rpartition(".")[2] for test in tests]
        assert [count for count in Counter(names).values() if count > 1] == []
        (suite,) = root.iter("testsuite")
        assert int(suite.get("tests", "")) == len(tests)
        found = {}
        for name, test in zip(names, tests, strict=True):
            elements = {child.tag for child in test} - {"properties"}
            outcomes = [one.get("value", "") for one in test.iter("property") if one.get("name") == "outcome"]
            found[name] = ("".join(elements) or "passed", "".join(outcomes))
        return found


@pytest.fixture
def flaky(pytester: pytest.Pytester, models: Path, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.delenv("PYTEST_ADDOPTS")  # all other tests are without the plugin
    return Flaky(pytester, models)


def in_junit(outcomes: dict[str, str]) -> dict[str, tuple[str, str]]:
    elements = {"failed": "failure", "error": "failure", "soft failure": "skipped"}
    return {case: (elements.get(outcome, "passed"), outcome) for case, outcome in outcomes.items()}


@PLAIN_AND_XDIST
def test_bad_moments_pass_on_the_second_try_and_what_is_broken_fails(flaky: Flaky, workers: tuple[str, ...]) -> None:
    flaky.write(BAD_MOMENTS, CASES.rstrip() + BAD_CASES)
    result = flaky.run("--reruns=2", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reruns = len(SECOND_TRY) + 2 * 3
    assert result.parseoutcomes() == {"passed": 5, "failed": 3, "xfailed": 1, "rerun": reruns}
    assert flaky.outcomes == FIRST_TRY | SECOND_TRY | NEVER
    assert flaky.junit == in_junit(flaky.outcomes)
    rows = flaky.rows
    assert {case: rows[case].score is None for case in rows} == {
        case: case in ("metric_never", "gone", "soft") for case in rows
    }
    assert rows["metric_once"].score == pytest.approx(1 - 10 / 255)
    assert (rows["metric_once"].detail, rows["late"].detail) == (None, None)
    assert "this metric never works" in str(rows["metric_never"].detail)
    result.stdout.fnmatch_lines(
        ["scores: 7 computed, 0 remembered*", "checks: 9 = 5 passed + 1 failed + 1 soft failure + 2 errors"]
    )
    result.stdout.fnmatch_lines(["edits made in the run: 1, in *"])
    result.stdout.no_fnmatch_line("reported more than once*")


def test_a_run_is_green_if_every_check_passes_in_the_end(flaky: Flaky) -> None:
    result = flaky.run("--reruns=2")
    assert result.ret == 0
    assert flaky.outcomes == FIRST_TRY | SECOND_TRY
    assert flaky.junit == in_junit(flaky.outcomes)
    # What every attempt has encoded, and nothing twice: source.png, which the made edit and late.png equal, two others.
    result.stdout.fnmatch_lines(
        ["scores: 5 computed, 0 remembered * 3 × CLIP encoded, 0 remembered", "checks: 5 = 5 passed"]
    )


def test_without_the_option_a_bad_moment_is_an_error(flaky: Flaky) -> None:
    result = flaky.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert flaky.outcomes == FIRST_TRY | dict.fromkeys(SECOND_TRY, "error")


def test_only_the_errors_that_are_named_are_tried_again(flaky: Flaky) -> None:
    result = flaky.run("--reruns=1", "--only-rerun=a bad moment of the m")
    result.assert_outcomes(passed=3, failed=2)
    assert result.parseoutcomes()["rerun"] == 2
    once = {"metric_once": "passed", "model_once": "passed", "edit_once": "error", "late": "error"}
    assert flaky.outcomes == FIRST_TRY | once
    assert flaky.junit == in_junit(flaky.outcomes)


MARKS = """
def pytest_collection_modifyitems(items):
    for item in items:
        if "::metric" in item.nodeid:
            item.add_marker(pytest.mark.flaky(reruns=1))
"""


def test_a_mark_has_one_check_tried_again(flaky: Flaky) -> None:
    flaky.write(BAD_MOMENTS + MARKS, CASES)
    result = flaky.run()
    assert result.parseoutcomes() == {"passed": 2, "failed": 3, "rerun": 1}
    assert flaky.outcomes == FIRST_TRY | dict.fromkeys(SECOND_TRY, "error") | {"metric_once": "passed"}


TEARDOWN = """
@pytest.fixture(autouse=True)
def _around(request):
    yield
    if "::fine" in request.node.nodeid and not tried:
        tried.append(request)
        raise RuntimeError("left behind")
"""


def test_a_teardown_that_fails_once_leaves_one_row(flaky: Flaky) -> None:
    """The first attempt had been reported as passed, and JUnit has both; the summary says so."""
    flaky.write(BAD_MOMENTS + TEARDOWN, CASES.partition("  - {id: metric_once")[0])
    result = flaky.run("--reruns=1")
    assert result.ret == 0
    assert flaky.outcomes == FIRST_TRY
    result.stdout.fnmatch_lines(["scores: 1 computed*", "checks: 1 = 1 passed", "reported more than once*: 1 of 1*"])


CRASH = """
def pytest_runtest_setup(item):
    if "::fine" in item.nodeid and not pathlib.Path("crashed").exists():
        pathlib.Path("crashed").touch()
        os._exit(0)
"""


def test_a_worker_that_crashes_and_a_second_try_that_passes_are_not_green(flaky: Flaky) -> None:
    flaky.write(BAD_MOMENTS + CRASH, CASES.partition("  - {id: metric_once")[0])
    result = flaky.run("--reruns=1", "-n2")
    assert result.ret == INCOMPLETE
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert flaky.outcomes == FIRST_TRY
    assert flaky.junit == in_junit(flaky.outcomes)
    result.stdout.fnmatch_lines(["checks: 1 = 1 passed", "workers that crashed: gw?"])
