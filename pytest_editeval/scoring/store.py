"""What outlasts a run: scores, features, and the content of image files, one file per entry.

An entry is known by a digest of everything that can change it. Its first line is a checksum over its kind, its key and
its body, so a file that is cut off, damaged or put in another's place counts as absent. No pickle is read or written.
Files appear whole or not at all, so many processes, on several machines too, may share a folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.needs import ImageRef

Stored = tuple[NDArray[np.float32], NDArray[np.float32], str | None]
Kind = Literal["features", "scores", "images"]

MAX_BYTES = 2 << 30
STALE_SECONDS = 3600
FORMAT = "editeval-1"


class Store:
    """Entries of three kinds in a folder that is kept within `max_bytes`; what was used longest ago goes first."""

    def __init__(self, folder: Path, *, writable: bool = True, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.writable = writable
        self.max_bytes = max_bytes

    def load(self, key: str) -> Stored | None:
        """Patch features and CLS, float32, and of an object its mask, or `None`."""
        body = self._read("features", key)
        if body is None:
            return None
        stream = io.BytesIO(body)
        patches, cls = (np.lib.format.read_array(stream, allow_pickle=False) for _ in range(2))
        return patches, cls, stream.read().decode("ascii") or None

    def save(self, key: str, patches: NDArray[np.float32], cls: NDArray[np.float32], mask: str | None = None) -> None:
        """Remember the features of an image, or of an object with its mask."""
        stream = io.BytesIO()
        for array in (patches, cls):
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        stream.write((mask or "").encode("ascii"))
        self._write("features", key, stream.getvalue())

    def load_score(self, key: str) -> dict[str, Any] | None:
        """A score as plain data, or `None`."""
        body = self._read("scores", key)
        data: dict[str, Any] | None = None if body is None else json.loads(body)
        return data

    def save_score(self, key: str, score: Mapping[str, Any]) -> None:
        """Remember a score; JSON keeps every bit of a float."""
        self._write("scores", key, json.dumps(score).encode())

    def load_image(self, key: str) -> ImageRef | None:
        """What the file of that digest shows, or `None`."""
        body = self._read("images", key)
        if body is None:
            return None
        digest, width, height = json.loads(body)
        return ImageRef(digest, (width, height))

    def save_image(self, key: str, ref: ImageRef) -> None:
        """Remember what an image file shows."""
        self._write("images", key, json.dumps([ref.digest, *ref.size]).encode())

    def score_count(self) -> int:
        """How many scores are remembered."""
        folder = self.folder / "scores"
        with suppress(OSError):
            return sum(len(os.listdir(part)) for part in folder.iterdir())  # noqa: PTH208  (names are enough)
        return 0

    def prune(self) -> None:
        """Delete the entries that were used longest ago until the folder is within `max_bytes`.

        What a killed process left half written goes after an hour.
        """
        if not self.writable:
            return
        now = time.time()
        found: list[tuple[float, int, str]] = []
        for kind in ("features", "scores", "images"):
            for folder, _, names in os.walk(self.folder / kind):
                for name in names:
                    path = os.path.join(folder, name)  # noqa: PTH118  (a hundred thousand of them)
                    with suppress(OSError):
                        stat = os.stat(path)  # noqa: PTH116
                        if name.endswith(".tmp") and now - stat.st_mtime > STALE_SECONDS:
                            Path(path).unlink()
                        else:
                            found.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in found) - self.max_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with suppress(OSError):
                Path(path).unlink()
                excess -= size

    def _read(self, kind: Kind, key: str) -> bytes | None:
        path = self._path(kind, key)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if head != _head(kind, key, body):
            return None
        with suppress(OSError):
            os.utime(path)  # what was used last is evicted last
        return body

    def _write(self, kind: Kind, key: str, body: bytes) -> None:
        """A folder that cannot be written to, or a full disk, costs the memory, not the run."""
        if not self.writable:
            return
        path = self._path(kind, key)
        with suppress(OSError):
            unfinished = path.with_name(f"{key}.{uuid.uuid4().hex}.tmp")
            try:
                entry = _head(kind, key, body) + b"\n" + body
                try:
                    unfinished.write_bytes(entry)
                except FileNotFoundError:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    unfinished.write_bytes(entry)
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise

    def _path(self, kind: Kind, key: str) -> Path:
        return self.folder / kind / key[:2] / key


def _head(kind: Kind, key: str, body: bytes) -> bytes:
    digest = hashlib.sha256(f"{FORMAT} {kind} {key}\n".encode())
    digest.update(body)
    return digest.hexdigest().encode()
