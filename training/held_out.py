"""Pictures that are never trained on: photographs of libraries' examples, and photographic stamps.

Photographs: scikit-image's and scikit-learn's samples, and those of OpenCV's examples (Debian package opencv-doc,
or its files unpacked anywhere). Stamps: Debian package tuxpaint-stamps-default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data import Array, square_cutout

OPENCV = Path("/usr/share/doc/opencv-doc/examples/data")
STAMPS = Path("/usr/share/tuxpaint/stamps")
SIDE = 384
SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket")
SCIKIT_LEARN = ("china.jpg", "flower.jpg")
# In colour, of things, and not of one thing twice.
OPENCV_NAMES = (
    "HappyFish.jpg",
    "aloeL.jpg",
    "apple.jpg",
    "baboon.jpg",
    "basketball1.png",
    "board.jpg",
    "building.jpg",
    "butterfly.jpg",
    "ela_original.jpg",
    "fruits.jpg",
    "home.jpg",
    "leuvenA.jpg",
    "messi5.jpg",
    "orange.jpg",
    "rubberwhale1.png",
    "smarties.png",
    "squirrel_cls.jpg",
    "stuff.jpg",
)


@dataclass(frozen=True, eq=False)
class Stamp:
    """A photographic cut-out `(CUTOUT, CUTOUT, 4)`; `kind` is the folder it lies in, such as animals/birds."""

    kind: str
    rgba: Array


def photographs(opencv: Path = OPENCV) -> list[Array]:
    """Squares of `SIDE` pixels, the middle of each picture; `SystemExit` where OpenCV's are not installed."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = [np.asarray(getattr(data, name)()) for name in SCIKIT_IMAGE]
    found += [np.asarray(load_sample_image(name)) for name in SCIKIT_LEARN]
    for name in OPENCV_NAMES:
        if not (opencv / name).is_file():
            raise SystemExit(f"{opencv / name} is missing: apt install opencv-doc, or --opencv FOLDER")
        with Image.open(opencv / name) as picture:
            found.append(np.asarray(picture.convert("RGB")))
    return [_square(picture) for picture in found]


def stamps() -> list[Stamp]:
    """All photographic stamps; `SystemExit` where there are none."""
    found = []
    for path in sorted(STAMPS.rglob("*.png")):
        with Image.open(path) as picture:
            rgba = square_cutout(picture)
        if rgba is not None and _is_photographic(rgba):
            found.append(Stamp(path.parent.relative_to(STAMPS).as_posix(), rgba))
    if not found:
        raise SystemExit(f"no stamps in {STAMPS}: apt install tuxpaint-stamps-default")
    return found


def _is_photographic(rgba: Array) -> bool:
    """Drawn stamps have few colours."""
    colours = rgba[rgba[..., 3] > 127][:, :3] >> 3
    return len(np.unique(colours, axis=0)) > 0.08 * len(colours)


def _square(picture: Array) -> Array:
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = picture[top : top + side, left : left + side, :3]
    method = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=method), np.uint8)
