"""The checks of many case files, for who judges them without pytest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pytest_editeval.cases import BrokenCase, BrokenCheck, load_cases, resolve_check
from pytest_editeval.checks import EditCase, ResolvedCheck
from pytest_editeval.config import Profile
from pytest_editeval.errors import CaseError, EditEvalError, display_path


@dataclass(frozen=True)
class SuiteCheck:
    """A check of a case, completed by the profile."""

    case: EditCase
    resolved: ResolvedCheck

    @property
    def metric(self) -> str:
        """Its metric's name."""
        return self.resolved.check.metric

    @property
    def label(self) -> str:
        """How reports call it, as pytest would: ``cases/a.edit.yaml::red_scarf::emd``."""
        return f"{display_path(self.case.path)}::{self.case.id}::{self.metric}"


@dataclass(frozen=True)
class Suite:
    """The checks of case files in their order, and the mistakes in the files as lines."""

    checks: tuple[SuiteCheck, ...]
    mistakes: tuple[str, ...]


def find_case_files(paths: Iterable[Path], patterns: Sequence[str]) -> list[Path]:
    """The files among `paths`, and those in the directories whose names match; `EditEvalError` where there is none.

    Directories whose names begin with a dot are not searched.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_case_file(file, path, patterns))
            if not files:
                raise EditEvalError(f"no {' or '.join(patterns)} in {display_path(path)}")
        elif path.is_file():
            files = [path]
        else:
            raise EditEvalError(f"file or directory not found: {display_path(path)}")
        found |= dict.fromkeys(files)
    return list(found)


def _is_case_file(file: Path, directory: Path, patterns: Sequence[str]) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(directory).parent.parts)
    return not hidden and any(fnmatch(file.name, pattern) for pattern in patterns) and file.is_file()


def load_suite(files: Iterable[Path], profile: Profile) -> Suite:
    """Read case files; a mistake leaves everything else standing, as it does in pytest."""
    checks: list[SuiteCheck] = []
    mistakes: list[str] = []
    for path in files:
        try:
            cases = load_cases(path).cases
        except CaseError as error:
            mistakes.append(str(error))
            continue
        for case in cases:
            if isinstance(case, BrokenCase):
                mistakes += map(str, case.errors)
                continue
            for check in _resolved(case, profile):
                if isinstance(check, SuiteCheck):
                    checks.append(check)
                else:
                    mistakes += map(str, check)
    return Suite(tuple(checks), tuple(mistakes))


def _resolved(case: EditCase, profile: Profile) -> Iterator[SuiteCheck | Sequence[CaseError]]:
    for check in case.checks:
        if isinstance(check, BrokenCheck):
            yield check.errors
            continue
        try:
            yield SuiteCheck(case, resolve_check(case, check, profile))
        except CaseError as error:
            yield (error,)
