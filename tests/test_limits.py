"""Code that does not end is left behind: who waits for it goes on, and the process can end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_editeval.errors import MetricError
from pytest_editeval.vision.limits import TimeLimit

SHORT = 0.2


def spin() -> None:
    while True:
        pass


def stubborn() -> None:
    """Goes on whatever is raised in it."""
    for _ in range(50):
        try:
            time.sleep(0.1)
        except Exception:
            continue


def test_a_task_in_time_gives_its_result_or_its_error() -> None:
    for limit in (TimeLimit(60), TimeLimit(None)):
        assert limit.run("a task", lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            limit.run("a task", lambda: 1 // 0)
        with pytest.raises(TimeoutError, match="its own"):
            limit.run("a task", lambda: (_ for _ in ()).throw(TimeoutError("its own")))


def test_without_a_limit_the_task_runs_in_the_callers_thread() -> None:
    assert TimeLimit(None).run("a task", threading.get_ident) == threading.get_ident()
    assert TimeLimit(9).run("a task", threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("task", [spin, stubborn, threading.Event().wait])
def test_a_task_that_does_not_end_is_an_error_when_its_time_is_over(task: object) -> None:
    started = time.monotonic()
    with pytest.raises(MetricError, match=r"^a task did not end within 0.2 s \(--editeval-timeout\)$"):
        TimeLimit(SHORT).run("a task", task)  # type: ignore[arg-type]
    assert time.monotonic() - started < 10 * SHORT


def test_python_code_that_was_given_up_ends() -> None:
    before = threading.active_count()
    for task in (spin, stubborn):
        with pytest.raises(MetricError):
            TimeLimit(SHORT).run("a task", task)
    deadline = time.monotonic() + 4
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_more_tasks_that_hang_than_threads_do_not_keep_others_from_their_turn() -> None:
    limit = TimeLimit(SHORT)
    never = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(limit.run, "a task", never.wait if index % 2 else int) for index in range(12)]
        outcomes = [task.exception() is None for task in tasks]
    assert outcomes == [index % 2 == 0 for index in range(12)]
    never.set()


def test_a_session_that_ends_waits_for_nothing() -> None:
    limit = TimeLimit(600)
    never = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(limit.run, "a task", never.wait)
        while not limit._calls:
            time.sleep(0.01)
        limit.close()
        with pytest.raises(MetricError, match="the session is over"):
            task.result(10)
    with pytest.raises(MetricError, match="the session is over"):
        limit.run("a task", int)
    never.set()


@pytest.mark.parametrize("task", ["lambda: time.sleep(600)", "lambda: [None for _ in iter(int, 1)]"])
def test_the_process_ends_while_a_task_hangs(task: str) -> None:
    code = f"""
import time
from concurrent.futures import ThreadPoolExecutor
from pytest_editeval.vision.limits import TimeLimit
print(type(ThreadPoolExecutor(1).submit(TimeLimit(0.1).run, "a task", {task}).exception()).__name__)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (run.stdout, run.stderr) == ("MetricError\n", "")
