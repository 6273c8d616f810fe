"""Two views each of many objects, made once: CLIP and DINOv3 learn from the same ones, and see each some times.

To cut an object out with SAM takes as long as to learn from it. So the views are kept, and framed anew each time they
are seen, as a box that somebody else drew would frame them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from common import Rng, batch_of
from data import Array, Pictures
from objects import SIDE, Objects

VIEWS, GROUPS = "objects.npy", "objects-groups.npy"
CHUNK = 32


class Pairs:
    """Reads what `build` wrote; as `Objects`, two views each of some objects, and which are alike."""

    def __init__(self, work: Path) -> None:
        if not (work / GROUPS).exists():
            raise SystemExit(f"{work / GROUPS} is not there yet: run training/pairs.py")
        self.views: NDArray[np.uint8] = np.load(work / VIEWS, mmap_mode="r")
        self.groups: NDArray[np.int64] = np.load(work / GROUPS)
        first = np.flatnonzero(np.diff(self.groups)) + 1
        self.members = np.split(np.arange(len(self.groups)), first)

    def __call__(self, rng: Rng, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Views `(number, 3, 224, 224)`, twice, and groups `(number,)`."""
        chosen: list[int] = []
        while len(chosen) < number:
            group = self.members[rng.integers(len(self.members))].tolist()
            if group[0] not in chosen:
                chosen += group
        views: tuple[list[Array], list[Array]] = ([], [])
        for index in chosen[:number]:
            flip, swap = rng.random(2) < 0.5
            for place, view in enumerate(self.views[index]):
                view = framed(np.ascontiguousarray(view), rng)
                views[place ^ int(swap)].append(view[:, ::-1] if flip else view)
        return batch_of(views[0]), batch_of(views[1]), torch.from_numpy(self.groups[chosen[:number]])


def framed(view: Array, rng: Rng) -> Array:
    """A view on white, as a box that is drawn a little differently shows it."""
    if rng.random() < 0.3:
        return view
    scale = float(np.exp(rng.normal(0, 0.04)))
    move = SIDE * ((1 - scale) / 2 + rng.normal(0, 0.02, 2))
    matrix = np.array([[scale, 0, move[0]], [0, scale, move[1]]], np.float32)
    return np.asarray(cv2.warpAffine(view, matrix, (SIDE, SIDE), borderValue=(255, 255, 255)), np.uint8)


class _Chunks(Dataset[tuple[Tensor, Tensor, Tensor]]):
    def __init__(self, objects: Objects, seed: int, number: int) -> None:
        self.objects, self.seed, self.number = objects, seed, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.objects(np.random.default_rng((self.seed, chunk)), CHUNK)


def build(work: Path, number: int, seed: int) -> None:
    chunks = number // CHUNK
    # The processes that make views are forked from this one, which has to have no threads by then.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    partial = work / f"partial-{VIEWS}"
    shape = (chunks * CHUNK, 2, SIDE, SIDE, 3)
    views = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    groups: list[NDArray[np.int64]] = []
    loader = DataLoader(_Chunks(Objects(Pictures(work)), seed, chunks), batch_size=None, num_workers=2)
    for chunk, (one, two, its) in enumerate(loader):
        there = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        views[there, 0], views[there, 1] = one.permute(0, 2, 3, 1), two.permute(0, 2, 3, 1)
        groups.append(its.numpy() + chunk * CHUNK)
    views.flush()
    partial.replace(work / VIEWS)
    np.save(work / GROUPS, np.concatenate(groups))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the views of objects that CLIP and DINOv3 learn from.")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="cache folder")
    parser.add_argument("--number", type=int, default=32_000, help="of objects; 0.3 MB each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    build(args.work, args.number, args.seed)


if __name__ == "__main__":
    main()
