"""Files that others wrote: regular ones only, and no more of them than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The whole file. Raises `OSError` with the reason for one that cannot be read, has more than `max_bytes`, or is
    no regular file: a pipe would wait for a writer, and a device may have no end.
    """
    with open(path, "rb", opener=_at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = b"" if found.st_size > max_bytes else file.read(max_bytes + 1)
    if max(found.st_size, len(data)) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    return data


def _at_once(path: str, flags: int) -> int:
    """Opens a pipe without waiting for a writer, where the system has that."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
