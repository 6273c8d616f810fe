"""Train the small CLIP image tower without text.

Two aims share the network. The CLS row tells objects apart: two views of one object attract, views of others repel.
The patch rows describe what is visible, in proportions that make earth mover's distances useful: the mean colour of
the patch, and its detail through filters with a head start for what is fine. A ranking term asks that a good edit
costs less than a leak, whichever pictures they are of.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
import ot
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from common import Batch, Rng, Run, batch_of, export, info_nce, normalise, options
from data import Array, Pictures, paste, placement, reencode, warp
from objects import SIDE, pooled_contrast, saved, toned
from pairs import Pairs
from pytest_editeval.boxes import scale_box
from pytest_editeval.regions import paint, select_patches

PATCH = 32
OBJECTS = 64
SCENES = 8
NAMES = ("colour", "blur", "noise", "object", "shift", "background")
KINDS = len(NAMES)
LEAKS = 3
# Of how many batches before this one the costs are compared with, and how soft the comparison of logarithms is.
BEFORE = 12
SOFT = 0.25
# An added object is what patches tell worst, and counts as much more than the other kinds of leaks.
WEIGHTS = (1.0, 1.0, 1.0, 6.0, 1.0, 1.0)
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
WIDTH = 192
# A patch's description: brightness and two opponent colours of its mean, and how much they count; filters at full and
# at half resolution, and how far apart two patches are in the responses of each.
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.5, -1.5, 0.0], [0.75, 0.75, -1.5]]) / 3
OPPONENT = OPPONENT / OPPONENT.norm(dim=1, keepdim=True)
COLOURS = torch.tensor([1.0, 9.0, 9.0])
FINE, COARSE = 94, 95
FINE_APART, COARSE_APART = 30.0, 90.0
# How much detail counts in the filters that training begins with.
SHARP = 20.0


def build_clip() -> CLIPVisionModel:
    torch.manual_seed(0)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=SIDE,
            patch_size=PATCH,
            hidden_size=WIDTH,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=3,
            projection_dim=WIDTH,
        )
    )
    # Photographs are mostly low frequencies and training follows them: without a head start for fine detail, noise
    # and slight blur would hardly move the patches.
    weights = dict(tower.named_parameters())
    filters = next(p for name, p in weights.items() if name.endswith("patch_embedding.weight"))
    scale = next(p for name, p in weights.items() if name.endswith("pre_layrnorm.weight"))
    with torch.no_grad():
        filters[3 : 3 + FINE] += SHARP * filters.std() * detail(FINE, PATCH)
        coarse = F.interpolate(detail(COARSE, PATCH // 2), scale_factor=2)
        # They answer to more of a photograph than the fine ones, and would hide them in the normalisation.
        filters[3 + FINE :] = 0.4 * (filters[3 + FINE :] + SHARP * filters.std() * coarse)
        scale.fill_(((FINE_APART + COARSE_APART) / 2 / WIDTH) ** 0.5)
    return tower


def detail(number: int, side: int) -> Tensor:
    """Random filters `(number, 3, side, side)` without what is larger than five pixels, of unit deviation."""
    found = torch.randn(number, 3, side, side)
    found -= F.avg_pool2d(found, 5, 1, 2, count_include_pad=False)
    return found / found.std()


class Student(nn.Module):
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tower = build_clip()
        first = next(p for name, p in self.tower.named_parameters() if name.endswith("patch_embedding.weight"))
        self.register_buffer("filters", first.detach().clone())
        self.fine = self.coarse = 1.0

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.tower(pixel_values=normalise(x, MEAN, STD)).last_hidden_state
        return rows

    def description(self, x: Tensor) -> Tensor:
        """What the patch rows should be, `(n, 49, 192)`.

        Three numbers are the mean colour. The others are the responses of the filters that the training began with.
        Those of the fine ones are normalised over the patch: what is smooth shows its grain, and what is blurred loses
        most of it. Those of the coarse ones are the other way round, more than in proportion to their deviation (to the
        power of 1.5): what stands out from all of a picture, such as an object that was put there, has to be moved far.
        """
        colour = torch.einsum("kc,bchw->bkhw", OPPONENT, 4 * F.avg_pool2d(x, PATCH) - 2) * COLOURS[:, None, None]
        seen = F.conv2d(normalise(x, MEAN, STD), self.filters, stride=PATCH)[:, 3:]
        fine, coarse = (part - part.mean(1, keepdim=True) for part in torch.split(seen, [FINE, COARSE], 1))
        fine = fine / fine.std(1, keepdim=True).add(0.01)
        coarse = coarse * coarse.std(1, keepdim=True).add(0.01).sqrt()
        return torch.cat([colour, fine * self.fine, coarse * self.coarse], 1).flatten(2).transpose(1, 2)

    def calibrate(self, x: Tensor) -> None:
        """Scale the two kinds of responses so that patches of these pictures are as far apart as they should be."""
        self.fine = self.coarse = 1.0
        spread = self.description(x).flatten(0, 1).var(0)
        self.fine = float(FINE_APART / 2 / spread[3 : 3 + FINE].sum()) ** 0.5
        self.coarse = float(COARSE_APART / 2 / spread[3 + FINE :].sum()) ** 0.5


def leak(pictures: Pictures, picture: Array, kind: int, rng: Rng) -> Array:
    """A change one can see, over the whole of a square picture."""
    side = len(picture)
    if kind == 0:
        return toned(picture, rng, float(rng.uniform(0.3, 1)))
    if kind == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), side * rng.uniform(0.004, 0.018)), np.uint8)
    if kind == 2:
        noise = rng.normal(0, rng.uniform(8, 38), picture.shape)
        return (picture + noise).clip(0, 255).astype(np.uint8)
    if kind == 3:
        size = side * float(rng.uniform(0.2, 0.55))
        centre = (rng.uniform(0.1, 0.9) * side, rng.uniform(0.1, 0.9) * side)
        matrix = placement(rng, size, centre, 0.4, False)
        return paste(picture, warp(pictures.object(rng), matrix, side, side))
    if kind == 4:
        step = rng.uniform(0.03, 0.16, 2) * rng.choice([-1, 1], 2) * side
        move = np.array([[1, 0, step[0]], [0, 1, step[1]]], np.float32)
        border = cv2.BORDER_REFLECT if rng.random() < 0.7 else cv2.BORDER_WRAP
        return np.asarray(cv2.warpAffine(picture, move, (side, side), borderMode=border), np.uint8)
    return pictures.background(rng, side, side)


class Views:
    """Two views of objects; scenes, each plain, well edited in a box, and edited there with three leaks.

    The tensors: both views, and the groups of the objects `(OBJECTS,)`; plain, good and leaking scenes
    `(SCENES * (2 + LEAKS), 3, 224, 224)`, the free patches outside of the box `(SCENES, 49)`, and the kinds of leaks
    `(SCENES, LEAKS)`.
    """

    def __init__(self, pictures: Pictures, objects: Pairs) -> None:
        self.pictures, self.objects = pictures, objects

    def __call__(self, rng: Rng, step: int) -> Batch:
        one, two, groups = self.objects(rng, OBJECTS)
        rows: list[list[Array]] = []
        free, kinds = [], []
        for _ in range(SCENES):
            scene, outside, leaks = self._scene(rng)
            rows.append(scene)
            free.append(outside)
            kinds.append(leaks)
        scenes = batch_of([row[column] for column in range(2 + LEAKS) for row in rows])
        return one, two, groups, scenes, torch.from_numpy(np.stack(free)), torch.from_numpy(np.stack(kinds))

    def _scene(self, rng: Rng) -> tuple[list[Array], NDArray[np.bool_], NDArray[np.int64]]:
        side = int(rng.choice((224, 256, 320, 384, 448)))
        canvas = self.pictures.background(rng, side, side, texture=0.08)
        canvas = self.pictures.with_objects(rng, canvas, 1, (0.18, 0.7), 0.4)
        if rng.random() < 0.5:
            canvas = reencode(canvas, int(rng.integers(75, 98)))
        h, w = (int(n) for n in rng.integers(side // 4, side * 2 // 3, 2))
        y, x = int(rng.integers(side - h)), int(rng.integers(side - w))
        box = (slice(y, y + h), slice(x, x + w))
        edited = canvas.copy()
        if rng.random() < 0.5:
            edited[box] = toned(np.ascontiguousarray(canvas[box]), rng, float(rng.uniform(0.2, 1)))
        else:
            edited[box] = self.pictures.background(rng, h, w)
        rows = [fit(canvas), fit(saved(edited, rng))]
        kinds = rng.permutation(KINDS)[:LEAKS]
        for kind in kinds:
            outside = np.array(leak(self.pictures, edited, int(kind), rng))
            outside[box] = edited[box]
            rows.append(fit(saved(outside, rng)))
        scaled = scale_box((x, y, x + w, y + h), (side, side), (SIDE, SIDE))
        outer = select_patches(paint(SIDE, SIDE, [scaled], "outer"), PATCH, 0.1)
        return rows, outer.reshape(-1), kinds


def fit(picture: Array) -> Array:
    """As the image processor does it: bicubic, and smoothed where it shrinks."""
    image = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image)


class Pooled:
    """How often a good edit costs less than a leak, over this batch and some before it.

    The metric is pooled over pictures, and so is this: scenes are compared with each other, not only with their own
    leaks. The earth mover's plans come from POT, as the metric's do; given a plan, the cost is a mean of squared
    distances, and what is differentiated here.
    """

    def __init__(self) -> None:
        self.good: deque[Tensor] = deque(maxlen=BEFORE)
        self.bad: deque[tuple[Tensor, Tensor]] = deque(maxlen=BEFORE)

    def __call__(self, patches: Tensor, free: Tensor, kinds: Tensor) -> tuple[Tensor, list[float]]:
        plain, *edited = patches.chunk(2 + LEAKS)
        cost = torch.stack([self._cost(plain, one, free) for one in edited], 1).log()
        good, bad, kind = cost[:, 0], cost[:, 1:].flatten(), kinds.flatten()
        past_good = torch.cat([good.detach(), *self.good])
        past_bad = torch.cat([bad.detach(), *(b for b, _ in self.bad)])
        past_kind = torch.cat([kind, *(k for _, k in self.bad)])
        terms, rates = [], []
        for number in range(KINDS):
            mine, others = bad[kind == number], past_bad[past_kind == number]
            if len(mine):
                terms.append(WEIGHTS[number] * F.softplus((past_good[None] - mine[:, None]) / SOFT).mean())
            if len(others):
                terms.append(WEIGHTS[number] * F.softplus((good[None] - others[:, None]) / SOFT).mean())
                rates.append(float((past_good[None] < others[:, None]).float().mean()))
        self.good.append(good.detach())
        self.bad.append((bad.detach(), kind))
        return torch.stack(terms).mean() * SOFT, rates

    def state_dict(self) -> dict[str, Any]:
        return {"good": list(self.good), "bad": list(self.bad)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.good.extend(state["good"])
        self.bad.extend(state["bad"])

    @staticmethod
    def _cost(plain: Tensor, edited: Tensor, free: Tensor) -> Tensor:
        found = []
        for source, other, selected in zip(plain, edited, free, strict=True):
            kept = other[selected]
            squares = torch.cdist(source, kept, compute_mode="donot_use_mm_for_euclid_dist").square()
            plan = ot.emd([], [], squares.detach().double().numpy())
            found.append((squares * torch.from_numpy(plan).float()).sum())
        return torch.stack(found)


def main() -> None:
    args = options("Train the small CLIP image tower.", steps=3800, output="clip")
    torch.set_num_threads(args.threads)
    model = Student()
    if args.start:
        # The filters of the description stay those of the beginning.
        model.tower.load_state_dict(CLIPVisionModel.from_pretrained(args.start, dtype=torch.float32).state_dict())
    pooled = Pooled()
    run = Run("clip", args, model, rate=1e-3, decay=0.05, muon=True, memory=pooled)
    views = Views(Pictures(args.work), Pairs(args.work))
    model.calibrate(torch.cat([views(np.random.default_rng((args.seed, step)), step)[3] for step in range(4)]) / 255)
    for one, two, groups, scenes, free, kinds in run.batches(views):
        scenes = scenes.float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            rows = model(torch.cat([one.float() / 255, two.float() / 255, scenes])).float()
        cls, patches = rows[: 2 * OBJECTS, 0], rows[2 * OBJECTS :, 1:]
        contrast, right = info_nce(cls[:OBJECTS], cls[OBJECTS:], 0.07)
        alike, order = pooled_contrast(cls[:OBJECTS], cls[OBJECTS:], groups)
        rank, rates = pooled(patches, free, kinds)
        wanted = model.description(scenes)
        off = (patches - wanted).square().mean((0, 1))
        colour, seen = off[:3].sum(), off[3:].sum()
        scale = (cls.square().sum(-1).mean() / 50).log().square()
        run.update(
            contrast + 2 * alike + 0.04 * colour + 0.04 * seen + 14 * rank + 0.1 * scale,
            {"contrast": contrast.item(), "right": right, "alike": alike.item(), "order": order}
            | {"rank": rank.item()}
            | {"colour": colour.item(), "detail": seen.item()}
            | dict(zip((f"{name} leak" for name in NAMES), rates, strict=False)),
        )
    tower, name = model.tower, "vision_model."
    export(tower, CLIPImageProcessor(), args.output, old=name, new=name)
    print(f"{run.step} steps in {run.spent / 60:.1f} min, written to {args.output}")


if __name__ == "__main__":
    main()
