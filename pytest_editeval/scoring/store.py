"""Features on disk, under pytest's cache directory: what one run encoded, the next one does not encode again."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
Mode = Literal["readwrite", "read", "off"]

MAX_BYTES = 2 << 30


class FeatureStore:
    """Patch features and CLS by key, one `.npz` file each.

    The key is everything that can change them (`pytest_editeval.vision.scorer`). No pickle is ever read; a file that is
    damaged (npz carries checksums) counts as absent. Files appear whole or not at all, so processes may share a folder.
    """

    def __init__(self, folder: Path, *, writable: bool = True, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.writable = writable
        self.max_bytes = max_bytes

    def load(self, key: str) -> Arrays | None:
        """`(patches, cls)`, float32, or `None`."""
        path = self._path(key)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                patches, cls = arrays["patches"], arrays["cls"]
        except Exception:  # a damaged archive fails in a dozen ways, and all mean that nothing usable is there
            return None
        if patches.dtype != np.float32 or cls.dtype != np.float32 or patches.ndim != 2 or cls.ndim != 1:
            return None
        with suppress(OSError):
            os.utime(path)  # what was used last is evicted last
        return patches, cls

    def save(self, key: str, patches: NDArray[np.float32], cls: NDArray[np.float32]) -> None:
        """Remember; a folder that cannot be written to costs the memory, not the run."""
        if not self.writable:
            return
        path = self._path(key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as stream:
                np.savez(stream, patches=patches, cls=cls)
            Path(stream.name).replace(path)

    def prune(self) -> None:
        """Delete the files that were used longest ago until the folder is within `max_bytes`."""
        if not self.writable:
            return
        with suppress(OSError):
            files = [(path, path.stat()) for path in self.folder.glob("*/*") if path.is_file()]
            excess = sum(stat.st_size for _, stat in files) - self.max_bytes
            for path, stat in sorted(files, key=lambda entry: entry[1].st_mtime):
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                excess -= stat.st_size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"
