"""What the three training scripts share: options, clock, checkpoints and picture tensors."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

Rng = np.random.Generator


def options(description: str, *, minutes: float, output: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="cache folder")
    parser.add_argument("--output", type=Path, default=Path("pytest_editeval/embedded") / output)
    parser.add_argument("--minutes", type=float, default=minutes, help="training time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-only", action="store_true", help="write the last checkpoint")
    return parser.parse_args()


class Run:
    """A time-boxed training run that can be stopped and continued.

    The learning rate follows the clock, not a step count: the budget is minutes of CPU, and how
    many steps fit in depends on the machine.
    """

    def __init__(self, name: str, args: argparse.Namespace, model: nn.Module, *, rate: float, decay: float) -> None:
        self.path: Path = args.work / f"{name}.pt"
        self.model = model
        self.budget: float = args.minutes * 60
        self.rate = rate
        self.spent = 0.0
        self.step = 0
        matrices = [p for p in model.parameters() if p.ndim > 1]
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=rate,
            betas=(0.9, 0.98),
        )
        if self.path.exists():
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
            model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.spent, self.step = state["spent"], state["step"]
        # The step is part of the seed so that a continued run does not see old pictures again.
        self.rng = np.random.default_rng((args.seed, self.step))
        torch.manual_seed(args.seed + self.step)
        self._tick = time.monotonic()
        self._saved = self.spent
        self._sums: dict[str, float] = {}
        self._count = 0

    @property
    def part(self) -> float:
        """How much of the time is used, 0..1."""
        return min(1.0, self.spent / self.budget)

    def update(self, loss: Tensor, parts: dict[str, float]) -> None:
        warm = min(1.0, (self.step + 1) / 60)
        cosine = 0.5 * (1 + math.cos(math.pi * self.part))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * max(0.01, cosine)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        now = time.monotonic()
        self.spent += now - self._tick
        self._tick = now
        for key, value in parts.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1
        if self.step % 20 == 0:
            text = " ".join(f"{k} {v / self._count:.3f}" for k, v in self._sums.items())
            print(f"{self.spent / 60:5.1f} min, step {self.step}: {text}", flush=True)
            self._sums, self._count = {}, 0
        if self.spent - self._saved > 45 or self.part >= 1:
            self.save()

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "spent": self.spent,
            "step": self.step,
        }
        partial = self.path.with_suffix(".tmp")
        torch.save(state, partial)
        partial.replace(self.path)
        self._saved = self.spent


def to_tensor(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """A float batch in 0..1, channels first."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


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
