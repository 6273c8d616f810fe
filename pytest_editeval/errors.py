"""Every error that a user of the package can meet.

An `EditEvalError` is for the person at the keyboard: `str(error)` is what they read, so it says where,
what was found and what is allowed, in one line (a second line may help).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_QUOTED = 80  # characters of a text that a message repeats
MAX_MESSAGE = 1000  # characters of a message about a file
MAX_NAMES = 200  # that are listed, or looked through for one that is meant


class EditEvalError(Exception):
    """Base class: a mistake or a fault that is explained in one line."""

    def __str__(self) -> str:
        from pytest_editeval.hidden import without_hidden

        return without_hidden(super().__str__())


class FileError(EditEvalError):
    """A file cannot be read, or is not what it has to be: one line, whatever the file holds."""

    def __str__(self) -> str:
        from pytest_editeval.escapes import visible  # every pytest run loads this module, and few make a mistake

        return visible(_shortened(super().__str__()))


class CheckpointError(EditEvalError):
    """A checkpoint cannot be had or is not what its settings say."""


class ImageError(EditEvalError):
    """An image cannot be read."""


class MetricError(EditEvalError):
    """A metric could not be computed for a reason that is a fault, not a soft failure."""


class UnknownMetricError(MetricError, ValueError):
    """No metric of that name (in this pipe)."""


@dataclass(frozen=True)
class Position:
    """A place in a text file; line and column count from 1."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{display_path(self.path)}:{self.line}:{self.column}"


class LocatedError(EditEvalError):
    """A mistake in a text file, at `position`; `hint` is a second line of help."""

    def __init__(self, position: Position, message: str, hint: str | None = None) -> None:
        message, hint = _shortened(message), hint and _shortened(hint)
        super().__init__(position, message, hint)
        self.position = position
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        from pytest_editeval.escapes import visible  # every pytest run loads this module, and few make a mistake
        from pytest_editeval.hidden import without_hidden

        line = visible(without_hidden(f"{self.position}: {self.message}"))
        return f"{line}\n  {visible(without_hidden(self.hint))}" if self.hint else line


class CaseError(LocatedError):
    """A mistake in an edit case file."""


class ConfigError(LocatedError):
    """A mistake in a configuration file."""


def display_path(path: Path) -> str:
    """`path` as a user would type it: relative to the working directory where it lies below it."""
    path = Path(os.path.normpath(path))
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def quoted(text: object) -> str:
    """What a user wrote, in quotes; of a long text its beginning."""
    written = str(text)
    return repr(text if len(written) <= MAX_QUOTED else f"{written[: MAX_QUOTED - 3]}...")


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 1]}…"


def known_names(names: Iterable[str]) -> str:
    """The second line of help for a name that is not known."""
    known = sorted(names)
    more = f", and {len(known) - MAX_NAMES:,} more" if len(known) > MAX_NAMES else ""
    return "known: " + ", ".join(known[:MAX_NAMES]) + more


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """`unknown metric 'emdd'; did you mean 'emd'?`"""
    from difflib import get_close_matches  # every pytest run loads this module, and few make a mistake

    found = f"unknown {kind} {quoted(name)}"
    close = get_close_matches(str(name)[:MAX_QUOTED], sorted(known)[:MAX_NAMES], n=1)
    return f"{found}; did you mean {close[0]!r}?" if close else found
