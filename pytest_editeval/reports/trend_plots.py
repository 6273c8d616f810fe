"""A metric over many runs as a picture: the scores of each candidate, and how many of its checks pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.gating.statistics import statistic_of
from pytest_editeval.reports.plot_panels import Panel, Runs, pages, panels_of, scores_of, subject
from pytest_editeval.reports.plotting import COLORS, MARKERS, MUTED, Pictures
from pytest_editeval.reports.text import named
from pytest_editeval.results import Outcome

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BAND = ("p10", "p90")
_LABEL = 20  # characters of a run's name


def trend_plots(pictures: Pictures, runs: Runs, metric: str) -> Iterator[Path]:
    """Pictures of up to `PANELS` candidates each; none where no check of the metric has a score."""
    from matplotlib.figure import Figure

    panels = panels_of(runs, metric)
    if not any(panel.scored for panel in panels):
        return
    candidates = list(dict.fromkeys(panel.candidate for panel in panels))
    for page, which in pages(candidates):
        drawn = [panel for panel in panels if panel.candidate in page]
        with pictures.look():
            figure = Figure(figsize=(max(8.4, 0.32 * len(runs)), 6.4), layout="constrained")
            upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
            handles = _scores(upper, lower, page, drawn, list(runs), pictures)
            handles += _thresholds(upper, drawn, list(runs)) + _changes((upper, lower), runs, metric)
            higher = panels[0].checks[0].higher_is_better
            better = "higher is better ↑" if higher else "lower is better ↓"
            upper.set_ylabel(f"{pictures.text(metric)}\n{better}")
            lower.set(ylabel="checks that pass (%)", ylim=(-4, 104), xlabel="run, in the order given")
            _names(lower, runs, pictures)
            figure.suptitle(
                f"{subject(pictures, runs, metric)}, over {len(runs)} runs{which}", x=0.01, ha="left", weight="bold"
            )
            upper.set_title(_beside(drawn, runs, pictures))
            figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False)
            path = pictures.save(figure, "trend", metric)
        yield path


def _scores(
    upper: Axes,
    lower: Axes,
    candidates: Sequence[str | None],
    panels: Sequence[Panel],
    runs: list[str],
    pictures: Pictures,
) -> list[Artist]:
    """Median and band above, pass rate beneath; a run without scores leaves a gap."""
    handles: list[Artist] = []
    places = range(len(runs))
    for candidate, color, marker in zip(candidates, COLORS, MARKERS, strict=False):
        by_run = {panel.run: panel for panel in panels if panel.candidate == candidate}
        own = [by_run.get(run) for run in runs]
        middle, low, high = ([_statistic(name, panel) for panel in own] for name in ("median", *BAND))
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5}
        whose = "" if candidate is None else f"candidate {pictures.text(candidate)}: "
        (line,) = upper.plot(places, middle, label=f"{whose}median, {BAND[0]} to {BAND[1]}", **style)
        upper.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
        for end in (low, high):
            upper.plot(places, end, color=color, linewidth=0.8, alpha=0.6, marker="_", markersize=5)
        lower.plot(places, [_pass_rate(panel) for panel in own], **style)
        handles.append(line)
    lower.grid(axis="y", alpha=0.25)
    return handles


def _statistic(name: str, panel: Panel | None) -> float:
    scores = scores_of(panel.scored) if panel is not None else []
    return statistic_of(name, scores) if scores else math.nan


def _pass_rate(panel: Panel | None) -> float:
    """In percent, of the checks that are no soft failures, as the gate `pass_rate` counts."""
    told = [check for check in panel.checks if check.outcome is not Outcome.SOFT_FAILURE] if panel is not None else []
    return 100 * sum(check.outcome is Outcome.PASSED for check in told) / len(told) if told else math.nan


def _thresholds(axes: Axes, panels: Sequence[Panel], runs: list[str]) -> list[Artist]:
    found = sorted({(runs.index(panel.run), check.threshold) for panel in panels for check in panel.scored})
    places, thresholds = zip(*found, strict=True)
    return [*axes.plot(places, thresholds, "_", color="black", markersize=16, markeredgewidth=1.4, label="threshold")]


def _changes(rows: Sequence[Axes], runs: Runs, metric: str) -> list[Artist]:
    """A line before each run whose scores were measured otherwise than those before it: they are not on one scale."""
    lines: list[Artist] = []
    before: set[tuple[object, ...]] = set()
    for place, results in enumerate(runs.values()):
        checks = [check for check in results if check.metric == metric and check.fingerprint is not None]
        now: set[tuple[object, ...]] = {(check.profile, check.metric_version, check.fingerprint) for check in checks}
        if before and now and now != before:
            label = "measured otherwise from here on (profile, version, checkpoints)"
            drawn = [axes.axvline(place - 0.5, color=MUTED, linestyle=":", label=label) for axes in rows]
            lines = lines or [drawn[0]]
        before = now or before
    return lines


def _names(axes: Axes, runs: Runs, pictures: Pictures) -> None:
    names = [pictures.text(name, _LABEL) for name in runs]
    slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(names) > 5 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _beside(panels: Sequence[Panel], runs: Runs, pictures: Pictures) -> str:
    """How many scores a point stands for, and which runs have none."""
    counts = [len(panel.scored) for panel in panels if panel.scored]
    low, high = min(counts), max(counts)
    words = [f"{low:,} scores each" if low == high else f"{low:,} to {high:,} scores each"]
    if soft := sum(check.outcome is Outcome.SOFT_FAILURE for panel in panels for check in panel.checks):
        words.append(f"{soft:,} soft failures in all")
    with_scores = {panel.run for panel in panels if panel.scored}
    if without := [pictures.text(run, _LABEL) for run in runs if run not in with_scores]:
        words.append(f"no scores in {named(without, 3)}")
    return " · ".join(words)
