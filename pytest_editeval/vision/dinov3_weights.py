"""The weights of an original DINOv3 file in transformers' network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.vision.dinov3_files import CONVNEXT, INPUT_SIZE, NORMALISATION, VIT, DINOv3File, Domain
from pytest_editeval.vision.loading import refuse_incomplete, transformers_class
from pytest_editeval.vision.pth_weights import pth_tensors

UNUSED = re.compile(r"mask_token|rope_embed\..*|local_cls_norm\..*|norms\..*|.*\.bias_mask")
"""Tables that are computed, and what only the training used."""

THETA = 100.0
NAMES: dict[str, list[tuple[str, str]]] = {
    VIT: [
        (r"^cls_token$", "embeddings.cls_token"),
        (r"^storage_tokens$", "embeddings.register_tokens"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings."),
        (r"^blocks\.", "layer."),
        (r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),
        (r"\.attn\.proj\.", ".attention.o_proj."),
        (r"\.attn\.", ".attention."),
        (r"\.mlp\.(fc1|w2)\.", ".mlp.up_proj."),
        (r"\.mlp\.(fc2|w3)\.", ".mlp.down_proj."),
        (r"\.mlp\.w1\.", ".mlp.gate_proj."),
    ],
    CONVNEXT: [
        (r"^downsample_layers\.(\d+)\.(\d+)\.", r"stages.\1.downsample_layers.\2."),
        (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.layers.\2."),
        (r"\.dwconv\.", ".depthwise_conv."),
        (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
        (r"\.norm\.", ".layer_norm."),
        (r"^norm\.", "layer_norm."),
    ],
}
"""From the names of the original network to those of transformers', without what a version puts before them."""

CLASSES = {VIT: ("DINOv3ViTModel", "DINOv3ViTConfig"), CONVNEXT: ("DINOv3ConvNextModel", "DINOv3ConvNextConfig")}


def load_dinov3_file(path: Path, file: DINOv3File) -> nn.Module:
    """The network with the file's weights, float32 on the CPU; `CheckpointError` when they do not fit."""
    name = display_path(path)
    weights = pth_tensors(path, file.prefix)
    settings = dict(file.settings)
    if file.model_type == VIT:
        settings["rope_theta"] = _theta(weights.pop("rope_embed.periods"))
    renamed = _renamed(weights, file.model_type)
    model_class, config_class = (transformers_class(one, name) for one in CLASSES[file.model_type])
    model: Any = model_class(config_class(**settings))
    # Some versions put "model." before the names of the blocks.
    own = {key.removeprefix("model."): key for key, value in model.state_dict().items() if value.numel()}
    unknown = sorted(renamed.keys() - own.keys())
    if unknown:
        raise CheckpointError(f"{name} holds {len(unknown)} weight(s) that DINOv3 does not have (first: {unknown[0]})")
    refuse_incomplete(name, own.keys() - renamed.keys() - {"embeddings.mask_token"})
    try:
        model.load_state_dict({own[key]: value for key, value in renamed.items()}, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{name} does not fit: {str(error).splitlines()[1].strip()[:200]}") from None
    network: nn.Module = model
    return network


def dinov3_processor(domain: Domain) -> Any:
    """The image processor that transformers has for DINOv3, with the normalisation of these images."""
    found: Any = getattr(transformers, "DINOv3ViTImageProcessor", None) or transformers_class(
        "DINOv3ViTImageProcessorFast", "DINOv3"
    )
    mean, std = (list(part) for part in NORMALISATION[domain])
    return found(size={"height": INPUT_SIZE, "width": INPUT_SIZE}, image_mean=mean, image_std=std)


def _theta(periods: torch.Tensor) -> float:
    """The base of the rotations' periods, which are its powers 0, 1/n, 2/n, ..."""
    number = len(periods)
    if number < 2:
        return THETA
    found = float(periods[-1]) ** (number / (number - 1))
    return THETA if abs(found / THETA - 1) < 0.05 else found  # stored in bfloat16, it is about that


def _renamed(weights: dict[str, torch.Tensor], model_type: str) -> dict[str, torch.Tensor]:
    """Weights under transformers' names; the joint projection to queries, keys and values is split.

    A `bias_mask` beside a bias is a factor of it, and fixes that of the keys at zero.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if UNUSED.fullmatch(name):
            continue
        new = name
        for pattern, replacement in NAMES[model_type]:
            new = re.sub(pattern, replacement, new)
        if ".qkv." not in new:
            found[new] = value
            continue
        mask = weights.get(f"{name}_mask")
        for part, rows in zip("qkv", value.chunk(3), strict=True):
            if part != "k" or mask is None:
                found[new.replace(".qkv.", f".{part}_proj.")] = rows.clone()
    return found
