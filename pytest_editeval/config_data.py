"""The data of configuration files: a file as it is written (`Source`), and with references replaced (`Value`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_editeval.errors import Position
from pytest_editeval.yamlfile import DataPath, Document

BASE = "_base_"


@dataclass(eq=False)
class Source:
    """A configuration file, the namespaces that its `_base_` names, and the files that name it in theirs."""

    document: Document
    bases: dict[str, Source] = field(default_factory=dict)
    users: list[Source] = field(default_factory=list)

    def child(self, path: DataPath, key: str) -> tuple[Source, DataPath] | None:
        """The place of `key` in the mapping at `path`, if there is one."""
        if not path and key in self.bases:
            return self.bases[key], ()
        data = self.raw(path)
        return (self, (*path, key)) if isinstance(data, dict) and key in data else None

    def raw(self, path: DataPath) -> Any:
        """The data at `path` as it is written."""
        data = self.document.data
        for step in path:
            data = data[step]
        return data

    def scopes(self) -> list[Source]:
        """Where a reference in this file may begin: here, then in the files that this one is a base of."""
        found = [self]
        for source in found:
            found += [user for user in source.users if user not in found]
        return found


@dataclass(frozen=True)
class Value:
    """A part of a configuration with every reference replaced.

    `data` is a scalar, or a dict, list or tuple of values. `position` is where the value is written, in whatever
    file that is, `key` where its key is. `from_environment` marks text that begins with what an environment variable
    gave. `shown` is what may be shown of a text with such a part in it: ``${env:NAME}`` in the place of each.
    """

    data: Any
    position: Position
    key: Position
    from_environment: bool = False
    shown: str | None = None
    height: int = 0  # of the mappings and lists in it

    def plain(self) -> Any:
        """The data without positions."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list | tuple):
            return type(self.data)(value.plain() for value in self.data)
        return self.data

    def public(self) -> Any:
        """The data as it may be shown."""
        if isinstance(self.data, dict):
            return {key: value.public() for key, value in self.data.items()}
        if isinstance(self.data, list | tuple):
            return type(self.data)(value.public() for value in self.data)
        return self.data if self.shown is None else self.shown

    def parts(self) -> Iterator[Value]:
        """Itself, and everything in it."""
        yield self
        values = self.data.values() if isinstance(self.data, dict) else self.data
        for value in values if isinstance(self.data, dict | list | tuple) else ():
            yield from value.parts()

    def at(self, path: DataPath) -> tuple[Value, bool]:
        """The nearest existing part at `path`, and whether that is `path` itself."""
        value = self
        for step in path:
            if (isinstance(value.data, dict) and step in value.data) or (
                isinstance(value.data, list | tuple) and isinstance(step, int) and step < len(value.data)
            ):
                value = value.data[step]
            else:
                return value, False
        return value, True
