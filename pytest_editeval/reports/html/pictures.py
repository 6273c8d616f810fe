"""The images of a page: opened once each, made small, and embedded in it or linked from it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from PIL import ExifTags, Image

from pytest_editeval.confinement import Confinement
from pytest_editeval.derived import Bands, Derived
from pytest_editeval.errors import EditEvalError, ImageError
from pytest_editeval.escapes import visible
from pytest_editeval.locations import is_url, read_bytes
from pytest_editeval.pixel_limit import max_bytes

Mode = Literal["embed", "link"]
Wanted = tuple[str, str | None, Bands | None, str | None]
"""Of an image its name and digest, its bands, and the name of the image that they are scaled by."""

SIDE = 512
"""Pixels along the longer side of a thumbnail, unless there are so many that they would pass `BUDGET`."""

LEAST_SIDE = 160
SAMPLE = 64
BUDGET = 40_000_000
"""Bytes of all thumbnails; a third more in the page, as base64."""

FULL = "full"
SHOWN_BY_BROWSERS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
HIDDEN = "…"
WORKERS = 4


@dataclass(frozen=True)
class Picture:
    """An image of the page: what it is called, its size in pixels, and `data` of type `mime`, or the `link` to it.

    `note` says why there is nothing to see, or that it is not what was scored.
    """

    name: str
    size: tuple[int, int] | None = None
    data: bytes = b""
    mime: str = ""
    link: str | None = None
    note: str | None = None

    def to_data(self) -> dict[str, Any]:
        """What the page's script knows of it; `data` stands in an element of its own."""
        return {
            "name": visible(self.name),
            "size": self.size,
            "embedded": self.mime if self.data else None,
            "link": self.link,
            "note": None if self.note is None else visible(self.note),
        }


def parse_side(text: str) -> int | None:
    """Pixels of `--editeval-report-size`, `None` for images as they are; `EditEvalError` says what is allowed."""
    if text == FULL:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) < LEAST_SIDE:
        raise EditEvalError(f"editeval_report_size is {FULL} or a number of pixels from {LEAST_SIDE}, not {text!r}")
    return int(text)


class Pictures:
    """Collects the images that a page shows. `folder` is the page's, which links are relative to.

    Relative names are looked for in the `roots`, the first one that has such a file. What is outside the `confinement`
    is not read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: Mode = "embed",
        side: int | None = SIDE,
        roots: Sequence[Path] = (Path(),),
        confinement: Confinement | None = None,
    ) -> None:
        from pytest_editeval.vision.images import ImageFiles

        self._folder = folder
        self._mode = mode
        self._side = side
        self._roots = roots
        self._confinement = confinement
        self._files = ImageFiles()
        self._wanted: dict[Wanted, int] = {}

    def add(
        self, name: str, digest: str | None, bands: Bands | None = None, scaled_by: str | None = None
    ) -> int | None:
        """The number of an image that had this digest when it was scored; `None` where there is no image.

        Of a TIFF file `bands` were looked at, with the percentiles of the file `scaled_by`.
        """
        wanted = name, digest, bands, scaled_by if bands is not None else None
        return self._wanted.setdefault(wanted, len(self._wanted)) if name else None

    def prepared(self, budget: int = BUDGET) -> list[Picture]:
        """All images by their number. One that cannot be had has a note in the place of pixels."""
        entries = list(self._wanted)
        with ThreadPoolExecutor(WORKERS) as pool:  # Pillow decodes and encodes without holding the interpreter
            if self._side is None:
                return list(pool.map(partial(self._picture, None), entries))
            sample = entries[:: max(1, len(entries) // SAMPLE)]
            sizes = [len(one.data) for one in pool.map(partial(self._picture, self._side), sample)]
            side = _affordable(self._side, sum(sizes) * len(entries) // max(1, len(sizes)), budget)
            pictures = list(pool.map(partial(self._picture, side), entries))
            while side > LEAST_SIDE and (total := sum(len(picture.data) for picture in pictures)) > budget:
                side = _affordable(side, total, budget)
                pictures = list(pool.map(partial(_smaller, side), pictures))
        return pictures

    def _picture(self, side: int | None, wanted: Wanted) -> Picture:
        name, digest, bands, scaled_by = wanted
        if HIDDEN in name and is_url(name):
            return Picture(name, note="the address of this image has a part that is not written into results")
        try:
            location = name if is_url(name) else self._found(name)
            if self._confinement is not None and (refusal := self._confinement.refusal(location)):
                return Picture(name, note=refusal)
            opened = self._files.load(location if bands is None else self._of_bands(location, bands, scaled_by))
            pixels = opened.pixels
            note = None
            if digest is not None and opened.ref.digest != digest:
                note = "this image was changed since it was scored"
            if self._mode == "link" and isinstance(location, Path) and _is_shown_by_browsers(location):
                link = quote(Path(os.path.relpath(location, self._folder)).as_posix())
                return Picture(name, pixels.size, link=f"./{link}", note=note)
            return _embedded(name, location, pixels, note, side)
        except ImageError as error:
            return Picture(name, note=str(error))
        except (OSError, ValueError) as error:  # of an encoder, or of a path that no file system takes
            return Picture(name, note=f"cannot be shown: {error}")

    def _of_bands(self, location: Path | str, bands: Bands, scaled_by: str | None) -> Derived:
        if scaled_by is None or bands.percentiles is None:
            return Derived(location, bands)
        source = scaled_by if is_url(scaled_by) else self._found(scaled_by)
        if self._confinement is not None and (refusal := self._confinement.refusal(source)):
            raise ImageError(refusal)
        return Derived(location, bands.of_edits(source))

    def _found(self, name: str) -> Path:
        paths = [root / name for root in self._roots]
        return next((path for path in paths if path.is_file()), paths[0])


def _embedded(name: str, location: Path | str, pixels: Image.Image, note: str | None, side: int | None) -> Picture:
    if side is not None:
        return Picture(name, pixels.size, _webp(pixels, side), "image/webp", note=note)
    if isinstance(location, Path) and _is_shown_by_browsers(location):
        mime = SHOWN_BY_BROWSERS[location.suffix.lower()]
        return Picture(name, pixels.size, read_bytes(location, max_bytes()), mime, note=note)
    stream = io.BytesIO()
    pixels.save(stream, "PNG")
    return Picture(name, pixels.size, stream.getvalue(), "image/png", note=note)


def _is_shown_by_browsers(path: Path) -> bool:
    """Whether they show the file as `Picture.size` has it: all of them turn a JPEG by its EXIF tag, but not a WebP."""
    suffix = path.suffix.lower()
    if suffix not in SHOWN_BY_BROWSERS:
        return False
    if SHOWN_BY_BROWSERS[suffix] == "image/jpeg":
        return True
    with Image.open(path) as opened:
        return bool(opened.getexif().get(ExifTags.Base.Orientation, 1) == 1)


def _affordable(side: int, total: int, budget: int) -> int:
    """The side at which images that take `total` bytes at `side` take about 0.95 of the budget, if that is less.

    Their bytes grow with the power 1.6 of the side: fewer than the pixels do, whose neighbours are alike.
    """
    return side if total <= budget else max(LEAST_SIDE, int(side * (0.95 * budget / total) ** (1 / 1.6)))


def fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size of an image that was made smaller, in proportion, so that neither side is longer than `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _webp(pixels: Image.Image, side: int) -> bytes:
    stream = io.BytesIO()
    small = pixels.resize(fitting(pixels.size, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.save(stream, "WEBP", quality=82, method=2)
    return stream.getvalue()


def _smaller(side: int, picture: Picture) -> Picture:
    if not picture.data:
        return picture
    with Image.open(io.BytesIO(picture.data)) as pixels:
        return Picture(picture.name, picture.size, _webp(pixels, side), picture.mime, picture.link, picture.note)


def bodies(pictures: Sequence[Picture]) -> Iterator[tuple[int, Picture]]:
    """Those that are embedded, by their number."""
    return ((number, picture) for number, picture in enumerate(pictures) if picture.data)
