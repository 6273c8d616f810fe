"""One way to read YAML: plain data, and for every key and value the place where it is written."""

from __future__ import annotations

import codecs
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import yaml

from pytest_editeval.errors import LocatedError, Position
from pytest_editeval.regular_file import read_regular_file
from pytest_editeval.yaml_builder import QUOTE, Builder, Mark, Node
from pytest_editeval.yaml_loader import LINE_BREAK, Loader

MAX_BYTES = 16_000_000

_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORDING = {
    "mapping values are not allowed in this context": ("a ':' is not allowed here", f"check the indentation; {QUOTE}"),
    "found character that cannot start any token": ("this character cannot start a value", QUOTE),
}

DataPath = tuple[Any, ...]


class Document:
    """A YAML file, or a part of one, as plain `data`, with the place of every part of it.

    A path into the data is a tuple of mapping keys and list indices. Parts that an alias or a merge key
    repeats are the same object in `data` (do not change it), and their place is where they are written.
    """

    def __init__(self, path: Path, builder: Builder, bytes_read: int) -> None:
        self.path = path
        self.bytes_read = bytes_read
        self._key: Mark | None = None
        self._root, self.data = builder.document()
        self._pairs = builder.pairs
        self._items = builder.items
        self._built = builder.built

    def __contains__(self, path: DataPath) -> bool:
        return self._find(path)[2]

    def part(self, path: DataPath) -> Document:
        """The part at `path`, which has to be there, as a document whose paths begin there."""
        part = copy(self)
        part._key, part._root, _ = self._find(path)
        for step in path:
            part.data = part.data[step]
        return part

    def position(self, path: DataPath = (), *, key: bool = False) -> Position:
        """Where the value at `path` (or its key) is written.

        For a value that is left empty, and for a path that does not exist, it is the key of the nearest part that does.
        """
        key_mark, node, found = self._find(path)
        return self._at(key_mark, node, on_key=key or not found)

    def place(self, path: DataPath, *, key: bool = False) -> Position | None:
        """As `position`, of a path that exists; `None` for one that does not."""
        key_mark, node, found = self._find(path)
        return self._at(key_mark, node, on_key=key) if found else None

    def written(self, path: DataPath) -> str | None:
        """The text of the scalar at `path` before it was read as a number, a date, ..."""
        _, node, found = self._find(path)
        return node.text if found and node is not None else None

    def node(self, path: DataPath) -> Node | None:
        """What is written for the value at `path`: the same node wherever an alias or a merge key repeats it."""
        _, node, found = self._find(path)
        return node if found else None

    def size(self, path: DataPath = ()) -> int:
        """How many keys and values the part at `path` has in it, those that aliases and merge keys repeat included."""
        node = self.node(path)
        return self._built[id(node)][1] if id(node) in self._built else 0

    def _at(self, key: Mark | None, node: Node | None, *, on_key: bool) -> Position:
        if node is None:
            return Position(self.path, 1, 1)
        mark = key if key is not None and (on_key or node.is_empty) else node.start
        return Position(self.path, mark.line + 1, mark.column + 1)

    def _find(self, path: DataPath) -> tuple[Mark | None, Node | None, bool]:
        """The place of the key and the node of the nearest existing part, and whether that is `path` itself."""
        key, node = self._key, self._root
        for step in path:
            pairs = self._pairs.get(id(node))
            items = self._items.get(id(node)) if pairs is None else None
            if pairs is not None and step in pairs:
                key, node = pairs[step]
            elif items is not None and isinstance(step, int) and 0 <= step < len(items):
                key, node = None, items[step]
            else:
                return key, node, False
        return key, node, node is not None


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For building many small objects that all stay: looking for garbage among them takes two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_yaml(path: Path, error: type[LocatedError], *, tuples: bool = False, max_bytes: int = MAX_BYTES) -> Document:
    """Read a YAML file safely; every mistake is an `error` with its place. An empty file has the data `None`.

    `tuples` allows the tag ``!tuple`` on a list. A file of more than `max_bytes` is not read.
    """
    try:
        content = read_regular_file(path, max_bytes)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        raise error(Position(path, 1, 1), f"cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    return parse_yaml(content, path, error, tuples=tuples)


@no_garbage_collection()
def parse_yaml(content: bytes, path: Path, error: type[LocatedError], *, tuples: bool = False) -> Document:
    """As `read_yaml`, of the content that the file at `path` has or is to have."""
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as fault:
        before = fault.object[: fault.start].decode()
        raise error(_position(path, before), "not UTF-8 text", "save the file as UTF-8") from None
    if found := _UNREADABLE.search(text):
        raise error(_position(path, text[: found.start()]), f"character U+{ord(found[0]):04X} is not allowed in YAML")
    try:
        loader = Loader(text)
        try:
            return Document(path, Builder(path, error, loader, tuples=tuples), len(content))
        finally:
            loader.dispose()
    except LocatedError as fault:
        raise without_frames(fault) from None
    except yaml.MarkedYAMLError as fault:
        raise _explain(path, text, fault, error) from None
    except yaml.YAMLError as fault:
        raise error(Position(path, 1, 1), f"not YAML: {fault}") from None


def without_frames(error: LocatedError) -> LocatedError:
    """The error alone: its line says all, and its frames would hold everything that was read."""
    return error.with_traceback(None)


def _position(path: Path, before: str) -> Position:
    line, start = 1, 0
    for line, found in enumerate(LINE_BREAK.finditer(before), 2):  # noqa: B007 (the last one is meant)
        start = found.end()
    return Position(path, line, len(before) - start + 1)


def _explain(path: Path, text: str, fault: yaml.MarkedYAMLError, error: type[LocatedError]) -> LocatedError:
    mark = fault.problem_mark or fault.context_mark
    position = Position(path, mark.line + 1, mark.column + 1) if mark else Position(path, 1, 1)
    problem = str(fault.problem)
    message, hint = _WORDING.get(problem, (f"not YAML: {problem}", None))
    if mark and text[mark.index : mark.index + 1] == "\t":
        message, hint = "a tab cannot stand here", "indent with spaces"
    elif mark and fault.context and "flow" in fault.context and text[: mark.index + 1].endswith("${"):
        hint = 'inside { } or [ ] a reference has to be quoted: "${...}"'
    elif hint is None and fault.context and fault.context_mark:
        hint = f"{fault.context} at line {fault.context_mark.line + 1}"
    return error(position, message, hint)
