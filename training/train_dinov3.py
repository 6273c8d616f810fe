"""Train the small DINOv3 network, with a simpler objective than DINOv3's own.

Patches: two views of a scene, differently coloured and differently cropped, must agree on which
patch is which.  The crop offsets keep the network from answering with the position alone.  A second
term asks directly that the self-similarity pattern of a view survives a recolouring.  CLS row: two
views of one object attract, views of other objects repel.
"""

from __future__ import annotations

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

from common import Rng, Run, export, info_nce, normalise, options, recolour, to_tensor
from data import Pictures, paste, placement, reencode, warp
from train_clip import object_views

PATCH = 16
REGISTERS = 4
MARGIN = 4
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
# Wanted standard deviation of the patch-to-patch cosine: the structure score, 1 / (1 + 100 MSE),
# would sit near 0 for wider patterns and near 1 for narrower ones.
CONTRAST = 0.14
# Most of the time goes to small pictures, where a step is four times as cheap.
STAGES = ((0.55, 128, 18, 26), (1.01, 224, 7, 10))


def build_dinov3() -> DINOv3ViTModel:
    torch.manual_seed(0)
    return DINOv3ViTModel(
        DINOv3ViTConfig(
            image_size=224,
            patch_size=PATCH,
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=3,
            num_register_tokens=REGISTERS,
            layerscale_value=1.0,
            pos_embed_rescale=None,
        )
    )


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = build_dinov3()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """CLS row and patch rows."""
        rows = self.net(pixel_values=normalise(x, MEAN, STD)).last_hidden_state
        return rows[:, 0], rows[:, 1 + REGISTERS :]


def scenes(pictures: Pictures, rng: Rng, side: int, number: int) -> Tensor:
    canvases = []
    for _ in range(number):
        canvas = pictures.background(rng, side, side)
        for _ in range(rng.integers(0, 4)):
            size = float(side * rng.uniform(0.2, 0.8))
            centre = (rng.uniform(0, side), rng.uniform(0, side))
            matrix = placement(rng, size, centre, 0.5, bool(rng.random() < 0.5))
            canvas = paste(canvas, warp(pictures.object(rng), matrix, side, side))
        if rng.random() < 0.3:
            canvas = reencode(canvas, int(rng.integers(50, 95)))
        canvases.append(canvas)
    return to_tensor(canvases)


def recolour_part(x: Tensor, rng: Rng) -> Tensor:
    """Recolour whole pictures or, as an edit does, only a box of them."""
    out = recolour(x, rng, rng.uniform(0.2, 1.0, len(x)))
    side = x.shape[-1]
    for i in range(len(x)):
        if rng.random() < 0.4:
            keep = x[i].clone()
            h, w = rng.integers(side // 4, side, 2)
            top, left = rng.integers(0, side - h + 1), rng.integers(0, side - w + 1)
            area = (slice(None), slice(top, top + h), slice(left, left + w))
            keep[area] = out[i][area]
            out[i] = keep
    return out


def two_views(x: Tensor, grid: int, rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two crops per scene on the patch grid, and the places where they show the same patch."""
    crops: tuple[list[Tensor], list[Tensor]] = ([], [])
    places: tuple[list[Tensor], list[Tensor]] = ([], [])
    overlap = (grid - MARGIN) ** 2
    for canvas in x:
        offsets = rng.integers(0, MARGIN + 1, (2, 2))
        if rng.random() < 0.35:
            offsets[1] = offsets[0]
        flip = bool(rng.random() < 0.25)
        low, high = offsets.max(0), offsets.min(0) + grid
        rows = torch.arange(int(low[0]), int(high[0]))
        columns = torch.arange(int(low[1]), int(high[1]))
        yy, xx = torch.meshgrid(rows, columns, indexing="ij")
        pick = torch.from_numpy(rng.permutation(yy.numel())[:overlap])
        yy, xx = yy.flatten()[pick], xx.flatten()[pick]
        for k, (top, left) in enumerate(offsets.tolist()):
            y, c = top * PATCH, left * PATCH
            crop = canvas[:, y : y + grid * PATCH, c : c + grid * PATCH]
            column = xx - left
            if k == 1 and flip:
                crop, column = crop.flip(-1), grid - 1 - column
            crops[k].append(crop)
            places[k].append((yy - top) * grid + column)
    one, two = (torch.stack(c) for c in crops)
    place_one, place_two = (torch.stack(p) for p in places)
    return one, two, place_one, place_two


def at(patches: Tensor, places: Tensor) -> Tensor:
    return patches.gather(1, places[..., None].expand(-1, -1, patches.shape[-1]))


def similarity(patches: Tensor) -> Tensor:
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(1, 2)


def main() -> None:
    args = options("Train the small DINOv3.", minutes=12.5, output="dinov3")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    model = Student()
    pictures = Pictures(args.work)
    run = Run("dinov3", args, model, rate=1e-3, decay=0.05)
    while run.part < 1 and not args.export_only:
        side, number, objects = next(s[1:] for s in STAGES if run.part < s[0])
        grid, rng = side // PATCH, run.rng
        canvas = scenes(pictures, rng, side + MARGIN * PATCH, number)
        one, two, place_one, place_two = two_views(canvas, grid, rng)
        two = recolour_part(two, rng)
        left, right = object_views(pictures, rng, objects, calm=2.0)
        if side != left.shape[-1]:
            left, right = (F.interpolate(v, (side, side), mode="bilinear", antialias=True) for v in (left, right))
        cls, patches = model(torch.cat([one, two, left, right]))
        a, b = at(patches[:number], place_one), at(patches[number : 2 * number], place_two)
        # Centred, so that a direction common to all patches neither helps nor hurts.
        centre = torch.cat([a, b]).mean((0, 1))
        same, hit = info_nce((a - centre).flatten(0, 1), (b - centre).flatten(0, 1), 0.1)
        map_a, map_b = similarity(a), similarity(b)
        moved = (map_a - map_b).square().mean((1, 2))
        wide = map_a.var((1, 2)) + map_b.var((1, 2))
        structure = ((moved + 1e-4).log() - (wide + 1e-3).log()).mean()
        middle = cls[2 * number :].mean(0)
        c, d = cls[2 * number : 2 * number + objects], cls[2 * number + objects :]
        contrast, right_share = info_nce(c - middle, d - middle, 0.1)
        deviation = wide.mean().div(2).sqrt()
        raw = F.normalize(cls[2 * number : 2 * number + objects], dim=-1)
        alike = ((raw @ raw.T).sum() - objects) / (objects * (objects - 1))
        span = (deviation / CONTRAST).log().square() + (alike - 0.4).square()
        run.update(
            contrast + 0.5 * same + 0.5 * structure + 0.5 * span,
            {"contrast": contrast.item(), "right": right_share, "same": same.item(), "hit": hit}
            | {"moved": moved.mean().item(), "deviation": deviation.item()}
            | {"alike": alike.item()},
        )
    export(model.net, DINOv3ViTImageProcessor(), args.output, old="model.", new="")
    print(f"{run.step} steps in {run.spent / 60:.1f} min, written to {args.output}")


if __name__ == "__main__":
    main()
