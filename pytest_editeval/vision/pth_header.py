"""The names and shapes of the tensors in a file of `torch.save`, without torch and without running what is in it."""

from __future__ import annotations

import pickle  # nosec B403  # read by `_Names`, which makes no object but names and shapes
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.vision.weights import check_archive, first_bytes, is_pickle, is_safetensors

LARGEST_HEADER = 64 << 20
PARTS = ("teacher", "model", "state_dict")
"""Dictionaries of a training's checkpoint that hold a network, or another of these."""
NESTED = ("teacher.", "backbone.", "teacher.")
"""What the names of a network's weights begin with inside of a training's module, the outer part first."""

Shapes = Mapping[str, tuple[int, ...]]
_T = TypeVar("_T")


class _Shape(tuple[int, ...]):
    """A tensor, of which the shape is known."""


class _Storage:
    """Where a tensor's numbers are; not read."""


def _rebuilt(_storage: object, _offset: object, size: object, *_: object) -> _Shape:
    return _Shape(int(length) for length in size)  # type: ignore[attr-defined]  # anything that is not is refused below


def _parameter(data: object, *_: object) -> object:
    return data


class _Names(pickle.Unpickler):
    """Reads dictionaries, numbers and text; a tensor becomes its shape, and anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return _Storage
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: object) -> _Storage:
        return _Storage()


def tensor_shapes(path: Path) -> tuple[Shapes, str]:
    """Shapes by name, and the prefix that was taken off the names in the file (as a path: `teacher.backbone.`).

    A training's checkpoint holds several networks; of one with a teacher it is the teacher. `CheckpointError` when the
    file is damaged, of another format, or holds more than tensors, numbers and text.
    """
    name = display_path(path)
    size = path.stat().st_size
    start = first_bytes(path)
    if is_safetensors(start):
        raise CheckpointError(
            f"{name} is a safetensors file, which does not say what network it is of; point model_path at its directory"
        )
    if not is_pickle(start):
        raise CheckpointError(f"{name} ({size} bytes) is no file of torch.save; download it again")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{name} is in torch's format of before 2020, or not whole; torch.save it again")
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = next(entry for entry in archive.infolist() if entry.filename.split("/", 1)[-1] == "data.pkl")
            if header.file_size > LARGEST_HEADER:
                raise CheckpointError(f"{name} has a header of {header.file_size >> 20} MiB, which is no list of names")
            with archive.open(header) as stream:
                held = _Names(stream).load()
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{name} holds more than tensors ({str(error)[:80]}), and only tensors are ever loaded from a checkpoint; "
            "where you trust it, torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        reason = type(error).__name__
        raise CheckpointError(f"{name} cannot be read, download it again: {reason}") from None
    return _network(held, name)


def _network(held: object, name: str) -> tuple[Shapes, str]:
    prefix = ""
    for part in PARTS:
        inner = held.get(part) if isinstance(held, dict) else None
        if isinstance(inner, dict):
            held, prefix = inner, f"{prefix}{part}."
    if not isinstance(held, dict):
        raise CheckpointError(f"{name} holds no dictionary of tensors")
    shapes = {key: value for key, value in held.items() if isinstance(key, str) and isinstance(value, _Shape)}
    shapes, inner_prefix = innermost(shapes)
    return {key: tuple(value) for key, value in shapes.items()}, prefix + inner_prefix


def innermost(shapes: Mapping[str, _T]) -> tuple[dict[str, _T], str]:
    """What belongs to the network that is used, the teacher where there is one, and the prefix taken off its names."""
    found, prefix = dict(shapes), ""
    for inside in NESTED:
        own = {key.removeprefix(inside): value for key, value in found.items() if key.startswith(inside)}
        if own:
            found, prefix = own, prefix + inside
    return found, prefix
