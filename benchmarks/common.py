"""What the benchmarks share: pictures, suites of edit cases, runs of pytest with their cost, and tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from inside import FIGURES

HERE = Path(__file__).resolve().parent
METRICS = ("emd", "region_emd", "dinov3_structure_similarity", "sam_clip_cls_sim", "sam_dino_cls_sim")
OBJECT_METRICS = ("sam_clip_cls_sim", "sam_dino_cls_sim")
MEBI = 1 << 20

# Computes every metric once, so that imports, weights and first calls are over before the clock starts.
WARM_UP_TEST = f"""\
from PIL import Image

BOX = (60, 60, 200, 200)


def test_warm_up(editeval):
    source = Image.linear_gradient("L").convert("RGB")
    edited = Image.radial_gradient("L").convert("RGB")
    for metric in {METRICS}:
        boxes = [BOX, BOX] if metric in {OBJECT_METRICS} else [BOX]
        editeval.score(metric, source, edited, coords=boxes)
"""

Box = tuple[int, int, int, int]
Color = tuple[int, int, int]


# --- suites --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """One edit case: its id, its pictures, and the box of the object in both of them."""

    case: str
    source: Path
    edited: Path
    box: Box


def picture(seed: int, side: int) -> Image.Image:
    """A smooth random picture with a little grain, so that its file is as hard to decode as a photograph's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray(np.clip(smooth + rng.integers(-6, 7, (side, side, 1)), 0, 255).astype(np.uint8))


def random_box(rng: np.random.Generator, side: int) -> Box:
    """A box of a quarter to nearly half the picture's side."""
    width, height = (int(value) for value in rng.integers(side // 4, side * 9 // 20, 2))
    x, y = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
    return x, y, x + width, y + height


def write_pair(folder: Path, side: int) -> tuple[int, int, int, int]:
    """source.png, and edited.png with an object drawn in; the box of it."""
    box = (side // 4, side // 4, side // 2, side // 2)
    image = picture(0, side)
    image.save(folder / "source.png", compress_level=1)
    draw_object(image, box, np.random.default_rng(0))
    image.save(folder / "edited.png", compress_level=1)
    return box


def draw_object(image: Image.Image, box: Box, rng: np.random.Generator) -> None:
    """A two-coloured ellipse with a bar across it, filling most of the box."""
    colors: list[Color] = [tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(2)]  # type: ignore[misc]
    x1, y1, x2, y2 = box
    inset_x, inset_y = (int(value) for value in rng.integers(1, 2 + (x2 - x1) // 8, 2))
    draw = ImageDraw.Draw(image)
    draw.ellipse((x1 + inset_x, y1 + inset_y, x2 - 1 - inset_x, y2 - 1 - inset_y), fill=colors[0])
    draw.rectangle((x1 + (x2 - x1) // 4, (y1 + y2) // 2, x2 - (x2 - x1) // 4, (y1 + y2) // 2 + inset_y), fill=colors[1])


def write_suite(folder: Path, sources: int, edits: int, side: int, *, one_box: bool = False) -> list[Edit]:
    """A case file per source with all metrics on every edit, and its pictures.

    Every edit changes an object of its own; with `one_box` all edits of a source change the same one.
    """
    folder.mkdir(parents=True)
    suite = []
    for source in range(sources):
        part = list(_write_pictures(folder, source, edits, side, one_box))
        (folder / f"s{source:04}.edit.yaml").write_text("cases:\n" + "".join(map(_case_text, part)), "utf-8")
        suite += part
    return suite


def write_warm_up_case(folder: Path, side: int) -> Path:
    """A case file of one edit whose name keeps it out of the clock."""
    folder.mkdir(parents=True)
    (edit,) = _write_pictures(folder, 9999, 1, side, one_box=False)
    path = folder / "warm_up.edit.yaml"
    path.write_text("cases:\n" + _case_text(edit), "utf-8")
    return path


def write_warm_up_test(folder: Path) -> Path:
    """A test that computes every metric once, out of the clock."""
    path = folder / "test_warm_up.py"
    path.write_text(WARM_UP_TEST, "utf-8")
    return path


def _write_pictures(folder: Path, source: int, edits: int, side: int, one_box: bool) -> Iterator[Edit]:
    rng = np.random.default_rng([source, side])
    boxes = [random_box(rng, side) for _ in range(1 if one_box else edits)]
    image = picture(source, side)
    for box in boxes:
        draw_object(image, box, rng)
    path = folder / f"s{source:04}.png"
    image.save(path)
    for index in range(edits):
        name, box = f"s{source:04}e{index:03}", boxes[0 if one_box else index]
        edited = image.copy()
        draw_object(edited, box, rng)
        edited.save(folder / f"{name}.png")
        yield Edit(name, path, folder / f"{name}.png", box)


def _case_text(edit: Edit) -> str:
    """The case on all metrics, with thresholds that every score meets."""
    box = list(edit.box)
    pairs = f"{{threshold: -1.001, pairs: [{{source: {box}, edited: {box}}}]}}"
    return f"""\
  - id: {edit.case}
    instruction: Change the object.
    source: {edit.source.name}
    edited: {edit.edited.name}
    coords: [{box}]
    metrics:
      emd: 1.0e+12
      region_emd: 1.0e+12
      dinov3_structure_similarity: 0.0
      sam_clip_cls_sim: {pairs}
      sam_dino_cls_sim: {pairs}
"""


# --- runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a process cost (seconds of wall time and of CPU, bytes of memory at the peak), and what it printed."""

    wall: float
    cpu: float
    peak: int
    output: str


@dataclass(frozen=True)
class Inner:
    """What the plugin `inside` saw: the clock over the checks, and the images of each forward pass."""

    run: Run
    seconds: float
    checks: int
    passes: dict[str, list[int]]
    torch: bool


def run(command: Sequence[str | Path], folder: Path, *, expect: int = 0, **environment: str) -> Run:
    """Run a command in a folder; `SystemExit` with the end of its output when its status is not what is expected."""
    with tempfile.TemporaryDirectory() as name:
        figures, output = Path(name, "figures.json"), Path(name, "output.txt")
        launcher = [sys.executable, "-I", "-S", str(HERE / "measured.py"), str(figures), *map(str, command)]
        with output.open("wb") as stream:
            subprocess.run(
                launcher, cwd=folder, env=_environment() | environment, stdout=stream, stderr=stream, check=True
            )
        cost, text = json.loads(figures.read_text("utf-8")), output.read_text("utf-8", "replace")
    if cost.pop("status") != expect:
        sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{text[-3000:]}")
    return Run(**cost, output=text)


def run_pytest(folder: Path, *arguments: str | Path, expect: int = 0, **environment: str) -> Run:
    """Run pytest in a folder, which becomes its root, whatever project lies above it."""
    settings = folder / "pytest.ini"
    if not settings.exists():
        settings.write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", settings, "--rootdir", folder, *arguments]
    return run(command, folder, expect=expect, **environment)


def run_inside(folder: Path, *arguments: str | Path) -> Inner:
    """Run pytest with the clock inside it."""
    path = folder / "inside.json"
    finished = run_pytest(folder, "-p", "inside", *arguments, **{FIGURES: str(path)})
    return Inner(finished, **json.loads(path.read_text("utf-8")))


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return environment | {"HF_HUB_OFFLINE": "1"}


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder, under its true name, so that pytest's ids do not depend on links."""
    with tempfile.TemporaryDirectory(prefix="editeval-bench-") as name:
        yield Path(name).resolve()


# --- options and tables --------------------------------------------------------------------------


def options(text: str | None, *, device: bool = True, **defaults: int) -> argparse.ArgumentParser:
    """A parser with an option for each default: a whole number, at least 1."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=positive, default=value, help=f"default: {value}")
    if device:
        parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")
    return parser


def positive(text: str) -> int:
    """A whole number, at least 1."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median, and the range around it."""
    listed = sorted(values)
    middle = f"{median(listed):.{digits}f}"
    return middle if len(listed) == 1 else f"{middle} ({listed[0]:.{digits}f} to {listed[-1]:.{digits}f})"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, device: str = "cpu") -> None:
    """A Markdown table under its title and the machine's line, columns aligned."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    print(f"{title}\n{machine(device)}\n", *(f"| {line} |" for line in lines), "", sep="\n", flush=True)


def machine(device: str) -> str:
    """Processor, cores this process may use, versions, device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{name} {_version(name)}" for name in ("pytest", "torch", "transformers")]
    parts = [_processor(), f"{cores} cores", f"Python {platform.python_version()}", *versions, _device(device)]
    return ", ".join(parts)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return f"device {device}"
    import torch  # only to name the GPU; most benchmarks do without torch in this process

    return f"device {device} ({torch.cuda.get_device_name(device)})"
