"""How many images go through a model at once, and what happens when they do not fit into memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeVar

from pytest_editeval.hidden import without_hidden

ON_CPU, ON_GPU = 8, 64
"""Images at once where nothing is set. Larger batches are no faster on a CPU, whose cores each take one."""

T = TypeVar("T")
R = TypeVar("R")


def default_size(device: str) -> int:
    """The batch size of a backbone on a device where none was set."""
    return ON_CPU if device == "cpu" else ON_GPU


def size_of(model: Any) -> int:
    """How many images a model is given at once; a class of another package may not say it."""
    return model.batch.size if hasattr(model, "batch") else 1


class BatchSize:
    """The batch size of one model: halved when a batch does not fit, and what fitted is kept.

    `notices` are the lines that say so.
    """

    def __init__(self, size: int, model: str) -> None:
        self.size = size
        self.notices: list[str] = []
        self._model = model
        self._lock = Lock()

    def run(self, items: Sequence[T], forward: Callable[[Sequence[T]], list[R]]) -> list[R]:
        """`forward` over the items in batches. Out of memory with a single item is raised."""
        done: list[R] = []
        while len(done) < len(items):
            part = items[len(done) : len(done) + self.size]
            try:
                done += forward(part)
            except Exception as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
            else:
                continue
            self._halve(len(part))  # outside the handler: its traceback holds the tensors that were too many
        return done

    def _halve(self, tried: int) -> None:
        _free()
        with self._lock:
            half = max(1, tried // 2)
            if half < self.size:
                self.size = half
                line = f"out of memory with {tried} images at once in {self._model}; {half} from now on"
                self.notices.append(without_hidden(line))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a model failed for want of memory: torch says so in several ways, on a CPU in the message only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("out of memory", "not enough memory", "can't allocate memory")
    )


def _free() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
