"""A small project of edit cases for pytester: pictures, a profile of tiny checkpoints, case files."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

from conftest import picture

CONFIG = """
profile: tiny
metric_configs:
  emd:
    pipe_name: clip-pipe
    default_config: {{model_path: {models}/clip}}
  sam_clip_cls_sim:
    pipe_name: clip-pipe
    default_config: {{model_path: {models}/clip}}
    init_config: {{sam: {{model_path: {models}/sam.pth}}}}
  dinov3_structure_similarity:
    pipe_name: dino-v3-pipe
    default_config: {{model_path: {models}/dinov3}}
  sam_dino_cls_sim:
    pipe_name: dino-v3-pipe
    default_config: {{model_path: {models}/dinov3}}
    init_config: {{sam: {{model_path: {models}/sam.pth}}}}
"""

CASES = """
cases:
  - id: same
    instruction: Change nothing.
    task: color_alter
    tags: [people]
    source: source.png
    edited: source.png
    coords: [[20, 20, 80, 80]]
    metrics:
      region_emd: 0.0
      dinov3_structure_similarity: 1.0
      sam_dino_cls_sim: {threshold: 0.999, pairs: [{source: [10, 10, 80, 80], edited: [10, 10, 80, 80]}]}
  - id: other
    instruction: Replace everything.
    task: subject_replace
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    metrics:
      region_emd: 0.001
      emd: {threshold: 1.0e+9, scope: null}
  - id: speck
    instruction: A box smaller than a patch.
    source: source.png
    edited: other.png
    coords: [[40, 40, 41, 41]]
    metrics:
      dinov3_structure_similarity: 0.5
  - id: caught
    instruction: A control.
    tags: [control]
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    metrics: {region_emd: 0.001}
    expect: fail
  - id: toothless
    instruction: A control that the threshold lets through.
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    metrics: {region_emd: 1.0e+9}
    expect: fail
"""


class Project:
    """A folder for pytester, with `run` for the usual options."""

    def __init__(self, pytester: pytest.Pytester, models: Path) -> None:
        self.pytester = pytester
        self.models = models
        self.store: Path | None = None  # of scores that earlier tests have worked out
        self.path = pytester.path
        picture(1).save(self.path / "source.png")
        picture(2).save(self.path / "other.png")
        self.write("tiny.yaml", CONFIG.format(models=models))
        pytester.makeini("[pytest]\nediteval_config = tiny.yaml\nediteval_device = cpu\n")

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    def cases(self, text: str = CASES, name: str = "a.edit.yaml") -> Path:
        return self.write(name, text)

    def one(self, metrics: str, *, edited: str = "other.png", coords: str = "[[20, 20, 80, 80]]") -> Path:
        """A file with one case."""
        return self.cases(
            f"cases: [{{id: one, instruction: Do it., source: source.png, edited: {edited}, "
            f"coords: {coords}, metrics: {{{metrics}}}}}]\n"
        )

    def run(self, *arguments: str) -> pytest.RunResult:
        store = () if self.store is None else (f"--editeval-cache-dir={self.store}",)
        return self.pytester.runpytest("-p", "no:cacheprovider", *store, *arguments)


def grey(path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(np.full((size[1], size[0], 3), 128, np.uint8)).save(path)
