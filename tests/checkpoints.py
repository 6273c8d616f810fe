"""Tiny random checkpoints in the true file formats, for tests that must not download anything.

Every factory is seeded, writes into the folder (or file) it is given and returns that path. The
weights are random but not degenerate: initialisations are scaled up, so that the features of two
images differ clearly and SAM's masks are usually neither empty nor full.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]

_LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def processor_class(name: str) -> Any:
    """An image processor of transformers; 4.56 has some of them under the name with "Fast" only."""
    return getattr(hf, name, None) or getattr(hf, f"{name}Fast")


# --- backbones -----------------------------------------------------------------------------------


def make_clip(
    path: str | Path,
    image_size: int = 224,
    patch_size: int = 32,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    seed: int = 0,
    crop: bool = True,
    full: bool = False,
) -> Path:
    """A `CLIPVisionModel` folder; with `full` the whole text-and-vision `CLIPModel`, as published.

    `crop=False` writes a processor that squashes the image instead of cropping its centre. A `full`
    folder also carries the published preprocessor file in its old spelling: sizes are plain
    integers and the class is named by `feature_extractor_type`. The vision weights of `full=True`
    and `full=False` are equal for equal arguments.
    """
    folder = _folder(path)
    vision = hf.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=image_size,
        patch_size=patch_size,
        projection_dim=16,
    )
    with _seeded(seed):
        model: Any = hf.CLIPVisionModel(vision)
        _randomise(model)
        if full:
            text = hf.CLIPTextConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                vocab_size=64,
                max_position_embeddings=16,
                projection_dim=16,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
            whole = hf.CLIPModel(
                hf.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
            )
            tower = getattr(model, "vision_model", model)  # in 4.56 the tower is a part of the class
            whole.vision_model.load_state_dict(tower.state_dict())
            model = whole
    model.save_pretrained(folder)
    if not full:
        size = {"shortest_edge": image_size} if crop else _square(image_size)
        hf.CLIPImageProcessor(size=size, crop_size=_square(image_size), do_center_crop=crop).save_pretrained(folder)
    else:
        settings = {
            "crop_size": image_size,
            "do_center_crop": crop,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "size": image_size if crop else _square(image_size),
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))
    return folder


def make_siglip(
    path: str | Path,
    image_size: int = 224,
    patch_size: int = 16,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    seed: int = 0,
    full: bool = False,
) -> Path:
    """A `SiglipVisionModel` folder; with `full` the text-and-vision `SiglipModel`, as published.

    The format of SigLIP, and of SigLIP 2 at one input size.
    """
    folder = _folder(path)
    vision = hf.SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=image_size,
        patch_size=patch_size,
    )
    with _seeded(seed):
        model: Any = hf.SiglipVisionModel(vision)
        _randomise(model)
        if full:
            text = hf.SiglipTextConfig(
                hidden_size=width,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                vocab_size=64,
                max_position_embeddings=16,
                projection_size=width,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
            whole = hf.SiglipModel(hf.SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))
            tower = getattr(model, "vision_model", model)
            whole.vision_model.load_state_dict(tower.state_dict())
            model = whole
    model.save_pretrained(folder)
    processor_class("SiglipImageProcessor")(size=_square(image_size)).save_pretrained(folder)
    return folder


def make_dinov3_convnext(
    path: str | Path,
    image_size: int = 224,
    widths: tuple[int, ...] = (8, 16, 24, 32),
    depths: tuple[int, ...] = (1, 1, 2, 1),
    seed: int = 0,
) -> Path:
    """A `DINOv3ConvNextModel` folder, whose grid is that of patches of 32 px where there are four stages."""
    folder = _folder(path)
    config = hf.DINOv3ConvNextConfig(hidden_sizes=list(widths), depths=list(depths), image_size=image_size)
    with _seeded(seed):
        model = hf.DINOv3ConvNextModel(config)
        _randomise(model)
    model.save_pretrained(folder)
    processor_class("DINOv3ViTImageProcessor")(
        size=_square(image_size), image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD
    ).save_pretrained(folder)
    return folder


def make_dinov3(
    path: str | Path,
    image_size: int = 224,
    patch_size: int = 16,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    registers: int = 4,
    gated: bool = False,
    seed: int = 0,
) -> Path:
    """A `DINOv3ViTModel` folder; its processor squashes the image to a square.

    `gated` is the MLP of the sizes S+, H+ and 7B.
    """
    folder = _folder(path)
    config = hf.DINOv3ViTConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=image_size,
        patch_size=patch_size,
        num_register_tokens=registers,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )
    with _seeded(seed):
        model = hf.DINOv3ViTModel(config)
        _randomise(model)
    model.save_pretrained(folder)
    processor_class("DINOv3ViTImageProcessor")(
        size=_square(image_size), image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD
    ).save_pretrained(folder)
    return folder


def make_dinov2(
    path: str | Path,
    image_size: int = 224,
    patch_size: int = 14,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    registers: int = 0,
    seed: int = 0,
) -> Path:
    """A `Dinov2Model` folder, or `Dinov2WithRegistersModel` when there are registers.

    As published, the processor resizes the shortest edge to 8/7 of the input (256 for 224) and
    crops the centre, so the crop is smaller than the resized image on both axes.
    """
    folder = _folder(path)
    common: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": image_size,
        "patch_size": patch_size,
        "mlp_ratio": 2,
    }
    with _seeded(seed):
        model: Any
        if registers:
            model = hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(num_register_tokens=registers, **common))
        else:
            model = hf.Dinov2Model(hf.Dinov2Config(**common))
        _randomise(model)
    model.save_pretrained(folder)
    hf.BitImageProcessor(
        size={"shortest_edge": image_size * 8 // 7},
        crop_size=_square(image_size),
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    ).save_pretrained(folder)
    return folder


def dinov3_file_weights(
    width: int = 32,
    layers: int = 2,
    heads: int = 2,
    patch_size: int = 16,
    registers: int = 4,
    gated: bool = False,
    biased: bool = True,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """The state dict of an original DINOv3 vision transformer, under the names of its published files."""
    dice = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=dice) / math.sqrt(shape[-1] if len(shape) > 1 else 8)

    inner = 3 * width
    head = width // heads
    found = {
        "cls_token": normal(1, 1, width) * 3,
        "mask_token": normal(1, width),
        "patch_embed.proj.weight": torch.randn(width, 3, patch_size, patch_size, generator=dice) / (2 * patch_size),
        "patch_embed.proj.bias": normal(width),
        "rope_embed.periods": 100.0 ** (torch.arange(head // 4) / (head // 4)),
        "norm.weight": 1 + normal(width),
        "norm.bias": normal(width),
        "local_cls_norm.weight": torch.ones(width),
    }
    if registers:
        found["storage_tokens"] = normal(1, registers, width) * 3
    for layer in range(layers):
        block = {
            "norm1.weight": 1 + normal(width),
            "norm1.bias": normal(width),
            "attn.qkv.weight": normal(3 * width, width),
            "attn.proj.weight": normal(width, width),
            "attn.proj.bias": normal(width),
            "ls1.gamma": 0.5 + normal(width),
            "norm2.weight": 1 + normal(width),
            "norm2.bias": normal(width),
            "ls2.gamma": 0.5 + normal(width),
        }
        if biased:
            block["attn.qkv.bias"] = normal(3 * width)  # that of the keys counts for nothing, by the mask
            block["attn.qkv.bias_mask"] = torch.cat([torch.ones(width), torch.zeros(width), torch.ones(width)])
        linear = {"w1": (inner, width), "w2": (inner, width), "w3": (width, inner)}
        for name, shape in (linear if gated else {"fc1": (inner, width), "fc2": (width, inner)}).items():
            block |= {f"mlp.{name}.weight": normal(*shape), f"mlp.{name}.bias": normal(shape[0])}
        found |= {f"blocks.{layer}.{name}": value for name, value in block.items()}
    return found


def dinov3_convnext_file_weights(
    widths: tuple[int, ...] = (8, 16, 24, 32), depths: tuple[int, ...] = (1, 1, 2, 1), seed: int = 0
) -> dict[str, torch.Tensor]:
    """The same of an original DINOv3 ConvNeXt."""
    dice = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 8
        return torch.randn(*shape, generator=dice) / math.sqrt(fan_in)

    found = {}
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        before, side = (3, 4) if stage == 0 else (widths[stage - 1], 2)
        convolution, norm = (0, 1) if stage == 0 else (1, 0)
        found |= {
            f"downsample_layers.{stage}.{convolution}.weight": normal(width, before, side, side),
            f"downsample_layers.{stage}.{convolution}.bias": normal(width),
        }
        normed = width if stage == 0 else before
        found |= {
            f"downsample_layers.{stage}.{norm}.weight": 1 + normal(normed),
            f"downsample_layers.{stage}.{norm}.bias": normal(normed),
        }
        for layer in range(depth):
            block = {
                "gamma": 0.5 + normal(width),
                "dwconv.weight": normal(width, 1, 7, 7),
                "dwconv.bias": normal(width),
                "norm.weight": 1 + normal(width),
                "norm.bias": normal(width),
                "pwconv1.weight": normal(4 * width, width),
                "pwconv1.bias": normal(4 * width),
                "pwconv2.weight": normal(width, 4 * width),
                "pwconv2.bias": normal(width),
            }
            found |= {f"stages.{stage}.{layer}.{name}": value for name, value in block.items()}
    found |= {"norm.weight": 1 + normal(widths[-1]), "norm.bias": normal(widths[-1])}
    return found | {"norms.3.weight": found["norm.weight"], "norms.3.bias": found["norm.bias"]}


# --- segment anything ----------------------------------------------------------------------------


def build_sam(
    image_size: int = 256,
    patch: int = 16,
    embed_dim: int = 32,
    depth: int = 2,
    head_dim: int = 16,
    window: int = 8,
    prompt_dim: int = 32,
) -> Sam:
    """An untrained `segment_anything` model; only the last encoder block attends globally.

    Everything that is not a parameter here is as in the published vit_b, vit_l and vit_h.
    """
    grid = image_size // patch
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=depth,
            embed_dim=embed_dim,
            img_size=image_size,
            mlp_ratio=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=embed_dim // head_dim,
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(depth - 1,),
            window_size=window,
            out_chans=prompt_dim,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=prompt_dim, mlp_dim=2048, num_heads=8),
            transformer_dim=prompt_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    ).eval()


def make_sam_pth(
    path_file: str | Path,
    image_size: int = 256,
    patch: int = 16,
    embed_dim: int = 32,
    depth: int = 2,
    head_dim: int = 16,
    window: int = 8,
    prompt_dim: int = 32,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    empty: bool = False,
) -> Path:
    """A plain `segment_anything` state dict; with `empty` every mask of every box is empty."""
    file = Path(path_file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _seeded(seed):
        sam = build_sam(image_size, patch, embed_dim, depth, head_dim, window, prompt_dim)
        _randomise(sam)
        decoder = sam.mask_decoder
        _tame_masks(
            run=partial(_run_sam, sam, image_size),
            zero_mean=[decoder.output_upscaling[3]],
            hypernetworks=[mlp.layers[-1] for mlp in decoder.output_hypernetworks_mlps],
            scores=decoder.iou_prediction_head.layers[-1],
            empty=empty,
        )
    torch.save({key: value.to(dtype) for key, value in sam.state_dict().items()}, file)
    return file


def load_sam_pth(path_file: str | Path, **dims: int) -> Sam:
    """The model back from `make_sam_pth`, given the same dimensions, in float32."""
    sam = build_sam(**dims)
    state = torch.load(path_file, weights_only=True)
    sam.load_state_dict({key: value.float() for key, value in state.items()})
    return sam


def make_sam_hf(
    path: str | Path,
    image_size: int = 256,
    patch: int = 16,
    embed_dim: int = 32,
    depth: int = 2,
    head_dim: int = 16,
    window: int = 8,
    prompt_dim: int = 32,
    seed: int = 0,
    empty: bool = False,
) -> Path:
    """A `transformers` `SamModel` folder with its `SamProcessor`."""
    folder = _folder(path)
    config = hf.SamConfig(
        vision_config={
            "hidden_size": embed_dim,
            "output_channels": prompt_dim,
            "num_hidden_layers": depth,
            "num_attention_heads": embed_dim // head_dim,
            "image_size": image_size,
            "patch_size": patch,
            "window_size": window,
            "global_attn_indexes": [depth - 1],
            "num_pos_feats": prompt_dim // 2,
        },
        prompt_encoder_config={"hidden_size": prompt_dim, "image_size": image_size, "patch_size": patch},
        mask_decoder_config={"hidden_size": prompt_dim, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    )
    with _seeded(seed):
        model = hf.SamModel(config).eval()
        _randomise(model)
        decoder = model.mask_decoder
        _tame_masks(
            run=partial(_run_hf, model, image_size),
            zero_mean=[decoder.upscale_conv2],
            hypernetworks=[mlp.proj_out for mlp in decoder.output_hypernetworks_mlps],
            scores=decoder.iou_prediction_head.proj_out,
            empty=empty,
        )
    model.save_pretrained(folder)
    hf.SamProcessor(
        hf.SamImageProcessor(
            size={"longest_edge": image_size},
            pad_size=_square(image_size),
            mask_size={"longest_edge": image_size // 4},
            mask_pad_size=_square(image_size // 4),
        )
    ).save_pretrained(folder)
    return folder


def make_sam2_hf(
    path: str | Path,
    image_size: int = 256,
    prompt_dim: int = 32,
    seed: int = 0,
    empty: bool = False,
) -> Path:
    """A `transformers` `Sam2Model` folder with its `Sam2Processor`: five Hiera blocks."""
    folder = _folder(path)
    widths = [8, 16, 32, 64]
    config = hf.Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": widths[0],
                "image_size": [image_size, image_size],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [8, 4, 8, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[image_size // step] * 2 for step in (4, 8, 16)],
            "fpn_hidden_size": prompt_dim,
        },
        prompt_encoder_config={"hidden_size": prompt_dim, "image_size": image_size, "patch_size": 16},
        mask_decoder_config={"hidden_size": prompt_dim, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    )
    with _seeded(seed):
        model = hf.Sam2Model(config).eval()
        _randomise(model)
        decoder = model.mask_decoder
        _tame_masks(
            run=partial(_run_hf, model, image_size),
            zero_mean=[decoder.upscale_conv2, decoder.conv_s0],
            hypernetworks=[mlp.proj_out for mlp in decoder.output_hypernetworks_mlps],
            scores=decoder.iou_prediction_head.proj_out,
            empty=empty,
        )
    model.save_pretrained(folder)
    hf.Sam2Processor(
        processor_class("Sam2ImageProcessor")(size=_square(image_size), mask_size=_square(image_size // 4))
    ).save_pretrained(folder)
    return folder


def make_sam_hq(
    path: str | Path,
    image_size: int = 256,
    patch: int = 16,
    embed_dim: int = 32,
    depth: int = 3,
    prompt_dim: int = 32,
    seed: int = 0,
) -> Path:
    """A `transformers` `SamHQModel` folder with its `SamHQProcessor`: the blocks 1 and last attend globally."""
    folder = _folder(path)
    config = hf.SamHQConfig(
        vision_config={
            "hidden_size": embed_dim,
            "output_channels": prompt_dim,
            "num_hidden_layers": depth,
            "num_attention_heads": embed_dim // 16,
            "image_size": image_size,
            "patch_size": patch,
            "window_size": 8,
            "global_attn_indexes": [1, depth - 1],
            "num_pos_feats": prompt_dim // 2,
            "mlp_dim": 64,
        },
        prompt_encoder_config={"hidden_size": prompt_dim, "image_size": image_size, "patch_size": patch},
        mask_decoder_config={
            "hidden_size": prompt_dim,
            "mlp_dim": 64,
            "iou_head_hidden_dim": 32,
            "vit_dim": embed_dim,
        },
    )
    with _seeded(seed):
        model = hf.SamHQModel(config).eval()
        _randomise(model)
    model.save_pretrained(folder)
    hf.SamHQProcessor(
        hf.SamImageProcessor(
            size={"longest_edge": image_size},
            pad_size=_square(image_size),
            mask_size={"longest_edge": image_size // 4},
            mask_pad_size=_square(image_size // 4),
        )
    ).save_pretrained(folder)
    return folder


def make_sam3_tracker(path: str | Path, image_size: int = 224, prompt_dim: int = 32, seed: int = 0) -> Path:
    """A `transformers` `Sam3TrackerModel` folder with its `Sam3TrackerProcessor`: two blocks, patches of 14 px."""
    folder = _folder(path)
    grid = image_size // 14
    config = hf.Sam3TrackerConfig(
        vision_config={
            "model_type": "sam3_vision_model",
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": image_size,
                "patch_size": 14,
                "pretrain_image_size": image_size // 2,
                "window_size": 8,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": prompt_dim,
            "backbone_feature_sizes": [[grid * step] * 2 for step in (4, 2, 1)],
        },
        prompt_encoder_config={"hidden_size": prompt_dim, "image_size": image_size, "patch_size": 14},
        mask_decoder_config={"hidden_size": prompt_dim, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    )
    with _seeded(seed):
        model = hf.Sam3TrackerModel(config).eval()
        _randomise(model)
    model.save_pretrained(folder)
    processor = processor_class("Sam3ImageProcessor")(size=_square(image_size), mask_size=_square(grid * 4))
    hf.Sam3TrackerProcessor(processor).save_pretrained(folder)
    return folder


def make_sam3(path: str | Path, image_size: int = 224, prompt_dim: int = 32, seed: int = 0) -> Path:
    """A `transformers` `Sam3VideoModel` folder, the format SAM 3 is published in: detector, tracker, processor."""
    folder = make_sam3_tracker(path, image_size, prompt_dim, seed)
    tracker = json.loads((folder / "config.json").read_text("utf-8"))
    vision = tracker["vision_config"]
    block = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = {"vocab_size": 64, "max_position_embeddings": 16, "projection_dim": 32}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = hf.Sam3VideoConfig(
        detector_config={
            "vision_config": vision,
            "text_config": {**block, **text, "num_hidden_layers": 1},
            "geometry_encoder_config": {**block, "num_layers": 1},
            "detr_encoder_config": {**block, "num_layers": 1},
            "detr_decoder_config": {**block, "num_layers": 1, "num_queries": 4},
            "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
        },
        tracker_config={
            "image_size": image_size,
            "vision_config": vision,
            "prompt_encoder_config": tracker["prompt_encoder_config"],
            "mask_decoder_config": tracker["mask_decoder_config"],
            "memory_attention_hidden_size": 32,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 64,
            "memory_attention_rope_feat_sizes": [image_size // 14] * 2,
            "memory_encoder_hidden_size": 32,
            "memory_encoder_output_channels": 16,
            "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32,
            "memory_fuser_intermediate_dim": 64,
            "memory_fuser_num_layers": 1,
        },
    )
    with _seeded(seed):
        model = hf.Sam3VideoModel(config).eval()
        _randomise(model)
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    # transformers 5 writes the name of the part twice, the published files have it once.
    once = {name.replace("tracker_model.tracker_model.", "tracker_model."): value for name, value in weights.items()}
    save_file(once, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_edgetam(path: str | Path, image_size: int = 256, prompt_dim: int = 32, seed: int = 0) -> Path:
    """A `transformers` `EdgeTamModel` folder with its processor: timm's smallest RepViT, as published in kind."""
    folder = _folder(path)
    config = hf.EdgeTamConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m0_9",
                "do_pooling": False,
                "num_classes": 2,
                "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
            },
            "backbone_channel_list": [384, 192, 96, 48],
            "backbone_feature_sizes": [[image_size // step] * 2 for step in (4, 8, 16)],
            "fpn_hidden_size": prompt_dim,
        },
        prompt_encoder_config={"hidden_size": prompt_dim, "image_size": image_size, "patch_size": 16},
        mask_decoder_config={"hidden_size": prompt_dim, "mlp_dim": 64, "iou_head_hidden_dim": 32},
    )
    with _seeded(seed):
        model = hf.EdgeTamModel(config).eval()
        _randomise(model)
    model.save_pretrained(folder)
    hf.Sam2Processor(
        processor_class("Sam2ImageProcessor")(size=_square(image_size), mask_size=_square(image_size // 4))
    ).save_pretrained(folder)
    return folder


def make_timm(path: str | Path, architecture: str, seed: int = 0, **arguments: Any) -> Path:
    """A network of timm's with random weights, saved as `timm.models.save_for_hf` does."""
    import timm

    folder = _folder(path)
    with _seeded(seed):
        model = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
        _randomise(model)
    config = {"pretrained_cfg": {**model.pretrained_cfg, "input_size": (3, *timm_input(model))}}
    timm.models.save_for_hf(model, folder, config, safe_serialization=True, model_args={"num_classes": 0, **arguments})
    (folder / "pytorch_model.bin").unlink(missing_ok=True)
    return folder


def timm_input(model: Any) -> tuple[int, int]:
    """Height and width of the input a network of timm's was made for."""
    embed = getattr(model, "patch_embed", None)
    return (96, 96) if embed is None else tuple(embed.img_size)


# --- weights -------------------------------------------------------------------------------------


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        yield


def _randomise(model: nn.Module, gain: float = 1.5) -> None:
    """Fresh values for every parameter; layer scales stay as they are."""
    done: set[int] = set()
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, _LINEAR):
            fan_in = math.prod(module.weight.shape[1:])
            module.weight.normal_(0, gain / math.sqrt(fan_in))
            if module.bias is not None:
                module.bias.normal_(0, 0.2)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0, 0.5)
        elif "Norm" in type(module).__name__:
            for name, value in own.items():
                value.normal_(1.0 if name == "weight" else 0.0, 0.1)
        else:
            continue
        done.update(id(value) for value in own.values())
    for name, value in model.named_parameters():
        if id(value) not in done and "lambda" not in name and "layer_scale" not in name:
            value.normal_(0, 4.0 if "pos_embed" in name else 0.5)
    for name, value in model.named_buffers():
        # The frequencies of SAM's random position code: one is the published scale.
        if name.endswith("positional_embedding"):
            value.normal_()


def _tame_masks(
    run: Callable[[], torch.Tensor],
    zero_mean: list[Any],
    hypernetworks: list[nn.Linear],
    scores: nn.Linear,
    empty: bool,
) -> None:
    """Give the mask decoder weights whose logits are centred on zero, or all negative if `empty`.

    A logit is the product of a hypernetwork's output with GELU features. Weights come in pairs
    `(w, -w)` on both sides, and `GELU(x) - GELU(-x) = x`, so the logit is linear in x; x is then
    centred by the bias that makes its mean zero over a few pictures and boxes. The predicted
    scores are centred too, so that it depends on picture and box which of the masks is the best.
    """
    for conv in zero_mean:
        # One value per kernel, as in nearest-neighbour upsampling, gives masks of fewer pieces.
        conv.weight.copy_(conv.weight.mean(dim=(2, 3), keepdim=True).expand_as(conv.weight) * 2)
        outputs = 1 if isinstance(conv, nn.ConvTranspose2d) else 0
        half = conv.weight.shape[outputs] // 2
        kept = conv.weight.narrow(outputs, 0, half)
        conv.weight.copy_(torch.cat([kept, -kept], dim=outputs))
        conv.bias.zero_()
    for last in hypernetworks:
        half = last.weight.shape[0] // 2
        last.weight.copy_(torch.cat([last.weight[:half], -last.weight[:half]]))
        last.bias.copy_(torch.cat([last.bias[:half], -last.bias[:half]]))

    for conv, seen in _outputs(run, zero_mean).items():
        conv.bias.copy_(-seen.mean(dim=(0, 2, 3)))
    rated = _outputs(run, [scores])[scores].flatten(0, -2)
    spread = rated.std(dim=0)
    scores.weight.div_(spread[:, None])
    scores.bias.sub_(rated.mean(dim=0)).div_(spread)
    logits = run()
    for last in hypernetworks:
        last.weight.mul_(8 / logits.std())
        last.bias.mul_(8 / logits.std())
    if empty:
        for conv in zero_mean:
            conv.weight.zero_()
            conv.bias.fill_(1.0)
        for last in hypernetworks:
            last.weight.zero_()
            last.bias.fill_(-1.0)


def _outputs(run: Callable[[], torch.Tensor], modules: list[nn.Module]) -> dict[nn.Module, torch.Tensor]:
    """What the modules put out during one run, concatenated along the first axis."""
    seen: dict[nn.Module, list[torch.Tensor]] = {module: [] for module in modules}
    hooks = [
        module.register_forward_hook(lambda which, _, output: seen[which].append(output.clone())) for module in modules
    ]
    run()
    for hook in hooks:
        hook.remove()
    return {module: torch.cat(outputs) for module, outputs in seen.items()}


def _pictures(size: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Blurred noise in SAM's value range (count, 3, size, size), and a box for each (count, 4)."""
    dice = torch.Generator().manual_seed(0)
    noise = torch.rand(count, 3, 6, 6, generator=dice) * 4.5 - 2.1
    pictures = nn.functional.interpolate(noise, (size, size), mode="bilinear")
    corners = torch.rand(count, 2, generator=dice) * size / 2
    return pictures, torch.cat([corners, corners + size / 3], dim=1)


def _run_sam(sam: Sam, size: int) -> torch.Tensor:
    """Mask logits (count, 3, size / 4, size / 4)."""
    pictures, boxes = _pictures(size)
    logits = []
    for feature, box in zip(sam.image_encoder(pictures), boxes, strict=True):
        sparse, dense = sam.prompt_encoder(points=None, boxes=box[None], masks=None)
        place = sam.prompt_encoder.get_dense_pe()
        logits.append(sam.mask_decoder(feature[None], place, sparse, dense, True)[0])
    return torch.cat(logits)


def _run_hf(model: nn.Module, size: int) -> torch.Tensor:
    """Mask logits (count, 1, 3, size / 4, size / 4)."""
    pictures, boxes = _pictures(size)
    found = model(pixel_values=pictures, input_boxes=boxes[:, None], multimask_output=True)
    return found.pred_masks


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _square(size: int) -> dict[str, int]:
    return {"height": size, "width": size}
