"""A run as Markdown: for the summary of a CI job, or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path

from pytest_editeval.errors import LocatedError
from pytest_editeval.reports.gates import deciding_slice, gate_bounds, gate_title, gate_value
from pytest_editeval.reports.markdown_tables import Section, cell, code, fitted, row
from pytest_editeval.reports.standing import Standing, missed_by, standing
from pytest_editeval.reports.summary import HEADINGS, metric_rows
from pytest_editeval.reports.text import headline, named, number
from pytest_editeval.reports.verdict import RunNotes, RunVerdict, verdict
from pytest_editeval.results import CheckResult, GateResult, Outcome
from pytest_editeval.whole_file import written_whole

LIMIT = 64 * 1024
"""Bytes of UTF-8; a comment on GitHub takes 65,536 characters, the summary of a step 1 MiB."""

INSTRUCTION_LENGTH = 100
_FEW = 5


def markdown(
    results: Sequence[CheckResult], gates: Sequence[GateResult], notes: RunNotes | None = None, limit: int = LIMIT
) -> str:
    """The verdict in one sentence, then tables: gates, metrics, failing checks with the worst first, what was left out.

    At most `limit` bytes of UTF-8, of which headings and counts take up to 8 KiB; rows that do not fit are counted.
    """
    notes = notes or RunNotes()
    checks = standing(results, soft_fail=notes.soft_fail, runxfail=notes.runxfail)
    head = f"## Edit scores\n\n{_verdict(verdict(results, gates, notes))}\n\n"
    tail = "".join(f"{line}\n" for line in _measured_with(results, notes))
    sections = [section for section in _sections(results, gates, checks, notes) if section.rows]
    return head + fitted(sections, limit - len((head + tail).encode())) + tail


def write_markdown(path: Path, text: str) -> None:
    """Write the summary; a file that is there is replaced as a whole. Raises `OSError`, and leaves that file."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, "utf-8", newline="\n")


def _verdict(found: RunVerdict) -> str:
    facts = [
        fact.text
        + (f": {', '.join(map(code, fact.names[:_FEW]))}" if fact.names else "")
        + (" …" if len(fact.names) > _FEW else "")
        for fact in found.facts
    ]
    return f"**{found.word}**: {'; '.join(facts)}."


def _sections(
    results: Sequence[CheckResult], gates: Sequence[GateResult], checks: Standing, notes: RunNotes
) -> Iterable[Section]:
    summary = metric_rows([result for result in results if result.control is None])
    detail = ("check", "metric", "what", "instruction", "where")
    yield Section("Gates", ("", "gate", "value", "bound", "n", "slice"), tuple(map(_gate, gates)), "gates")
    yield Section("Mistakes", ("where", "mistake"), tuple(map(_mistake, notes.mistakes)), "mistakes")
    yield Section(
        "Metrics",
        HEADINGS,
        tuple(row(cell(cells[0]), *cells[1:-1], cell(cells[-1])) for cells in summary),
        "metrics",
    )
    yield Section(
        "Failing checks, worst first",
        ("check", "metric", "score", "must be", "misses by", "instruction", "where"),
        tuple(map(_failing, checks.failing)),
        "failing checks",
    )
    yield Section("Not scored", detail, tuple(map(_detailed, checks.errors)), "checks that could not be scored")
    yield Section("Toothless thresholds", detail, tuple(map(_detailed, checks.toothless)), "toothless thresholds")
    yield Section("Left to gates", detail, tuple(map(_detailed, checks.covered)), "checks that a gate decides")
    yield Section("Passing within noise", detail, tuple(map(_detailed, checks.doubtful)), "checks within noise")
    yield Section("Soft failures", ("reason", "checks", ""), tuple(_reasons(checks.soft)), "reasons")
    yield Section("Not run", ("check",), tuple(row(cell(name)) for name in notes.not_run), "checks that were not run")


def _gate(gate: GateResult) -> str:
    part = deciding_slice(gate)
    status = "pass" if gate.passed else "**FAIL**"
    if part is None:
        return row(status, cell(gate_title(gate)), "", "", "0", "nothing to judge")
    others = sum(not other.passed for other in gate.slices) - (not part.passed)
    more = [f"{others:,} more failing"] if others else []
    where = [cell(text) for text in (part.label, part.reason) if text]
    bounds = ", ".join(gate_bounds(gate, part))
    return row(
        status, cell(gate_title(gate)), gate_value(gate, part), bounds, str(part.scored), ", ".join(where + more)
    )


def _mistake(mistake: LocatedError) -> str:
    text = f"{mistake.message} ({mistake.hint})" if mistake.hint else mistake.message
    return row(cell(str(mistake.position)), cell(text))


def _failing(result: CheckResult) -> str:
    return row(
        cell(_name(result)),
        cell(result.metric),
        "-"
        if result.score is None or result.outcome is Outcome.SOFT_FAILURE
        else number(result.score, result.threshold),
        _bound(result),
        _missed(result),
        cell(result.instruction.strip(), INSTRUCTION_LENGTH),
        _where(result),
    )


def _bound(result: CheckResult) -> str:
    if result.margin is not None and result.margin >= 0 and result.exceeds_tolerance and result.expect == "pass":
        return f"at most {number(result.tolerance or 0.0)} worse than {number(result.baseline or 0.0, result.score)}"
    sign = "≥" if result.higher_is_better else "≤"
    return f"{'not ' if result.expect == 'fail' else ''}{sign} {number(result.threshold, result.score)}"


def _missed(result: CheckResult) -> str:
    if result.margin is None or isnan(result.margin):
        return cell(result.reason or "not a number")
    return number(missed_by(result)) + (", within noise" if result.within_noise else "")


def _detailed(result: CheckResult) -> str:
    return row(
        cell(_name(result)),
        cell(result.metric),
        cell(" ".join(headline(result).split("   "))),
        cell(result.instruction.strip(), INSTRUCTION_LENGTH),
        _where(result),
    )


def _reasons(soft: Sequence[CheckResult]) -> Iterable[str]:
    by_reason: dict[str, list[str]] = {}
    for result in soft:
        by_reason.setdefault(result.reason or "", []).append(f"{_name(result)} {result.metric}")
    for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        yield row(cell(reason), f"{len(names):,}", cell(named(names, _FEW)))


def _name(result: CheckResult) -> str:
    mark = result.candidate or result.control
    return f"{result.case}[{mark}]" if mark else result.case


def _where(result: CheckResult) -> str:
    return cell(f"{result.file}:{result.line}")


def _measured_with(results: Sequence[CheckResult], notes: RunNotes) -> Iterable[str]:
    """Profile, device, versions, what is not said above, and where there is more to read."""
    if notes.gates_not_judged:
        yield f"- gates were not judged: {code(notes.gates_not_judged)}"
    for name in ("profile", "device"):
        if values := sorted({str(getattr(result, name)) for result in results}):
            yield f"- {name}: {code(', '.join(values))}"
    versions = sorted({f"{package} {version}" for result in results for package, version in result.versions.items()})
    if versions:
        yield f"- versions: {code(', '.join(versions), 1000)}"
    for what, path in notes.files.items():
        yield f"- {what}: {code(path, 1000)}"
