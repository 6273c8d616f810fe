"""What a path or a hub id really is, from its files alone; nothing here imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.vision.checkpoint_config import (
    SAM_TYPES,
    BackboneInfo,
    read_backbone,
    read_config,
    read_normalisation,
    read_processor,
)
from pytest_editeval.vision.checkpoints import (
    checkpoint_files,
    checkpoint_folder,
    file_digests,
    hub_revision,
    is_local,
    local_path,
)
from pytest_editeval.vision.dinov3_files import NORMALISATION, Domain
from pytest_editeval.vision.families import CLIP_FAMILIES, DINO_FAMILIES, FAMILIES, REFUSED, SAM_FAMILIES, TIMM
from pytest_editeval.vision.formats import Format, OriginalFormat, TimmFormat, dino_format
from pytest_editeval.vision.pth_header import tensor_shapes
from pytest_editeval.vision.weights import check_weights

SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""What segment-anything normalises with, in values 0..255."""


@dataclass(frozen=True)
class Description:
    """A checkpoint: for which pipe, what it is, and its files' SHA-256 by name. What is not known is `None`."""

    family: str
    pipe: str
    tokens: str | None
    input: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    weights: int
    bytes: int
    files: Mapping[str, str] = field(repr=False)
    domain: Domain | None = None
    revision: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, under its own names."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def lines(self) -> list[tuple[str, str]]:
        """Label and value, for a person."""
        found = [("family", f"{self.family}, for {self.pipe}"), ("tokens", self.tokens), ("input", self.input)]
        if self.mean is not None and self.std is not None:
            domain = f" ({self.domain})" if self.domain else ""
            found.append(("normalisation", f"mean {_numbers(self.mean)}, std {_numbers(self.std)}{domain}"))
        found.append(("weights", f"{self.weights:,}, in {self.bytes / (1 << 20):,.1f} MiB"))
        found.append(("commit", self.revision))
        found += [("sha256", f"{digest}  {name}") for name, digest in self.files.items()]
        return [(label, value) for label, value in found if value is not None]


def describe(model_path: str, domain: Domain | None = None, architecture: str | None = None) -> Description:
    """What the checkpoint is. Of a hub id it is downloaded, as a run would do it.

    `domain` and `architecture` are for a bare file of weights, as in a configuration. `CheckpointError` for what no
    pipe takes.
    """
    path = local_path(model_path) if is_local(model_path) else None
    if path is not None and path.is_file():
        return _file(path, domain, architecture)
    config = read_config(model_path)
    kind = config["model_type"]
    if kind == TIMM:
        return _timm(model_path, domain, architecture)
    _refuse_settings(model_path, kind, domain, architecture)
    held = check_weights(model_path, checkpoint_folder(model_path), config)
    rest = _rest(model_path, _pickled(model_path) or held.elements)
    if kind in SAM_FAMILIES:
        return Description(kind, "a sam block", None, _sam_input(model_path), *_normalisation(model_path), **rest)
    if kind not in FAMILIES:
        known = ", ".join([*sorted(CLIP_FAMILIES), *sorted(DINO_FAMILIES), *sorted(SAM_FAMILIES)])
        near = f"; {REFUSED[kind]}" if kind in REFUSED else ""
        raise CheckpointError(f"{model_path} is a {kind!r} checkpoint, which no pipe takes; known: {known}{near}")
    info = read_backbone(model_path)
    pipe = "clip-pipe" if kind in CLIP_FAMILIES else "dino-v3-pipe"
    mean, std = _normalisation(model_path)
    named = next((name for name, (one, _) in NORMALISATION.items() if mean and _near(mean, one)), None)
    rest["domain"] = named if pipe == "dino-v3-pipe" else None
    return Description(kind, pipe, _tokens(info), _input(info), mean, std, **rest)


def _file(path: Path, domain: Domain | None, architecture: str | None) -> Description:
    shapes, _ = tensor_shapes(path)
    rest = _rest(str(path), sum(math.prod(shape) for shape in shapes.values()))
    patch = shapes.get("image_encoder.patch_embed.proj.weight")
    if patch is not None:
        _refuse_settings(str(path), "segment-anything", domain, architecture)
        side = shapes["image_encoder.pos_embed"][1] * patch[-1]
        kind = next((name for name, width in SAM_TYPES.items() if width == patch[0]), f"an encoder {patch[0]} wide")
        prepared = f"the longer side resized to {side} px, padded to a square; patches of {patch[-1]} px"
        return Description(f"segment-anything ({kind})", "a sam block", None, prepared, SAM_MEAN, SAM_STD, **rest)
    return _dino(dino_format(str(path), domain, architecture), rest)


def _refuse_settings(model_path: str, kind: str, domain: Domain | None, architecture: str | None) -> None:
    """`CheckpointError` where a pipe would refuse these settings of the checkpoint."""
    if domain is None and architecture is None:
        return
    if kind in DINO_FAMILIES:
        dino_format(model_path, domain, architecture)
        return
    name = "domain" if domain is not None else "architecture"
    raise CheckpointError(f"{model_path}: {name} is a setting of DINOv3, and this is a {kind!r} checkpoint")


def _timm(model_path: str, domain: Domain | None, architecture: str | None) -> Description:
    found = dino_format(model_path, domain, architecture)
    held = found.known.weights if isinstance(found, TimmFormat) else 0
    return _dino(found, _rest(model_path, held))


def _dino(found: Format, rest: dict[str, Any]) -> Description:
    """Of a checkpoint that is not in transformers' format."""
    mean, std = (None if part is None else tuple(part) for part in found.normalisation)
    bare = ", an original file" if isinstance(found, OriginalFormat) else ""
    named = next((name for name, (one, _) in NORMALISATION.items() if mean and _near(mean, one)), None)
    family = f"{found.name}{bare}"
    return Description(family, "dino-v3-pipe", _tokens(found.info), _input(found.info), mean, std, domain=named, **rest)


def _pickled(model_path: str) -> int:
    """How many weights the checkpoint's pickles hold; 0 where it has none."""
    files = [file for file in checkpoint_files(model_path) if file.suffix == ".bin"]
    return sum(math.prod(shape) for file in files for shape in tensor_shapes(file)[0].values())


def _rest(model_path: str, elements: int) -> dict[str, Any]:
    try:
        size = sum(file.stat().st_size for file in checkpoint_files(model_path))
    except OSError as error:
        raise CheckpointError(f"{display_path(Path(model_path))} cannot be read: {error.strerror}") from None
    known: dict[str, Any] = {"weights": elements, "bytes": size, "files": file_digests(model_path)}
    return known | {"revision": hub_revision(model_path)}


def _tokens(info: BackboneInfo) -> str:
    grid = info.geometry.grid
    parts = [] if FAMILIES[info.model_type].pooled else ["CLS"]
    if info.num_register_tokens:
        parts.append(f"{info.num_register_tokens} register{'' if info.num_register_tokens == 1 else 's'}")
    parts.append(f"{grid}×{grid} patches of {info.geometry.patch_size} px")
    return ", ".join(parts) + ("; the pooled output stands for CLS" if FAMILIES[info.model_type].pooled else "")


def _input(info: BackboneInfo) -> str:
    edge = info.geometry.shortest_edge
    how = "squashed" if edge is None else f"the centre of a picture whose shorter side is {edge} px"
    sizes = "; other sizes: input_size" if FAMILIES[info.model_type].resizable else ""
    return f"{info.geometry.input_size} px, {how}{sizes}"


def _sam_input(model_path: str) -> str:
    size = read_processor(model_path).get("size")
    if isinstance(size, Mapping) and "longest_edge" in size:
        return f"the longer side resized to {size['longest_edge']} px, padded to a square"
    side = size.get("height") if isinstance(size, Mapping) else size
    return f"{side} px, squashed"


def _normalisation(model_path: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    mean, std = (tuple(one) if isinstance(one, list) and one else None for one in read_normalisation(model_path))
    return mean, std


def _near(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return len(left) == len(right) and all(abs(a - b) < 1e-3 for a, b in zip(left, right, strict=True))


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
