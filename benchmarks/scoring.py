"""Scoring a suite on all metrics: call by call as the reference does it, with pytest, and the networks alone.

Three timings on the same weights and images, in turn, without imports and loading. "Per call" opens and encodes both
images at every call and runs SAM's encoder for every object. "Floor" is bare forward passes over the distinct images,
their pixels decoded and preprocessed beforehand: no scoring can be faster on these networks in float32. "pytest" is a
whole session of the plugin on an empty store. The scores of the first and the last are held against each other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from segment_anything.modeling import Sam

import networks
from common import (
    METRICS,
    OBJECT_METRICS,
    Box,
    Edit,
    Inner,
    options,
    print_table,
    run_inside,
    spread,
    workplace,
    write_suite,
    write_warm_up_test,
)
from inside import count_images
from percall import Encoder, PerCall, squared

BATCHES = (1, 8, 16, 32)
TOLERANCE = 1e-3
# A global block of SAM's encoder holds its attention matrix about four times over.
ATTENTION_COPIES = 4
CPU_MEMORY = 8 << 30

Scores = dict[tuple[str, str], float | None]
Passes = dict[str, list[int]]


@dataclass(frozen=True)
class Expected:
    """How many images each network has to encode when none is encoded twice."""

    backbone: int
    sam: int


class Floor:
    """The distinct images as tensors on the device, and the forward passes over them."""

    def __init__(self, loaded: networks.Networks, suite: Sequence[Edit]) -> None:
        self.loaded = loaded
        per_call = PerCall(loaded)
        boxes: dict[Path, dict[Box, None]] = {}
        for edit in suite:
            boxes.setdefault(edit.source, {})[edit.box] = None
            boxes.setdefault(edit.edited, {})[edit.box] = None
        images = {path: Image.open(path).convert("RGB") for path in boxes}
        with torch.inference_mode():
            crops = [crop for path in boxes for crop in per_call.cut_out(images[path], *boxes[path])]
            found = [crop for crop in crops if crop is not None]
            self.pixels = {
                "CLIP": _pixels(per_call.clip, images.values(), found),
                "DINOv3": _pixels(per_call.dinov3, images.values(), found),
                "SAM": torch.cat([_sam_pixels(per_call, image) for image in images.values()]),
            }
        self.prompts = [self._prompt(per_call, images[path], list(boxes[path])) for path in boxes]
        self.expected = Expected(len(images) + len(found), len(images))
        self.missing = len(crops) - len(found)

    @torch.inference_mode()
    def seconds(self) -> tuple[float, dict[str, int]]:
        """The sum of the networks' best times, and the batch size that each was best with."""
        embeddings = self.loaded.sam.image_encoder(self.pixels["SAM"][:1]).expand(len(self.prompts), -1, -1, -1)
        total, batches = self._timed(lambda: self._decode(embeddings)), {}
        for name, network in (
            ("CLIP", lambda pixels: self.loaded.clip(pixel_values=pixels)),
            ("DINOv3", lambda pixels: self.loaded.dinov3(pixel_values=pixels)),
            ("SAM", self.loaded.sam.image_encoder),
        ):
            best, batches[name] = self._best(name, network)
            total += best
        return total, batches

    def _best(self, name: str, network: Callable[[torch.Tensor], Any]) -> tuple[float, int]:
        pixels, times = self.pixels[name], {}
        for size in sorted({min(size, len(pixels)) for size in BATCHES}):
            if name != "SAM" or size == 1 or size * attention_bytes(self.loaded.sam) < self._memory():
                times[size] = self._timed(lambda size=size: [network(part) for part in pixels.split(size)])
        best = min(times, key=times.__getitem__)
        return times[best], best

    def _decode(self, embeddings: torch.Tensor) -> None:
        sam = self.loaded.sam
        place = sam.prompt_encoder.get_dense_pe()
        for embedding, boxes in zip(embeddings, self.prompts, strict=True):
            sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
            sam.mask_decoder(embedding[None], place, sparse, dense, multimask_output=True)

    def _prompt(self, per_call: PerCall, image: Image.Image, boxes: Sequence[Box]) -> torch.Tensor:
        listed = torch.tensor(boxes, dtype=torch.float32, device=self.loaded.device)
        return per_call.predictor.transform.apply_boxes_torch(listed, image.size[::-1])

    def _timed(self, work: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.loaded.device.startswith("cuda"):
            torch.cuda.synchronize()

    def _memory(self) -> int:
        return torch.cuda.mem_get_info()[0] if self.loaded.device.startswith("cuda") else CPU_MEMORY


def attention_bytes(sam: Sam) -> int:
    """Memory that one image takes in a global block of SAM's encoder."""
    encoder = sam.image_encoder
    tokens = encoder.pos_embed.shape[1] ** 2
    heads = max(block.attn.num_heads for block in encoder.blocks)
    return heads * tokens**2 * 4 * ATTENTION_COPIES


def _pixels(encoder: Encoder, images: Any, crops: Sequence[Any]) -> torch.Tensor:
    squares = [squared(crop, encoder.input_size) for crop in crops]
    return torch.cat([encoder.pixels(image) for image in [*images, *squares]])


def _sam_pixels(per_call: PerCall, image: Image.Image) -> torch.Tensor:
    predictor = per_call.predictor
    resized = torch.as_tensor(predictor.transform.apply_image(np.array(image)), device=predictor.device)
    return predictor.model.preprocess(resized.permute(2, 0, 1)[None])


def per_call_round(per_call: PerCall, suite: Sequence[Edit]) -> tuple[float, Scores]:
    """Seconds for the whole suite, call by call, and its scores."""
    started = time.perf_counter()
    scores = {(edit.case, metric): per_call.score(metric, edit) for edit in suite for metric in METRICS}
    return time.perf_counter() - started, scores


def pytest_round(folder: Path, profile: networks.Profile, device: str, index: int) -> tuple[Inner, Scores]:
    """A session of the plugin on a new store, and its scores."""
    results = folder / f"scores{index}.jsonl"
    store = ["-o", f"cache_dir={folder / f'store{index}'}", "--editeval-cache", "readwrite"]
    settings = ["--editeval-device", device, "--editeval-results", results, *profile.arguments]
    inner = run_inside(folder, *store, *settings, folder / "test_warm_up.py", folder / "suite")
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    return inner, {(row["case"], row["metric"]): None if row["reason"] else row["score"] for row in rows}


def worst_difference(expected: Scores, found: Scores) -> float:
    """The largest relative difference; `AssertionError` beyond the tolerance, or where one of them has no score."""
    assert expected.keys() == found.keys(), "the checks are not the same"
    worst = 0.0
    for key, value in expected.items():
        other = found[key]
        assert (value is None) == (other is None), f"{key}: {value} per call, {other} with pytest"
        if value is not None and other is not None:
            worst = max(worst, abs(value - other) / max(abs(value), 1e-9))
    assert any(value is not None for value in expected.values()), "nothing was scored"
    assert worst < TOLERANCE, f"a score differs by {worst:.1e}"
    return worst


def images(passes: Passes) -> str:
    """Images and forward passes per network."""
    return ", ".join(f"{name} {sum(sizes)} in {len(sizes)}" for name, sizes in sorted(passes.items()))


@dataclass(frozen=True)
class Round:
    """The three timings, taken in turn."""

    per_call: float
    floor: float
    inner: Inner
    batches: dict[str, int]
    difference: float
    passes: Passes


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = options(__doc__, sources=6, edits=4, side=512, repeat=3)
    parser.add_argument("--profile", choices=networks.PROFILES, default="embedded")
    parser.add_argument("--one-box", action="store_true", help="all edits of a source change the same object")
    return parser.parse_args()


def rounds(folder: Path, asked: argparse.Namespace) -> tuple[list[Round], Floor]:
    """All timings, and the floor they were taken with."""
    suite = write_suite(folder / "suite", asked.sources, asked.edits, asked.side, one_box=asked.one_box)
    write_warm_up_test(folder)
    profile = networks.named(asked.profile, folder / "models")
    loaded = networks.load(profile, asked.device)
    floor, per_call = Floor(loaded, suite), PerCall(loaded)
    for metric in METRICS:
        if metric not in OBJECT_METRICS:  # SAM has run for the floor's objects, and is slow
            per_call.score(metric, suite[0])
    passes: Passes = {}
    count_images(passes)
    done = []
    for index in range(asked.repeat):
        for sizes in passes.values():
            sizes.clear()
        slow, expected = per_call_round(per_call, suite)
        seen = {name: list(sizes) for name, sizes in passes.items()}
        bare, batches = floor.seconds()
        inner, found = pytest_round(folder, profile, asked.device, index)
        done.append(Round(slow, bare, inner, batches, worst_difference(expected, found), seen))
    return done, floor


def report(done: Sequence[Round], floor: Floor, asked: argparse.Namespace) -> None:
    """Print the table."""
    last, distinct = done[-1], floor.expected
    encoded = f"CLIP {distinct.backbone}, DINOv3 {distinct.backbone}, SAM {distinct.sam}"
    batches = ", ".join(f"{name} {size}" for name, size in last.batches.items())
    rows = [
        ("per call", spread(each.per_call for each in done), images(last.passes)),
        ("pytest", spread(each.inner.seconds for each in done), images(last.inner.passes)),
        ("floor", spread(each.floor for each in done), f"distinct images: {encoded}; best batch: {batches}"),
        ("pytest, whole process", spread(each.inner.run.wall for each in done), "with imports, loading and warm-up"),
        ("per call / pytest", spread(each.per_call / each.inner.seconds for each in done), "round by round"),
        ("pytest / floor", spread(each.inner.seconds / each.floor for each in done), "round by round"),
    ]
    if floor.missing:
        rows.append(("objects without a mask", str(floor.missing), "not encoded in any of the three"))
    print_table(
        f"Scoring: {asked.sources} sources x {asked.edits} edits x {len(METRICS)} metrics at {asked.side} px, profile "
        f"{asked.profile}, {len(done)} rounds; largest relative difference of a score "
        f"{median(each.difference for each in done):.1e}",
        ("", "seconds or ratio", "images in forward passes"),
        rows,
        device=asked.device,
    )


def main() -> None:
    """Take the timings and print them."""
    asked = parsed()
    with workplace() as folder:
        report(*rounds(folder, asked), asked)


if __name__ == "__main__":
    main()
