"""The files that a checkpoint's weights are in, and what they must not be; nothing here imports torch."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.vision.checkpoint_json import read_object

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX = ".index.json"
SHARD = re.compile(r"[A-Za-z0-9_][\w.+-]*")
FLOATING = frozenset({"F64", "F32", "F16", "BF16"})
COUNTS = ("layers", "depth", "blocks")
"""In the names of settings that say how many of something a network has."""
MOST_LAYERS = 1000
SAVE_AGAIN = "save it as safetensors: model.save_pretrained(DIR)"
_REROUTED = ("transformers_weights", "quantization_config", "kernel_config", "fusion_config")
TIMM_NAME = re.compile(r"\w[\w.]*")
TIMM_SETTINGS = frozenset({"in_chans", "features_only", "out_indices", "img_size", "dynamic_img_size"})
"""What a checkpoint may ask of timm: others name files to load, or reach the hub."""
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")


@dataclass(frozen=True)
class Held:
    """How many tensors the files hold, and of how many elements at most."""

    tensors: int
    elements: int


def weight_files(model_path: str, folder: Path) -> list[Path]:
    """The files in `folder` that the weights are loaded from, an index before its shards; none where there are none.

    `CheckpointError` when an index is unreadable, or names anything but files beside it.
    """
    for name in (SAFETENSORS, PICKLED):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / (name + INDEX)
        if not index.is_file():
            continue
        shards = (read_object(index) or {}).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise CheckpointError(f"{display_path(index)} has no weight_map; download the checkpoint again")
        ending = Path(name).suffix
        for shard in shards.values():
            if not isinstance(shard, str) or not SHARD.fullmatch(shard) or not shard.endswith(ending):
                raise CheckpointError(
                    f"{display_path(index)} names the file {shard!r}; allowed: *{ending} files of the same directory"
                )
            if not (folder / shard).is_file():
                raise CheckpointError(f"{model_path} lacks {shard}, which {index.name} names; download it again")
        return [index, *(folder / shard for shard in sorted(set(shards.values())))]
    return []


def existing_weights(model_path: str, folder: Path) -> list[Path]:
    """The same; `CheckpointError` where there are none."""
    files = weight_files(model_path, folder)
    if not files:
        raise CheckpointError(f"{model_path} has no {SAFETENSORS} and no {PICKLED}; download it again")
    return files


def check_weights(model_path: str, folder: Path, config: Mapping[str, Any]) -> Held:
    """What the weights' files hold, by their headers.

    `CheckpointError` when there are none, one is not what its name says, `config.json` sends the loading elsewhere, or
    asks for more layers than there can be weights of.
    """
    files = [file for file in existing_weights(model_path, folder) if not file.name.endswith(INDEX)]
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(
            f"{model_path} holds an adapter (adapter_config.json), which is not loaded; merge it into the weights"
        )
    parts = [_safetensors(file) if file.suffix == ".safetensors" else _pickled(file) for file in files]
    held = Held(sum(part.tensors for part in parts), sum(part.elements for part in parts))
    for key, value in _settings(config):
        if (key in _REROUTED and value) or (key in _KERNELS and "/" in str(value)):
            raise CheckpointError(f"{model_path}: its config.json sets {key}, which is not supported; remove it")
        if key == "architecture" and not (isinstance(value, str) and TIMM_NAME.fullmatch(value)):
            raise CheckpointError(f"{model_path}: its config.json names the architecture {value!r}, no name of timm's")
        if key == "model_args" and value and not (isinstance(value, dict) and value.keys() <= TIMM_SETTINGS):
            raise CheckpointError(
                f"{model_path}: its config.json has model_args {value!r}; allowed: {', '.join(sorted(TIMM_SETTINGS))}"
            )
        if any(word in key for word in COUNTS):
            numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)]
            if max(numbers, default=0) > max(MOST_LAYERS, held.tensors):
                raise CheckpointError(
                    f"{model_path}: its config.json says {key} {value!r}, and its files hold {held.tensors} tensors"
                )
    return held


def needs_timm(config: Mapping[str, Any]) -> bool:
    """Whether a part of the network is one of timm's."""
    return any(key == "model_type" and value == "timm_wrapper" for key, value in _settings(config))


def check_archive(path: Path) -> None:
    """`CheckpointError` when an archive of `torch.save` is compressed: it would grow beyond measure in memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            whole = sum(entry.file_size for entry in archive.infolist()) <= path.stat().st_size
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{display_path(path)} cannot be read, download it again: {error}") from None
    if packed or not whole:
        raise CheckpointError(f"{display_path(path)} is a compressed archive, which torch.save does not write")


def is_pickle(start: bytes) -> bool:
    """Whether a file begins as torch's two formats do, a zip archive or a pickle, and not as safetensors does."""
    return start.startswith((b"PK\x03\x04", b"\x80")) and not is_safetensors(start)


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins as safetensors does: the length of its header in 8 bytes, then JSON."""
    return start[8:9] == b"{"


def first_bytes(path: Path) -> bytes:
    """Enough of the file to tell its format."""
    with path.open("rb") as stream:
        return stream.read(16)


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name of what a safetensors file holds, from its header.

    `CheckpointError` when it is damaged, a pickle, or holds weights that are no floating point numbers.
    """
    from safetensors import SafetensorError, safe_open

    name = display_path(path)
    if is_pickle(first_bytes(path)):
        raise CheckpointError(f"{name} is no safetensors file but a pickle, which is not loaded; {SAVE_AGAIN}")
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with safe_open(path, framework="np") as opened:
            for key in opened.keys():  # noqa: SIM118  it is no mapping
                tensor = opened.get_slice(key)
                if tensor.get_dtype() not in FLOATING and key.endswith((".weight", ".bias")):
                    raise CheckpointError(
                        f"{name}: {key} is stored as {tensor.get_dtype()}; allowed: {', '.join(sorted(FLOATING))}"
                    )
                shapes[key] = tuple(tensor.get_shape())
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{name} cannot be read, download it again: {reason}") from None
    return shapes


def _safetensors(path: Path) -> Held:
    shapes = safetensors_shapes(path)
    return Held(len(shapes), sum(math.prod(shape) for shape in shapes.values()))


def _pickled(path: Path) -> Held:
    """By the file's size: what is in a pickle is known once it is loaded."""
    size = path.stat().st_size
    if not is_pickle(first_bytes(path)):
        raise CheckpointError(f"{display_path(path)} ({size} bytes) is no file of torch.save; download it again")
    check_archive(path)
    return Held(MOST_LAYERS, size // 2)


def _settings(config: object) -> Iterator[tuple[str, Any]]:
    """Every key of a configuration with its value, however deep."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
