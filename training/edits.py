"""Good and bad edits of photographs for the evaluation, written apart from the training's own."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from data import Array, Pictures, Rng, paste, placement, reencode, warp

Box = tuple[int, int, int, int]
Edit = Callable[[Array, Rng], Array]


def random_box(side: int, rng: Rng, low: float, high: float) -> Box:
    """A box that covers between `low` and `high` of a square picture."""
    area = rng.uniform(low, high) * side * side
    aspect = np.exp(rng.uniform(-0.5, 0.5))
    w = int(min(np.sqrt(area * aspect), side * 0.95))
    h = int(min(np.sqrt(area / aspect), side * 0.95))
    x, y = int(rng.integers(side - w)), int(rng.integers(side - h))
    return x, y, x + w, y + h


def inside(picture: Array, box: Box, edit: Edit, rng: Rng) -> Array:
    """Apply an edit to the box only."""
    x0, y0, x1, y1 = box
    out = picture.copy()
    out[y0:y1, x0:x1] = edit(np.ascontiguousarray(picture[y0:y1, x0:x1]), rng)
    return out


def outside(picture: Array, box: Box, edit: Edit, rng: Rng) -> Array:
    """Apply an edit to everything but the box."""
    x0, y0, x1, y1 = box
    out = edit(picture, rng).copy()
    out[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
    return out


def jpeg(picture: Array, rng: Rng) -> Array:
    return reencode(picture, int(rng.integers(60, 96)))


def resize_and_back(picture: Array, rng: Rng) -> Array:
    h, w = picture.shape[:2]
    part = rng.uniform(0.7, 0.95)
    small = cv2.resize(picture, (int(w * part), int(h * part)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC))


def hue(picture: Array, rng: Rng) -> Array:
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.int32)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(20, 161)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.6, 1.3), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))


def tint(picture: Array, rng: Rng) -> Array:
    gain = np.exp(rng.normal(0, 0.15, 3))
    return (picture * gain).clip(0, 255).astype(np.uint8)


def retone(picture: Array, rng: Rng) -> Array:
    gamma = float(np.exp(rng.choice([-1, 1]) * rng.uniform(0.2, 0.5)))
    return np.asarray(255 * (picture / 255.0) ** gamma, np.uint8)


def grey(picture: Array, rng: Rng) -> Array:
    flat = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    mix = rng.uniform(0.5, 1)
    return (picture * (1 - mix) + flat * mix).astype(np.uint8)


def blur(picture: Array, rng: Rng) -> Array:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(2.5, 6)))


def noise(picture: Array, rng: Rng) -> Array:
    grain = rng.normal(0, rng.uniform(12, 35), picture.shape)
    return (picture + grain).clip(0, 255).astype(np.uint8)


def shift(picture: Array, rng: Rng) -> Array:
    h, w = picture.shape[:2]
    step = rng.uniform(0.05, 0.15, 2) * rng.choice([-1, 1], 2) * (w, h)
    move = np.array([[1, 0, step[0]], [0, 1, step[1]]], np.float32)
    return np.asarray(cv2.warpAffine(picture, move, (w, h), borderMode=cv2.BORDER_REFLECT))


def flip(picture: Array, rng: Rng) -> Array:
    return np.ascontiguousarray(picture[:, ::-1])


def shuffle(picture: Array, rng: Rng) -> Array:
    h, w = picture.shape[0] // 3 * 3, picture.shape[1] // 3 * 3
    tiles = picture[:h, :w].reshape(3, h // 3, 3, w // 3, 3).swapaxes(1, 2)
    mixed = tiles.reshape(9, h // 3, w // 3, 3)[rng.permutation(9)]
    out = picture.copy()
    out[:h, :w] = mixed.reshape(3, 3, h // 3, w // 3, 3).swapaxes(1, 2).reshape(h, w, 3)
    return out


def swirl(picture: Array, rng: Rng) -> Array:
    h, w = picture.shape[:2]
    field = rng.normal(0, 0.12 * min(h, w), (2, 4, 4)).astype(np.float32)
    dx, dy = (cv2.resize(f, (w, h), interpolation=cv2.INTER_CUBIC) for f in field)
    yy, xx = np.mgrid[:h, :w].astype(np.float32)
    return np.asarray(cv2.remap(picture, xx + dx, yy + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def replaced_by(others: list[Array]) -> Edit:
    """Put a piece of another photograph there."""

    def edit(picture: Array, rng: Rng) -> Array:
        h, w = picture.shape[:2]
        other = others[rng.integers(len(others))]
        scale = rng.uniform(0.5, 1)
        ph, pw = int(other.shape[0] * scale), int(other.shape[1] * scale)
        y, x = rng.integers(other.shape[0] - ph + 1), rng.integers(other.shape[1] - pw + 1)
        return np.asarray(cv2.resize(other[y : y + ph, x : x + pw], (w, h)))

    return edit


def object_added(pictures: Pictures) -> Edit:
    """Paste a held-out cut-out somewhere."""

    def edit(picture: Array, rng: Rng) -> Array:
        h, w = picture.shape[:2]
        size = float(min(h, w) * rng.uniform(0.25, 0.5))
        centre = (rng.uniform(0.15, 0.85) * w, rng.uniform(0.15, 0.85) * h)
        matrix = placement(rng, size, centre, 0.3, False)
        return paste(picture, warp(pictures.object(rng, blobs=0.0), matrix, h, w))

    return edit


def replaced_alike(others: list[Array]) -> Edit:
    """Put a piece of another photograph there, with this place's mean and spread in each channel."""
    replace = replaced_by(others)

    def edit(picture: Array, rng: Rng) -> Array:
        other = replace(picture, rng).astype(np.float32)
        wanted, found = picture.astype(np.float32), other - other.mean((0, 1))
        scale = wanted.std((0, 1)) / np.maximum(found.std((0, 1)), 1e-3)
        return np.asarray((found * scale + wanted.mean((0, 1))).clip(0, 255), np.uint8)

    return edit


def recoloured(picture: Array, rng: Rng) -> Array:
    """Another colour, and another tone: what a good edit does to an object that stays what it is."""
    colour = (hue, tint, grey)[rng.integers(3)]
    return retone(colour(picture, rng), rng)


def saved(picture: Array, rng: Rng) -> Array:
    """What happens to every edit: it is made at another size, and saved as JPEG."""
    return jpeg(resize_and_back(picture, rng), rng)
