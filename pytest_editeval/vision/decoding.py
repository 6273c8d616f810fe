"""From a file's bytes to 8-bit RGB as a viewer shows it; docs/images.md says what becomes of each kind of file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from pytest_editeval.errors import ImageError
from pytest_editeval.pixel_limit import OPTION, check_pixels, max_pixels
from pytest_editeval.registry import WHITE

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "HEIF", "JXL")
"""Pillow's names of what is read. The last two have to be registered by another package, and the formats that Pillow
knows beside these are not for photographs; one of them, EPS, is a program that Ghostscript would run."""

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

STRIP_PIXELS = 4_000_000
"""Conversions that need room for several copies are done in strips of so many pixels."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_filters = RLock()
_strict = ExitStack()
_strict_users = 0
_strict_lock = Lock()


def decode(data: bytes, name: str) -> Image.Image:
    """Decode a file's bytes (the first frame of an animation) as `to_rgb` does; `name` is the file's in an error.

    Whatever is wrong with the file is an `ImageError` of one line.
    """
    return _explained(lambda: _decode(data, name), name)


def to_rgb(image: Image.Image | NDArray[np.uint8], name: str = "the image") -> Image.Image:
    """A new image: 8-bit RGB with the EXIF orientation applied and transparency laid over white.

    An array is uint8 `(H, W, 3)` RGB or `(H, W)` grey. 16-bit grey is scaled to 8 bits. `ImageError` when it cannot be.
    """
    if isinstance(image, Image.Image):
        return _explained(lambda: _rgb(image, name), name)
    array = np.asarray(image)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"an image array is uint8 (H, W, 3), not {array.dtype} {array.shape}")
    if 0 in array.shape:
        raise ImageError(f"the image has no pixels ({array.shape[1]}×{array.shape[0]})")
    return _rgb(Image.fromarray(array), name)


def _decode(data: bytes, name: str) -> Image.Image:
    Image.init()
    known = [one for one in FORMATS if one in Image.OPEN]
    try:
        with Image.open(io.BytesIO(data), formats=known) as image:
            if image.format == "PNG" and "transparency" in image.info:
                image.info["transparency"] = _in_eight_bits(image.info["transparency"], image.mode, data[24])
            return _rgb(image, name)
    except UnidentifiedImageError:
        bands = "; a TIFF file of other bands than grey or RGB needs `bands` in its case" if is_tiff(data) else ""
        raise ImageError(f"not an image file: {name} ({len(data)} bytes){bands}") from None


def is_tiff(data: bytes) -> bool:
    """Whether a file is TIFF or BigTIFF, by its first bytes."""
    return data[:4] in TIFF_HEADS


def _in_eight_bits(transparent: Any, mode: str, depth: int) -> Any:
    """The transparent grey or colour of a PNG file, which is in its own depth, as Pillow gives the pixels."""
    if mode == "L" and depth < 8:
        return transparent * 255 // (2**depth - 1)
    return tuple(part >> 8 for part in transparent) if mode == "RGB" and depth == 16 else transparent


def _explained(read: Callable[[], Image.Image], name: str) -> Image.Image:
    """What `read` gives; whatever it raises as an `ImageError`."""
    try:
        with _strictly():
            return read()
    except ImageError:
        raise
    except Warning:
        # Pillow warns of damaged EXIF, which must not fail somebody's `-W error` run. The filters are the whole
        # process', so they are left alone until it comes to that.
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _explained(read, name)
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        pixels = f"{int(found[1]):,} pixels are" if found else "it has"
        raise ImageError(f"{name}: {pixels} more than the {max_pixels():,} that {OPTION} allows") from None
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        raise ImageError(f"cannot read image {name}: {one_line(error)}") from None


def one_line(error: Exception) -> str:
    """The first line of an error's message, or what kind of error it is."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _rgb(image: Image.Image, name: str) -> Image.Image:
    check_pixels(image.width, image.height, name)
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: the image has no pixels ({image.width}×{image.height})")
    image.load()  # of an animation the first frame
    check_pixels(image.width, image.height, name)  # a decoder may have found another size than the header's
    turn = _turn(image)
    upright = image if turn is None else image.transpose(turn)
    if upright.mode == "F":
        raise ImageError(f"{name}: mode F (floating point) has no defined range; save it with 8 or 16 bits")
    if upright.mode == "LAB":
        raise ImageError(f"{name}: mode LAB is not RGB, and what it means needs a colour profile; save it as RGB")
    if upright.mode == "RGB" and "transparency" not in upright.info:
        return upright if upright is not image else image.copy()
    rgb = Image.new("RGB", upright.size)
    rows = max(1, STRIP_PIXELS // upright.width)
    for top in range(0, upright.height, rows):
        strip = upright.crop((0, top, upright.width, min(top + rows, upright.height)))
        rgb.paste(_flat(strip, name), (0, top))
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Warning:
        raise
    except Exception:  # EXIF that cannot be read turns nothing, in viewers too; the picture is whole
        return None


def _flat(image: Image.Image, name: str) -> Image.Image:
    """8-bit RGB of an image of any other mode, over white."""
    if image.mode.startswith("I"):
        return _eight_bits(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts premultiplied grey to nothing else
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(backdrop, layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits in 8, white where it is transparent."""
    deep = np.asarray(image)
    if deep.min() < 0 or deep.max() > 65535:
        raise ImageError(f"{name}: mode {image.mode} image with values outside 0 to 65535")
    grey = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[deep == transparent] = 255
    return Image.fromarray(grey)


@contextmanager
def _strictly() -> Iterator[None]:
    """Half an image is an error, and size is a matter of `max_pixels` alone, whatever another plugin has told Pillow.

    The switches are the process', so the first thread to need them sets them and the last one puts them back.
    """
    global _strict_users
    with _strict_lock:
        if _strict_users == 0:
            _strict.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            _strict.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            Image.MAX_IMAGE_PIXELS = max_pixels()
        _strict_users += 1
    try:
        yield
    finally:
        with _strict_lock:
            _strict_users -= 1
            if _strict_users == 0:
                _strict.close()
