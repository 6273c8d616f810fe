"""Text that users wrote, made safe to show: what a terminal would obey rather than print is spelled out."""

from __future__ import annotations

import re

# Control characters and line separators, what turns the direction of text (CVE-2021-42574), characters without any
# width, and lone surrogates, which no encoding has. The joiners stay: emoji, Persian and Hindi are written with them.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""The text in one line, with what would not be printed as Python's escapes: ``\x1b``, ``\n``, ``\u202e``."""
    return _OBEYED.sub(lambda found: spelled_out(found[0]), text)


def inert(line: str) -> str:
    r"""A line of a log in which GitHub's runner finds no command: those begin with ``::``, or have ``##[`` anywhere."""
    start = len(line) - len(line.lstrip())
    if line.startswith("::", start):
        line = rf"{line[:start]}\x3a{line[start + 1 :]}"
    return line.replace("##[", r"\x23#[")


def cut(text: str, length: int) -> str:
    """The visible text, cut to `length` characters with an ellipsis at the end."""
    # Cut before, because an escape is longer than what it stands for and should not be cut itself.
    shown = visible(text[:length])
    return shown if len(shown) <= length and len(text) <= length else shown[: length - 1] + "…"


def spelled_out(text: str) -> str:
    r"""Text as Python's escapes where it is not ASCII or not printable: ``\u2265``."""
    return text.encode("unicode-escape").decode("ascii")
