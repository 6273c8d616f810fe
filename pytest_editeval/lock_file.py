"""The lock file: which files every checkpoint of a release consists of, by size and SHA-256."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.json_text import json_document
from pytest_editeval.results_reader import read_text
from pytest_editeval.validation import Settings, describe, problems
from pytest_editeval.whole_file import written_whole

FORMAT_NAME = "pytest-editeval lock "
FORMAT = f"{FORMAT_NAME}1"
DEFAULT_NAME = "editeval.lock.json"
LARGEST_LOCK = 16 << 20
SHOWN = 12
"""Characters of a digest in a message."""


class LockedFile(Settings):
    """One file of a checkpoint."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", strict=True)]
    size: Annotated[int, Field(ge=0, strict=True)]


class LockedCheckpoint(Settings):
    """The files of one checkpoint by name, and the commit where it came from the Hugging Face hub."""

    files: dict[str, LockedFile] = Field(min_length=1)
    revision: str | None = None


class _File(Settings):
    format: str
    checkpoints: dict[str, LockedCheckpoint]


Lock = Mapping[str, LockedCheckpoint]
"""Every checkpoint by its name (`pytest_editeval.scoring.locking.lock_name`)."""


def lock_text(lock: Lock) -> str:
    """The lock file: JSON, sorted; equal checkpoints give equal bytes."""
    checkpoints = {name: checkpoint.model_dump(exclude_none=True) for name, checkpoint in sorted(lock.items())}
    ordered = {name: {**one, "files": dict(sorted(one["files"].items()))} for name, one in checkpoints.items()}
    return json.dumps({"format": FORMAT, "checkpoints": ordered}, indent=2, ensure_ascii=False) + "\n"


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock file, whole or not at all; `EditEvalError` when that cannot be done."""
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(lock_text(lock), "utf-8")
    except OSError as error:
        raise EditEvalError(f"cannot write {display_path(path)}: {error.strerror}") from None


def read_lock(path: Path) -> Lock:
    """Read a lock file; an `EditEvalError` says in a line what is wrong with it."""
    name, data = display_path(path), _parsed(path)
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(found, str) or not found.startswith(FORMAT_NAME):
        raise EditEvalError(f'{name}: no lock file: it has no "format": "{FORMAT}"')
    if found != FORMAT:
        raise EditEvalError(f"{name}: its format is {describe(found)}, and this version reads {FORMAT!r}")
    try:
        return _File.model_validate(data).checkpoints
    except ValidationError as error:
        problem = next(problems(error, data, " in the lock file", lambda path: ("key", _keys(len(path)))))
        raise EditEvalError(f"{name}: {problem.message}; `editeval models lock` writes it again") from None


def differences(locked: Lock, found: Lock) -> Iterator[str]:
    """A line for each file in which checkpoints that are `found` are not those that are locked."""
    for name, checkpoint in sorted(found.items()):
        known = locked.get(name)
        if known is None:
            yield f"{name}: the lock does not name this checkpoint"
            continue
        for file in sorted(known.files.keys() | checkpoint.files.keys()):
            expected, is_there = known.files.get(file), checkpoint.files.get(file)
            if is_there is None:
                yield f"{name}: {file} is missing"
            elif expected is None:
                yield f"{name}: {file} is not in the lock"
            elif expected != is_there:
                yield f"{name}: {file} has changed: expected {_shown(expected)}, found {_shown(is_there)}"


def unused(locked: Lock, found: Lock) -> Iterator[str]:
    """A line for each checkpoint that is locked and not found."""
    for name in sorted(locked.keys() - found.keys()):
        yield f"{name}: the lock names a checkpoint that no configuration uses"


def _shown(file: LockedFile) -> str:
    return f"{file.sha256[:SHOWN]}... ({file.size} bytes)"


def _parsed(path: Path) -> Any:
    name = display_path(path)
    if not os.path.lexists(path):
        raise EditEvalError(f"lock file not found: {name}; `editeval models lock --output {name}` writes it")
    return json_document(name, read_text(path, LARGEST_LOCK))


def _keys(depth: int) -> tuple[str, ...]:
    models: dict[int, type[Settings]] = {0: _File, 2: LockedCheckpoint, 4: LockedFile}
    return tuple(models[depth].model_fields) if depth in models else ()
