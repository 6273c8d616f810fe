"""Where an image is."""

from __future__ import annotations

from pathlib import Path

from pytest_editeval.errors import ImageError, display_path

Location = Path | str


def locate(text: str, directory: Path) -> Location:
    return text if "://" in text else directory / text


def display(location: Location) -> str:
    return display_path(location) if isinstance(location, Path) else location


def read_bytes(location: Location, limit: int | None = None) -> bytes:
    try:
        return Path(location).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"image not found: {display(location)}") from None
    except OSError as error:
        raise ImageError(f"cannot read image {display(location)}: {error}") from None


def stamp(location: Location) -> tuple[int, ...] | None:
    try:
        stat = Path(location).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
