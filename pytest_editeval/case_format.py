"""The parts of a file of edit cases -> validated fields. Every mistake is a `CaseError` where it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pytest_editeval.case_fields import ObjectCheckFields, Pair, PatchCheckFields, ScaleFields
from pytest_editeval.case_schema import check_model, models
from pytest_editeval.checks import RepeatSpec
from pytest_editeval.errors import MAX_QUOTED, CaseError
from pytest_editeval.registry import MetricSpec
from pytest_editeval.validation import QUOTE, Problem, Settings, problems
from pytest_editeval.yamlfile import DataPath, Document

MAX_PART = 20_000  # keys and values of a case, of the defaults, of the gates

Fields = dict[str, Any]  # validated values by key, of the keys that are written


@dataclass(frozen=True)
class Defaults:
    """What is merged under every case: its fields, those of its checks by metric, and where they are written.

    `hold` is false where mistakes have left out all of it, so that nothing can be said to be missing.
    """

    fields: Fields = field(default_factory=dict)
    checks: Mapping[str, Fields] = field(default_factory=dict)
    part: Document | None = None
    hold: bool = True


def too_large(part: Document, name: str) -> CaseError | None:
    """The mistake of a part that holds more than any real one, and would take its time to check."""
    if part.size() <= MAX_PART:
        return None
    return CaseError(part.position(), f"{name} has more than {MAX_PART:,} keys and values")


class CaseFormat:
    """What cases and their defaults may say, for the metrics that there are."""

    def __init__(self, specs: Mapping[str, MetricSpec]) -> None:
        self.specs = specs
        self._models = models(tuple(specs.values()))
        self._metric_of = {attribute: name for name, attribute in self._models.fields.items()}

    def defaults(self, part: Document) -> tuple[Defaults, list[CaseError]]:
        """The defaults, and the mistakes in them."""
        keys = self._models.defaults.model_fields
        try:
            model = self._models.defaults.model_validate(part.data)
        except ValidationError as error:
            return Defaults(part=part, hold=False), [
                one for _, one in self._problems(error, part, " in defaults", keys)
            ]
        written = fields(model)
        checks = self.checks(written.get("metrics"))
        held: dict[str, Fields] = {}
        errors: list[CaseError] = []
        for name in part.data.get("metrics") or ():  # in the order of the file
            if (check := checks[name]) is None:
                position = part.position(("metrics", name))
                errors.append(CaseError(position, f"metric {name!r} in defaults is empty"))
            else:
                held[name] = check
        return Defaults(written, held, part), errors

    def case(self, part: Document, context: str) -> tuple[Settings, list[CaseError], dict[Any, list[CaseError]]]:
        """The valid part of a case, the mistakes in it, and those in its checks by metric."""
        errors: list[CaseError] = []
        broken: dict[Any, list[CaseError]] = {}
        try:
            return self._models.case.model_validate(part.data), errors, broken
        except ValidationError as error:
            wrong = {"id"}
            for where, problem in self._problems(error, part, context, self._models.case.model_fields):
                if where[0] == "metrics" and len(where) > 1:
                    broken.setdefault(where[1], []).append(problem)
                else:
                    errors.append(problem)
                    wrong.add(where[0])
        valid = {key: value for key, value in part.data.items() if key not in wrong}
        if broken:
            valid["metrics"] = {key: value for key, value in part.data["metrics"].items() if key not in broken}
        return self._models.defaults.model_validate(valid), errors, broken

    def checks(self, model: Settings | None) -> dict[str, Fields | None]:
        """The fields of each metric that is written, `None` where nothing is, in no order."""
        checks: dict[str, Fields | None] = {}
        for attribute in model.model_fields_set if model is not None else ():
            check = getattr(model, attribute)
            if isinstance(check, Settings):
                check = fields(check)
            elif check is not None:
                check = {"threshold": check}
            checks[self._metric_of[attribute]] = check
        return checks

    def _problems(
        self, error: ValidationError, part: Document, context: str, keys: Iterable[str]
    ) -> Iterator[tuple[DataPath, CaseError]]:
        """Each mistake, with its path in the part."""
        known = self._known
        for problem in problems(error, part.data, context, lambda path: known(path) if path else ("key", keys)):
            message, hint = problem.message, problem.hint
            if _is_of_a_check(problem, keys):
                (key,) = problem.path
                message = f"{message.partition('; did you mean')[0]}; it is a key of a metric"
                beside = "" if key == "threshold" else "threshold: ..., "
                hint = f"metrics: {{NAME: {{{beside}{key}: ...}}}}"
            if hint == QUOTE and not problem.on_key and (written := part.written(problem.path)):
                hint = f'{QUOTE}: "{written}"' if len(written) <= MAX_QUOTED else QUOTE
            position = part.position(problem.path, key=problem.on_key)
            yield problem.path, CaseError(position, message, hint)

    def _known(self, path: DataPath) -> tuple[str, Iterable[str]]:
        """What the keys of the mapping at a path in a case are called, and which there are."""
        match path:
            case ("metrics",):
                return "metric", self.specs
            case ("metrics", metric) if metric in self.specs:
                return "key", check_model(self.specs[metric]).model_fields
            case ("metrics", _, "threshold"):
                return "profile", ()
            case ("scale",):
                return "key", ScaleFields.model_fields
        return "key", Pair.model_fields


def _is_of_a_check(problem: Problem, keys: Iterable[str]) -> bool:
    """Whether it is a key at the side of `metrics` that belongs under one of them."""
    match problem.path:
        case (str() as key,) if problem.on_key:
            return key not in keys and key in {**PatchCheckFields.model_fields, **ObjectCheckFields.model_fields}
    return False


def fields(model: Settings) -> Fields:
    """The values in the form of `EditCase`: made here once, so that all cases share those of the defaults."""
    values = {name: getattr(model, name) for name in model.model_fields_set}
    for name, form in _FORMS.items():
        if values.get(name) is not None:
            values[name] = form(values[name])
    return values


def _repeat(model: Any) -> RepeatSpec:
    return RepeatSpec(model.passing, tuple(range(model.of) if model.seeds is None else model.seeds))


_FORMS: dict[str, Callable[[Any], Any]] = {
    "bands": tuple,
    "coords": tuple,
    "pairs": lambda pairs: tuple((pair.source, pair.edited) for pair in pairs),
    "repeat": _repeat,
    "tags": lambda tags: tuple(dict.fromkeys(tags)),
}
