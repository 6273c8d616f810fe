"""What all our JSON files have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class DuplicateKeyError(Exception):
    """A key that a mapping has twice, of which JSON's readers would keep the last."""


def without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` for `json.loads` that raises `DuplicateKeyError`."""
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise DuplicateKeyError(repr(key))
        data[key] = value
    return data
