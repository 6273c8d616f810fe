"""PyYAML's safe loader, within limits of what any file may ask of it."""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML built without libyaml: the same language, ten times slower
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

MAX_DEPTH = 100
MAX_NODES = 1_300_000  # keys, values, lists and mappings that are written in a file
MAX_NUMBER_LENGTH = 200

LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML 1.1 ends a line
CORE = "tag:yaml.org,2002:"
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
TOO_MANY = f"the file has more than {MAX_NODES:,} keys and values"

_NUMBER_LIKE = re.compile(r"[-+.:_0-9eE]+")


class Limited:
    """Limits for a loader of PyYAML: of nesting, of nodes, and of the text that is held against patterns of numbers."""

    depth = 0
    nodes = 0
    yaml_implicit_resolvers: dict[str, Any]  # of PyYAML, by the first character

    def __init__(self, stream: str) -> None:
        super().__init__(stream)  # type: ignore[call-arg]
        self._tags: dict[str, str] = {}

    # In libyaml's binding, too, where deep nesting would otherwise overflow the C stack.
    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """What the composer calls before every node."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=current_node.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=TOO_MANY, problem_mark=current_node.start_mark)

    def ascend_resolver(self) -> None:
        """What the composer calls after every node."""
        self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> str:
        """The tag of a node; what has no tag of its own is looked up once for each text."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return cast(str, super().resolve(kind, value, implicit))  # type: ignore[misc]
        if value[:1] not in self.yaml_implicit_resolvers:
            return CORE + "str"  # most keys and texts begin as no other value does
        tag = self._tags.get(value)
        if tag is None:
            if len(value) <= MAX_NUMBER_LENGTH:
                tag = cast(str, super().resolve(kind, value, implicit))  # type: ignore[misc]
            else:  # PyYAML's patterns take seconds and much memory for a long one
                tag = CORE + ("int" if _NUMBER_LIKE.fullmatch(value) and any(map(str.isdigit, value)) else "str")
            self._tags[value] = tag
        return tag


class Loader(Limited, _BaseLoader):
    """PyYAML's safe loader within limits, and with `1e-3` read as the number that it is in YAML 1.2."""


Loader.add_implicit_resolver(
    CORE + "float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+\Z"),
    list("-+.0123456789"),
)
