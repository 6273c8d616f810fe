"""The checkpoints that the benchmarks run on, and their loading without the package under test."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import checkpoints

transformers.utils.logging.disable_progress_bar()

SAM_DECODER_HEADS = 8
PROFILES = ("embedded", "base")

CONFIG = """\
profile: {name}
metric_configs:
  emd: &clip
    pipe_name: clip-pipe
    default_config: {{model_path: "{clip}", sam: {{model_path: "{sam}"}}}}
  region_emd: *clip
  sam_clip_cls_sim: *clip
  dinov3_structure_similarity: &dinov3
    pipe_name: dino-v3-pipe
    default_config: {{model_path: "{dinov3}", sam: {{model_path: "{sam}"}}}}
  sam_dino_cls_sim: *dinov3
"""


@dataclass(frozen=True)
class Profile:
    """Three checkpoints in the standard formats; `config` is the file that names them, `None` for the embedded ones."""

    name: str
    clip: Path
    dinov3: Path
    sam: Path
    config: Path | None

    @property
    def arguments(self) -> list[str | Path]:
        """pytest's options for this profile."""
        return [] if self.config is None else ["--editeval-config", self.config]


@dataclass(frozen=True)
class Networks:
    """The loaded networks of a profile, and the image processors that come with them."""

    clip: nn.Module
    clip_processor: Any
    dinov3: nn.Module
    dinov3_processor: Any
    sam: Sam
    device: str


def embedded() -> Profile:
    """The checkpoints that come with the package."""
    spec = find_spec("pytest_editeval")
    if spec is None or spec.origin is None:
        sys.exit("pytest_editeval is not installed")
    folder = Path(spec.origin).parent / "embedded"
    return Profile("embedded", folder / "clip", folder / "dinov3", folder / "sam" / "sam.pth", None)


def named(name: str, folder: Path) -> Profile:
    """The profile of that name, one of `PROFILES`; what it has to be made of goes into the folder."""
    return embedded() if name == "embedded" else base(folder)


def base(folder: Path) -> Profile:
    """Random weights of CLIP ViT-B/32, DINOv3 ViT-S/16 and SAM ViT-B: published sizes without a download."""
    profile = _profile("base", folder)
    torch.manual_seed(0)
    clip = transformers.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    transformers.CLIPVisionModel(clip).save_pretrained(profile.clip)
    transformers.CLIPImageProcessor().save_pretrained(profile.clip)
    dinov3 = transformers.DINOv3ViTConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_register_tokens=4,
        image_size=224,
    )
    transformers.DINOv3ViTModel(dinov3).save_pretrained(profile.dinov3)
    size = {"height": 224, "width": 224}
    checkpoints.processor_class("DINOv3ViTImageProcessor")(size=size).save_pretrained(profile.dinov3)
    torch.save(sam_model_registry["vit_b"]().state_dict(), profile.sam)
    return profile


def tiny(folder: Path) -> Profile:
    """Random networks so small that a run's time is the engine's own."""
    profile = _profile("tiny", folder)
    checkpoints.make_clip(profile.clip, image_size=64, patch_size=16, width=32, layers=1)
    checkpoints.make_dinov3(profile.dinov3, image_size=64, width=32, layers=1)
    checkpoints.make_sam_pth(profile.sam, image_size=128, depth=1)
    return profile


def wide(folder: Path) -> Path:
    """A random DINOv3 of one layer that is as wide as ViT-S."""
    return checkpoints.make_dinov3(folder, width=384, heads=6, layers=1)


def load(profile: Profile, device: str) -> Networks:
    """The networks in float32 on the device, ready to encode."""
    # As the package does: products in float32 proper, so that all timings are of the same arithmetic.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    processor: Any = transformers.AutoImageProcessor.from_pretrained
    clip: Any = transformers.CLIPVisionModel.from_pretrained(profile.clip, dtype=torch.float32)
    dinov3: Any = transformers.AutoModel.from_pretrained(profile.dinov3, dtype=torch.float32)
    return Networks(
        clip=clip.eval().to(device),
        clip_processor=processor(profile.clip),
        dinov3=dinov3.eval().to(device),
        dinov3_processor=processor(profile.dinov3),
        sam=load_sam(profile.sam).eval().to(device),
        device=device,
    )


def load_sam(path: Path) -> Sam:
    """A segment-anything file, its sizes read off the shapes of the weights."""
    weights = {key: value.float() for key, value in torch.load(path, weights_only=True).items()}
    channels = weights["image_encoder.neck.0.weight"].shape[0]
    encoder = _image_encoder(weights, channels)
    grid, size = encoder.pos_embed.shape[1], encoder.img_size
    decoder = "mask_decoder.transformer.layers"
    head = "mask_decoder.iou_prediction_head.layers"
    sam = Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(
                depth=_count(weights, decoder),
                embedding_dim=channels,
                mlp_dim=weights[f"{decoder}.0.mlp.lin1.weight"].shape[0],
                num_heads=SAM_DECODER_HEADS,
            ),
            transformer_dim=channels,
            iou_head_depth=_count(weights, head),
            iou_head_hidden_dim=weights[f"{head}.0.weight"].shape[0],
        ),
    )
    sam.load_state_dict(weights)
    return sam


def _image_encoder(weights: dict[str, torch.Tensor], channels: int) -> ImageEncoderViT:
    patch = weights["image_encoder.patch_embed.proj.weight"]
    grid = weights["image_encoder.pos_embed"].shape[1]
    blocks = [f"image_encoder.blocks.{index}" for index in range(_count(weights, "image_encoder.blocks"))]
    # Relative positions are as many as a block's window asks for; a window as wide as the grid is no window.
    reach = [(weights[f"{block}.attn.rel_pos_h"].shape[0] + 1) // 2 for block in blocks]
    return ImageEncoderViT(
        img_size=grid * patch.shape[-1],
        patch_size=patch.shape[-1],
        embed_dim=patch.shape[0],
        depth=len(blocks),
        num_heads=patch.shape[0] // weights["image_encoder.blocks.0.attn.rel_pos_h"].shape[1],
        mlp_ratio=weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / patch.shape[0],
        out_chans=channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(reach),
        global_attn_indexes=tuple(index for index, size in enumerate(reach) if size == grid),
    )


def _count(weights: dict[str, torch.Tensor], prefix: str) -> int:
    return len({key[len(prefix) + 1 :].split(".")[0] for key in weights if key.startswith(f"{prefix}.")})


def _profile(name: str, folder: Path) -> Profile:
    folder.mkdir(parents=True)
    profile = Profile(name, folder / "clip", folder / "dinov3", folder / "sam.pth", folder / f"{name}.yaml")
    text = CONFIG.format(name=name, clip=profile.clip, dinov3=profile.dinov3, sam=profile.sam)
    (folder / f"{name}.yaml").write_text(text, "utf-8")
    return profile
