"""One way to read YAML: plain data, and for every key and value the place where it is written."""

from __future__ import annotations

import codecs
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml

from pytest_editeval.errors import LocatedError, Position, quoted
from pytest_editeval.regular_file import read_regular_file
from pytest_editeval.yaml_loader import CORE, LINE_BREAK, MAX_NUMBER_LENGTH, TOO_DEEP, TOO_MANY, Loader

MAX_BYTES = 16_000_000
MAX_EXPANSION = 2_000_000  # nodes that aliases and merge keys may add to a file
MAX_KEYS_NOT_TEXT = 100  # of a mapping; numbers can be chosen so that all have one hash

_SCALARS = {CORE + name for name in ("null", "bool", "int", "float", "timestamp")}
_TEXTS = {CORE + name for name in ("str", "merge", "value")}  # `<<` and `=` are text where they are no key
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN_ONLY = "plain YAML only: mappings, lists, text, numbers, true, false and null"
_QUOTE = "text that contains ': ' or starts with one of @ ` % & * ! | > must be quoted"

_WORDING = {
    TOO_DEEP: (TOO_DEEP, None),
    TOO_MANY: (TOO_MANY, "split it"),
    "but found another document": ("the file holds several documents; it must hold one", "remove the line '---'"),
    "second occurrence": ("duplicate anchor", None),
    "mapping values are not allowed in this context": ("a ':' is not allowed here", f"check the indentation; {_QUOTE}"),
    "found character that cannot start any token": ("this character cannot start a value", _QUOTE),
    "found undefined alias": ("alias to an anchor that is not defined before it", _QUOTE),
}

DataPath = tuple[Any, ...]


_scalars = yaml.constructor.SafeConstructor()


class Document:
    """A YAML file as plain `data`, with the place of every part of it.

    A path into the data is a tuple of mapping keys and list indices. Parts that an alias or a merge key
    repeats are the same object in `data` (do not change it), and their place is where they are written.
    """

    def __init__(self, path: Path, data: Any, root: yaml.Node | None, builder: _Builder, bytes_read: int) -> None:
        self.path = path
        self.bytes_read = bytes_read
        self.data = data
        self._root = root
        self._pairs = builder.pairs
        self._built = builder.built

    def __contains__(self, path: DataPath) -> bool:
        return self._find(path)[2]

    def position(self, path: DataPath = (), *, key: bool = False) -> Position:
        """Where the value at `path` (or its key) is written.

        For a value that is left empty, and for a path that does not exist, it is the key of the nearest part that does.
        """
        key_node, node, found = self._find(path)
        if node is None:
            return Position(self.path, 1, 1)
        if key_node is not None and (key or not found or node.start_mark.index == node.end_mark.index):
            node = key_node
        return self._at(node.start_mark)

    def written(self, path: DataPath) -> str | None:
        """The text of the scalar at `path` before it was read as a number, a date, ..."""
        _, node, found = self._find(path)
        return cast(str, node.value) if found and isinstance(node, yaml.ScalarNode) else None

    def node(self, path: DataPath) -> yaml.Node | None:
        """What is written for the value at `path`: the same node wherever an alias or a merge key repeats it."""
        _, node, found = self._find(path)
        return node if found else None

    def size(self, path: DataPath) -> int:
        """How many keys and values the part at `path` has in it, those that aliases and merge keys repeat included."""
        node = self.node(path)
        return self._built[id(node)][1] if id(node) in self._built else 0

    def _at(self, mark: Any) -> Position:
        return Position(self.path, mark.line + 1, mark.column + 1)

    def _find(self, path: DataPath) -> tuple[yaml.Node | None, yaml.Node | None, bool]:
        """The key and value nodes of the nearest existing part, and whether that is `path` itself."""
        key_node, node = None, self._root
        for step in path:
            if isinstance(node, yaml.MappingNode) and step in (pairs := self._pairs[id(node)]):
                key_node, node = pairs[step]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
                key_node, node = None, node.value[step]
            else:
                return key_node, node, False
        return key_node, node, node is not None


_Pair = tuple[yaml.Node, yaml.Node]


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
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as fault:
        raise _explain(path, text, fault, error) from None
    except yaml.YAMLError as fault:
        raise error(Position(path, 1, 1), f"not YAML: {fault}") from None
    builder = _Builder(path, error, tuples)
    data = None if root is None else builder.build(root)
    return Document(path, data, root, builder, len(content))


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


class _Builder:
    """Nodes to data. Recursion is bounded by `MAX_DEPTH`, which the composer has held."""

    def __init__(self, path: Path, error: type[LocatedError], tuples: bool) -> None:
        self.path = path
        self.error = error
        self.tuples = tuples
        self.pairs: dict[int, dict[Any, _Pair]] = {}
        self.built: dict[int, tuple[Any, int]] = {}
        self.scalars: dict[tuple[str, str], Any] = {}  # the same numbers are written again and again
        self.open: set[int] = set()
        self.nodes = 0
        self.repeated = 0

    def fail(self, node: yaml.Node, message: str, hint: str | None = None) -> LocatedError:
        return self.error(Position(self.path, node.start_mark.line + 1, node.start_mark.column + 1), message, hint)

    def build(self, node: yaml.Node) -> Any:
        self.nodes += 1
        if isinstance(node, yaml.ScalarNode):
            if self.nodes > MAX_EXPANSION:
                raise self.expanded(node)
            return self.scalar(node)
        if id(node) in self.built:
            data, size = self.built[id(node)]
            self.repeat(node, size)
            return data
        if id(node) in self.open:
            raise self.fail(node, "an alias refers to the part that it stands in")
        self.open.add(id(node))
        before = self.nodes + self.repeated
        data = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        self.open.remove(id(node))
        self.built[id(node)] = data, self.nodes + self.repeated - before
        return data

    def repeat(self, node: yaml.Node, size: int) -> None:
        self.repeated += size
        if self.repeated > MAX_EXPANSION:
            raise self.expanded(node)

    def expanded(self, node: yaml.Node) -> LocatedError:
        return self.fail(node, f"aliases expand this file by more than {MAX_EXPANSION:,} values")

    def scalar(self, node: yaml.ScalarNode) -> Any:
        value = cast(str, node.value)
        if node.tag in _TEXTS:
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise self.fail(node, "text with half of a surrogate pair")
            return value
        if node.tag not in _SCALARS:
            raise self.unknown_tag(node)
        written = node.tag, value
        if written not in self.scalars:
            self.scalars[written] = self.no_text(node, value)
        return self.scalars[written]

    def no_text(self, node: yaml.ScalarNode, value: str) -> Any:
        if len(value) > MAX_NUMBER_LENGTH:
            raise self.fail(node, f"a number of more than {MAX_NUMBER_LENGTH} characters", "quote it if it is text")
        kind = node.tag.removeprefix(CORE)
        try:
            return getattr(_scalars, f"construct_yaml_{kind}")(node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            kind = "date" if kind == "timestamp" else kind
            raise self.fail(node, f"{quoted(value)} is not a valid {kind}", "quote it if it is text") from None

    def sequence(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.SequenceNode) or node.tag not in (CORE + "seq", "!tuple"):
            raise self.unknown_tag(node)
        if node.tag == "!tuple" and not self.tuples:
            raise self.unknown_tag(node)
        data = [self.build(item) for item in node.value]
        return tuple(data) if node.tag == "!tuple" else data

    def mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        if node.tag != CORE + "map":
            raise self.unknown_tag(node)
        own: dict[Any, _Pair] = {}
        merges: list[yaml.Node] | None = None
        not_text = 0
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.fail(key_node, "a key must be text", "quote it if it starts with [ or {")
            key = self.scalar(key_node)
            not_text += not isinstance(key, str)
            if not_text > MAX_KEYS_NOT_TEXT:
                raise self.fail(key_node, f"more than {MAX_KEYS_NOT_TEXT} keys that are no text", "quote them")
            if key in own:
                first = own[key][0].start_mark.line + 1
                raise self.fail(
                    key_node, f"duplicate key {quoted(key_node.value)}; it is first written in line {first}"
                )
            own[key] = key_node, value_node
            if key_node.tag == CORE + "merge":
                merges = self.merged(value_node)
        if merges is not None:
            own.pop("<<")
        data: dict[Any, Any] = {}
        pairs: dict[Any, _Pair] = {}
        for merge in reversed(merges or ()):  # the first mapping of a list wins
            data.update(self.build(merge))
            pairs.update(self.pairs[id(merge)])
            self.repeat(merge, len(pairs))
        data.update((key, self.build(value_node)) for key, (_, value_node) in own.items())
        self.pairs[id(node)] = pairs | own if pairs else own
        return data

    def merged(self, node: yaml.Node) -> list[yaml.Node]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for merge in nodes:
            if not isinstance(merge, yaml.MappingNode):
                raise self.fail(merge, "'<<' merges a mapping, or a list of mappings")
        return list(nodes)

    def unknown_tag(self, node: yaml.Node) -> LocatedError:
        if node.tag.startswith(CORE + "python/"):
            return self.fail(node, f"unsafe YAML tag {quoted('!!' + node.tag.removeprefix(CORE))}", _PLAIN_ONLY)
        if node.tag.startswith(CORE):
            return self.fail(
                node, f"YAML tag {quoted('!!' + node.tag.removeprefix(CORE))} cannot be used here", _PLAIN_ONLY
            )
        return self.fail(node, f"unknown YAML tag {quoted(node.tag)}", _PLAIN_ONLY)
