"""The two formats of SAM checkpoints behind one pair of steps: segment-anything's `.pth`, transformers' directories."""

from __future__ import annotations

import pickle  # nosec B403  # for the class of its errors
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from pytest_editeval.errors import CheckpointError, ImageError, display_path
from pytest_editeval.faults import first_line
from pytest_editeval.registry import Box
from pytest_editeval.vision.checkpoint_config import SAM_TYPES, read_config
from pytest_editeval.vision.checkpoints import checkpoint_folder
from pytest_editeval.vision.families import SAM_FAMILIES
from pytest_editeval.vision.hub import from_hub
from pytest_editeval.vision.loading import load_transformers, shared_model, transformers_class
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.weights import check_archive, first_bytes, is_pickle, is_safetensors

DECODER_HEADS = 8
PIXEL_MEAN = [123.675, 116.28, 103.53]
PIXEL_STD = [58.395, 57.12, 57.375]
BOXES_AT_ONCE = 16

Weights = Mapping[str, torch.Tensor]
Candidates = tuple[torch.Tensor, NDArray[np.float32]]
"""Mask logits `(n, 3, h, w)` at the decoder's own size, and their predicted scores `(n, 3)`."""


class SegmentAnythingFile:
    """A `Sam` of the segment-anything package, its sizes read from the weights of a `.pth` file."""

    def __init__(self, path: Path, model_type: str | None, device: str, dtype: str) -> None:
        placement = Placement(device, dtype)
        self.model = cast(Sam, shared_model("segment-anything", str(path), placement, lambda: load_sam(path)))
        width = self.model.image_encoder.patch_embed.proj.out_channels
        if model_type is not None and width != (expected := SAM_TYPES[model_type]):
            what = f"its encoder is {width} wide, {model_type} is {expected}"
            raise CheckpointError(f"{display_path(path)} is no {model_type}: {what}")
        # segment-anything encodes prompts in float32 whatever the weights are; only the image encoder is costly.
        self.model.prompt_encoder.float()
        self.model.mask_decoder.float()

    def embed(self, images: Sequence[Image.Image]) -> list[tuple[torch.Tensor, ...]]:
        """Image embedding `(1, channels, h, w)` of each image."""
        transform = SamPredictor(self.model).transform
        _check_shapes(images, transform.target_length)
        resized = [torch.as_tensor(transform.apply_image(np.asarray(image))) for image in images]
        padded = [self.model.preprocess(pixels.permute(2, 0, 1)[None].to(self.model.device)) for pixels in resized]
        embeddings = self.model.image_encoder(torch.cat(padded).to(_dtype(self.model))).cpu()
        return [(embedding.clone(),) for embedding in embeddings.split(1)]

    def predict(self, image: Image.Image, tensors: tuple[torch.Tensor, ...], boxes: Sequence[Box]) -> Candidates:
        """See `Candidates`."""
        sam = self.model
        transform = SamPredictor(sam).transform
        features = tensors[0].to(sam.device, torch.float32)
        logits, scores = [], []
        for start in range(0, len(boxes), BOXES_AT_ONCE):
            part = torch.tensor(boxes[start : start + BOXES_AT_ONCE], dtype=torch.float32, device=sam.device)
            prompts = transform.apply_boxes_torch(part, (image.height, image.width))
            sparse, dense = sam.prompt_encoder(points=None, boxes=prompts, masks=None)
            position = sam.prompt_encoder.get_dense_pe()
            low, score = sam.mask_decoder(features, position, sparse, dense, multimask_output=True)
            logits.append(low)
            scores.append(score.float().cpu().numpy())
        return torch.cat(logits), np.concatenate(scores)

    def masks(self, image: Image.Image, logits: torch.Tensor) -> NDArray[np.bool_]:
        """Masks `(n, H, W)` of chosen logits `(n, h, w)`."""
        size = (image.height, image.width)
        resized = SamPredictor(self.model).transform.get_preprocess_shape(*size, self.model.image_encoder.img_size)
        masks = [
            (self.model.postprocess_masks(part[:, None], resized, size) > self.model.mask_threshold)[:, 0].cpu().numpy()
            for part in torch.split(logits, BOXES_AT_ONCE)
        ]
        return np.concatenate(masks)


class TransformersSam:
    """SAM, SAM-HQ, SAM 2, SAM 3's tracker or EdgeTAM from a transformers directory or hub id."""

    def __init__(self, model_path: str, device: str, dtype: str) -> None:
        self.family = SAM_FAMILIES[read_config(model_path)["model_type"]]
        name = self.family.model_class
        model_class = transformers_class(name, model_path)
        processor_class = transformers_class(self.family.processor_class, model_path)
        load = partial(load_transformers, model_class, model_path)
        self.model: Any = shared_model(name, model_path, Placement(device, dtype), load)
        self.processor = from_hub(
            model_path,
            lambda: processor_class.from_pretrained(checkpoint_folder(model_path), trust_remote_code=False),
        )

    def embed(self, images: Sequence[Image.Image]) -> list[tuple[torch.Tensor, ...]]:
        """Of each image the embedding `(1, channels, h, w)`, or one for each scale, and what else the decoder wants."""
        if not self.family.levels:  # which squash
            _check_shapes(images, self.processor.image_processor.size["longest_edge"])
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        found = self.model.get_image_embeddings(pixels.to(self.model.device, self.model.dtype))
        if self.family.extra:
            found = [found[0], *found[1]]
        levels = found if isinstance(found, list | tuple) else (found,)
        return list(zip(*(map(torch.clone, level.cpu().split(1)) for level in levels), strict=True))

    def predict(self, image: Image.Image, tensors: tuple[torch.Tensor, ...], boxes: Sequence[Box]) -> Candidates:
        """See `Candidates`; of SAM-HQ it is one, the best one refined."""
        inputs = self._inputs(image, boxes)
        levels = [level.to(self.model.device) for level in tensors]
        output = self.model(
            image_embeddings=levels if self.family.levels else levels[0],
            input_boxes=inputs["input_boxes"].to(self.model.device, self.model.dtype),
            multimask_output=True,
            **({"intermediate_embeddings": levels[1:]} if self.family.extra else {}),
        )
        return output.pred_masks[0].float(), output.iou_scores[0].float().cpu().numpy()

    def masks(self, image: Image.Image, logits: torch.Tensor) -> NDArray[np.bool_]:
        """Masks `(n, H, W)` of chosen logits `(n, h, w)`."""
        inputs = self._inputs(image, [(0.0, 0.0, 1.0, 1.0)])
        sizes = [inputs["original_sizes"]]
        if not self.family.levels:
            sizes.append(inputs["reshaped_input_sizes"])
        masks = self.processor.image_processor.post_process_masks([logits[:, None].cpu()], *sizes)[0]
        chosen: NDArray[np.bool_] = masks[:, 0].numpy().astype(bool)
        return chosen

    def _inputs(self, image: Image.Image, boxes: Sequence[Box]) -> Any:
        return self.processor(images=image, input_boxes=[[list(box) for box in boxes]], return_tensors="pt")


def _check_shapes(images: Sequence[Image.Image], side: int) -> None:
    """An `ImageError` for an image of which nothing is left when its longer side is resized to `side`."""
    for image in images:
        if int(min(image.size) * side / max(image.size) + 0.5) < 1:
            raise ImageError(
                f"a {image.width}×{image.height} image is too narrow for SAM, which resizes the longer side to {side}"
            )


def load_sam(path: Path) -> nn.Module:
    """A `Sam` with the sizes and weights of a segment-anything `.pth` file, float32 on the CPU.

    Only tensors are read from the file (`weights_only`). `CheckpointError` when it is damaged or another format.
    """
    name = display_path(path)
    weights = _read_weights(path)
    try:
        with torch.device("meta"):  # no memory is taken before the weights are known to fill it
            outline = build_sam(weights)
    except (KeyError, ValueError, RuntimeError, IndexError, ArithmeticError, TypeError) as error:
        reason = f"{type(error).__name__} {first_line(error)}"
        raise CheckpointError(f"{name} is no segment-anything checkpoint: {reason}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is copied, and that is meant
            outline.load_state_dict(weights)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()[:200]
        raise CheckpointError(f"{name} does not fit segment-anything's Sam: {problem}") from None
    model = build_sam(weights)
    model.load_state_dict(weights)
    network: nn.Module = model
    return network


def build_sam(weights: Weights) -> Sam:
    """An empty `Sam` of the sizes that the weights have.

    Everything can be read off the shapes but the decoder's number of heads, which is 8 in all published models.
    """
    patch = weights["image_encoder.patch_embed.proj.weight"]
    grid = weights["image_encoder.pos_embed"].shape[1]
    blocks = [f"image_encoder.blocks.{index}" for index in range(_count(weights, "image_encoder.blocks."))]
    reach = [(weights[f"{block}.attn.rel_pos_h"].shape[0] + 1) // 2 for block in blocks]
    windows = {size for size in reach if size != grid}
    if len(windows) > 1:
        raise ValueError(f"several window sizes: {sorted(windows)}")
    mlp = weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0]
    channels = weights["image_encoder.neck.0.weight"].shape[0]
    decoder = "mask_decoder.transformer.layers"
    head = "mask_decoder.iou_prediction_head.layers"
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=grid * patch.shape[-1],
            patch_size=patch.shape[-1],
            embed_dim=patch.shape[0],
            depth=len(blocks),
            num_heads=patch.shape[0] // weights["image_encoder.blocks.0.attn.rel_pos_h"].shape[1],
            mlp_ratio=mlp / patch.shape[0],
            out_chans=channels,
            qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in weights,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=windows.pop() if windows else 0,
            global_attn_indexes=tuple(index for index, size in enumerate(reach) if size == grid),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch.shape[-1], grid * patch.shape[-1]),
            mask_in_chans=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=weights["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            transformer=TwoWayTransformer(
                depth=_count(weights, f"{decoder}."),
                embedding_dim=channels,
                mlp_dim=weights[f"{decoder}.0.mlp.lin1.weight"].shape[0],
                num_heads=DECODER_HEADS,
            ),
            transformer_dim=channels,
            iou_head_depth=_count(weights, f"{head}."),
            iou_head_hidden_dim=weights[f"{head}.0.weight"].shape[0],
        ),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
    )


def _read_weights(path: Path) -> Weights:
    name = display_path(path)
    start = first_bytes(path)
    if not is_pickle(start):
        if is_safetensors(start):
            raise CheckpointError(f"{name} is a safetensors file; point model_path at its transformers directory")
        raise CheckpointError(f"{name} ({path.stat().st_size} bytes) is no file of torch.save; download it again")
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own, about how the file was pickled
            weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{name} holds more than tensors, and only tensors are ever loaded from a checkpoint; where you trust it, "
            "torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{name} cannot be read, download it again: {first_line(error)}") from None
    whole = isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())
    if not whole or "image_encoder.patch_embed.proj.weight" not in weights:
        raise CheckpointError(
            f"{name} is no segment-anything checkpoint (a state dict with image_encoder, prompt_encoder, ...); "
            "for SAM 2 point model_path at its transformers directory or hub id"
        )
    for key, value in weights.items():
        if not _is_stored(value):
            raise CheckpointError(f"{name}: {key} is no dense tensor of floating point numbers that are in the file")
    return cast(Weights, weights)


def _is_stored(tensor: torch.Tensor) -> bool:
    """Whether the file holds every element: a view may repeat one number without end."""
    dense = tensor.layout is torch.strided and tensor.is_floating_point()
    return dense and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _count(weights: Weights, prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def _dtype(model: Sam) -> torch.dtype:
    dtype: torch.dtype = model.image_encoder.pos_embed.dtype
    return dtype
