"""Published checkpoints that the pipes take: how large they are, and on which terms they are to be had.

A list to choose from: any other checkpoint of a known family is taken as well. Weights are in millions, of the whole
checkpoint; those of DINOv3 are counted on transformers' networks, the others as their authors give them.
"""

from __future__ import annotations

from typing import NamedTuple

OPEN = "open"
GATED = "accept the licence on its page, then `hf auth login` or HF_TOKEN"

DINOV3_LICENCE = "DINOv3 License"


class Published(NamedTuple):
    """A hub id, the pipe it is for, millions of weights, licence, and what access takes."""

    path: str
    pipe: str
    millions: float
    licence: str
    access: str = OPEN


def _dinov3(name: str, millions: float, data: str = "lvd1689m") -> Published:
    return Published(f"facebook/dinov3-{name}-pretrain-{data}", "dino-v3-pipe", millions, DINOV3_LICENCE, GATED)


PUBLISHED = (
    Published("openai/clip-vit-base-patch32", "clip-pipe", 151, "MIT"),
    Published("openai/clip-vit-base-patch16", "clip-pipe", 150, "MIT"),
    Published("openai/clip-vit-large-patch14", "clip-pipe", 428, "MIT"),
    Published("openai/clip-vit-large-patch14-336", "clip-pipe", 428, "MIT"),
    Published("google/siglip2-base-patch16-224", "clip-pipe", 375, "Apache-2.0"),
    Published("google/siglip2-so400m-patch14-384", "clip-pipe", 1136, "Apache-2.0"),
    _dinov3("vits16", 21.6),
    _dinov3("vits16plus", 28.7),
    _dinov3("vitb16", 85.7),
    _dinov3("vitl16", 303),
    _dinov3("vith16plus", 841),
    _dinov3("vit7b16", 6716),
    _dinov3("vitl16", 303, "sat493m"),
    _dinov3("vit7b16", 6716, "sat493m"),
    _dinov3("convnext-tiny", 27.8),
    _dinov3("convnext-small", 49.5),
    _dinov3("convnext-base", 87.6),
    _dinov3("convnext-large", 196),
    Published("timm:vit_small_patch16_dinov3.lvd1689m", "dino-v3-pipe", 21.6, DINOV3_LICENCE),
    Published("timm:vit_base_patch16_dinov3.lvd1689m", "dino-v3-pipe", 85.7, DINOV3_LICENCE),
    Published("timm:vit_large_patch16_dinov3.lvd1689m", "dino-v3-pipe", 303, DINOV3_LICENCE),
    Published("facebook/dinov2-small", "dino-v3-pipe", 22, "Apache-2.0"),
    Published("facebook/dinov2-base", "dino-v3-pipe", 86, "Apache-2.0"),
    Published("facebook/dinov2-large", "dino-v3-pipe", 300, "Apache-2.0"),
    Published("facebook/dinov2-with-registers-base", "dino-v3-pipe", 86, "Apache-2.0"),
    Published("facebook/sam-vit-base", "sam", 93.7, "Apache-2.0"),
    Published("facebook/sam-vit-large", "sam", 312, "Apache-2.0"),
    Published("facebook/sam-vit-huge", "sam", 641, "Apache-2.0"),
    Published("syscv-community/sam-hq-vit-base", "sam", 94.7, "Apache-2.0"),
    Published("facebook/sam2.1-hiera-tiny", "sam", 38.9, "Apache-2.0"),
    Published("facebook/sam2.1-hiera-small", "sam", 46, "Apache-2.0"),
    Published("facebook/sam2.1-hiera-base-plus", "sam", 80.8, "Apache-2.0"),
    Published("facebook/sam2.1-hiera-large", "sam", 224, "Apache-2.0"),
    Published("yonigozlan/EdgeTAM-hf", "sam", 13.9, "Apache-2.0"),
    Published("facebook/sam3", "sam", 848, "SAM License", GATED),
)
