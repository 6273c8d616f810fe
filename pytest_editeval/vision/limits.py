"""A time limit for code that may never end."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from pytest_editeval.errors import MetricError

T = TypeVar("T")


class GivenUp(BaseException):
    """Raised in code that nobody waits for any more; no `except Exception` of that code holds it back."""


class TimeLimit:
    """Runs tasks for at most `seconds` each (`None`: for ever).

    A thread cannot be stopped from outside, so a task that does not end is left behind in a thread of its own, which
    does not keep the process from ending, and is asked to end: Python code does so at its next step, a call into a
    library when it returns. Code that never lets go of the interpreter's lock stops the whole process all the same.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._lock = Lock()
        self._calls: set[_Call[Any]] = set()
        self._closed = False

    def run(self, what: str, task: Callable[[], T]) -> T:
        """The task's result, or what it raised; a `MetricError` that names `what` when the time is over."""
        if self.seconds is None:
            return task()
        call = _Call(task)
        with self._lock:
            if self._closed:
                raise MetricError(f"{what} was not called: the session is over")
            self._calls.add(call)
        try:
            call.start()
            if not wait([call.outcome], self.seconds).done:
                call.give_up(MetricError(f"{what} did not end within {self.seconds:g} s (--editeval-timeout)"))
            return call.outcome.result()
        finally:
            with self._lock:
                self._calls.discard(call)

    def close(self) -> None:
        """Wait for no task any more."""
        with self._lock:
            self._closed = True
            calls = list(self._calls)
        for call in calls:
            call.give_up(MetricError("the session is over"))


class _Call(Thread, Generic[T]):
    """A task in a thread, whose outcome is the task's or, before that is there, what `give_up` says."""

    def __init__(self, task: Callable[[], T]) -> None:
        super().__init__(name="editeval-metric", daemon=True)
        self.outcome: Future[T] = Future()
        self._task = task
        self._ending = Lock()
        self._can_be_interrupted = True

    def run(self) -> None:
        # Around everything, because the interruption may come when the task is over.
        with suppress(GivenUp):
            try:
                result = self._task()
            except BaseException as error:  # whatever it is, it belongs to who waits
                with suppress(InvalidStateError):
                    self.outcome.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    self.outcome.set_result(result)
            with self._ending:
                self._can_be_interrupted = False

    def give_up(self, error: Exception) -> None:
        """Have who waits go on with the error, and interrupt the task; nothing, where it has an outcome."""
        try:
            self.outcome.set_exception(error)
        except InvalidStateError:
            return
        with self._ending:  # the thread is still this one: another could get its number after it has ended
            if self._can_be_interrupted and self.ident is not None:
                number = ctypes.c_ulong(self.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(GivenUp))
