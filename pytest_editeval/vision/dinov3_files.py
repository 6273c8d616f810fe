"""The original DINOv3 files (`dinov3_vits16_pretrain_lvd1689m-….pth`): what one is, by the names and shapes in it.

Published after an access request, a file holds weights and nothing of how images are prepared, so the setting `domain`
says which of the two kinds of images they are for. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.vision.pth_header import Shapes, tensor_shapes

Domain = Literal["web", "satellite"]
Channels = tuple[float, float, float]

NORMALISATION: Mapping[Domain, tuple[Channels, Channels]] = {
    "web": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "satellite": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}
"""Mean and standard deviation per channel of the weights for web images (LVD-1689M; they are ImageNet's) and for
satellite images (SAT-493M), as https://github.com/facebookresearch/dinov3 has them."""

NAMED: Mapping[str, Domain] = {"lvd1689m": "web", "sat493m": "satellite"}
"""What the published file names say of the images."""

INPUT_SIZE = 224
VIT, CONVNEXT = "dinov3_vit", "dinov3_convnext"


@dataclass(frozen=True)
class DINOv3File:
    """A file's `model_type`, the settings of transformers' configuration, and what `prefix` its names have."""

    model_type: str
    settings: Mapping[str, Any]
    prefix: str

    @property
    def patch_size(self) -> int:
        """Side in pixels of what a patch feature looks at."""
        if self.model_type == CONVNEXT:
            return int(4 * 2 ** (len(self.settings["depths"]) - 1))
        return int(self.settings["patch_size"])

    @property
    def num_register_tokens(self) -> int:
        """Registers between CLS and the patches."""
        return int(self.settings.get("num_register_tokens", 0))


def read_dinov3_file(path: Path) -> DINOv3File:
    """What the file is; `CheckpointError` when it is no original DINOv3 file."""
    shapes, prefix = tensor_shapes(path)
    name = display_path(path)
    try:
        if "downsample_layers.0.0.weight" in shapes:
            return DINOv3File(CONVNEXT, _convnext(shapes), prefix)
        if "rope_embed.periods" in shapes:
            return DINOv3File(VIT, _vit(shapes), prefix)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{name} is no original DINOv3 file: {type(error).__name__} {error}") from None
    found = ", ".join(sorted(shapes)[:3]) or "no tensors"
    raise CheckpointError(
        f"{name} is no original DINOv3 file (it has {found}; rope_embed.periods or downsample_layers.0.0.weight is "
        "looked for); other networks: a transformers directory or hub id"
    )


def checked_domain(path: Path, domain: Domain | None) -> Domain:
    """The kind of images that the file is for; `CheckpointError` when nobody says, or the file's name says another."""
    name = path.name.lower()
    named = next((kind for word, kind in NAMED.items() if word in name), None)
    if domain is None:
        hint = f" (its name says {named})" if named else ""
        raise CheckpointError(
            f"{display_path(path)} does not hold how images are normalised{hint}; add `domain: web` (LVD-1689M) or "
            "`domain: satellite` (SAT-493M) to the pipe"
        )
    if named is not None and named != domain:
        raise CheckpointError(
            f"{display_path(path)} is of {named} images by its name, and the pipe has domain: {domain}"
        )
    return domain


def refuse_other_domain(
    model_path: str, domain: Domain, processor: Mapping[str, Any], file: str = "preprocessor_config.json"
) -> None:
    """`CheckpointError` when an image processor's file normalises otherwise than the images of `domain` need."""
    if processor.get("do_normalize") is False:
        raise CheckpointError(
            f"{model_path}: the pipe has domain: {domain}, and by its {file} images are not normalised (do_normalize "
            "is false)"
        )
    for key, expected in zip(("image_mean", "image_std"), NORMALISATION[domain], strict=True):
        found = processor.get(key, NORMALISATION["web"][key == "image_std"])
        near = isinstance(found, list | tuple) and len(found) == len(expected)
        if not near or any(abs(a - b) > 1e-3 for a, b in zip(found, expected, strict=True)):
            raise CheckpointError(
                f"{model_path}: the pipe has domain: {domain}, whose {key} is {list(expected)}, and its {file} says "
                f"{found!r}"
            )


def _vit(shapes: Shapes) -> dict[str, Any]:
    width, channels, patch, other = shapes["patch_embed.proj.weight"]
    if patch != other or channels != 3:
        raise ValueError(f"patches of {channels} x {patch} x {other}")
    # Half of a head's rotations are for rows, half for columns, and each turns a pair of numbers.
    head = 4 * shapes["rope_embed.periods"][0]
    if width % head:
        raise ValueError(f"heads of {head} in a width of {width}")
    gated = "blocks.0.mlp.w1.weight" in shapes
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(shapes, r"blocks\.(\d+)\."),
        "num_attention_heads": width // head,
        "intermediate_size": shapes["blocks.0.mlp.w1.weight" if gated else "blocks.0.mlp.fc1.weight"][0],
        "use_gated_mlp": gated,
        "hidden_act": "silu" if gated else "gelu",
        "num_register_tokens": shapes["storage_tokens"][1] if "storage_tokens" in shapes else 0,
        "patch_size": patch,
        "image_size": INPUT_SIZE,
        "query_bias": "blocks.0.attn.qkv.bias" in shapes,
        "value_bias": "blocks.0.attn.qkv.bias" in shapes,
        "key_bias": "blocks.0.attn.qkv.bias" in shapes and "blocks.0.attn.qkv.bias_mask" not in shapes,
        "proj_bias": "blocks.0.attn.proj.bias" in shapes,
    }


def _convnext(shapes: Shapes) -> dict[str, Any]:
    stages = _count(shapes, r"stages\.(\d+)\.")
    return {
        "hidden_sizes": [shapes[f"stages.{stage}.0.dwconv.weight"][0] for stage in range(stages)],
        "depths": [_count(shapes, rf"stages\.{stage}\.(\d+)\.") for stage in range(stages)],
        "image_size": INPUT_SIZE,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    return 1 + max(int(found[1]) for name in shapes if (found := re.match(pattern, name)))
