"""What files from outside the team may have read: nothing but the tree that they lie in, and remote URLs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_editeval.escapes import visible
from pytest_editeval.locations import Stored, display, local_parts

OPTION = "--editeval-root-only"


class Confinement:
    """The rule of `--editeval-root-only`; `option` is what lifts it, `also` are trees that the user has named.

    What a file names may lie below `root` if the file does, and below the file's own directory. Links are followed
    first, so that one which leads out is refused. A `root` that is the whole file system is none.
    """

    def __init__(self, root: Path, also: Sequence[Path] = (), option: str = OPTION) -> None:
        self._known: dict[str, str] = {}  # directories, by the names under which they were asked for
        self._trees_of: dict[str, list[str]] = {}  # by the directory of the file that names something
        self._option = option
        real = self._real(root)
        self._root = None if real == os.path.realpath(os.sep) else real
        self._also = [self._real(path) for path in also]

    def refusal(self, location: Stored, file: Path | None = None, also: Path | None = None) -> str | None:
        """Why `file` may not name the location, in a line with the cure; `None` where it may.

        Without a `file` it is named by something that lies in `root`. `also` is one more tree that the user has named.
        """
        cure = f"{self._option} off would allow it"
        paths = local_parts(location) if isinstance(location, str) else [location]
        if paths is None:
            return f"{display(location)!r} may open local files by way of its protocol; {cure}"
        if not paths:
            return None
        allowed = self._trees(file) if also is None else [*self._trees(file), self._real(also)]
        for path in paths:
            real = self._real(path)
            if not any(_is_below(real, tree) for tree in allowed):
                place = f"outside {visible(allowed[0])}" if allowed else "in no directory that was named"
                by_link = any(_is_below(os.path.abspath(path), tree) for tree in allowed)  # noqa: PTH100
                how = "leads by a link to a place" if by_link else "is"
                return f"{display(location)!r} {how} {place}; {cure}"
        return None

    def _trees(self, file: Path | None) -> list[str]:
        roots = [] if self._root is None else [self._root]
        if file is None:
            return [*roots, *self._also]
        folder = os.path.dirname(file)  # noqa: PTH120  (several times as fast, for every image of a case file)
        if folder not in self._trees_of:
            own = self._real(file.parent)
            self._trees_of[folder] = [*(root for root in roots if _is_below(own, root)), own, *self._also]
        return self._trees_of[folder]

    def _real(self, place: Path) -> str:
        """The path without links, absolute. Directories are looked up once; what is not there keeps its name."""
        path = os.fspath(place)
        if not os.path.isabs(path):  # noqa: PTH117
            path = os.path.join(Path.cwd(), path)  # noqa: PTH118  (the links before a ".." count)
        folder, name = os.path.split(path)
        try:
            if name in ("", "..") or folder == path:
                return os.path.realpath(path)
            if folder not in self._known:
                self._known[folder] = os.path.realpath(folder)
            found = os.path.join(self._known[folder], name)  # noqa: PTH118
            return os.path.realpath(found) if os.path.islink(found) else found  # noqa: PTH114
        except (OSError, ValueError):  # no file system has such a name, so that there is nothing to read
            return path


def _is_below(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree.rstrip(os.sep) + os.sep)
