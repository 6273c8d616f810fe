"""JSON that others wrote, read within limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from pytest_editeval.errors import quoted

MAX_DEPTH = 100  # of lists and mappings in each other: deeper ones end what walks through them by recursion


class DuplicateKeyError(Exception):
    """A key that a mapping has twice, of which JSON's readers would keep the last."""


def without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The `pairs` of `parse_json` that raises `DuplicateKeyError`."""
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise DuplicateKeyError(quoted(key))
        data[key] = value
    return data


def parse_json(text: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """As `json.loads`, where `pairs` is its `object_pairs_hook`; whatever is wrong with the text is a
    `json.JSONDecodeError`, a number of thousands of digits and nesting deeper than `MAX_DEPTH` too.
    """
    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise _too_deep(text) from None
    except ValueError:
        raise json.JSONDecodeError("a number of too many digits", text, 0) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(data):
        raise _too_deep(text)
    return data


def _too_deep(text: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(f"nested deeper than {MAX_DEPTH} levels", text, 0)


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        parts = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [part for inner in parts for part in inner]
    return bool(level)
