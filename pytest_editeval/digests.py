"""Digests of everything that can change a number: what is remembered is known by them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_editeval import __version__

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
    return {name: version_of(name) for name in LIBRARIES}


@cache
def version_of(name: str) -> str:
    """The installed version of a library."""
    try:
        return version(name)
    except PackageNotFoundError:  # another distribution may bring the module
        return "unknown"


@cache
def package_versions() -> dict[str, str]:
    """`versions`, with this package's own."""
    return {"pytest-editeval": __version__, **versions()}


@cache
def own_code() -> str:
    """Digest of this package's modules between an image and a score, so that no change of them goes unseen."""
    files = sorted((PACKAGE / "vision").glob("*.py"))
    files += [PACKAGE / f"{name}.py" for name in ("boxes", "needs", "regions", "tiling")]
    return _files_digest(files)


@cache
def code_of(reference: str) -> str | None:
    """Digest of the package or module that holds ``"module:function"``; `None` where there are no such files."""
    name = reference.partition(":")[0].partition(".")[0]
    if name == PACKAGE.name:
        return own_code()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    files = [file for folder in spec.submodule_search_locations or () for file in sorted(Path(folder).rglob("*.py"))]
    if not files and spec.origin and Path(spec.origin).is_file():
        files = [Path(spec.origin)]
    try:
        return _files_digest(files) if files else None
    except OSError:  # another package's file, which the metric itself may not even need
        return None


def _files_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
