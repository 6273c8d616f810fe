"""What the training of the embedded checkpoints relies on, and no figure would show."""

from __future__ import annotations

import struct
import zlib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import ot
import pytest
import torch

TRAINING = Path(__file__).parents[1] / "training"


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of training/, which is no package and not installed."""
    monkeypatch.syspath_prepend(str(TRAINING))

    def load(name: str) -> ModuleType:
        import importlib

        return importlib.import_module(name)

    return load


class Noise:
    """A batch of random numbers, for a run in another process."""

    def __call__(self, rng: np.random.Generator, step: int) -> tuple[torch.Tensor, ...]:
        return (torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)), torch.tensor(step))


def trained(common: ModuleType, work: Path, stops: list[int], steps: int = 12) -> dict[str, torch.Tensor]:
    """Weights after `steps` steps with a stop, as by a signal after a checkpoint, at each of `stops`."""
    for stop in [*stops, steps]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        args = Namespace(work=work, steps=steps, seed=5, export_only=False)
        run = common.Run("line", args, model, rate=0.1, decay=0.01)
        for batch, step in run.batches(Noise()):
            assert int(step) == run.step
            run.update((model(batch) + torch.rand(2)).square().mean(), {"loss": 1.0})
            if run.step == stop:
                run.save()
                break
    return model.state_dict()


def test_a_run_that_was_stopped_gives_the_weights_of_one_that_was_not(
    training: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    common = training("common")
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = trained(common, tmp_path / "whole", [])
    parts = trained(common, tmp_path / "parts", [3, 8])
    for name, weight in whole.items():
        assert torch.equal(weight, parts[name])
    log = (tmp_path / "whole" / "line.csv").read_text("utf-8").splitlines()
    assert log[0] == "step,minutes,loss"
    assert log[-1].startswith("12,")


def resource_collection(files: dict[str, bytes], *, packed: bool) -> bytes:
    """A Qt resource collection of version 1 with one folder, as Qt's own compiler lays it out."""
    names, data = b"", b""

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    nodes = struct.pack(">IHII", 0, 2, 1, 1)
    nodes += struct.pack(">IHII", name("pictures"), 2, len(files), 2)
    for text, content in files.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if packed else content
        nodes += struct.pack(">IHHHI", name(text), int(packed), 0, 0, len(data))
        data += struct.pack(">I", len(stored)) + stored
    head = struct.calcsize(">4s4I")
    starts = head, head + len(nodes), head + len(nodes) + len(data)
    return struct.pack(">4s4I", b"qres", 1, *starts) + nodes + data + names


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_a_resource_collection(training: Callable[[str], ModuleType], tmp_path: Path, *, packed: bool) -> None:
    files = {"a.webp": b"first", "übung.webp": b"second" * 50}
    path = tmp_path / "some.rcc"
    path.write_bytes(resource_collection(files, packed=packed))
    found = dict(training("qt_resources").files(path))
    assert found == {f"pictures/{name}": content for name, content in files.items()}


def test_another_file_is_no_resource_collection(training: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "some.rcc"
    path.write_bytes(b"PK" + bytes(40))
    with pytest.raises(ValueError, match="not a resource collection"):
        list(training("qt_resources").files(path))


def test_only_free_pictures_are_taken(training: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "copyright"
    licences = {
        "pd.jpg": "public-domain",
        "zero.jpg": "CC0-1.0",
        "by.jpg\n       also.png": "CC-BY-2.0",
        "share.jpg": "CC-BY-SA-3.0",
        "nc.jpg": "CC-BY-NC-2.0",
        "both.jpg": "CC-BY-3.0 and GPL-3",
        "gpl.jpg": "GPL-3+",
        "choice.jpg": "public-domain or GFDL",
    }
    path.write_text(
        "Format: x\n\n"
        + "\n\n".join(f"Files: {files}\nCopyright: someone\nLicense: {name}" for files, name in licences.items())
        + "\n\nLicense: CC0-1.0\n text\n",
        "utf-8",
    )
    assert training("data")._free_files(path) == {"pd", "zero", "by", "also"}


def test_the_ranking_loss_compares_the_costs_of_the_metric(training: Callable[[str], ModuleType]) -> None:
    clip = training("train_clip")
    rng = np.random.default_rng(0)
    shape = (2 + clip.LEAKS, clip.SCENES, 49, 8)
    patches = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    free = torch.from_numpy(rng.random((clip.SCENES, 49)) < 0.7)
    cost = clip.Pooled._cost(patches[0], patches[1], free)
    for scene in range(clip.SCENES):
        source, kept = patches[0, scene].numpy(), patches[1, scene][free[scene]].numpy()
        squares = ((source[:, None].astype(np.float64) - kept[None]) ** 2).sum(-1)
        assert float(cost[scene]) == pytest.approx(ot.emd2([], [], squares), rel=1e-5)

    # Leaks far from the source, good edits near it: the loss is small, and the other way round it is not.
    kinds = torch.from_numpy(np.stack([rng.permutation(clip.KINDS)[: clip.LEAKS] for _ in range(clip.SCENES)]))
    near, far = patches[:1] + 0.1 * torch.randn(shape), patches[:1] + 9.0
    right = torch.cat([patches[:1], near[1:2], far.expand(clip.LEAKS, -1, -1, -1)])
    wrong = torch.cat([patches[:1], far, near[2:]])
    losses = [clip.Pooled()(rows.flatten(0, 1), free, kinds) for rows in (right, wrong)]
    assert losses[0][0] < 0.01 < 0.5 < losses[1][0]
    assert all(rate == 1 for rate in losses[0][1])
    assert all(rate == 0 for rate in losses[1][1])


def test_a_small_sam_grows(training: Callable[[str], ModuleType]) -> None:
    sam = training("train_sam")
    small, large = sam.build_sam(sam.SIDE // 2), sam.build_sam()
    weights: dict[str, Any] = sam.enlarged(small.state_dict(), large.state_dict())
    large.load_state_dict(weights)
    old, new = small.image_encoder.pos_embed, large.image_encoder.pos_embed
    assert new.shape[1:3] == (2 * old.shape[1], 2 * old.shape[2])
    # A position table that is the same everywhere stays so.
    torch.nn.init.constant_(old, 0.25)
    flat = sam.enlarged(small.state_dict(), large.state_dict())["image_encoder.pos_embed"]
    assert torch.allclose(flat, torch.full_like(new, 0.25))
