"""Which worker of xdist runs which checks, and on which GPU."""

from __future__ import annotations

import json
import re

import pytest

from conftest import picture
from project import Project

CASES = """
defaults:
  source: source.png
  instruction: Do it.
  coords: [[20, 20, 80, 80]]
  metrics: {region_emd: 1.0e+9, dinov3_structure_similarity: -1.0}
cases: [{id: one, edited: source.png}, {id: two, edited: other.png}, {id: three, edited: third.png}]
"""
# Who runs a check is seen without a model, and without the seconds that importing torch takes in every worker.
NOT_SCORED = """
import pytest

@pytest.fixture(scope="session")
def editeval():
    pytest.skip("not scored")

@pytest.fixture(scope="session")
def clip_pipe():
    pass

@pytest.fixture(scope="session")
def dinov3_pipe():
    pass
"""
ORDINARY = """
import pytest

@pytest.mark.parametrize("number", range(10))
def test_it(number):
    pass
"""
RAN = re.compile(r"^\[(gw\d+)\] \[ *\d+%\] \w+ (\S+)", re.MULTILINE)


@pytest.fixture
def suite(project: Project) -> Project:
    """Three files of six checks, which are collected and not scored."""
    picture(3).save(project.path / "third.png")
    project.pytester.makeconftest(NOT_SCORED)
    for name in "abc":
        project.cases(CASES, f"{name}.edit.yaml")
    return project


def workers(result: pytest.RunResult) -> dict[str, set[str]]:
    """The workers that ran tests of a file, by its name."""
    found: dict[str, set[str]] = {}
    for worker, nodeid in RAN.findall(result.stdout.str()):
        found.setdefault(nodeid.split("::")[0], set()).add(worker)
    return found


def test_the_checks_of_a_file_stay_on_one_worker(suite: Project) -> None:
    result = suite.run("-v", "-n", "2")
    result.assert_outcomes(skipped=18)
    found = workers(result)
    assert list(map(len, found.values())) == [1, 1, 1]
    assert set.union(*found.values()) == {"gw0", "gw1"}
    result.stdout.fnmatch_lines(["scheduling tests via EditLoadScheduling"])


def test_ordinary_tests_are_balanced_beside_them(suite: Project) -> None:
    for name in ("test_a", "test_m", "test_z"):
        suite.write(f"{name}.py", ORDINARY)
    result = suite.run("-v", "-n", "2")
    result.assert_outcomes(skipped=18, passed=30)
    found = workers(result)
    assert [len(found[f"{name}.edit.yaml"]) for name in "abc"] == [1, 1, 1]
    assert set.union(*(found[f"{name}.py"] for name in ("test_a", "test_m", "test_z"))) == {"gw0", "gw1"}


@pytest.mark.parametrize("options", ["--dist load", "-d", "-o addopts=--dist=load"])
def test_a_mode_that_is_given_is_obeyed(suite: Project, options: str) -> None:
    result = suite.run("-v", "-n", "2", *options.split())
    result.assert_outcomes(skipped=18)
    result.stdout.fnmatch_lines(["scheduling tests via LoadScheduling"])
    assert len(workers(result)["a.edit.yaml"]) == 2


def test_without_edit_cases_xdists_own_scheduler_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a=ORDINARY, test_b=ORDINARY)
    result = pytester.runpytest("-p", "no:cacheprovider", "-v", "-n", "2")
    result.assert_outcomes(passed=20)
    result.stdout.fnmatch_lines(["scheduling tests via LoadScheduling"])


def test_without_xdist_nothing_is_missing(suite: Project) -> None:
    suite.run("-p", "no:xdist").assert_outcomes(skipped=18)


def test_a_scheduler_of_the_project_comes_first(suite: Project) -> None:
    suite.pytester.makeconftest(
        NOT_SCORED
        + """
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    return LoadScopeScheduling(config, log)
"""
    )
    result = suite.run("-v", "-n", "2")
    result.assert_outcomes(skipped=18)
    result.stdout.fnmatch_lines(["scheduling tests via LoadScopeScheduling"])


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ("", True),
        ("-n 2", True),
        ("-n 2 --dist loadfile", True),
        ("--tx 2*popen --dist each", True),
        ("-n 1 --dist load", True),
        ("-n 2 --dist load", False),
    ],
)
def test_a_process_knows_whether_it_gets_whole_files(pytester: pytest.Pytester, options: str, together: bool) -> None:
    pytester.makepyfile(
        f"""
        from pytest_editeval.run import RUN

        def test_it(pytestconfig):
            assert pytestconfig.stash[RUN].keeps_files_together is {together}
        """
    )
    assert pytester.runpytest("-p", "no:cacheprovider", *options.split()).ret == 0


@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup"])
def test_every_mode_runs_every_check_once(suite: Project, mode: str) -> None:
    result = suite.run("-v", "-n", "2", "--dist", mode)
    result.assert_outcomes(skipped=18)
    assert len(set(RAN.findall(result.stdout.str()))) == 18
    assert f"scheduling tests via {mode}scheduling" in result.stdout.str().lower()


@pytest.mark.parametrize("mode", ["load", "worksteal"])
def test_a_file_on_several_workers_gives_the_scores_of_a_plain_run(project: Project, mode: str) -> None:
    picture(3).save(project.path / "third.png")
    for name in "ab":
        project.cases(CASES.replace(", dinov3_structure_similarity: -1.0", ""), f"{name}.edit.yaml")

    def scores(*options: str) -> dict[str, float]:
        project.run("--editeval-cache=off", "--editeval-results=scores.jsonl", *options).assert_outcomes(passed=6)
        rows = map(json.loads, (project.path / "scores.jsonl").read_text("utf-8").splitlines())
        return {row["node_id"]: row["score"] for row in rows}

    plain, distributed = scores(), scores("-n", "2", "--dist", mode)
    assert list(distributed) == list(plain)
    assert distributed == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(("option", "errors"), [("-x", 1), ("--maxfail=3", 3)])
def test_the_first_failures_stop_the_run(suite: Project, option: str, errors: int) -> None:
    suite.pytester.makeconftest(NOT_SCORED.replace("pytest.skip", "pytest.fail"))
    result = suite.run("-n", "2", option)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*stopping after {errors} failures*"])
    assert errors <= result.parseoutcomes()["errors"] < 18


CRASHING = (
    NOT_SCORED
    + """
import os

def pytest_runtest_setup(item):
    if item.nodeid == "b.edit.yaml::two::region_emd":
        os._exit(3)
"""
)


def test_a_crash_costs_one_check(suite: Project) -> None:
    suite.pytester.makeconftest(CRASHING)
    suite.write("test_m.py", ORDINARY)
    result = suite.run("-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(skipped=17, passed=10, failed=1)
    result.stdout.fnmatch_lines(
        ["worker 'gw?' crashed while running 'b.edit.yaml::two::region_emd'", "skipped: 17 of 18 checks: *"]
    )


def test_a_crash_that_may_not_be_repaired_ends_the_run(suite: Project) -> None:
    suite.pytester.makeconftest(CRASHING)
    result = suite.run("-n", "2", "--max-worker-restart=0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*crashed and worker restarting disabled*"])
    assert result.parseoutcomes()["failed"] == 1


def test_workers_share_the_gpus(project: Project) -> None:
    project.pytester.makepyfile(
        """
        from types import SimpleNamespace

        def count(pointer):
            pointer._obj.value = 2
            return 0

        def test_it(monkeypatch, request):
            monkeypatch.setattr("pytest_editeval.device._driver", lambda: SimpleNamespace(cuDeviceGetCount=count))
            monkeypatch.setattr("pytest_editeval.device._torch_has_cuda", lambda: True)
            assert request.getfixturevalue("clip_pipe").device == "cuda:1"
            assert request.getfixturevalue("sam_segmenter").device == "cuda:1"
        """
    )
    project.run("--dist=load", "--tx=id=gw3//popen", "-o", "editeval_device=auto").assert_outcomes(passed=1)
