"""timm's checkpoints: what a network of timm's is, by its `config.json` and by names and shapes of its weights.

A directory or hub id in timm's format says which network it holds and how images are prepared. A bare file of weights,
such as a training's with stable-pretraining, says neither: the settings `architecture` and `domain` do. Nothing here
imports torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.regions import Geometry, RoundedGeometry
from pytest_editeval.vision.dinov3_files import NORMALISATION, Channels, Domain
from pytest_editeval.vision.pth_header import Shapes, innermost, tensor_shapes
from pytest_editeval.vision.weights import COUNTS, TIMM_NAME, safetensors_shapes, weight_files

RESAMPLING = ("nearest", "bilinear", "bicubic", "lanczos")
CONVNEXT_STRIDE = 32
CROP_PART = 0.875
"""How much of a picture timm's transform keeps where `pretrained_cfg` does not say."""

STRINGS = ("global_pool", "rope_type", "pos_embed")
REFUSED = ("pretrained", "features_only", "scriptable", "exportable", "checkpoint_path", "cache_dir")
"""Arguments of `timm.create_model` that a checkpoint has no say in: they load other files, or change what comes out."""


@dataclass(frozen=True)
class Preparation:
    """What is done with an image: the geometry, Pillow's resampling filter by name, mean and standard deviation."""

    geometry: Geometry
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class TimmNetwork:
    """A network of timm's. `added` is whether it has `register_tokens` beside timm's own parameters, and
    `positions` how many rows its table of positions has (0: none); `file` holds its weights, under `prefix`.
    """

    architecture: str
    arguments: Mapping[str, Any]
    file: Path
    prefix: str
    patch_size: int
    num_register_tokens: int
    convnext: bool = False
    added: bool = False
    positions: int = 0
    weights: int = field(default=0, compare=False)

    @property
    def trained_grid(self) -> int | None:
        """Patches along a side of the images that the table of positions is for; `None` where it does not say."""
        for others in (0, 1, 1 + self.num_register_tokens):
            side = math.isqrt(max(0, self.positions - others))
            if side and side * side == self.positions - others:
                return side
        return None


def read_timm(model_path: str, folder: Path, config: Mapping[str, Any]) -> tuple[TimmNetwork, Preparation]:
    """The network in a directory of timm's format, and how it takes images; `CheckpointError` when it is none we take.

    The format: https://huggingface.co/docs/timm/hf_hub, as `timm.models.save_for_hf` writes it.
    """
    files = weight_files(model_path, folder)
    if len(files) != 1:
        raise CheckpointError(f"{model_path}: timm's format has one file of weights, and here are {len(files)}")
    arguments = _arguments(model_path, config.get("model_args") or {})
    network = _network(model_path, str(config["architecture"]), arguments, files[0])
    return network, _preparation(model_path, config.get("pretrained_cfg"), network.patch_size)


def read_timm_file(path: Path, architecture: str | None, domain: Domain) -> tuple[TimmNetwork, Preparation]:
    """The network in a bare file of weights; `CheckpointError` when `architecture` does not say which it is."""
    name = display_path(path)
    if architecture is None:
        raise CheckpointError(
            f"{name} holds a vision transformer's weights and not which network of timm's they are for; add "
            "`architecture: vit_small_patch16_224` (timm's name) to the pipe"
        )
    network = _network(name, architecture, {}, path)
    grid = network.trained_grid
    if grid is None:
        raise CheckpointError(f"{name}: its table of {network.positions} positions is for no square image")
    mean, std = NORMALISATION[domain]
    return network, Preparation(Geometry(grid * network.patch_size, network.patch_size), "bicubic", mean, std)


def holds_timm(path: Path) -> bool:
    """Whether a file of `torch.save` has the names of a vision transformer of timm's with a table of positions."""
    shapes, _ = tensor_shapes(path)
    return {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= shapes.keys()


def _network(name: str, architecture: str, arguments: Mapping[str, Any], file: Path) -> TimmNetwork:
    if not TIMM_NAME.fullmatch(architecture):
        raise CheckpointError(f"{name}: the architecture {architecture!r} is no name of timm's")
    shapes: Shapes
    if file.suffix == ".safetensors":
        shapes, prefix = innermost(safetensors_shapes(file))
    else:
        shapes, prefix = tensor_shapes(file)
    for key, value in arguments.items():
        number = sum(value) if isinstance(value, tuple) else value
        if any(word in key for word in COUNTS) and number and number > len(shapes):
            raise CheckpointError(f"{name}: model_args has {key} {value!r}, and its file holds {len(shapes)} tensors")
    weights = sum(math.prod(shape) for shape in shapes.values())
    patch = shapes.get("patch_embed.proj.weight", ())
    if "cls_token" in shapes and "dist_token" not in shapes and len(patch) == 4:
        if patch[1] != 3 or patch[2] != patch[3]:
            raise CheckpointError(f"{name}: its patches are {patch[1]} × {patch[2]} × {patch[3]}; 3 × n × n are taken")
        own, added = shapes.get("reg_token", (1, 0))[1], shapes.get("register_tokens", (1, 0))[1]
        return TimmNetwork(
            architecture,
            arguments,
            file,
            prefix,
            patch[2],
            own + added,
            added="register_tokens" in shapes,
            positions=shapes.get("pos_embed", (1, 0))[1],
            weights=weights,
        )
    if {"stem.0.weight", "head.norm.weight"} <= shapes.keys():
        return TimmNetwork(architecture, arguments, file, prefix, CONVNEXT_STRIDE, 0, convnext=True, weights=weights)
    found = ", ".join(sorted(shapes)[:3]) or "no tensors"
    raise CheckpointError(
        f"{name}: {architecture} is no network that is taken from timm (it has {found}); allowed: vision transformers "
        "with a CLS token, and ConvNeXts"
    )


def _arguments(model_path: str, given: object) -> dict[str, Any]:
    """What `config.json` asks of `timm.create_model`: sizes and switches."""
    if not isinstance(given, dict):
        raise CheckpointError(f"{model_path}: model_args in its config.json is no JSON object")
    for key, value in given.items():
        text = key in STRINGS and isinstance(value, str) and re.fullmatch(r"\w*", value)
        if key in REFUSED or not (text or _plain(value)):
            raise CheckpointError(
                f"{model_path}: its config.json has model_args {key}: {value!r}, which is not supported; allowed: "
                "numbers, switches and lists of numbers"
            )
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _plain(value: object) -> bool:
    parts = value if isinstance(value, list) else [value]
    return all(part is None or isinstance(part, bool | int | float) for part in parts)


def _preparation(model_path: str, given: object, patch_size: int) -> Preparation:
    """As `timm.data.create_transform` prepares an image for inference, from the same settings."""
    where = f"{model_path}: pretrained_cfg in its config.json"
    if not isinstance(given, dict):
        raise CheckpointError(f"{where} is missing, so resize and normalisation are not known; add it")
    size = given.get("input_size")
    if not (isinstance(size, list) and len(size) == 3 and size[1] == size[2] and isinstance(size[1], int)):
        raise CheckpointError(f"{where} has input_size {size!r}; [3, n, n] is taken")
    side, part, mode = size[1], given.get("crop_pct", CROP_PART), given.get("crop_mode", "center")
    if not isinstance(part, int | float) or not 0 < part <= 1 or mode not in ("center", "squash"):
        raise CheckpointError(f"{where} has crop_pct {part!r}, crop_mode {mode!r}; center and squash are taken")
    if mode == "squash" and part != 1:
        raise CheckpointError(f"{where} squashes, and crops {part:.0%} of the picture, which is not supported")
    interpolation = given.get("interpolation", "bicubic")
    if interpolation not in RESAMPLING:
        raise CheckpointError(f"{where} has interpolation {interpolation!r}; allowed: {', '.join(RESAMPLING)}")
    edge = math.floor(side / part) if mode == "center" else None
    if side < patch_size or side % patch_size:
        raise CheckpointError(f"{where} has input_size {size!r}, no whole number of patches of {patch_size} px")
    geometry = RoundedGeometry(side, patch_size, edge)
    return Preparation(geometry, interpolation, *(_channels(where, given, name) for name in ("mean", "std")))


def _channels(where: str, given: Mapping[str, Any], name: str) -> Channels:
    values = given.get(name)
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(one, int | float) for one in values)):
        raise CheckpointError(f"{where} has {name} {values!r}; three numbers are taken")
    first, second, third = (float(one) for one in values)
    if name == "std" and min(first, second, third) <= 0:
        raise CheckpointError(f"{where} has std {values!r}; numbers above 0 are taken")
    return first, second, third
