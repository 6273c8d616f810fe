"""The Hugging Face hub: what is downloaded of a checkpoint, and what to do where it cannot be had."""

from __future__ import annotations

import os
import pickle  # nosec B403  # for the class of its errors
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from pytest_editeval.errors import CheckpointError
from pytest_editeval.faults import first_line
from pytest_editeval.vision.weights import INDEX, PICKLED, SAFETENSORS, SAVE_AGAIN

CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
"""The configuration files of a checkpoint that are read; no other is."""

TIMM_PREFIX = "timm:"
"""Before a name of timm's (`timm:vit_small_patch16_dinov3.lvd1689m`): the hub's id of it, mostly `timm/NAME`."""

SAFETENSORS_FILES = (SAFETENSORS, "model-*.safetensors", SAFETENSORS + INDEX)
PICKLED_FILES = (PICKLED, "pytorch_model-*.bin", PICKLED + INDEX)

T = TypeVar("T")


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


def hub_id(model_path: str) -> str:
    """The id on the hub that a name of timm's stands for, or the id itself."""
    name = model_path.removeprefix(TIMM_PREFIX)
    return name if name == model_path or "/" in name else f"timm/{name}"


def hub_file(model_path: str, name: str) -> Path | None:
    """One file of a hub id, downloaded; `None` when the checkpoint has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def download() -> Path | None:
        try:
            path = hf_hub_download(hub_id(model_path), name)  # nosec B615  # `editeval models lock` pins it
            return Path(path)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None

    return from_hub(model_path, download)


@cache
def hub_snapshot(model_path: str) -> Path:
    """The files of a hub id that are used, downloaded; one commit in a process, whose name the directory has."""
    path = _downloaded(model_path, SAFETENSORS_FILES)
    return path if any(path.glob("*.safetensors")) else _downloaded(model_path, PICKLED_FILES)


def _downloaded(model_path: str, weights: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*CONFIGS, *weights]

    def download() -> str:
        return snapshot_download(hub_id(model_path), allow_patterns=wanted)  # nosec B615  # `editeval models lock` pins it

    return Path(from_hub(model_path, download))


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
