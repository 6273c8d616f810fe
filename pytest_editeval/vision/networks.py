"""The networks of the backbones: images -> normalised pixels -> hidden states; imported for the first image."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from pytest_editeval.errors import CheckpointError, ImageError
from pytest_editeval.faults import first_line
from pytest_editeval.regions import Geometry
from pytest_editeval.vision.checkpoint_config import BackboneInfo, read_processor
from pytest_editeval.vision.checkpoints import checkpoint_folder, local_path
from pytest_editeval.vision.dinov3_files import DINOv3File, Domain
from pytest_editeval.vision.dinov3_weights import dinov3_processor, load_dinov3_file
from pytest_editeval.vision.hub import from_hub
from pytest_editeval.vision.loading import (
    exact_arithmetic,
    float32_by_default,
    forward_turn,
    load_transformers,
    quiet,
    shared_model,
    transformers_class,
)
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.placing import TORCH_DTYPES
from pytest_editeval.vision.timm_files import Preparation, TimmNetwork

MAX_RESIZED_PIXELS = 64_000_000

PROCESSOR_ERRORS = (
    *(LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError),
    RuntimeWarning,  # under -W error
)
"""What an image processor raises of settings that do not work."""


def load_network(model_class: str, model_path: str, placement: Placement) -> nn.Module:
    """The network of a transformers class; shared by all who ask for the same."""
    found = transformers_class(model_class, model_path)
    return shared_model(
        model_class,
        model_path,
        placement,
        lambda: load_transformers(found, model_path),
        lambda options: load_transformers(found, model_path, **options),
    )


def load_file(file: DINOv3File, model_path: str, placement: Placement) -> nn.Module:
    """The network of an original DINOv3 file; shared by all who ask for the same."""
    path = local_path(model_path)
    return shared_model("DINOv3File", model_path, placement, lambda: load_dinov3_file(path, file))


def file_processor(domain: Domain) -> Any:
    """See `dinov3_processor`."""
    with quiet():
        return dinov3_processor(domain)


def load_timm_network(model_path: str, network: TimmNetwork, placement: Placement) -> nn.Module:
    """A network of timm's; shared by all who ask for the same."""
    if find_spec("timm") is None:
        raise CheckpointError(f"{model_path} needs timm, which is not installed; pip install 'pytest-editeval[timm]'")
    from pytest_editeval.vision.timm_networks import load_timm

    kind = f"timm:{network.architecture}"
    return shared_model(kind, model_path, placement, lambda: load_timm(model_path, network))


def timm_processor(preparation: Preparation) -> Any:
    """See `TimmProcessor`."""
    from pytest_editeval.vision.timm_networks import TimmProcessor

    return TimmProcessor(preparation)


def load_processor(info: BackboneInfo) -> Any:
    """The checkpoint's own image processor; `CheckpointError` when it has another way with images than `info` says."""
    model_path = info.model_path
    load: Any = transformers.AutoImageProcessor.from_pretrained
    with quiet():
        processor = from_hub(model_path, lambda: load(checkpoint_folder(model_path), trust_remote_code=False))
    # What makes every image black is not refused by those of version 4.
    if getattr(processor, "do_rescale", True) and getattr(processor, "rescale_factor", 1) == 0:
        raise CheckpointError(f"{model_path}: its preprocessor_config.json has a rescale_factor of 0")
    said = read_processor(model_path)
    if said.get("size") is not None and (info.geometry.shortest_edge is None or said.get("crop_size") is not None):
        # What is left out the network's own size may stand for.
        _check_way(processor, info)
    return processor


def _check_way(processor: Any, info: BackboneInfo) -> None:
    """Hold the geometry that was read off the files to what the processor does to an image by itself."""
    probe = Image.effect_mandelbrot((90, 60), (-2, -1.2, 1, 1.2), 30).convert("RGB")
    found = normalised([probe], processor, info.geometry, info.model_path)
    try:
        with float32_by_default():
            own = torch.as_tensor(np.asarray(processor(images=[probe], return_tensors="pt")["pixel_values"]))
    except PROCESSOR_ERRORS as error:
        raise _no_processor(info.model_path, error) from error
    if own.shape != found.shape or not torch.allclose(own, found, atol=1e-3):
        kind = processor.__class__.__name__
        raise CheckpointError(
            f"{info.model_path}: its {kind} does not resize and crop as its preprocessor_config.json says, which is "
            "not supported; allowed: a resize of the shortest edge and a centre crop, or a resize to a square"
        )


def normalised(images: Sequence[Image.Image], processor: Any, geometry: Geometry, model_path: str) -> torch.Tensor:
    """Normalised pixels `(n, 3, input_size, input_size)` of images of one size; resize and crop are the geometry's."""
    image = images[0]
    width, height = geometry.resized(image.size)
    if width * height > MAX_RESIZED_PIXELS:
        raise ImageError(
            f"a {image.width}×{image.height} image is too narrow for a shortest-edge resize (it would become "
            f"{width}×{height}); set `fit: squash`"
        )
    size = {"height": height, "width": width}
    try:
        with float32_by_default():
            batch = processor(images=list(images), size=size, do_resize=True, do_center_crop=False, return_tensors="pt")
        left, top = geometry.offset(image.size)
        side = geometry.input_size
        return cast(torch.Tensor, batch["pixel_values"][:, :, top : top + side, left : left + side])
    except PROCESSOR_ERRORS as error:
        raise _no_processor(model_path, error) from error


def _no_processor(model_path: str, error: BaseException) -> CheckpointError:
    return CheckpointError(f"{model_path}: its preprocessor_config.json does not work: {first_line(error)}")


def hidden_states(
    network: nn.Module, pixels: torch.Tensor, placement: Placement
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The last hidden state `(n, tokens, dim)` and the pooled output `(n, dim)`, if the network has one.

    Float32 whatever the network's dtype.
    """
    with exact_arithmetic(), forward_turn(placement):
        output = network(pixel_values=pixels.to(placement.device, TORCH_DTYPES[placement.dtype]))
        pooled = getattr(output, "pooler_output", None)
        hidden: NDArray[np.float32] = output.last_hidden_state.float().cpu().numpy()
        return hidden, None if pooled is None else pooled.float().cpu().numpy()
