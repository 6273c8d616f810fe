"""Profiles: which checkpoints a run uses, and the settings of each metric. `pytest_editeval.config` reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_editeval.errors import ConfigError, Position
from pytest_editeval.registry import PATCH_MASK_THRESHOLD, WHITE, Color, Scope, get_metric, metrics

if TYPE_CHECKING:
    from pytest_editeval.gate_rules import Gate

EMBEDDED = "embedded"
# A line for each checkpoint that misses a target of the benchmark (training/results.md): at present none does.
EMBEDDED_LIMITS: tuple[str, ...] = ()
EMBEDDED_PATH = Path(__file__).parent / "embedded"

Dtype = Literal["float32", "bfloat16", "float16"]
ModelType = Literal["vit_b", "vit_l", "vit_h"]


@dataclass(frozen=True)
class SamSettings:
    """The segmenter: its checkpoint, and `model_type` where a segment-anything file needs one."""

    model_path: str = field(repr=False)  # an environment variable may have given it
    model_type: ModelType | None = None
    device: str | None = None
    dtype: Dtype = "float32"


@dataclass(frozen=True)
class TileSettings:
    """Windows in which an image is looked at: their side, and what neighbours share, in pixels of the image."""

    size: int
    overlap: int = 0


@dataclass(frozen=True)
class PipeSettings:
    """What a pipe is built from. Equal settings share one loaded model.

    `model_path` is `None` for the pipe's own default, `device` for the run's.
    """

    pipe_name: str
    model_path: str | None = field(default=None, repr=False)
    device: str | None = None
    fit: Literal["crop", "squash"] = "crop"
    input_size: int | None = None
    dtype: Dtype = "float32"
    domain: Literal["web", "satellite"] | None = None
    architecture: str | None = None
    quantize: Literal["int8"] | None = None
    compile: bool | None = None
    device_map: Literal["auto"] | None = None
    max_memory: tuple[tuple[str, str], ...] | None = None
    tile: TileSettings | None = None
    sam: SamSettings | None = None


@dataclass(frozen=True)
class MetricSettings:
    """How a metric is computed where a check does not say otherwise. `position` is its entry in the file."""

    metric: str
    pipe: PipeSettings
    scope: Scope | None
    patch_mask_threshold: float = PATCH_MASK_THRESHOLD
    bg_color: Color = WHITE
    position: Position | None = None


@dataclass(frozen=True)
class Profile:
    """A named set of checkpoints and metric settings, and the gates over a whole run."""

    name: str
    path: Path | None
    metrics: Mapping[str, MetricSettings]
    notices: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    embedded: bool = False
    position: Position = field(default=Position(EMBEDDED_PATH, 1, 1))

    def settings(self, metric: str) -> MetricSettings:
        """The settings of a metric; a `ConfigError` names what the profile does configure."""
        if metric in self.metrics:
            return self.metrics[metric]
        spec = get_metric(metric)
        if spec.settings_of is not None and spec.settings_of in self.metrics:
            other = self.metrics[spec.settings_of]
            return replace(other, metric=metric, scope=spec.scope)
        hint = f"it configures: {', '.join(sorted(self.metrics))}"
        raise ConfigError(self.position, f"profile {self.name!r} does not configure metric {metric!r}", hint)


def embedded_profile() -> Profile:
    """The profile of the checkpoints that come with the package."""
    sam = SamSettings(str(EMBEDDED_PATH / "sam" / "sam.pth"))
    paths = {"clip-pipe": str(EMBEDDED_PATH / "clip"), "dino-v3-pipe": str(EMBEDDED_PATH / "dinov3")}
    settings = {
        name: MetricSettings(name, PipeSettings(spec.pipe_name, paths.get(spec.pipe_name), sam=sam), spec.scope)
        for name, spec in metrics().items()
    }
    return Profile(EMBEDDED, None, settings, embedded=True)
