"""Images that are computed from others when they are opened: disturbed a little, destroyed, or some bands of a file.

What is done to the pixels is in `pytest_editeval.vision.derive`, how bands are read in `pytest_editeval.vision.bands`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Bands:
    """Three bands of a TIFF file as red, green and blue, or one as grey, numbered from 1; any other file is as it is.

    With a `value_range`, (low, high), what is `low` becomes black and `high` white in every band; with `percentiles` it
    is what so many of 100 pixels of the band are at most, in the file at `reference`, `None` for the file itself.
    """

    numbers: tuple[int, ...]
    value_range: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    reference: Location | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What a results file says of it."""
        scale = {"range": self.value_range, "percentile": self.percentiles}
        return {"bands": list(self.numbers), "scale": {name: list(ends) for name, ends in scale.items() if ends}}

    def of_edits(self, source: Location) -> Bands:
        """The same for the edits of a source, whose percentiles hold for them too."""
        return self if self.percentiles is None else replace(self, reference=source)


Recipe = Disturbance | Destroyed | Bands


@dataclass(frozen=True)
class Derived:
    """The image that `recipe` makes of the one at `base`. No file is written."""

    base: Location
    recipe: Recipe

    def __str__(self) -> str:
        return f"{self.recipe} {self.base}"
