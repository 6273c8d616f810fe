"""Features and measurements as plain arrays, and a bounded memory of what was encoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.results import SoftFailure

Array = NDArray[np.float32]

MAX_BYTES, SMALL_BYTES = 1 << 30, 1 << 27


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a backbone's last hidden state for one image: patches `(n_patches, dim)` row by row, CLS `(dim,)`.

    Of an object that was cut out, `mask` is what was cut out of its box (`evidence.mask_data`).
    """

    patches: Array
    cls: Array
    mask: str | None = None

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.patches.nbytes + self.cls.nbytes + len(self.mask or "")


Encoded = Features | SoftFailure


class Input(NamedTuple):
    """What is encoded for a need: `pixels` makes the image or crop once its batch begins; `mask` as in `Features`."""

    pixels: Callable[[], Any]
    mask: str | None = None


@dataclass(frozen=True, eq=False)
class Measurement:
    """A metric's number, and `parts`: for a patch metric each edited patch's share of the cost (they sum to 1,
    or are all 0), for an object metric the score of each pair.
    """

    value: float
    parts: NDArray[np.float64]


class FeatureStore(Protocol):
    """Features that outlast the process, by key."""

    def load(self, key: str) -> tuple[Array, Array, str | None, bool] | None:
        """What is stored, if anything: patches, CLS, mask, and whether it is of this run."""

    def save(self, key: str, patches: Array, cls: Array, mask: str | None = None) -> bool:
        """Store; whether they were stored."""


class FeatureMemory:
    """What was encoded, by need; what was used longest ago goes when `max_bytes` is passed. Threads may share it."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Size of what is remembered."""
        return self._bytes

    def get(self, key: Hashable) -> Any:
        """What is remembered under the key, or `None`."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Hashable, entry: Any) -> None:
        """Remember."""
        with self._lock:
            self._bytes += _size(entry) - _size(self._entries.pop(key, None))
            self._entries[key] = entry
            while self._bytes > self.max_bytes and len(self._entries) > 1:
                _, evicted = self._entries.popitem(last=False)
                self._bytes -= _size(evicted)


def _size(entry: Any) -> int:
    return int(getattr(entry, "nbytes", 0))
