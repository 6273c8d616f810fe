"""Settings of models that `editeval models drift` tries: read as a configuration's, and put into a profile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pytest_editeval.config_schema import PipeBlock
from pytest_editeval.device import check_device
from pytest_editeval.errors import EditEvalError, known_names, unknown
from pytest_editeval.profiles import PipeSettings, Profile, SamSettings
from pytest_editeval.validation import problems

USUAL = ("dtype=bfloat16", "dtype=float16", "quantize=int8", "compile=true")
"""The choices where none is asked for; those of settings that pipes do not have are left out.

What scores are held against has the default of these settings, whatever the profile says, and a choice begins with it.
"""

BETWEEN = re.compile(r",(?![^{}]*\})")
"""The commas of a choice, without those of a mapping such as ``{0: 20GiB, cpu: 60GiB}``."""


@dataclass(frozen=True)
class Choice:
    """Settings that all pipes get, and their segmenters where these have such settings too; `label` is their text."""

    label: str
    settings: Mapping[str, Any]


def allowed_keys() -> list[str]:
    """The settings of pipes that a choice may name: not the checkpoint, and nothing that is a block of its own."""
    names = {field.name for field in fields(PipeSettings)} - {"model_path"}
    return [name for name, known in PipeBlock.model_fields.items() if name in names and not _is_block(known.annotation)]


def read_choices(texts: Sequence[str]) -> list[Choice]:
    """The choices of a command line, each once, or the usual ones; an `EditEvalError` says what is allowed."""
    known = allowed_keys()
    usual = [text for text in USUAL if text.partition("=")[0] in known]
    choices = map(_read, texts or usual)
    return list({tuple(sorted(choice.settings.items())): choice for choice in choices}.values())


def with_choice(profile: Profile, choice: Choice | None) -> Profile:
    """The profile with a choice, or in plain float32."""
    settings = choice.settings if choice is not None else {}
    metrics = {name: replace(entry, pipe=_changed(entry.pipe, settings)) for name, entry in profile.metrics.items()}
    return replace(profile, metrics=metrics)


def _changed(pipe: PipeSettings, settings: Mapping[str, Any]) -> PipeSettings:
    sam = pipe.sam and replace(pipe.sam, **_those_of(SamSettings, settings))
    return replace(pipe, **_those_of(PipeSettings, settings), sam=sam)


def _those_of(kind: type[PipeSettings | SamSettings], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings those that the kind has, with its defaults for the usual ones."""
    plain = {text.partition("=")[0] for text in USUAL}
    defaults = {field.name: field.default for field in fields(kind)}
    return {key: settings.get(key, default) for key, default in defaults.items() if key in plain or key in settings}


def _read(text: str) -> Choice:
    where = f"--choice {text}"
    written: dict[str, Any] = {}
    known = allowed_keys()
    parts = BETWEEN.split(text)
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise EditEvalError(f"{where}: write KEY=VALUE[,KEY=VALUE], for instance dtype=bfloat16")
        if key not in known:
            raise EditEvalError(f"{where}: {unknown('setting of a pipe', key, known)} ({known_names(known)})")
        if key in written:
            raise EditEvalError(f"{where}: {key} is given twice")
        written[key] = _value(value)
    try:
        block = PipeBlock.model_validate(written)
    except ValidationError as error:
        problem = next(problems(error, written, "", lambda _: ("key", known)))
        raise EditEvalError(f"{where}: {problem.message}") from None
    settings = {key: getattr(block, key) for key in written}
    if settings.get("device") is not None:
        try:
            settings["device"] = None if check_device(settings["device"]) == "auto" else settings["device"]
        except EditEvalError as error:
            raise EditEvalError(f"{where}: {error}") from None
    return Choice(",".join("=".join(map(str.strip, part.split("=", 1))) for part in parts), settings)


def _is_block(annotation: Any) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in (annotation, *get_args(annotation)))


def _value(text: str) -> Any:
    """As in a configuration: `true` and numbers are no text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
