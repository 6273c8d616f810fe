"""Bands of a TIFF file -> 8-bit RGB, by a scale that the case states; tifffile is imported with the first file."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from threading import get_ident
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_editeval.derived import Bands
from pytest_editeval.errors import ImageError
from pytest_editeval.pixel_limit import OPTION, check_pixels, max_bytes
from pytest_editeval.vision.decoding import STRIP_PIXELS, TURNS, decode, is_tiff, one_line

ORIENTATION, NODATA = 274, 42113
COMPRESSION = re.compile(r"requires the 'imagecodecs' package")

_reading: set[int] = set()
"""Threads that read a file; what others have tifffile do is logged as ever."""

Limits = tuple[tuple[float, float], ...]
"""Of each band what becomes black, and what white."""


def decode_bands(data: bytes, name: str, bands: Bands, limits: Callable[[], Limits]) -> Image.Image:
    """RGB of the bands, or of a file of another format as it is; `limits` are asked for where values have to be scaled.

    Whatever is wrong with the file is an `ImageError` of one line.
    """
    if not is_tiff(data):
        return decode(data, name)
    values, turn = _read(data, name, bands.numbers)
    ends = limits() if bands.value_range is None else (bands.value_range,) * len(bands.numbers)
    height, width = values.shape[:2]
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        rgb[top : top + rows] = _eight_bits(values[top : top + rows], ends)
    image = Image.fromarray(rgb)
    return image if turn is None else image.transpose(turn)


def percentile_limits(data: bytes, name: str, bands: Bands) -> Limits:
    """What so many percent of the pixels of each band are at most; pixels without a value are not counted."""
    if bands.percentiles is None or not is_tiff(data):
        raise ImageError(f"{name} is no TIFF file, and the percentiles of a case are of its source's bands")
    values, _ = _read(data, name, bands.numbers)
    found = []
    for number, band in zip(bands.numbers, np.moveaxis(values, 2, 0), strict=True):
        known = band[~np.ma.getmaskarray(band) & np.isfinite(np.ma.getdata(band))]
        if known.size == 0:
            raise ImageError(f"{name}: band {number} has no pixel with a value")
        low, high = np.percentile(np.ma.getdata(known), bands.percentiles)
        found.append((float(low), float(high)))
    return tuple(found)


def _eight_bits(values: np.ma.MaskedArray[Any, Any], limits: Limits) -> NDArray[np.uint8]:
    """Values `(rows, columns, bands)` from black to white; what has no value is black, and so is all of a flat band."""
    low, high = (np.array(ends, np.float64) for ends in zip(*limits, strict=True))
    with np.errstate(all="ignore"):  # of values near the largest that there are
        span = np.where(high > low, high - low, np.inf)
        parts = np.nan_to_num((np.ma.getdata(values).astype(np.float64) - low) / span, nan=0.0)
    scaled = np.rint(np.clip(parts, 0, 1) * 255).astype(np.uint8)
    scaled[np.ma.getmaskarray(values)] = 0
    return scaled


def _read(
    data: bytes, name: str, numbers: tuple[int, ...]
) -> tuple[np.ma.MaskedArray[Any, Any], Image.Transpose | None]:
    """The bands `(rows, columns, bands)` of a file's first page, masked where it has no value, and how it is turned."""
    try:
        import tifffile
    except ImportError:
        raise ImageError(
            f"{name}: bands of a TIFF file are read by tifffile; pip install 'pytest-editeval[tiff]'"
        ) from None
    try:
        with _unlogged(), tifffile.TiffFile(io.BytesIO(data)) as file:
            page = cast(Any, file.pages[0])
            check_pixels(page.imagewidth, page.imagelength, name)
            _check_page(page, name, numbers, file.pages)
            values = _pixel_by_pixel(page, name)
            turn = TURNS.get(page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1)
            nodata = str(page.tags[NODATA].value) if NODATA in page.tags else ""
    except ImageError:
        raise
    except Exception as error:  # a damaged file raises nearly everything
        reason = one_line(error)
        if COMPRESSION.search(reason):
            reason = f"its compression is read by another package: pip install 'pytest-editeval[tiff]' ({reason})"
        raise ImageError(f"cannot read image {name}: {reason}") from None
    chosen = values[:, :, [number - 1 for number in numbers]]
    return np.ma.MaskedArray(chosen, _without_value(chosen, nodata)), turn


@contextmanager
def _unlogged() -> Iterator[None]:
    """tifffile logs each thing that is wrong with a damaged file; a check's one line says enough."""
    thread = get_ident()
    _reading.add(thread)
    logging.getLogger("tifffile").addFilter(_is_others)
    try:
        yield
    finally:
        _reading.discard(thread)


def _is_others(record: logging.LogRecord) -> bool:
    return record.thread not in _reading


def _pixel_by_pixel(page: Any, name: str) -> NDArray[Any]:
    """All bands of a page `(rows, columns, bands)`; `ImageError` where the file has not all of them."""
    parts = math.prod(page.chunked)
    if len(page.dataoffsets) != parts or len(page.databytecounts) != parts:
        raise ImageError(f"{name}: the file has {len(page.dataoffsets)} of {parts} parts of its picture")
    values = page.asarray(squeeze=False)  # (planes, depth, rows, columns, samples): bands are planes or samples
    if values.ndim != 5 or values.shape[1:4] != (1, page.imagelength, page.imagewidth):
        raise ImageError(f"{name}: a TIFF page of the shape {values.shape} is no picture with bands")
    values = np.moveaxis(values[:, 0], 0, -1).reshape(page.imagelength, page.imagewidth, -1)
    if values.shape[2] != page.samplesperpixel:
        raise ImageError(f"{name}: the file does not hold the bands that it says")
    return cast(NDArray[Any], values)


def _check_page(page: Any, name: str, numbers: tuple[int, ...], pages: Sized) -> None:
    if max(numbers) > page.samplesperpixel:
        count = page.samplesperpixel
        found = f"{count} band" if count == 1 else f"{count} bands"
        where = f" on the first of its {len(pages)} pages, which is the one that is read" if len(pages) > 1 else ""
        raise ImageError(f"{name} has {found}{where}, and band {max(numbers)} is asked for; bands are counted from 1")
    if page.dtype is None or page.dtype.kind not in "uif":
        raise ImageError(f"{name}: the values of its bands are {page.dtype}, not whole or floating-point numbers")
    needed = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    if needed > max_bytes():
        raise ImageError(
            f"{name}: its {page.samplesperpixel} bands take {needed:,} bytes, more than the {max_bytes():,} that "
            f"{OPTION} allows"
        )


def _without_value(values: NDArray[Any], nodata: str) -> Any:
    """Where a value stands for none, as GDAL writes it into a file."""
    try:
        return values == float(nodata.strip("\0 "))
    except ValueError:
        return np.ma.nomask
