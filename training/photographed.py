"""Photographed objects for SAM: cut out of GCompris' photographs, and the fish of its aquarium.

Clip art has no grain, no highlights and no soft shadows; what is cut out of a photograph has.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

# Around each object x0, y0, x1, y1, in pixels of the photograph with a longer side of 320. Photographs in which
# GrabCut took more than the object, or less, are not here.
OBJECTS = {
    "scissors2": (8, 8, 318, 220),
    "multimeter2": (28, 5, 212, 316),
    "wrench": (55, 38, 300, 188),
    "screwDriver": (12, 30, 308, 208),
    "hammer5": (4, 10, 314, 184),
    "nailCutter": (18, 8, 284, 250),
    "measuringTape4": (50, 72, 246, 148),
    "measuringTape3": (54, 60, 286, 182),
    "windmill12": (80, 40, 230, 216),
    "windmill": (18, 4, 200, 300),
    "leaningTowerOfPisa": (36, 8, 140, 284),
    "fish1": (10, 6, 286, 192),
    "fish2": (50, 66, 290, 122),
    "fish3": (10, 70, 280, 162),
    "fish15": (72, 68, 255, 140),
    "fish23": (92, 82, 275, 122),
    "fish24": (62, 68, 252, 134),
    "fish25": (2, 2, 316, 262),
    "fish26": (60, 96, 286, 138),
    "fish27": (60, 62, 290, 134),
    "fish28": (34, 56, 236, 170),
    "volleyball": (4, 4, 316, 316),
    "buffetset": (50, 90, 268, 212),
    "bucket": (20, 20, 235, 308),
    "panda": (62, 12, 268, 186),
}
SIDE = 320
ROUNDS = 8
# The largest part of an object that GrabCut may have left out inside of it, in pixels of the doubled photograph.
HOLE = 800


def cut_out(photo: Array, box: tuple[int, int, int, int]) -> Array:
    """The object in a box of a photograph (RGB), as RGBA: OpenCV's GrabCut, its largest part, small holes filled."""
    scale = 2 * SIDE / max(photo.shape[:2])
    large = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    x0, y0, x1, y1 = (2 * edge for edge in box)
    mask = np.zeros(large.shape[:2], np.uint8)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(large[..., ::-1].copy(), mask, (x0, y0, x1 - x0, y1 - y0), *models, ROUNDS, cv2.GC_INIT_WITH_RECT)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    return np.dstack([large, filled(largest(cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3))))) * 255])


def largest(mask: NDArray[np.generic]) -> Array:
    """The largest connected part of a mask of zeros and ones."""
    _, labels, table, _ = cv2.connectedComponentsWithStats(np.asarray(mask, np.uint8))
    return np.asarray(labels == 1 + int(table[1:, cv2.CC_STAT_AREA].argmax()), np.uint8)


def filled(mask: Array) -> Array:
    """The mask without its small holes."""
    _, labels, table, _ = cv2.connectedComponentsWithStats(1 - mask)
    small = np.flatnonzero(table[:, cv2.CC_STAT_AREA] < HOLE)
    return np.asarray(mask | np.isin(labels, small), np.uint8)


def first_frame(sheet: Array) -> Array:
    """The first of the two pictures of a swimming fish that lie side by side in a strip (RGBA)."""
    sheet = sheet[:, : sheet.shape[1] // 2]
    shape = largest((sheet[..., 3] > 127).astype(np.uint8))
    return np.dstack([sheet[..., :3], np.minimum(sheet[..., 3], shape * 255)])
