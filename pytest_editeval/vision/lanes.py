"""Where the work of a session is done: threads for models, and threads for everything beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier, Lock
from typing import Any, Protocol, TypeVar

from pytest_editeval.vision.limits import TimeLimit

MOST_LANES = 4
MOST_WORKERS = 8

T = TypeVar("T")


class Executor(Protocol):
    """Two kinds of work: `model` for forward passes with their preprocessing, `work` for all that goes beside them.

    `lanes` is the number of forward passes that a CPU runs beside each other.
    """

    @property
    def lanes(self) -> int:
        """At least 1."""

    def model(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run a task that uses a model."""

    def work(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run any other task."""

    def limited(self, what: str, task: Callable[[], T], /) -> T:
        """Run, in the calling thread's place, a task that may never end; `what` names it."""

    def close(self) -> None:
        """Drop what has not begun."""


class InTurn:
    """Everything at once, in the caller's thread. `seconds` is how long a metric may take (`None`: no limit)."""

    lanes = 1

    def __init__(self, seconds: float | None = None) -> None:
        self._limit = TimeLimit(seconds)

    def model(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run the task now."""
        future: Future[T] = Future()
        try:
            future.set_result(task(*arguments))
        except Exception as error:  # a task may raise anything; it belongs to who asks for the result
            future.set_exception(error)
        return future

    work = model

    def limited(self, what: str, task: Callable[[], T], /) -> T:
        """Run the task now, in a thread that can be left behind where there is a limit."""
        return self._limit.run(what, task)

    def close(self) -> None:
        """Wait for no metric any more."""
        self._limit.close()


class Lanes:
    """Threads that share the cores.

    Several forward passes beside each other, each with its share of torch's threads, use a CPU better than one after
    the other with all of them. On a GPU batches take turns (`loading.forward_turn`) while the lanes prepare the next.
    `seconds` is how long a metric may take (`None`: no limit).
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._lock = Lock()
        self._limit = TimeLimit(seconds)
        self._models: tuple[ThreadPoolExecutor, int] | None = None
        self._workers = ThreadPoolExecutor(min(MOST_WORKERS, max(2, os.cpu_count() or 1)), "editeval-work")

    @property
    def lanes(self) -> int:
        """As many as torch has threads, within reason."""
        return self._started()[1]

    def model(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run the task in a lane."""
        return self._started()[0].submit(task, *arguments)

    def work(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run the task in a thread."""
        return self._workers.submit(task, *arguments)

    def limited(self, what: str, task: Callable[[], T], /) -> T:
        """Run the task in a thread that can be left behind."""
        return self._limit.run(what, task)

    def close(self) -> None:
        """Drop what has not begun; what runs is waited for, because a model cannot be stopped, but no metric is."""
        self._limit.close()
        for pool in (self._workers, *(self._models or ())[:1]):
            pool.shutdown(wait=True, cancel_futures=True)

    def _started(self) -> tuple[ThreadPoolExecutor, int]:
        """The lanes; torch is imported with the first."""
        with self._lock:
            if self._models is None:
                self._models = _lanes()
            return self._models


def _lanes() -> tuple[ThreadPoolExecutor, int]:
    import torch

    from pytest_editeval.vision.loading import share_cores

    share_cores()
    threads = torch.get_num_threads()
    lanes = min(threads, MOST_LANES)
    pool = ThreadPoolExecutor(lanes, "editeval-model")
    together = Barrier(lanes)

    def take_share() -> None:
        torch.get_num_threads()  # a thread's first question gives it the process' number, whatever it was given before
        torch.set_num_threads(max(1, threads // lanes))
        together.wait()  # so that every thread of the pool gets one of these tasks

    wait([pool.submit(take_share) for _ in range(lanes)])
    torch.set_num_threads(threads)  # a thread's own number stays; this is the one that new threads begin with
    return pool, lanes
