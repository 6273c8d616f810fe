"""What accepting a run changes, and what two releases differ in, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.accepting import Changes
from pytest_editeval.gating.changes import Change
from pytest_editeval.gating.compare import CONFIDENCE, Comparison, MetricRow, Side
from pytest_editeval.gating.rows import Rows
from pytest_editeval.gating.slices import FEWEST_SCORES
from pytest_editeval.reports.layout import Screen
from pytest_editeval.reports.seeds import compared_lines
from pytest_editeval.reports.text import named, number

SHOWN = 10
SHOWN_OF_EXPECTED = 3  # of names that are no surprise
HEADINGS = (
    "metric",
    "",
    "pairs",
    "mean A",
    "mean B",
    "B better by",
    f"{CONFIDENCE:.0%} interval".replace("%", " %"),
    "better",
    "worse",
    "equal",
    "soft A",
    "soft B",
)


def change_lines(changes: Changes) -> list[str]:
    """What `editeval accept` did, a line for each kind of change that there is."""
    lines = [f"new: {_counted(changes.new, SHOWN_OF_EXPECTED)}"] if changes.new else []
    for how, kind in (("better", changes.better), ("worse", changes.worse)):
        if kind:
            lines.append(f"{how}: {len(kind):,}, the largest: {_change(kind[0])}")
    if changes.equal:
        lines.append(f"equal: {len(changes.equal):,}")
    for title, keys in (
        ("now a soft failure", changes.now_soft),
        ("no longer a soft failure", changes.no_longer_soft),
        ("replaced, not to be compared (inputs, metric version or checkpoints changed)", changes.not_compared),
        ("kept, not scored by this run", changes.kept),
        ("pruned, not scored by this run", changes.pruned),
        ("accepted, although the check failed", changes.failing),
    ):
        if keys:
            lines.append(f"{title}: {_counted(keys)}")
    return list(map(visible, (*lines, *left_out_lines(changes.left_out, "not accepted"))))


def comparison_lines(a: Side, b: Side, comparison: Comparison, screen: Screen) -> list[str]:
    """What `editeval compare` prints after the mismatches; its table fits the screen."""
    lines = [f"A  {a.name}", f"B  {b.name}"]
    if comparison.metrics:
        rows = [HEADINGS, *(_metric_row(row) for row in comparison.metrics)]
        lines += ["", *screen.table(rows, right=range(2, len(HEADINGS)), keep=2)]
    lines += [*_changes("better", comparison.better), *_changes("worse", comparison.worse)]
    lines += compared_lines(comparison.seeds, screen)
    verdicts = [f"  {one.before} -> {one.after}: {one.key}" for one in comparison.verdicts]
    lines += _section(f"verdicts that changed: {len(verdicts):,}", verdicts)
    for side, missing in zip((a, b), comparison.missing, strict=True):
        errors = {result.key for result in side.rows.errors} if side.rows else set()
        names = [f"{key} (error)" if key in errors else key for key in missing]
        if names:
            lines.append(f"not scored in {side.name}: {_counted(names)}")
    if comparison.changed_inputs:
        lines.append(f"changed inputs, not compared: {_counted(comparison.changed_inputs)}")
    if comparison.not_finite:
        lines.append(f"not a finite number, not compared: {_counted(comparison.not_finite)}")
    for side in (a, b):
        lines += left_out_lines(side.rows, f"left out of {side.name}") if side.rows else []
    return list(map(visible, lines))


def left_out_lines(rows: Rows, title: str) -> Iterator[str]:
    """The rows that do not count, by why."""
    for what, left_out, shown in (
        ("errors", rows.errors, SHOWN),
        ("controls", rows.controls, SHOWN_OF_EXPECTED),
        ("edits that are expected to fail", rows.expected_to_fail, SHOWN_OF_EXPECTED),
    ):
        if left_out:
            yield f"{title}, {what}: {_counted([result.node_id for result in left_out], shown)}"


def _counted(names: Sequence[str], shown: int = SHOWN) -> str:
    return f"{len(names):,}: {named(names, shown)}"


def _metric_row(row: MetricRow) -> tuple[str, ...]:
    numbers = [
        "-" if value is None else number(value, beside)
        for value, beside in ((row.mean_a, row.mean_b), (row.mean_b, row.mean_a))
    ]
    gain = "-" if row.gain is None else _signed(row.gain)
    interval = "too few" if row.pairs < FEWEST_SCORES else "-"
    if row.interval is not None:
        interval = f"[{_signed(row.interval[0])}, {_signed(row.interval[1])}]"
    counts = map(str, (row.better, row.worse, row.equal, *row.soft))
    return (row.metric, "↑" if row.higher_is_better else "↓", str(row.pairs), *numbers, gain, interval, *counts)


def _changes(how: str, changes: Sequence[Change]) -> list[str]:
    return _section(f"{how}: {len(changes):,}", [f"  {_change(one)}" for one in changes])


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    rest = [f"  ... and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return ["", title, *lines[:SHOWN], *rest]


def _change(one: Change) -> str:
    before, after = number(one.before, one.after), number(one.after, one.before)
    return f"{one.key}  {before} -> {after}  ({'better' if one.gain > 0 else 'worse'} by {number(abs(one.gain))})"


def _signed(value: float) -> str:
    return f"{value:+.4g}" if value else "0"
