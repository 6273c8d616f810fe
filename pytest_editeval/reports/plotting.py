"""Pictures with matplotlib: one look, any text as text, and files that are the same for the same results."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.whole_file import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
GOOD, BAD, MUTED = "#0072B2", "#D55E00", "#666666"
COLORS = (GOOD, BAD, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's: told apart with any kind of colour vision."""
MARKERS = ("o", "s", "^", "D", "v", "P")

_FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same on every machine
_STEM_BYTES = 150
_LOOK: dict[str, Any] = {
    "text.parse_math": False,  # a `$` in an id is a dollar
    "font.family": _FONT,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 120,
    "figure.titlesize": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "pytest-editeval",
}
_METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


class Pictures:
    """The pictures of a directory, in one format; draw and save them within `look()`.

    `option` is how the user named the directory. Raises an `EditEvalError` where it cannot be made, or without
    matplotlib.
    """

    def __init__(self, directory: Path, option: str, format: str = "png") -> None:
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise EditEvalError(f"{option} needs {error.name}; pip install 'pytest-editeval[report]'") from None
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EditEvalError(f"{option} {display_path(directory)}: {error.strerror or error}") from None
        self.directory = directory
        self.format = format
        self._stems: set[str] = set()

    @contextmanager
    def look(self) -> Iterator[None]:
        """The style of all pictures, whatever the user's own settings of matplotlib are."""
        from matplotlib import style

        with warnings.catch_warnings(), style.context(["default", _LOOK]):
            # Who looks at an SVG has fonts of their own; in a PNG, `text` leaves no such character.
            warnings.filterwarnings("ignore", r"Glyph .* missing from")
            yield

    def text(self, text: str, length: int = 28) -> str:
        """Text of a user for a picture, at most about `length` characters of it: the middle is left out.

        Characters that cannot be drawn, or that would change how others are, are their escapes.
        """
        pieces = [self._drawable(character) for character in text]
        if sum(map(len, pieces)) <= length:
            return "".join(pieces)
        return f"{_within(pieces, length - length // 3)}…{_within(pieces[::-1], length // 3, reverse=True)}"

    def _drawable(self, character: str) -> str:
        from matplotlib.font_manager import findfont, get_font

        drawable = character.isprintable()
        if drawable and self.format != "svg" and not character.isascii():
            drawable = get_font(findfont(_FONT)).get_char_index(ord(character)) != 0
        return character if drawable else character.encode("unicode_escape").decode("ascii")

    def save(self, figure: Figure, *parts: str) -> Path:
        """Write the figure to a file that is called by the parts; no two have the same name."""
        stem = "-".join(re.sub(r"[^\w.-]", "_", part) for part in parts)
        stem = stem.encode("utf-8", "replace")[:_STEM_BYTES].decode("utf-8", "ignore")
        name, count = stem, 1
        while name.casefold() in self._stems:
            count += 1
            name = f"{stem}-{count}"
        self._stems.add(name.casefold())
        path = self.directory / f"{name}.{self.format}"
        try:
            with written_whole(path) as unfinished:
                figure.savefig(unfinished, format=self.format, metadata=_METADATA[self.format])
        except OSError as error:
            raise EditEvalError(f"{display_path(path)}: cannot be written: {error.strerror or error}") from None
        return path


def _within(pieces: list[str], length: int, *, reverse: bool = False) -> str:
    """As many of the first pieces as fit."""
    kept: list[str] = []
    for piece in pieces:
        length -= len(piece)
        if length < 0:
            break
        kept.append(piece)
    return "".join(reversed(kept) if reverse else kept)
