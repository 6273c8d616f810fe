"""The edits that the benchmark asks about, good ones and bad ones, and the objects that it compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

import edits
from data import CUTOUT, Array, Pictures, Rng, paste, placement, warp
from edits import Box, Edit
from held_out import SIDE, Stamp
from train_sam import jittered_box

GOOD = "good"


@dataclass(frozen=True, eq=False)
class Pair:
    """An edit of a picture. `cluster` is the picture, or object: what is of one cluster is not independent."""

    cluster: int
    kind: str
    source: Array
    edited: Array
    box: Box = (0, 0, 0, 0)
    edited_box: Box = (0, 0, 0, 0)


def destroyed_inside(photos: Sequence[Array], rng: Rng, boxes: int) -> Iterator[Pair]:
    """Per box one edit that keeps the structure, and one for each way of destroying it."""
    for index, photo in enumerate(photos):
        wrong: dict[str, Edit] = {
            "flip": edits.flip,
            "shuffle": edits.shuffle,
            "shift": edits.shift,
            "warp": edits.swirl,
            "replace": edits.replaced_alike(_others(photos, index)),
        }
        for _ in range(boxes):
            box = edits.random_box(SIDE, rng, 0.12, 0.5)
            good = edits.inside(photo, box, edits.recoloured, rng)
            yield Pair(index, GOOD, photo, edits.saved(good, rng), box)
            for kind, edit in wrong.items():
                yield Pair(index, kind, photo, edits.saved(edits.inside(photo, box, edit, rng), rng), box)


def leaking_outside(photos: Sequence[Array], pictures: Pictures, rng: Rng, boxes: int) -> Iterator[Pair]:
    """Per box one edit that stays inside, and one for each way of leaking; the box is edited in all of them."""
    for index, photo in enumerate(photos):
        others = edits.replaced_by(_others(photos, index))
        leaks: dict[str, Edit] = {
            "colour": edits.hue,
            "blur": edits.blur,
            "noise": edits.noise,
            "object": edits.object_added(pictures),
            "shift": edits.shift,
            "background": others,
        }
        for _ in range(boxes):
            box = edits.random_box(SIDE, rng, 0.08, 0.35)
            wanted = edits.recoloured if rng.random() < 0.5 else others
            edited = edits.inside(photo, box, wanted, rng)
            yield Pair(index, GOOD, photo, edits.saved(edited, rng), box)
            for kind, edit in leaks.items():
                yield Pair(index, kind, photo, edits.saved(edits.outside(edited, box, edit, rng), rng), box)


def cut_out_objects(stamps: Sequence[Stamp], rng: Rng, number: int) -> Iterator[Pair]:
    """Stamps on white: each relit, recoloured and re-encoded, another of its kind, and any other."""
    kinds = np.array([stamp.kind for stamp in stamps])
    chosen = [index for index in rng.permutation(len(stamps)) if (kinds == kinds[index]).sum() > 1][:number]
    for index in chosen:
        stamp = stamps[index]
        own = on_white(stamp.rgba)
        toned = np.dstack([edits.recoloured(stamp.rgba[..., :3].copy(), rng), stamp.rgba[..., 3:]])
        yield Pair(int(index), GOOD, own, edits.saved(on_white(toned), rng))
        alike = rng.choice(np.flatnonzero((kinds == stamp.kind) & (np.arange(len(stamps)) != index)))
        other = rng.choice(np.flatnonzero(kinds != stamp.kind))
        yield Pair(int(index), "same kind", own, edits.saved(on_white(stamps[alike].rgba), rng))
        yield Pair(int(index), "random", own, edits.saved(on_white(stamps[other].rgba), rng))


def objects_in_place(photos: Sequence[Array], stamps: Sequence[Stamp], rng: Rng, number: int) -> Iterator[Pair]:
    """Stamps on photographs: each relit and recoloured where it is, another of its kind there, and any other.

    Boxes are those of the stamps, as a person draws them.
    """
    kinds = np.array([stamp.kind for stamp in stamps])
    chosen = [index for index in rng.permutation(len(stamps)) if (kinds == kinds[index]).sum() > 1][:number]
    for place, index in enumerate(chosen):
        photo, own = photos[place % len(photos)], stamps[index].rgba
        size = float(SIDE * rng.uniform(0.3, 0.8))
        middle = (SIDE * rng.uniform(0.35, 0.65), SIDE * rng.uniform(0.35, 0.65))
        matrix = placement(rng, size, middle, 0.2, False)
        source, box = _placed(photo, own, matrix, rng)
        alike = rng.choice(np.flatnonzero((kinds == kinds[index]) & (np.arange(len(stamps)) != index)))
        other = rng.choice(np.flatnonzero(kinds != kinds[index]))
        toned = np.dstack([edits.recoloured(own[..., :3].copy(), rng), own[..., 3:]])
        for kind, rgba in ((GOOD, toned), ("same kind", stamps[alike].rgba), ("random", stamps[other].rgba)):
            edited, edited_box = _placed(photo, rgba, matrix, rng)
            yield Pair(int(index), kind, source, edits.saved(edited, rng), box, edited_box)


def rectangles_in_place(photos: Sequence[Array], rng: Rng, boxes: int) -> Iterator[Pair]:
    """Boxes on photographs: each in other colours, with another part of the photograph in it, with one of another."""
    for index, photo in enumerate(photos):
        for _ in range(boxes):
            box = edits.random_box(SIDE, rng, 0.06, 0.25)
            apart = edits.random_box(SIDE, rng, 0.06, 0.25)
            while _overlap(box, apart) > 0.1:
                apart = edits.random_box(SIDE, rng, 0.06, 0.25)
            other = photos[int(rng.choice([i for i in range(len(photos)) if i != index]))]
            elsewhere = _cut(other, edits.random_box(SIDE, rng, 0.06, 0.25))
            good = edits.inside(photo, box, edits.recoloured, rng)
            for kind, edited in (
                (GOOD, good),
                ("same kind", _filled(photo, box, _cut(photo, apart))),
                ("random", _filled(photo, box, elsewhere)),
            ):
                yield Pair(index, kind, photo, edits.saved(edited, rng), box, box)


def rectangles(photos: Sequence[Array], rng: Rng, boxes: int) -> Iterator[Pair]:
    """Rectangles of photographs: each in other colours, another of the same photograph, one of another."""
    for index, photo in enumerate(photos):
        for _ in range(boxes):
            box = edits.random_box(SIDE, rng, 0.06, 0.25)
            own = _cut(photo, box)
            yield Pair(index, GOOD, own, edits.saved(edits.recoloured(own.copy(), rng), rng))
            apart = edits.random_box(SIDE, rng, 0.06, 0.25)
            while _overlap(box, apart) > 0.1:
                apart = edits.random_box(SIDE, rng, 0.06, 0.25)
            other = photos[int(rng.choice([i for i in range(len(photos)) if i != index]))]
            yield Pair(index, "same kind", own, edits.saved(_cut(photo, apart), rng))
            elsewhere = edits.random_box(SIDE, rng, 0.06, 0.25)
            yield Pair(index, "random", own, edits.saved(_cut(other, elsewhere), rng))


def on_white(rgba: Array) -> Array:
    layer = warp(rgba, np.array([[1, 0, 0], [0, 1, 0]], np.float32), CUTOUT, CUTOUT)
    return paste(np.full((CUTOUT, CUTOUT, 3), 255, np.uint8), layer)


def inscribed_ellipse(box: Sequence[float], side: int) -> Array:
    """What a mask that knows nothing but the box would be, `(side, side)` of 0 and 1."""
    x0, y0, x1, y1 = box
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, (((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0), 0), 1, -1)
    return mask


def _others(photos: Sequence[Array], index: int) -> list[Array]:
    return [photo for other, photo in enumerate(photos) if other != index]


def _placed(photo: Array, rgba: Array, matrix: NDArray[np.float32], rng: Rng) -> tuple[Array, Box]:
    """A stamp on a photograph, and a box drawn around it by hand."""
    layer = warp(rgba, matrix, SIDE, SIDE)
    x0, y0, x1, y1 = (round(edge) for edge in jittered_box((layer[..., 3] > 127).astype(np.uint8), rng))
    return paste(photo, layer), (x0, y0, x1, y1)


def _filled(photo: Array, box: Box, part: Array) -> Array:
    x0, y0, x1, y1 = box
    method = cv2.INTER_AREA if part.shape[0] > y1 - y0 else cv2.INTER_CUBIC
    out = photo.copy()
    out[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=method)
    return out


def _cut(photo: Array, box: Box) -> Array:
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(photo[y0:y1, x0:x1])


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)
