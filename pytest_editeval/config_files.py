"""Which files a configuration is: the one that was named, and those that its `_base_` leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_editeval.config_data import BASE, Source, Value
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import ConfigError, Position, display_path, quoted
from pytest_editeval.hidden import hide
from pytest_editeval.references import Resolver
from pytest_editeval.yamlfile import Document, read_yaml

MAX_BYTES = 2_000_000  # of all files together
MAX_FILES = 100
MAX_CHAIN = 60  # of files that name each other


def read_source(path: Path, confinement: Confinement | None = None) -> Source:
    """Read a configuration file and every file that its `_base_` names, directly or not, within the `confinement`."""
    document = read_yaml(path, ConfigError, tuples=True, max_bytes=MAX_BYTES)
    return _Files(confinement).add(path.absolute(), document, ())


class _Files:
    """The files of a configuration, each read once. A `chain` is the files that led to one."""

    def __init__(self, confinement: Confinement | None) -> None:
        self.confinement = confinement
        self.known: dict[Path, Source] = {}

    def add(self, path: Path, document: Document, chain: tuple[Path, ...]) -> Source:
        """A file that was read, and all that its `_base_` leads to."""
        identity = path.resolve()
        source = self.known[identity] = Source(document)
        for name in _namespaces(document):
            base = self.base(source, path, name, (*chain, identity))
            source.bases[name] = base
            base.users.append(source)
        return source

    def base(self, source: Source, path: Path, name: Any, chain: tuple[Path, ...]) -> Source:
        """The file that the namespace `name` of a `source` is."""
        position = source.document.position((BASE, name))
        value = _location(source, path, name)
        base = path.parent / value.data
        if self.confinement is not None and (refusal := self.confinement.refusal(base, path)):
            raise ConfigError(position, f"'{BASE}': {refusal}")
        try:
            target, exists = base.resolve(), base.is_file()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL, a name that is too long
            target, exists = base, False
        if not exists:
            shown = value.public()
            hint = f"looked for {display_path(path.parent / shown)}"
            raise ConfigError(position, f"no such file: {quoted(shown)}", hint)
        if target in chain:
            raise ConfigError(position, f"'{BASE}' comes back to {quoted(value.public())}, which is being read")
        if len(chain) > MAX_CHAIN:
            raise ConfigError(position, f"'{BASE}' leads through more than {MAX_CHAIN} files")
        if target not in self.known:
            self.add(base, self.read(base, position), chain)
        return self.known[target]

    def read(self, path: Path, position: Position) -> Document:
        """One file more, named at `position`, within the limits of all together."""
        if len(self.known) >= MAX_FILES:
            raise ConfigError(position, f"'{BASE}' leads to more than {MAX_FILES} files")
        left = MAX_BYTES - sum(source.document.bytes_read for source in self.known.values())
        if path.stat().st_size > left:
            raise ConfigError(position, f"'{BASE}' leads to files of more than {MAX_BYTES:,} bytes together")
        return read_yaml(path, ConfigError, tuples=True, max_bytes=left)


def _namespaces(document: Document) -> list[Any]:
    """The names in a file's `_base_`, once it is known to have the form of a configuration file."""
    if document.data is None:
        raise ConfigError(document.position(), "the file is empty")
    if not isinstance(document.data, dict):
        raise ConfigError(document.position(), "a configuration file is a mapping of names to settings")
    bases = document.data.get(BASE)
    if bases is not None and not isinstance(bases, dict):
        raise ConfigError(document.position((BASE,)), f"'{BASE}' is a mapping from a namespace to a file")
    return list(bases or ())


def _location(source: Source, path: Path, name: Any) -> Value:
    """The text that says where a base is; what an environment variable gave of it is hidden from here on."""
    value = Resolver().resolve(source, (BASE, name))
    if not (isinstance(name, str) and isinstance(value.data, str) and value.data):
        position = source.document.position((BASE, name))
        raise ConfigError(position, f"'{BASE}' is a mapping from a namespace to a file")
    if value.shown is not None:
        hide(value.data, value.shown)
        hide(str(path.parent / value.data), value.shown)
    return value
