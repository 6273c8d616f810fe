"""The pixels of derived images."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from pytest_editeval.boxes import clip_box
from pytest_editeval.derived import Bands, Destroyed, Disturbance, Recipe
from pytest_editeval.errors import ImageError
from pytest_editeval.needs import ImageRef
from pytest_editeval.regions import paint

JPEG_QUALITY = 95
RESIZED_TO = 7 / 8
"""Editing models work at sizes of their own, multiples of 8 or 16 pixels near the image's: a trip there and back."""

GRAINS = 64
"""Along the shorter side. Noise per pixel would be averaged to flat grey on the way of a large image to a network."""


def derive(ref: ImageRef, pixels: Image.Image, recipe: Recipe) -> Image.Image:
    """What `recipe` makes of the RGB image `pixels`, which is known by `ref`: RGB, of the same size.

    The same in every process: nothing but the arguments and Pillow's version decides it. `ImageError` for an image that
    JPEG cannot hold.
    """
    if isinstance(recipe, Destroyed):
        return destroy(ref, pixels, recipe)
    if isinstance(recipe, Bands):
        raise TypeError("bands are read from a file's bytes")
    return _DISTURB[recipe](pixels)


def destroy(ref: ImageRef, pixels: Image.Image, recipe: Destroyed) -> Image.Image:
    """Noise in the region of `recipe`; every other pixel stays as it is, to the bit.

    The grains are squares of one colour, `GRAINS` to the shorter side, independent and uniform over RGB. They are
    SHAKE-256 of the image's digest and the recipe.
    """
    width, height = pixels.size
    noise = _noise(f"{ref.digest} {recipe!r}", width, height)
    if recipe.mode is not None:
        region = paint(height, width, [clip_box(box, pixels.size) for box in recipe.boxes], recipe.mode)
        noise = np.where(region[..., None] > 0, noise, np.asarray(pixels))
    return Image.fromarray(noise)


def _noise(seed: str, width: int, height: int) -> NDArray[np.uint8]:
    """Grains `(height, width, 3)`."""
    side = max(1, round(min(width, height) / GRAINS))
    rows, columns = -(-height // side), -(-width // side)
    # Not numpy's generators: what they give may change with numpy's version.
    data = hashlib.shake_256(seed.encode()).digest(rows * columns * 3)
    grains = np.frombuffer(data, np.uint8).reshape(rows, columns, 3)
    return grains.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]


def _jpeg(pixels: Image.Image) -> Image.Image:
    data = io.BytesIO()
    try:
        pixels.save(data, "JPEG", quality=JPEG_QUALITY)
    except OSError:  # more than 65,500 pixels along a side
        raise ImageError(f"JPEG cannot hold {pixels.width}×{pixels.height} pixels") from None
    data.seek(0)
    return JpegImageFile(data).convert("RGB")  # `Image.open` would warn of a large image once more


def _shift(pixels: Image.Image) -> Image.Image:
    padded = np.pad(np.asarray(pixels), ((1, 0), (1, 0), (0, 0)), mode="edge")
    return Image.fromarray(padded[:-1, :-1])


def _resize(pixels: Image.Image) -> Image.Image:
    width, height = (max(1, round(side * RESIZED_TO)) for side in pixels.size)
    there = pixels.resize((width, height), Image.Resampling.BICUBIC)
    return there.resize(pixels.size, Image.Resampling.BICUBIC)


_DISTURB = {Disturbance.JPEG95: _jpeg, Disturbance.SHIFT: _shift, Disturbance.RESIZE: _resize}
