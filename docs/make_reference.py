"""Writes the pages of docs/reference that follow from the code: `python docs/make_reference.py`.

A test holds that the committed pages are what this script writes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_editeval.case_schema import SCHEMA_PATH
from pytest_editeval.cli import COMMANDS
from pytest_editeval.plugin import pytest_addoption

FOLDER = Path(__file__).parent / "reference"
WIDTH = 80
NOTICE = "<!-- Written by docs/make_reference.py (`make reference`). -->\n"
HEADINGS = {
    "Metrics": "Metrics",
    "PatchCheckFields": "A check of a patch metric",
    "ObjectCheckFields": "A check of an object metric",
    "Pair": "A pair",
    "ScaleFields": "A scale of bands",
    "RepeatFields": "Several edits",
    "GateFields": "A gate",
}
"""Parts of the schema with a section of their own, in the order of the page."""

SHAPES = {4: "`[x1, y1, x2, y2]`", 3: "`[red, green, blue]`, each 0 to 255", 2: "`[low, high]`"}
"""Lists of a fixed length: boxes, colours, scales."""


def case_file() -> str:
    """The page about the keys of case files, from the JSON Schema that the package holds."""
    schema = json.loads(SCHEMA_PATH.read_text("utf-8"))
    parts = schema["$defs"]
    known = {"Case", "Defaults", *HEADINGS}
    if missing := parts.keys() - known:
        raise SystemExit(f"parts of the schema without a section: {', '.join(sorted(missing))}")
    page = [
        "# Keys of a case file",
        "Every key of `*.edit.yaml`, from the format's [JSON Schema](../cases.md#completion-in-an-editor); "
        "[Edit cases](../cases.md) explains them by example. Any other key is an error. `null` stands for "
        "“not set”, so that a case can undo a default; as a `scope` it is the whole image.",
        "## The file",
        _keys(schema),
        "## A case",
        "`defaults` takes the same keys, without `id`. `instruction`, `source` and `metrics` have to be there once "
        "`defaults` are merged; `edited` too, where no candidate and no model makes the edit.",
        _keys(parts["Case"]),
    ]
    for name, heading in HEADINGS.items():
        page += [f"## {heading}", parts[name]["description"], _keys(parts[name])]
    return _page(page)


def _keys(part: Mapping[str, Any]) -> str:
    required = part.get("required", ())
    rows = []
    for key, value in sorted(part["properties"].items(), key=lambda item: item[0] not in required):
        needed = " (required)" if key in required else ""
        rows.append((f"`{key}`{needed}", _allowed(value), _text(value.get("description", ""))))
    return _table(("key", "value", "meaning"), rows)


def _allowed(schema: Mapping[str, Any]) -> str:
    """In words what the schema allows, `null` left out."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        heading = HEADINGS.get(name, "A case")
        without = " without `id`" if name == "Defaults" else ""
        return f"[{heading[0].lower()}{heading[1:]}](#{heading.lower().replace(' ', '-')}){without}"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_allowed(option) for option in options if option.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        if "prefixItems" in schema:
            return SHAPES[schema["minItems"]]
        return f"list{' of' if 'type' in schema['items'] else ', each'} {_allowed(schema['items'])}"
    if kind == "object":
        return f"mapping to {_allowed(schema['additionalProperties'])}"
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true, false"}[kind]
    signs = {"minimum": "≥", "exclusiveMinimum": "&gt;", "maximum": "≤", "exclusiveMaximum": "&lt;"}
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    return " ".join([words, ", ".join(bounds)]).strip()


class _Options:
    """What stands in for pytest's parser, and notes what the plugin declares."""

    def __init__(self) -> None:
        self.options: dict[str, Mapping[str, Any]] = {}
        self.settings: dict[str, Mapping[str, Any]] = {}

    def getgroup(self, *_: object, **__: object) -> _Options:
        return self

    def addoption(self, name: str, **attributes: Any) -> None:
        self.options[name] = attributes

    def addini(self, name: str, help: str, **attributes: Any) -> None:
        self.settings[name] = {"help": help, **attributes}


def options() -> str:
    """The page about pytest's options and ini settings, from what the plugin declares."""
    declared = _Options()
    pytest_addoption(declared)  # type: ignore[arg-type]
    rows = []
    for name, attributes in declared.options.items():
        value = attributes.get("metavar") or "{" + ",".join(attributes.get("choices", ())) + "}"
        value = "" if attributes.get("action") == "store_true" else f" {value}"
        value = f" [{value.strip()}]" if attributes.get("nargs") == "?" else value
        repeated = " ..." if attributes.get("action") == "append" else ""
        rows.append((f"`{name}{value}`{repeated}", _text(attributes["help"])))
    settings = []
    for name, attributes in declared.settings.items():
        default = attributes.get("default")
        text = " ".join(default) if isinstance(default, list | tuple) else str(default or "")
        settings.append((f"`{name}`", f"`{text}`" if text else "", _text(attributes["help"])))
    return _page(
        [
            "# Options of pytest",
            "What the plugin adds to `pytest --help`. An option wins over the ini setting of the same name "
            "(`pytest.ini`, `pyproject.toml`). Paths of the ini file are relative to it.",
            _table(("option", "meaning"), rows),
            "## Ini settings",
            _table(("setting", "default", "meaning"), settings),
        ]
    )


def commands() -> str:
    """The page about the `editeval` command, from its parser."""
    parser = argparse.ArgumentParser(prog="editeval")
    declared = parser.add_subparsers()
    for module in COMMANDS:
        module.add(declared)
    about = {action.dest: action.help or "" for action in declared._get_subactions()}
    page = [
        "# The `editeval` command",
        "What is done with cases and results beside a run of `pytest`. Exit statuses: [those of a run]"
        "(../gating.md#exit-status); a mistake in what was given is one line, and status 4.",
    ]
    for name, command in declared.choices.items():
        page += _command(name, command, about[name], "##")
    return _page(page)


def _command(name: str, command: argparse.ArgumentParser, about: str, mark: str) -> list[str]:
    """A section, and one for each action that the command has."""
    arguments = [action for action in command._actions if action.dest != "help"]
    synopsis = _wrapped(f"editeval {name}", [_written(action) for action in arguments])
    section = [f"{mark} `{name}`", _text(_sentence(about)), f"```\n{synopsis}\n```"]
    for action in arguments:
        if isinstance(action, argparse._SubParsersAction):
            told = {one.dest: one.help or "" for one in action._get_subactions()}
            return section + [
                part
                for key, one in action.choices.items()
                for part in _command(f"{name} {key}", one, told[key], f"{mark}#")
            ]
    if arguments:
        rows = [(f"`{_written(action, bare=True)}`", _text(_help(action))) for action in arguments]
        section.append(_table(("argument", "meaning"), rows))
    return section


def _written(action: argparse.Action, *, bare: bool = False) -> str:
    """An argument as it is written in a command line; `bare` without the marks of what may be left out or repeated."""
    value = str(action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest))
    many = action.nargs in ("+", "*")
    if not action.option_strings:
        shown = value if not many or bare else f"{value} ..."
        return f"[{shown}]" if action.nargs in ("?", "*") and not bare else shown
    value = value if action.metavar or action.choices else value.upper()
    shown = action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"
    shown += " ..." if many else ""
    return shown if bare or action.required else f"[{shown}]"


def _wrapped(command: str, arguments: Sequence[str]) -> str:
    lines = [command]
    for argument in arguments:
        if len(lines[-1]) + 1 + len(argument) > WIDTH:
            lines.append(" " * len(command))
        lines[-1] += f" {argument}"
    return "\n".join(lines)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % vars(action)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _text(text: str) -> str:
    """Plain text with code in backticks, safe in a table of Markdown."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("<", "&lt;").replace("*", "\\*").replace("$", "\\$") for piece in pieces[::2]]
    return "`".join(pieces).replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(blocks: Iterable[str]) -> str:
    return NOTICE + "\n" + "\n\n".join(blocks) + "\n"


PAGES = {"case-file.md": case_file, "options.md": options, "commands.md": commands}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), "utf-8")
