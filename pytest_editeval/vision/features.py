"""Features as plain arrays, and a bounded memory of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.needs import Need
from pytest_editeval.results import SoftFailure

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a backbone's last hidden state for one image: patches `(n_patches, dim)` row by row, CLS `(dim,)`."""

    patches: Array
    cls: Array

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.patches.nbytes + self.cls.nbytes


Encoded = Features | SoftFailure


class Sized(Protocol):
    """Something that knows its size in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


class FeatureStore(Protocol):
    """Features that outlast the process, `(patches, cls)` by key."""

    def load(self, key: str) -> tuple[Array, Array] | None:
        """What is stored, if anything."""

    def save(self, key: str, patches: Array, cls: Array) -> None:
        """Store."""


E = TypeVar("E", bound=Sized)


class FeatureMemory:
    """What was encoded, by need; the least recently used entries go when `max_bytes` is passed."""

    def __init__(self, max_bytes: int = 1 << 30) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self._bytes = 0
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, need: Need) -> bool:
        """Whether the features of the need are remembered here; asking is no use of them."""
        return need in self._entries

    def get(self, need: Need) -> Encoded | None:
        """The features of the need, if they are remembered."""
        return cast("Encoded | None", self._get(need))

    def put(self, need: Need, entry: Encoded) -> None:
        """Remember the features of the need."""
        self._put(need, entry)

    def embedding(self, key: Hashable, embed: Callable[[], E]) -> E:
        """The segmenter's embedding under `key`, made by `embed` when it is not remembered."""
        embedding = cast("E | None", self._get(key))
        if embedding is None:
            embedding = embed()
            self._put(key, embedding)
        return embedding

    def _get(self, key: Hashable) -> Any:
        entry = self._entries.get(key)
        if entry is not None:
            self.hits += 1
            self._entries.move_to_end(key)
        return entry

    def _put(self, key: Hashable, entry: Any) -> None:
        self._bytes += _size(entry) - _size(self._entries.pop(key, None))
        self._entries[key] = entry
        while self._bytes > self.max_bytes and len(self._entries) > 1:
            _, evicted = self._entries.popitem(last=False)
            self._bytes -= _size(evicted)


def _size(entry: Any) -> int:
    return int(getattr(entry, "nbytes", 0))
