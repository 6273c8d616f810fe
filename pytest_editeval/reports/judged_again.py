"""The verdicts of `editeval gate` in words: what stops a release, what was left out, and the counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.again import JudgedAgain, MissingCheck
from pytest_editeval.reports.summary import in_words
from pytest_editeval.reports.text import headline, named
from pytest_editeval.results import CheckResult, GateResult, Outcome


def failing(results: Sequence[CheckResult], soft_failures: str) -> list[CheckResult]:
    """The checks that fail by themselves: no controls, none that a gate decides on, errors, soft ones if told so."""
    stops = {Outcome.ERROR, Outcome.FAILED} | ({Outcome.SOFT_FAILURE} if soft_failures == "fail" else set())
    return [
        result for result in results if result.control is None and result.covered_by is None and result.outcome in stops
    ]


def failing_lines(results: Sequence[CheckResult], missing: Sequence[MissingCheck]) -> Iterator[str]:
    """A line per failing check, with the place where it is written, then those that have no row."""
    for result in results:
        yield visible(f"{result.file}:{result.line}: {result.node_id.split('::')[1]}: {headline(result)}")
    for check in missing:
        yield visible(f"{check.position}: {'::'.join(check.node_id.split('::')[1:])} was not scored: run it")


def notice_lines(judged: JudgedAgain) -> Iterator[str]:
    """What was left out, counted and named."""
    for title, rows in (
        ("left out, no longer in the case files", judged.gone),
        ("changed since the baseline, not compared with it", judged.changed_inputs),
        ("tolerance without effect, no score in a baseline", judged.without_baseline),
    ):
        if rows:
            yield visible(f"{title}: {len(rows):,}: {named([row.node_id for row in rows])}")


def count_line(judged: JudgedAgain, gates: Sequence[GateResult]) -> str:
    """The last line."""
    checks = [result for result in judged.results if result.control is None]
    parts = [*in_words(checks)]
    if judged.missing:
        parts.append(f"{len(judged.missing):,} not scored")
    if controls := len(judged.results) - len(checks):
        parts.append(f"controls: {controls:,}")
    if gates:
        parts.append(f"gates passed: {sum(gate.passed for gate in gates):,} of {len(gates):,}")
    return f"checks judged again: {len(checks):,} ({', '.join(parts)})"
