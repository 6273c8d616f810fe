"""Images that are looked at in windows: the settings of a tile, and the features of windows merged into one grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_editeval.boxes import PixelBox
from pytest_editeval.errors import CheckpointError, known_names, unknown
from pytest_editeval.regions import Geometry
from pytest_editeval.tiling import TiledGeometry
from pytest_editeval.vision.checkpoint_config import LARGEST_INPUT, checked_geometry
from pytest_editeval.vision.features import Features

if TYPE_CHECKING:
    from pytest_editeval.vision.batches import BatchSize

SETTINGS = ("size", "overlap")


def tiled_geometry(model_path: str, tile: Mapping[str, int], own: Geometry, *, resizes: bool) -> TiledGeometry:
    """The way of an image through windows of `tile`; `own` is that of an image that is not tiled.

    A network that `resizes` sees a window in the image's own pixels, so that both numbers are whole patches; of another
    one each window is resized to its input. `CheckpointError` for what cannot be, with the nearest that can.
    """
    size, overlap = _numbers(model_path, tile)
    if own.input_size % own.patch_size:
        raise CheckpointError(
            f"{model_path}: tile: patches of {own.patch_size} px do not fill its input of {own.input_size} px, so "
            "windows would have gaps; take a checkpoint whose patches do"
        )
    step = own.patch_size if resizes else 1
    if size % step or size < (step if resizes else own.grid):
        least, most = (step, LARGEST_INPUT // step * step) if resizes else (own.grid, size)
        why = (
            f"is no multiple of {step}, its patch size" if resizes else f"is less than its {own.grid} patches in a row"
        )
        raise CheckpointError(
            f"{model_path}: tile: size {size} {why}; the nearest: {_nearest(size, step, least, most)}"
        )
    window = checked_geometry(model_path, size if resizes else own.input_size, own.patch_size, None)
    tiles = TiledGeometry(window, size, overlap)
    most = tiles.edge(window.grid - 1)
    if not 0 <= overlap <= most or overlap % step:
        what = f"a multiple of {step} from 0 to {most}" if resizes else f"from 0 to {most}"
        near = _nearest(overlap, step, 0, most)
        raise CheckpointError(
            f"{model_path}: tile: an overlap of windows of {size} px is {what}, not {overlap}; the nearest: {near}"
        )
    return tiles


def encode_tiled(
    image: Image.Image,
    tiles: TiledGeometry,
    batch: BatchSize,
    forward: Callable[[Sequence[Image.Image]], list[Features]],
) -> Features:
    """Features of an image in windows: patches weighted where windows overlap, CLS the mean of the windows'.

    A batch of windows at a time: what is held is the grid of features, however many windows there are.
    """
    rows, columns = tiles.shape(image.size)
    across = tiles.window.grid
    grid: NDArray[np.float32] | None = None
    windows = tiles.windows(image.size)
    cls: list[NDArray[np.float32]] = []
    while part := list(islice(windows, batch.size)):
        encoded = batch.run([cut_window(image, one.box) for one in part], forward)
        for window, features in zip(part, encoded, strict=True):
            if grid is None:
                grid = np.zeros((rows, columns, features.patches.shape[1]), np.float32)
            down, along = window.weights.shape
            seen = features.patches.reshape(across, across, -1)[:down, :along]
            place = grid[window.row : window.row + down, window.column : window.column + along]
            place += seen * window.weights[:, :, None].astype(np.float32)
            cls.append(features.cls)
    patches = np.zeros((0, 0), np.float32) if grid is None else grid.reshape(rows * columns, -1)
    return Features(patches, np.stack(cls).mean(axis=0, dtype=np.float64).astype(np.float32))


def cut_window(image: Image.Image, box: PixelBox) -> Image.Image:
    """The pixels in the box; beyond the image's right and lower edge those at the edge are repeated."""
    x1, y1, x2, y2 = box
    right, bottom = min(x2, image.width), min(y2, image.height)
    inside = image.crop((x1, y1, right, bottom))
    if (right, bottom) == (x2, y2):
        return inside
    return Image.fromarray(np.pad(np.asarray(inside), ((0, y2 - bottom), (0, x2 - right), (0, 0)), "edge"))


def _numbers(model_path: str, tile: Mapping[str, int]) -> tuple[int, int]:
    if not isinstance(tile, Mapping) or "size" not in tile:
        raise CheckpointError(f"{model_path}: tile is a mapping such as {{size: 512, overlap: 64}}, not {tile!r}")
    for name, value in tile.items():
        if name not in SETTINGS:
            raise CheckpointError(f"{model_path}: {unknown('key', name, SETTINGS)} of tile; {known_names(SETTINGS)}")
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise CheckpointError(f"{model_path}: tile: {name} is a whole number of pixels, not {value!r}")
    return int(tile["size"]), int(tile.get("overlap", 0))


def _nearest(value: int, step: int, least: int, most: int) -> str:
    """The multiples of `step` on both sides of a value, within the bounds."""
    below = value // step * step
    near = {min(max(one, least), max(least, most)): None for one in (below, below + step)}
    return " or ".join(map(str, near))
