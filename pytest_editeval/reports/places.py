"""Files as a CI system knows them: from the root of the repository that it checked out."""

from __future__ import annotations

import os
from pathlib import Path


def below(file: str, root: str) -> str | None:
    """The path from `root` to a file, with slashes; `None` where the file is not below it.

    `file` is absolute, or relative to the working directory. Links keep their names, but `root` may be named by one.
    """
    path = Path(os.path.normpath(Path.cwd() / file))
    for start in (os.path.normpath(root), os.path.realpath(root)):
        if path.is_relative_to(start):
            return path.relative_to(start).as_posix()
    return None
