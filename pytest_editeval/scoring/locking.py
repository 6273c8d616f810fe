"""What a lock file says of the checkpoints of a profile, and whether they are still the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_editeval.errors import CheckpointError, EditEvalError, display_path
from pytest_editeval.lock_file import Lock, LockedCheckpoint, LockedFile, differences, read_lock
from pytest_editeval.profiles import EMBEDDED, EMBEDDED_PATH, Profile
from pytest_editeval.registry import PIPES


def check_lock(path: Path, profile: Profile) -> None:
    """Compare every checkpoint of a profile with the lock file.

    Raises an `EditEvalError` with a line for each file that is changed, missing or not locked; no torch is imported.
    """
    locked, found, lines = read_lock(path), {}, []
    for model_path in model_paths([profile]):
        name = lock_name(model_path, path.parent)
        try:
            found[name] = locked_checkpoint(model_path)
        except CheckpointError as error:
            lines.append(str(error))
    lines += differences(locked, found)
    if lines:
        head = f"{display_path(path)}: {len(lines)} difference(s) from the checkpoints that are locked"
        config = f" --config {display_path(profile.path)}" if profile.path else ""
        command = f"editeval models lock{config} --output {display_path(path)}"
        cure = f"if they are meant: `{command}` writes the lock again"
        raise EditEvalError("\n  ".join([f"{head}; {cure}", *lines]))


def lock_of(profiles: Iterable[Profile], folder: Path) -> Lock:
    """The checkpoints of the profiles as a lock file in `folder` has them; raises a `CheckpointError`."""
    return {lock_name(path, folder): locked_checkpoint(path) for path in model_paths(profiles)}


def model_paths(profiles: Iterable[Profile]) -> list[str]:
    """Every checkpoint that metrics of the profiles use, as their configurations name it."""
    found: dict[str, None] = {}
    for profile in profiles:
        for entry in profile.metrics.values():
            own = entry.pipe.model_path or getattr(PIPES[entry.pipe.pipe_name].load(), "default_path", None)
            sam = entry.pipe.sam.model_path if entry.pipe.sam is not None else None
            found.update(dict.fromkeys(path for path in (own, sam) if path is not None))
    return list(found)


def lock_name(model_path: str, folder: Path) -> str:
    """The name of a checkpoint in a lock file in `folder`: the same on every machine where that can be.

    A hub id stays one; what lies below `folder` is ``./path``, what comes with this package ``embedded:path``; any
    other place is an absolute path.
    """
    from pytest_editeval.vision.checkpoints import is_local

    if not is_local(model_path):
        return model_path
    path = Path(model_path).expanduser().absolute()
    for parent, prefix in ((EMBEDDED_PATH, f"{EMBEDDED}:"), (folder.absolute(), "./")):
        if path.is_relative_to(parent):
            return prefix + path.relative_to(parent).as_posix()
    return path.as_posix()


def locked_checkpoint(model_path: str) -> LockedCheckpoint:
    """The files of a checkpoint as they are now; raises a `CheckpointError`."""
    from pytest_editeval.vision.checkpoints import checkpoint_files, checkpoint_folder, file_digests, hub_revision
    from pytest_editeval.vision.weights import existing_weights

    place = checkpoint_folder(model_path)
    if place.is_dir():
        existing_weights(model_path, place)
    sizes = {file.name: file.stat().st_size for file in checkpoint_files(model_path)}
    files = {name: LockedFile(sha256=sha256, size=sizes[name]) for name, sha256 in file_digests(model_path).items()}
    return LockedCheckpoint(files=files, revision=hub_revision(model_path))
