"""Edit case files -> `EditCase`s. Every mistake in them is a `CaseError` with file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pytest_editeval.case_format import CaseFormat, Defaults, too_large
from pytest_editeval.case_reader import Surroundings, errors_of, in_order, read_case
from pytest_editeval.case_schema import FILE_KEYS
from pytest_editeval.checks import BrokenCase, CaseFile, EditCase
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import CaseError, Position, display_path, known_names, unknown
from pytest_editeval.escapes import visible
from pytest_editeval.gate_rules import read_gates
from pytest_editeval.registry import metrics
from pytest_editeval.validation import MAX_MISTAKES, describe
from pytest_editeval.yamlfile import DataPath, Document, no_garbage_collection, read_yaml, without_frames

MAX_CASES = 20_000  # of a file, and their checks: reading more would take seconds
MAX_CHECKS = 80_000


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
        try:
            return cases_of(read_yaml(path, CaseError), confinement)
        except CaseError as error:
            raise without_frames(error) from None


def cases_of(document: Document, confinement: Confinement | None = None) -> CaseFile:
    """As `load_cases`, of a file that was parsed."""
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        found = f"an edit case file is a mapping with the key 'cases', found {describe(data)}"
        raise CaseError(document.position(), found)
    errors = [
        CaseError(document.position((key,), key=True), unknown("key", key, FILE_KEYS), known_names(FILE_KEYS))
        for key in islice((key for key in data if key not in FILE_KEYS), MAX_MISTAKES + 1)
    ]
    for key in ("defaults", "gates"):
        if key in data and (problem := too_large(document.part((key,)), f"'{key}'")):
            raise problem
    case_format, defaults = CaseFormat(metrics()), Defaults()
    if data.get("defaults") is not None:
        defaults, mistakes = case_format.defaults(document.part(("defaults",)))
        errors += mistakes
    cases = data.get("cases") or []
    if not cases:
        errors.append(CaseError(document.position(("cases",), key=True), "the file has no cases"))
    elif not isinstance(cases, list):
        errors.append(CaseError(document.position(("cases",)), f"'cases' must be a list, found {describe(cases)}"))
        cases = []
    if problem := _too_many(cases, defaults, document):
        raise problem

    def gate_place(path: DataPath, key: bool) -> Position:
        return document.position(("gates", *path), key=key)

    gates, gate_errors = read_gates(data.get("gates"), gate_place, CaseError, of_file=True)
    errors += gate_errors
    file = Surroundings(case_format, defaults, confinement, document.path, document.path.absolute().parent)
    read: list[EditCase | BrokenCase] = []
    of_cases: list[CaseError] = []
    for index in range(len(cases)):
        if len(errors) + len(of_cases) > MAX_MISTAKES:
            break
        read.append(read_case(file, index, document.part(("cases", index))))
        of_cases += errors_of(read[-1])
    if errors or len(of_cases) > MAX_MISTAKES:
        raise CaseFileError(in_order((*errors, *of_cases)))
    return CaseFile(document.path, tuple(read), gates)


def _too_many(cases: Sequence[Any], defaults: Defaults, document: Document) -> CaseError | None:
    """The mistake of more cases or checks than a file may have, where they become too many."""
    checks = 0
    for index, case in enumerate(cases):
        written = case.get("metrics") if isinstance(case, dict) else None
        own = written.keys() - defaults.checks.keys() if isinstance(written, dict) else ()
        checks += len(defaults.checks) + len(own)
        for count, limit, what in ((index + 1, MAX_CASES, "cases"), (checks, MAX_CHECKS, "checks")):
            if count > limit:
                return CaseError(
                    document.position(("cases", index)), f"the file has more than {limit:,} {what}", "split it"
                )
    return None
