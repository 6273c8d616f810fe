"""The line that moves while models load and images are encoded."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest_editeval.scoring.engine import EditEval

T = TypeVar("T")


class Progress:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def wait(self, future: Future[T], editeval: EditEval) -> T:
        return future.result()
