"""Image files of every kind for tests, made by hand where Pillow writes none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from conftest import picture

ORIENTATION = 0x0112


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format `form`."""
    stream = io.BytesIO()
    # Copies, because saving as JPEG leaves settings on the image that spoil the next file.
    options |= {"append_images": [frame.copy() for frame in options.get("append_images", ())]}
    image.copy().save(stream, form, **options)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], depth: int, kind: int, rows: Iterable[bytes], *chunks: bytes) -> bytes:
    """A PNG file of raw rows; `kind` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def qoi(image: Image.Image) -> bytes:
    """A QOI file of an RGB image; Pillow before 12 reads them only."""
    pixels = np.asarray(image).reshape(-1, 3)
    parts = (b"\xfe" + pixel.tobytes() for pixel in pixels)  # every pixel in full
    return b"qoif" + struct.pack(">IIBB", *image.size, 3, 0) + b"".join(parts) + b"\0" * 7 + b"\1"


def words(*values: int) -> bytes:
    """Numbers of 16 bits, as PNG has them."""
    return struct.pack(f">{len(values)}H", *values)


def samples() -> dict[str, bytes]:
    """A small valid file of each kind."""
    image = picture(3, 24, 16)
    clear = image.convert("RGBA")
    clear.putalpha(picture(4, 24, 16).convert("L"))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    frames = {"save_all": True, "append_images": [picture(5, 24, 16), picture(6, 24, 16)]}
    profile = {"icc_profile": b"\0" * 128}
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"words " * 50)) + chunk(b"eXIf", exif.tobytes()[6:])
    deep = np.asarray(image.convert("L"), np.uint16) * 257
    return {
        "png": saved(image, "PNG", exif=exif, **profile),
        "png-rgba": saved(clear, "PNG"),
        "png-palette": saved(clear.quantize(8), "PNG"),
        "png-16": saved(Image.fromarray(deep), "PNG"),
        "png-text": png((2, 1), 8, 0, [b"\x01\x02"], text),
        "apng": saved(image, "PNG", **frames),
        "jpeg": saved(image, "JPEG", exif=exif, **profile),
        "jpeg-progressive": saved(image, "JPEG", progressive=True),
        "jpeg-cmyk": saved(image.convert("CMYK"), "JPEG"),
        "mpo": saved(image, "MPO", **frames),
        "webp": saved(clear, "WEBP", exif=exif, **profile),
        "webp-lossless": saved(image, "WEBP", lossless=True),
        "webp-animated": saved(image, "WEBP", **frames),
        "gif": saved(image, "GIF"),
        "gif-animated": saved(image, "GIF", **frames),
        "bmp": saved(image, "BMP"),
        "bmp-1": saved(image.convert("1"), "BMP"),
        "tiff": saved(image, "TIFF", exif=exif, **profile),
        "tiff-pages": saved(image, "TIFF", compression="tiff_lzw", **frames),
        "tiff-deflate": saved(clear, "TIFF", compression="tiff_deflate"),
        "tiff-jpeg": saved(image, "TIFF", compression="jpeg"),
        "tiff-float": saved(Image.fromarray(deep.astype(np.float32)), "TIFF"),
        "avif": saved(image, "AVIF", exif=exif),
        "jpeg2000": saved(image, "JPEG2000"),
        "ppm": saved(image, "PPM"),
        "qoi": qoi(image),
    }
