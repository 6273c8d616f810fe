"""YAML -> plain data in one pass over the parser's events, and where each key and each value is written.

PyYAML would first make a tree of nodes of the whole file, which takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, StreamEndEvent
from yaml.nodes import ScalarNode

from pytest_editeval import yaml_loader
from pytest_editeval.errors import LocatedError, Position, quoted
from pytest_editeval.yaml_loader import CORE, MAX_NUMBER_LENGTH, TEXT, Loader

MAX_EXPANSION = 2_000_000  # values that aliases and merge keys may add to a file
MAX_KEYS_NOT_TEXT = 100  # of a mapping; numbers can be chosen so that all have one hash

QUOTE = "text that contains ': ' or starts with one of @ ` % & * ! | > must be quoted"
_QUOTE_IT = "quote it if it is text"
_PLAIN_ONLY = "plain YAML only: mappings, lists, text, numbers, true, false and null"
_MERGE = CORE + "merge"
_TEXTS = {TEXT, _MERGE, CORE + "value"}  # `<<` and `=` are text where they are no key
_SCALARS = {CORE + name for name in ("null", "bool", "int", "float", "timestamp")}
_scalars = SafeConstructor()

Mark = Any
"""Where something begins: PyYAML's mark, with `line`, `column` (from 0) and `index` (in characters)."""


@dataclass(slots=True, eq=False)
class Node:
    """What is kept of the event that a value begins with. An alias has the node of its anchor.

    `text` is a scalar's, before it was read as a number or a date. `is_empty`: nothing at all is written for it.
    """

    start: Mark
    text: str | None = None
    is_empty: bool = False
    is_mapping: bool = False
    flow_style: bool = False


Pair = tuple[Mark, Node]
"""Of an entry of a mapping: where its key is written, and its value."""


class Builder:
    """Reads one file. `pairs` and `items` are what mappings and lists consist of, by the `id` of their nodes; `built`
    their data, and how many values are in them. Recursion is bounded by `MAX_DEPTH`.
    """

    def __init__(self, path: Path, error: type[LocatedError], loader: Loader, *, tuples: bool) -> None:
        self.pairs: dict[int, dict[Any, Pair]] = {}
        self.items: dict[int, list[Node]] = {}
        self.built: dict[int, tuple[Any, int]] = {}
        self._path = path
        self._error = error
        self._loader = loader
        self._next: Callable[[], Any] = loader.get_event
        self._tuples = tuples
        self._anchors: dict[str, tuple[Any, Node]] = {}
        self._open: set[int] = set()
        self._merged: list[Node] = []  # they are in no mapping, but their ids have to stay theirs
        self._plain: dict[str, Any] = {}  # the same numbers are written again and again
        self._no_texts = loader.yaml_implicit_resolvers  # by the first character
        self._depth = 0
        self._written = 0
        self._values = 0
        self._repeated = 0

    def document(self) -> tuple[Node | None, Any]:
        """The root and its data; no root where the file is empty."""
        self._next()  # the stream begins
        if isinstance(self._next(), StreamEndEvent):
            return None, None
        root, data = self._value(self._next())
        self._next()  # the document ends
        following = self._next()
        if not isinstance(following, StreamEndEvent):
            raise self._fail(
                following.start_mark, "the file holds several documents; it must hold one", "remove the line '---'"
            )
        return root, data

    def _fail(self, mark: Mark, message: str, hint: str | None = None) -> LocatedError:
        return self._error(Position(self._path, mark.line + 1, mark.column + 1), message, hint)

    def _value(self, event: Any) -> tuple[Node, Any]:
        """What begins with the event, read to its end."""
        if isinstance(event, ScalarEvent):
            self._values += 1
            node = self._write(event)
            return node, self._scalar(event)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._values += 1
        node = self._write(event)
        self._depth += 1
        if self._depth > yaml_loader.MAX_DEPTH:
            raise self._fail(event.start_mark, f"nested deeper than {yaml_loader.MAX_DEPTH} levels")
        key, before = id(node), self._values + self._repeated
        self._open.add(key)
        data = self._mapping(event, key) if node.is_mapping else self._sequence(event, key)
        self._open.remove(key)
        self.built[key] = data, self._values + self._repeated - before
        self._depth -= 1
        return node, data

    def _write(self, event: Any) -> Node:
        """The node of a value that is written here, counted, and under its anchor if it has one."""
        self._count(event)
        if isinstance(event, ScalarEvent):
            text: str = event.value
            node = Node(event.start_mark, text, not text and event.implicit[0])
        else:
            node = Node(
                event.start_mark,
                is_mapping=isinstance(event, MappingStartEvent),
                flow_style=bool(event.flow_style),
            )
        if event.anchor is not None:
            self._anchor(event, node)
        return node

    def _count(self, event: Any) -> None:
        self._written += 1
        if self._written > yaml_loader.MAX_NODES:
            found = f"the file has more than {yaml_loader.MAX_NODES:,} keys and values"
            raise self._fail(event.start_mark, found, "split it")

    def _anchor(self, event: Any, node: Node) -> None:
        if event.anchor in self._anchors:
            first = self._anchors[event.anchor][1].start.line + 1
            raise self._fail(event.start_mark, "duplicate anchor", f"it is first written in line {first}")
        self._anchors[event.anchor] = event, node

    def _alias(self, alias: AliasEvent) -> tuple[Node, Any]:
        event, node = self._anchored(alias)
        if isinstance(event, ScalarEvent):
            self._repeat(alias.start_mark, 1)
            return node, self._scalar(event)
        if id(node) in self._open:
            raise self._fail(alias.start_mark, "an alias refers to the part that it stands in")
        data, size = self.built[id(node)]
        self._repeat(alias.start_mark, size + 1)
        return node, data

    def _anchored(self, alias: AliasEvent) -> tuple[Any, Node]:
        if alias.anchor not in self._anchors:
            raise self._fail(alias.start_mark, "alias to an anchor that is not defined before it", QUOTE)
        return self._anchors[alias.anchor]

    def _repeat(self, mark: Mark, size: int) -> None:
        self._repeated += size
        if self._repeated > MAX_EXPANSION:
            raise self._fail(mark, f"aliases expand this file by more than {MAX_EXPANSION:,} values")

    def _scalar(self, event: ScalarEvent) -> Any:
        value: str = event.value
        if event.tag is not None:
            return self._tagged(event, value)
        if not event.implicit[0] or value[:1] not in self._no_texts:
            return self._text(event, value)  # most keys and texts begin as no other value does
        if value not in self._plain:
            self._plain[value] = self._tagged(event, value)
        return self._plain[value]

    def _tagged(self, event: ScalarEvent, value: str) -> Any:
        tag = self._loader.tag_of(event)
        if tag in _TEXTS:
            return self._text(event, value)
        if tag not in _SCALARS:
            raise self._unknown_tag(event, tag)
        return self._no_text(event, tag, value)

    def _text(self, event: ScalarEvent, value: str) -> str:
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise self._fail(event.start_mark, "text with half of a surrogate pair")
        return value

    def _no_text(self, event: ScalarEvent, tag: str, value: str) -> Any:
        if len(value) > MAX_NUMBER_LENGTH:
            raise self._fail(event.start_mark, f"a number of more than {MAX_NUMBER_LENGTH} characters", _QUOTE_IT)
        kind = tag.removeprefix(CORE)
        try:
            return getattr(_scalars, f"construct_yaml_{kind}")(ScalarNode(tag, value))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            kind = "date" if kind == "timestamp" else kind
            raise self._fail(event.start_mark, f"{quoted(value)} is not a valid {kind}", _QUOTE_IT) from None

    def _sequence(self, start: Any, node_id: int) -> Any:
        tag = CORE + "seq" if start.tag in (None, "!") else start.tag
        if tag != CORE + "seq" and not (tag == "!tuple" and self._tuples):
            raise self._unknown_tag(start, tag)
        data: list[Any] = []
        nodes = self.items[node_id] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            node, value = self._value(event)
            nodes.append(node)
            data.append(value)
        return tuple(data) if tag == "!tuple" else data

    def _mapping(self, start: Any, node_id: int) -> dict[Any, Any]:
        if start.tag not in (None, "!", CORE + "map"):
            raise self._unknown_tag(start, start.tag)
        own: dict[Any, Pair] = {}
        data: dict[Any, Any] = {}
        merges: Sequence[Node] | None = None
        not_text = 0
        while not isinstance(event := self._next(), MappingEndEvent):
            place, event = event.start_mark, self._key(event)
            key = self._scalar(event)
            if not isinstance(key, str):
                not_text += 1
                if not_text > MAX_KEYS_NOT_TEXT:
                    raise self._fail(place, f"more than {MAX_KEYS_NOT_TEXT} keys that are no text", "quote them")
            if key in own:
                first = own[key][0].line + 1
                raise self._fail(place, f"duplicate key {quoted(event.value)}; it is first written in line {first}")
            node, data[key] = self._value(self._next())
            own[key] = place, node
            if key == "<<" and self._loader.tag_of(event) == _MERGE:
                merges = self._to_merge(node)
        if merges is not None:
            self._merged += (own["<<"][1], *merges)
            del own["<<"], data["<<"]
            own, data = self._merge(merges, own, data)
        self.pairs[node_id] = own
        return data

    def _key(self, event: Any) -> ScalarEvent:
        """What a key says; of an alias, its anchor."""
        written = event
        if isinstance(event, AliasEvent):
            written, _ = self._anchored(event)
        else:
            self._count(event)
            if event.anchor is not None:
                self._anchor(event, Node(event.start_mark, getattr(event, "value", None)))
        if not isinstance(written, ScalarEvent):
            raise self._fail(event.start_mark, "a key must be text", "quote it if it starts with [ or {")
        return written

    def _to_merge(self, node: Node) -> Sequence[Node]:
        """The mappings that the value of a merge key names, the first of which wins."""
        nodes = self.items.get(id(node), [node])
        for one in nodes:
            if not one.is_mapping:
                raise self._fail(one.start, "'<<' merges a mapping, or a list of mappings")
        return nodes

    def _merge(
        self, merges: Sequence[Node], own: dict[Any, Pair], data: dict[Any, Any]
    ) -> tuple[dict[Any, Pair], dict[Any, Any]]:
        pairs: dict[Any, Pair] = {}
        merged: dict[Any, Any] = {}
        for node in reversed(merges):
            pairs.update(self.pairs[id(node)])
            merged.update(self.built[id(node)][0])
            self._repeat(node.start, len(pairs))
        return pairs | own, merged | data

    def _unknown_tag(self, event: Any, tag: str) -> LocatedError:
        name = quoted("!!" + tag.removeprefix(CORE))
        if tag.startswith(CORE + "python/"):
            return self._fail(event.start_mark, f"unsafe YAML tag {name}", _PLAIN_ONLY)
        if tag.startswith(CORE):
            return self._fail(event.start_mark, f"YAML tag {name} cannot be used here", _PLAIN_ONLY)
        return self._fail(event.start_mark, f"unknown YAML tag {quoted(tag)}", _PLAIN_ONLY)
