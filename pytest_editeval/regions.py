"""Boxes -> masks -> patch masks, through the geometry that the pixels of the image go through.

Coordinates are `(x1, y1, x2, y2)` in pixels, origin top left, `x2`/`y2` exclusive; sizes are
`(width, height)`; arrays are indexed `[row, column]`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import PixelBox, Size, check_boxes, clip_box, misses, scale_box, told_to_miss
from pytest_editeval.registry import PATCH_MASK_THRESHOLD, Box, MaskMode
from pytest_editeval.results import Reason, SoftFailure

Mask = NDArray[np.uint8]
Counts = NDArray[np.int64]


class PatchGrid(Protocol):
    """The patches that a backbone has of an image of some size, and what of the image each of them looks at.

    Patches are numbered row by row. `Geometry` is the grid of a whole image at the backbone's input,
    `pytest_editeval.tiling` has that of an image in windows, and that of patches which were averaged.
    """

    @property
    def patch(self) -> str:
        """What a patch is, in words."""

    def shape(self, size: Size) -> tuple[int, int]:
        """Rows and columns."""

    def coverage(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> tuple[Counts, Counts]:
        """Of each patch how many of its pixels the region has, and how many there are; both `(rows, columns)`."""

    def area(self, size: Size) -> Box:
        """What all patches together look at, in pixels of the image."""

    def patch_area(self, index: int, size: Size) -> PixelBox:
        """The pixels of the image that patch number `index` looks at, rounded outwards."""

    def hides(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> bool:
        """Whether a region without a pixel in any patch has some in the image."""

    def cures(self, boxes: Sequence[Box], size: Size) -> tuple[str, ...]:
        """What gives a box that is smaller than a patch a patch of its own."""


@dataclass(frozen=True)
class Geometry:
    """The way of an image to a backbone's input: resize, then centre crop.

    Pixels at the right and lower edge of the input that make no whole patch are seen by none.

    With `shortest_edge` the shorter side is resized to it, the longer one in proportion, and the centre
    `input_size` x `input_size` is kept; without, the whole image is squashed to the input square.
    Pixels (`pytest_editeval.vision.backbones`) and boxes both go through this one object.
    """

    input_size: int
    patch_size: int
    shortest_edge: int | None = None

    @property
    def grid(self) -> int:
        """Patches along one side of the input; patches are numbered row by row."""
        return self.input_size // self.patch_size

    @property
    def patch(self) -> str:
        """What a patch is, in words."""
        return f"{self.patch_size} px patch at {self.input_size} px input"

    def shape(self, size: Size) -> tuple[int, int]:
        """Rows and columns of the patches, whatever the image's size."""
        return self.grid, self.grid

    def squashed(self) -> Geometry:
        """The same input without a crop: the whole image, its proportions given up."""
        return replace(self, shortest_edge=None)

    def resized(self, size: Size) -> Size:
        """Size of the image after the resize, before the crop.

        The longer edge is truncated, as torchvision's and transformers' shortest-edge resize do.
        """
        if self.shortest_edge is None:
            return self.input_size, self.input_size
        width, height = size
        longer = int(self.shortest_edge * max(size) / min(size))
        return (self.shortest_edge, longer) if width <= height else (longer, self.shortest_edge)

    def offset(self, size: Size) -> Size:
        """Left and top edge of the crop in the resized image (centre, rounded down)."""
        width, height = self.resized(size)
        return (width - self.input_size) // 2, (height - self.input_size) // 2

    def map_boxes(self, boxes: Iterable[Box], size: Size) -> list[PixelBox]:
        """Boxes of an image of that size in pixels of the resized image, clipped to it; truncated with `int()`."""
        resized = self.resized(size)
        return [scale_box(box, size, resized) for box in boxes]

    def mask(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> Mask:
        """0/1 mask `(input_size, input_size)` of the region at the backbone's input."""
        left, top = self.offset(size)
        shifted = [(x1 - left, y1 - top, x2 - left, y2 - top) for x1, y1, x2, y2 in self.map_boxes(boxes, size)]
        return paint(self.input_size, self.input_size, shifted, mode)

    def coverage(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> tuple[Counts, Counts]:
        """Of each patch how many of its pixels the region has, and how many there are."""
        side = self.patch_size
        seen = self.mask(boxes, mode, size)[: self.grid * side, : self.grid * side]
        mask = seen.reshape(self.grid, side, self.grid, side)
        return mask.sum(axis=(1, 3), dtype=np.int64), np.full((self.grid, self.grid), side**2, np.int64)

    def area(self, size: Size) -> Box:
        """What all patches together look at, in pixels of an image of that size."""
        left, top = self.offset(size)
        width, height = self.resized(size)
        side = self.grid * self.patch_size
        scale = size[0] / width, size[1] / height
        return left * scale[0], top * scale[1], (left + side) * scale[0], (top + side) * scale[1]

    def patch_area(self, index: int, size: Size) -> PixelBox:
        """The pixels of an image of that size that patch number `index` looks at, rounded outwards."""
        row, column = divmod(index, self.grid)
        left, top = self.offset(size)
        width, height = self.resized(size)
        x, y = left + column * self.patch_size, top + row * self.patch_size
        return (
            math.floor(x * size[0] / width),
            math.floor(y * size[1] / height),
            min(size[0], math.ceil((x + self.patch_size) * size[0] / width)),
            min(size[1], math.ceil((y + self.patch_size) * size[1] / height)),
        )

    def hides(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> bool:
        """Whether the centre crop removes the region, none of which is left in a patch."""
        if self.resized(size) == (self.input_size, self.input_size):
            return False
        if mode == "inner":
            return any(x2 > x1 and y2 > y1 for x1, y1, x2, y2 in self.map_boxes(boxes, size))
        return bool(paint(size[1], size[0], (clip_box(box, size) for box in boxes), mode).any())

    def cures(self, boxes: Sequence[Box], size: Size) -> tuple[str, ...]:
        """A larger input, and no crop where it cuts a box."""
        left, top = self.offset(size)
        right, bottom = left + self.input_size, top + self.input_size
        mapped = self.map_boxes(boxes, size)
        cut = any(x1 < left or y1 < top or x2 > right or y2 > bottom for x1, y1, x2, y2 in mapped)
        return ("raise input_size", *(("set `fit: squash` (the centre crop cuts it)",) if cut else ()))


class RoundedGeometry(Geometry):
    """The same, with the crop's corner rounded to the nearest pixel (half to even), as torchvision crops the centre."""

    def offset(self, size: Size) -> Size:
        """Left and top edge of the crop in the resized image."""
        width, height = self.resized(size)
        return round((width - self.input_size) / 2), round((height - self.input_size) / 2)


def paint(height: int, width: int, boxes: Iterable[PixelBox], mode: MaskMode) -> Mask:
    """0/1 mask `(height, width)` with the boxes filled (`inner`) or cut out (`outer`); boxes are clipped."""
    outside, inside = (1, 0) if mode == "outer" else (0, 1)
    mask = np.full((height, width), outside, np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = inside
    return mask


def select_patches(mask: Mask, patch_size: int, threshold: float) -> NDArray[np.bool_]:
    """Boolean `(rows, columns)`: the patches over which the mean of the mask is strictly greater than `threshold`."""
    height, width = mask.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"a mask of {width}x{height} pixels is no whole number of {patch_size} px patches")
    patches = mask.reshape(height // patch_size, patch_size, width // patch_size, patch_size)
    selected: NDArray[np.bool_] = patches.mean(axis=(1, 3)) > threshold
    return selected


def select_region(
    grid: PatchGrid, size: Size, boxes: Sequence[Box], mode: MaskMode | None, threshold: float
) -> NDArray[np.bool_] | SoftFailure:
    """Boolean `(n_patches,)` of the patches in the region, row by row, or why there are none.

    `size` is the size of the image the boxes belong to; `mode` `None` selects every patch.
    """
    if mode is None:
        return np.ones(math.prod(grid.shape(size)), np.bool_)
    scope = "edit_area" if mode == "inner" else "unedit_area"
    if not boxes:
        return SoftFailure(Reason.NO_BOXES, f"{scope} needs boxes, and there are none; give coords")
    for box in boxes:
        if misses(box, size):
            return SoftFailure(Reason.BOX_OUTSIDE_IMAGE, told_to_miss(box, size))
    covered, pixels = grid.coverage(boxes, mode, size)
    selected: NDArray[np.bool_] = (covered / pixels > threshold).reshape(-1)
    if selected.any():
        return selected
    if not covered.any() and grid.hides(boxes, mode, size):
        detail = (
            f"{scope} lies in the part of the {size[0]}×{size[1]} image that the centre crop removes; "
            "move the box, or set `fit: squash` on the pipe to score the whole image"
        )
        return SoftFailure(Reason.REGION_OUTSIDE_CROP, detail)
    return SoftFailure(Reason.NO_PATCH_SELECTED, _no_patch(grid, size, boxes, mode, threshold))


def _no_patch(grid: PatchGrid, size: Size, boxes: Sequence[Box], mode: MaskMode, threshold: float) -> str:
    image = f"a {size[0]}×{size[1]} image"
    if mode == "outer":
        return (
            f"no patch lies in unedit_area (the boxes leave at most {threshold:.0%} of every {grid.patch} of {image} "
            "uncovered); draw smaller boxes, or lower patch_mask_threshold"
        )
    boxed = ", ".join(f"{x2 - x1:g}×{y2 - y1:g} px" for x1, y1, x2, y2 in boxes)
    return (
        f"no patch lies in edit_area (box {boxed} on {image} covers at most {threshold:.0%} of every {grid.patch}); "
        f"{', '.join(['draw a larger box', *grid.cures(boxes, size)])}, or lower patch_mask_threshold"
    )


class MaskProcessor:
    """The reference system's names for boxes -> masks -> patch masks (of a squashed image)."""

    def make_mask(
        self,
        image_h: int,
        image_w: int,
        coords: Iterable[Sequence[float]] | None,
        *,
        return_format: str = "2d_numpy",
        mode: MaskMode | None = None,
    ) -> Any:
        """0/1 mask of the boxes at the image's own size; `None` when `mode` is `None`.

        `return_format`: ``"2d_numpy"`` uint8 `(H, W)`, ``"3d_numpy"`` uint8 `(3, H, W)`, ``"4d_tensor"`` boolean
        torch tensor `(1, 3, H, W)`. Boxes are truncated to whole pixels and clipped to the image.
        """
        return self.make_resized_mask(
            image_h, image_w, coords, return_format=return_format, mode=mode, target_h=image_h, target_w=image_w
        )

    def make_resized_mask(
        self,
        image_h: int,
        image_w: int,
        coords: Iterable[Sequence[float]] | None,
        *,
        return_format: str = "2d_numpy",
        mode: MaskMode | None = "outer",
        target_h: int,
        target_w: int,
    ) -> Any:
        """As `make_mask`, the boxes scaled to `(target_h, target_w)` first, each coordinate truncated with `int()`."""
        if return_format not in ("2d_numpy", "3d_numpy", "4d_tensor"):
            raise ValueError(f"unknown return_format {return_format!r}; known: 2d_numpy, 3d_numpy, 4d_tensor")
        if mode not in ("inner", "outer", None):
            raise ValueError(f"unknown mode {mode!r}; known: inner, outer, None")
        if mode is None:
            return None
        boxes = (scale_box(box, (image_w, image_h), (target_w, target_h)) for box in check_boxes(coords))
        mask = paint(target_h, target_w, boxes, mode)
        if return_format == "2d_numpy":
            return mask
        stacked = np.repeat(mask[None], 3, axis=0)
        if return_format == "3d_numpy":
            return stacked
        import torch  # this layer is used at collection, where torch is not imported

        return torch.from_numpy(stacked[None] == 1)

    def create_patch_mask_from_mask_2d(
        self, mask_2d: NDArray[Any], patch_size: int, threshold: float = PATCH_MASK_THRESHOLD
    ) -> Mask:
        """0/1 `(rows, columns)`: 1 where the mean of the mask over the patch is strictly greater than `threshold`."""
        return select_patches(mask_2d, patch_size, threshold).astype(np.uint8)
