"""Tables in GitHub-flavoured Markdown that show any text as it is, cut at whole rows where there are too many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_editeval.escapes import cut

CELL_LENGTH = 200


@dataclass(frozen=True)
class Section:
    """A heading and a table. `rows` are written, `what` says what they are where some are cut."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[str, ...]
    what: str

    def text(self, shown: int) -> str:
        """The section with its first rows, and how many more there are."""
        lines = [f"### {self.title}", "", row(*self.headings), row(*("---" for _ in self.headings)), *self.rows[:shown]]
        if rest := len(self.rows) - shown:
            lines += ["", f"… and {rest:,} more {self.what}"]
        return "\n".join(lines) + "\n\n"


def row(*cells: str) -> str:
    """A row of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def code(text: str, length: int = CELL_LENGTH) -> str:
    """Text of users as a code span, in which nothing means anything: no HTML, link, mention or emphasis."""
    shown = cut(text, length)
    if not shown:
        return ""
    runs = {len(run) for run in re.findall("`+", shown)}
    fence = "`" * next(length for length in range(1, len(runs) + 2) if length not in runs)
    # One space on each side is taken away by the reader, where there is one on both.
    space = " " if "`" in (shown[0], shown[-1]) or (shown[0] == shown[-1] == " " and shown.strip(" ")) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def cell(text: str, length: int = CELL_LENGTH) -> str:
    """The same for a cell of a table, where a `|` ends the cell inside a code span too."""
    return code(text, length).replace("|", "\\|")


def fitted(sections: Sequence[Section], room: int) -> str:
    """The sections in at most `room` bytes of UTF-8.

    A section that is small is whole; what it leaves is shared by the larger ones, which end after a whole row. Headings
    and counts are always there, so `room` has to be enough for them.
    """
    left, parts = room, {}
    order = sorted(range(len(sections)), key=lambda index: _size(sections[index].text(len(sections[index].rows))))
    for place, index in enumerate(order):
        section = sections[index]
        part = section.text(_rows_in(section, left // (len(order) - place)))
        parts[index] = part
        left -= _size(part)
    return "".join(parts[index] for index in range(len(sections)))


def _rows_in(section: Section, room: int) -> int:
    total = len(section.rows)
    if _size(section.text(total)) <= room:
        return total
    used = _size(section.text(0))
    for count, line in enumerate(section.rows):
        used += _size(line) + 1
        if used > room:
            return count
    return total - 1


def _size(text: str) -> int:
    return len(text.encode())
