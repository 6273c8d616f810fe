"""Calls of models, which may be of another package and raise anything."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from pytest_editeval.errors import CheckpointError, MetricError
from pytest_editeval.faults import fault_text, is_users
from pytest_editeval.vision.identity import is_ours

P = ParamSpec("P")
T = TypeVar("T")


class ModelGuard:
    """Uses models: those of another package one call at a time, and one that cannot be loaded not a second time.

    Threads may share it. Each model of another package has a lock, which is held while it is used and nowhere else;
    this package's models are made for several threads. What is broken needs no lock: a thread that does not know of it
    yet meets the same error.
    """

    def __init__(self) -> None:
        self._broken: dict[str, str] = {}
        self._turns: dict[int, Lock] = {}

    def use(self, key: str, model: object, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a task that uses `model`; `CheckpointError` at once where an earlier use of `key` raised one."""
        if key in self._broken:
            raise CheckpointError(self._broken[key])
        turn: AbstractContextManager[Any] = (
            nullcontext() if is_ours(model) else self._turns.setdefault(id(model), Lock())
        )
        try:
            with turn:
                return task(*args, **kwargs)
        except CheckpointError as error:
            self._broken[key] = str(error)
            raise
        except BaseException as error:
            raise contained(error, (__file__,)) from None


def contained(error: BaseException, ours: Collection[str]) -> BaseException:
    """The error as that of a check: what ends a process elsewhere, such as `SystemExit`, does not end the run.

    `ours` are the files that called the model (`faults.fault_text`).
    """
    if isinstance(error, Exception) or is_users(error):
        return error
    return MetricError(f"a model raised {fault_text(error, ours)}")
