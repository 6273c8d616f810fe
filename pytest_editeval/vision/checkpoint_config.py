"""What a checkpoint says of itself in its configuration files; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_editeval.errors import CheckpointError
from pytest_editeval.regions import Geometry
from pytest_editeval.vision.checkpoint_json import read_object
from pytest_editeval.vision.checkpoints import is_local, local_path
from pytest_editeval.vision.families import FAMILIES, TIMM, is_timm, stride
from pytest_editeval.vision.hub import hub_file

LARGEST_INPUT = 4096
SAM_TYPES = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
"""segment-anything's names for its encoders, and their widths."""

DTYPES = ("float32", "bfloat16", "float16")
KNOWN_SIZES = {
    "clip-vit-base-patch32": (224, 32),
    "clip-vit-base-patch16": (224, 16),
    "clip-vit-large-patch14": (224, 14),
    "clip-vit-large-patch14-336": (336, 14),
    "dinov3-vitb16": (224, 16),
}
"""Input size and patch size by name, for a checkpoint whose own files do not say."""
UNKNOWN_SIZES = (224, 16)
"""What stands for the sizes of a family that is not known."""

CLASS_SIZE = 224
"""Size and crop that the image processors of all families have where their file names none."""

CROPPING = ("clip", "dinov2")
"""Families whose processor crops the centre, where a file does not say which processor it is of."""

SIZES = ({"shortest_edge"}, {"height", "width"})
"""What `size` of an image processor may consist of."""


@dataclass(frozen=True)
class BackboneInfo:
    """What the checkpoint's files say: family, tokens, and the geometry of its image processor."""

    model_path: str
    model_type: str
    geometry: Geometry
    num_register_tokens: int
    trained_size: int | None


def read_json(model_path: str, name: str) -> dict[str, Any] | None:
    """One JSON file of the checkpoint; `None` when the checkpoint has no such file."""
    path = local_path(model_path) / name if is_local(model_path) else hub_file(model_path, name)
    return None if path is None else read_object(path)


def read_config(model_path: str) -> dict[str, Any]:
    """The checkpoint's `config.json`, in which timm's networks have the `model_type` ``timm``."""
    if is_local(model_path) and local_path(model_path).is_file():
        raise CheckpointError(f"{model_path} is a file, and a directory in transformers' format or a hub id is needed")
    config = read_json(model_path, "config.json")
    if config is None:
        raise CheckpointError(f"{model_path} is no checkpoint: it has no config.json")
    if is_timm(config):
        return config | {"model_type": TIMM}
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{model_path}: its config.json names no model_type")
    return config


def read_processor(model_path: str) -> dict[str, Any]:
    """The file of the checkpoint's image processor; `CheckpointError` where it has none."""
    processor = read_json(model_path, "preprocessor_config.json")
    if processor is None:
        processor = (read_json(model_path, "processor_config.json") or {}).get("image_processor")
    if not isinstance(processor, dict):
        raise CheckpointError(
            f"{model_path} has no preprocessor_config.json, so its resize and normalisation are not known; add the file"
        )
    return processor


def read_normalisation(model_path: str) -> tuple[Any, Any]:
    """`image_mean` and `image_std` as the image processor's file has them; `None` where it says that none is done."""
    processor = read_processor(model_path)
    if processor.get("do_normalize") is False:
        return None, None
    return processor.get("image_mean"), processor.get("image_std")


def read_backbone(model_path: str) -> BackboneInfo:
    """Family, geometry and tokens of a vision backbone.

    Sizes that the files leave out are those of `KNOWN_SIZES`, else its family's. `CheckpointError` when the patches do
    not divide the input, or the files contradict each other.
    """
    config = read_config(model_path)
    family = FAMILIES.get(config["model_type"])
    if family is None:  # refused by its name, whatever its processor is
        return BackboneInfo(model_path, config["model_type"], Geometry(*UNKNOWN_SIZES), 0, None)
    processor = read_processor(model_path)
    vision = config.get("vision_config") or config
    if not isinstance(vision, dict):
        raise CheckpointError(f"{model_path}: vision_config in its config.json is no JSON object")
    named = (sizes for name, sizes in reversed(KNOWN_SIZES.items()) if name in Path(model_path).name)
    known = next(named, family.sizes)
    patch_size = _square(stride(vision), known[1], model_path, "patch_size")
    trained = vision.get("image_size")
    trained = trained if isinstance(trained, int) else None
    edge, input_size = _processed_size(model_path, processor, config["model_type"], trained or known[0])
    if edge is not None and edge < input_size:
        raise CheckpointError(f"{model_path}: its image processor crops {input_size} px out of {edge} px")
    # A network of one size may leave a rest of its input out, as SigLIP's of 384 px and patches of 14 px does.
    fixed = not family.resizable and trained == input_size
    geometry = checked_geometry(model_path, input_size, patch_size, edge, whole=not fixed)
    registers = vision.get("num_register_tokens", family.registers) or 0
    if not isinstance(registers, int) or registers < 0:
        raise CheckpointError(f"{model_path}: num_register_tokens in its config.json is no whole number: {registers!r}")
    return BackboneInfo(model_path, config["model_type"], geometry, registers, trained)


def _processed_size(
    model_path: str, processor: Mapping[str, Any], model_type: str, fallback: int
) -> tuple[int | None, int]:
    """Shortest edge (`None`: the image is squashed) and input size of an image processor's file.

    What the file leaves out has the default of its class: CLIP's and DINOv2's processors resize the shortest edge and
    crop the centre, others squash, all of them to `CLASS_SIZE`. A network of one input size has `fallback` instead. A
    bare number for `size`, which older files have, means the same two things.
    """
    kind = str(processor.get("image_processor_type") or processor.get("feature_extractor_type") or "")
    crops = kind.startswith(("CLIP", "Bit")) if kind else model_type in CROPPING
    if processor.get("do_resize") is False:
        raise CheckpointError(
            f"{model_path}: its image processor does not resize (do_resize is false), so inputs have no one size"
        )
    usual = CLASS_SIZE if FAMILIES[model_type].resizable else fallback
    size = processor.get("size")
    if size is None or isinstance(size, int):
        side = size or (usual if processor.get("crop_size") is None else CLASS_SIZE)
        size = {"shortest_edge": side} if crops else {"height": side, "width": side}
    if (
        not isinstance(size, dict)
        or size.keys() not in SIZES
        or not all(isinstance(side, int) for side in size.values())
    ):
        raise CheckpointError(
            f"{model_path}: size {processor['size']!r} of its image processor is not understood; allowed: "
            "shortest_edge, or height and width"
        )
    edge: int | None = size.get("shortest_edge")
    squashed = _square(size, usual, model_path, "size") if edge is None else None
    if processor.get("do_center_crop", crops):
        input_size = _square(processor.get("crop_size"), usual, model_path, "crop_size")
        if squashed not in (None, input_size):
            raise CheckpointError(
                f"{model_path}: its image processor squashes to {squashed} px and crops {input_size} px of that, which "
                "is not supported; give it a size with a shortest_edge, or leave out the crop"
            )
        return edge, input_size
    if squashed is None:
        raise CheckpointError(
            f"{model_path}: its image processor resizes the shortest edge and does not crop, so inputs are not square"
        )
    return None, squashed


def checked_geometry(
    model_path: str, input_size: int, patch_size: int, shortest_edge: int | None, *, whole: bool = True
) -> Geometry:
    """The geometry, or a `CheckpointError` when the input has no patch, or, if it must be `whole`, a part of one."""
    if not isinstance(input_size, int) or isinstance(input_size, bool):
        raise CheckpointError(f"{model_path}: input_size is a whole number of pixels, not {input_size!r}")
    if not 0 < patch_size <= input_size or (whole and input_size % patch_size):
        raise CheckpointError(
            f"{model_path}: an input of {input_size} px is no whole number of {patch_size} px patches; "
            f"allowed: multiples of {patch_size}"
        )
    if input_size > LARGEST_INPUT or (shortest_edge or 0) > LARGEST_INPUT:
        raise CheckpointError(
            f"{model_path}: an input of {max(input_size, shortest_edge or 0)} px is too large; allowed: up to "
            f"{LARGEST_INPUT}"
        )
    return Geometry(input_size, patch_size, shortest_edge)


def _square(value: object, fallback: int, model_path: str, name: str) -> int:
    if isinstance(value, Mapping):
        height, width = value.get("height"), value.get("width")
        if height != width or not isinstance(height, int):
            raise CheckpointError(f"{model_path}: {name} {dict(value)} is not square; only square inputs are supported")
        return height
    if isinstance(value, list):
        if not value or any(length != value[0] for length in value):
            raise CheckpointError(f"{model_path}: {name} {value} is not square; only square inputs are supported")
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) else fallback
