"""JSON that others wrote, read within limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from pytest_editeval.errors import FileError, quoted

MAX_DEPTH = 100  # of lists and mappings in each other: deeper ones end what walks through them by recursion


CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")


class _DuplicateKeyError(Exception):
    """A key that a mapping has twice, of which JSON's readers would keep the last."""


def json_document(name: str, text: str) -> Any:
    """The content of a file that people keep in a repository; a `FileError` says in a line what is wrong with it."""
    if not text.strip():
        raise FileError(f"{name}: empty")
    try:
        return parse_json(text, _without_duplicates)
    except json.JSONDecodeError as error:
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith(CONFLICT):
                raise FileError(f"{name}:{number}: a merge conflict; keep one of the two sides") from None
        fault = "torn: it ends" if error.pos >= len(text.rstrip()) else f"not JSON: {error.msg}"
        raise FileError(f"{name}:{error.lineno}:{error.colno}: {fault}") from None
    except _DuplicateKeyError as error:
        raise FileError(f"{name}: {error} is there twice, as after a merge; keep one") from None


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise _DuplicateKeyError(quoted(key))
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
