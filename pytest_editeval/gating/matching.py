"""Which case file a row of a results file belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.results import CheckResult
from pytest_editeval.suites import absolute, find_case_files


def files_of(results: Sequence[CheckResult], confinement: Confinement | None = None) -> list[Path]:
    """The case files that the rows name; an `EditEvalError` where one is not there, or outside the `confinement`."""
    paths = [Path(name) for name in dict.fromkeys(result.file for result in results)]
    for path in paths:
        if not path.is_file():
            raise EditEvalError(f"{path}: no such file; --cases says where the case files of the results are now")
        if confinement is not None and (refusal := confinement.refusal(path)):
            raise EditEvalError(f"case file {refusal}; or name it with --cases")
    return find_case_files(paths)


class Files:
    """Finds the case file of a row, wherever the results were written and the case files lie now."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {absolute(file): file for file in files}
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
        if absolute(Path(file)) in self._files:
            return self._files[absolute(Path(file))]
        ending = tuple(part for part in Path(of_node).parts if part != "..")
        found = [path for name, path in self._files.items() if Path(name).parts[-len(ending) :] == ending]
        if len(found) > 1:
            names = " and ".join(sorted(map(display_path, found)))
            raise EditEvalError(f"{of_node} of the results can be {names}; give --cases only one of them")
        return found[0] if found else None
