"""The margins of a metric as a picture: a row for each task, the worst of it by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_editeval.gating.statistics import statistic_of
from pytest_editeval.reports.plot_panels import Panel, Runs, heading, pages, panels_of, subject
from pytest_editeval.reports.plotting import BAD, GOOD, MUTED, Pictures
from pytest_editeval.reports.text import number
from pytest_editeval.results import CheckResult, Outcome

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TASKS = 40
"""In one panel, worst first; how many more there are is said."""

NO_TASK = "(no task)"
_GOLDEN = 0.618034  # its multiples spread evenly, so that points of like margins do not hide each other
_HEIGHT = 0.62  # of a row's points
_FEWEST = 4  # that have a middle half
_BOX = "#d9d9d9"


def margin_plots(pictures: Pictures, runs: Runs, metric: str) -> Iterator[Path]:
    """Pictures of up to `PANELS` runs and candidates each; none where no check of the metric has a margin."""
    from matplotlib.figure import Figure

    panels = panels_of(runs, metric)
    if not any(panel.scored for panel in panels):
        return
    for page, which in pages(panels):
        tasks = [_tasks(panel) for panel in page]
        heights = [0.45 + 0.32 * max(1, min(TASKS, len(rows))) for rows in tasks]
        with pictures.look():
            figure = Figure(figsize=(9.6, 1.1 + sum(heights)), layout="constrained")
            rows = figure.subplots(len(page), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
            for axes, panel, by_task in zip(rows, page, tasks, strict=True):
                _margins(axes, by_task, pictures)
                more = len(by_task) - TASKS
                beside = f" · {more:,} more tasks, whose worst margins are better" if more > 0 else ""
                axes.set_title(heading(pictures, panel, runs) + beside)
            rows[-1].set_xlabel(
                f"margin, in units of {pictures.text(metric)}   (below 0: beyond the threshold; higher is better →)"
            )
            figure.suptitle(f"Margins of {subject(pictures, runs, metric)}{which}", x=0.01, ha="left", weight="bold")
            figure.legend(handles=_legend(), loc="outside lower left", ncols=4, frameon=False)
            path = pictures.save(figure, "margins", metric)
        yield path


def _tasks(panel: Panel) -> list[tuple[str | None, list[CheckResult]]]:
    """The scored checks of each task, from its worst margin up; tasks with the worst margin first."""
    found: dict[str | None, list[CheckResult]] = {}
    for check in sorted(panel.scored, key=_margin):
        found.setdefault(check.task, []).append(check)
    return list(found.items())


def _margin(check: CheckResult) -> float:
    return check.margin or 0.0


def _margins(axes: Axes, tasks: list[tuple[str | None, list[CheckResult]]], pictures: Pictures) -> None:
    tasks = tasks[:TASKS]
    left, right = [], []
    for row, (task, checks) in enumerate(tasks):
        margins = [_margin(check) for check in checks]
        if len(margins) >= _FEWEST:
            quartiles = statistic_of("p25", margins), statistic_of("p75", margins)
            axes.plot(quartiles, [row, row], color=_BOX, linewidth=12, solid_capstyle="butt", zorder=1)
        axes.plot([statistic_of("median", margins)], [row], "|", color="black", markersize=15, zorder=3)
        for outcome, color, marker in ((Outcome.PASSED, GOOD, "o"), (Outcome.FAILED, BAD, "X")):
            places = [
                (margin, row + _HEIGHT * ((index * _GOLDEN + 0.5) % 1 - 0.5))
                for index, (margin, check) in enumerate(zip(margins, checks, strict=True))
                if check.outcome is outcome
            ]
            if places:
                axes.plot(*zip(*places, strict=True), marker, color=color, markersize=4.5, alpha=0.75, zorder=2)
        left.append(f"{NO_TASK if task is None else pictures.text(task)} ({len(checks)})")
        right.append(f"{number(margins[0])} {pictures.text(checks[0].case, 24)}")
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(tasks)), left)
    axes.set_ylim(max(len(tasks), 1) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    named = axes.twinx()
    named.set_yticks(range(len(tasks)), right)
    named.set_ylim(axes.get_ylim())
    named.tick_params(axis="y", length=0, labelcolor=MUTED)
    if tasks:
        named.set_title("worst", loc="right", x=1.02, ha="left", color=MUTED)


def _legend() -> list[Artist]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], marker="o", linestyle="", color=GOOD, label="passed"),
        Line2D([], [], marker="X", linestyle="", color=BAD, label="failed"),
        Line2D([], [], marker="|", linestyle="", markersize=12, color="black", label="median"),
        Line2D([], [], linewidth=8, color=_BOX, label="middle half"),
    ]
