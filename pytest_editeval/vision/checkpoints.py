"""What a checkpoint says of itself, read from its own files; nothing here imports torch."""

from __future__ import annotations

import hashlib
import json
import os
import pickle  # nosec B403  # for the class of its errors
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.regions import Geometry
from pytest_editeval.vision.weights import INDEX, PICKLED, SAFETENSORS, SAVE_AGAIN, weight_files

HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
FILE_ENDINGS = (".pth", ".pt", ".bin", ".safetensors")
LONGEST_REASON = 240
LARGEST_JSON = 32 << 20
LARGEST_INPUT = 4096
CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
SAFETENSORS_FILES = (SAFETENSORS, "model-*.safetensors", SAFETENSORS + INDEX)
PICKLED_FILES = (PICKLED, "pytorch_model-*.bin", PICKLED + INDEX)
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

T = TypeVar("T")


@dataclass(frozen=True)
class BackboneInfo:
    """What the checkpoint's files say: family, tokens, and the geometry of its image processor."""

    model_path: str
    model_type: str
    geometry: Geometry
    num_register_tokens: int
    trained_size: int | None


def is_local(model_path: str) -> bool:
    """Whether `model_path` names a place on disk (else it is an id on the Hugging Face hub)."""
    if not HUB_ID.fullmatch(model_path) or model_path.startswith(".") or model_path.endswith(FILE_ENDINGS):
        return True
    return Path(model_path).exists()


def local_path(model_path: str) -> Path:
    """The place on disk; `CheckpointError` when nothing is there."""
    try:
        path = Path(model_path).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError):  # a name that is too long, a home directory that is not known
        path = Path(model_path)
    raise CheckpointError(f"no checkpoint at {display_path(path)}; point model_path at a directory or a hub id")


def from_hub(model_path: str, load: Callable[[], T]) -> T:
    """Run `load`, and turn every way in which the hub or the file can say no into one line with the cure."""
    from huggingface_hub import errors as hub

    copy = "or point model_path at a downloaded copy"
    try:
        return load()
    except CheckpointError:
        raise
    except Exception as error:
        causes = _chain(error)
        for cause in causes:
            if isinstance(cause, hub.GatedRepoError):
                status = getattr(cause.response, "status_code", 401)
                raise CheckpointError(
                    f"{model_path} is gated on the Hugging Face hub (HTTP {status}).\n"
                    "  1. accept the licence on the model's page   2. `hf auth login`, or set HF_TOKEN   3. run again\n"
                    f"  {copy}"
                ) from None
            if isinstance(cause, hub.RepositoryNotFoundError):
                raise CheckpointError(
                    f"{model_path} is not on the Hugging Face hub, or is private; check the name, set HF_TOKEN, {copy}"
                ) from None
            if isinstance(cause, pickle.UnpicklingError):
                raise CheckpointError(
                    f"{model_path} holds more than tensors, and only tensors are ever loaded; where you trust it, "
                    f"{SAVE_AGAIN}"
                ) from None
            if isinstance(cause, hub.EntryNotFoundError) and not isinstance(cause, hub.LocalEntryNotFoundError):
                raise CheckpointError(f"{model_path} lacks a file that is needed: {first_line(cause)}") from None
        if any(isinstance(cause, hub.LocalEntryNotFoundError | hub.OfflineModeIsEnabled) for cause in causes):
            offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
            raise CheckpointError(
                f"{model_path} is not in the local Hugging Face cache and the hub cannot be reached{offline}; "
                f"run once with access, {copy}"
            ) from None
        raise CheckpointError(
            f"{model_path} cannot be loaded: {first_line(error)}; it may be incomplete, download it again"
        ) from error


def read_json(model_path: str, name: str) -> dict[str, Any] | None:
    """One JSON file of the checkpoint; `None` when the checkpoint has no such file."""
    if is_local(model_path):
        path = local_path(model_path) / name
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        def download() -> Path | None:
            try:
                path = hf_hub_download(model_path, name)  # nosec B615  # `editeval models lock` pins it
                return Path(path)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return None

        found = from_hub(model_path, download)
        if found is None:
            return None
        path = found
    return read_object(path)


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file of a checkpoint; `None` when there is no such file."""
    name = display_path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise CheckpointError(f"{name} is larger than {LARGEST_JSON >> 20} MB; download the checkpoint again")
        data = json.loads(content.decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{name} is not readable JSON ({reason}); download the checkpoint again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{name} holds no JSON object; download the checkpoint again")
    return data


def read_config(model_path: str) -> dict[str, Any]:
    """The checkpoint's `config.json`."""
    config = read_json(model_path, "config.json")
    if config is None:
        raise CheckpointError(f"{model_path} is no checkpoint: it has no config.json")
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{model_path}: its config.json names no model_type")
    return config


def read_backbone(model_path: str, default: tuple[int, int]) -> BackboneInfo:
    """Family, geometry and tokens of a vision backbone.

    `default` is the input size and patch size where neither the files nor `KNOWN_SIZES` say. `CheckpointError` when
    the patches do not divide the input, or the files contradict each other.
    """
    config = read_config(model_path)
    processor = read_json(model_path, "preprocessor_config.json")
    if processor is None:
        processor = (read_json(model_path, "processor_config.json") or {}).get("image_processor")
    if not isinstance(processor, dict):
        raise CheckpointError(
            f"{model_path} has no preprocessor_config.json, so its resize and normalisation are not known; add the file"
        )
    vision = config.get("vision_config") or config
    if not isinstance(vision, dict):
        raise CheckpointError(f"{model_path}: vision_config in its config.json is no JSON object")
    known = next((sizes for name, sizes in reversed(KNOWN_SIZES.items()) if name in Path(model_path).name), default)
    patch_size = _square(vision.get("patch_size"), known[1], model_path, "patch_size")
    trained = vision.get("image_size")
    trained = trained if isinstance(trained, int) else None
    edge, input_size = _processed_size(model_path, processor, trained or known[0])
    if edge is not None and edge < input_size:
        raise CheckpointError(f"{model_path}: its image processor crops {input_size} px out of {edge} px")
    geometry = checked_geometry(model_path, input_size, patch_size, edge)
    registers = vision.get("num_register_tokens") or 0
    if not isinstance(registers, int) or registers < 0:
        raise CheckpointError(f"{model_path}: num_register_tokens in its config.json is no whole number: {registers!r}")
    return BackboneInfo(model_path, config["model_type"], geometry, registers, trained)


def _processed_size(model_path: str, processor: Mapping[str, Any], fallback: int) -> tuple[int | None, int]:
    """Shortest edge (`None`: the image is squashed) and input size of an image processor's file.

    What the file leaves out has the default of its class: CLIP's and DINOv2's processors resize the shortest edge and
    crop the centre, DINOv3's squashes. A bare number for `size`, which older files have, means the same two things.
    """
    kind = str(processor.get("image_processor_type") or processor.get("feature_extractor_type") or "")
    crops = kind.startswith(("CLIP", "Bit"))
    size = processor.get("size")
    if size is None or isinstance(size, int):
        size = {"shortest_edge" if crops else "height": size or fallback, "width": size or fallback}
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    if not isinstance(size, dict) or not isinstance(edge, int | None):
        raise CheckpointError(f"{model_path}: size {processor['size']!r} of its image processor is not understood")
    if processor.get("do_center_crop", crops):
        input_size = _square(processor.get("crop_size"), fallback, model_path, "crop_size")
        return (edge if edge is not None else _square(size, fallback, model_path, "size")), input_size
    if edge is not None:
        raise CheckpointError(
            f"{model_path}: its image processor resizes the shortest edge and does not crop, so inputs are not square"
        )
    return None, _square(size, fallback, model_path, "size")


def checked_geometry(model_path: str, input_size: int, patch_size: int, shortest_edge: int | None) -> Geometry:
    """The geometry, or a `CheckpointError` when the patches do not divide the input."""
    if not isinstance(input_size, int) or isinstance(input_size, bool):
        raise CheckpointError(f"{model_path}: input_size is a whole number of pixels, not {input_size!r}")
    if input_size <= 0 or patch_size <= 0 or input_size % patch_size:
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


def file_digests(model_path: str) -> dict[str, str]:
    """SHA-256 of each of the checkpoint's files, by name. What a hub id lacks on disk is downloaded."""
    try:
        stats = [(file, file.stat()) for file in checkpoint_files(model_path)]
        return {file.name: _file_digest(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats}
    except OSError as error:
        raise CheckpointError(f"{model_path} cannot be read: {first_line(error)}") from None


@cache
def _file_digest(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Once per file and process: pipes may share a checkpoint of gigabytes. Size and times tell a changed one."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checkpoint_files(model_path: str) -> list[Path]:
    """The files that are read of the checkpoint behind `model_path`, in a fixed order.

    What a hub id lacks on disk is downloaded.
    """
    if is_local(model_path):
        path = local_path(model_path)
        if path.is_file():
            return [path]
    else:
        path = hub_snapshot(model_path)
    configs = sorted(file for file in path.iterdir() if file.name in CONFIGS)
    return configs + weight_files(model_path, path)


def checkpoint_folder(model_path: str) -> Path:
    """The directory on disk that everything is loaded from: what was digested is what is loaded."""
    return local_path(model_path) if is_local(model_path) else hub_snapshot(model_path)


@cache
def hub_snapshot(model_path: str) -> Path:
    """The files of a hub id that are used, downloaded; one commit in a process, whose name the directory has."""
    path = _downloaded(model_path, SAFETENSORS_FILES)
    return path if any(path.glob("*.safetensors")) else _downloaded(model_path, PICKLED_FILES)


def hub_revision(model_path: str) -> str | None:
    """The commit that a hub id stands for in this process; `None` for a place on disk."""
    return None if is_local(model_path) else hub_snapshot(model_path).name


def _downloaded(model_path: str, weights: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*CONFIGS, *weights]

    def download() -> str:
        return snapshot_download(model_path, allow_patterns=wanted)  # nosec B615  # `editeval models lock` pins it

    return Path(from_hub(model_path, download))


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


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def first_line(error: BaseException) -> str:
    """What went wrong, short enough for one line."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].rstrip(".;:")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."
