"""What somebody else's code raised, in words: it may raise anything, an exception that cannot be shown among it."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Collection
from itertools import dropwhile
from pathlib import Path
from threading import current_thread, main_thread
from typing import NamedTuple

from pytest_editeval.errors import display_path
from pytest_editeval.escapes import cut

MOST_CHARACTERS = 500
MOST_FRAMES = 12
LONGEST_REASON = 240


class Frame(NamedTuple):
    """A line of code that an exception passed."""

    file: str
    line: int
    function: str

    @property
    def place(self) -> str:
        """`my_metrics.py:12`."""
        return f"{display_path(Path(self.file))}:{self.line}"


def is_users(error: BaseException) -> bool:
    """Whether it is the user's Ctrl-C, which reaches the main thread only; elsewhere some code has raised it."""
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()


def fault_line(error: BaseException, ours: Collection[str] = ()) -> str:
    """`ValueError: bad value (my_metrics.py:12)`, in one line: class, message, and where it was raised.

    `ours` are the files that called the code in question; where nothing else was passed there is no place.
    """
    frames = frames_of(error, ours)
    text = message_of(error)
    message = cut(text, MOST_CHARACTERS) + (f" ({len(text):,} characters)" if len(text) > MOST_CHARACTERS else "")
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{what} ({frames[-1].place})" if frames else what


def fault_text(error: BaseException, ours: Collection[str] = ()) -> str:
    """`fault_line`, and under it the lines of code that led there; of very many only the last, the others counted."""
    frames = frames_of(error, ours)
    lines = [fault_line(error, ours)]
    if len(frames) > MOST_FRAMES:
        lines.append(f"  … {len(frames) - MOST_FRAMES} more lines led here")
    for frame in frames[-MOST_FRAMES:]:
        lines.append(f"  {frame.place}: in {frame.function}")
        if code := linecache.getline(frame.file, frame.line).strip():
            lines.append(f"      {code}")
    return "\n".join(lines)


def frames_of(error: BaseException, ours: Collection[str] = ()) -> list[Frame]:
    """What an exception passed, without what the import system added and without our own lines that led there."""
    passed = (
        Frame(frame.f_code.co_filename, line, frame.f_code.co_qualname)
        for frame, line in traceback.walk_tb(error.__traceback__)
    )
    others = (frame for frame in passed if not _imports(frame.file))
    return list(dropwhile(lambda frame: frame.file in ours, others))


def _imports(file: str) -> bool:
    return file.startswith("<frozen importlib") or Path(file).parts[-2:] == ("importlib", "__init__.py")


def message_of(error: BaseException) -> str:
    """What it says; an exception's own method may raise anything, too."""
    try:
        return str(error)
    except BaseException as second:
        return f"its message cannot be shown, str() raised {type(second).__name__}"


def first_line(error: BaseException) -> str:
    """What went wrong, short enough for one line."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].rstrip(".;:")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."
