"""References in configuration files, replaced: `${namespace.key}` and `${env:NAME:default}`."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_editeval.config_data import BASE, Source, Value
from pytest_editeval.errors import ConfigError, Position, known_names, quoted, unknown
from pytest_editeval.yamlfile import DataPath

MAX_DEPTH = 60  # of mappings, lists and references in each other
MAX_VALUES = 100_000
MAX_TEXT = 100_000
MAX_SCANNED = 20_000_000

_BRACES = re.compile(r"\$\{|\}")
_Place = tuple[int, DataPath]
_Trail = Mapping[_Place, str]  # the references that are being followed: where they are written, and their text


class Resolver:
    """Replaces references, each part of a file once."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.environment = os.environ if environment is None else environment
        self.resolved: dict[_Place, tuple[Value, int]] = {}
        self.values = 0
        self.characters = 0

    def resolve(self, source: Source, path: DataPath, trail: _Trail | None = None, depth: int = 0) -> Value:
        """The part of `source` at `path`, with everything that it refers to."""
        place = id(source), path
        position = source.document.position(path)
        if place in self.resolved:
            value, size = self.resolved[place]
            self.values += size
            self.limit(position, depth + value.height)
            return value
        self.limit(position, depth)
        before = self.values
        self.values += 1
        raw = source.raw(path)
        key = source.document.position(path, key=True)
        trail = trail or {}
        if isinstance(raw, str) and "${" in raw:
            value = replace(self.text(source, path, trail, depth).resolve(raw), key=key)
        elif isinstance(raw, dict):
            names = [name for name in raw if path or name != BASE]
            data: Any = {name: self.resolve(source, (*path, name), trail, depth + 1) for name in names}
            value = Value(data, position, key, height=1 + max((item.height for item in data.values()), default=0))
        elif isinstance(raw, list | tuple):
            data = type(raw)(self.resolve(source, (*path, index), trail, depth + 1) for index in range(len(raw)))
            value = Value(data, position, key, height=1 + max((item.height for item in data), default=0))
        else:
            value = Value(raw, position, key)
        self.limit(position, depth)
        self.resolved[place] = value, self.values - before
        return value

    def text(self, source: Source, path: DataPath, trail: _Trail, depth: int) -> _Text:
        """The text at `path`, about to be followed."""
        place, position, raw = (id(source), path), source.document.position(path), source.raw(path)
        if place in trail:
            cycle = [*list(trail.values())[list(trail).index(place) :], raw]
            raise ConfigError(position, "circular reference: " + " -> ".join(map(_one_line, cycle)))
        self.values += 1
        self.limit(position, depth)
        return _Text(self, source, position, {**trail, place: raw}, depth + 1)

    def scan(self, position: Position, characters: int) -> None:
        """References inside defaults are looked through again at every level."""
        self.characters += characters
        if self.characters > MAX_SCANNED:
            raise ConfigError(position, f"references are spread over more than {MAX_SCANNED:,} characters")

    def limit(self, position: Position, depth: int) -> None:
        """References can make a small file endless."""
        if depth > MAX_DEPTH:
            raise ConfigError(position, f"settings and references nested deeper than {MAX_DEPTH} levels")
        if self.values > MAX_VALUES:
            raise ConfigError(position, f"references expand the configuration to more than {MAX_VALUES:,} values")


@dataclass(frozen=True)
class _Text:
    """A text with references in it, at its place."""

    resolver: Resolver
    source: Source
    position: Position
    trail: _Trail
    depth: int

    def resolve(self, text: str) -> Value:
        """A text that is one reference is what that refers to; else references are replaced by their text."""
        pieces = self.split(text)
        if len(pieces) == 1 and pieces[0][1]:
            return self.follow(pieces[0][1])
        written, shown, is_hidden, from_environment = "", "", False, False
        for literal, reference in pieces:
            if reference:
                value = self.follow(reference)
                from_environment |= value.from_environment and not written
                text_of_value = self.as_text(value, reference)
                written += text_of_value
                shown += text_of_value if value.shown is None else value.shown
                is_hidden |= value.shown is not None
            written += literal
            shown += literal
            if len(written) > MAX_TEXT:
                raise ConfigError(self.position, f"references expand to more than {MAX_TEXT:,} characters")
        return Value(written, self.position, self.position, from_environment, shown if is_hidden else None)

    def split(self, text: str) -> list[tuple[str, str]]:
        """Pairs of a literal and a reference, one of them empty."""
        self.resolver.scan(self.position, len(text))
        pieces, start = [], 0
        while (begin := text.find("${", start)) >= 0:
            end, level = len(text), 0
            for brace in _BRACES.finditer(text, begin):
                level += 1 if brace[0] == "${" else -1
                if not level:
                    end = brace.end()
                    break
            if level:
                raise ConfigError(self.position, f"reference without its closing brace: {quoted(text[begin:])}")
            if begin > start:
                pieces.append((text[start:begin], ""))
            pieces.append(("", text[begin:end]))
            start = end
        return [*pieces, (text[start:], "")] if start < len(text) or not pieces else pieces

    def as_text(self, value: Value, reference: str) -> str:
        if isinstance(value.data, bool):
            return str(value.data).lower()
        if isinstance(value.data, str | int | float | datetime.date):
            return str(value.data)
        raise ConfigError(self.position, f"{_one_line(reference)} is not text, so it cannot stand inside a longer text")

    def follow(self, reference: str) -> Value:
        name = reference[2:-1].strip()
        if name == "env" or name.startswith("env:"):
            return self.variable(name.removeprefix("env").removeprefix(":"))
        if "${" in name:
            hint = "only the default of an environment variable may hold one"
            raise ConfigError(self.position, f"a reference inside a reference: {_one_line(reference)}", hint)
        source, path = self.find(reference, name.split("."))
        return self.resolver.resolve(source, path, self.trail, self.depth)

    def variable(self, text: str) -> Value:
        name, colon, default = text.partition(":")
        if not name or "${" in name:
            raise ConfigError(self.position, "'${env:}' without the name of an environment variable")
        if name in self.resolver.environment:
            text = self.resolver.environment[name]
            return Value(text, self.position, self.position, from_environment=True, shown=f"${{env:{_one_line(name)}}}")
        if not colon:
            hint = f"set it, or give a default: ${{env:{_one_line(name)}:DEFAULT}}"
            raise ConfigError(self.position, f"environment variable {name!r} is not set", hint)
        self.resolver.limit(self.position, self.depth)
        inner = replace(self, depth=self.depth + 1)
        return inner.resolve(default) if default else Value("", self.position, self.position)

    def find(self, reference: str, names: list[str]) -> tuple[Source, DataPath]:
        """The place that dotted `names` lead to, through other references where they stand on the way."""
        reached, missing = -1, ConfigError(self.position, f"reference {_one_line(reference)} leads nowhere")
        for scope in self.source.scopes():
            place: tuple[Source, DataPath] = scope, ()
            for index, name in enumerate(names):
                place = self.through(*place)
                found = place[0].child(place[1], name)
                if found is None:
                    if index > reached:
                        reached, missing = index, self.missing(reference, names[:index], name, place)
                    break
                place = found
            else:
                return place
        raise missing

    def through(self, source: Source, path: DataPath) -> tuple[Source, DataPath]:
        """Where a place leads that is itself a reference."""
        raw = source.raw(path)
        if not isinstance(raw, str) or len(pieces := self.split(raw)) > 1:
            return source, path
        reference = pieces[0][1]
        if not reference or reference.startswith("${env:"):
            return source, path
        text = self.resolver.text(source, path, self.trail, self.depth)
        return text.through(*text.find(reference, reference[2:-1].strip().split(".")))

    def missing(self, reference: str, parents: list[str], name: str, place: tuple[Source, DataPath]) -> ConfigError:
        source, path = place
        data = source.raw(path)
        names = [key for key in data if isinstance(key, str) and key != BASE] if isinstance(data, dict) else []
        known = sorted({*names, *(source.bases if not path else ())})
        where = f"in '{_one_line('.'.join(parents))}', " if parents else ""
        hint = known_names(known) if known else None
        message = f"reference {_one_line(reference)}: {where}{unknown('name', name, known)}"
        return ConfigError(self.position, message, hint)


def _one_line(reference: str) -> str:
    return " ".join(reference.split())
