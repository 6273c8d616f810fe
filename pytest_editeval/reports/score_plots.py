"""The scores of a metric as a picture: a histogram for each candidate, the thresholds, and the controls beneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.reports.calibration import limits
from pytest_editeval.reports.drawing import bin_edges, direction, histogram
from pytest_editeval.reports.plot_panels import (
    Panel,
    Runs,
    drawable,
    heading,
    pages,
    panels_of,
    references_of,
    scores_of,
    subject,
)
from pytest_editeval.reports.plotting import BAD, GOOD, MARKERS, MUTED, Pictures
from pytest_editeval.reports.text import number
from pytest_editeval.results import CheckResult, Outcome

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

THRESHOLDS = 12
"""Drawn as lines, with the noise around them; more are ticks at the upper edge."""


def score_plots(pictures: Pictures, runs: Runs, metric: str) -> Iterator[Path]:
    """Pictures of up to `PANELS` runs and candidates each; none where no check of the metric has a score."""
    from matplotlib.figure import Figure

    panels = panels_of(runs, metric)
    references = references_of(runs, metric)
    shown = drawable([check for panel in panels for check in panel.checks])
    if not shown:
        return
    marked = drawable([check for checks in references.values() for check in checks])
    edges = bin_edges(scores_of([*shown, *marked]))
    for page, which in pages(panels):
        lane = [0.35 + 0.28 * len(references)] if references else []
        heights = [1.9] * len(page) + lane
        with pictures.look():
            figure = Figure(figsize=(8.4, 1.2 + sum(heights)), layout="constrained")
            rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
            for axes, panel in zip(rows, page, strict=False):
                _distribution(axes, panel, edges)
                axes.set_title(heading(pictures, panel, runs))
            if references:
                _references(rows[-1], references, pictures)
            higher = shown[0].higher_is_better
            rows[-1].set_xlabel(f"{pictures.text(metric)}   ({direction(higher)})")
            figure.suptitle(f"Scores of {subject(pictures, runs, metric)}{which}", x=0.01, ha="left", weight="bold")
            drawn = [check for panel in page for check in panel.scored]
            figure.legend(handles=_legend(drawn, marked), loc="outside lower left", ncols=5, frameon=False)
            path = pictures.save(figure, "scores", metric)
        yield path


def _distribution(axes: Axes, panel: Panel, edges: list[float]) -> None:
    scored = panel.scored
    passed, failed = (
        scores_of([check for check in scored if check.outcome is outcome])
        for outcome in (Outcome.PASSED, Outcome.FAILED)
    )
    histogram(axes, edges, ((passed, GOOD, "passed", ""), (failed, BAD, "failed", "///")))
    floor = axes.get_xaxis_transform()
    for scores, color, marker in ((passed, GOOD, "|"), (failed, BAD, "x")):
        axes.plot(scores, [0.04] * len(scores), marker, color=color, markersize=6, transform=floor)
    thresholds = sorted({check.threshold for check in scored})
    if len(thresholds) > THRESHOLDS:
        axes.plot(thresholds, [0.98] * len(thresholds), "|", color="black", markersize=8, transform=floor)
    else:
        for threshold, noise in sorted({(check.threshold, check.noise or 0.0) for check in scored}):
            axes.axvline(threshold, color="black", linestyle="--", linewidth=1.3)
            axes.axvspan(threshold - noise, threshold + noise, color=MUTED, alpha=0.15, linewidth=0)
    axes.set_ylabel("checks")
    if not scored:
        axes.set_yticks([])


def _references(axes: Axes, references: dict[str, list[CheckResult]], pictures: Pictures) -> None:
    """A lane for each kind of edit that is bad, or none, by intention; filled where the threshold lets it through."""
    names = []
    for lane, (name, checks) in enumerate(references.items()):
        shown = drawable(checks)
        for fill, part in (
            ("white", [one for one in shown if not _let_through(one)]),
            (BAD, list(filter(_let_through, shown))),
        ):
            axes.plot(
                scores_of(part),
                [lane] * len(part),
                MARKERS[(lane + 2) % len(MARKERS)],
                color="black",
                markerfacecolor=fill,
            )
        without = f", {len(checks) - len(shown)} without a score" if len(shown) < len(checks) else ""
        names.append(f"{pictures.text(name.replace('-', ' '))} ({len(shown)}{without})")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", alpha=0.25)


def _let_through(check: CheckResult) -> bool:
    return check.expect == "fail" and check.outcome is Outcome.FAILED


def _legend(drawn: Sequence[CheckResult], marked: Sequence[CheckResult]) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Artist] = []
    for outcome, color, hatch in ((Outcome.PASSED, GOOD, ""), (Outcome.FAILED, BAD, "///")):
        if any(check.outcome is outcome for check in drawn):
            found.append(Patch(facecolor=f"{color}59", edgecolor=color, hatch=hatch, label=str(outcome)))
    if thresholds := {check.threshold for check in drawn}:
        many = f"{len(thresholds):,} thresholds" if len(thresholds) > 1 else "threshold"
        label = f"{many} {limits(drawn[0].higher_is_better, thresholds)}"
        style: dict[str, Any] = (
            {"linestyle": "", "marker": "|"} if len(thresholds) > THRESHOLDS else {"linestyle": "--"}
        )
        found.append(Line2D([], [], color="black", label=label, **style))
    noises = {check.noise for check in drawn if check.noise}
    if noises and len(thresholds) <= THRESHOLDS:
        low, high = number(min(noises)), number(max(noises))
        found.append(Patch(facecolor=MUTED, alpha=0.15, label=f"noise ± {low if low == high else f'{low} to {high}'}"))
    if any(map(_let_through, marked)):
        found.append(Line2D([], [], color="black", marker="s", linestyle="", markerfacecolor=BAD, label="let through"))
    return found
