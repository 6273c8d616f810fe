"""Python's search for objects in circles: it waits while edit files are collected, and leaves a large suite out."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from project import Project
from pytest_editeval import circles

WATCH = """
import gc, pytest

seen = []

def pytest_itemcollected(item):
    seen.append((item.name, gc.isenabled()))

def pytest_runtest_setup(item):
    seen.append(("runs", gc.isenabled()))

def pytest_unconfigure(config):
    name = getattr(config, "workerinput", {}).get("workerid", "main")
    config.rootpath.joinpath(f"{name}.txt").write_text(f"{sorted(set(seen))} frozen {gc.get_freeze_count() > 0}")
"""


@pytest.fixture
def project(project: Project) -> Iterator[Project]:
    project.write("conftest.py", WATCH)
    project.write("test_first.py", "def test_first(): pass\n")
    yield project
    gc.unfreeze()
    circles.CircleSearch._left_out = False


def many(project: Project, cases: int) -> None:
    """Cases of one check each, which end in their first step: there is no image."""
    what = "instruction: Do it., source: no.png, edited: no.png, coords: [[0, 0, 9, 9]], metrics: {emd: 1}"
    project.cases("cases:\n" + "".join(f"  - {{id: c{index}, {what}}}\n" for index in range(cases)))


def seen(project: Project, name: str = "main") -> str:
    return (project.path / f"{name}.txt").read_text("utf-8")


def test_it_waits_from_the_first_edit_file_to_the_end_of_collecting(project: Project) -> None:
    project.one("emd: 1.0e+9")
    project.run("test_first.py", "a.edit.yaml")
    assert seen(project) == "[('emd', False), ('runs', True), ('test_first', True)] frozen False"


def test_it_does_not_wait_where_no_edit_file_is(project: Project) -> None:
    project.run()
    assert seen(project) == "[('runs', True), ('test_first', True)] frozen False"


def test_who_does_without_it_still_does(project: Project) -> None:
    project.one("emd: 1.0e+9")
    gc.disable()
    try:
        project.run()
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert "('runs', False)" in seen(project)


@pytest.mark.parametrize("hook", ["pytest_itemcollected(item)", "pytest_collection_modifyitems(items)"])
def test_collecting_that_ends_early_does_not_end_it(project: Project, hook: str) -> None:
    project.one("emd: 1.0e+9")
    project.write("conftest.py", f"import pytest\ndef {hook}: pytest.exit('enough', 7)")
    assert project.run().ret == 7
    assert gc.isenabled()


def test_a_large_suite_is_left_out_of_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    many(project, 12)
    monkeypatch.setattr(circles, "MANY", 12)
    project.run("--collect-only")
    assert seen(project).endswith("frozen True")
    project.run("--collect-only", "-k", "c11")  # of which little runs; the suite before is no longer left out
    assert seen(project).endswith("frozen False")


def test_as_it_is_in_workers(project: Project) -> None:
    many(project, circles.MANY)
    project.run("-n", "2", "-x")
    for worker in ("gw0", "gw1"):
        assert "('emd', False)" in seen(project, worker)
        assert seen(project, worker).endswith("frozen True")
    assert seen(project).endswith("frozen False")


def test_collected_modules_are_searched_again(project: Project) -> None:
    """What comes after collecting is found as ever."""
    project.one("emd: 1.0e+9")
    project.write(
        "test_later.py",
        """
        import gc, weakref

        class Circle: pass

        def test_circle():
            circle = Circle()
            circle.own = circle
            there = weakref.ref(circle)
            del circle
            gc.collect()
            assert there() is None
        """,
    )
    project.run("test_later.py").assert_outcomes(passed=1)
