"""How good are the embedded checkpoints?  Held-out pictures, with the same networks untrained and raw pixels beside.

Scores are those of the package's own pipes, as a run of pytest computes them. An AUC is the chance that a good edit
scores better than a bad one, pooled over all of a kind. Intervals (95 %) are of a bootstrap over the photographs or
objects, and so are those of the differences.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

import suites
from data import Array, Pictures, paste, placement, warp
from held_out import OPENCV, SIDE, Stamp, photographs, stamps
from pytest_editeval import CLIPPipe, DINOv3Pipe
from pytest_editeval.vision.features import Features
from pytest_editeval.vision.images import load_image
from pytest_editeval.vision.objects import pad_to_square
from pytest_editeval.vision.pipes import Pipe
from pytest_editeval.vision.segmenter import SAMSegmenter
from suites import GOOD, Pair
from train_sam import build_sam, jittered_box

SEEDS = (11, 22, 33)
DRAWS = 2000
AT_ONCE = 64
LIMIT = 16 << 20
SECONDS = 3.0
THUMBNAIL = 16

Floats = NDArray[np.float64]
Scored = dict[str, list[tuple[int, float]]]
"""Per kind of edit: cluster and score, the higher the better."""


# --- the networks, and what stands beside them ---------------------------------------------------


class RawPixels(Pipe):
    """No network: a patch is its pixels, the CLS feature a thumbnail of 16 x 16."""

    def encode(self, images: Sequence[Any]) -> list[Features]:
        pixels, patch = self._pixels(images), self.patch_size
        rows = torch.nn.functional.unfold(pixels, patch, stride=patch).transpose(1, 2)
        small = torch.nn.functional.interpolate(pixels, (THUMBNAIL, THUMBNAIL), mode="area").flatten(1)
        return [Features(one.numpy(), cls.numpy()) for one, cls in zip(rows, small, strict=True)]


class RawPixelsOfCLIP(RawPixels, CLIPPipe):
    pass


class RawPixelsOfDINOv3(RawPixels, DINOv3Pipe):
    pass


def untrained(folder: Path, output: Path) -> Path:
    """A checkpoint with the same configuration, and random weights."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    if config.model_type.startswith("clip"):
        model: Any = transformers.CLIPVisionModel(config)
    else:
        make: Any = transformers.AutoModel.from_config
        model = make(config)
    model.float().save_pretrained(output)
    (output / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    return output


def pipes(models: Path, work: Path) -> dict[str, tuple[Pipe, Pipe]]:
    """CLIP's and DINOv3's, trained, untrained and without a network; each has the trained SAM."""
    clip, dinov3 = models / "clip", models / "dinov3"
    sam = {"model_path": str(models / "sam" / "sam.pth")}
    random = untrained(clip, work / "clip"), untrained(dinov3, work / "dinov3")
    return {
        "trained": (CLIPPipe(model_path=str(clip), sam=sam), DINOv3Pipe(model_path=str(dinov3), sam=sam)),
        "untrained": (CLIPPipe(model_path=str(random[0]), sam=sam), DINOv3Pipe(model_path=str(random[1]), sam=sam)),
        "pixels": (
            RawPixelsOfCLIP(model_path=str(clip), sam=sam),
            RawPixelsOfDINOv3(model_path=str(dinov3), sam=sam),
        ),
    }


# --- scores --------------------------------------------------------------------------------------


def patch_scores(pipe: Pipe, metric: str, pairs: Iterable[Pair], sign: float) -> Scored:
    """Of an edit inside, or outside, its box."""
    mode: Literal["inner", "outer"] = "inner" if metric == "dinov3_structure_similarity" else "outer"
    found: Scored = defaultdict(list)
    left = iter(pairs)
    while part := list(islice(left, AT_ONCE)):
        images = [(load_image(pair.source), load_image(pair.edited)) for pair in part]
        requests = [
            pipe.request(metric, source.ref, edited.ref, [pair.box], mode)
            for pair, (source, edited) in zip(part, images, strict=True)
        ]
        for pair, score in zip(part, pipe.scorer.score(requests, chain(*images)), strict=True):
            assert score.value is not None, pair.kind
            found[pair.kind].append((pair.cluster, sign * score.value))
    return found


def cut_out_scores(pipe: Pipe, metric: str, pairs: Iterable[Pair]) -> Scored:
    """Of objects that SAM cuts out of both images, from end to end; what could not be scored is worse than all else."""
    found: Scored = defaultdict(list)
    left = iter(pairs)
    while part := list(islice(left, AT_ONCE)):
        images = [(load_image(pair.source), load_image(pair.edited)) for pair in part]
        requests = [
            pipe.request(metric, source.ref, edited.ref, [pair.box, pair.edited_box], None)
            for pair, (source, edited) in zip(part, images, strict=True)
        ]
        for pair, score in zip(part, pipe.scorer.score(requests, chain(*images)), strict=True):
            found[pair.kind].append((pair.cluster, -1.0 if score.value is None else score.value))
    return found


def object_scores(pipe: Pipe, pairs: Sequence[Pair]) -> Scored:
    """Cosine of the CLS features of two objects on white, or of two rectangles."""
    side = pipe.geometry.input_size
    sides = ([pad_to_square(getattr(pair, name), side) for pair in pairs] for name in ("source", "edited"))
    source, edited = (np.stack([one.cls for one in pipe.encode(images)]).astype(np.float64) for images in sides)
    norms = np.linalg.norm(source, axis=1) * np.linalg.norm(edited, axis=1)
    found: Scored = defaultdict(list)
    for pair, cosine in zip(pairs, (source * edited).sum(1) / norms, strict=True):
        found[pair.kind].append((pair.cluster, float(cosine)))
    return found


# --- AUC and its interval ------------------------------------------------------------------------


@dataclass(frozen=True)
class Auc:
    """The value on all clusters, and on each draw of them."""

    value: float
    draws: Floats

    def interval(self) -> str:
        return _interval(self.draws)


def auc(scored: Scored, kinds: Sequence[str], weights: Floats) -> Auc:
    """Good against these kinds; `weights` `(draws, clusters)` say how often a draw has each cluster."""
    good, bad = scored[GOOD], [entry for kind in kinds for entry in scored[kind]]
    clusters = weights.shape[1]
    right, pairs = np.zeros((clusters, clusters)), np.zeros((clusters, clusters))
    (where, better), (other, worse) = (map(np.array, zip(*side, strict=True)) for side in (good, bad))
    order = (better[:, None] > worse[None]) + 0.5 * (better[:, None] == worse[None])
    at = where[:, None].astype(int), np.broadcast_to(other[None].astype(int), order.shape)
    np.add.at(right, at, order)
    np.add.at(pairs, at, 1.0)
    drawn = np.einsum("dc,ck,dk->d", weights, right, weights) / np.einsum("dc,ck,dk->d", weights, pairs, weights)
    return Auc(float(order.mean()), drawn)


def bootstrap(scored: Scored) -> Floats:
    """How often each draw has each cluster, `(draws, clusters)`; a number that no pair has is never drawn."""
    there = np.unique([cluster for entries in scored.values() for cluster, _ in entries])
    counts = np.zeros((DRAWS, there.max() + 1))
    counts[:, there] = np.random.default_rng(0).multinomial(len(there), np.full(len(there), 1 / len(there)), DRAWS)
    return counts


def _interval(draws: Floats) -> str:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return f"{low:.3f} to {high:.3f}"


# --- tables --------------------------------------------------------------------------------------


def table(title: str, rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _count(scored: Scored) -> int:
    return sum(len(entries) for entries in scored.values())


def compared(
    title: str, states: Mapping[str, Scored], target: float, *, above: float | None = None, each: bool = False
) -> str:
    """The AUC of each state, over all bad edits and per kind.

    `above` is what training has to add to no training. With `each`, no kind may be told worse than by a network that
    was not trained, or by raw pixels: the interval of the difference has to reach 0.
    """
    kinds = [kind for kind in states["trained"] if kind != GOOD]
    weights = bootstrap(states["trained"])
    rows: list[list[str]] = []
    overall: dict[str, Auc] = {}
    worse: list[str] = []
    for name, chosen in (("all", kinds), *((kind, [kind]) for kind in kinds)):
        found = {state: auc(scored, chosen, weights) for state, scored in states.items()}
        own = found["trained"]
        overall = overall or found
        row = [name, f"**{own.value:.3f}** ({own.interval()})"]
        for state in ("untrained", "pixels"):
            more = own.value - found[state].value
            if name != "all" and float(np.nanpercentile(own.draws - found[state].draws, 97.5)) < 0:
                worse.append(f"{name} ({state})")
            row.append(f"{found[state].value:.3f}, {more:+.3f} ({_interval(own.draws - found[state].draws)})")
        rows.append(row)
    own, floor = overall["trained"], overall["untrained"]
    verdict = f"target {target:.2f}: {_met(own.value >= target)}"
    if above is not None:
        better = own.value - floor.value >= above and float(np.nanpercentile(own.draws - floor.draws, 2.5)) > 0
        verdict += f"; untrained + {above:.2f}, interval above 0: {_met(better)}"
    if each:
        verdict += f"; no kind below untrained or pixels: {_met(not worse)}" + "".join(f", {name}" for name in worse)
    head = f"{title}: {_count(states['trained'])} pairs, {int(weights.any(0).sum())} pictures; {verdict}"
    return table(head, rows, ["bad edits", "trained", "untrained, difference", "raw pixels, difference"])


def object_table(title: str, states: Mapping[str, Scored], targets: Mapping[str, float]) -> str:
    """One AUC per kind of negative."""
    weights = bootstrap(states["trained"])
    rows = []
    for kind, target in targets.items():
        found = {state: auc(scored, [kind], weights) for state, scored in states.items()}
        own = found["trained"]
        floors = [f"{found[state].value:.3f}" for state in ("untrained", "pixels")]
        rows.append(
            [kind, f"**{own.value:.3f}** ({own.interval()})", *floors, f"{target:.2f}, {_met(own.value >= target)}"]
        )
    columns = ["negatives", "trained", "untrained", "raw pixels", "target"]
    return table(f"{title}: {_count(states['trained'])} pairs", rows, columns)


# --- SAM, size and speed -------------------------------------------------------------------------


def sam_table(models: Path, work: Path, photos: Sequence[Array], objects: Sequence[Stamp], number: int) -> str:
    """IoU of the mask for a jittered box around a stamp on a photograph."""
    weights = work / "untrained.pth"
    torch.save(build_sam().state_dict(), weights)
    networks = {
        "trained": SAMSegmenter(model_path=str(models / "sam" / "sam.pth")),
        "untrained": SAMSegmenter(model_path=str(weights)),
    }
    found: dict[str, list[float]] = defaultdict(list)
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 5])
        for place, index in enumerate(rng.permutation(len(objects))[: number // len(SEEDS)]):
            size = float(SIDE * rng.uniform(0.3, 0.8))
            middle = (SIDE * rng.uniform(0.35, 0.65), SIDE * rng.uniform(0.35, 0.65))
            layer = warp(objects[index].rgba, placement(rng, size, middle, 0.2, False), SIDE, SIDE)
            true = layer[..., 3] > 127
            image = paste(photos[place % len(photos)], layer)
            x0, y0, x1, y1 = jittered_box(true.astype(np.uint8), rng)
            box = x0, y0, x1, y1
            masks = {name: sam.masks(sam.embed(Image.fromarray(image)), [box])[0] for name, sam in networks.items()}
            masks["ellipse"] = suites.inscribed_ellipse(box, SIDE) > 0
            masks["filled box"] = np.zeros_like(true)
            masks["filled box"][int(max(y0, 0)) : int(y1), int(max(x0, 0)) : int(x1)] = True
            for name, mask in masks.items():
                found[name].append(float((mask & true).sum() / max(1, (mask | true).sum())))
    rng = np.random.default_rng(0)
    count = len(found["trained"])
    draws = rng.integers(0, count, (DRAWS, count))
    rows = []
    for name, values in found.items():
        each = np.array(values)
        rows.append(
            [
                name,
                f"{each.mean():.3f} ({_interval(each[draws].mean(1))})",
                f"{100 * (each > 0.75).mean():.0f} %",
            ]
        )
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    clear = float(np.mean(np.array(found["trained"]) > 0.75))
    met = [
        ("0.70", mean["trained"] >= 0.70),
        ("ellipse + 0.10", mean["trained"] >= mean["ellipse"] + 0.10),
        ("45 % above 0.75", clear >= 0.45),
    ]
    verdict = ", ".join(f"{name} {_met(is_met)}" for name, is_met in met)
    title = f"SAM, stamps on photographs, jittered box: {count} objects; targets: {verdict}"
    return table(title, rows, ["mask", "mean IoU", "above 0.75"])


def first_case(models: Path, photo: Array) -> str:
    """Loading the three models and scoring one case on all metrics, when everything is imported."""
    import pytest_editeval.vision.metrics
    import pytest_editeval.vision.networks
    import pytest_editeval.vision.sam_models  # noqa: F401

    started = time.perf_counter()
    sam = {"model_path": str(models / "sam" / "sam.pth")}
    clip = CLIPPipe(model_path=str(models / "clip"), sam=sam)
    dinov3 = DINOv3Pipe(model_path=str(models / "dinov3"), sam=sam)
    edited, box = np.ascontiguousarray(photo[:, ::-1]), (90, 90, 290, 300)
    clip(photo, edited, [box], None, "emd")
    clip(photo, edited, [box], "outer", "region_emd")
    dinov3(photo, edited, [box], "inner", "dinov3_structure_similarity")
    clip(photo, edited, [box, box], None, "sam_clip_cls_sim")
    dinov3(photo, edited, [box, box], None, "sam_dino_cls_sim")
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in models.rglob("*") if path.is_file())
    rows = [
        [
            "size",
            f"{size / (1 << 20):.1f} MiB",
            f"16 MiB, {_met(size <= LIMIT)}",
        ],
        [
            "models loaded, one case on five metrics",
            f"{seconds:.2f} s",
            f"{SECONDS:.0f} s, {_met(seconds < SECONDS)}",
        ],
    ]
    return table("Size and speed", rows, ["", "", "target"])


# --- all of it -----------------------------------------------------------------------------------


def merged(parts: Iterable[Scored]) -> Scored:
    """The scores of several seeds."""
    found: Scored = defaultdict(list)
    for part in parts:
        for kind, entries in part.items():
            found[kind] += entries
    return found


def report(args: argparse.Namespace, work: Path) -> Iterable[str]:
    """The tables, one after the other."""
    photos = photographs(args.opencv)
    yield first_case(args.models, photos[0])
    objects = stamps()
    networks = pipes(args.models, work)
    pictures = Pictures(args.work, held_out=True)
    names = list(networks)

    def patches(metric: str, which: int, sign: float) -> dict[str, Scored]:
        made: dict[str, list[Scored]] = {name: [] for name in names}
        for seed in SEEDS:
            rng = np.random.default_rng([seed, which])
            if which:
                pairs = list(suites.destroyed_inside(photos, rng, args.boxes))
            else:
                pairs = list(suites.leaking_outside(photos, pictures, rng, args.boxes))
            for name in names:
                made[name].append(patch_scores(networks[name][which], metric, pairs, sign))
        return {name: merged(parts) for name, parts in made.items()}

    def cls(which: int, *, whole: bool) -> dict[str, Scored]:
        made: dict[str, list[Scored]] = {name: [] for name in names}
        for seed in SEEDS:
            rng = np.random.default_rng([seed, 7 + whole])
            chosen = suites.rectangles(photos, rng, args.boxes) if whole else suites.cut_out_objects(objects, rng, 80)
            pairs = list(chosen)
            for name in names:
                made[name].append(object_scores(networks[name][which], pairs))
        return {name: merged(parts) for name, parts in made.items()}

    def cut_out(which: int, metric: str, *, whole: bool) -> dict[str, Scored]:
        made: dict[str, list[Scored]] = {name: [] for name in names}
        for seed in SEEDS:
            rng = np.random.default_rng([seed, 9 + whole])
            half = args.boxes // 2
            chosen = (
                suites.rectangles_in_place(photos, rng, half)
                if whole
                else suites.objects_in_place(photos, objects, rng, 40)
            )
            pairs = list(chosen)
            for name in names:
                made[name].append(cut_out_scores(networks[name][which], metric, pairs))
        return {name: merged(parts) for name, parts in made.items()}

    yield compared("`region_emd`, edits that leak", patches("region_emd", 0, -1.0), 0.80, each=True)
    structure = patches("dinov3_structure_similarity", 1, 1.0)
    yield compared("`dinov3_structure_similarity`, destroyed inside the box", structure, 0.90, above=0.05)
    for which, metric in ((0, "sam_clip_cls_sim"), (1, "sam_dino_cls_sim")):
        wanted = {"random": 0.97, "same kind": 0.92}
        yield object_table(f"`{metric}`, cut-outs", cls(which, whole=False), wanted)
        both = {"random": 0.85, "same kind": 0.85}
        yield object_table(f"`{metric}`, rectangles of photographs", cls(which, whole=True), both)
        title = f"`{metric}` through SAM, from end to end"
        yield object_table(f"{title}, stamps on photographs", cut_out(which, metric, whole=False), wanted)
        yield object_table(f"{title}, boxes on photographs", cut_out(which, metric, whole=True), both)
    yield sam_table(args.models, work, photos, objects, args.objects)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="the cache of data.py")
    parser.add_argument("--models", type=Path, default=Path("pytest_editeval/embedded"))
    parser.add_argument("--opencv", type=Path, default=OPENCV, help="OpenCV's example pictures")
    parser.add_argument("--boxes", type=int, default=4, help="boxes for each photograph and seed")
    parser.add_argument("--objects", type=int, default=240, help="objects for SAM")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    quiet: Any = transformers.utils.logging.disable_progress_bar
    quiet()
    with tempfile.TemporaryDirectory() as work:
        for part in report(args, Path(work)):
            print(part, flush=True)


if __name__ == "__main__":
    main()
