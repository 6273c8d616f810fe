"""One way to open an image: as a viewer shows it, in 8-bit RGB, known by its content."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pytest_editeval.errors import ImageError, display_path
from pytest_editeval.needs import ImageRef
from pytest_editeval.registry import WHITE

ImageLike = Image.Image | NDArray[np.uint8] | str | Path

MAX_PIXELS = 178_956_970
"""Larger images are refused before they are decoded; Pillow's own limit against decompression bombs."""


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """Pixels (RGB, orientation applied) and the reference by which features of them are known."""

    pixels: Image.Image
    ref: ImageRef


def load_image(image: ImageLike) -> LoadedImage:
    """Open a path, or take an image that is already in memory; `ImageError` when that cannot be done."""
    if not isinstance(image, str | Path):
        return _loaded(to_rgb(image))
    path = Path(image)
    try:
        stat = path.stat()
    except OSError:
        return _loaded(open_image(path))
    return _opened(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _opened(path: Path, mtime_ns: int, size: int) -> LoadedImage:
    """The checks of one case come one after the other and share both images; time and size tell a changed file."""
    return _loaded(open_image(path))


def _loaded(pixels: Image.Image) -> LoadedImage:
    return LoadedImage(pixels, ImageRef(content_digest(pixels), pixels.size))


def rgb_pixels(image: ImageLike) -> Image.Image:
    """The pixels alone, for who does not need the digest."""
    return open_image(Path(image)) if isinstance(image, str | Path) else to_rgb(image)


def open_image(path: Path) -> Image.Image:
    """Decode the file (the first frame of an animation) as `to_rgb` does."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, and of damaged EXIF; a warning must not fail somebody's `-W error` run.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{display_path(path)}: {image.width}×{image.height} pixels are more than {MAX_PIXELS}"
                    )
                return to_rgb(image)
    except FileNotFoundError:
        raise ImageError(f"image not found: {display_path(path)}") from None
    except UnidentifiedImageError:
        raise ImageError(f"not an image file: {display_path(path)} ({_file_size(path)} bytes)") from None
    except ImageError as error:
        raise error if display_path(path) in str(error) else ImageError(f"{display_path(path)}: {error}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{display_path(path)}: its pixels are more than {MAX_PIXELS}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise ImageError(f"cannot read image {display_path(path)}: {error}") from None


def to_rgb(image: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """8-bit RGB with the EXIF orientation applied and transparency laid over white.

    An array is uint8 `(H, W, 3)` RGB or `(H, W)` grey. 16-bit grey is scaled to 8 bits.
    """
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
            raise ImageError(f"an image array is uint8 (H, W, 3), not {array.dtype} {array.shape}")
        image = Image.fromarray(array)
    if image.width == 0 or image.height == 0:
        raise ImageError(f"the image has no pixels ({image.width}×{image.height})")
    image = ImageOps.exif_transpose(image)  # a copy: the caller's image stays untouched, an open file is decoded
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min(initial=0) < 0 or deep.max(initial=0) > 65535:
            raise ImageError(f"mode {image.mode} image with values outside 0 to 65535")
        image = Image.fromarray(np.round(deep / 257).astype(np.uint8))
    if image.mode == "F":
        raise ImageError("mode F (floating point) has no defined range; save it with 8 or 16 bits")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts premultiplied grey to nothing else
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(backdrop, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def content_digest(image: Image.Image) -> str:
    """Hex digest of an RGB image's size and pixels: equal pictures have equal digests, whatever file they are in."""
    digest = hashlib.blake2b(f"{image.width}x{image.height}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()


def _file_size(path: Path) -> int:
    return path.stat().st_size
