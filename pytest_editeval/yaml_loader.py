"""PyYAML's safe parser, what its plain texts stand for, and the limits of what any file may ask of a reader."""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML built without libyaml: the same language, ten times slower
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

MAX_DEPTH = 100  # of lists and mappings in each other
MAX_NODES = 1_000_000  # keys, values, lists and mappings that are written in a file
MAX_NUMBER_LENGTH = 200

LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML 1.1 ends a line
CORE = "tag:yaml.org,2002:"
TEXT = CORE + "str"

_NUMBER_LIKE = re.compile(r"[-+.:_0-9eE]+")


class Loader(_BaseLoader):
    """PyYAML's safe loader, with `1e-3` read as the number that it is in YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any]  # by the first character

    def tag_of(self, event: yaml.ScalarEvent) -> str:
        """The tag of a scalar: its own, or that of the pattern which its text fits where it is plain."""
        if event.tag is not None and event.tag != "!":
            return event.tag
        value: str = event.value
        if not event.implicit[0]:
            return TEXT
        if len(value) > MAX_NUMBER_LENGTH:  # PyYAML's patterns take seconds and much memory for a long one
            return CORE + ("int" if _NUMBER_LIKE.fullmatch(value) and any(map(str.isdigit, value)) else "str")
        return cast(str, self.resolve(yaml.ScalarNode, value, event.implicit))  # type: ignore[no-untyped-call]


Loader.add_implicit_resolver(
    CORE + "float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+\Z"),
    list("-+.0123456789"),
)
