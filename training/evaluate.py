"""Do the checkpoints point in the right direction?  Good against bad edits on held-out pictures.

The photographs are samples of scikit-image and scikit-learn, the objects are cut-outs held out from
training and, where the Debian package tuxpaint-stamps-default is installed, its stamps.  None of
them is ever trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ot
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor
from transformers import AutoImageProcessor, CLIPVisionModel, DINOv3ViTModel

import edits
from data import CUTOUT, Array, Pictures, Rng, paste, placement, square_cutout, warp
from train_dinov3 import build_dinov3
from train_sam import build_sam, jittered_box

Floats = NDArray[np.float64]
Encoder = Callable[[list[Array]], tuple[Floats, Floats]]
STAMPS = Path("/usr/share/tuxpaint/stamps")
SIDE = 384


def photographs() -> list[Array]:
    """Squares of 384 pixels."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    names = ("astronaut", "chelsea", "coffee", "rocket")
    found = [np.asarray(getattr(data, name)()) for name in names]
    found += [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    squares = []
    for picture in found:
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = picture[top : top + side, left : left + side, :3]
        small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        squares.append(np.asarray(small, np.uint8))
    return squares


def stamps(number: int) -> list[Array]:
    """Photographic stamps as square cut-outs; none if the package is missing."""
    paths = sorted(STAMPS.rglob("*.png"))
    found = []
    for path in paths[:: max(1, len(paths) // (2 * number))]:
        with Image.open(path) as picture:
            cutout = square_cutout(picture)
        if cutout is not None:
            found.append(cutout)
    return found[:number]


def encoder(model: Any, folder: Path, registers: int) -> Encoder:
    """CLS rows and patch rows of a list of pictures."""
    load: Any = AutoImageProcessor.from_pretrained
    processor = load(folder)
    model.eval()

    def encode(pictures: list[Array]) -> tuple[Floats, Floats]:
        rows = []
        for start in range(0, len(pictures), 16):
            pixels = processor(
                images=[Image.fromarray(p) for p in pictures[start : start + 16]],
                return_tensors="pt",
            )["pixel_values"]
            with torch.inference_mode():
                rows.append(model(pixel_values=pixels).last_hidden_state.double().numpy())
        stacked = np.concatenate(rows)
        return stacked[:, 0], stacked[:, 1 + registers :]

    return encode


def covered(box: edits.Box, grid: int, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Which patches of the grid lie mostly inside the box."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    small = cv2.resize(mask, (grid, grid), interpolation=cv2.INTER_AREA)
    return np.asarray(small.reshape(-1) > threshold)


def emd(a: Floats, b: Floats) -> float:
    cost = ((a[:, None] - b[None]) ** 2).sum(-1)
    return float(ot.emd2(np.full(len(a), 1 / len(a)), np.full(len(b), 1 / len(b)), cost))


def structure(a: Floats, b: Floats) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return float(1 / (1 + 100 * ((a @ a.T - b @ b.T) ** 2).mean()))


def auc(better: list[float], worse: list[float]) -> float:
    """Chance that a random pair is in the right order, ties counting half."""
    a, b = np.array(better)[:, None], np.array(worse)[None]
    return float((a > b).mean() + 0.5 * (a == b).mean())


Table = dict[str, list[float]]


def clip_region(encode: Encoder, pictures: Pictures, rounds: int) -> dict[str, Table]:
    """`region_emd` and `emd` of unedited areas: re-encoding against leaks, box edited in both."""
    photos = photographs()
    others = {i: edits.replaced_by([p for j, p in enumerate(photos) if j != i]) for i in range(6)}
    leaks: dict[str, edits.Edit] = {
        "colour": edits.hue,
        "tint": edits.tint,
        "blur": edits.blur,
        "noise": edits.noise,
        "object": edits.object_added(pictures),
        "shift": edits.shift,
    }
    rng = np.random.default_rng(1)
    tables: dict[str, Table] = {"region_emd": {}, "emd": {}}
    for index, photo in enumerate(photos):
        for _ in range(rounds):
            box = edits.random_box(SIDE, rng, 0.08, 0.35)
            wanted = edits.hue if rng.random() < 0.5 else others[index]
            edited = edits.inside(photo, box, wanted, rng)
            names, made = ["source"], [photo]
            for name, edit in (edits.HARMLESS | leaks).items():
                names.append(name)
                made.append(edits.outside(edited, box, edit, rng))
            _, patches = encode(made)
            free = ~covered(box, int(patches.shape[1] ** 0.5))
            for name, rows in zip(names[1:], patches[1:], strict=True):
                kind = ("good " if name in edits.HARMLESS else "bad ") + name
                value = -emd(patches[0][free], rows[free])
                tables["region_emd"].setdefault(kind, []).append(value)
                tables["emd"].setdefault(kind, []).append(-emd(patches[0], rows[free]))
    return tables


def dino_structure(encode: Encoder, rounds: int) -> Table:
    """Recolouring the box against moving or replacing what is in it."""
    photos = photographs()
    rng = np.random.default_rng(2)
    table: Table = {}
    for index, photo in enumerate(photos):
        wrong: dict[str, edits.Edit] = {
            "flip": edits.flip,
            "shuffle": edits.shuffle,
            "shift": edits.shift,
            "warp": edits.swirl,
            "replace": edits.replaced_by([p for j, p in enumerate(photos) if j != index]),
        }
        for _ in range(rounds):
            box = edits.random_box(SIDE, rng, 0.12, 0.5)
            made = [photo]
            names = ["source"]
            for name, edit in (edits.COLOURS | wrong).items():
                names.append(("good " if name in edits.COLOURS else "bad ") + name)
                made.append(edits.inside(photo, box, edit, rng))
            _, patches = encode(made)
            chosen = covered(box, int(patches.shape[1] ** 0.5))
            for name, rows in zip(names[1:], patches[1:], strict=True):
                table.setdefault(name, []).append(structure(patches[0][chosen], rows[chosen]))
    return table


def isolated(rgba: Array) -> Array:
    """A square cut-out on white at input size."""
    layer = warp(rgba, np.array([[1, 0, 0], [0, 1, 0]], np.float32), CUTOUT, CUTOUT)
    flat = paste(np.full((CUTOUT, CUTOUT, 3), 255, np.uint8), layer)
    return np.asarray(cv2.resize(flat, (224, 224), interpolation=cv2.INTER_CUBIC))


def photo_objects(rng: Rng, number: int) -> list[Array]:
    """Round and square pieces of the held-out photographs, standing for segmented things."""
    found = []
    for photo in photographs():
        for _ in range(number):
            x0, y0, x1, y1 = edits.random_box(SIDE, rng, 0.1, 0.4)
            crop = cv2.resize(photo[y0:y1, x0:x1], (CUTOUT, CUTOUT), interpolation=cv2.INTER_AREA)
            alpha = np.zeros((CUTOUT, CUTOUT), np.uint8)
            cv2.ellipse(
                alpha, ((CUTOUT / 2,) * 2, (CUTOUT - 4, CUTOUT * rng.uniform(0.6, 1)), 0), 255, -1
            )
            found.append(np.dstack([crop, alpha]))
    return found


def object_likeness(encode: Encoder, pictures: Pictures, number: int) -> dict[str, Table]:
    """The same object relit, recoloured, re-encoded or less well cut, against other objects."""
    rng = np.random.default_rng(3)
    drawn = [np.array(pictures.cutouts[n]) for n in rng.permutation(pictures.numbers)[:number]]
    sets = {"clip art": drawn, "photo pieces": photo_objects(rng, 8), "stamps": stamps(number)}
    tables: dict[str, Table] = {}
    for kind, cutouts in sets.items():
        if not cutouts:
            continue
        changes: dict[str, edits.Edit] = {**edits.COLOURS, "jpeg": edits.jpeg}
        reference, _ = encode([isolated(c) for c in cutouts])
        unit = reference / np.linalg.norm(reference, axis=1, keepdims=True)
        table: Table = {}
        for name, edit in changes.items():
            changed = [np.dstack([edit(c[..., :3].copy(), rng), c[..., 3:]]) for c in cutouts]
            rows, _ = encode([isolated(c) for c in changed])
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            table[f"good {name}"] = (unit * rows).sum(1).tolist()
        rough = []
        for c in cutouts:
            worse = c.copy()
            worse[..., 3] = cv2.erode(c[..., 3], np.ones((7, 7), np.uint8))
            x, y = rng.integers(0, CUTOUT, 2).tolist()
            cv2.circle(worse, (x, y), 18, (0, 0, 0, 0), -1)
            rough.append(isolated(worse))
        rows, _ = encode(rough)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        table["good rough mask"] = (unit * rows).sum(1).tolist()
        table["bad other object"] = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)].tolist()
        tables[kind] = table
    return tables


def sam_iou(sam: Any, pictures: Pictures, number: int) -> dict[str, list[float]]:
    """IoU of the best-rated mask for a jittered box around objects on held-out photographs."""
    rng = np.random.default_rng(4)
    photos = photographs()
    drawn = [np.array(pictures.cutouts[n]) for n in rng.permutation(pictures.numbers)[:number]]
    predictor = SamPredictor(sam)
    result: dict[str, list[float]] = {}
    for kind, cutouts in (("clip art", drawn), ("stamps", stamps(number))):
        for i, cutout in enumerate(cutouts):
            size = float(SIDE * rng.uniform(0.3, 0.8))
            middle = (SIDE * rng.uniform(0.35, 0.65), SIDE * rng.uniform(0.35, 0.65))
            matrix = placement(rng, size, middle, 0.2, False)
            layer = warp(cutout, matrix, SIDE, SIDE)
            true = layer[..., 3] > 127
            predictor.set_image(paste(photos[i % len(photos)], layer))
            box = np.array(jittered_box(true.astype(np.uint8), rng))
            masks, quality, _ = predictor.predict(box=box, multimask_output=True)
            mask = masks[quality.argmax()]
            iou = float((mask & true).sum() / max(1, (mask | true).sum()))
            result.setdefault(f"{kind}: IoU", []).append(iou)
            result.setdefault(f"{kind}: empty", []).append(float(not mask.any()))
            filled = np.zeros_like(true)
            x0, y0, x1, y1 = box.astype(int)
            filled[y0:y1, x0:x1] = True
            whole = float((filled & true).sum() / max(1, (filled | true).sum()))
            result.setdefault(f"{kind}: IoU of the box itself", []).append(whole)
    return result


def report(title: str, table: Table, sign: float = 1.0) -> str:
    """AUC over all pairs and per kind of edit, with the means.

    Where every kind of edit was made to the same cases, also the share of the comparisons within a
    case that come out right: pooled, a small edit in a large box is compared with the opposite.
    """
    good = [v for k, values in table.items() if k.startswith("good") for v in values]
    bad = [v for k, values in table.items() if k.startswith("bad") for v in values]
    kinds = []
    for name, values in table.items():
        own = f" auc {auc(good, values):.2f}" if name.startswith("bad") else ""
        kinds.append(f"{name} {sign * float(np.mean(values)):.3f}{own}")
    head = f"{title}: AUC {auc(good, bad):.3f}, mean good {sign * float(np.mean(good)):.3f}, "
    if len({len(values) for values in table.values()}) == 1:
        best = [np.array(v) for k, v in table.items() if k.startswith("good")]
        worst = [np.array(v) for k, v in table.items() if k.startswith("bad")]
        right = float(np.mean([(g > b).mean() for g in best for b in worst]))
        head += f"right within a case {right:.3f}, "
    return head + f"mean bad {sign * float(np.mean(bad)):.3f}\n    " + "; ".join(kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Good against bad edits, trained and untrained.")
    parser.add_argument("--work", type=Path, default=Path("build/training"))
    parser.add_argument("--models", type=Path, default=Path("pytest_editeval/embedded"))
    parser.add_argument("--rounds", type=int, default=12, help="boxes per photograph")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=["clip", "dinov3", "sam"])
    parser.add_argument("--no-untrained", action="store_true", help="skip the untrained networks")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    held_out = Pictures(args.work, held_out=True)
    states = ("trained",) if args.no_untrained else ("trained", "untrained")
    for state in states:
        if "clip" in args.only:
            folder = args.models / "clip"
            clip = CLIPVisionModel.from_pretrained(folder, dtype=torch.float32)
            torch.manual_seed(0)
            clip = clip if state == "trained" else CLIPVisionModel(clip.config)
            encode = encoder(clip, folder, 0)
            for name, table in clip_region(encode, held_out, args.rounds).items():
                print(report(f"{state} {name}", table, -1.0), flush=True)
            for name, table in object_likeness(encode, held_out, 60).items():
                print(report(f"{state} sam_clip_cls_sim, {name}", table), flush=True)
        if "dinov3" in args.only:
            folder = args.models / "dinov3"
            dino = DINOv3ViTModel.from_pretrained(folder, dtype=torch.float32)
            dino = dino if state == "trained" else build_dinov3()
            encode = encoder(dino, folder, 4)
            table = dino_structure(encode, args.rounds)
            print(report(f"{state} dinov3_structure_similarity", table), flush=True)
            for name, table in object_likeness(encode, held_out, 60).items():
                print(report(f"{state} sam_dino_cls_sim, {name}", table), flush=True)
        if "sam" in args.only:
            sam = build_sam()
            if state == "trained":
                sam.load_state_dict(torch.load(args.models / "sam" / "sam.pth", weights_only=True))
            for name, values in sam_iou(sam.float().eval(), held_out, 60).items():
                print(f"{state} SAM, {name}: mean {float(np.mean(values)):.3f}", flush=True)


if __name__ == "__main__":
    main()
