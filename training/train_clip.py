"""Train the small CLIP image tower without text.

Two aims share the network.  The CLS row tells objects apart (two views of one object attract, views
of others repel).  The patch rows stay close to what is visible: a linear readout recovers colour,
contrast and sharpness of the patch, and a ranking term asks that re-encoding a picture moves its
patches less than a change one can see.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from common import Rng, Run, export, info_nce, normalise, options, recolour, to_tensor
from data import Array, Pictures, paste, placement, reencode, warp

SIDE = 224
PATCH = 32
OBJECTS = 28
SCENES = 22
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
# Squared distance of two unrelated patches: keeps earth mover's distances in a readable range.
SPREAD = 40.0
READOUT = 4 * 4 * 3 + 6
# Six numbers on sharpness and grain against 48 on colour: without weight they would not count.
WEIGHTS = torch.cat([torch.ones(48), torch.full((6,), 2.0)])


def build_clip() -> CLIPVisionModel:
    torch.manual_seed(0)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=SIDE,
            patch_size=PATCH,
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=3,
            projection_dim=192,
        )
    )
    # Photographs are mostly low frequencies and training follows them: without a head start for
    # fine detail, noise and slight blur would hardly move the patches.
    filters = next(p for n, p in tower.named_parameters() if n.endswith("patch_embedding.weight"))
    detail = torch.randn_like(filters)
    detail = detail - F.avg_pool2d(detail, 5, 1, 2, count_include_pad=False)
    with torch.no_grad():
        filters.add_(2 * filters.std() * detail / detail.std())
    return tower


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = build_clip()
        self.readout = nn.Linear(192, READOUT)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.tower(pixel_values=normalise(x, MEAN, STD)).last_hidden_state
        return rows


def object_view(rgba: Array, rng: Rng) -> Array:
    """An object as a segmentation leaves it: on white, about centred, its mask not perfect."""
    size = SIDE * rng.uniform(0.6, 1.05)
    centre = (SIDE * (0.5 + rng.normal(0, 0.04)), SIDE * (0.5 + rng.normal(0, 0.04)))
    matrix = placement(rng, float(size), centre, 0.15, False)
    matrix[:, :2] *= np.exp(rng.normal(0, 0.06, (1, 2))).astype(np.float32)
    layer = warp(rgba, matrix, SIDE, SIDE)
    if rng.random() < 0.4:
        # A bite out of the mask, or a rim lost to erosion.
        if rng.random() < 0.5:
            where = rng.integers(0, SIDE, 2)
            cv2.circle(layer, (int(where[0]), int(where[1])), int(rng.integers(15, 50)), (0,) * 4, -1)
        else:
            layer = np.asarray(cv2.erode(layer, np.ones((5, 5), np.uint8)), np.uint8)
    canvas = paste(np.full((SIDE, SIDE, 3), 255, np.uint8), layer)
    kind = rng.random()
    if kind < 0.25:
        return np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    if kind < 0.6:
        return reencode(canvas, int(rng.integers(40, 95)))
    return canvas


def toned(rgba: Array, rng: Rng, strength: float) -> Array:
    """The object in other colours and light; the white around it is added later and stays."""
    tone = recolour(to_tensor([rgba[..., :3]]), rng, strength)[0].permute(1, 2, 0) * 255
    return np.dstack([tone.numpy().astype(np.uint8), rgba[..., 3:]])


def object_views(pictures: Pictures, rng: Rng, number: int = OBJECTS, calm: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two views each of some objects; the higher `calm`, the fewer strong recolourings."""
    first: list[Array] = []
    second: list[Array] = []
    for _ in range(number):
        strength = float(rng.uniform(0, 1) ** calm)
        if rng.random() < 0.3:
            # Boxes of photographs: pieces of the same rectangle belong together.
            photo = pictures.background(rng, 272, 272, texture=0.1)
            for views in (first, second):
                y, x = rng.integers(0, 48, 2)
                views.append(np.ascontiguousarray(photo[y : y + SIDE, x : x + SIDE]))
            opaque = np.full((SIDE, SIDE, 1), 255, np.uint8)
            second[-1] = toned(np.dstack([second[-1], opaque]), rng, strength)[..., :3]
        else:
            rgba = pictures.object(rng)
            first.append(object_view(rgba, rng))
            second.append(object_view(toned(rgba, rng, strength), rng))
    return to_tensor(first), to_tensor(second)


def decorate(pictures: Pictures, canvas: Array, rng: Rng) -> Array:
    for _ in range(rng.integers(0, 3)):
        size = float(rng.uniform(40, 160))
        centre = (rng.uniform(0, SIDE), rng.uniform(0, SIDE))
        matrix = placement(rng, size, centre, 0.4, bool(rng.random() < 0.5))
        canvas = paste(canvas, warp(pictures.object(rng), matrix, SIDE, SIDE))
    return canvas


def harmless(picture: Array, rng: Rng) -> Array:
    """What saving and loading does: JPEG, or a small change of size and back."""
    if rng.random() < 0.6:
        return reencode(picture, int(rng.integers(60, 97)))
    side = int(rng.integers(175, 222))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def leak(pictures: Pictures, picture: Array, rng: Rng) -> Array:
    """A change one can see, over the whole picture or a good part of it."""
    kind = rng.integers(7)
    if kind <= 1:
        out = recolour(to_tensor([picture]), rng, rng.uniform(0.1, 0.7))
        changed = (out[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    elif kind == 2:
        changed = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.2, 4)), np.uint8)
    elif kind <= 4:
        # Also coarse grain: that is what noise becomes when a larger picture is scaled down.
        side = SIDE if kind == 3 else SIDE // 2
        noise = rng.normal(0, rng.uniform(5, 30), (side, side, 3)).astype(np.float32)
        noise = np.asarray(cv2.resize(noise, (SIDE, SIDE)), np.float32)
        changed = (picture + noise).clip(0, 255).astype(np.uint8)
    elif kind == 5:
        dy, dx = rng.integers(6, 24, 2) * rng.choice([-1, 1], 2)
        changed = np.roll(picture, (int(dy), int(dx)), (0, 1))
    else:
        size = float(rng.uniform(50, 150))
        centre = (rng.uniform(30, SIDE - 30), rng.uniform(30, SIDE - 30))
        matrix = placement(rng, size, centre, 0.4, False)
        return paste(picture, warp(pictures.object(rng), matrix, SIDE, SIDE))
    if rng.random() < 0.3:
        part = picture.copy()
        y, x = rng.integers(0, SIDE // 2, 2)
        h, w = rng.integers(SIDE // 3, SIDE, 2)
        part[y : y + h, x : x + w] = changed[y : y + h, x : x + w]
        return part
    return np.ascontiguousarray(changed)


def scene_triples(pictures: Pictures, rng: Rng, number: int = SCENES) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Pictures; edited in a box and re-encoded; edited in a box and leaking.  And the free patches.

    The edit is there because the patches outside must not feel what happens inside the box.
    """
    plain, saved, leaked, free = [], [], [], []
    for _ in range(number):
        canvas = decorate(pictures, pictures.background(rng, SIDE, SIDE), rng)
        h, w = rng.integers(SIDE // 5, SIDE * 3 // 5, 2)
        y, x = rng.integers(SIDE - h), rng.integers(SIDE - w)
        box = (slice(y, y + h), slice(x, x + w))
        edited = canvas.copy()
        if rng.random() < 0.8:
            edited[box] = pictures.background(rng, int(h), int(w))
        outside = leak(pictures, edited, rng)
        outside[box] = edited[box]
        plain.append(canvas)
        saved.append(harmless(edited, rng))
        leaked.append(outside)
        cover = np.zeros((SIDE, SIDE), np.float32)
        cover[box] = 1
        small = cv2.resize(cover, (SIDE // PATCH,) * 2, interpolation=cv2.INTER_AREA)
        free.append(small.reshape(-1) < 0.25)
    triple = to_tensor(plain), to_tensor(saved), to_tensor(leaked)
    return triple, torch.from_numpy(np.stack(free)).float()


def patch_facts(x: Tensor) -> Tensor:
    """Per patch: a 4x4 colour thumbnail and log contrast at three scales, roughly unit sized."""
    thumb = F.unfold(F.avg_pool2d(x, PATCH // 4), 4, stride=4).transpose(1, 2) * 4 - 2
    grey = x.mean(1, keepdim=True)
    facts = [thumb]
    for step in (1, 2, 4):
        level = F.avg_pool2d(grey, step)
        for axis in (2, 3):
            edge = torch.diff(level, dim=axis).square()
            pad = (0, 0, 0, 1) if axis == 2 else (0, 1)
            power = F.avg_pool2d(F.pad(edge, pad), PATCH // step)
            facts.append(((power + 1e-5).log() + 7).flatten(2).transpose(1, 2) / 2)
    return torch.cat(facts, -1)


def main() -> None:
    args = options("Train the small CLIP image tower.", minutes=21, output="clip")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    model = Student()
    pictures = Pictures(args.work)
    run = Run("clip", args, model, rate=1e-3, decay=0.05)
    while run.part < 1 and not args.export_only:
        one, two = object_views(pictures, run.rng)
        scenes, free = scene_triples(pictures, run.rng)
        rows = model(torch.cat([one, two, *scenes]))
        n = len(one)
        cls = rows[: 2 * n, 0]
        contrast, right = info_nce(cls[:n], cls[n:], 0.1)
        patches = rows[2 * n :, 1:]
        facts = patch_facts(torch.cat(scenes))
        readout = F.mse_loss(model.readout(patches), facts)
        plain, saved, leaked = patches.chunk(3)
        truth = (facts * WEIGHTS).chunk(3)
        # Each patch counts by how much the leak changed what is visible in it.
        reach = (truth[0] - truth[2]).square().mean(-1) * free
        reach = reach / (reach.sum(1, keepdim=True) + 1e-4)
        near = ((plain - saved).square().sum(-1) * free).sum(1) / (free.sum(1) + 1e-4)
        far = ((plain - leaked).square().sum(-1) * reach).sum(1)
        rank = F.softplus(2 + (near + 0.02).log() - (far + 0.02).log()).mean()
        # Distances in the facts set the pattern, so that twice the change costs about twice.
        flat, wanted = plain.flatten(0, 1), truth[0].flatten(0, 1)
        order = torch.randperm(len(flat))
        got = (flat - flat[order]).square().sum(-1)
        wish = (wanted - wanted[order]).square().mean(-1)
        metric = F.smooth_l1_loss(got / SPREAD, wish / wish.mean())
        spread = got.mean()
        scale = (spread / SPREAD).log().square() + (cls.square().sum(-1).mean() / 50).log().square()
        run.update(
            contrast + 0.5 * readout + rank + 0.15 * metric + 0.1 * scale,
            {"contrast": contrast.item(), "right": right, "readout": readout.item()}
            | {"rank": rank.item(), "metric": metric.item(), "spread": spread.item()},
        )
    tower, name = model.tower, "vision_model."
    export(tower, CLIPImageProcessor(), args.output, old=name, new=name)
    print(f"{run.step} steps in {run.spent / 60:.1f} min, written to {args.output}")


if __name__ == "__main__":
    main()
