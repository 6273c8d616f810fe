"""What outlasts a run: scores, features, the content of image files and digests of checkpoints, one file per entry.

An entry is known by a digest of everything that can change it. Its first line is a checksum over its kind, its key and
its body, so a file that is cut off, damaged or put in another's place counts as absent; so does what another program
wrote under a checksum of its own (`scoring/entries.py`). No pickle is read or written. Files appear whole or not at
all, so many processes, on several machines too, may share a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.needs import ImageRef
from pytest_editeval.regular_file import read_regular_file
from pytest_editeval.results import Score
from pytest_editeval.scoring.entries import (
    StoredFeatures,
    StoredScore,
    digest_of_body,
    feature_body,
    features_of,
    image_body,
    image_of,
    score_body,
    score_of,
)

Kind = Literal["features", "scores", "images", "digests"]
KINDS: tuple[Kind, ...] = ("features", "scores", "images", "digests")
T = TypeVar("T")

MAX_BYTES = 2 << 30
STALE_SECONDS = 3600
FORMAT = "editeval-1"


_ENTRY = re.compile(r"([0-9a-f]{2})[0-9a-f]{30}(?P<unfinished>\.[0-9a-f]{32}\.tmp)?")
"""What the store names its files, in a folder of the first two digits: nothing else is ever deleted."""


class Store:
    """Entries of four kinds in a folder that is kept within `max_bytes`; what was used longest ago goes first.

    `unwritten` counts the entries that could not be written, by the reason. Threads may share a store. `run` names the
    run whose scores are saved, the same in all of its processes; by default it is a new one.
    """

    def __init__(
        self, folder: Path, *, writable: bool = True, max_bytes: int = MAX_BYTES, run: str | None = None
    ) -> None:
        self.folder = folder
        self.run = run or uuid.uuid4().hex
        self.writable = writable
        self.max_bytes = max_bytes
        self.unwritten: Counter[str] = Counter()
        self._lock = Lock()

    def load(self, key: str) -> StoredFeatures | None:
        """Patch features and CLS, float32, and of an object its mask, or `None`."""
        return self._load("features", key, partial(features_of, run=self.run))

    def save(self, key: str, patches: NDArray[np.float32], cls: NDArray[np.float32], mask: str | None = None) -> bool:
        """Remember the features of an image, or of an object with its mask; whether that succeeded."""
        return self._write("features", key, feature_body(patches, cls, mask, self.run))

    def load_score(self, key: str) -> StoredScore | None:
        """A score, or `None`."""
        return self._load("scores", key, partial(score_of, run=self.run))

    def save_score(self, key: str, score: Score) -> None:
        """Remember a score, to the bit."""
        self._write("scores", key, score_body(score, self.run))

    def load_image(self, key: str) -> ImageRef | None:
        """What the file of that digest shows, or `None`."""
        return self._load("images", key, image_of)

    def save_image(self, key: str, ref: ImageRef) -> None:
        """Remember what an image file shows."""
        self._write("images", key, image_body(ref))

    def load_digest(self, key: str) -> str | None:
        """The SHA-256 of a file, or `None`."""
        return self._load("digests", key, digest_of_body)

    def save_digest(self, key: str, digest: str) -> None:
        """Remember the SHA-256 of a file."""
        self._write("digests", key, digest.encode("ascii"))

    def score_count(self) -> int:
        """How many scores are remembered."""
        return sum(not unfinished for _, unfinished in self._entries("scores"))

    def can_be_written(self) -> bool:
        """Whether the folder, or the nearest one above it that is there, may be written to."""
        nearest = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)

    def prune(self) -> None:
        """Delete the entries that were used longest ago until the folder is within `max_bytes`.

        What a killed process left half written goes after an hour. Files that are not named as entries stay, and are
        not counted: the folder may be another's.
        """
        if not self.writable:
            return
        now = time.time()
        found: list[tuple[float, int, str]] = []
        for path, unfinished in (entry for kind in KINDS for entry in self._entries(kind)):
            with suppress(OSError):
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode):
                    continue
                if unfinished and now - status.st_mtime > STALE_SECONDS:
                    os.unlink(path)  # noqa: PTH108  (a hundred thousand of them)
                else:
                    found.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self.max_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
                excess -= size

    def _entries(self, kind: Kind) -> Iterator[tuple[str, bool]]:
        """The path of each file that is named as an entry, and whether it is an unfinished one."""
        top = self.folder / kind
        parts: list[str] = []
        with suppress(OSError):
            parts = os.listdir(top)  # noqa: PTH208  (names are enough)
        for part in parts:
            names: list[str] = []
            with suppress(OSError):
                names = os.listdir(top / part)  # noqa: PTH208
            for name in names:
                match = _ENTRY.fullmatch(name)
                if match is not None and match[1] == part:
                    yield f"{top}/{part}/{name}", match["unfinished"] is not None

    def _load(self, kind: Kind, key: str, parse: Callable[[bytes], T]) -> T | None:
        """What `parse` makes of the entry's body; `None` where there is none, or none that it understands."""
        path = self._path(kind, key)
        try:
            head, _, body = read_regular_file(path, self.max_bytes).partition(b"\n")
            if head != _head(kind, key, body):
                return None
            value = parse(body)
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            os.utime(path)  # what was used last is evicted last
        return value

    def _write(self, kind: Kind, key: str, body: bytes) -> bool:
        """Whether it was written: a folder that cannot be written to, or a full disk, costs the memory, not the run."""
        if not self.writable:
            return False
        try:
            _put(self._path(kind, key), _head(kind, key, body) + b"\n" + body)
        except OSError as error:
            with self._lock:
                self.unwritten[error.strerror or str(error)] += 1
            return False
        return True

    def _path(self, kind: Kind, key: str) -> Path:
        return self.folder / kind / key[:2] / key


def _put(path: Path, entry: bytes) -> None:
    """Have the entry appear whole; raises `OSError`, and leaves nothing beside it."""
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            unfinished.write_bytes(entry)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(entry)
        try:
            unfinished.replace(path)
        except IsADirectoryError:
            path.rmdir()  # only an empty one
            unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _head(kind: Kind, key: str, body: bytes) -> bytes:
    digest = hashlib.sha256(f"{FORMAT} {kind} {key}\n".encode())
    digest.update(body)
    return digest.hexdigest().encode()
