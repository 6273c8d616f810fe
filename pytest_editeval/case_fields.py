"""What may be written in a case and in its checks: the keys, and what their values may be.

Every key is optional here, because `defaults` may hold what a case leaves out; what must be there after both are
merged is `pytest_editeval.cases`' to say. `null` stands for "not set", so a case can undo a default.
"""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from pytest_editeval.checks import Expect
from pytest_editeval.errors import quoted
from pytest_editeval.locations import is_url
from pytest_editeval.registry import Scope
from pytest_editeval.validation import (
    BoxesField,
    BoxField,
    ColorField,
    Line,
    Number,
    PatchThreshold,
    Settings,
    Words,
    describe,
    mistake,
    number_or_mapping,
)

PLACEHOLDERS = ("id", "seed", "task", "file", "path")
MAX_PROFILES = 100  # with a threshold of their own
MAX_NAME = 200  # characters; files of 255 bytes are named after it
ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
RESERVED_MARKERS = frozenset({"filterwarnings", "parametrize", "skip", "skipif", "usefixtures", "xfail"})


def is_case_id(value: str) -> bool:
    """Whether a case may be named so."""
    return len(value) <= MAX_NAME and re.fullmatch(ID_PATTERN, value) is not None


def _case_id(value: str) -> str:
    if len(value) > MAX_NAME:
        raise mistake(f"must have at most {MAX_NAME} characters, found {len(value):,}")
    if not is_case_id(value):
        raise mistake(
            f"must be made of letters, digits, '_', '-' and '.' (first a letter, digit or '_'), found {quoted(value)}"
        )
    return value


def _marker(value: str) -> str:
    """Tags and tasks become pytest markers."""
    if len(value) > MAX_NAME:
        raise mistake(f"must have at most {MAX_NAME} characters, found {len(value):,}")
    if not value.isidentifier() or value.startswith("_"):
        raise mistake(f"must be a name of letters, digits and '_' (it becomes a pytest marker), found {quoted(value)}")
    if value in RESERVED_MARKERS:
        raise mistake(f"must not be {value!r}, which is a marker of pytest itself")
    if keyword.iskeyword(value):
        raise mistake(f"must not be {value!r}, which `pytest -m` could not select")
    return value


def _placeholders(value: str) -> str:
    for found in re.findall(r"\{[^{}]*\}", value):
        if found[1:-1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise mistake(f"has the unknown placeholder {quoted(found)[1:-1]}; known: {known}")
    return value


def _file_of_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if is_url(value) and not rest.partition("?")[0].strip("/"):
        raise mistake(f"must name a file after '{scheme}://'")
    return value


CaseId = Annotated[
    str, AfterValidator(_case_id), Field(json_schema_extra={"pattern": ID_PATTERN, "maxLength": MAX_NAME})
]
Marker = Annotated[str, AfterValidator(_marker), Field(json_schema_extra={"not": {"enum": sorted(RESERVED_MARKERS)}})]
PatternField = Annotated[Line, AfterValidator(_placeholders)]
ImageField = Annotated[Line, AfterValidator(_file_of_url)]


def _bands(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) not in (1, 3):
        found = f"{len(value)} of them" if isinstance(value, list | tuple) else describe(value)
        raise mistake(f"must be three bands [red, green, blue] or one, counted from 1; found {found}")
    return value


def _ends(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise mistake("must be two numbers [low, high]")
    return value


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise mistake(f"must be [low, high] with low below high, found [{ends[0]:g}, {ends[1]:g}]")
    return ends


Count = Annotated[int, Field(strict=True, ge=1, le=1000)]
Ends = Annotated[tuple[Number, Number], BeforeValidator(_ends), AfterValidator(_rising)]
BandsField = Annotated[list[Count], BeforeValidator(_bands), Field(min_length=1, max_length=3)]
Seed = Annotated[int, Field(strict=True, ge=0)]
ThresholdField = Annotated[
    Annotated[Number, Tag("<number>")]
    | Annotated[dict[str, Number], Field(min_length=1, max_length=MAX_PROFILES), Tag("<mapping>")],
    Discriminator(number_or_mapping),
]


class Pair(Settings):
    """An object: its box in the source, and its box in the edited image."""

    source: BoxField = Field(description="Box in the source, [x1, y1, x2, y2] in pixels.")
    edited: BoxField = Field(description="Box in the edited image, [x1, y1, x2, y2] in pixels.")


class CheckFields(Settings):
    """How one metric judges a case."""

    threshold: ThresholdField | None = Field(
        None,
        description="What the score must reach (inclusive, in the metric's direction): a number, or one per profile.",
    )
    scope: Scope | None = Field(
        None,
        description="Region that is scored: inside the boxes (edit_area), outside them (unedit_area), or null for the "
        "whole image. Without this key the configuration's scope holds, else the metric's usual one.",
    )
    expect: Expect | None = Field(None, description="Overrides the case's `expect` for this metric.")
    tolerance: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="By how much the score may be worse than the baseline's, in the metric's units."
    )


class PatchCheckFields(CheckFields):
    """How a metric that compares patches judges a case."""

    coords: BoxesField | None = Field(None, description="Boxes for this metric, in place of the case's.")
    patch_mask_threshold: PatchThreshold | None = Field(
        None, description="A patch belongs to the region when more than this share of it does; 0.1 by default."
    )


class ObjectCheckFields(CheckFields):
    """How a metric that compares isolated objects judges a case."""

    coords: BoxesField | None = Field(
        None, description="Boxes for this metric: those in the source, then their counterparts in the edited image."
    )
    pairs: list[Pair] | None = Field(
        None, description="The objects to compare, each with its box in both images; in place of `coords`."
    )
    bg_color: ColorField | None = Field(
        None, description="Colour [red, green, blue] that replaces what is not the object; white by default."
    )


class RepeatFields(Settings):
    """Several edits of one case, of which some have to pass."""

    passing: Count = Field(alias="pass", description="How many of the edits have to pass.")
    of: Count = Field(description="How many edits there are.")
    seeds: list[Seed] | None = Field(None, description="Their seeds; 0, 1, 2, ... by default.")

    @model_validator(mode="after")
    def _fits(self) -> RepeatFields:
        if self.passing > self.of:
            raise mistake(f"asks for {self.passing} of {self.of} edits to pass")
        if self.seeds is not None and (len(self.seeds) != self.of or len(set(self.seeds)) != self.of):
            raise mistake(f"must have {self.of} different 'seeds', found {len(set(self.seeds))}")
        return self


class ScaleFields(Settings):
    """Which values of a band become black and white, the others linearly between."""

    percentile: Ends | None = Field(
        None, description="[low, high] in percent: of the pixels of each band of the source, for its edits too."
    )
    range: Ends | None = Field(None, description="[low, high] in the file's own values, for every band.")

    @model_validator(mode="after")
    def _one(self) -> ScaleFields:
        if (self.percentile is None) == (self.range is None):
            raise mistake("must have either 'percentile' or 'range'")
        if self.percentile is not None and not 0 <= self.percentile[0] < self.percentile[1] <= 100:
            raise mistake("must have percentiles from 0 to 100")
        return self


class CaseFields(Settings):
    """What is written for every case of the file, and merged under each."""

    instruction: Words | None = Field(None, description="The edit in words, as the model was asked.")
    task: Marker | None = Field(None, description="Kind of edit; becomes a pytest marker.")
    tags: list[Marker] | None = Field(None, description="Become pytest markers.")
    source: ImageField | None = Field(
        None,
        description="The source image: a path relative to this file, or a URL (s3://, gs://, hf://, https://).",
    )
    edited: ImageField | None = Field(
        None,
        description="The edited image: a path relative to this file, or a URL (s3://, gs://, hf://, https://).",
    )
    bands: BandsField | None = Field(
        None,
        description="Bands of multi-band TIFF files that are red, green and blue, or one that is grey, counted from 1; "
        "needs `scale`.",
    )
    scale: ScaleFields | None = Field(
        None,
        description="Which values of the `bands` become black and white: {percentile: [2, 98]}, {range: [0, 3000]}.",
    )
    coords: BoxesField | None = Field(
        None, description="Boxes of the edit, [x1, y1, x2, y2] in pixels of the image as a viewer shows it."
    )
    edited_pattern: PatternField | None = Field(
        None,
        description="Where a candidate's directory holds the edit; {id}, {seed}, {task}, {file}, {path} are filled in; "
        "without an ending, .png, .jpg, .jpeg and .webp are looked for. {id} by default.",
    )
    repeat: RepeatFields | None = Field(
        None, description="Several edits, one per seed: {pass: 4, of: 5}. `edited` then holds {seed}."
    )
    controls: Literal["auto", "off"] | None = Field(
        None, description="`auto` also scores what no threshold may let through: nothing done, and noise in the region."
    )
    expect: Expect | None = Field(
        None, description="`fail` makes the case a control: its tests pass only if the metric catches the edit."
    )
