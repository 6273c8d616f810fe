"""What a run has finished so far, beside its results file: after a kill every row can be read (docs/results.md).

JSON Lines, whatever the format of the results: a line about the run, then a row as each check ends. A later line about
the run takes the place of an earlier one. Whatever reads results knows by the journal that a run has not ended.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from pytest_editeval.errors import display_path
from pytest_editeval.results import CheckResult
from pytest_editeval.results_columns import json_line

SUFFIX = ".partial.jsonl"
RUN = "editeval_run"
"""The only key of a line that is about the run: of which results file, and how many checks there are."""


def journal_of(results: Path) -> Path:
    """Where the journal of a results file lies."""
    return results.with_name(results.stem + SUFFIX)


class Journal:
    """The journal of a run that writes `results`. It replaces another's; `error` says why it is not whole."""

    def __init__(self, results: Path) -> None:
        self.path = journal_of(results)
        self.error: OSError | None = None
        self._name = results.name
        self._checks: int | None = None
        self._stream: FileIO | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # not truncated: a run that still writes to it keeps its own
            self._stream = self.path.open("xb", buffering=0)
        except OSError as error:
            self.error = error
        else:
            self._write_run()

    def select(self, checks: int) -> None:
        """So many checks are to run."""
        if checks != self._checks:
            self._checks = checks
            self._write_run()

    def add(self, result: CheckResult) -> None:
        """A check has ended; when this returns, its row outlasts the process."""
        self._write(json_line(result))

    def close(self, *, ended: bool) -> None:
        """Take the journal away where the run has `ended`, and its results are written."""
        if self._stream is None:
            return
        own = os.fstat(self._stream.fileno()).st_ino
        self._stream.close()
        with suppress(OSError):
            if ended and self.path.stat().st_ino == own:  # not that of a run which began meanwhile
                self.path.unlink()

    def _write_run(self) -> None:
        self._write(json.dumps({RUN: {"results": self._name, "checks": self._checks}}) + "\n")

    def _write(self, line: str) -> None:
        if self.error is not None or self._stream is None:
            return  # a row behind half a row could not be read
        try:
            data = line.encode("utf-8", "backslashreplace")
            if self._stream.write(data) != len(data):
                raise OSError("no room is left for the whole row")
        except OSError as error:
            self.error = error


@dataclass(frozen=True)
class Unended:
    """A run of `checks` checks (none where it did not get so far) that has not ended, with its journal.

    `of` is the results file that it would have written, or the journal itself, if that is what is read. `torn`: the
    last row was half written.
    """

    of: Path
    journal: Path
    rows: int
    checks: int | None
    torn: bool

    def __str__(self) -> str:
        count = f"{self.rows:,} of {self.checks:,} checks" if self.checks is not None else f"{self.rows:,} checks"
        torn = ", and half a row that is left out" if self.torn else ""
        if self.of == self.journal:
            return f"{display_path(self.of)}: results of a run that has not ended: {count}{torn}"
        return f"{display_path(self.of)}: the last run has not ended: {count} in {display_path(self.journal)}{torn}"


def unended(path: Path) -> Unended | None:
    """The run that has not ended, of which `path` is the journal, or beside whose journal it lies."""
    if path.suffix == ".jsonl" and (found := _journal(path, path)) is not None:
        return found
    beside = journal_of(path)
    return _journal(path, beside) if beside != path and beside.is_file() else None


def is_about_run(row: Any) -> bool:
    """Whether a line of a journal is no row."""
    return isinstance(row, dict) and row.keys() == {RUN}


def _journal(of: Path, journal: Path) -> Unended | None:
    """What the journal says; `None` for a file that is none, and for one of a results file of another name."""
    try:
        with journal.open("rb") as stream:
            if of == journal and not journal.name.endswith(SUFFIX) and not stream.readline().startswith(_OPENING):
                return None
            stream.seek(0)
            *lines, rest = stream.read().split(b"\n")
    except OSError:
        return None
    about = [line for line in lines if line.startswith(_OPENING)]
    run = _run(about[-1]) if about else {}
    if of != journal and run.get("results", of.name) != of.name:
        return None
    checks = run.get("checks")
    rows = len([line for line in lines if line.strip()]) - len(about)
    return Unended(of, journal, rows, checks if isinstance(checks, int) else None, bool(rest.strip()))


def _run(line: bytes) -> dict[str, Any]:
    try:
        run = json.loads(line)[RUN]
    except (ValueError, RecursionError):
        return {}
    return run if isinstance(run, dict) else {}


_OPENING = b'{"' + RUN.encode() + b'"'
