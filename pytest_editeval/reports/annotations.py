"""Workflow commands of GitHub Actions: what went wrong, beside the line of the case file that says it should not.

The runner reads a line that begins with ``::``. In its text `%`, `\\r` and `\\n` are written as in a URL, in its
properties `:` and `,` too (github.com/actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_editeval.errors import LocatedError
from pytest_editeval.escapes import cut, visible
from pytest_editeval.reports.gates import gate_message, gate_title
from pytest_editeval.reports.places import below
from pytest_editeval.reports.standing import Standing
from pytest_editeval.reports.text import headline
from pytest_editeval.results import CheckResult, GateResult

PER_LEVEL = 10
"""Annotations of one level that GitHub shows of a step; it drops the others without a word (docs/ci.md)."""

TITLE_LENGTH = 255  # what the Checks API takes
MESSAGE_LENGTH, INSTRUCTION_LENGTH = 2000, 300
MORE = {
    "failing": "failing checks",
    "errors": "checks that could not be scored",
    "gates": "failing gates",
    "mistakes": "mistakes in case files",
    "soft": "soft failures",
    "toothless": "toothless thresholds",
    "covered": "checks that a gate decides",
    "doubtful": "checks that pass within noise",
}


@dataclass(frozen=True)
class _Annotation:
    kind: str
    title: str
    message: str
    file: str | None = None
    line: int | None = None


def annotation_lines(
    checks: Standing, gates: Sequence[GateResult], mistakes: Sequence[LocatedError], workspace: str | None = None
) -> list[str]:
    """The commands, one a line, at most `PER_LEVEL` of each level; the last one of a level counts what is cut.

    Errors are failing gates, mistakes in case files, and checks that fail or could not be scored. Warnings are soft
    failures and toothless thresholds: the run passes, and nothing was measured. Notices are verdicts that hang on
    something else: on a gate, or on noise. `workspace` is the repository's root, which GitHub
    wants paths from; a file outside of it stays what it is.
    """
    failing = [_of_gate(gate) for gate in gates if not gate.passed]
    errors = [
        *failing,
        *(_of_mistake(mistake) for mistake in mistakes),
        *(_of_check(result, "errors") for result in checks.errors),
        *(_of_check(result, "failing") for result in checks.failing),
    ]
    warnings = _checks({"soft": checks.soft, "toothless": checks.toothless})
    notices = _checks({"covered": checks.covered, "doubtful": checks.doubtful})
    return [
        *_commands("error", errors, workspace),
        *_commands("warning", warnings, workspace),
        *_commands("notice", notices, workspace),
    ]


def _checks(groups: dict[str, Sequence[CheckResult]]) -> list[_Annotation]:
    return [_of_check(result, kind) for kind, results in groups.items() for result in results]


def _commands(
    level: Literal["error", "warning", "notice"], found: Sequence[_Annotation], workspace: str | None
) -> Iterator[str]:
    shown = found if len(found) <= PER_LEVEL else found[: PER_LEVEL - 1]
    for annotation in shown:
        properties: dict[str, str | int | None] = {
            "file": None if annotation.file is None else _from_root(annotation.file, workspace),
            "line": annotation.line,
            "title": cut(annotation.title, TITLE_LENGTH),
        }
        yield _command(level, properties, annotation.message)
    if rest := found[len(shown) :]:
        yield _command(level, {"title": f"and {len(rest):,} more"}, f"{_counted(rest)}: see the summary of the run")


def _counted(rest: Iterable[_Annotation]) -> str:
    return ", ".join(f"{count:,} × {MORE[kind]}" for kind, count in Counter(one.kind for one in rest).items())


def _command(level: str, properties: dict[str, str | int | None], message: str) -> str:
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value is not None)
    return f"::{level} {given}::{_data(message[:MESSAGE_LENGTH])}"


def _of_check(result: CheckResult, kind: str) -> _Annotation:
    candidate = f"[{result.candidate or result.control}]" if result.candidate or result.control else ""
    said = {
        "toothless": "toothless threshold: ",
        "covered": f"gate {result.covered_by} decides: ",
        "doubtful": "passes within noise: ",
    }
    lines = [
        said.get(kind, "") + " ".join(headline(result).split("   ")),
        cut(result.instruction.strip(), INSTRUCTION_LENGTH),
        f"source {result.source}, edited {result.edited}",
    ]
    title = f"{result.case}{candidate} {result.metric}"
    return _Annotation(kind, title, "\n".join(map(visible, lines)), result.file, result.line)


def _of_gate(gate: GateResult) -> _Annotation:
    file, line = None, None
    if gate.place:
        file, number, _ = gate.place.rsplit(":", 2)
        line = int(number)
    return _Annotation("gates", f"gate: {gate_title(gate)}", visible(gate_message(gate)), file, line)


def _of_mistake(mistake: LocatedError) -> _Annotation:
    message = "\n".join(visible(text) for text in (mistake.message, mistake.hint) if text)
    return _Annotation(
        "mistakes", "mistake in an edit case", message, str(mistake.position.path), mistake.position.line
    )


def _from_root(file: str, workspace: str | None) -> str:
    return (below(file, workspace) if workspace else None) or Path(file).as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")
