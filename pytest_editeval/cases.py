"""Edit case files -> `EditCase`s. Every mistake in them is a `CaseError` with file, line and column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_editeval.case_schema import FILE_KEYS, Pair, check_model, is_case_id, models
from pytest_editeval.checks import (
    BrokenCase,
    BrokenCheck,
    CaseFile,
    CheckSpec,
    EditCase,
    RepeatSpec,
    ResolvedCheck,
    resolve_check,
    threshold_for,
)
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import MAX_QUOTED, CaseError, Position, display_path, known_names, quoted, unknown
from pytest_editeval.escapes import visible
from pytest_editeval.gate_rules import read_gates
from pytest_editeval.locations import locate
from pytest_editeval.registry import metrics
from pytest_editeval.validation import MAX_MISTAKES, QUOTE, Settings, describe, problems
from pytest_editeval.yamlfile import DataPath, Document, no_garbage_collection, read_yaml

__all__ = [
    "BrokenCase",
    "BrokenCheck",
    "CaseFile",
    "CaseFileError",
    "CheckSpec",
    "EditCase",
    "ResolvedCheck",
    "cases_of",
    "load_cases",
    "resolve_check",
    "threshold_for",
]

REQUIRED = ("instruction", "source")
MAX_PART = 20_000  # keys and values of a case, of the defaults, of the gates


class CaseFileError(CaseError):
    """Mistakes that leave no case of the file standing: the first one as a `CaseError`, and every one in `errors`.

    Of a file with more than `MAX_MISTAKES`, `errors` has those that were found when reading it ended.
    """

    def __init__(self, errors: tuple[CaseError, ...]) -> None:
        super().__init__(errors[0].position, errors[0].message, errors[0].hint)
        self.errors = errors
        self.args = (errors,)  # what the exception is pickled as

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:MAX_MISTAKES]]
        if len(self.errors) > MAX_MISTAKES:
            place = f"{display_path(self.position.path)}:{self.errors[MAX_MISTAKES].position.line}"
            lines.append(f"{visible(place)}: more than {MAX_MISTAKES:,} mistakes; the rest of the file was not checked")
        return "\n".join(lines)


def load_cases(path: Path, confinement: Confinement | None = None) -> CaseFile:
    """Read a file of edit cases, whose images are within the `confinement`.

    A mistake in a check or in a case leaves the others of the file standing (`BrokenCheck`, `BrokenCase`); one in the
    file itself or in its `defaults` raises a `CaseError`.
    """
    with no_garbage_collection():
        return cases_of(read_yaml(path, CaseError), confinement)


def cases_of(document: Document, confinement: Confinement | None = None) -> CaseFile:
    """As `load_cases`, of a file that was parsed."""
    return _Reader(document, confinement).file()


_Fields = dict[str, Any]  # validated values by key, of the keys that are written


def _fields(model: Settings) -> _Fields:
    """The values in the form of `EditCase`: made here once, so that all cases share those of the defaults."""
    fields = {name: getattr(model, name) for name in model.model_fields_set}
    for name, form in _FORMS.items():
        if fields.get(name) is not None:
            fields[name] = form(fields[name])
    return fields


def _repeat(fields: Any) -> RepeatSpec:
    return RepeatSpec(fields.passing, tuple(range(fields.of) if fields.seeds is None else fields.seeds))


_FORMS: dict[str, Callable[[Any], Any]] = {
    "coords": tuple,
    "pairs": lambda pairs: tuple((pair.source, pair.edited) for pair in pairs),
    "repeat": _repeat,
    "tags": lambda tags: tuple(dict.fromkeys(tags)),
}


class _Reader:
    """One file. Parts are validated where they are written; then each case is merged over the defaults."""

    def __init__(self, document: Document, confinement: Confinement | None) -> None:
        self.document = document
        self.confinement = confinement
        self.directory = document.path.absolute().parent
        self.specs = metrics()
        self.models = models(tuple(self.specs.values()))
        self.defaults: _Fields = {}
        self.default_checks: dict[str, _Fields] = {}
        self.defaults_hold = True
        self.ids: dict[str, Position] = {}

    def file(self) -> CaseFile:
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            found = f"an edit case file is a mapping with the key 'cases', found {describe(data)}"
            raise CaseError(self.document.position(), found)
        errors = [
            CaseError(self.at(key, key=True), unknown("key", key, FILE_KEYS), known_names(FILE_KEYS))
            for key in islice((key for key in data if key not in FILE_KEYS), MAX_MISTAKES + 1)
        ]
        if too_large := self.too_large("'defaults'", ("defaults",)) or self.too_large("'gates'", ("gates",)):
            raise too_large
        if data.get("defaults") is not None:
            errors += self.read_defaults(data["defaults"])
        cases = data.get("cases")
        if not cases:
            errors.append(CaseError(self.at("cases", key=True), "the file has no cases"))
        elif not isinstance(cases, list):
            errors.append(CaseError(self.at("cases"), f"'cases' must be a list, found {describe(cases)}"))
        gates, gate_errors = read_gates(data.get("gates"), self.gate_place, CaseError, of_file=True)
        errors += gate_errors
        read: list[EditCase | BrokenCase] = []
        of_cases: list[CaseError] = []
        for index, raw in enumerate(cases if isinstance(cases, list) else ()):
            if len(errors) + len(of_cases) > MAX_MISTAKES:
                break
            read.append(self.case(index, raw))
            of_cases += _errors(read[-1])
        if errors or len(of_cases) > MAX_MISTAKES:
            raise CaseFileError(_sorted((*errors, *of_cases)))
        return CaseFile(self.document.path, tuple(read), gates)

    def too_large(self, name: str, path: DataPath) -> CaseError | None:
        """The mistake of a part that holds more than any real one, and would take its time to check."""
        if self.document.size(path) <= MAX_PART:
            return None
        return CaseError(self.at(*path), f"{name} has more than {MAX_PART:,} keys and values")

    def gate_place(self, path: DataPath, key: bool) -> Position:
        """Where something in a gate is written."""
        return self.at("gates", *path, key=key)

    def at(self, *path: Any, key: bool = False) -> Position:
        return self.document.position(path, key=key)

    def problems(
        self, error: ValidationError, data: object, path: DataPath, context: str
    ) -> Iterator[tuple[DataPath, CaseError]]:
        """Each mistake, with its path from the part that starts at `path`."""
        keys = self.models.defaults.model_fields if path == ("defaults",) else self.models.case.model_fields
        for problem in problems(error, data, context, lambda path: self.known(path) if path else ("key", keys)):
            place = (*path, *problem.path)
            hint = problem.hint
            if hint == QUOTE and not problem.on_key and (written := self.document.written(place)):
                hint = f'{QUOTE}: "{written}"' if len(written) <= MAX_QUOTED else QUOTE
            yield problem.path, CaseError(self.at(*place, key=problem.on_key), problem.message, hint)

    def known(self, path: DataPath) -> tuple[str, Iterable[str]]:
        """What the keys of the mapping at a path in a case are called, and which there are."""
        match path:
            case ("metrics",):
                return "metric", self.specs
            case ("metrics", metric) if metric in self.specs:
                return "key", check_model(self.specs[metric]).model_fields
            case ("metrics", _, "threshold"):
                return "profile", ()
        return "key", Pair.model_fields

    def read_defaults(self, data: Any) -> list[CaseError]:
        """Take in `defaults`; returns its mistakes, which leave out all of it."""
        try:
            model = self.models.defaults.model_validate(data)
        except ValidationError as error:
            self.defaults_hold = False
            return [problem for _, problem in self.problems(error, data, ("defaults",), " in defaults")]
        self.defaults = _fields(model)
        checks = self.checks(self.defaults.get("metrics"))
        errors = []
        for name in data.get("metrics") or ():
            if (fields := checks[name]) is None:
                errors.append(CaseError(self.at("defaults", "metrics", name), f"metric {name!r} in defaults is empty"))
            else:
                self.default_checks[name] = fields
        return errors

    def checks(self, model: Settings | None) -> dict[str, _Fields | None]:
        """The fields of each metric that is written, `None` where nothing is."""
        checks: dict[str, _Fields | None] = {}
        for name, field in self.models.fields.items():
            if model is None or field not in model.model_fields_set:
                continue
            check = getattr(model, field)
            if isinstance(check, Settings):
                checks[name] = _fields(check)
            else:
                checks[name] = None if check is None else {"threshold": check}
        return checks

    def case(self, index: int, data: Any) -> EditCase | BrokenCase:
        path, name = ("cases", index), f"case[{index}]"
        if not isinstance(data, dict):
            message = f"{name} must be a mapping, found {describe(data)}"
            return BrokenCase(name, (CaseError(self.at(*path), message),))
        if too_large := self.too_large(name, path):
            return BrokenCase(name, (too_large,))
        context = f" in {name}"
        if isinstance(data.get("id"), str):
            context = f" in case {quoted(data['id'])}"
            if is_case_id(data["id"]):
                name = data["id"]
        model, errors, broken = self.validated(data, path, context)
        position = self.at(*path, "id")
        if name in self.ids:
            message = f"case id {quoted(name)} is taken; it is first used in line {self.ids[name].line}"
            errors.append(CaseError(position, message))
            name = f"case[{index}]"
        elif name == data.get("id"):
            self.ids[name] = position
        for key in REQUIRED:
            if self.defaults_hold and (data[key] if key in data else self.defaults.get(key)) is None:
                errors.append(CaseError(self.at(*path, key, key=True), f"'{key}'{context} is missing"))
        own = _fields(model)
        fields = self.defaults | own
        own_checks = self.checks(own.get("metrics"))
        written = data.get("metrics")
        checks: list[CheckSpec | BrokenCheck] = []
        for metric in dict.fromkeys((*self.default_checks, *(written if isinstance(written, dict) else ()))):
            if metric in broken:
                checks.append(BrokenCheck(str(metric), tuple(broken[metric])))
            elif metric in own_checks and own_checks[metric] is None and metric in self.default_checks:
                continue  # this case does without the default
            else:
                checks.append(self.check(metric, own_checks.get(metric) or {}, path, context, fields))
        if self.defaults_hold and not checks and not errors:
            hint = known_names(self.specs)
            errors.append(CaseError(self.at(*path, "metrics", key=True), f"no metrics{context}", hint))
        edited, repeat = fields.get("edited"), fields.get("repeat")
        if edited is not None and ("{seed}" in edited) != (repeat is not None):
            found = (
                "has {seed}, but the case has no 'repeat'" if repeat is None else "needs {seed}, because of 'repeat'"
            )
            errors.append(CaseError(self.place(path, "edited"), f"'edited'{context} {found}"))
        errors += self.outside("source", fields.get("source"), repeat, path, context)
        errors += self.outside("edited", edited, repeat, path, context)
        if errors or not self.defaults_hold:
            return BrokenCase(name, _sorted((*errors, *(error for check in checks for error in _errors(check)))))
        return EditCase(
            id=name,
            instruction=fields["instruction"],
            task=fields.get("task"),
            tags=fields.get("tags") or (),
            source=locate(fields["source"], self.directory),
            edited=None if edited is None else locate(edited, self.directory),
            source_text=fields["source"],
            edited_text=edited,
            source_position=self.place(path, "source"),
            edited_position=self.place(path, "edited"),
            coords=fields.get("coords") or (),
            expect=fields.get("expect") or "pass",
            edited_pattern=fields.get("edited_pattern"),
            repeat=repeat,
            controls=fields.get("controls") == "auto",
            checks=tuple(checks),
            position=position,
            path=self.document.path,
        )

    def outside(
        self, key: str, text: str | None, repeat: RepeatSpec | None, path: DataPath, context: str
    ) -> Iterator[CaseError]:
        """That an image is not where this file may read."""
        if text is None or self.confinement is None:
            return
        seeds = repeat.seeds if repeat is not None and key == "edited" and "{seed}" in text else (None,)
        for seed in seeds:
            place = text if seed is None else text.replace("{seed}", str(seed))
            refusal = self.confinement.refusal(locate(place, self.directory), self.document.path)
            if refusal is not None:
                yield CaseError(self.place(path, key), f"'{key}'{context}: {refusal}")
                return

    def validated(
        self, data: dict[Any, Any], path: DataPath, context: str
    ) -> tuple[Settings, list[CaseError], dict[Any, list[CaseError]]]:
        """The valid part of a case, the mistakes in it, and those in its checks by metric."""
        errors: list[CaseError] = []
        broken: dict[Any, list[CaseError]] = {}
        try:
            return self.models.case.model_validate(data), errors, broken
        except ValidationError as error:
            wrong = {"id"}
            for where, problem in self.problems(error, data, path, context):
                if where[0] == "metrics" and len(where) > 1:
                    broken.setdefault(where[1], []).append(problem)
                else:
                    errors.append(problem)
                    wrong.add(where[0])
        valid = {key: value for key, value in data.items() if key not in wrong}
        if broken:
            valid["metrics"] = {key: value for key, value in data["metrics"].items() if key not in broken}
        return self.models.defaults.model_validate(valid), errors, broken

    def check(self, metric: str, own: _Fields, path: DataPath, context: str, case: _Fields) -> CheckSpec | BrokenCheck:
        """A check of a case, merged over the default for its metric."""
        default = self.default_checks.get(metric, {})
        if own.get("pairs") is not None or own.get("coords") is not None:  # boxes replace boxes, however written
            default = {key: value for key, value in default.items() if key not in ("pairs", "coords")}
        fields = default | own
        threshold = fields.get("threshold")
        if isinstance(threshold, dict) and isinstance(default.get("threshold"), dict):
            threshold = default["threshold"] | threshold
        position = self.place(path, "metrics", metric, key=True)
        pairs, coords = fields.get("pairs"), fields.get("coords")
        errors = []
        if threshold is None and self.defaults_hold:
            hint = f"write '{metric}: NUMBER' or '{metric}: {{threshold: NUMBER}}'"
            errors.append(CaseError(position, f"metric {metric!r}{context} has no threshold", hint))
        if pairs is not None and coords is not None:
            message = f"metric {metric!r}{context} has both 'coords' and 'pairs'"
            errors.append(CaseError(self.place(path, "metrics", metric, "pairs", key=True), message, "keep one"))
        if errors:
            return BrokenCheck(metric, tuple(errors))
        return CheckSpec(
            metric=metric,
            threshold=0.0 if threshold is None else threshold,
            scope=fields.get("scope"),
            scope_given="scope" in fields,
            coords=() if pairs is not None else (case.get("coords") if coords is None else coords) or (),
            pairs=pairs,
            patch_mask_threshold=fields.get("patch_mask_threshold"),
            bg_color=fields.get("bg_color"),
            expect=fields.get("expect") or case.get("expect") or "pass",
            tolerance=fields.get("tolerance"),
            position=position,
            threshold_position=self.threshold_place(path, metric, written="threshold" in own),
        )

    def place(self, case: DataPath, *path: str, key: bool = False) -> Position:
        """Where a merged value is written: in the case, or in the defaults."""
        own, default = (*case, *path), ("defaults", *path)
        if own in self.document or default not in self.document:
            return self.at(*own, key=key)
        return self.at(*default, key=key)

    def threshold_place(self, case: DataPath, metric: str, written: bool) -> Position:
        """Where the threshold is written, which in the short form is the metric's own value."""
        path = (*(case if written else ("defaults",)), "metrics", metric)
        return self.at(*path, "threshold") if (*path, "threshold") in self.document else self.at(*path)


def _errors(part: object) -> Iterator[CaseError]:
    if isinstance(part, BrokenCase | BrokenCheck):
        yield from part.errors
    for check in part.checks if isinstance(part, EditCase) else ():
        yield from _errors(check)


def _sorted(errors: Iterable[CaseError]) -> tuple[CaseError, ...]:
    return tuple(sorted(errors, key=lambda error: (error.position.line, error.position.column)))
