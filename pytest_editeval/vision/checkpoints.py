"""The files that a checkpoint consists of: where they are, and their digests; nothing here imports torch."""

from __future__ import annotations

import hashlib
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import Protocol

from pytest_editeval.digests import digest_of
from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.faults import first_line
from pytest_editeval.hidden import without_hidden
from pytest_editeval.profiles import EMBEDDED, EMBEDDED_PATH
from pytest_editeval.vision.hub import CONFIGS, TIMM_PREFIX, hub_snapshot
from pytest_editeval.vision.weights import weight_files

HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")

LARGE = 16 << 20
"""Bytes from which on it takes longer to digest a file than to remember its digest."""

SETTLED_SECONDS = 3.0
"""How old a file's last change has to be: a second one soon after it might leave the same time (FAT's are even)."""


class DigestRecords(Protocol):
    """Digests of files that outlast the process, by a key."""

    def load_digest(self, key: str) -> str | None:
        """The digest, if it is known."""

    def save_digest(self, key: str, digest: str) -> None:
        """Remember the digest."""


def is_local(model_path: str) -> bool:
    """Whether `model_path` names a place on disk (else it is an id on the Hugging Face hub)."""
    if model_path.startswith(TIMM_PREFIX):
        return False
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


def shown_path(model_path: str) -> str:
    """The checkpoint's place as a report shows it: what comes with this package as ``embedded:…``; no secret."""
    if not is_local(model_path):
        return without_hidden(model_path)
    path = Path(model_path).expanduser()
    if path.absolute().is_relative_to(EMBEDDED_PATH):
        return f"{EMBEDDED}:{path.absolute().relative_to(EMBEDDED_PATH).as_posix()}"
    return without_hidden(display_path(path))


def checkpoint_folder(model_path: str) -> Path:
    """The directory on disk that everything is loaded from: what was digested is what is loaded."""
    return local_path(model_path) if is_local(model_path) else hub_snapshot(model_path)


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


def file_digests(model_path: str, records: DigestRecords | None = None) -> dict[str, str]:
    """SHA-256 of each of the checkpoint's files, by name. What a hub id lacks on disk is downloaded.

    With `records` a large file is read once for as long as it stays the same file, with the same size and times.
    """
    try:
        stats = [(file, file.stat()) for file in checkpoint_files(model_path)]
        return {file.name: _known_digest(file, stat, records) for file, stat in stats}
    except OSError as error:
        raise CheckpointError(f"{model_path} cannot be read: {first_line(error)}") from None


def _known_digest(file: Path, stat: os.stat_result, records: DigestRecords | None) -> str:
    own = (file, *_state(stat))
    # Windows' ctime is that of a file's creation, and anybody can set an mtime.
    if records is None or stat.st_size < LARGE or os.name == "nt":
        return _file_digest(*own)
    key = digest_of({"file": file.absolute(), "device": stat.st_dev, "inode": stat.st_ino, "is": _state(stat)})
    digest = records.load_digest(key)
    if digest is None:
        digest = _file_digest(*own)
        if _state(file.stat()) == _state(stat) and time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS:
            records.save_digest(key, digest)
    return digest


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    """What changes with a file: size, time of its content, time of any change."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@cache
def _file_digest(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Once per file and process: pipes may share a checkpoint of gigabytes. Size and times tell a changed one."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def provenance(model_path: str, records: DigestRecords | None = None) -> dict[str, str | None]:
    """What a report says of where a checkpoint is from: its place, the hub's commit, and a digest of all its files."""
    digest = digest_of(file_digests(model_path, records))[:16]
    return {"path": shown_path(model_path), "revision": hub_revision(model_path), "digest": digest}


def hub_revision(model_path: str) -> str | None:
    """The commit that a hub id stands for in this process; `None` for a place on disk."""
    return None if is_local(model_path) else hub_snapshot(model_path).name
