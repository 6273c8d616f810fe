"""The lines that say what a run measures with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_editeval.device import resolve_device
from pytest_editeval.hidden import without_hidden
from pytest_editeval.profiles import EMBEDDED_LIMITS, Profile

if TYPE_CHECKING:
    from pytest_editeval.scoring.cluster.options import RayOptions

NAMES = {"clip-pipe": "CLIP", "dino-v3-pipe": "DINOv3"}
EMBEDDED = "for learning the tool and testing pipelines, not for gating a release"


def header_lines(profile: Profile, asked: str, ray: RayOptions | None = None) -> list[str]:
    """Profile, device and checkpoints in one line, then what the configuration has that is ignored.

    `asked` is the run's device; where it is auto, a pipe's own setting holds, and on a Ray cluster what that has.
    """
    checkpoints = _checkpoints(profile)
    pipes = {entry.pipe.device or "auto" for entry in profile.metrics.values()} if asked == "auto" else {asked}
    device = ", ".join(sorted({resolve_device(name) for name in pipes}))
    if ray is not None:
        device = "of the Ray cluster" if ray.gpus is None else "cuda (Ray)" if ray.gpus else "cpu (Ray)"
    if profile.embedded:
        size = sum(file.stat().st_size for path in checkpoints.values() for file in _files(Path(path)))
        what = f"{len(checkpoints)} checkpoints, {size / 1e6:.1f} MB"
        return [
            f"editeval: profile {profile.name} ({EMBEDDED}) · device {device} · {what}",
            *(f"editeval: {limit}" for limit in EMBEDDED_LIMITS),
        ]
    named = ", ".join(f"{name} {without_hidden(path)}" for name, path in checkpoints.items())
    return [
        f"editeval: profile {profile.name} · device {device} · {named}",
        *(f"editeval: {without_hidden(note)}" for note in profile.notices),
    ]


def _checkpoints(profile: Profile) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in profile.metrics.values():
        found.setdefault(NAMES.get(entry.pipe.pipe_name, entry.pipe.pipe_name), entry.pipe.model_path or "default")
        if entry.pipe.sam:
            found.setdefault("SAM", entry.pipe.sam.model_path)
    return found


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
