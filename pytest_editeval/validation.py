"""The values that case files and configuration files share, and what their mistakes are called.

pydantic finds the mistakes; `problems` says them in this package's words.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pytest_editeval.errors import known_names, unknown
from pytest_editeval.registry import broken_metrics
from pytest_editeval.yamlfile import DataPath

QUOTE = "quote it"
_CONTROL = re.compile("[\x00-\x1f\x7f]")
MAX_MISTAKES = 1000  # of a file; one with more is given up


class Settings(BaseModel):
    """A mapping that allows no other keys than its own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)


def mistake(message: str) -> PydanticCustomError:
    """A mistake in our own words: how the sentence that begins with the name of the value goes on."""
    return PydanticCustomError("editeval", "{message}", {"message": message})


def _box(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise mistake(f"must be a box, 4 numbers [x1, y1, x2, y2]; found {describe(value)}")
    if len(value) != 4:
        raise mistake(f"must be 4 numbers [x1, y1, x2, y2]; found {len(value)}")
    return value


def _boxes(value: object) -> object:
    if isinstance(value, list) and value and not any(isinstance(box, list) for box in value):
        raise mistake("must be a list of boxes: [[x1, y1, x2, y2], ...]")
    return value


def _box_order(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        written = ", ".join(f"{number:g}" for number in box)
        raise mistake(f"is an inverted or empty box [{written}]: x2 must be greater than x1, and y2 than y1")
    return box


def _color(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise mistake(f"must be a colour, 3 whole numbers [red, green, blue]; found {describe(value)}")
    if len(value) != 3:
        raise mistake(f"must be 3 whole numbers [red, green, blue]; found {len(value)}")
    return value


def no_boolean(value: object) -> object:
    """Python takes `true` for 1."""
    if isinstance(value, bool):
        raise mistake(f"must be a number, found {describe(value)}")
    return value


def number_or_mapping(value: object) -> str:
    """The discriminator of a number and a number per profile."""
    return "<mapping>" if isinstance(value, dict) else "<number>"


def _not_blank(value: str) -> str:
    if not value.strip():
        raise mistake("must not be empty")
    return value.strip()


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise mistake("must not hold control characters")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Level = Annotated[int, Field(strict=True, ge=0, le=255)]
Words = Annotated[str, AfterValidator(_not_blank), Field(json_schema_extra={"minLength": 1})]
Line = Annotated[Words, AfterValidator(_printable)]
BoxField = Annotated[tuple[Number, Number, Number, Number], BeforeValidator(_box), AfterValidator(_box_order)]
BoxesField = Annotated[list[BoxField], BeforeValidator(_boxes)]
ColorField = Annotated[tuple[Level, Level, Level], BeforeValidator(_color)]
PatchThreshold = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(no_boolean)]


@dataclass(frozen=True)
class Problem:
    """One mistake: at which path of the data, whether the key or its value is wrong, and what to tell the user."""

    path: DataPath
    on_key: bool
    message: str
    hint: str | None = None


_TAGS = ("<number>", "<mapping>", "[key]")
_WORDS = {
    "string_type": "must be text, found {found}",
    "string_too_short": "must not be empty",
    "float_type": "must be a number, found {found}",
    "float_parsing": "must be a number, found {found}",
    "finite_number": "must be a finite number, found {found}",
    "int_type": "must be a whole number, found {found}",
    "int_parsing": "must be a whole number, found {found}",
    "int_from_float": "must be a whole number, found {found}",
    "int_parsing_size": "must be a smaller number",
    "greater_than": "must be greater than {gt:g}, found {found}",
    "greater_than_equal": "must be at least {ge:g}, found {found}",
    "less_than": "must be less than {lt:g}, found {found}",
    "less_than_equal": "must be at most {le:g}, found {found}",
    "literal_error": "must be {expected}, found {found}",
    "list_type": "must be a list, found {found}",
    "dict_type": "must be a mapping, found {found}",
    "model_type": "must be a mapping, found {found}",
    "model_attributes_type": "must be a mapping, found {found}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "missing": "is missing",
    "editeval": "{message}",
}


def problems(
    error: ValidationError, data: object, context: str, known: Callable[[DataPath], tuple[str, Iterable[str]]]
) -> Iterator[Problem]:
    """Every mistake that pydantic found in `data`.

    `known` gives for the path of a mapping what its keys are called ("key", "metric") and which are allowed;
    `context` says in a message where the data is (" in case 'red_scarf'").
    """
    for details in islice(error.errors(include_url=False), MAX_MISTAKES + 1):
        tags = [step for step in details["loc"] if step in _TAGS]
        path = _keys(data, [step for step in details["loc"] if step not in _TAGS])
        not_text = details["type"] == "invalid_key" or (details["type"] == "string_type" and tags[-1:] == ["[key]"])
        if not_text or details["type"] == "extra_forbidden":
            kind, names = known(path[:-1])
            where = f" of {dotted(path[:-1])}" if path[:-1] and kind == "key" else ""
            if not_text:
                yield Problem(path, True, f"the {kind} {path[-1]}{where}{context} must be text", QUOTE)
            else:
                yield Problem(path, True, unknown_within(where + context, kind, path[-1], names), known_names(names))
        else:
            subject = f"{dotted(path)}{context}" if path else context.removeprefix(" of ").removeprefix(" in ")
            quote = details["type"] == "string_type" and isinstance(details["input"], int | float | datetime.date)
            on_key = details["type"] == "missing"
            yield Problem(path, on_key, f"{subject} {_words(details, tags)}", QUOTE if quote else None)


def _keys(data: object, steps: list[int | str]) -> DataPath:
    """The path in the data's own keys: pydantic writes a key that is not text as text."""
    path: list[Any] = []
    for step in steps:
        key: Any = step
        if isinstance(data, dict) and step not in data:
            key = next((other for other in data if not isinstance(other, str) and str(other) == str(step)), step)
        path.append(key)
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list | tuple) and isinstance(key, int) and key < len(data):
            data = data[key]
    return tuple(path)


def unknown_within(where: str, kind: str, name: object, names: Iterable[str]) -> str:
    """`unknown metric 'emdd' in gates[0]; did you mean 'emd'?`"""
    if kind == "metric" and (problem := broken_metrics().get(str(name))):
        return f"{problem}; it is wanted{where}"
    found, semicolon, suggestion = unknown(kind, name, names).partition("; did you mean")
    return f"{found}{where}{semicolon}{suggestion}"


def _words(details: ErrorDetails, tags: list[Any]) -> str:
    found = describe(details["input"])
    if details["type"] == "float_type" and tags and tags[-1] == "<number>" and not isinstance(details["input"], bool):
        return f"must be a number or a mapping, found {found}"
    words = _WORDS.get(details["type"])
    return words.format(found=found, **details.get("ctx", {})) if words else f"is wrong: {details['msg']}"


def dotted(path: DataPath) -> str:
    """`metrics.emd.coords[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"'{text.removeprefix('.')}'"


def describe(value: object) -> str:
    """What a user wrote, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:37]}...")
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    if isinstance(value, int | float):
        text = str(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    if isinstance(value, datetime.date):
        return f"the date {value}"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else repr(value)
