"""How large an image may be: a setting of the process, because its memory is what an image takes."""

from __future__ import annotations

import re
from collections.abc import Callable

from pytest_editeval.errors import EditEvalError, ImageError

DEFAULT = 178_956_970
"""Pillow's own limit against decompression bombs, beyond which it warns."""

BYTES_PER_PIXEL = 8
"""Of the largest uncompressed files: four channels of 16 bits."""

METADATA_BYTES = 16 << 20
OPTION = "--editeval-max-pixels"

_pixels = DEFAULT


def max_pixels() -> int:
    """The most pixels that an image of this process may have."""
    return _pixels


def limit_pixels(pixels: int) -> Callable[[], None]:
    """Set the limit; what is returned puts the one before back."""
    global _pixels
    before, _pixels = _pixels, pixels

    def restore() -> None:
        global _pixels
        _pixels = before

    return restore


def max_bytes() -> int:
    """The most bytes that an image's file may have: more than any image within the limit needs."""
    return _pixels * BYTES_PER_PIXEL + METADATA_BYTES


def check_pixels(width: int, height: int, what: str) -> None:
    """An `ImageError` for more pixels than the limit; `what` has them."""
    if width * height > _pixels:
        found = f"{width}×{height} is {width * height:,} pixels"
        raise ImageError(f"{what}: {found}, more than the {_pixels:,} that {OPTION} allows")


def parse_pixels(name: str, text: str) -> int:
    """Pixels of ``100MP`` or ``50000000``; `EditEvalError` says what is allowed."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*MP|(\d{1,18})", text.strip(), re.IGNORECASE | re.ASCII)
    pixels = 0 if found is None else round(float(found[1]) * 1e6) if found[1] else int(found[2])
    if pixels < 1:
        raise EditEvalError(f"{name} is a number of pixels such as 100MP or 50000000, not {text!r}")
    return pixels
