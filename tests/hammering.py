"""Many processes at one store: each saves, reads and prunes the same few entries."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pytest_editeval.needs import ImageRef
from pytest_editeval.results import Score
from pytest_editeval.scoring.store import Store

KEYS = 24
MAX_BYTES = 60_000


class Found(NamedTuple):
    """How many entries were read: as they were stored, otherwise, and not at all."""

    right: int
    wrong: int
    absent: int


def hammered(folder: Path, processes: int, seconds: float, seed: int) -> Found:
    """Have the processes do it, and add up."""
    # Not forked: a fork of a process with threads, as tests of models leave them, may end with a signal.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        counts = [*pool.map(_hammer, [folder] * processes, range(seed, seed + processes), [seconds] * processes)]
    return Found(*map(sum, zip(*counts, strict=True)))


def _hammer(folder: Path, seed: int, seconds: float) -> Found:
    rng, store = random.Random(seed), Store(folder, max_bytes=MAX_BYTES)
    counts = [0, 0, 0]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number = rng.randrange(KEYS)
        key = f"{number:02x}" * 16
        patches, cls = np.full((20, 16), number, np.float32), np.full(16, number, np.float32)
        score, ref = Score("emd", number / 7, None, {"filler": key * 20}), ImageRef(key, (number + 1, 1))
        match rng.randrange(9):
            case 0:
                store.save(key, patches, cls, key)
            case 1:
                store.save_score(key, score)
            case 2:
                store.save_image(key, ref)
            case 3 if rng.random() < 0.1:
                store.prune()
            case _:
                features = store.load(key)
                alike = features is not None and bool((features[0] == patches).all() and (features[1] == cls).all())
                counts[_kind(features, alike)] += 1
                counts[_kind(found := store.load_score(key), found is not None and found.score == score)] += 1
                counts[_kind(shown := store.load_image(key), shown == ref)] += 1
    return Found(*counts)


def _kind(value: object, alike: bool) -> int:
    return 2 if value is None else 0 if alike else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = hammered(Path(name), arguments.processes, arguments.seconds, arguments.seed)
    print(f"seed {arguments.seed}, {arguments.processes} processes, {arguments.seconds:g} s: {found}")
    sys.exit(found.wrong > 0)
