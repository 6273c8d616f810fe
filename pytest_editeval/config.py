"""Configuration files -> `Profile`: which checkpoints a run uses, and the settings of each metric.

A `model_path` stays as it is written (a hub id, an absolute path, a path from the working directory), except that one
that starts with ``./`` or ``../`` belongs to the directory of the file that says it. An environment variable's value
is never changed. Empty text, as an empty default gives it (``${env:NAME:}``), means "not set".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pytest_editeval.config_data import BASE, Source, Value
from pytest_editeval.config_files import read_source
from pytest_editeval.config_schema import MetricEntry, PipeBlock, RuntimeParameters, SamBlock, checked
from pytest_editeval.confinement import Confinement
from pytest_editeval.device import ALLOWED, check_device, check_placement
from pytest_editeval.errors import ConfigError, EditEvalError, Position, known_names, unknown
from pytest_editeval.gate_rules import Gate, read_gates
from pytest_editeval.hidden import hide
from pytest_editeval.profiles import (
    EMBEDDED,
    MetricSettings,
    PipeSettings,
    Profile,
    SamSettings,
    TileSettings,
    embedded_profile,
)
from pytest_editeval.references import Resolver
from pytest_editeval.registry import PIPES, MetricSpec, get_metric, metrics, unknown_metric
from pytest_editeval.yamlfile import DataPath, no_garbage_collection

IGNORED_KEYS = ("name", "support_task", "parser_grounder_config")
KEYS = (BASE, "metric_configs", "profile", "gates", *IGNORED_KEYS)


def load_profile(path: Path | None, confinement: Confinement | None = None) -> Profile:
    """Read a configuration file, whose `_base_` is within the `confinement`.

    `None` is the embedded profile, whose checkpoints come with the package.
    """
    if path is None:
        return embedded_profile()
    with no_garbage_collection():
        return _Reader(read_source(path, confinement)).profile(path)


class _Reader:
    """One configuration file, read from the top."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.document = source.document
        self.resolver = Resolver()
        self.notices: dict[str, None] = {}

    def profile(self, path: Path) -> Profile:
        for key in self.document.data:
            position = self.document.position((key,), key=True)
            if key not in KEYS:
                raise ConfigError(position, unknown("key", key, KEYS), known_names(KEYS))
            if key in IGNORED_KEYS:
                self.notice(position, f"{key!r} is ignored")
        configs, name, gates = self.top("metric_configs"), self.top("profile"), self.top("gates")
        if configs is None and name is not None and name.data == EMBEDDED:
            return replace(embedded_profile(), path=path, gates=_gates(gates), notices=tuple(self.notices))
        if configs is None or not isinstance(configs.data, dict) or not configs.data:
            found = "is missing" if configs is None else "must be a mapping with a metric at least"
            position = configs.key if configs else self.document.position()
            raise ConfigError(position, f"'metric_configs' {found}", known_names(metrics()))
        if name is not None and (
            not isinstance(name.data, str) or not name.data.isprintable() or not name.data.strip()
        ):
            raise ConfigError(name.position, "'profile' must be a name, as text")
        if name is not None and name.shown is not None:
            message = f"'profile' is written into every report, so it cannot come from {name.shown}"
            raise ConfigError(name.position, message, "write the name here")
        return Profile(
            name=name.data if name else path.stem,
            path=path,
            metrics={metric: self.metric(metric, value) for metric, value in configs.data.items()},
            gates=_gates(gates),
            notices=tuple(self.notices),
            position=configs.key,
        )

    def top(self, key: str) -> Value | None:
        return self.resolver.resolve(self.source, (key,)) if key in self.document.data else None

    def notice(self, position: Position, message: str) -> None:
        self.notices[f"{position}: {message}"] = None

    def metric(self, name: object, value: Value) -> MetricSettings:
        if name not in metrics():
            raise ConfigError(value.key, unknown_metric(name), known_names(metrics()))
        spec = get_metric(cast(str, name))
        where = f" of metric {spec.name!r}"
        entry = checked(MetricEntry, value, where) if value.data is not None else MetricEntry()
        blocks = value.data or {}
        if entry.pipe_name not in (None, spec.pipe_name):
            message = f"metric {spec.name!r} is not computed by {blocks['pipe_name'].public()!r}"
            if entry.pipe_name not in PIPES:
                message = unknown("pipe", blocks["pipe_name"].public(), PIPES)
            raise ConfigError(blocks["pipe_name"].position, message, f"{spec.name!r} takes {spec.pipe_name!r}")
        parameters = self.parameters(spec, blocks.get("runtime_params"), where)
        return MetricSettings(
            metric=spec.name,
            pipe=self.pipe(spec, value, where),
            scope=entry.scope if "scope" in entry.model_fields_set else spec.scope,
            patch_mask_threshold=parameters.patch_mask_threshold,
            bg_color=parameters.bg_color,
            position=value.key,
        )

    def parameters(self, spec: MetricSpec, value: Value | None, where: str) -> RuntimeParameters:
        if value is None or not value.data:
            return RuntimeParameters()
        used = dict(value.data)
        for name in RuntimeParameters.model_fields.keys() - set(spec.parameters):
            if name in used:
                self.notice(used.pop(name).key, f"metric {spec.name!r} does not read {name!r}; ignored")
        return checked(RuntimeParameters, Value(used, value.position, value.key), where)

    def pipe(self, spec: MetricSpec, value: Value, where: str) -> PipeSettings:
        blocks = value.data or {}
        merged: dict[Any, Value] = {}
        for block in (blocks.get("default_config"), blocks.get("init_config")):
            merged |= (block.data or {}) if block else {}
        pipe = checked(PipeBlock, Value(merged, value.position, value.key), where)
        if pipe.model_path is None and (known := PIPES.get(spec.pipe_name)) and known.needs_model_path:
            message = f"metric {spec.name!r} needs a 'model_path' in its default_config or init_config"
            raise ConfigError(value.key, message, f"{spec.pipe_name!r} has no checkpoint of its own")
        try:
            check_placement(pipe.quantize, bool(pipe.compile), pipe.device_map, pipe.max_memory)
        except EditEvalError as error:
            culprit = merged["device_map" if pipe.device_map else "max_memory"]
            raise ConfigError(culprit.key, f"{error}{where}") from None
        sam = self.sam(pipe.sam, merged["sam"]) if pipe.sam else None
        if spec.inputs == "objects" and sam is None:
            found = "in its 'sam' block" if pipe.sam else "in a 'sam' block, and has none,"
            message = (
                f"metric {spec.name!r} needs a segmenter's 'model_path' {found} in its default_config or init_config"
            )
            raise ConfigError(value.key, message, "for instance  init_config: {sam: {model_path: ...}}")
        return PipeSettings(
            pipe_name=spec.pipe_name,
            model_path=_model_path(merged.get("model_path")),
            device=_device(pipe.device, merged.get("device")),
            fit=pipe.fit,
            input_size=pipe.input_size,
            dtype=pipe.dtype,
            domain=pipe.domain,
            architecture=pipe.architecture,
            quantize=pipe.quantize,
            compile=pipe.compile,
            device_map=pipe.device_map,
            max_memory=pipe.max_memory,
            tile=_tile(pipe, merged),
            sam=sam,
        )

    def sam(self, sam: SamBlock, value: Value) -> SamSettings | None:
        if "model_cfg" in value.data:
            self.notice(value.data["model_cfg"].key, "'model_cfg' is ignored")
        path = _model_path(value.data.get("model_path"))
        device = _device(sam.device, value.data.get("device"))
        return SamSettings(path, sam.model_type, device, sam.dtype) if path else None


def _tile(pipe: PipeBlock, written: Mapping[Any, Value]) -> TileSettings | None:
    if pipe.tile is None:
        return None
    if pipe.fit == "squash":
        message = "'fit: squash' gives up what 'tile' is for: windows look at the image in its own pixels"
        raise ConfigError(written["fit"].key, message, "leave out one of the two")
    if pipe.tile.overlap >= pipe.tile.size:
        message = f"'tile.overlap' must be less than 'tile.size' ({pipe.tile.size}), found {pipe.tile.overlap}"
        raise ConfigError(written["tile"].key, message)
    return TileSettings(pipe.tile.size, pipe.tile.overlap)


def _gates(value: Value | None) -> tuple[Gate, ...]:
    if value is None:
        return ()

    def place(path: DataPath, key: bool) -> Position:
        part, found = value.at(path)
        return part.key if key or not found else part.position

    for part in value.parts():
        if part.shown is not None:
            message = f"a gate is written into every report, so nothing of it can come from {part.shown}"
            raise ConfigError(part.position, message, "write it here")
    gates, errors = read_gates(value.plain(), place, ConfigError, of_file=False)
    if errors:
        raise errors[0]
    return gates


def _model_path(value: Value | None) -> str | None:
    if value is None or not value.data:
        return None
    text = str(value.data)
    if value.shown is not None:
        hide(text, value.shown)
    if value.from_environment or not text.startswith(("./", "../")):
        return text
    path = os.path.normpath(value.position.path.parent.absolute() / text)  # links keep their names
    if value.shown is not None:
        hide(path, value.shown)
    return path


def _device(name: str | None, value: Value | None) -> str | None:
    if name is None or value is None:
        return None
    try:
        check_device(name)
    except EditEvalError as error:
        message = str(error) if value.shown is None else f"{value.shown} names no device; allowed: {ALLOWED}"
        raise ConfigError(value.position, message) from None
    return None if name == "auto" else name
