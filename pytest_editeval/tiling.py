"""Large images: the windows in which a network looks at one, and the grid of patches that they make together.

Sizes are `(width, height)` in pixels of the image; grids are `(rows, columns)` of patches. An image is looked at in its
own pixels, so nothing here scales a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import PixelBox, Size, clip_box
from pytest_editeval.regions import Counts, Geometry, PatchGrid, paint
from pytest_editeval.registry import Box, MaskMode

Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """A part of an image that goes through the network by itself.

    `box` is what it looks at, `(x1, y1, x2, y2)` in pixels of the image, beyond whose edge it may reach. Its first
    patch is `row`, `column` of the image's grid. `weights` `(rows, columns)` are how much its patches count there. Of a
    window that is larger than the image it has the patches that begin in the image; the rest are not of the grid.
    """

    row: int
    column: int
    box: PixelBox
    weights: Weights


@dataclass(frozen=True)
class TiledGeometry:
    """The way of an image to a backbone that looks at it in windows of `size` x `size` pixels.

    `window` is the way of one window to the backbone's input, without a crop. The patches of all windows are one grid
    over the whole image, whose last row and column may reach beyond its edge. A patch is a window's share of `size`
    pixels, which need not be a whole number: its edges in the image are rounded down, those of windows are exact.
    Neighbouring windows share at least `overlap` pixels, and whole patches.
    """

    window: Geometry
    size: int
    overlap: int

    @property
    def shared(self) -> int:
        """Patches along one side that neighbouring windows share."""
        return -(-self.overlap * self.window.grid // self.size)

    @property
    def patch(self) -> str:
        """What a patch is, in words."""
        return f"{self.size / self.window.grid:.3g} px patch in {self.size} px tiles"

    def as_data(self) -> dict[str, int]:
        """What a results file says of it."""
        return {"tile_size": self.size, "tile_overlap": self.overlap, "tile_input_size": self.window.input_size}

    def shape(self, size: Size) -> tuple[int, int]:
        """Rows and columns of the patches."""
        return -(-size[1] * self.window.grid // self.size), -(-size[0] * self.window.grid // self.size)

    def edge(self, cell: int) -> int:
        """Where a row or column begins, in pixels of the image."""
        return cell * self.size // self.window.grid

    def windows(self, size: Size) -> Iterator[Window]:
        """The windows of an image, row by row; at each patch of the grid their weights sum to 1."""
        rows, columns = (axis_windows(cells, self.window.grid, self.shared) for cells in self.shape(size))
        for row, down in rows:
            for column, along in columns:
                x, y = self.edge(column), self.edge(row)
                yield Window(row, column, (x, y, x + self.size, y + self.size), np.outer(down, along))

    def coverage(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> tuple[Counts, Counts]:
        """Of each patch how many of its pixels the region has, and how many of them lie in the image."""
        inside = [clip_box(box, size) for box in boxes]
        tops, lefts = (
            np.minimum([self.edge(cell) for cell in range(cells + 1)], length)
            for cells, length in zip(self.shape(size), reversed(size), strict=True)
        )
        covered = np.empty((len(tops) - 1, len(lefts) - 1), np.int64)
        for row, (top, bottom) in enumerate(pairwise(tops.tolist())):
            moved = [(x1, y1 - top, x2, y2 - top) for x1, y1, x2, y2 in inside]
            strip = paint(bottom - top, size[0], moved, mode)  # a mask of the whole would be as large as the image
            covered[row] = np.add.reduceat(strip.sum(axis=0, dtype=np.int64), lefts[:-1])
        return covered, np.outer(np.diff(tops), np.diff(lefts)).astype(np.int64)

    def area(self, size: Size) -> Box:
        """What all patches together look at: the image, and what the last row and column have beyond its edge."""
        rows, columns = self.shape(size)
        return 0.0, 0.0, columns * self.size / self.window.grid, rows * self.size / self.window.grid

    def patch_area(self, index: int, size: Size) -> PixelBox:
        """The pixels of an image of that size that patch number `index` looks at."""
        row, column = divmod(index, self.shape(size)[1])
        right, bottom = (min(self.edge(cell + 1), end) for cell, end in zip((column, row), size, strict=True))
        return self.edge(column), self.edge(row), right, bottom

    def hides(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> bool:
        """Nothing of an image is left out."""
        return False

    def cures(self, boxes: Sequence[Box], size: Size) -> tuple[str, ...]:
        """What makes patches smaller."""
        return ("raise input_size",) if self.window.input_size == self.size else ("take a smaller tile",)


@dataclass(frozen=True)
class Averaged:
    """The grid that is left when the features of `factor` x `factor` neighbouring patches are averaged.

    At its right and lower edge a patch is made of those that there are.
    """

    grid: PatchGrid
    factor: int

    @property
    def patch(self) -> str:
        """What a patch is, in words."""
        return f"{self.factor}×{self.factor} averaged {self.grid.patch}"

    def shape(self, size: Size) -> tuple[int, int]:
        """Rows and columns of what is averaged."""
        rows, columns = self.grid.shape(size)
        return -(-rows // self.factor), -(-columns // self.factor)

    def coverage(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> tuple[Counts, Counts]:
        """The same as of the patches, over all that are averaged."""
        covered, pixels = self.grid.coverage(boxes, mode, size)
        return block_sums(covered, self.factor), block_sums(pixels, self.factor)

    def area(self, size: Size) -> Box:
        """What all of it looks at; the last row and column may reach beyond the patches."""
        x1, y1, x2, y2 = self.grid.area(size)
        fine, coarse = self.grid.shape(size), self.shape(size)
        reach_x, reach_y = (coarse[axis] * self.factor / fine[axis] for axis in (1, 0))
        return x1, y1, x1 + (x2 - x1) * reach_x, y1 + (y2 - y1) * reach_y

    def patch_area(self, index: int, size: Size) -> PixelBox:
        """The pixels that the averaged patches look at."""
        rows, columns = self.grid.shape(size)
        row, column = (place * self.factor for place in divmod(index, self.shape(size)[1]))
        last_row, last_column = (min(place + self.factor, end) - 1 for place, end in ((row, rows), (column, columns)))
        first = self.grid.patch_area(row * columns + column, size)
        return first[:2] + self.grid.patch_area(last_row * columns + last_column, size)[2:]

    def hides(self, boxes: Sequence[Box], mode: MaskMode, size: Size) -> bool:
        """As the patches do."""
        return self.grid.hides(boxes, mode, size)

    def cures(self, boxes: Sequence[Box], size: Size) -> tuple[str, ...]:
        """None: smaller patches would be averaged all the more."""
        return ()


def averaged(grid: PatchGrid, factor: int) -> PatchGrid:
    """The grid of `factor` x `factor` averaged patches; of one patch the grid itself."""
    return grid if factor == 1 else Averaged(grid, factor)


def axis_windows(cells: int, across: int, shared: int) -> list[tuple[int, Weights]]:
    """The first cell of each window along one axis of `cells`, and the weights of its cells, which sum to 1 at each.

    Windows are `across` cells long and begin every `across - shared` cells; the last one is moved back to end with the
    axis. Within the `shared` cells toward each of its ends a window's weight falls linearly.
    """
    starts = [0] if cells <= across else [*range(0, cells - across, across - shared), cells - across]
    place = np.arange(across)
    falling = np.minimum(np.minimum(place, place[::-1]) + 1, shared + 1) / (shared + 1)
    total = np.zeros(max(cells, across))
    for start in starts:
        total[start : start + across] += falling
    return [(start, (falling / total[start : start + across])[: cells - start]) for start in starts]


def block_sums(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Sums over `factor` x `factor` neighbours of `(rows, columns, ...)`; the last ones are of fewer."""
    rows, columns = (np.arange(0, length, factor) for length in values.shape[:2])
    sums: NDArray[Any] = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    return sums


def block_means(patches: NDArray[np.float32], shape: tuple[int, int], factor: int) -> NDArray[np.float32]:
    """Features `(n_patches, dim)` of a grid averaged over `factor` x `factor` neighbours, row by row."""
    if factor == 1:
        return patches
    _, columns = shape
    grid = patches.reshape(*shape, -1)
    counts = np.minimum(factor, columns - np.arange(0, columns, factor))
    # A row of blocks at a time: in float64 the whole grid would be twice as large as the features are.
    means = [
        block_sums(grid[top : top + factor].astype(np.float64), factor)[0]
        / (counts * len(grid[top : top + factor]))[:, None]
        for top in range(0, shape[0], factor)
    ]
    return np.concatenate(means).astype(np.float32)
