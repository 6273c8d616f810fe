"""How a backbone's network is held: on which devices, in which numbers, compiled or not; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_editeval.device import check_placement
from pytest_editeval.errors import CheckpointError
from pytest_editeval.vision.checkpoint_config import DTYPES

QUANTIZED = ("int8",)
DEVICE_MAPS = ("auto",)
Memory = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Placement:
    """`device` and `dtype` of the network; or, by `device_map`, all GPUs, then the CPU, then the disk, each with at
    most its part of `max_memory`. `quantize` holds the weights of its linear layers in 8 bits, `compile` compiles it.
    """

    device: str
    dtype: str = "float32"
    quantize: str | None = None
    compile: bool = False
    device_map: str | None = None
    max_memory: Memory = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("dtype", self.dtype, DTYPES),
            ("quantize", self.quantize, (None, *QUANTIZED)),
            ("device_map", self.device_map, (None, *DEVICE_MAPS)),
        ):
            if value not in allowed:
                raise CheckpointError(f"unknown {name} {value!r}; allowed: {', '.join(filter(None, allowed))}")
        check_placement(self.quantize, self.compile, self.device_map, self.max_memory)

    @property
    def alone(self) -> bool:
        """Whether one batch at a time goes through the network: its weights move, or its code is being made."""
        return self.compile or self.device_map is not None

    @property
    def differences(self) -> dict[str, Any]:
        """What changes the features a little, and is not float32 as it was saved."""
        return {name: value for name in ("quantize", "compile") if (value := getattr(self, name))}

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that only these choices need."""
        return ("accelerate",) * (self.device_map is not None) + ("torchao",) * (self.quantize is not None)

    @property
    def budget(self) -> dict[int | str, str]:
        """`max_memory` as accelerate takes it."""
        return {int(name) if name.isdigit() else name: size for name, size in self.max_memory}
