"""The bodies of the store's entries. What is no such body is a `ValueError`, and takes no more memory than it has."""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.needs import ImageRef
from pytest_editeval.results import Score

_HEADER = re.compile(rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d{1,9},|\d{1,9}, \d{1,9})\), \} *\n")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_HEXADECIMAL = frozenset("0123456789abcdef")


class StoredFeatures(NamedTuple):
    """Features as they were saved; `own`: by this run."""

    patches: NDArray[np.float32]
    cls: NDArray[np.float32]
    mask: str | None
    own: bool


class StoredScore(NamedTuple):
    """A score as it was saved; `own`: by this run."""

    score: Score
    own: bool


def feature_body(patches: NDArray[np.float32], cls: NDArray[np.float32], mask: str | None, run: str) -> bytes:
    """A line with the run, patch features `(n_patches, dim)` and CLS `(dim,)` as two ``.npy`` files, then the mask."""
    stream = io.BytesIO()
    stream.write(f"{run}\n".encode())
    for array in (patches, cls):
        np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    stream.write((mask or "").encode("ascii"))
    return stream.getvalue()


def features_of(body: bytes, run: str) -> StoredFeatures:
    """What `feature_body` was given, as it looks from a run."""
    stream = io.BytesIO(body)
    own = stream.readline(100) == f"{run}\n".encode()
    patches, cls = _array(stream, 2), _array(stream, 1)
    if patches.shape[1:] != cls.shape:
        raise ValueError(f"patches of shape {patches.shape} beside a CLS of shape {cls.shape}")
    return StoredFeatures(patches, cls, stream.read().decode("ascii") or None, own)


def score_body(score: Score, run: str) -> bytes:
    """A score and its run as JSON, which keeps every bit of a float."""
    return json.dumps([run, score.to_data()]).encode()


def score_of(body: bytes, run: str) -> StoredScore:
    """What `score_body` was given, as it looks from a run."""
    data = _json(body)
    if not isinstance(data, list) or len(data) != 2 or not isinstance(data[0], str):
        raise ValueError("no score")
    return StoredScore(Score.from_data(data[1]), data[0] == run)


def image_body(ref: ImageRef) -> bytes:
    """What an image file shows, as JSON."""
    return json.dumps([ref.digest, *ref.size]).encode()


def image_of(body: bytes) -> ImageRef:
    """What `image_body` was given."""
    data = _json(body)
    if not isinstance(data, list) or len(data) != 3:
        raise ValueError("no image")
    digest, *size = data
    if not isinstance(digest, str) or not digest or not _HEXADECIMAL.issuperset(digest):
        raise ValueError("no digest")
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError("no size")
    return ImageRef(digest, (size[0], size[1]))


def digest_of_body(body: bytes) -> str:
    """A SHA-256 in hexadecimal digits, which is its own body."""
    if not _SHA256.fullmatch(body):
        raise ValueError("no digest")
    return body.decode("ascii")


def _array(stream: io.BytesIO, dimensions: int) -> NDArray[np.float32]:
    """The next array.

    NumPy's own reader evaluates a header as Python, and makes room for what it claims before it looks at what is there.
    """
    version, length = stream.read(8), int.from_bytes(stream.read(2), "little")
    header = _HEADER.fullmatch(stream.read(length))
    if version != np.lib.format.magic(1, 0) or header is None:
        raise ValueError("no array of float32")
    shape = [int(side) for side in header[1].split(b",") if side]
    array = np.frombuffer(bytearray(stream.read(math.prod(shape) * 4)), np.float32).reshape(shape)
    if array.ndim != dimensions or not np.isfinite(array).all():
        raise ValueError("not the features of a model")
    return array


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
