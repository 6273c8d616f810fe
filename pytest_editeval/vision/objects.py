"""An object cut out of its image: background replaced, cropped to its box, padded to a square."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import clip_box
from pytest_editeval.pixel_limit import check_pixels
from pytest_editeval.registry import WHITE, Box, Color

Pixels = NDArray[np.uint8]


def cut_out(image: Pixels, mask: NDArray[np.bool_], box: Box, bg_color: Color = WHITE) -> Pixels | None:
    """The pixels of `image` `(H, W, 3)` under `mask` `(H, W)` on `bg_color`, cropped to the box clipped to the image.

    `None` when nothing of the mask lies in the box.
    """
    height, width = mask.shape
    x1, y1, x2, y2 = clip_box(box, (width, height))
    inside = mask[y1:y2, x1:x2]
    if not inside.any():
        return None
    crop = np.where(inside[:, :, None], image[y1:y2, x1:x2], np.array(bg_color, np.uint8))
    return crop.astype(np.uint8)


def pad_to_square(crop: Pixels, size: int, bg_color: Color = WHITE) -> Pixels:
    """Centre `crop` `(h, w, 3)` on a square of `bg_color` and resize it to `(size, size, 3)`.

    Area resampling when shrinking, cubic when growing. `ValueError` for an empty crop,
    `ImageError` for one so narrow that its square has more pixels than an image may have.
    """
    height, width = crop.shape[:2]
    if height == 0 or width == 0:
        raise ValueError(f"an empty crop ({width}×{height}) cannot be padded")
    side = max(height, width)
    check_pixels(side, side, f"the square around a {width}×{height} object")
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.array(bg_color, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = crop
    resampling = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=resampling), np.uint8)
