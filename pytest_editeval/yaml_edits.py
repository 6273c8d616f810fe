"""Numbers of a YAML file changed in its text: whatever is not a changed number stays byte for byte."""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_left
from typing import Any

import yaml

from pytest_editeval.yaml_builder import Node
from pytest_editeval.yaml_loader import LINE_BREAK

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class TextEdits:
    """Edits of a YAML file's `content`, which was parsed without a mistake; nodes are those of that parse."""

    def __init__(self, content: bytes) -> None:
        self._mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
        self._text = content.decode("utf-8-sig")
        self._tokens: list[Any] = list(yaml.scan(self._text, Loader=_Loader))
        self._starts = [token.start_mark.index for token in self._tokens]
        self._edits: list[tuple[int, int, str]] = []

    def replace_number(self, node: Node, value: float) -> None:
        """Write another number in the place of one; its anchor, tag and quotes stay."""
        following = range(self._first(node), len(self._tokens))
        token = next(token for index in following if isinstance(token := self._tokens[index], yaml.ScalarToken))
        quotes = 0 if token.plain else 1
        self._edits.append((token.start_mark.index + quotes, token.end_mark.index - quotes, number_text(value)))

    def add_entry(self, mapping: Node, key: str, value: float) -> None:
        """Write ``key: value`` as the last entry of a mapping that is not empty, in the mapping's own style."""
        first = next(
            index
            for index in range(self._first(mapping), len(self._tokens))
            if isinstance(self._tokens[index], _OPENING)
        )
        last = self._tokens[self._closing(first) - 1]
        entry = f"{_key_text(key)}: {number_text(value)}"
        end = last.end_mark.index
        if mapping.flow_style:
            comma = "" if isinstance(last, yaml.FlowEntryToken) else ","
            self._edits.append((end, end, f"{comma} {entry}"))
            return
        found = LINE_BREAK.search(self._text, end)  # after the last entry's comment
        line_break = found or LINE_BREAK.search(self._text)
        place = found.start() if found else len(self._text)
        indentation = " " * self._tokens[first].start_mark.column
        self._edits.append((place, place, f"{line_break[0] if line_break else chr(10)}{indentation}{entry}"))

    def content(self) -> bytes:
        """The file with every edit."""
        parts, done = [], 0
        for start, end, text in sorted(self._edits):
            parts += [self._text[done:start], text]
            done = end
        return self._mark + "".join((*parts, self._text[done:])).encode()

    def _first(self, node: Node) -> int:
        """The number of a node's first token, which may be its anchor or tag."""
        return bisect_left(self._starts, node.start.index)

    def _closing(self, opening: int) -> int:
        depth = 0
        for index in range(opening, len(self._tokens)):
            depth += isinstance(self._tokens[index], _OPENING) - isinstance(self._tokens[index], _CLOSING)
            if depth == 0:
                return index
        raise AssertionError("the file was parsed without a mistake")


def number_text(value: float) -> str:
    """A number that every reader of YAML 1.1 and 1.2 takes for one, with all its digits (``1.0e-05``)."""
    text = repr(float(value))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _key_text(key: str) -> str:
    """A key that is read as this text: plain where YAML takes it for nothing else."""
    if _PLAIN_KEY.fullmatch(key) and key.isascii() and yaml.safe_load(key) == key:
        return key
    return json.dumps(key, ensure_ascii=False)
