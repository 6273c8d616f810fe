"""What a configuration says of a metric: its keys, and a mistake in them at its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from pytest_editeval.config_data import Value
from pytest_editeval.device import check_memory
from pytest_editeval.errors import ConfigError, EditEvalError
from pytest_editeval.profiles import Dtype, ModelType
from pytest_editeval.registry import PATCH_MASK_THRESHOLD, WHITE, Scope
from pytest_editeval.validation import (
    ColorField,
    PatchThreshold,
    Problem,
    Settings,
    dotted,
    mistake,
    no_boolean,
    problems,
)


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value


def _amounts(value: object) -> object:
    try:
        return check_memory(_empty_is_unset(value)) or None
    except EditEvalError as error:
        raise mistake(str(error).removeprefix("max_memory ")) from None


_Memory = Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(_amounts)]
_Text = Annotated[str | None, BeforeValidator(_empty_is_unset)]
_Size = Annotated[int, Field(ge=1), BeforeValidator(no_boolean)]
_ModelType = Annotated[ModelType | None, BeforeValidator(_empty_is_unset)]


class SamBlock(Settings):
    """A segmenter; without a `model_path` there is none."""

    model_path: _Text = None
    model_type: _ModelType = None
    device: _Text = None
    dtype: Dtype = "float32"
    model_cfg: Any = None


class TileBlock(Settings):
    """Windows over large images."""

    size: _Size
    overlap: Annotated[int, Field(ge=0), BeforeValidator(no_boolean)] = 0


class PipeBlock(Settings):
    """`default_config`, with what `init_config` says otherwise."""

    model_path: _Text = None
    device: _Text = None
    fit: Literal["crop", "squash"] = "crop"
    input_size: _Size | None = None
    dtype: Dtype = "float32"
    domain: Annotated[Literal["web", "satellite"] | None, BeforeValidator(_empty_is_unset)] = None
    architecture: _Text = None
    quantize: Annotated[Literal["int8"] | None, BeforeValidator(_empty_is_unset)] = None
    compile: bool | None = None
    device_map: Annotated[Literal["auto"] | None, BeforeValidator(_empty_is_unset)] = None
    max_memory: _Memory = None
    tile: TileBlock | None = None
    sam: SamBlock | None = None


class RuntimeParameters(Settings):
    """`runtime_params`."""

    patch_mask_threshold: PatchThreshold = PATCH_MASK_THRESHOLD
    bg_color: ColorField = WHITE


class MetricEntry(Settings):
    """A metric in `metric_configs`; its blocks may come from anywhere, and are read by themselves."""

    pipe_name: str | None = None
    default_config: dict[Any, Any] | None = None
    init_config: dict[Any, Any] | None = None
    scope: Scope | None = None
    runtime_params: dict[Any, Any] | None = None


_Model = TypeVar("_Model", bound=Settings)


def checked(model: type[_Model], value: Value, where: str) -> _Model:
    """`value` as a model; the first mistake in it is a `ConfigError` at its own place, in whatever file that is."""
    try:
        return model.model_validate(value.plain())
    except ValidationError as error:
        known = {(): model.model_fields, ("sam",): SamBlock.model_fields, ("tile",): TileBlock.model_fields}
        problem = next(problems(error, value.plain(), where, lambda path: ("key", known.get(path, ()))))
    part, found = value.at(problem.path)
    if shown := [inner.shown for inner in part.parts() if inner.shown is not None]:
        problem = _without_values(model, value, problem, where, shown)
    position = part.key if problem.on_key or not found else part.position
    raise ConfigError(position, problem.message, problem.hint)


def _without_values(model: type[Settings], value: Value, problem: Problem, where: str, shown: Sequence[str]) -> Problem:
    """The problem as it is with ``${env:NAME}`` for the values of environment variables, which may be secrets."""
    data = value.public()
    try:
        model.model_validate(data)
    except ValidationError as error:
        for other in problems(error, data, where, lambda _: ("key", ())):
            if other.path == problem.path:
                return other
    return Problem(problem.path, problem.on_key, f"{dotted(problem.path)}{where} cannot be {', '.join(shown)}", None)
