"""Shared by all tests: tiny random checkpoints in the true formats, pictures, and pytester."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("fuzz", deadline=None, max_examples=20_000)  # `make fuzz`

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny networks run slower on several threads, and xdist has the cores."""
    import torch

    from pytest_editeval.vision.loading import share_cores

    share_cores()  # once in a process, so that it is not the first network of some test that does it
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny checkpoints: clip, dinov3, sam.pth, sam-empty.pth, sam-hf, sam2-hf."""
    import checkpoints

    folder = tmp_path_factory.mktemp("models")
    checkpoints.make_clip(folder / "clip")
    checkpoints.make_dinov3(folder / "dinov3")
    checkpoints.make_sam_pth(folder / "sam.pth")
    checkpoints.make_sam_pth(folder / "sam-empty.pth", empty=True)
    checkpoints.make_sam_hf(folder / "sam-hf")
    checkpoints.make_sam2_hf(folder / "sam2-hf")
    return folder


@pytest.fixture(scope="session")
def remembered_scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for tests that are not about scoring: workers that find their scores there import no torch."""
    return tmp_path_factory.mktemp("scores")


@pytest.fixture(autouse=True)
def _in_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run inside of a test sees does not depend on whether the tests have workers."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Without a plugin that keeps a socket and a thread for each run in this process until the end of the process."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:rerunfailures")
    return pytester


@pytest.fixture(autouse=True)
def _of_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints is as wide as it takes, whatever the terminal is that the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


def picture(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """A smooth random picture with edges in it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8))


@pytest.fixture
def project(pytester: pytest.Pytester, models: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A folder with pictures and a profile of tiny checkpoints, for runs of pytest in it, in a wide terminal."""
    from project import Project

    monkeypatch.setenv("COLUMNS", "240")  # how lines are laid out in a narrow one is tested in test_terminal.py
    return Project(pytester, models)
