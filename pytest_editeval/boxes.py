"""Boxes in images: in pixels, clipped, scaled to another size, checked, and paired.

Coordinates are `(x1, y1, x2, y2)` in pixels, origin top left, `x2`/`y2` exclusive; sizes are `(width, height)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_editeval.registry import Box
from pytest_editeval.results import Reason, SoftFailure

PixelBox = tuple[int, int, int, int]
Size = tuple[int, int]


def scale_box(box: Box, size: Size, target: Size) -> PixelBox:
    """A box in an image of `size`, clipped to it and scaled to `target`, each coordinate truncated with `int()`."""
    clipped = (min(max(value, 0), size[axis % 2]) for axis, value in enumerate(box))
    x1, y1, x2, y2 = (int(value * target[axis % 2] / size[axis % 2]) for axis, value in enumerate(clipped))
    return x1, y1, x2, y2


def clip_box(box: Box, size: Size) -> PixelBox:
    """The whole pixels of the box that lie in the image (empty when it misses the image)."""
    return scale_box(box, size, size)


def misses(box: Box, size: Size) -> bool:
    """Whether the box and the image have no area in common."""
    x1, y1, x2, y2 = box
    return min(x2, size[0]) <= max(x1, 0) or min(y2, size[1]) <= max(y1, 0)


def check_boxes(boxes: Iterable[Sequence[float]] | None) -> tuple[Box, ...]:
    """The boxes as tuples; `ValueError` for a wrong length, a value that is not finite, an inverted or empty box."""
    checked: list[Box] = []
    for box in () if boxes is None else boxes:
        try:
            x1, y1, x2, y2 = (float(value) for value in box)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"coords is a list of boxes (x1, y1, x2, y2), and {box!r} is no box") from None
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            raise ValueError(f"box {tuple(box)} is not finite")
        if x2 <= x1 or y2 <= y1:
            raise ValueError(f"box {tuple(box)} is inverted or empty: x2 > x1 and y2 > y1 are needed")
        checked.append((x1, y1, x2, y2))
    return tuple(checked)


def told_to_miss(box: Box, size: Size) -> str:
    """That a box misses an image, in words."""
    numbers = ", ".join(f"{value:g}" for value in box)
    return f"box [{numbers}] misses the {size[0]}×{size[1]} image altogether; coordinates are x1, y1, x2, y2 in pixels"


def split_pairs(coords: Sequence[Box], source: Size, edited: Size) -> list[tuple[Box, Box]] | SoftFailure:
    """Pairs from a flat list (the source's half, then the edited image's, in the same order), or why there are none."""
    if not coords:
        detail = "an object metric needs the boxes of paired objects, and there are none; give pairs or coords"
        return SoftFailure(Reason.NO_BOXES, detail)
    if len(coords) % 2:
        detail = (
            f"{len(coords)} {'box' if len(coords) == 1 else 'boxes'} cannot be split into a source half and an edited "
            "half; give pairs: [{source: box, edited: box}]"
        )
        return SoftFailure(Reason.ODD_BOX_COUNT, detail)
    half = len(coords) // 2
    for box, size in [(box, source) for box in coords[:half]] + [(box, edited) for box in coords[half:]]:
        if misses(box, size):
            return SoftFailure(Reason.BOX_OUTSIDE_IMAGE, told_to_miss(box, size))
    return list(zip(coords[:half], coords[half:], strict=True))
