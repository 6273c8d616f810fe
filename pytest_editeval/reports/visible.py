"""Text of users as one line that shows what is in it, for places that a control character would break or mislead."""

from __future__ import annotations

import re

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def visible(text: str) -> str:
    """The text with control characters, line separators, marks of direction and halves of surrogate pairs as escapes.

    Right-to-left letters and emoji stay what they are; an override of the direction becomes ``\\u202e``.
    """
    return _HIDDEN.sub(_escape, text)


def shortened(text: str, length: int) -> str:
    """The visible text, cut to `length` characters with an ellipsis at the end."""
    # Cut before, because an escape is longer than what it stands for and should not be cut itself.
    shown = visible(text if len(text) <= length else text[:length])
    return shown if len(shown) <= length and len(text) <= length else shown[: length - 1] + "…"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
