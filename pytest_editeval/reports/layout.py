"""Lines that fit where they are shown: by width, and in an encoding that may lack what they hold.

Widths are columns of a terminal, by character: East Asian wide ones (UAX #11) take two, combining ones none.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_editeval.escapes import spelled_out, visible

ELLIPSIS = "…"
GAP = "   "  # between facts that share a line
LEAST_ROOM = 20  # columns that lines are laid out in, however narrow the terminal
INDENT = "  "

_PLAIN = {
    "↑": "^",
    "↓": "v",
    "→": ">",
    "≤": "<=",
    "≥": ">=",
    "×": "x",
    "·": "-",
    "─": "-",
    "…": "~",
    "│": "|",
    "∞": "inf",
}
_PLAIN |= dict(zip("▁▂▃▄▅▆▇█", ".:-=+*#@", strict=True))
_WIDTHLESS = ("Mn", "Me", "Cf")
_NEVER_BROKEN = re.compile(r"[/\\]|::")  # in a path, a URL, a node id: it is copied whole


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character) or spelled_out(character) for character in lacking), error.end


PLAIN = "editeval-plain"
codecs.register_error(PLAIN, _replaced)
"""An error handler for encoders: characters that an encoding lacks become plain ones, or escapes."""


@dataclass(frozen=True)
class Screen:
    """Where lines are shown: in how many columns (`None` is as many as they take), in which encoding."""

    columns: int | None = None
    encoding: str = "utf-8"

    @classmethod
    def of_writer(cls, writer: Any) -> Screen:
        """That of pytest's terminal writer."""
        return cls(writer.fullwidth, _encoding(getattr(writer, "_file", None)))

    @classmethod
    def of_stream(cls, stream: Any) -> Screen:
        """That of a command's output: a pipe and a file have all the columns it takes, unless COLUMNS says how many."""
        known = os.environ.get("COLUMNS", "").isdecimal() or stream.isatty()
        return cls(shutil.get_terminal_size().columns if known else None, _encoding(stream))

    def text(self, text: str) -> str:
        """A line as it can be shown: nothing in it that a terminal obeys, or that the encoding lacks."""
        return visible(text).encode(self.encoding, PLAIN).decode(self.encoding)

    def wrapped(self, line: str, indent: str = INDENT) -> list[str]:
        """The line, as it can be shown, in lines that fit."""
        return wrapped(self.text(line), self.columns, indent)

    def table(self, rows: Sequence[Sequence[str]], right: Sequence[int] = (), keep: int = 1) -> list[str]:
        """A table that fits: columns beyond the width follow in a further table, which repeats the first `keep`."""
        rows = [[self.text(cell) for cell in row] for row in rows]
        widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
        lines: list[str] = []
        for block in _blocks(widths, keep, self.columns):
            chosen = [[row[column] for column in block] for row in rows]
            lines += ([""] if lines else []) + table(chosen, [block.index(one) for one in right if one in block])
        return lines


def _encoding(stream: Any) -> str:
    """A stream of text without one, as tests have it, takes anything."""
    return getattr(stream, "encoding", None) or "utf-8"


def width(text: str) -> int:
    """How many columns a line takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in _WIDTHLESS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """The text and spaces, `columns` wide."""
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of equal length as aligned lines; the columns named in `right` are aligned to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            padded(cell, columns, right=index in right)
            for index, (cell, columns) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _blocks(widths: Sequence[int], keep: int, columns: int | None) -> list[list[int]]:
    """The columns of each table; one that is too wide by itself stands alone beside the first ones."""
    first = list(range(keep))
    blocks, taken = [first.copy()], sum(widths[:keep]) + 2 * (keep - 1)
    for index, room in enumerate(widths[keep:], keep):
        used = sum(widths[one] + 2 for one in blocks[-1][keep:])
        if columns is not None and blocks[-1] != first and taken + used + 2 + room > columns:
            blocks.append(first.copy())
        blocks[-1].append(index)
    return blocks


def wrapped(line: str, columns: int | None, indent: str = INDENT) -> list[str]:
    """The line broken at spaces; those after the first begin as far in as it does, and with `indent`.

    A word that is longer than a line is broken too, but a path, a URL or a node id, which somebody may want to copy.
    """
    if columns is None or width(line) <= columns:
        return [line]
    columns = max(columns, LEAST_ROOM)
    first = re.match(" *", line)[0]  # type: ignore[index]  # matches nothing, too
    first = first if len(first) + len(indent) <= columns // 2 else ""
    further = first + indent
    lines, current, begun = [], first, False
    for gap, word in re.findall("( *)([^ ]+)", line.lstrip(" ")):
        if begun and width(current) + len(gap) + width(word) <= columns:
            current += gap + word
            continue
        if begun:
            lines.append(current)
            current = further
        while width(current) + width(word) > columns and not _NEVER_BROKEN.search(word):
            part = _beginning(word, columns - width(current))
            lines.append(current + part)
            current, word = further, word[len(part) :]
        current, begun = current + word, True
    return [*lines, current]


def flowed(facts: Iterable[str], columns: int | None) -> list[str]:
    """Facts beside each other, `GAP` between them, on as many lines as they take."""
    lines: list[str] = []
    for fact in facts:
        if lines and (columns is None or width(lines[-1]) + len(GAP) + width(fact) <= columns):
            lines[-1] += GAP + fact
        else:
            lines += wrapped(fact, columns)
    return lines


def shortened(text: str, columns: int) -> str:
    """The text with its middle left out where it is too wide, as in ``coffee_r…_spoon``."""
    if width(text) <= columns:
        return text
    room = max(columns, 3) - 1
    end = _beginning(text[::-1], room // 2)[::-1]
    return _beginning(text, room - width(end)) + ELLIPSIS + end


def abbreviated(name: str, columns: int) -> str:
    """A name of words with its end left out where it is too wide: ``dinov3_structure_sim.``."""
    return name if width(name) <= columns else _beginning(name, max(columns, 2) - 1).rstrip("_") + "."


def _beginning(text: str, columns: int) -> str:
    """As much of it as fits, but a character at least if there is room for any; marks stay with their letter."""
    used = 0
    for index, character in enumerate(text):
        used += _width(character)
        if used > columns:
            return text[:index]
    return text
