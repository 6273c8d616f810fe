"""The checks and gates of many case files, for who judges them without pytest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pytest_editeval.cases import CaseFileError, load_cases
from pytest_editeval.checks import BrokenCase, BrokenCheck, EditCase, ResolvedCheck, resolve_check
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import CaseError, EditEvalError, display_path
from pytest_editeval.gate_rules import Gate
from pytest_editeval.profiles import Profile

PATTERNS = ("*.edit.yaml", "*.edit.yml")


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
    """What case files say: their checks in order, their gates, and every mistake in them."""

    files: tuple[Path, ...]
    checks: tuple[SuiteCheck, ...]
    gates: tuple[Gate, ...]
    mistakes: tuple[CaseError, ...]


def find_case_files(paths: Iterable[Path]) -> list[Path]:
    """The files among `paths`, and the case files in the directories, each once; hidden directories are not searched.

    Raises an `EditEvalError` for a path that is not there, and for a directory without case files.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise EditEvalError(f"{display_path(path)}: no such file or directory")
        files = sorted(_below(path)) if path.is_dir() else [path]
        if not files:
            raise EditEvalError(f"{display_path(path)}: no case files in it ({' or '.join(PATTERNS)})")
        for file in files:
            found.setdefault(absolute(file), file)
    return list(found.values())


def absolute(path: Path) -> str:
    """The path from the root; links keep their names, as in node ids."""
    return os.path.abspath(path)  # noqa: PTH100


def _below(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if any(fnmatch(name, pattern) for pattern in PATTERNS))


def load_suite(files: Sequence[Path], profile: Profile, confinement: Confinement | None = None) -> Suite:
    """Read case files, whose images are within the `confinement`.

    A mistake leaves everything else standing, as it does in pytest.
    """
    checks: list[SuiteCheck] = []
    gates: list[Gate] = []
    mistakes: list[CaseError] = []
    for path in files:
        try:
            file = load_cases(path, confinement)
        except CaseError as error:
            mistakes += error.errors if isinstance(error, CaseFileError) else (error,)
            continue
        gates += file.gates
        for case in file.cases:
            if isinstance(case, BrokenCase):
                mistakes += case.errors
                continue
            for check in _resolved(case, profile):
                if isinstance(check, SuiteCheck):
                    checks.append(check)
                else:
                    mistakes += check
    return Suite(tuple(files), tuple(checks), tuple(gates), tuple(mistakes))


def _resolved(case: EditCase, profile: Profile) -> Iterator[SuiteCheck | Sequence[CaseError]]:
    for check in case.checks:
        if isinstance(check, BrokenCheck):
            yield check.errors
            continue
        try:
            yield SuiteCheck(case, resolve_check(case, check, profile))
        except CaseError as error:
            yield (error,)
