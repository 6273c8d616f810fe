"""Proposed thresholds in the terminal: a table, and how the scores are distributed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.calibrate import Interval, Proposal, Rate
from pytest_editeval.gating.calibration_groups import Group, Groups
from pytest_editeval.reports.layout import Screen
from pytest_editeval.reports.sparkline import bars
from pytest_editeval.reports.text import number

WIDTH = 80
_MARGIN = 11  # of a histogram: two spaces, and a label
_BINS = WIDTH - _MARGIN


def calibration_lines(groups: Groups, proposals: Sequence[Proposal], false_alarm: float, screen: Screen) -> list[str]:
    """Everything there is to say of the proposals: the table, notes, a histogram for each."""
    kind = "labels" if groups.has_labels else "every scored edit taken as good"
    lines = [f"profile {groups.profile} · {kind} · false alarms at most {false_alarm:.3g}", ""]
    rows = [_head(groups), *(_row(groups, proposal) for proposal in proposals)]
    first = 2 if groups.by_task else 1
    lines += screen.table(rows, right=range(first, first + (2 if groups.has_labels else 1)), keep=first)
    notes = [f"{title(proposal.group, groups.by_task)}: {note}" for proposal in proposals for note in _notes(proposal)]
    lines += ["", *notes] if notes else []
    for proposal in proposals:
        if proposal.group.good or proposal.group.bad:
            lines += ["", *histogram(proposal, groups)]
    return list(map(visible, lines))


def title(group: Group, by_task: bool) -> str:
    """What the threshold is of: ``emd``, ``emd · task color_alter``."""
    if not by_task:
        return group.metric
    return f"{group.metric} · " + (f"task {group.task}" if group.task else "without a task")


def _head(groups: Groups) -> tuple[str, ...]:
    names = ("metric", "task") if groups.by_task else ("metric",)
    if groups.has_labels:
        return *names, "good", "bad", "AUC [95 %]", "now", "proposed", "false alarms", "catches [95 %]", "left out"
    return *names, "accepted", "quantile [95 %]", "now", "proposed", "false alarms", "left out"


def _row(groups: Groups, proposal: Proposal) -> tuple[str, ...]:
    group = proposal.group
    names = (group.metric, group.task or "-") if groups.by_task else (group.metric,)
    proposed = "-" if proposal.threshold is None else limit(group.higher_is_better, proposal.threshold)
    alarms = _rate(proposal.false_alarms)
    left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(group.left_out.items())) or "-"
    if groups.has_labels:
        area = _interval(proposal.area, proposal.area_interval, digits=3)
        catches = _rate(proposal.caught, with_interval=True)
        counts = str(len(group.good)), str(len(group.bad))
        return *names, *counts, area, limits(group.higher_is_better, group.now), proposed, alarms, catches, left_out
    quantile = _interval(proposal.exact, proposal.quantile_interval)
    return *names, str(len(group.good)), quantile, limits(group.higher_is_better, group.now), proposed, alarms, left_out


def limit(higher_is_better: bool, threshold: float) -> str:
    """A threshold with its direction: ``≤ 4.5``."""
    return f"{'≥' if higher_is_better else '≤'} {number(threshold)}"


def limits(higher_is_better: bool, thresholds: Collection[float]) -> str:
    """Thresholds with their direction: ``≤ 4.5``, ``≤ 3 to 5``, or a dash."""
    if not thresholds:
        return "-"
    low, high = min(thresholds), max(thresholds)
    first = limit(higher_is_better, low)
    return first if low == high else f"{first} to {number(high)}"


def _interval(value: float | None, interval: Interval | None, digits: int = 4) -> str:
    if value is None or interval is None:
        return "-"
    low, high = (f"{end:.{digits}g}" if math.isfinite(end) else ("-∞" if end < 0 else "∞") for end in interval)
    return f"{value:.{digits}g} [{low}, {high}]"


def _rate(rate: Rate | None, *, with_interval: bool = False) -> str:
    if rate is None:
        return "-"
    shown = f"{100 * rate.share:.3g} %"
    if with_interval:
        low, high = rate.interval
        shown += f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{shown} ({rate.count} of {rate.of})"


def _notes(proposal: Proposal) -> list[str]:
    notes = []
    if proposal.reason is not None:
        notes.append(f"no proposal: {proposal.reason}")
    if proposal.extreme:
        count = len(proposal.group.good)
        notes.append(f"{count} good scores are too few for that rate of false alarms: the worst of them is proposed")
    if proposal.area_interval is not None and proposal.area_interval[0] <= 0.5:
        notes.append("it may not tell good from bad at all: the interval of the AUC holds 0.5, or is below it")
    if proposal.threshold is not None and proposal.area == 1:
        good, bad = proposal.group.good, proposal.group.bad
        ends = (max(bad), min(good)) if proposal.group.higher_is_better else (max(good), min(bad))
        notes.append(f"no good and no bad edit has a score between {number(ends[0])} and {number(ends[1])}")
    if len(proposal.group.scopes) > 1:
        scopes = ", ".join(sorted(scope or "whole image" for scope in proposal.group.scopes))
        notes.append(f"scores of different scopes are put together: {scopes}")
    if proposal.missed:
        count = len(proposal.group.must_fail)
        notes.append(f"the proposal lets {proposal.missed} of {count} edits through that are expected to fail")
    return notes


def histogram(proposal: Proposal, groups: Groups) -> list[str]:
    """How good and bad scores are distributed, in `WIDTH` columns, with the thresholds on the axis."""
    group = proposal.group
    marks = [proposal.threshold] if proposal.threshold is not None else []
    values = [*group.good, *group.bad, *marks]
    low, high = min(values), max(values)
    counted = [("good" if groups.has_labels else "accepted", _counts(group.good, low, high))]
    if groups.has_labels:
        counted.append(("bad", _counts(group.bad, low, high)))
    most = max(max(counts) for _, counts in counted)
    better = "higher is better" if group.higher_is_better else "lower is better"
    lines = [f"{title(group, groups.by_task)} ({better}; █ = {most} {'edit' if most == 1 else 'edits'})"]
    for name, counts in counted:
        lines.append(f"  {name:<{_MARGIN - 2}}{bars(counts, most)}".rstrip())
    axis = ["─"] * _BINS
    for threshold in sorted(group.now):
        if low <= threshold <= high:
            axis[_bin(threshold, low, high)] = "N"
    for threshold in marks:
        place = _bin(threshold, low, high)
        axis[place] = "P" if axis[place] == "─" else "B"
    lines.append(" " * _MARGIN + "".join(axis))
    ends = number(low, high), number(high, low)
    lines.append(" " * _MARGIN + ends[0] + ends[1].rjust(_BINS - len(ends[0])))
    lines.append(" " * _MARGIN + _legend(proposal, low, high, both="B" in axis))
    return lines


def _legend(proposal: Proposal, low: float, high: float, both: bool) -> str:
    group = proposal.group
    words = [f"N now {limits(group.higher_is_better, group.now)}"] if group.now else []
    if beyond := sum(not low <= threshold <= high for threshold in group.now):
        words.append(f"({beyond} beyond the ends)" if len(group.now) > 1 else "(beyond the ends)")
    words += (
        [f"P proposed {limit(group.higher_is_better, proposal.threshold)}"] if proposal.threshold is not None else []
    )
    words += ["B both"] if both else []
    return "  ".join(words)


def _counts(scores: Sequence[float], low: float, high: float) -> list[int]:
    counts = [0] * _BINS
    for score in scores:
        counts[_bin(score, low, high)] += 1
    return counts


def _bin(value: float, low: float, high: float) -> int:
    return 0 if low == high else min(int((value - low) / (high - low) * _BINS), _BINS - 1)
