"""What settings of the models trade, as lines of text and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pytest_editeval.escapes import visible
from pytest_editeval.gating.drift import Drift, Measured, MetricDrift, Pair, scores_of
from pytest_editeval.reports.layout import Screen
from pytest_editeval.reports.text import number
from pytest_editeval.results import CheckResult, Outcome

FORMAT = "pytest-editeval drift 1"
FLOAT32 = "float32"
HEADINGS = ("metric", "checks", "median move", "largest", "of spread", "flips")
TRADE_HEADINGS = ("choice", "seconds", "MiB", "checks", "flips", "largest of spread", "metric")
MIB = 1 << 20


@dataclass(frozen=True)
class Tried:
    """A choice, by its text and its settings: what came out, and what it took."""

    label: str
    settings: Mapping[str, Any]
    drift: Drift
    seconds: float
    weights: int

    @property
    def problem(self) -> str | None:
        """The first reason why nothing was scored; `None` where something was."""
        return None if self.drift.has_run else self.drift.left_out[0].detail


def suite_lines(profile: str, plain: Measured, screen: Screen) -> list[str]:
    """What is measured, and what of it cannot be."""
    rows = plain.rows
    controls = sum(Pair(row, row).is_control for row in rows)
    soft = sum(row.outcome is Outcome.SOFT_FAILURE for row in rows)
    counts = f"{len(rows)} checks, {controls} of them controls, {soft} soft failures in {FLOAT32}"
    line = f"profile {profile} · device {', '.join(plain.devices)} · {counts}"
    return [*screen.wrapped(line), *_left_out(_errors(rows), screen)]


def choice_lines(tried: Tried, screen: Screen) -> list[str]:
    """A table of the metrics, and the checks whose verdict flips; or a line that says why there is none."""
    if tried.problem is not None:
        return [screen.text(f"{tried.label}: cannot run here: {tried.problem}")]
    rows = [HEADINGS, *map(_metric_row, tried.drift.metrics)]
    lines = [screen.text(tried.label), *screen.table(rows, right=range(1, len(HEADINGS)))]
    if flips := tried.drift.flips:
        lines += [f"verdicts that flip: {len(flips)}", *(f"  {screen.text(_flip(pair))}" for pair in flips)]
    return [*lines, *_left_out(tried.drift.left_out, screen)]


def trade_lines(plain: Measured, choices: Sequence[Tried], screen: Screen) -> list[str]:
    """All choices that ran beside each other, and what they are held against."""
    first = (FLOAT32, f"{plain.seconds:.2f}", f"{plain.weights / MIB:.1f}", "", "", "", "")
    rows = [TRADE_HEADINGS, first, *(_trade_row(one) for one in choices if one.problem is None)]
    return screen.table(rows, right=range(1, len(TRADE_HEADINGS) - 1))


def as_data(profile: str, plain: Measured, choices: Sequence[Tried]) -> dict[str, Any]:
    """All of it as plain data, for JSON."""
    return {
        "format": FORMAT,
        "profile": profile,
        "devices": list(plain.devices),
        FLOAT32: {
            "seconds": plain.seconds,
            "weights_mib": plain.weights / MIB,
            "left_out": _reasons(_errors(plain.rows)),
        },
        "choices": [_choice_data(one) for one in choices],
    }


def _choice_data(tried: Tried) -> dict[str, Any]:
    known: dict[str, Any] = {"choice": tried.label, "settings": dict(tried.settings), "problem": tried.problem}
    if tried.problem is not None:
        return known
    names = [field.name for field in fields(MetricDrift) if field.name != "metric"]
    return {
        **known,
        "seconds": tried.seconds,
        "weights_mib": tried.weights / MIB,
        "metrics": {one.metric: {name: getattr(one, name) for name in names} for one in tried.drift.metrics},
        "flips": [pair.before.node_id for pair in tried.drift.flips],
        "left_out": _reasons(tried.drift.left_out),
        "checks": [
            {
                "check": pair.before.node_id,
                "metric": pair.before.metric,
                "control": pair.is_control,
                "threshold": pair.before.threshold,
                "before": _side(pair.before),
                "after": _side(pair.after),
            }
            for pair in tried.drift.pairs
        ],
    }


def _side(row: CheckResult) -> dict[str, Any]:
    return {"verdict": str(row.outcome), "reason": row.reason, "scores": scores_of(row)}


def _reasons(rows: Sequence[CheckResult]) -> list[dict[str, str | None]]:
    return [{"check": row.node_id, "reason": row.detail} for row in rows]


def _errors(rows: Sequence[CheckResult]) -> list[CheckResult]:
    return [row for row in rows if row.outcome is Outcome.ERROR]


def _left_out(rows: Sequence[CheckResult], screen: Screen) -> list[str]:
    lines = [f"  {screen.text(f'{row.node_id}: {row.detail}')}" for row in rows]
    return [f"left out: {len(rows)}", *lines] if rows else []


def _metric_row(metric: MetricDrift) -> tuple[str, ...]:
    moves = ("-" if value is None else number(value) for value in (metric.median, metric.largest))
    return (metric.metric, str(metric.checks), *moves, _percent(metric.relative), str(metric.flips))


def _trade_row(tried: Tried) -> tuple[str, ...]:
    found = tried.drift
    known = [metric for metric in found.metrics if metric.relative is not None]
    worst = max(known, key=lambda metric: metric.relative or 0.0, default=None)
    return (
        tried.label,
        f"{tried.seconds:.2f}",
        f"{tried.weights / MIB:.1f}",
        str(len(found.pairs)),
        str(len(found.flips)),
        _percent(worst.relative if worst else None),
        worst.metric if worst else "-",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2g} %"


def _flip(pair: Pair) -> str:
    before, after = pair.before, pair.after
    control = " (control)" if pair.is_control else ""
    verdicts = f"{before.outcome} -> {after.outcome}"
    scores = " -> ".join(_shown(*sides) for sides in ((before, after), (after, before)))
    sign = "≥" if before.higher_is_better else "≤"
    return visible(f"{before.node_id}{control}: {verdicts}, {scores}, threshold {sign} {number(before.threshold)}")


def _shown(row: CheckResult, beside: CheckResult) -> str:
    if row.reason is not None or row.score is None:
        return str(row.reason)
    return number(row.score, beside.score if beside.reason is None else None)
