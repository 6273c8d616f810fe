"""The checks as case files have them now, and which of them a row of a results file belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_editeval.cases import CaseFileError, load_cases
from pytest_editeval.checks import BrokenCase, BrokenCheck, EditCase, ResolvedCheck, resolve_check
from pytest_editeval.config import Profile
from pytest_editeval.errors import CaseError, EditEvalError, display_path
from pytest_editeval.gate_rules import Gate
from pytest_editeval.results import CheckResult

PATTERNS = ("*.edit.yaml", "*.edit.yml")

CheckId = tuple[Path, str, str]
"""The case file, the id of the case, and the metric."""


@dataclass(frozen=True)
class WrittenCheck:
    """A check of a case file, completed from the profile."""

    case: EditCase
    resolved: ResolvedCheck


@dataclass(frozen=True)
class WrittenChecks:
    """Everything that the case files say: `files`, their checks and gates, and every mistake in them."""

    files: tuple[Path, ...]
    checks: Mapping[CheckId, WrittenCheck]
    gates: tuple[Gate, ...]
    mistakes: tuple[EditEvalError, ...]


def case_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and those below the directories that are; hidden directories are passed over.

    Raises `EditEvalError` for a path that is not there, and for a directory without case files.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise EditEvalError(f"{display_path(path)}: no such file or directory")
        files = sorted(_below(path)) if path.is_dir() else [path]
        if not files:
            raise EditEvalError(f"{display_path(path)}: no case files in it ({' or '.join(PATTERNS)})")
        for file in files:
            found.setdefault(_absolute(file), file)
    return list(found.values())


def files_of(results: Sequence[CheckResult]) -> list[Path]:
    """The case files that the rows name; an `EditEvalError` where one is not there."""
    paths = [Path(name) for name in dict.fromkeys(result.file for result in results)]
    for path in paths:
        if not path.is_file():
            raise EditEvalError(f"{path}: no such file; --cases says where the case files of the results are now")
    return case_files(paths)


def read_checks(files: Sequence[Path], profile: Profile) -> WrittenChecks:
    """Load case files; what is wrong in them is in `mistakes`, in the order of the files."""
    checks: dict[CheckId, WrittenCheck] = {}
    gates: list[Gate] = []
    mistakes: list[EditEvalError] = []
    for path in files:
        try:
            file = load_cases(path)
        except CaseError as error:
            mistakes += error.errors if isinstance(error, CaseFileError) else (error,)
            continue
        gates += file.gates
        for case in file.cases:
            if isinstance(case, BrokenCase):
                mistakes += case.errors
                continue
            for check in case.checks:
                if isinstance(check, BrokenCheck):
                    mistakes += check.errors
                    continue
                try:
                    resolved = resolve_check(case, check, profile)
                except CaseError as error:
                    mistakes.append(error)
                else:
                    checks[path, case.id, check.metric] = WrittenCheck(case, resolved)
    return WrittenChecks(tuple(files), checks, tuple(gates), tuple(mistakes))


class Files:
    """Finds the case file of a row, wherever the results were written and the case files lie now."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {_absolute(file): file for file in files}
        self._known: dict[tuple[str, str], Path | None] = {}

    def of(self, result: CheckResult) -> Path | None:
        """The file that the row names, else the one whose path ends as its node id says; `None` where there is none.

        Raises `EditEvalError` where several files end so.
        """
        key = (result.file, result.node_id.split("::")[0])
        if key not in self._known:
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, file: str, of_node: str) -> Path | None:
        if _absolute(Path(file)) in self._files:
            return self._files[_absolute(Path(file))]
        ending = tuple(part for part in Path(of_node).parts if part != "..")
        found = [path for name, path in self._files.items() if Path(name).parts[-len(ending) :] == ending]
        if len(found) > 1:
            names = " and ".join(sorted(map(display_path, found)))
            raise EditEvalError(f"{of_node} of the results can be {names}; give --cases only one of them")
        return found[0] if found else None


def _below(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if any(Path(name).match(pattern) for pattern in PATTERNS))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  (links keep their names, as in node ids)
