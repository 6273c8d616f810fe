"""Train the small DINOv3 network with DINOv3's method, and two terms more.

DINOv3's: a student and a teacher that follows it (EMA); global and local crops, whose CLS rows agree on prototypes
(DINO); masked patches, whose prototypes the student guesses (iBOT); assignments to prototypes balanced by
Sinkhorn-Knopp; KoLeo on the CLS rows of the first global crops; register tokens; small pictures first, a stage at
full resolution last; and the Gram matrix of the patches held to what it is in an anchor. Here the anchor is the same
place in its own colours and the other view is recoloured, because that is what the structure metric asks. Losses,
heads and masks are lightly's.

The two terms more: the same place is recognised in both views, patch by patch (InfoNCE), and CLS rows tell objects
apart (instance discrimination).

DINOv3: https://arxiv.org/abs/2508.10104; iBOT: https://arxiv.org/abs/2111.07832; KoLeo: https://arxiv.org/abs/1806.03198.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from lightly.loss.koleo_loss import KoLeoLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import random_block_mask, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

from common import Batch, Rng, Run, export, info_nce, normalise, options, recolour, to_tensor
from data import Pictures, reencode
from objects import pooled_contrast
from pairs import Pairs

PATCH = 16
REGISTERS = 4
WIDTH = 192
MARGIN = 4
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
# Wanted standard deviation of the patch-to-patch cosine: the structure score, 1 / (1 + 100 MSE),
# would sit near 0 for wider patterns and near 1 for narrower ones.
CONTRAST = 0.14
# Prototypes of CLS rows and of patches: few, because Sinkhorn-Knopp uses all of them evenly. With as many as a batch
# has rows, each row gets one of its own, which nothing can guess.
WHOLES, PARTS = 32, 64
LOCALS = 4
STUDENT_TEMPERATURE = 0.1
# Rows and prototypes have unit length: at 0.05, targets are so even that the network answers with the uniform one.
TEACHER_TEMPERATURE = 0.03
MOMENTUM = (0.992, 1.0)


@dataclass(frozen=True)
class Stage:
    """Up to which part of the run: side of global and local crops and of objects in pixels; scenes, objects."""

    until: float
    side: int
    local: int
    object_side: int
    scenes: int
    objects: int


# Small pictures first, where a step has more of them; objects at last in the size that they are judged in.
STAGES = (Stage(0.5, 128, 64, 160, 12, 48), Stage(1.01, 224, 96, 224, 5, 32))


def stage_at(part: float) -> Stage:
    return next(stage for stage in STAGES if part < stage.until)


def build_dinov3() -> DINOv3ViTModel:
    torch.manual_seed(0)
    return DINOv3ViTModel(
        DINOv3ViTConfig(
            image_size=224,
            patch_size=PATCH,
            hidden_size=WIDTH,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=3,
            num_register_tokens=REGISTERS,
            layerscale_value=1.0,
            pos_embed_rescale=None,
        )
    )


class Network(nn.Module):
    """The backbone, and what its rows are compared by: prototypes of CLS rows, and prototypes of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build_dinov3()
        self.whole = DINOProjectionHead(WIDTH, 512, 64, WHOLES)
        self.part = DINOProjectionHead(WIDTH, 512, 64, PARTS)
        # DINO keeps the prototypes as they are for an epoch, which is longer than this run: prototypes that may move
        # make room for an answer that is equally far from all.
        for head in (self.whole, self.part):
            head.last_layer.requires_grad_(False)

    def forward(self, x: Tensor, masked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CLS rows and patch rows; `masked` patches are not shown."""
        rows = self.net(pixel_values=normalise(x, MEAN, STD), bool_masked_pos=masked).last_hidden_state
        return rows[:, 0], rows[:, 1 + REGISTERS :]


def scenes(pictures: Pictures, rng: Rng, side: int, number: int) -> Tensor:
    canvases = []
    for _ in range(number):
        canvas = pictures.with_objects(rng, pictures.background(rng, side, side), 3, (0.2, 0.8), 0.5)
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


def local_views(x: Tensor, side: int, rng: Rng) -> Tensor:
    """Small crops in other colours, some blurred: `(LOCALS * scenes, 3, side, side)`, scene by scene within each."""
    crops = []
    for _ in range(LOCALS):
        for canvas in x:
            size = int(np.sqrt(rng.uniform(0.05, 0.35)) * canvas.shape[-1])
            top, left = rng.integers(0, canvas.shape[-1] - size + 1, 2)
            crop = canvas[None, :, top : top + size, left : left + size]
            crop = F.interpolate(crop, (side, side), mode="bilinear", antialias=True)[0]
            crops.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    views = recolour(torch.stack(crops), rng, rng.uniform(0, 0.6, len(crops)))
    for i in range(len(views)):
        if rng.random() < 0.3:
            blurred = cv2.GaussianBlur(views[i].permute(1, 2, 0).numpy(), (0, 0), rng.uniform(0.3, 1.5))
            views[i] = torch.from_numpy(blurred).permute(2, 0, 1)
    return views


class Views:
    """Two global views, their common places, local views, masks of half of the scenes, and two views of objects."""

    def __init__(self, pictures: Pictures, objects: Pairs, steps: int) -> None:
        self.pictures, self.objects, self.steps = pictures, objects, steps

    def __call__(self, rng: Rng, step: int) -> Batch:
        stage = stage_at(step / self.steps)
        grid = stage.side // PATCH
        canvas = scenes(self.pictures, rng, stage.side + MARGIN * PATCH, stage.scenes)
        one, two, place_one, place_two = two_views(canvas, grid, rng)
        two = recolour_part(two, rng)
        random.seed(int(rng.integers(1 << 31)))
        half = stage.scenes // 2
        # The scenes of the second half are masked, each view in its own way; the others serve the patch terms.
        masks = random_block_mask((2 * half, grid, grid), batch_mask_ratio=1.0, max_image_mask_ratio=0.5)
        views = [one, two, local_views(canvas, stage.local, rng)]
        *pair, groups = self.objects(rng, stage.objects)
        for objects in pair:
            objects = objects.float() / 255
            if stage.object_side != objects.shape[-1]:
                objects = F.interpolate(objects, (stage.object_side,) * 2, mode="bilinear", antialias=True)
            views.append(objects)
        return (
            *((v * 255).round().clamp(0, 255).to(torch.uint8) for v in views),
            place_one,
            place_two,
            masks.flatten(1),
            groups,
        )


def assigned(rows: Tensor) -> Tensor:
    """The teacher's prototypes, balanced over the batch by Sinkhorn-Knopp."""
    found: Tensor = sinkhorn(rows.float(), iterations=3, epsilon=TEACHER_TEMPERATURE).detach()
    return found


def guessed(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy between the student's prototypes and the teacher's."""
    return F.cross_entropy(logits.float() / STUDENT_TEMPERATURE, wanted)


def at(patches: Tensor, places: Tensor) -> Tensor:
    return patches.gather(1, places[..., None].expand(-1, -1, patches.shape[-1]))


def similarity(patches: Tensor) -> Tensor:
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(1, 2)


def self_distillation(
    student: Network, teacher: Network, views: Tensor, locals_: Tensor, masks: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The student's patches of the two global views, and DINOv3's losses."""
    number = len(views) // 2
    half = number // 2
    hidden = torch.zeros(len(views), masks.shape[1], dtype=torch.bool)
    hidden[number - half : number], hidden[2 * number - half :] = masks[:half], masks[half:]
    with torch.no_grad():
        teacher_cls, teacher_patches = teacher(views)
        whole = assigned(teacher.whole(teacher_cls)).chunk(2)
        part = assigned(teacher.part(teacher_patches[hidden]))
    cls, patches = student(views, hidden)
    own = student.whole(cls).chunk(2)
    small = student.whole(student(locals_)[0]).chunk(LOCALS)
    across = [guessed(own[0], whole[1]), guessed(own[1], whole[0])]
    across += [guessed(one, wanted) for one in small for wanted in whole]
    with torch.autocast("cpu", enabled=False):
        koleo = KoLeoLoss()(cls[:number].float())
    found = {
        "dino": torch.stack(across).mean(),
        "ibot": guessed(student.part(patches[hidden]), part),
        "koleo": koleo,
    }
    return patches, found


def main() -> None:
    args = options("Train the small DINOv3.", steps=1200, output="dinov3")
    torch.set_num_threads(args.threads)
    student = Network()
    if args.start:
        student.net.load_state_dict(DINOv3ViTModel.from_pretrained(args.start, dtype=torch.float32).state_dict())
    teacher = Network().requires_grad_(False)
    teacher.load_state_dict(student.state_dict())
    both = nn.ModuleDict({"student": student, "teacher": teacher})
    run = Run("dinov3", args, both, rate=1e-3, decay=0.05)
    views = Views(Pictures(args.work), Pairs(args.work), args.steps)
    for *pictures, place_one, place_two, masks, groups in run.batches(views):
        one, two, small, left, right = (batch.float() / 255 for batch in pictures)
        number, objects = len(one), len(left)
        with torch.autocast("cpu", torch.bfloat16):
            patches, parts = self_distillation(student, teacher, torch.cat([one, two]), small, masks)
            cls = student(torch.cat([left, right]))[0].float()
        patches = patches.float()
        shown = number - number // 2
        a = at(patches[:shown], place_one[:shown])
        b = at(patches[number : number + shown], place_two[:shown])
        # Centred, so that a direction common to all patches neither helps nor hurts.
        centre = torch.cat([a, b]).mean((0, 1))
        same, hit = info_nce((a - centre).flatten(0, 1), (b - centre).flatten(0, 1), 0.1)
        map_a, map_b = similarity(a), similarity(b)
        moved = (map_a - map_b).square().mean((1, 2))
        wide = map_a.var((1, 2)) + map_b.var((1, 2))
        gram = ((moved + 1e-4).log() - (wide + 1e-3).log()).mean()
        middle = cls.mean(0)
        contrast, right_share = info_nce(cls[:objects] - middle, cls[objects:] - middle, 0.1)
        order_loss, order = pooled_contrast(cls[:objects], cls[objects:], groups)
        deviation = wide.mean().div(2).sqrt()
        raw = F.normalize(cls[:objects], dim=-1)
        alike = ((raw @ raw.T).sum() - objects) / (objects * (objects - 1))
        span = (deviation / CONTRAST).log().square() + (alike - 0.4).square()
        distilled = parts["dino"] + parts["ibot"] + 0.1 * parts["koleo"]
        run.update(
            distilled + contrast + 2 * order_loss + 0.25 * same + 0.5 * gram + 0.5 * span,
            {name: part.item() for name, part in parts.items()}
            | {"contrast": contrast.item(), "right": right_share, "order": order, "same": same.item(), "hit": hit}
            | {"moved": moved.mean().item(), "deviation": deviation.item(), "alike": alike.item()},
        )
        update_momentum(student, teacher, cosine_schedule(run.step, run.steps, *MOMENTUM))
    export(teacher.net, DINOv3ViTImageProcessor(), args.output, old="model.", new="")
    print(f"{run.step} steps in {run.spent / 60:.1f} min, written to {args.output}")


if __name__ == "__main__":
    main()
