"""One way to open an image: as a viewer shows it, in 8-bit RGB, known by its content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from pytest_editeval.derived import Bands, Derived, Recipe
from pytest_editeval.digests import digest_of, own_code, version_of
from pytest_editeval.errors import ImageError
from pytest_editeval.locations import Location, display, locate, read_bytes, stamp
from pytest_editeval.needs import ImageRef
from pytest_editeval.pixel_limit import check_pixels, max_bytes
from pytest_editeval.vision.bands import Limits, decode_bands, percentile_limits
from pytest_editeval.vision.decoding import decode, is_tiff, to_rgb
from pytest_editeval.vision.derive import derive

ImageLike = Image.Image | NDArray[np.uint8] | str | Path | Derived

KEPT_OPEN = 4


class ImageRecords(Protocol):
    """What image files show, by a key, so that a known file need not be decoded to be recognised."""

    def load_image(self, key: str) -> ImageRef | None:
        """The content, if it is known."""

    def save_image(self, key: str, ref: ImageRef) -> None:
        """Remember the content."""


class LoadedImage:
    """An image known by its content (`ref`); `pixels` is it, or what decodes it when it is first asked for.

    `location` is where it was read, `None` for one that was in memory.
    """

    def __init__(
        self, ref: ImageRef, pixels: Image.Image | Callable[[], Image.Image], location: Location | None = None
    ) -> None:
        self.ref = ref
        self.location = location
        self._pixels = pixels
        self._lock = Lock()

    @property
    def pixels(self) -> Image.Image:
        """RGB, orientation applied. Raises `ImageError` when the file is not what it was."""
        with self._lock:
            if not isinstance(self._pixels, Image.Image):
                self._pixels = self._pixels()
            return self._pixels


class ImageFiles:
    """Opens images: a file is hashed once while it stays as it is, and decoded only when its content is not known.

    Threads may share it. `records` outlast the process.
    """

    def __init__(self, records: ImageRecords | None = None) -> None:
        self._records = records
        self._known: dict[tuple[object, ...], tuple[str, ImageRef]] = {}
        self._open: WeakValueDictionary[tuple[object, ...], LoadedImage] = WeakValueDictionary()
        self._recent: list[LoadedImage] = []  # the checks of a case come one after the other and share both images
        self._limits: dict[tuple[object, ...], Limits] = {}
        self._lock = Lock()

    def load(self, image: ImageLike) -> LoadedImage:
        """Open a path or URL, derive an image from one, or take an image that is already in memory.

        `ImageError` when that cannot be done.
        """
        if not isinstance(image, str | Path | Derived):
            return loaded(to_rgb(image))
        location = locate(image, Path()) if isinstance(image, str) else image
        key = (location, stamp(location))
        with self._lock:
            opened = self._open.get(key)
            known = self._known.get(key)
        if opened is None:
            opened = self._open_known(location, *known) if known else self._read(location, key)
            with self._lock:
                opened = self._open.setdefault(key, opened)
                self._recent = [opened, *(other for other in self._recent if other is not opened)][:KEPT_OPEN]
        return opened

    def _read(self, location: Location, key: tuple[object, ...]) -> LoadedImage:
        digest, pixels = self._origin(location)
        made_by = _made_by(location.recipe) if isinstance(location, Derived) else {}
        record = digest_of({"file": digest, **made_by, "pillow": PIL.__version__, "code": own_code()})
        ref = self._records.load_image(record) if self._records else None
        if ref is None:
            opened = loaded(pixels(), location)
            ref = opened.ref
            if self._records:
                self._records.save_image(record, ref)
        else:
            check_pixels(*ref.size, display(location))  # it may be of a run with another limit
            opened = self._open_known(location, digest, ref)
        if key[1] is not None:  # what has no time of change may change unseen
            with self._lock:
                self._known[key] = (digest, ref)
        return opened

    def _open_known(self, location: Location, digest: str, ref: ImageRef) -> LoadedImage:
        def load() -> Image.Image:
            now, pixels = self._origin(location)
            if now != digest:
                raise ImageError(f"{display(location)} was changed while the run was using it; run again")
            return pixels()

        return LoadedImage(ref, load, location)

    def _origin(self, location: Location) -> tuple[str, Callable[[], Image.Image]]:
        """The digest of what the pixels come from, a file's bytes or a derived image's base, and what makes them."""
        if isinstance(location, Derived) and isinstance(location.recipe, Bands):
            return self._of_bands(location, location.recipe)
        if isinstance(location, Derived):
            base = self.load(location.base)
            return base.ref.digest, partial(_derived, base, location)
        data = read_bytes(location, max_bytes())
        return hashlib.sha256(data).hexdigest(), partial(decode, data, display(location))

    def _of_bands(self, location: Derived, bands: Bands) -> tuple[str, Callable[[], Image.Image]]:
        """As `_origin`. The digest is of both files where the scale is another one's."""
        data, digest = self._bytes(location.base)
        scale = data, digest, location.base
        if bands.percentiles is not None and bands.reference is not None and is_tiff(data):
            scale = (*self._bytes(bands.reference), bands.reference)

        def limits() -> Limits:
            key = scale[1], bands.numbers, bands.percentiles
            if key not in self._limits:
                self._limits[key] = percentile_limits(scale[0], display(scale[2]), bands)
            return self._limits[key]

        together = digest if scale[1] == digest else f"{digest} scaled by {scale[1]}"
        return together, partial(decode_bands, data, display(location), bands, limits)

    def _bytes(self, location: Location) -> tuple[bytes, str]:
        if isinstance(location, Derived):
            raise ImageError(f"{display(location)}: bands are of a file, not of what is made of one")
        data = read_bytes(location, max_bytes())
        return data, hashlib.sha256(data).hexdigest()


_files = ImageFiles()


def load_image(image: ImageLike) -> LoadedImage:
    """As `ImageFiles.load`, without records."""
    return _files.load(image)


def loaded(pixels: Image.Image, location: Location | None = None) -> LoadedImage:
    """The image of RGB pixels that are in memory, and where they were read."""
    return LoadedImage(ImageRef(content_digest(pixels), pixels.size), pixels, location=location)


def rgb_pixels(image: ImageLike) -> Image.Image:
    """The pixels alone, for who does not need the digest."""
    if isinstance(image, Derived):
        return load_image(image).pixels
    if not isinstance(image, str | Path):
        return to_rgb(image)
    location = image if isinstance(image, Path) else locate(image, Path())
    return decode(read_bytes(location, max_bytes()), display(location))


def file_of(image: LoadedImage) -> bytes:
    """The image as a file: PPM, which is nothing but the pixels."""
    data = io.BytesIO()
    image.pixels.save(data, "PPM")
    return data.getvalue()


def _made_by(recipe: Recipe) -> dict[str, str]:
    """What an image is known by, beside the files that it is made of."""
    if not isinstance(recipe, Bands):
        return {"recipe": repr(recipe)}
    return {"recipe": repr(replace(recipe, reference=None)), "tifffile": version_of("tifffile")}


def _derived(base: LoadedImage, location: Derived) -> Image.Image:
    try:
        return derive(base.ref, base.pixels, location.recipe)
    except ImageError as error:
        name = display(location.base)
        raise error if name in str(error) else ImageError(f"cannot make {display(location)}: {error}") from None


def content_digest(image: Image.Image) -> str:
    """Hex digest of an RGB image's size and pixels: equal pictures have equal digests, whatever file they are in."""
    digest = hashlib.blake2b(f"{image.width}x{image.height}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()
