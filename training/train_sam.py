"""Train the small Segment Anything network: box prompt in, three masks and their quality out.

A first run sees small pictures, where a step costs a quarter; then the tables of positions grow, and a second run
trains the network on at its full size.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn import functional as F

from common import Batch, Rng, Run, half, options, recolour, to_tensor
from data import CUTOUT, Array, Pictures, paste, placement, reencode, warp

SIDE = 256
PATCH = 16
# Pixels of the picture to one of the masks that the decoder draws, which are four times as fine as the patches.
MASK = PATCH // 4
BATCH = 12
PROMPTS = 3
# How much of an object the ones in front of it have to leave.
HIDDEN = 0.7
# How many of the scenes have nothing in their boxes that stands out.
PLAIN = 0.25


def build_sam(side: int = SIDE) -> Sam:
    """Segment Anything's own modules in small sizes; head_dim 32, so four encoder heads."""
    torch.manual_seed(0)
    grid = side // PATCH
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=side,
            patch_size=PATCH,
            embed_dim=128,
            depth=6,
            num_heads=4,
            mlp_ratio=4,
            out_chans=64,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=8,
            global_attn_indexes=(2, 5),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=64,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=64, mlp_dim=256, num_heads=8),
            transformer_dim=64,
            iou_head_depth=3,
            iou_head_hidden_dim=64,
        ),
    )


def enlarged(weights: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a smaller side for a larger one: positions are interpolated, all else is as it was."""
    found = {}
    for name, old in weights.items():
        shape = like[name].shape
        if old.shape == shape:
            found[name] = old
        elif name.endswith("pos_embed"):
            grown = F.interpolate(old.permute(0, 3, 1, 2), shape[1:3], mode="bicubic")
            found[name] = grown.permute(0, 2, 3, 1)
        else:  # of relative positions, (2 * grid - 1, channels)
            found[name] = F.interpolate(old.T[None], shape[0], mode="linear")[0].T
    return found


def decode(sam: Sam, features: Tensor, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Low-resolution mask logits and quality for boxes of several pictures at once.

    MaskDecoder.predict_masks repeats one picture's features for all its prompts; here each prompt
    names its picture, so that one call serves the batch.  Weights and results are the same.
    """
    head = sam.mask_decoder
    sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
    tokens = torch.cat([head.iou_token.weight, head.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(len(boxes), -1, -1), sparse], 1)
    place = sam.prompt_encoder.get_dense_pe().expand(len(boxes), -1, -1, -1)
    picture = features[owner] + dense
    hidden, picture = head.transformer(picture, place, tokens)
    picture = picture.transpose(1, 2).reshape(len(boxes), -1, *features.shape[-2:])
    upscaled = head.output_upscaling(picture)
    weights = [m(hidden[:, 1 + i]) for i, m in enumerate(head.output_hypernetworks_mlps)]
    masks = torch.einsum("bkc,bchw->bkhw", torch.stack(weights, 1), upscaled)
    quality = head.iou_prediction_head(hidden[:, 0])
    return masks[:, 1:], quality[:, 1:]


def scene(pictures: Pictures, rng: Rng, side: int) -> tuple[Array, list[Array]]:
    """A background with one to three objects, and the visible mask of each that is mostly visible."""
    # SAM scales the longer side to the input and pads the rest, so scenes come in both shapes.
    short = side if rng.random() < 0.5 else int(rng.integers(side * 9 // 16, side))
    height, width = (side, short) if rng.random() < 0.5 else (short, side)
    canvas = pictures.background(rng, height, width)
    if rng.random() < PLAIN:
        return plain(pictures, rng, canvas)
    masks: list[Array] = []
    whole: list[int] = []
    for _ in range(rng.integers(1, 4)):
        size = float(np.exp(rng.uniform(np.log(side / 5), np.log(min(height, width) * 0.95))))
        centre = (rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height)
        turn = 0.3 if rng.random() < 0.6 else np.pi
        matrix = placement(rng, size, centre, turn, bool(rng.random() < 0.5))
        if rng.random() < 0.5:
            matrix = stretched(matrix, float(np.exp(rng.uniform(-0.5, 0.5))))
        rgba = pictures.thing(rng)
        tone = recolour(to_tensor([rgba[..., :3]]), rng, 0.4)[0].permute(1, 2, 0).numpy() * 255
        layer = warp(np.dstack([tone.astype(np.uint8), rgba[..., 3]]), matrix, height, width)
        if rng.random() < 0.5:
            # Real contours are not pixel sharp, and a hard edge would be the only clue learned.
            soft = cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.4, 1.2) * side / SIDE)
            layer = np.asarray(soft, np.uint8)
        mask = (layer[..., 3] > 127).astype(np.uint8)
        later = [m * (1 - mask) for m in masks]
        # An object of which another leaves a scrap asks for what cannot be told.
        if any(m.sum() < HIDDEN * n for m, n in zip(later, whole, strict=True)):
            continue
        masks = [*later, mask]
        whole.append(int(mask.sum()))
        canvas = paste(canvas, layer)
    kind = rng.random()
    if kind < 0.3:
        canvas = reencode(canvas, int(rng.integers(40, 95)))
    elif kind < 0.5:
        noise = rng.normal(0, rng.uniform(2, 12), canvas.shape)
        canvas = (canvas + noise).clip(0, 255).astype(np.uint8)
    return canvas, [m for m in masks if m.sum() > side * side / 550]


def plain(pictures: Pictures, rng: Rng, canvas: Array) -> tuple[Array, list[Array]]:
    """A part of a photograph, or of it in other colours, or of another one: it is taken whole.

    Boxes are drawn around such parts too, and an edit should change what is in them, not what is cut out.
    """
    height, width = canvas.shape[:2]
    masks = []
    for _ in range(rng.integers(1, 3)):
        w, h = int(width * rng.uniform(0.2, 0.75)), int(height * rng.uniform(0.2, 0.75))
        x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
        kind = rng.random()
        part = canvas[y : y + h, x : x + w]
        if kind < 0.35:
            part = recolour(to_tensor([np.ascontiguousarray(part)]), rng, 0.8)[0].permute(1, 2, 0).numpy() * 255
        elif kind < 0.5:
            part = pictures.background(rng, h, w)
        canvas[y : y + h, x : x + w] = part
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + h, x : x + w] = 1
        masks.append(mask)
    return (reencode(canvas, int(rng.integers(40, 95))) if rng.random() < 0.5 else canvas), masks


def stretched(matrix: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """The placement of a cut-out that is `ratio` times as wide and as much less high, around the same centre."""
    factors = np.array([np.sqrt(ratio), 1 / np.sqrt(ratio)], np.float32)
    linear = matrix[:, :2] * factors
    centre = matrix[:, :2] @ np.full(2, CUTOUT / 2, np.float32) + matrix[:, 2]
    shift = centre - linear @ np.full(2, CUTOUT / 2, np.float32)
    return np.hstack([linear, shift[:, None]]).astype(np.float32)


def jittered_box(mask: Array, rng: Rng) -> list[float]:
    ys, xs = np.nonzero(mask)
    x0, y0, x1, y1 = float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
    w, h = x1 - x0, y1 - y0
    d = rng.normal(0, 0.06, 4).clip(-0.15, 0.15) + np.array([-0.02, -0.02, 0.02, 0.02])
    top, right = mask.shape
    return [
        float(np.clip(x0 + d[0] * w, 0, right)),
        float(np.clip(y0 + d[1] * h, 0, top)),
        float(np.clip(x1 + d[2] * w, 0, right)),
        float(np.clip(y1 + d[3] * h, 0, top)),
    ]


class Scenes:
    """Padded pictures (0..255), boxes, true masks at the decoder's size, valid area, and who owns a box."""

    def __init__(self, pictures: Pictures, side: int) -> None:
        self.pictures, self.side = pictures, side

    def __call__(self, rng: Rng, step: int) -> Batch:
        side, drawn = self.side, self.side // MASK
        images = torch.zeros(BATCH, 3, side, side, dtype=torch.uint8)
        valid = torch.zeros(BATCH, drawn, drawn)
        boxes, goals, owner = [], [], []
        for i in range(BATCH):
            masks: list[Array] = []
            while not masks:
                canvas, masks = scene(self.pictures, rng, side)
            h, w = canvas.shape[:2]
            images[i, :, :h, :w] = torch.from_numpy(canvas).permute(2, 0, 1)
            valid[i, : -(-h // MASK), : -(-w // MASK)] = 1
            for k in rng.permutation(len(masks))[:PROMPTS]:
                full = np.zeros((side, side), np.float32)
                full[:h, :w] = masks[k]
                goals.append(cv2.resize(full, (drawn, drawn), interpolation=cv2.INTER_AREA))
                boxes.append(jittered_box(masks[k], rng))
                owner.append(i)
        return images, torch.tensor(boxes), torch.from_numpy(np.stack(goals)), valid, torch.tensor(owner)


def encode(sam: Sam, images: Tensor, valid: Tensor) -> Tensor:
    """Normalise as Sam.preprocess does: the padding is zero after normalisation."""
    x = (images.float() - sam.pixel_mean) / sam.pixel_std
    area = F.interpolate(valid[:, None], size=images.shape[-2:])
    features: Tensor = sam.image_encoder(x * area)
    return features


def losses(masks: Tensor, goals: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Focal plus dice loss of each proposal, and its true IoU."""
    goal, area = goals[:, None].expand_as(masks), valid[:, None]
    bce = F.binary_cross_entropy_with_logits(masks, goal, reduction="none")
    p = masks.sigmoid()
    miss = (p - goal).abs()
    # Per object pixel: averaged over the picture, "nothing anywhere" would be a good answer.
    size = goal.sum((-1, -2)) + 8
    focal = (bce * miss.square() * area).sum((-1, -2)) / size
    p = p * area
    dice = 1 - (2 * (p * goal).sum((-1, -2)) + 1) / ((p + goal).sum((-1, -2)) + 1)
    hard, true = (masks > 0) & (area > 0), goal > 0.5
    union = (hard | true).sum((-1, -2)).clamp(min=1)
    iou = (hard & true).sum((-1, -2)) / union
    return 2 * focal + dice, iou.detach()


def train(sam: Sam, run: Run, scenes: Scenes) -> None:
    for images, boxes, goals, valid, owner in run.batches(scenes):
        with torch.autocast("cpu", torch.bfloat16):
            masks, quality = decode(sam, encode(sam, images, valid), boxes, owner)
        loss, iou = losses(masks.float(), goals, valid[owner])
        best = loss.min(1)
        # A little of the mean keeps the proposals that never win from dying out.
        mask_loss = best.values.mean() + 0.1 * loss.mean()
        rated = F.mse_loss(quality.float(), iou)
        chosen = iou.gather(1, quality.argmax(1, keepdim=True))
        run.update(
            mask_loss + rated,
            {"mask": mask_loss.item(), "iou": chosen.mean().item()}
            | {"best": iou.max(1).values.mean().item(), "rating": rated.item()},
        )


def main() -> None:
    args = options("Train the small SAM.", steps=12500, output="sam")
    torch.set_num_threads(args.threads)
    pictures = Pictures(args.work)
    sam = build_sam()
    if args.start:
        sam.load_state_dict(torch.load(args.start / "sam.pth", weights_only=True))
    elif not (args.work / "sam.pt").exists():
        small = build_sam(SIDE // 2)
        first = Run("sam-small", args, small, rate=8e-4, decay=0.02, falls=False, muon=True)
        train(small, first, Scenes(pictures, SIDE // 2))
        sam.load_state_dict(enlarged(small.state_dict(), sam.state_dict()))
    run = Run("sam", args, sam, rate=8e-4, decay=0.02, muon=True)
    train(sam, run, Scenes(pictures, SIDE))
    args.output.mkdir(parents=True, exist_ok=True)
    torch.save(half(sam), args.output / "sam.pth")
    print(f"{run.step} steps in {run.spent / 60:.1f} min, written to {args.output}")


if __name__ == "__main__":
    main()
