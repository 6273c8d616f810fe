"""Four edits of each of six sources on all metrics, against the reference's way of computing the same numbers.

The reference encodes both images at every call and runs SAM's encoder for every object of every metric. Here that is
the same pipes with a memory that forgets everything between calls; ours is one session's scorer. Same weights, images
and boxes, one process; the scores are asserted to be equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from pytest_editeval.config import load_profile
from pytest_editeval.registry import metrics
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.vision.features import FeatureMemory

SOURCES, EDITS, SIDE = 6, 4, 320
BOX = (80, 80, 240, 240)
PIPES = {"clip_pipe": "clip-pipe", "dinov3_pipe": "dino-v3-pipe"}


def picture(seed: int) -> Image.Image:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def suite() -> list[tuple[Image.Image, Image.Image]]:
    """Pairs of source and edited image."""
    pairs = []
    for source in range(SOURCES):
        image = picture(source)
        for edit in range(EDITS):
            edited = image.copy()
            edited.paste(picture(100 + source * EDITS + edit).crop(BOX), BOX[:2])
            pairs.append((image, edited))
    return pairs


def scorer(pool: PipePool) -> EditEval:
    """A session's scorer outside pytest."""

    def fixture(name: str) -> object:
        return pool.default_segmenter() if name == "sam_segmenter" else pool.default_pipe(PIPES[name])

    return EditEval(pool, fixture)


def timed(editeval: EditEval, before_each: Callable[[], None]) -> tuple[float, list[float | None]]:
    """Seconds for the whole suite, and its scores."""
    scores = []
    started = time.perf_counter()
    for source, edited in suite():
        for metric in metrics().values():
            before_each()
            coords = [BOX, BOX] if metric.inputs == "objects" else [BOX]
            scores.append(editeval.score(metric.name, source, edited, coords).value)
    return time.perf_counter() - started, scores


def main() -> None:
    """Print one table."""
    pool = PipePool(load_profile(None))
    warm_up = scorer(pool)
    for metric in metrics().values():
        warm_up.score(metric.name, picture(0), picture(1), [BOX, BOX])

    per_call, session = scorer(pool), scorer(pool)

    def forget() -> None:
        per_call.scorer.memory = FeatureMemory()

    slow, expected = timed(per_call, forget)
    fast, scores = timed(session, lambda: None)
    worst = max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(scores, expected, strict=True) if a and b)
    assert worst < 1e-4, worst
    print(f"scoring {SOURCES} sources x {EDITS} edits x {len(metrics())} metrics, embedded profile")
    print(f"  torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"  per call     {slow:6.2f} s   encoded {dict(per_call.scorer.encoded)}")
    print(f"  one session  {fast:6.2f} s   encoded {dict(session.scorer.encoded)}")
    print(f"  ratio        {slow / fast:6.2f}     largest relative difference of a score {worst:.1e}")


if __name__ == "__main__":
    main()
