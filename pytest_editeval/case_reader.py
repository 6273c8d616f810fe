"""One case of a file -> `EditCase`: its parts validated where they are written, then merged over the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_editeval.case_fields import is_case_id
from pytest_editeval.case_format import CaseFormat, Defaults, Fields, fields, too_large
from pytest_editeval.checks import BrokenCase, BrokenCheck, CheckSpec, EditCase
from pytest_editeval.confinement import Confinement
from pytest_editeval.derived import Bands, Derived
from pytest_editeval.errors import CaseError, Position, known_names, quoted
from pytest_editeval.locations import Stored, locate
from pytest_editeval.validation import describe
from pytest_editeval.yamlfile import Document

REQUIRED = ("instruction", "source")


@dataclass
class Surroundings:
    """What all cases of a file share, and the ids of those that were read."""

    format: CaseFormat
    defaults: Defaults
    confinement: Confinement | None
    path: Path
    directory: Path  # absolute; what the images' paths are relative to
    ids: dict[str, Position] = field(default_factory=dict)


def read_case(file: Surroundings, index: int, part: Document) -> EditCase | BrokenCase:
    """The case that `part` is, the `index`-th of its file, counted from 0."""
    name = f"case[{index}]"
    if not isinstance(part.data, dict):
        message = f"{name} must be a mapping, found {describe(part.data)}"
        return BrokenCase(name, (CaseError(part.position(), message),))
    if problem := too_large(part, name):
        return BrokenCase(name, (problem,))
    return _CaseReader(file, part, name).case()


class _CaseReader:
    def __init__(self, file: Surroundings, part: Document, place: str) -> None:
        self.file = file
        self.part = part
        self.place_in_file = place
        written = part.data.get("id")
        self.context = f" in case {quoted(written)}" if isinstance(written, str) else f" in {place}"
        self.id = written if isinstance(written, str) and is_case_id(written) else None
        self.model, self.errors, self.broken = file.format.case(part, self.context)
        own = fields(self.model)
        self.own_checks = file.format.checks(own.get("metrics"))
        self.fields = file.defaults.fields | own

    def case(self) -> EditCase | BrokenCase:
        position = self.part.position(("id",))
        name = self.taken_name(position)
        defaults = self.file.defaults
        for key in REQUIRED if defaults.hold else ():
            if (self.part.data[key] if key in self.part.data else defaults.fields.get(key)) is None:
                self.mistake(self.part.position((key,), key=True), f"'{key}'{self.context} is missing")
        checks = self.checks()
        if defaults.hold and not checks and not self.errors:
            hint = known_names(self.file.format.specs)
            self.mistake(self.part.position(("metrics",), key=True), f"no metrics{self.context}", hint)
        images = {key: location for key in ("source", "edited") if (location := self.image(key)) is not None}
        bands = self.bands()
        if self.errors or not defaults.hold:
            return BrokenCase(name, in_order((*self.errors, *(one for check in checks for one in errors_of(check)))))
        return EditCase(
            id=name,
            instruction=self.fields["instruction"],
            task=self.fields.get("task"),
            tags=self.fields.get("tags") or (),
            source=images["source"] if bands is None else Derived(images["source"], bands),
            edited=images.get("edited"),
            source_text=self.fields["source"],
            edited_text=self.fields.get("edited"),
            source_position=self.merged_place("source"),
            edited_position=self.merged_place("edited"),
            coords=self.fields.get("coords") or (),
            expect=self.fields.get("expect") or "pass",
            edited_pattern=self.fields.get("edited_pattern"),
            repeat=self.fields.get("repeat"),
            controls=self.fields.get("controls") == "auto",
            checks=tuple(checks),
            position=position,
            path=self.file.path,
            bands=bands,
        )

    def bands(self) -> Bands | None:
        """Which bands of TIFF files are looked at, and how they are scaled."""
        numbers, scale = self.fields.get("bands"), self.fields.get("scale")
        if numbers is not None and scale is not None:
            return Bands(numbers, scale.range, scale.percentile)
        if numbers is not None:
            message = f"'bands'{self.context} needs a 'scale': what becomes black, and what white"
            self.mistake(self.merged_place("bands"), message, "scale: {percentile: [2, 98]}, or {range: [0, 3000]}")
        elif scale is not None:
            self.mistake(self.merged_place("scale"), f"'scale'{self.context} needs 'bands'", "bands: [4, 3, 2]")
        return None

    def mistake(self, position: Position, message: str, hint: str | None = None) -> None:
        self.errors.append(CaseError(position, message, hint))

    def taken_name(self, position: Position) -> str:
        """The id, once in a file; without one the case is called after its place."""
        if self.id is None:
            return self.place_in_file
        first = self.file.ids.setdefault(self.id, position)
        if first is position:
            return self.id
        self.mistake(position, f"case id {quoted(self.id)} is taken; it is first used in line {first.line}")
        return self.place_in_file

    def checks(self) -> list[CheckSpec | BrokenCheck]:
        """The checks of the defaults, and those of the case."""
        written = self.part.data.get("metrics")
        names: dict[Any, None] = dict.fromkeys(self.file.defaults.checks)
        if isinstance(written, dict):
            names |= dict.fromkeys(written)
        checks: list[CheckSpec | BrokenCheck] = []
        for metric in names:
            if metric in self.broken:
                checks.append(BrokenCheck(str(metric), tuple(self.broken[metric])))
                continue
            own = self.own_checks.get(metric)
            if own is None and metric in self.own_checks and metric in self.file.defaults.checks:
                continue  # this case does without the default
            checks.append(self.check(metric, own or {}))
        return checks

    def check(self, metric: str, own: Fields) -> CheckSpec | BrokenCheck:
        """A check of the case, merged over the default for its metric."""
        default = self.file.defaults.checks.get(metric, {})
        if own.get("pairs") is not None or own.get("coords") is not None:  # boxes replace boxes, however written
            default = {key: value for key, value in default.items() if key not in ("pairs", "coords")}
        merged = default | own
        threshold = merged.get("threshold")
        if isinstance(threshold, dict) and isinstance(default.get("threshold"), dict):
            threshold = default["threshold"] | threshold
        position = self.merged_place("metrics", metric, key=True)
        pairs, coords = merged.get("pairs"), merged.get("coords")
        errors = []
        if threshold is None and self.file.defaults.hold:
            hint = f"write '{metric}: NUMBER' or '{metric}: {{threshold: NUMBER}}'"
            errors.append(CaseError(position, f"metric {metric!r}{self.context} has no threshold", hint))
        if pairs is not None and coords is not None:
            message = f"metric {metric!r}{self.context} has both 'coords' and 'pairs'"
            errors.append(CaseError(self.merged_place("metrics", metric, "pairs", key=True), message, "keep one"))
        if errors:
            return BrokenCheck(metric, tuple(errors))
        return CheckSpec(
            metric=metric,
            threshold=0.0 if threshold is None else threshold,
            scope=merged.get("scope"),
            scope_given="scope" in merged,
            coords=() if pairs is not None else (self.fields.get("coords") if coords is None else coords) or (),
            pairs=pairs,
            patch_mask_threshold=merged.get("patch_mask_threshold"),
            bg_color=merged.get("bg_color"),
            expect=merged.get("expect") or self.fields.get("expect") or "pass",
            tolerance=merged.get("tolerance"),
            position=position,
            threshold_position=self.threshold_place(metric, written="threshold" in own),
        )

    def image(self, key: str) -> Stored | None:
        """Where an image is, within what this file may read."""
        text, repeat = self.fields.get(key), self.fields.get("repeat")
        if text is None:
            return None
        seeded = "{seed}" in text
        if key == "edited" and seeded != (repeat is not None):
            found = "has {seed}, but the case has no 'repeat'" if seeded else "needs {seed}, because of 'repeat'"
            self.mistake(self.merged_place(key), f"'{key}'{self.context} {found}")
        location = locate(text, self.file.directory)
        if self.file.confinement is not None:
            places: Iterable[Stored] = (location,)
            if key == "edited" and seeded and repeat is not None:
                places = (locate(text.replace("{seed}", str(seed)), self.file.directory) for seed in repeat.seeds)
            for place in places:
                if refusal := self.file.confinement.refusal(place, self.file.path):
                    self.mistake(self.merged_place(key), f"'{key}'{self.context}: {refusal}")
                    break
        return location

    def merged_place(self, *path: str, key: bool = False) -> Position:
        """Where a merged value is written: in the case, or in the defaults."""
        place, defaults = self.part.place(path, key=key), self.file.defaults.part
        if place is None and defaults is not None:
            place = defaults.place(path, key=key)
        return self.part.position(path, key=key) if place is None else place

    def threshold_place(self, metric: str, written: bool) -> Position:
        """Where the threshold is written, which in the short form is the metric's own value."""
        part = self.part if written or self.file.defaults.part is None else self.file.defaults.part
        return part.place(("metrics", metric, "threshold")) or part.position(("metrics", metric))


def errors_of(part: EditCase | BrokenCase | CheckSpec | BrokenCheck) -> Iterator[CaseError]:
    """Every mistake in a case or a check."""
    if isinstance(part, BrokenCase | BrokenCheck):
        yield from part.errors
    for check in part.checks if isinstance(part, EditCase) else ():
        yield from errors_of(check)


def in_order(errors: Iterable[CaseError]) -> tuple[CaseError, ...]:
    """Mistakes as they are written in the file."""
    return tuple(sorted(errors, key=lambda error: (error.position.line, error.position.column)))
