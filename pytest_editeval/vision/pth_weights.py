"""The tensors of a file of `torch.save`, and of nothing else in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.faults import first_line
from pytest_editeval.vision.pth_header import PARTS


def pth_tensors(path: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Float32 tensors by name, of the network whose names `tensor_shapes` found behind `prefix`, which is taken off.

    `CheckpointError` when the file is damaged, or holds what is no floating point number.
    """
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(f"{display_path(path)} cannot be read, download it again: {first_line(error)}") from None
    for part in PARTS:
        if prefix.startswith(f"{part}.") and isinstance(held.get(part), dict):
            held, prefix = held[part], prefix.removeprefix(f"{part}.")
    own = {key.removeprefix(prefix): value for key, value in held.items() if key.startswith(prefix)}
    for key, value in own.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise CheckpointError(f"{display_path(path)}: {key} is no tensor of floating point numbers")
    return {key: value.float() for key, value in own.items()}
