"""A pytest plugin (`-p inside`): the clock over a run's checks, and the images of every forward pass.

It writes its figures to the file that `EDITEVAL_BENCH_FIGURES` names. Files whose name holds `warm_up` run before the
clock starts. Nothing but pytest and the standard library is imported, so that a run without torch stays one.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

FIGURES = "EDITEVAL_BENCH_FIGURES"
WARM_UP = "warm_up"

# Each network's first layer, which every way through the network takes.
FIRST_LAYERS = {
    "CLIP": ("transformers.models.clip.modeling_clip", "CLIPVisionEmbeddings"),
    "DINOv3": ("transformers.models.dinov3_vit.modeling_dinov3_vit", "DINOv3ViTEmbeddings"),
    "SAM": ("segment_anything.modeling.image_encoder", "ImageEncoderViT"),
}


def count_images(passes: dict[str, list[int]]) -> None:
    """Note the batch size of every forward pass from now on, for the networks whose module is imported."""
    for name, (module, layer) in FIRST_LAYERS.items():
        if module in sys.modules:
            cls = getattr(sys.modules[module], layer)
            cls.forward = _counted(cls.forward, passes.setdefault(name, []))


def _counted(forward: Callable[..., Any], sizes: list[int]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        pixels: Any = args[0] if args else kwargs.get("pixel_values", kwargs.get("x"))
        sizes.append(int(pixels.shape[0]))
        return forward(self, *args, **kwargs)

    return counted


class Inside:
    """The clock runs from the first check after the warm-up to the end of the loop over the checks."""

    def __init__(self, figures: Path) -> None:
        self.figures = figures
        self.started: float | None = None
        self.seconds = 0.0
        self.passes: dict[str, list[int]] = {}
        self.checks = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Stop the clock."""
        result = yield
        if self.started is not None:
            self.seconds = time.perf_counter() - self.started
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Start the clock at the first item that is no warm-up."""
        if WARM_UP not in item.path.name:
            self.checks += 1
            if self.started is None:
                count_images(self.passes)
                self.started = time.perf_counter()
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Write the figures."""
        figures = {
            "seconds": self.seconds,
            "checks": self.checks,
            "passes": self.passes,
            "torch": "torch" in sys.modules,
        }
        self.figures.write_text(json.dumps(figures), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Follow the run if its figures are asked for."""
    if path := os.environ.get(FIGURES):
        config.pluginmanager.register(Inside(Path(path)), "bench-inside")
