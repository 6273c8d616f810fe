"""The ready profiles on one case: time and peak memory of a run of pytest with an empty store, all five metrics.

The networks have the published sizes and random weights, which take the same time and memory; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from common import options, print_table, run_pytest, workplace, write_pair
from networks import checkpoints
from pytest_editeval.commands.ready import ready_profiles
from pytest_editeval.config import load_profile
from pytest_editeval.scoring.locking import model_paths

CASE = """\
cases:
  - id: one
    instruction: Change the object.
    source: source.png
    edited: edited.png
    coords: [{box}, {box}]
    metrics:
      emd: 1.0e+9
      region_emd: 1.0e+9
      dinov3_structure_similarity: 0
      sam_clip_cls_sim: -1
      sam_dino_cls_sim: -1
"""
LARGE_HIERA: dict[str, Any] = {
    "hidden_size": 144,
    "blocks_per_stage": [2, 6, 36, 4],
    "embed_dim_per_stage": [144, 288, 576, 1152],
    "num_attention_heads_per_stage": [2, 4, 8, 16],
    "window_size_per_stage": [8, 4, 16, 8],
    "global_attention_blocks": [23, 33, 43],
}


def clip(folder: Path, side: int, patch: int, width: int, layers: int) -> None:
    """A vision tower of CLIP's."""
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    config = transformers.CLIPVisionConfig(image_size=side, patch_size=patch, num_attention_heads=width // 64, **sizes)
    transformers.CLIPVisionModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)


def dinov3(folder: Path, width: int, layers: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """A vision transformer of DINOv3's."""
    config = transformers.DINOv3ViTConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_register_tokens=4,
        image_size=224,
    )
    transformers.DINOv3ViTModel(config).save_pretrained(folder)
    processor = checkpoints.processor_class("DINOv3ViTImageProcessor")
    size = {"height": 224, "width": 224}
    processor(size=size, image_mean=list(mean), image_std=list(std)).save_pretrained(folder)


def sam(folder: Path) -> None:
    """SAM ViT-B."""
    transformers.SamModel(transformers.SamConfig()).save_pretrained(folder)
    transformers.SamProcessor(transformers.SamImageProcessor()).save_pretrained(folder)


def sam2_large(folder: Path) -> None:
    """SAM 2.1 with its large Hiera."""
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": {"model_type": "sam2_hiera_det_model", **LARGE_HIERA},
        "backbone_channel_list": LARGE_HIERA["embed_dim_per_stage"][::-1],
    }
    transformers.Sam2Model(transformers.Sam2Config(vision_config=vision)).save_pretrained(folder)
    transformers.Sam2Processor(checkpoints.processor_class("Sam2ImageProcessor")()).save_pretrained(folder)


WEB = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SATELLITE = ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
MADE: dict[str, Callable[[Path], None]] = {
    "openai/clip-vit-base-patch32": lambda folder: clip(folder, 224, 32, 768, 12),
    "openai/clip-vit-large-patch14-336": lambda folder: clip(folder, 336, 14, 1024, 24),
    "facebook/dinov3-vits16-pretrain-lvd1689m": lambda folder: dinov3(folder, 384, 12, *WEB),
    "facebook/dinov3-vitl16-pretrain-lvd1689m": lambda folder: dinov3(folder, 1024, 24, *WEB),
    "facebook/dinov3-vitl16-pretrain-sat493m": lambda folder: dinov3(folder, 1024, 24, *SATELLITE),
    "facebook/sam-vit-base": sam,
    "facebook/sam2.1-hiera-large": sam2_large,
}


def main() -> None:
    """Take the figures and print them."""
    asked = options(__doc__, side=1024).parse_args()
    rows = []
    for name, text in ready_profiles().items():
        with workplace() as folder:
            box = write_pair(folder, asked.side)
            (folder / "one.edit.yaml").write_text(CASE.format(box=list(box)), "utf-8")
            config = folder / f"{name}.yaml"
            config.write_text(text, "utf-8")
            torch.manual_seed(0)
            for number, path in enumerate(model_paths([load_profile(config)])):
                MADE[path](folder / f"checkpoint-{number}")
                text = text.replace(f"model_path: {path}", f"model_path: ./checkpoint-{number}")
            config.write_text(text, "utf-8")
            chosen = ("-p", "no:cacheprovider", "--editeval-device", asked.device, "--editeval-config", config)
            done = run_pytest(folder, *chosen, "one.edit.yaml")
            rows.append((name, f"{done.wall:.0f} s", f"{done.peak / 1e9:.1f} GB"))
    title = f"One case on five metrics, a pair of {asked.side} x {asked.side} px, a process with nothing stored"
    print_table(title, ("", "time", "peak memory"), rows, device=asked.device)


if __name__ == "__main__":
    main()
