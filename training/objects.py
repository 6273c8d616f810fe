"""Two views of one object: what the CLS rows of CLIP and DINOv3 learn to tell from views of others.

Half of the objects are cut out by hand, on white. The others are where an edit meets them: laid on a picture, boxed
twice as people draw boxes, and cut out of both pictures by the small SAM, which never finds quite the same part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common import Rng, batch_of, recolour, to_tensor
from data import CUTOUT, Array, Pictures, paste, placement, reencode, textured, warp
from pytest_editeval.vision.objects import cut_out, pad_to_square
from train_sam import SIDE as SAM_SIDE
from train_sam import build_sam, decode, encode, jittered_box

SAM = Path(__file__).parents[1] / "pytest_editeval/embedded/sam/sam.pth"
SIDE = 224
# The part of the objects that are cut out where they are, and of these the parts of pictures that are no object.
IN_PLACE = 0.7
PARTS = 0.4
# The part of the groups of cut-outs that have a photograph's texture, as stamps and objects in pictures do.
TEXTURED = 0.4
# SAM knows the things that it was trained with. As much noise on its features, in parts of their deviation, makes what
# it cuts out of a picture and of an edit differ about as it does for things that it never saw.
DOUBT = 0.7
DOUBTS = 4
# How soft the comparison of cosines is.
SOFT = 0.06
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Placed:
    """An object in a picture, and a good edit of it there, each with the box that somebody drew."""

    source: Array
    edited: Array
    box: Box
    edited_box: Box


class Objects:
    """Two views each of some objects; objects of one `group` are alike, or were laid on one picture."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.cut = Cutter(SAM)

    def __call__(self, rng: Rng, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Views `(number, 3, 224, 224)`, twice, and groups `(number,)`."""
        first: list[Array] = []
        second: list[Array] = []
        groups: list[int] = []
        there = round(number * IN_PLACE)
        while len(groups) < there:
            found = self._in_place(rng, int(rng.integers(2, 5)))
            first += [one for one, _ in found]
            second += [other for _, other in found]
            groups += [len(groups)] * len(found)
        first, second, groups = first[:there], second[:there], groups[:there]
        while len(groups) < number:
            one, other = self._apart(rng, int(rng.integers(1, 5)))
            first += one
            second += other
            groups += [len(groups)] * len(one)
        return batch_of(first[:number]), batch_of(second[:number]), torch.tensor(groups[:number])

    def _apart(self, rng: Rng, number: int) -> tuple[list[Array], list[Array]]:
        """Neighbours in the list of cut-outs, of one folder and mostly of one kind; or pieces of a picture."""
        if rng.random() < 0.3:
            pieces = self.pictures.pieces(rng, number)
            return (
                [rectangle_view(piece, rng) for piece in pieces],
                [rectangle_view(toned(piece, rng, strength(rng)), rng) for piece in pieces],
            )
        one, other = [], []
        for rgba in of_one_kind(self.pictures, rng, number):
            size = rng.uniform(0.8, 1.05)
            one.append(object_view(rgba, rng, size))
            other.append(object_view(toned(rgba, rng, strength(rng)), rng, size))
        return one, other

    def _in_place(self, rng: Rng, number: int) -> list[tuple[Array, Array]]:
        """Objects that take each other's place in one picture, as SAM cuts them out; where it finds none, none."""
        side = int(rng.choice((256, 320, 384, 448)))
        canvas = self.pictures.background(rng, side, side, texture=0.08)
        make = parts if rng.random() < PARTS else things
        placed = make(self.pictures, rng, canvas, number)
        if not placed:
            return []
        sources = self.cut([one.source for one in placed], [one.box for one in placed], rng)
        edits = self.cut([one.edited for one in placed], [one.edited_box for one in placed], rng)
        return [(a, b) for a, b in zip(sources, edits, strict=True) if a is not None and b is not None]


class Cutter:
    """Cuts objects out with the small SAM, as the package does, but in bfloat16."""

    def __init__(self, weights: Path) -> None:
        self.sam = build_sam().eval().requires_grad_(False)
        self.sam.load_state_dict(torch.load(weights, weights_only=True))

    def __call__(self, pictures: list[Array], boxes: list[Box], rng: Rng) -> list[Array | None]:
        """Per square picture what is in its box, on white `(224, 224, 3)`; None where SAM finds nothing."""
        small = [
            np.asarray(cv2.resize(p, (SAM_SIDE, SAM_SIDE), interpolation=cv2.INTER_AREA), np.uint8) for p in pictures
        ]
        scale = torch.tensor([[SAM_SIDE / len(picture)] for picture in pictures])
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            features = encode(self.sam, batch_of(small), torch.ones(len(small), SAM_SIDE // 4, SAM_SIDE // 4))
            features = features + self._doubts(features, rng)
            masks, quality = decode(self.sam, features, torch.tensor(boxes) * scale, torch.arange(len(boxes)))
        best = masks[torch.arange(len(boxes)), quality.argmax(1)].float()
        found: list[Array | None] = []
        for picture, mask, box in zip(pictures, best, boxes, strict=True):
            shape = len(picture), len(picture)
            inside = (F.interpolate(mask[None, None], shape, mode="bilinear")[0, 0] > 0).numpy()
            crop = cut_out(picture, inside, box)
            found.append(None if crop is None else pad_to_square(crop, SIDE))
        return found

    @staticmethod
    def _doubts(features: Tensor, rng: Rng) -> Tensor:
        """Noise for `features` `(n, channels, h, w)`, in patches as large as parts of objects, more or less of it."""
        n, channels, *shape = features.shape
        coarse = torch.from_numpy(rng.standard_normal((n, channels, DOUBTS, DOUBTS), np.float32))
        much = torch.from_numpy(rng.uniform(0, DOUBT, (n, 1, 1, 1)).astype(np.float32))
        return much * features.std() * F.interpolate(coarse, shape, mode="bicubic")


def things(pictures: Pictures, rng: Rng, canvas: Array, number: int) -> list[Placed]:
    """Cut-outs that lie at one place of a picture, as large as each other."""
    side = len(canvas)
    size = side * float(rng.uniform(0.25, 0.85))
    centre = (rng.uniform(0.3, 0.7) * side, rng.uniform(0.3, 0.7) * side)
    matrix = placement(rng, size, centre, 0.3, bool(rng.random() < 0.5))
    if rng.random() < 0.25:
        chosen = rng.permutation(len(pictures.photographed))[:number]
        found = [np.array(pictures.photographed[index]) for index in chosen]
    else:
        found = of_one_kind(pictures, rng, number)
    soft = rng.random() < 0.5
    placed = []
    for rgba in found:
        layers = [warp(one, matrix, side, side) for one in (rgba, toned(rgba, rng, strength(rng)))]
        if soft:
            layers = [np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.8), np.uint8) for layer in layers]
        mask = (layers[0][..., 3] > 127).astype(np.uint8)
        if mask.sum() < 200:
            continue
        before, after = (paste(canvas, layer) for layer in layers)
        boxes = [tuple(round(edge) for edge in jittered_box(mask, rng)) for _ in range(2)]
        placed.append(Placed(before, saved(after, rng), *boxes))  # type: ignore[arg-type]
    return placed


def of_one_kind(pictures: Pictures, rng: Rng, number: int) -> list[Array]:
    """Different cut-outs, mostly of one kind; now and then of one photograph's texture too, which their shapes cut."""
    found = pictures.neighbours(rng, number)
    if rng.random() >= TEXTURED:
        return found
    photo = pictures.background(rng, CUTOUT, CUTOUT)
    for rgba in found:
        if rng.random() < 0.5:
            photo = pictures.background(rng, CUTOUT, CUTOUT)
        textured(rgba, photo, 1 - rng.uniform(0, 0.7))
    return found


def parts(pictures: Pictures, rng: Rng, canvas: Array, number: int) -> list[Placed]:
    """A box on a picture, and what may be in it: what is there, other parts of the picture, a part of another one."""
    side = len(canvas)
    h, w = (int(side * n) for n in rng.uniform(0.2, 0.55, 2))
    y, x = int(rng.integers(side - h)), int(rng.integers(side - w))
    placed = []
    for place in range(number):
        source = canvas.copy()
        if place == 1 and rng.random() < 0.5:
            source[y : y + h, x : x + w] = pictures.background(rng, h, w)
        elif place:
            other_h, other_w = (int(side * n) for n in rng.uniform(0.2, 0.55, 2))
            top, left = int(rng.integers(side - other_h)), int(rng.integers(side - other_w))
            part = canvas[top : top + other_h, left : left + other_w]
            source[y : y + h, x : x + w] = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
        edited = source.copy()
        inside = np.ascontiguousarray(source[y : y + h, x : x + w])
        edited[y : y + h, x : x + w] = toned(inside, rng, strength(rng))
        box = (float(x), float(y), float(x + w), float(y + h))
        placed.append(Placed(source, saved(edited, rng), box, box))
    return placed


def strength(rng: Rng) -> float:
    return float(rng.uniform(0.2, 1))


def object_view(rgba: Array, rng: Rng, size: float) -> Array:
    """An object as a segmentation leaves it: on white, cropped about to its box, its mask not perfect."""
    centre = (SIDE * (0.5 + rng.normal(0, 0.03)), SIDE * (0.5 + rng.normal(0, 0.03)))
    matrix = placement(rng, size * SIDE, centre, 0.04, False)
    matrix[:, :2] *= np.exp(rng.normal(0, 0.05, (1, 2))).astype(np.float32)
    layer = warp(rgba, matrix, SIDE, SIDE)
    kind = rng.random()
    if kind < 0.15:
        # A bite out of the mask, a rim lost, or a rim of what was behind.
        where = rng.integers(0, SIDE, 2)
        cv2.circle(layer, (int(where[0]), int(where[1])), int(rng.integers(15, 50)), (0,) * 4, -1)
    elif kind < 0.3:
        layer = np.asarray(cv2.erode(layer, np.ones((5, 5), np.uint8)), np.uint8)
    return saved(paste(np.full((SIDE, SIDE, 3), 255, np.uint8), layer), rng)


def rectangle_view(piece: Array, rng: Rng) -> Array:
    """A rectangle of a photograph, centred on a white square as the package does it."""
    return pad_to_square(saved(piece, rng), SIDE)


def toned(picture: Array, rng: Rng, strength: float) -> Array:
    """In other colours and light; an alpha channel stays, and so does the white put behind it later."""
    tone = recolour(to_tensor([picture[..., :3]]), rng, strength)[0].permute(1, 2, 0) * 255
    return np.dstack([tone.numpy().astype(np.uint8), picture[..., 3:]])


def saved(picture: Array, rng: Rng) -> Array:
    """What happens to every edit: made at another size, and saved as JPEG."""
    h, w = picture.shape[:2]
    if rng.random() < 0.85:
        part = rng.uniform(0.6, 0.97)
        small = cv2.resize(picture, (max(1, int(w * part)), max(1, int(h * part))), interpolation=cv2.INTER_AREA)
        method = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(small, (w, h), interpolation=method))
    return reencode(picture, int(rng.integers(55, 97))) if rng.random() < 0.9 else picture


def pooled_contrast(one: Tensor, two: Tensor, groups: Tensor) -> tuple[Tensor, float]:
    """How often two views of one object are less alike than views of two, pooled as the metric is.

    InfoNCE compares the objects of one row; a threshold is one for all of them. So the cosines of all pairs of a batch
    are compared with each other: a loss, and the share of pairs of one group that are in order.
    """
    cosines = F.normalize(one, dim=-1) @ F.normalize(two, dim=-1).T
    same = cosines.diagonal()[:, None]
    other = ~torch.eye(len(groups), dtype=torch.bool)
    alike = cosines[other & (groups[:, None] == groups[None])]
    wrong = [alike, cosines[other]] if len(alike) else [cosines[other]]
    loss = torch.stack([F.softplus((found[None] - same) / SOFT).mean() for found in wrong]).mean()
    return loss, float((same > wrong[0][None]).float().mean())
