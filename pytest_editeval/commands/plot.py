"""`editeval plot`: scores, margins, ROC curves and trends of results files as pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.partial import say_partial
from pytest_editeval.errors import EditEvalError, display_path, known_names, unknown
from pytest_editeval.reports.plotting import FORMATS

if TYPE_CHECKING:
    from pytest_editeval.gating.calibrate import Proposal
    from pytest_editeval.gating.calibration_groups import Groups
    from pytest_editeval.reports.plot_panels import Runs
    from pytest_editeval.reports.plotting import Pictures

KINDS = ("scores", "margins", "roc", "trend")


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("plot", help="draw scores, margins, ROC curves and trends of results files")
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results files, in the order of a trend"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory of the pictures")
    parser.add_argument("--format", choices=FORMATS, default="png", help="of the pictures (default: png)")
    parser.add_argument(
        "--kind",
        type=_kinds,
        metavar="KIND,...",
        help=f"{', '.join(KINDS)} (default: those that the results and the labels are enough for)",
    )
    parser.add_argument("--metric", nargs="+", metavar="NAME", help="only of these metrics")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="which edits are good and which bad, for `roc`")
    parser.set_defaults(run=_plot)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(kind.strip() for kind in text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{unknown('kind', kind, KINDS)}; allowed: {', '.join(KINDS)}")
    return kinds


def _plot(arguments: argparse.Namespace) -> int:
    from pytest_editeval.reports.margin_plots import margin_plots
    from pytest_editeval.reports.plot_panels import counted, panels_of
    from pytest_editeval.reports.plotting import Pictures
    from pytest_editeval.reports.score_plots import score_plots
    from pytest_editeval.reports.trend_plots import trend_plots
    from pytest_editeval.results_file import read_runs, run_names

    kinds = arguments.kind or _fitting(arguments)
    if arguments.labels is not None and "roc" not in kinds:
        raise EditEvalError("--labels is for roc, which --kind leaves out")
    say_partial(arguments.results)
    by_path = read_runs(arguments.results, partial=True)
    runs: Runs = dict(zip(run_names(by_path), by_path.values(), strict=True))
    metrics = _metrics(runs, arguments.metric)
    separated = None if arguments.labels is None else _separations(by_path, metrics, arguments.labels)
    pictures = Pictures(arguments.output, "--output", arguments.format)
    drawn = 0
    for kind in kinds:
        if lacking := _lacking(kind, arguments):
            print(f"{kind}: nothing to plot: {lacking}")
        elif kind == "roc" and separated is not None:
            drawn += _show(_roc(pictures, *separated))
        else:
            draw = {"scores": score_plots, "margins": margin_plots, "trend": trend_plots}[kind]
            for metric in metrics:
                count = _show(draw(pictures, runs, metric))
                if not count:
                    checks = [check for panel in panels_of(runs, metric) for check in panel.checks]
                    print(f"{kind}: nothing to plot of {pictures.text(metric, 60)}: {counted(checks)}")
                drawn += count
    if not drawn:
        raise EditEvalError("nothing to plot")
    return 0


def _metrics(runs: Runs, wanted: Sequence[str] | None) -> list[str]:
    there = sorted({result.metric for results in runs.values() for result in results})
    for name in wanted or ():
        if name not in there:
            raise EditEvalError(f"--metric: {unknown('metric', name, there)}; {known_names(there)}")
    return list(dict.fromkeys(wanted)) if wanted else there


def _fitting(arguments: argparse.Namespace) -> list[str]:
    return [kind for kind in KINDS if not _lacking(kind, arguments)]


def _lacking(kind: str, arguments: argparse.Namespace) -> str | None:
    """What a kind of picture takes that is not there."""
    if kind == "roc" and arguments.labels is None:
        return "it takes --labels, which edits are good and which bad"
    if kind == "trend" and len(arguments.results) < 2:
        return "a trend takes at least two runs"
    return None


def _separations(runs: Runs, metrics: Sequence[str], labels: Path) -> tuple[Groups, list[Proposal]]:
    from pytest_editeval.gating.calibrate import separation
    from pytest_editeval.gating.calibration_groups import group_scores
    from pytest_editeval.gating.labels import read_labels

    groups = group_scores(runs, read_labels(labels))
    return groups, [separation(group) for (metric, _), group in groups.groups.items() if metric in metrics]


def _roc(pictures: Pictures, groups: Groups, separations: Sequence[Proposal]) -> Iterator[Path]:
    from pytest_editeval.reports.calibration_plots import write_plots

    for one in separations:
        good, bad = len(one.group.good), len(one.group.bad)
        if not good or not bad:
            left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(one.group.left_out.items()))
            beside = f" (left out: {left_out})" if left_out else ""
            named = pictures.text(one.group.metric, 60)
            print(f"roc: nothing to plot of {named}: {good} good and {bad} bad edits with a score{beside}")
    yield from write_plots(pictures, groups, [one for one in separations if one.area is not None], "roc")


def _show(paths: Iterator[Path]) -> int:
    """Name each file as it is written; returns how many."""
    count = 0
    for path in paths:
        print(f"wrote {display_path(path)}")
        count += 1
    return count
