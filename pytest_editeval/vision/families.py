"""The families of backbones (which rows of the network's output are patches, what its CLS feature is) and of SAM.

Chosen by the `model_type` of a checkpoint's `config.json`, never by its name. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONVNEXT_STEM = 4
"""A ConvNeXt's first convolution takes squares of this side; each later stage halves the grid."""


@dataclass(frozen=True)
class Family:
    """How a kind of checkpoint is loaded, and how its output is read.

    `model_class` is the network's class in transformers. Its last hidden state has `leading` rows and the registers
    before the patches; the CLS feature is the first of them, or, where there is none, the network's pooled output.
    `resizable` networks take other input sizes than the one they were trained at. `sizes` are input and patch size
    where the files do not say, and `registers` their number: the defaults of the configuration's class.
    """

    model_class: str
    sizes: tuple[int, int]
    leading: int = 1
    resizable: bool = True
    registers: int = 0

    @property
    def pooled(self) -> bool:
        """Whether the CLS feature is the pooled output."""
        return self.leading == 0


CLIP = Family("CLIPVisionModel", (224, 32), resizable=False)
SIGLIP = Family("SiglipVisionModel", (224, 16), leading=0, resizable=False)
DINOV2 = Family("AutoModel", (224, 14))
DINOV2_REGISTERS = Family("AutoModel", (224, 16), registers=4)
DINOV3 = Family("AutoModel", (224, 16))

CLIP_FAMILIES = {"clip": CLIP, "clip_vision_model": CLIP, "siglip": SIGLIP, "siglip_vision_model": SIGLIP}
"""CLIP's vision towers, and SigLIP's and SigLIP 2's of one input size, whose attention pooling stands for CLS."""

TIMM = "timm"
"""The `model_type` of a checkpoint in timm's format, which has none of its own."""

DINO_FAMILIES = {
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_REGISTERS,
    "dinov3_convnext": DINOV3,
    "dinov3_vit": DINOV3,
    TIMM: DINOV3,
}
"""DINOv3's vision transformers and ConvNeXts (whose CLS feature is the mean, which they put first), DINOv2's, and those
that timm has."""

FAMILIES: Mapping[str, Family] = CLIP_FAMILIES | DINO_FAMILIES

_NAFLEX = "its inputs have no one size (NaFlex); take the SigLIP 2 checkpoint of a fixed size, such as 224"
REFUSED = {"siglip2": _NAFLEX, "siglip2_vision_model": _NAFLEX}
"""Kinds that are near one of these, and why they are none."""


def is_timm(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of timm's format."""
    return "model_type" not in config and isinstance(config.get("architecture"), str)


def stride(vision: Mapping[str, Any]) -> object:
    """Side in pixels of what one patch looks at, by the network's part of `config.json`; `None` where it is silent."""
    depths = vision.get("depths")
    if vision.get("model_type") == "dinov3_convnext" and isinstance(depths, list) and depths:
        return CONVNEXT_STEM * 2 ** (len(depths) - 1)
    return vision.get("patch_size")


@dataclass(frozen=True)
class SamFamily:
    """A kind of SAM in transformers: the classes of its network and processor, and what the encoder gives.

    `levels` is whether that is one embedding for each of several scales, and a squashed input; else it is one embedding
    of a padded input, and with `extra` also what the encoder's global blocks gave, which the decoder wants again.
    """

    model_class: str
    processor_class: str
    levels: bool = False
    extra: bool = False


_SAM2 = SamFamily("Sam2Model", "Sam2Processor", levels=True)
_SAM3 = SamFamily("Sam3TrackerModel", "Sam3TrackerProcessor", levels=True)
_EDGETAM = SamFamily("EdgeTamModel", "Sam2Processor", levels=True)

SAM_FAMILIES: Mapping[str, SamFamily] = {
    "sam": SamFamily("SamModel", "SamProcessor"),
    "sam_hq": SamFamily("SamHQModel", "SamHQProcessor", extra=True),
    "sam2": _SAM2,
    "sam2_video": _SAM2,
    "sam3_tracker": _SAM3,
    "sam3_video": _SAM3,
    "edgetam": _EDGETAM,
    "edgetam_video": _EDGETAM,
}
"""A video checkpoint holds the network for single images, and more that is left aside."""
