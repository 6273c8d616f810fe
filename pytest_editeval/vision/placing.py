"""Networks put where a placement says: on one device, over several with the disk behind them, in 8 bits, compiled."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import nn

from pytest_editeval.errors import CheckpointError
from pytest_editeval.faults import first_line
from pytest_editeval.vision.checkpoint_config import DTYPES
from pytest_editeval.vision.placement import Placement

TORCH_DTYPES = {name: getattr(torch, name) for name in DTYPES}
WHOLE_BLOCKS = ("Block", "EvaBlock", "ConvNeXtBlock")
"""What stays on one device of timm's networks; transformers' say it themselves."""
INSTALL = "pip install 'pytest-editeval[large]'"
COMPILERS = ("torch._dynamo", "torch._inductor")

# What lies on the disk has been asked to.
logging.getLogger("accelerate.big_modeling").addFilter(lambda record: "on the meta device" not in record.getMessage())

Spread = Callable[[dict[str, Any]], nn.Module]


def placed(placement: Placement, load: Callable[[], nn.Module], spread: Spread | None = None) -> nn.Module:
    """The network that `load` makes on the CPU, in evaluation mode, where and how `placement` says.

    `spread` loads it straight to several devices, given `from_pretrained`'s options; without it the network passes
    through the CPU's memory. `CheckpointError` when a library that this needs is not installed.
    """
    if placement.device_map:
        return _still(_spread_out(placement, load, spread))
    network = _still(load().to(device=placement.device, dtype=TORCH_DTYPES[placement.dtype]))
    if placement.quantize:
        network = _quantized(network)
    return cast(nn.Module, torch.compile(network)) if placement.compile else network


def compiler_failed(error: BaseException) -> bool:
    """Whether it is torch's compiler that failed, and not the network."""
    return type(error).__module__.startswith(COMPILERS)


def _still(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


def _spread_out(placement: Placement, load: Callable[[], nn.Module], spread: Spread | None) -> nn.Module:
    if find_spec("accelerate") is None:
        raise CheckpointError(f"device_map: auto needs accelerate, which is not installed; {INSTALL}")
    from accelerate.utils import get_max_memory

    budget: dict[Any, Any] = dict(placement.budget) or get_max_memory()
    if placement.device == "cpu":
        budget = {"cpu": budget["cpu"]} if "cpu" in budget else {"cpu": 0}
    folder = tempfile.mkdtemp(prefix="editeval-offload-")
    dtype = TORCH_DTYPES[placement.dtype]
    try:
        if spread is None:
            network = _dispatched(load().to(dtype).eval(), budget, folder)
        else:
            options = {"dtype": dtype, "device_map": "auto", "max_memory": budget, "offload_folder": folder}
            network = spread(options)
        _bring_parts(network)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ValueError | RuntimeError):
            raise CheckpointError(f"device_map: auto does not work here: {first_line(error)}") from None
        raise
    weakref.finalize(network, shutil.rmtree, folder, True)
    return network


def _bring_parts(network: nn.Module) -> None:
    """Have the last layer of torch's attention in memory while the attention runs, which uses its weights unasked."""
    for module in network.modules():
        if not (isinstance(module, nn.MultiheadAttention) and module.out_proj.weight.is_meta):
            continue
        part: Any = module.out_proj
        hook = part._hf_hook  # accelerate's, which reads what the part holds from the disk and lets go of it again
        module.register_forward_pre_hook(partial(_bring, hook, part))
        module.register_forward_hook(partial(_let_go, hook, part))


def _bring(hook: Any, part: nn.Module, *_: object) -> None:
    hook.pre_forward(part)


def _let_go(hook: Any, part: nn.Module, *_: object) -> None:
    hook.post_forward(part, None)


def _dispatched(network: nn.Module, budget: dict[Any, Any], folder: str) -> nn.Module:
    """A network that is in memory, over the devices; what has no room goes to files in `folder`."""
    from accelerate import dispatch_model, infer_auto_device_map
    from accelerate.utils import set_module_tensor_to_device

    blocks: Any = getattr(network, "_no_split_modules", None) or WHOLE_BLOCKS
    where = infer_auto_device_map(network, budget, no_split_module_classes=list(blocks))
    devices = [device for device in where.values() if device != "disk"]
    if not devices:
        raise CheckpointError("max_memory leaves no room for any part of the network; raise it")
    # Tables that belong to no block, and are small: they stay where the computation begins.
    tensors = where.keys() - dict(network.named_modules()).keys()
    where |= dict.fromkeys(tensors, devices[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following device_map keys do not match")
        network = dispatch_model(network, where, offload_dir=folder, force_hooks=True)
    for name in tensors:
        set_module_tensor_to_device(network, name, devices[0])
    return network


def _quantized(network: nn.Module) -> nn.Module:
    """The weights of the linear layers as 8-bit integers with a scale for each row; what is computed stays as it is."""
    if find_spec("torchao") is None:
        raise CheckpointError(f"quantize: int8 needs torchao, which is not installed; {INSTALL}")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(network, Int8WeightOnlyConfig())
    return network
