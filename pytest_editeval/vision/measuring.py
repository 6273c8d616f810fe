"""The call of a metric's function, which may be anybody's: what it gets, may return, and what becomes of its errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_editeval import registry
from pytest_editeval.errors import EditEvalError, MetricError
from pytest_editeval.faults import fault_line, fault_text, is_users
from pytest_editeval.registry import MetricSpec
from pytest_editeval.vision.features import Measurement

T = TypeVar("T")

OURS = frozenset({__file__, registry.__file__})
ROUNDING = 1e-6


class Limited(Protocol):
    """Runs a task, for as long as it may take; the text says what it is."""

    def __call__(self, what: str, task: Callable[[], T], /) -> T:
        """The task's result."""


def at_once(what: str, task: Callable[[], T]) -> T:
    """No limit."""
    return task()


def measure(metric: MetricSpec, source: NDArray[Any], edited: NDArray[Any], limited: Limited = at_once) -> Measurement:
    """Call the metric's function, and hold what it returns to being one finite number.

    It gets read-only copies of the rows `source` `(n, dim)` and `edited` `(m, dim)`, so that nothing that it does with
    them reaches another metric. Whatever it raises is a `MetricError`, which has the metric's own lines of code.
    """
    if not (np.isfinite(source).all() and np.isfinite(edited).all()):
        raise MetricError(f"{metric.name}: the features that it is given are not finite numbers")
    if metric in registry.BUILTIN_METRICS:
        metric.load()  # imports a solver, which may take longer than the score
    return limited(_name(metric), partial(_measured, metric, source, edited))


def _name(metric: MetricSpec) -> str:
    return f"metric {metric.name!r} ({metric.function})"


def _measured(metric: MetricSpec, source: NDArray[Any], edited: NDArray[Any]) -> Measurement:
    did = "cannot be imported:"
    try:
        function = metric.load()
        did = "raised"
        result = function(_read_only(source), _read_only(edited))
        did = "returned what raised"
        found = _checked(metric, result, len(edited))
    except BaseException as error:
        if is_users(error):
            raise
        if isinstance(error, EditEvalError) and metric in registry.BUILTIN_METRICS:
            raise  # which explains itself
        found = _explained(did, error)
    if isinstance(found, str):
        # Outside of `except`, so that the error does not hold on to the other and, through its frames, to the features.
        raise MetricError(f"{_name(metric)} {found}")
    return found


def _read_only(rows: NDArray[Any]) -> NDArray[Any]:
    own = rows.copy()
    own.flags.writeable = False
    return own


def _explained(did: str, error: BaseException) -> str:
    text = f"{did} {fault_text(error, OURS)}"
    if isinstance(error, ValueError) and "read-only" in fault_line(error):
        text += "\n  a metric cannot write to the arrays that it is given: let it work on a copy, source.copy()"
    return text


def _checked(metric: MetricSpec, result: object, rows: int) -> Measurement | str:
    """What the function measured, or what is wrong with it."""
    value, parts = (result.value, result.parts) if isinstance(result, Measurement) else (result, np.zeros(0))
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return f"returned {_described(value)}, not a number: a metric returns a finite int or float"
    try:
        number = float(value)
    except OverflowError:
        return "returned a whole number that is too large: a metric returns a finite int or float"
    if not math.isfinite(number):
        return f"is {number}: the features or the metric are broken"
    if problem := _problem_of_parts(metric, parts, rows):
        return f"returned a Measurement whose parts {problem}"
    return Measurement(number, parts.astype(np.float64))


def _problem_of_parts(metric: MetricSpec, parts: object, rows: int) -> str | None:
    if not isinstance(parts, np.ndarray) or parts.dtype.kind not in "fiu":
        return f"are {_described(parts)}: allowed are an array of {rows} numbers, or an empty one"
    if parts.size and parts.shape != (rows,):
        return f"have the shape {parts.shape}: allowed are {(rows,)}, one for each row, or an empty array"
    numbers = np.asarray(parts, np.float64)
    if not np.isfinite(numbers).all():
        return f"are not finite: {int((~np.isfinite(numbers)).sum())} of {rows} are NaN or infinite"
    if metric.inputs == "patches" and ((numbers < 0) | (numbers > 1 + ROUNDING)).any():
        return "are no shares: of a patch metric they are from 0 to 1"
    return None


def _described(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return (
        name if not isinstance(shape, tuple) or isinstance(value, np.generic) else f"{name} {tuple(shape)} of {dtype}"
    )
