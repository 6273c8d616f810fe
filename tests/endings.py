"""A project whose model is paint: checks that end in any way, without a network and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from PIL import Image

CASES = """
defaults: {{source: source.png, instruction: Do it.}}
cases:
  - {{id: before, edited: source.png, metrics: {{closeness: 0.5}}}}
  - {{id: subject, {subject}}}
  - {{id: after, edited: source.png, metrics: {{closeness: 0.5}}}}
{gates}"""
OTHER = """
cases:
  - {id: other, source: source.png, instruction: Do it., edited: source.png, metrics: {closeness: 0.5}}
"""
GATES = "gates: [{metric: closeness, statistic: soft_failure_rate, threshold: 0.9}]\n"
GREY, WHITE, RED = (100, 100, 100), (255, 255, 255), (255, 0, 0)
METRICS = """
fault = None

def closeness(source, edited):
    if fault is not None and edited.mean() < 0.34:
        return fault()
    return 1 - abs(float(source.mean()) - float(edited.mean()))

def likeness(source, edited):
    return closeness(source, edited)
"""
PAINT = """
import os, pathlib, signal
import numpy as np
import pytest
import paint
from pytest_editeval import MetricSpec, register_metric
from pytest_editeval.vision.features import Features
from pytest_editeval.vision.lanes import InTurn
from pytest_editeval.vision.pipes import CLIPPipe
from pytest_editeval.vision.scorer import Scorer
from pytest_editeval.vision.segmenter import Embedding, SAMSegmenter

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
register_metric(
    MetricSpec("closeness", "clip-pipe", True, None, None, "patches", "paint:closeness", "-", settings_of="emd")
)
register_metric(
    MetricSpec(
        "likeness", "clip-pipe", True, None, None, "objects", "paint:likeness", "-", settings_of="sam_clip_cls_sim"
    )
)

class Painted(CLIPPipe):
    def encode(self, images):
        load()
        return [self.features(np.asarray(image, np.float32)[:1, :1] / 255) for image in images]

    def features(self, pixel):
        value = fault() if tuple(pixel.reshape(-1)) == (1, 0, 0) else float(pixel.mean())
        value = float(pixel.mean()) if value is None else value
        return Features(np.full((self.geometry.grid ** 2, 2), value, np.float32), np.full(2, value, np.float32))

class Outlined(SAMSegmenter):
    def embed_all(self, images):
        return [Embedding(image, ()) for image in images]

    def masks(self, embedding, boxes):
        segment()
        return [np.ones(embedding.image.size[::-1], bool) for _ in boxes]

def load(): pass
def fault(): pass
def segment(): pass

@pytest.fixture(scope="session")
def editeval(editeval):
    editeval.__dict__["scorer"] = Scorer(executor=InTurn())
    return editeval

@pytest.fixture(scope="session")
def clip_pipe():
    return Painted(model_path="MODELS/clip", device="cpu")

@pytest.fixture(scope="session")
def sam_segmenter():
    return Outlined(model_path="MODELS/sam.pth", device="cpu")
"""
OBJECTS = "edited: subject.png, metrics: {likeness: {threshold: 0.5, coords: [[0, 0, 9, 9], [0, 0, 9, 9]]}}"


@dataclass(frozen=True)
class Way:
    """A way that the check "subject" can end, and what follows: what docs/outcomes.md says in the row of this name.

    `status` is pytest's exit status, of a plain run and under `-n 2` where they differ, `None` where there is no such
    run. `junit` is the element in the check's test case. `apart`: pytest runs in a process of its own.
    """

    name: str
    status: int | tuple[int | None, int | None]
    pytest: str
    junit: str
    row: str
    gate: str = "passes"
    detail: str = ""
    line: str = ""
    conftest: str = ""
    subject: str = "edited: subject.png, metrics: {closeness: 0.5}"
    color: tuple[int, int, int] | None = GREY
    gates: str = GATES
    options: tuple[str, ...] = ()
    apart: bool = False

    @property
    def statuses(self) -> tuple[int | None, int | None]:
        """Of a plain run, and under `-n 2`."""
        return self.status if isinstance(self.status, tuple) else (self.status, self.status)

    def write(self, folder: Path, models: Path) -> None:
        """The project."""
        Image.new("RGB", (48, 48), GREY).save(folder / "source.png")
        if self.color is None:
            (folder / "subject.png").write_text("no picture")
        else:
            Image.new("RGB", (48, 48), self.color).save(folder / "subject.png")
        (folder / "paint.py").write_text(METRICS)
        (folder / "conftest.py").write_text(PAINT.replace("MODELS", str(models)) + dedent(self.conftest))
        (folder / "one.edit.yaml").write_text(CASES.format(subject=self.subject, gates=self.gates))
        (folder / "two.edit.yaml").write_text(OTHER)
        (folder / "empty").mkdir()
        (folder / "occupied").touch()
