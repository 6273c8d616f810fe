"""Proposed thresholds as pictures: the ROC curve, and the scores with the old and the new threshold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.gating.calibrate import Proposal, rejected, roc
from pytest_editeval.gating.calibration_groups import Groups
from pytest_editeval.reports.calibration import limit, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GOOD, _BAD, _MUTED = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: told apart with any kind of colour vision
_BINS = 30


def check_plots_directory(directory: Path) -> None:
    """Make the directory; an `EditEvalError` when that is impossible, or there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise EditEvalError("--plots needs matplotlib; pip install 'pytest-editeval[report]'") from None
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EditEvalError(f"--plots {display_path(directory)}: {error.strerror or error}") from None


def write_plots(directory: Path, groups: Groups, proposals: Sequence[Proposal]) -> Iterator[Path]:
    """A PNG for every proposal that has scores; yields the path of each."""
    from matplotlib.figure import Figure

    for proposal in proposals:
        group = proposal.group
        if not group.good and not group.bad:
            continue
        with_curve = bool(group.good and group.bad)
        figure = Figure(figsize=(11 if with_curve else 7, 4.6), dpi=120, layout="constrained")
        panels = figure.subplots(1, 2 if with_curve else 1, squeeze=False, width_ratios=[4, 7] if with_curve else None)[
            0
        ]
        if with_curve:
            _curve(panels[0], proposal)
        _scores(panels[-1], proposal, groups.has_labels)
        figure.suptitle(f"{title(group, groups.by_task)}, profile {groups.profile}")
        parts = [group.metric, *([group.task or "without-a-task"] if groups.by_task else [])]
        path = directory / (re.sub(r"[^\w.-]", "_", "-".join(parts)) + ".png")
        try:
            figure.savefig(path)
        except OSError as error:
            raise EditEvalError(f"{display_path(path)}: cannot be written: {error.strerror or error}") from None
        yield path


def _curve(axes: Axes, proposal: Proposal) -> None:
    group = proposal.group
    axes.plot([0, 1], [0, 1], color=_MUTED, linestyle=":", linewidth=1)
    axes.plot(*roc(group.good, group.bad, group.higher_is_better), color="black", linewidth=1.8)
    for threshold in sorted(group.now):
        axes.plot(*_shares(proposal, threshold), "s", color=_MUTED, markerfacecolor="white", markersize=8)
    if group.now:
        axes.plot([], [], "s", color=_MUTED, markerfacecolor="white", markersize=8, label="threshold now")
    if proposal.threshold is not None:
        x, y = _shares(proposal, proposal.threshold)
        axes.plot([x], [y], "o", color="black", markersize=8, label=f"proposed {limit(group, proposal.threshold)}")
    if proposal.area is not None and proposal.area_interval is not None:
        low, high = proposal.area_interval
        axes.set_title(f"AUC {proposal.area:.3g}, 95 % interval {low:.3g} to {high:.3g}", fontsize=10)
    axes.set(xlabel="share of good edits rejected (false alarms)", ylabel="share of bad edits caught")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=True)


def _shares(proposal: Proposal, threshold: float) -> tuple[float, float]:
    group = proposal.group
    good, bad = (rejected(scores, threshold, group.higher_is_better).share for scores in (group.good, group.bad))
    return good, bad


def _scores(axes: Axes, proposal: Proposal, has_labels: bool) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    group = proposal.group
    marks = [value for value in (proposal.threshold,) if value is not None]
    values = np.array([*group.good, *group.bad, *marks])
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    kinds = ((group.good, _GOOD, "good" if has_labels else "accepted", ""), (group.bad, _BAD, "bad", "///"))
    for scores, color, name, hatch in kinds:
        if scores:
            label = f"{name} ({len(scores)})"
            axes.hist(scores, edges.tolist(), histtype="stepfilled", color=color, alpha=0.35)
            axes.hist(scores, edges.tolist(), histtype="step", color=color, linewidth=1.6, hatch=hatch, label=label)
    beyond = 0
    for threshold in sorted(group.now):
        if low <= threshold <= high:
            axes.axvline(threshold, color=_MUTED, linestyle="--", linewidth=1.5)
        else:
            beyond += 1
    if group.now:
        outside = f" ({beyond} outside)" if beyond else ""
        axes.plot([], [], color=_MUTED, linestyle="--", label=f"threshold now{outside}")
    if proposal.threshold is not None:
        axes.axvline(
            proposal.threshold, color="black", linewidth=2, label=f"proposed {limit(group, proposal.threshold)}"
        )
        ends = axes.get_xlim()
        worst = ends[0] if group.higher_is_better else ends[1]
        axes.axvspan(proposal.threshold, worst, color="black", alpha=0.06, label="rejected")
        axes.set_xlim(ends)
    better = "higher is better →" if group.higher_is_better else "← lower is better"
    axes.set(xlabel=f"{group.metric}   ({better})", ylabel="edits")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
