"""Images that are computed from others when they are opened: disturbed a little, or destroyed.

What is done to the pixels is in `pytest_editeval.vision.derive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_editeval.registry import Box, MaskMode

if TYPE_CHECKING:
    from pytest_editeval.locations import Location


class Disturbance(StrEnum):
    """A change that does no harm: what a pipeline may do to an image unnoticed."""

    JPEG95 = "jpeg95"
    """Saved as JPEG with quality 95, and opened again."""
    SHIFT = "shift"
    """Moved by one pixel to the right and one down; the first column and row are repeated."""
    RESIZE = "resize"
    """Made 7/8 as wide and high, and as large as before again, both bicubic."""


@dataclass(frozen=True)
class Destroyed:
    """Noise inside the boxes (`mode` ``"inner"``), outside them (``"outer"``), or everywhere (`None`).

    `boxes` are `(x1, y1, x2, y2)` in pixels of the image, and are clipped to it.
    """

    boxes: tuple[Box, ...] = ()
    mode: MaskMode | None = None

    def __str__(self) -> str:
        return "destroyed"


Recipe = Disturbance | Destroyed


@dataclass(frozen=True)
class Derived:
    """The image that `recipe` makes of the one at `base`. No file is written."""

    base: Location
    recipe: Recipe

    def __str__(self) -> str:
        return f"{self.recipe} {self.base}"
