"""Checks of several edits, one per seed, as tables: mean and standard deviation of their scores."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.seeds import OverSeeds, SeedsPair, widest
from pytest_editeval.reports.layout import Screen, shortened, width
from pytest_editeval.reports.text import number
from pytest_editeval.results import CheckResult

SHOWN = 20
LEAST_CASE = 16  # columns that a case keeps in a narrow terminal
HEADINGS = ("over seeds", "metric", "scored", "mean", "std", "soft")
COMPARED = ("over seeds", "scored A", "mean A", "std A", "scored B", "mean B", "std B")


def seeds_lines(checks: Sequence[tuple[CheckResult, OverSeeds]], screen: Screen) -> list[str]:
    """A row per case, candidate and metric, between empty lines; of many those whose scores lie farthest apart."""
    if not checks:
        return []
    shown = widest(checks, SHOWN)
    rows = [HEADINGS]
    rows += [(case_node(result), result.metric, *_numbers(found), str(found.soft)) for result, found in shown]
    columns = len(HEADINGS) if any(found.soft for _, found in checks) else len(HEADINGS) - 1
    fitted = _fitted([row[:columns] for row in rows], screen.columns)
    lines = screen.table(fitted, right=range(2, columns), keep=2)
    return ["", *lines, *_rest(len(checks)), ""]


def compared_lines(pairs: Sequence[SeedsPair], screen: Screen) -> list[str]:
    """A row per check of two sides, after an empty line; of many those whose means differ most."""
    if not pairs:
        return []
    rows = [(pair.key, *_numbers(pair.before), *_numbers(pair.after)) for pair in pairs[:SHOWN]]
    return ["", *screen.table([COMPARED, *rows], right=range(1, len(COMPARED))), *_rest(len(pairs))]


def case_node(result: CheckResult) -> str:
    """The case, with its candidate: ``red_scarf[v2]``."""
    return result.node_id.split("::", 1)[1].rpartition("::")[0]


def _fitted(rows: Sequence[Sequence[str]], columns: int | None) -> Sequence[Sequence[str]]:
    """Rows whose first column, the case, is shortened to the room that the others leave."""
    if columns is None:
        return rows
    room = columns - sum(max(map(width, column)) + 2 for column in list(zip(*rows, strict=True))[1:])
    return [(shortened(visible(row[0]), max(room, LEAST_CASE)), *row[1:]) for row in rows]


def _numbers(found: OverSeeds | None) -> tuple[str, str, str]:
    if found is None:
        return "-", "-", "-"
    mean, deviation = ("-" if value is None else number(value) for value in (found.mean, found.deviation))
    return f"{len(found.scores)}/{found.edits}", mean, deviation


def _rest(count: int) -> list[str]:
    return [f"... and {count - SHOWN:,} more checks of several seeds"] if count > SHOWN else []
