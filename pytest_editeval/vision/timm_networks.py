"""timm's networks with the output of transformers' ones; needs the extra `timm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from pytest_editeval.errors import CheckpointError
from pytest_editeval.faults import first_line
from pytest_editeval.vision.loading import SLACK, SMALL, quiet, refuse_incomplete
from pytest_editeval.vision.pth_weights import pth_tensors
from pytest_editeval.vision.timm_files import Preparation, TimmNetwork

REGISTERS = "register_tokens"
UNUSED = ("head.", "head_dist.", "fc_norm.", "mask_token")
"""Names, or what they begin with, of weights that only a classifier or the training uses."""


class TimmModel(nn.Module):
    """A network of timm's; `registers` `(1, n, dim)` are those that stable-pretraining puts after CLS."""

    def __init__(self, network: nn.Module, registers: torch.Tensor | None = None) -> None:
        super().__init__()
        self.network: Any = network
        self.registers = None if registers is None else nn.Parameter(registers)

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutput:
        """The rows CLS, registers, patches `(n, tokens, dim)` as `last_hidden_state`, after the last norm."""
        if hasattr(self.network, "stem"):
            return BaseModelOutput(last_hidden_state=self._convnext(pixel_values))
        if self.registers is None:
            return BaseModelOutput(last_hidden_state=self.network.forward_features(pixel_values))
        return BaseModelOutput(last_hidden_state=self._with_registers(self.registers, pixel_values))

    def _convnext(self, pixels: torch.Tensor) -> torch.Tensor:
        """The mean, which stands for CLS, and the patches, each through the norm that timm has before its head."""
        found = self.network.forward_features(pixels).flatten(2).transpose(1, 2)
        rows = torch.cat([found.mean(1, keepdim=True), found], 1)
        # Called, not only its weights taken: they may be on the disk. It is one over the channels `(n, dim, h, w)`.
        done: torch.Tensor = self.network.head.norm(rows.transpose(1, 2)[..., None])
        return done[..., 0].transpose(1, 2)

    def _with_registers(self, registers: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """As stable-pretraining's DINOv3 encodes: registers join after the positions are added, and have none."""
        vit = self.network
        rows = vit._pos_embed(vit.patch_embed(pixels))
        rows = torch.cat([rows[:, :1], registers.expand(len(rows), -1, -1), rows[:, 1:]], 1)
        rows = vit.blocks(vit.norm_pre(vit.patch_drop(rows)))
        done: torch.Tensor = vit.norm(rows)
        return done


class TimmProcessor:
    """Prepares images as timm's transform for inference does: Pillow's resize, values 0..1, normalisation."""

    def __init__(self, preparation: Preparation) -> None:
        self.filter = Image.Resampling[preparation.interpolation.upper()]
        self.mean, self.std = (np.asarray(part, np.float32) for part in (preparation.mean, preparation.std))

    def __call__(self, images: Sequence[Image.Image], size: dict[str, int], **_: object) -> dict[str, torch.Tensor]:
        """`pixel_values` `(n, 3, height, width)` float32, of RGB images resized to `size`."""
        target = (size["width"], size["height"])
        values = np.stack([np.asarray(image.resize(target, self.filter), np.float32) / 255 for image in images])
        normal = ((values - self.mean) / self.std).transpose(0, 3, 1, 2)
        return {"pixel_values": torch.from_numpy(np.ascontiguousarray(normal))}


def load_timm(model_path: str, network: TimmNetwork) -> nn.Module:
    """The network with its weights, float32 on the CPU; `CheckpointError` when they do not fit."""
    import timm  # an extra

    def build() -> Any:
        return timm.create_model(network.architecture, pretrained=False, **_arguments(network))

    try:
        with quiet():
            with torch.device("meta"):
                needed = sum(parameter.numel() for parameter in build().parameters())
            if needed > SLACK * network.weights + SMALL:
                raise CheckpointError(
                    f"{model_path}: {network.architecture} has {needed:,} weights, and its file holds "
                    f"{network.weights:,}"
                )
            built = build()
    except (RuntimeError, TypeError, ValueError, LookupError, AssertionError, AttributeError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{model_path}: timm cannot build {network.architecture}: {reason}") from None
    _check_kind(model_path, network, built)
    held = _tensors(network)
    registers = held.pop(REGISTERS, None)
    own = built.state_dict()
    unknown = sorted(name for name in held.keys() - own.keys() if not name.startswith(UNUSED))
    if unknown:
        raise CheckpointError(
            f"{model_path} holds {len(unknown)} weight(s) that {network.architecture} does not have (first: "
            f"{unknown[0]})"
        )
    shared = held.keys() & own.keys()
    other = [name for name in shared if held[name].shape != own[name].shape]
    refuse_incomplete(model_path, own.keys() - held.keys(), other)
    built.load_state_dict({name: held[name] for name in shared})
    return TimmModel(built, registers)


def _arguments(network: TimmNetwork) -> dict[str, Any]:
    """What the network is built with: as it was saved, without a classifier, and for inputs of every size."""
    found = {**network.arguments, "num_classes": 0}
    if network.convnext:
        return found
    if network.trained_grid and "img_size" not in found:
        found["img_size"] = network.trained_grid * network.patch_size
    return found | {"dynamic_img_size": True}


def _check_kind(model_path: str, network: TimmNetwork, built: Any) -> None:
    registers = 0 if network.added else network.num_register_tokens
    if network.convnext or getattr(built, "num_prefix_tokens", None) == 1 + registers:
        return
    raise CheckpointError(
        f"{model_path}: {network.architecture} gives {getattr(built, 'num_prefix_tokens', 0)} tokens before the "
        f"patches, and the weights are of CLS and {registers} registers"
    )


def _tensors(network: TimmNetwork) -> dict[str, torch.Tensor]:
    if network.file.suffix != ".safetensors":
        return pth_tensors(network.file, network.prefix)
    from safetensors.torch import load_file

    held = load_file(network.file)
    own = {key.removeprefix(network.prefix): value for key, value in held.items() if key.startswith(network.prefix)}
    return {key: value.float() for key, value in own.items()}
