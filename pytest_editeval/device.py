"""Which device a run uses, known without importing torch, so that a header line costs nothing."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pytest_editeval.errors import EditEvalError

NAME_BYTES = 256
ALLOWED = "auto, cpu, cuda, cuda:N, mps"
MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]i?B", re.IGNORECASE)
MEMORY_HINT = "write {0: 20GiB, cpu: 60GiB}: the numbers of GPUs, or cpu"
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(name: str) -> str:
    """The name, if it is one; `EditEvalError` lists the allowed ones."""
    if not DEVICE.fullmatch(name):
        raise EditEvalError(f"unknown device {name!r}; allowed: {ALLOWED}")
    return name


def check_memory(given: object) -> tuple[tuple[str, str], ...]:
    """`max_memory`: how much of each device a network may take, by the GPU's number or ``cpu``; `EditEvalError` else.

    Pairs, or a mapping, of names and amounts such as ``20GiB``; `None` is no limit.
    """
    if given is not None and not isinstance(given, Mapping | list | tuple):
        raise EditEvalError(f"max_memory must be a mapping, found {given!r}; {MEMORY_HINT}")
    found = []
    for pair in list(given.items() if isinstance(given, Mapping) else given or ()):
        device, size = (str(part).strip() for part in pair)
        if not (device == "cpu" or device.isdigit()) or not MEMORY.fullmatch(size):
            raise EditEvalError(f"max_memory has {device}: {size}; {MEMORY_HINT}")
        found.append((device, size))
    return tuple(found)


def check_placement(quantize: str | None, compiled: bool, device_map: str | None, max_memory: object) -> None:
    """`EditEvalError` for ways to hold a network that do not go together."""
    if max_memory and not device_map:
        raise EditEvalError("max_memory is for device_map: auto, which is not set")
    if device_map and (quantize or compiled):
        other = "quantize" if quantize else "compile"
        raise EditEvalError(f"device_map: auto and {other} do not work together; take one of them")


def resolve_device(device: object = None) -> str:
    """`auto` (or `None`) is CUDA where torch was built for it and the driver reports a GPU, else the CPU.

    A `torch.device` is taken by its name.
    """
    name = "auto" if device is None else check_device(str(device))
    if name == "auto":
        return "cuda" if _torch_has_cuda() and gpu_count() else "cpu"
    return name


def spread(device: str, worker: int | None, gpus: int) -> str:
    """The device of xdist's worker N: plain `cuda` is GPU N modulo the number of GPUs, any other stays as it is."""
    return f"cuda:{worker % gpus}" if device == "cuda" and worker is not None and gpus > 1 else device


def gpu_count() -> int:
    """Number of GPUs the CUDA driver shows this process (it honours CUDA_VISIBLE_DEVICES)."""
    import ctypes

    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def gpu_name(index: int) -> str | None:
    """The name of that GPU, as the CUDA driver has it; `None` where there is none of that index."""
    import ctypes

    driver, gpu, name = _driver(), ctypes.c_int(0), ctypes.create_string_buffer(NAME_BYTES)
    if driver is None or driver.cuDeviceGet(ctypes.byref(gpu), index) != 0:
        return None
    if driver.cuDeviceGetName(name, NAME_BYTES, gpu) != 0:
        return None
    return name.value.decode("utf-8", "replace")


@cache
def _driver() -> Any:
    """The CUDA driver, initialised; `None` where there is none, or no GPU for it."""
    import ctypes  # takes longer to import than the rest of what a pytest run without edit cases loads

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


@cache
def _torch_has_cuda() -> bool:
    """`torch.version.cuda`, read from that one small file."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return False
    version = Path(spec.origin).with_name("version.py")
    module_spec = importlib.util.spec_from_file_location("_torch_version", version)
    if module_spec is None or module_spec.loader is None:
        return False
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return getattr(module, "cuda", None) is not None


def kind_of(device: str) -> str:
    """The kind of a device without its number, a GPU by its model's name: equal kinds give equal numbers."""
    kind, _, index = device.partition(":")
    name = gpu_name(int(index or 0)) if kind == "cuda" else None
    return f"{kind} {name}" if name else kind
