"""Scores of good and bad edits as pictures: the ROC curve, and the distributions with the thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_editeval.gating.calibrate import Proposal, rejected, roc
from pytest_editeval.gating.calibration_groups import Groups
from pytest_editeval.reports.calibration import limit, limits, title
from pytest_editeval.reports.drawing import bin_edges, direction, histogram
from pytest_editeval.reports.plotting import BAD, GOOD, MUTED, Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_plots(pictures: Pictures, groups: Groups, proposals: Sequence[Proposal], *prefix: str) -> Iterator[Path]:
    """A picture for every proposal that has scores; yields the path of each, which begins with the prefix."""
    from matplotlib.figure import Figure

    for proposal in proposals:
        group = proposal.group
        if not group.good and not group.bad:
            continue
        with_curve = bool(group.good and group.bad)
        with pictures.look():
            figure = Figure(figsize=(11 if with_curve else 7, 4.6), layout="constrained")
            widths = [4, 7] if with_curve else None
            panels = figure.subplots(1, 2 if with_curve else 1, squeeze=False, width_ratios=widths)[0]
            if with_curve:
                _curve(panels[0], proposal)
            _scores(panels[-1], proposal, groups.has_labels)
            axis = f"{pictures.text(group.metric)}   ({direction(group.higher_is_better)})"
            panels[-1].set(xlabel=axis, ylabel="edits")
            named = pictures.text(title(group, groups.by_task), 60)
            figure.suptitle(f"{named}, profile {pictures.text(groups.profile)}", x=0.01, ha="left", weight="bold")
            parts = [group.metric, *([group.task or "without-a-task"] if groups.by_task else [])]
            path = pictures.save(figure, *prefix, *parts)
        yield path


def _curve(axes: Axes, proposal: Proposal) -> None:
    group = proposal.group
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    axes.plot(*roc(group.good, group.bad, group.higher_is_better), color="black", linewidth=1.8)
    for index, threshold in enumerate(sorted(group.now)):
        label = f"now {limits(group.higher_is_better, group.now)}" if index == 0 else None
        axes.plot(*_shares(proposal, threshold), "s", color=MUTED, markerfacecolor="white", markersize=8, label=label)
    if proposal.threshold is not None:
        x, y = _shares(proposal, proposal.threshold)
        label = f"proposed {limit(group.higher_is_better, proposal.threshold)}"
        axes.plot([x], [y], "o", color="black", markersize=8, label=label)
    if proposal.area is not None and proposal.area_interval is not None:
        low, high = proposal.area_interval
        axes.set_title(f"AUC {proposal.area:.3g}, 95 % interval {low:.3g} to {high:.3g}", fontsize=10)
    axes.set(xlabel="share of good edits rejected (false alarms)", ylabel="share of bad edits caught")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=True, title="threshold")


def _shares(proposal: Proposal, threshold: float) -> tuple[float, float]:
    group = proposal.group
    good, bad = (rejected(scores, threshold, group.higher_is_better).share for scores in (group.good, group.bad))
    return good, bad


def _scores(axes: Axes, proposal: Proposal, has_labels: bool) -> None:
    group = proposal.group
    marks = [value for value in (proposal.threshold,) if value is not None]
    values = [*group.good, *group.bad, *marks]
    low, high = min(values), max(values)
    kinds = ((group.good, GOOD, "good" if has_labels else "accepted", ""), (group.bad, BAD, "bad", "///"))
    counted = ((scores, color, f"{name} ({len(scores)})", hatch) for scores, color, name, hatch in kinds)
    histogram(axes, bin_edges(values), counted)
    beyond = 0
    for threshold in sorted(group.now):
        if low <= threshold <= high:
            axes.axvline(threshold, color=MUTED, linestyle="--", linewidth=1.5)
        else:
            beyond += 1
    if group.now:
        outside = f" ({beyond} outside)" if beyond else ""
        axes.plot([], [], color=MUTED, linestyle="--", label=f"threshold now{outside}")
    if proposal.threshold is not None:
        label = f"proposed {limit(group.higher_is_better, proposal.threshold)}"
        axes.axvline(proposal.threshold, color="black", linewidth=2, label=label)
        ends = axes.get_xlim()
        worst = ends[0] if group.higher_is_better else ends[1]
        axes.axvspan(proposal.threshold, worst, color="black", alpha=0.06, label="rejected")
        axes.set_xlim(ends)
    axes.legend(loc="best")
