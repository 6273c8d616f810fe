"""What the three training scripts share: options, steps, checkpoints and picture tensors."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

Rng = np.random.Generator
Batch = tuple[Tensor, ...]
WARM_UP = 100
# The part of a run in which the learning rate falls to nothing.
LAST = 0.25
LOGGED = 50


def options(description: str, *, steps: int, output: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="cache folder")
    parser.add_argument("--output", type=Path, default=Path("pytest_editeval/embedded") / output)
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole run")
    parser.add_argument("--start", type=Path, help="weights to go on from, as --output has them; not those of --work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-only", action="store_true", help="write the last checkpoint")
    return parser.parse_args()


class Memory(Protocol):
    """What a loss keeps from step to step, such as costs to compare with: part of a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Run:
    """A training run of a number of steps, that can be stopped and continued.

    Everything that is random follows from the seed and the number of the step, so that a run which
    was stopped sees the pictures that it would have seen. The learning rate is constant after the
    warm-up and, unless another run follows, falls in the last quarter: a run that turns out to be too
    short can be made longer.
    """

    def __init__(
        self,
        name: str,
        args: argparse.Namespace,
        model: nn.Module,
        *,
        rate: float,
        decay: float,
        falls: bool = True,
        muon: bool = False,
        memory: Memory | None = None,
    ) -> None:
        # The process that makes batches is forked from this one, which has to have no threads by then.
        cv2.setNumThreads(1)
        self.falls = falls
        self.path: Path = args.work / f"{name}.pt"
        self.log: Path = args.work / f"{name}.csv"
        self.model = model
        self.memory = memory
        self.steps: int = args.steps
        self.seed: int = args.seed
        self.rate = rate
        self.step = 0
        self.spent = 0.0
        self.optimizers = optimizers(model, rate, decay, muon=muon)
        if self.path.exists():
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
            model.load_state_dict(state["model"])
            for optimizer, its in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(its)
            if memory is not None:
                memory.load_state_dict(state["memory"])
            self.spent, self.step = state["spent"], state["step"]
        self.export_only: bool = args.export_only
        self._saved = self.spent
        self._sums: dict[str, float] = {}
        self._count = 0

    def batches(self, make: Callable[[Rng, int], Batch]) -> Iterator[Batch]:
        """What `make` makes in another process, one for each step that is left."""
        if self.export_only or self.step >= self.steps:
            return
        loader: DataLoader[Batch] = DataLoader(
            _Steps(make, self.seed, self.step, self.steps), batch_size=None, num_workers=1, prefetch_factor=4
        )
        self._tick = time.monotonic()
        for batch in loader:
            torch.manual_seed(self.seed * 1_000_003 + self.step)
            yield batch
            # Between steps: what a step does after its update, such as a teacher that follows, is in the checkpoint.
            if self.spent - self._saved > 60:
                self.save()
        self.save()

    @property
    def part(self) -> float:
        """How much of the run is done, 0..1."""
        return self.step / self.steps

    def update(self, loss: Tensor, parts: dict[str, float]) -> None:
        warm = min(1.0, (self.step + 1) / WARM_UP)
        fall = min(1.0, (1 - self.part) / LAST) if self.falls else 1.0
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * warm * max(0.01, fall)
            optimizer.step()
        self.step += 1
        now = time.monotonic()
        self.spent += now - self._tick
        self._tick = now
        for key, value in parts.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1
        if self.step % LOGGED == 0 or self.step == self.steps:
            self._write_log()

    def _write_log(self) -> None:
        means = {key: value / self._count for key, value in self._sums.items()}
        print(f"step {self.step}, {self.spent / 60:.1f} min: " + " ".join(f"{k} {v:.3f}" for k, v in means.items()))
        sys.stdout.flush()
        head = "" if self.log.exists() else ",".join(["step", "minutes", *means]) + "\n"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(head + ",".join(f"{v:.4g}" for v in (self.step, self.spent / 60, *means.values())) + "\n")
        self._sums, self._count = {}, 0

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "memory": self.memory and self.memory.state_dict(),
            "spent": self.spent,
            "step": self.step,
        }
        partial = self.path.with_suffix(".tmp")
        torch.save(state, partial)
        partial.replace(self.path)
        self._saved = self.spent


def optimizers(model: nn.Module, rate: float, decay: float, *, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW for all that is trained; or Muon for the matrices inside of the network, and AdamW for what is left.

    Muon (https://kellerjordan.github.io/posts/muon) is for matrices that turn one activation into another. Tables, such
    as those of positions, and the few rows that a head ends with are none.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = {
        name: p
        for name, p in trained.items()
        if muon and p.ndim == 2 and min(p.shape) >= 32 and "rel_pos" not in name and "embed" not in name
    }
    rest = [p for name, p in trained.items() if name not in matrices]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    if not matrices:
        return [adam]
    # Updates as large as AdamW's, so that one rate does for both.
    return [torch.optim.Muon(matrices.values(), lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), adam]


class _Steps(IterableDataset[Batch]):
    """One batch per step, each from a generator of its own."""

    def __init__(self, make: Callable[[Rng, int], Batch], seed: int, first: int, last: int) -> None:
        self.make, self.seed, self.first, self.last = make, seed, first, last

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            yield self.make(np.random.default_rng((self.seed, step)), step)


def to_tensor(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """A float batch in 0..1, channels first."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def batch_of(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """A batch of bytes, channels first: what goes from process to process."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))


def recolour(x: Tensor, rng: Rng, strength: float | NDArray[np.float64] = 1.0) -> Tensor:
    """Hue, saturation, white balance, brightness, contrast, gamma and a light ramp, per picture."""
    n = len(x)
    s = np.broadcast_to(np.asarray(strength, np.float64), (n,))[:, None, None]
    theta = s * rng.uniform(-np.pi, np.pi, (n, 1, 1))
    ones = np.ones((3, 3)) / 3
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    hue = np.cos(theta) * np.eye(3) + (1 - np.cos(theta)) * ones + np.sin(theta) * cross
    sat = np.exp(s * rng.uniform(-1.2, 0.5, (n, 1, 1)))
    matrix = (sat * np.eye(3) + (1 - sat) * ones) @ hue
    gain = np.exp(s * rng.normal(0, 0.2, (n, 3, 1)) + s * rng.normal(0, 0.2, (n, 1, 1)))
    matrix = matrix * gain
    shift = s * rng.normal(0, 0.06, (n, 1, 1))
    gamma = np.exp(s * rng.normal(0, 0.25, (n, 1, 1)))
    flat = x.flatten(2)
    m = torch.from_numpy(matrix).float()
    out = torch.baddbmm(torch.from_numpy(shift).float().expand(n, 3, flat.shape[2]), m, flat)
    out = out.clamp(1e-4, 1).pow(torch.from_numpy(gamma).float()).view_as(x)
    h, w = x.shape[-2:]
    slope = torch.from_numpy(s[..., None] * rng.normal(0, 0.15, (n, 2, 1, 1))).float()
    ramp = slope[:, :1] * torch.linspace(-1, 1, w) + slope[:, 1:] * torch.linspace(-1, 1, h)[:, None]
    return (out * (1 + ramp)).clamp(0, 1)


def normalise(x: Tensor, mean: list[float], std: list[float]) -> Tensor:
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def info_nce(a: Tensor, b: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Symmetric InfoNCE between rows of two batches, and its accuracy."""
    a, b = nn.functional.normalize(a, dim=-1), nn.functional.normalize(b, dim=-1)
    logits = a @ b.transpose(-1, -2) / temperature
    target = torch.arange(logits.shape[-1]).expand(logits.shape[:-1])
    flat = logits.flatten(0, -2)
    back = logits.transpose(-1, -2).flatten(0, -2)
    goal = target.flatten()
    loss = nn.functional.cross_entropy(flat, goal) + nn.functional.cross_entropy(back, goal)
    return loss / 2, float((flat.argmax(-1) == goal).float().mean())


def half(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}


def export(model: Any, processor: Any, output: Path, *, old: str, new: str) -> None:
    """The model and its image processor in the format of `from_pretrained`, weights in float16.

    The prefix `old` of the weights' names becomes `new`, and the processor gets the name it had:
    transformers 5 still reads the names of 4.56, but 4.56 does not read those of 5.
    """
    output.mkdir(parents=True, exist_ok=True)
    model.config.dtype = torch.float16
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(output)
    weights = {new + name.removeprefix(old): value for name, value in half(model).items()}
    path = output / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)
    processor.save_pretrained(output)
    path = output / "preprocessor_config.json"
    settings = json.loads(path.read_text("utf-8"))
    kind = settings["image_processor_type"]
    if "dinov3" in kind.lower() and not kind.endswith("Fast"):
        settings["image_processor_type"] = f"{kind}Fast"
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")
