"""Digests of everything that can change a number: what is remembered is known by them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parent
LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "segment-anything",
    "POT",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
)


def digest_of(parts: Mapping[str, object]) -> str:
    """Short digest of named parts, the same whatever their order."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def versions() -> dict[str, str]:
    """The installed versions of the libraries that the numbers come from; nothing is imported."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # another distribution may bring the module
            found[name] = "unknown"
    return found


@cache
def own_code() -> str:
    """Digest of this package's modules between an image and a score, so that no change of them goes unseen."""
    files = [*sorted((PACKAGE / "vision").glob("*.py")), *(PACKAGE / f"{name}.py" for name in ("needs", "regions"))]
    return _files_digest(files)


@cache
def code_of(reference: str) -> str:
    """Digest of the file that holds ``"module:function"``; empty where there is no such file."""
    module = reference.partition(":")[0]
    if module.startswith("pytest_editeval."):
        return own_code()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return _files_digest([Path(spec.origin)]) if spec and spec.origin and Path(spec.origin).is_file() else ""


def _files_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
