"""Loading weights: once per checkpoint and setting in a process, without running code from the checkpoint."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, RLock
from typing import Any
from weakref import WeakValueDictionary

import torch
import transformers
from torch import nn

from pytest_editeval.digests import digest_of
from pytest_editeval.errors import CheckpointError, EditEvalError
from pytest_editeval.vision.checkpoint_config import read_config
from pytest_editeval.vision.checkpoints import checkpoint_folder, file_digests
from pytest_editeval.vision.costs import forward_time
from pytest_editeval.vision.hub import from_hub
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.placing import Spread, placed
from pytest_editeval.vision.weights import Held, check_weights, needs_timm

SLACK, SMALL = 4, 1 << 20
"""A network that is this much larger than its files is not built, to name what it lacks."""

# transformers imports torchao where it is installed, and torch then has something to say to the developers of that.
logging.getLogger("torch.utils._pytree").addFilter(lambda record: "opaque value type" not in record.getMessage())

_loaded: WeakValueDictionary[str, nn.Module] = WeakValueDictionary()
_loading = RLock()
_turns: defaultdict[str, RLock] = defaultdict(RLock)


def shared_model(
    kind: str, model_path: str, placement: Placement, load: Callable[[], nn.Module], spread: Spread | None = None
) -> nn.Module:
    """The loaded network, in evaluation mode, as `placed` puts it; loaded once while anybody holds it.

    A checkpoint is what its files hold, wherever they are: two names of one are loaded once, and one whose files have
    changed in between is another one.
    """
    with _loading:
        share_cores()
        key = digest_of({"kind": kind, "files": file_digests(model_path), "placement": placement})
        model = _loaded.get(key)
        if model is None:
            check_available(placement.device)
            with float32_by_default():
                model = placed(placement, load, spread)
            _loaded[key] = model
        return model


@contextmanager
def forward_turn(placement: Placement) -> Iterator[None]:
    """The right to use the device: batches go through a GPU one at a time, while others are being prepared."""
    shared = placement.device == "cpu" and not placement.alone
    with nullcontext() if shared else _turns[placement.device], forward_time.running():
        yield


@cache
def share_cores() -> None:
    """Give a worker of xdist its share of the cores; an OMP_NUM_THREADS of the user's stands.

    Without it every worker computes on all cores, and they wait for each other several times longer than they compute.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def check_available(device: str) -> None:
    """`EditEvalError` when torch cannot use the device here."""
    kind, _, index = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise EditEvalError(f"device {device} was asked for, but torch {torch.__version__} finds no CUDA GPU here")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise EditEvalError(f"device {device} was asked for, but there are {torch.cuda.device_count()} CUDA GPUs")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise EditEvalError(f"device {device} was asked for, but torch {torch.__version__} finds no MPS here")


def transformers_class(name: str, model_path: str) -> Any:
    """A class of transformers; `CheckpointError` where the installed version is too old for the checkpoint's family."""
    found = getattr(transformers, name, None)
    if found is None:
        raise CheckpointError(
            f"{model_path} needs {name}, which transformers {transformers.__version__} does not have; "
            "pip install -U transformers"
        )
    return found


def load_transformers(model_class: Any, model_path: str, **options: Any) -> nn.Module:
    """`from_pretrained`, strictly: no remote code, and an error when weights are missing (they would be random).

    It is given a directory always, so that what is loaded is what was digested, and nothing is asked of a network.
    """
    folder = checkpoint_folder(model_path)
    config = read_config(model_path)
    held = check_weights(model_path, folder, config)
    if needs_timm(config) and find_spec("timm") is None:
        raise CheckpointError(f"{model_path} needs timm, which is not installed; pip install 'pytest-editeval[timm]'")

    def load() -> Any:
        _refuse_larger(model_class, model_path, folder, held)
        return model_class.from_pretrained(
            folder,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, in one line
            **{"dtype": torch.float32, **options},
        )

    with quiet():
        model, info = from_hub(model_path, load)
    refuse_incomplete(model_path, info["missing_keys"], info["mismatched_keys"])
    network: nn.Module = model
    return network


def _refuse_larger(model_class: Any, model_path: str, folder: Path, held: Held) -> None:
    """`CheckpointError` before memory is taken for a network that the files cannot fill."""
    config_class = getattr(model_class, "config_class", None) or transformers.AutoConfig
    config = config_class.from_pretrained(folder, trust_remote_code=False)
    # Of a half-precision checkpoint transformers would make that the default of all threads while it builds.
    config.dtype = torch.float32
    build = getattr(model_class, "from_config", None)
    with torch.device("meta"):
        network = model_class(config) if build is None else build(config, trust_remote_code=False)
    needed = sum(parameter.numel() for parameter in network.parameters())
    if needed > SLACK * held.elements + SMALL:
        raise CheckpointError(
            f"{model_path}: its config.json asks for {needed:,} weights, and its files hold {held.elements:,}"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and no word on what is as it should be: the weights that a vision tower leaves aside in a full
    CLIP checkpoint, or that version 4 resizes as the checkpoint was saved.
    """
    logging: Any = transformers.utils.logging  # without types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def refuse_incomplete(model_path: str, missing: Any, mismatched: Any = ()) -> None:
    """`CheckpointError` when a checkpoint lacks weights or holds them in other shapes."""
    for keys, what in ((missing, "are missing"), (mismatched, "have another shape than config.json says")):
        names = sorted(key if isinstance(key, str) else str(key[0]) for key in keys)
        if names:
            raise CheckpointError(
                f"{model_path}: {len(names)} weight(s) {what} (first: {names[0]}); it is incomplete or of another "
                "family"
            )


class _Shared:
    """A switch of the whole process: the first thread to need it sets it, and the last one puts it back."""

    def __init__(self, switch: Callable[[], AbstractContextManager[None]]) -> None:
        self._switch = switch
        self._lock = Lock()
        self._users = 0
        self._stack = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._stack.enter_context(self._switch())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._stack.close()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No gradients and no TF32, so that one threshold holds on every device."""
    with _exact(), float32_by_default(), torch.inference_mode():
        yield


@contextmanager
def _float32_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _ieee_float32() -> Iterator[None]:
    """Float32 products in float32, whatever the process has chosen; its choice is back afterwards."""
    backends: Any = torch.backends
    # The older switches raise where a process has used these newer ones; these work after both.
    parts = [
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    ]
    chosen = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "ieee"
        yield
    finally:
        for part, precision in zip(parts, chosen, strict=True):
            part.fp32_precision = precision


_exact = _Shared(_ieee_float32)
float32_by_default = _Shared(_float32_default)
"""A context in which a tensor without a dtype is float32: image processors make their means so, whatever an editing
model in the same process has chosen."""
