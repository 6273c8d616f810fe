"""`editeval compare`: two releases beside each other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_editeval.commands.partial import add_allow_partial, say_partial


def add(commands: Any) -> None:
    """Declare the command."""
    compare = commands.add_parser("compare", help="compare the scores of two runs, or of a run and a baseline")
    for side in ("a", "b"):
        compare.add_argument(side, type=Path, metavar=side.upper(), help="results file or baseline file")
        compare.add_argument(f"--candidate-{side}", metavar="NAME", help=f"whose scores of {side.upper()}")
    compare.add_argument("--allow-mismatch", action="store_true", help="compare what was not measured alike")
    add_allow_partial(compare)
    compare.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="differences of at most X, in the metric's units, are equal (default: 0)",
    )
    compare.set_defaults(run=_compare)


def _tolerance(text: str) -> float:
    import math

    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text}")
    return value


def _compare(arguments: argparse.Namespace) -> int:
    from pytest_editeval.gating.baseline import check_alike
    from pytest_editeval.gating.compare import compare, read_side
    from pytest_editeval.gating.manifests import manifest_differences
    from pytest_editeval.reports.comparison import comparison_lines
    from pytest_editeval.reports.layout import Screen
    from pytest_editeval.statuses import NOTHING_SCORED

    partial = say_partial([arguments.a, arguments.b], arguments)
    a = read_side(arguments.a, arguments.candidate_a, partial=partial)
    b = read_side(arguments.b, arguments.candidate_b, partial=partial)
    names = (a.name, b.name)
    details = manifest_differences(a.results.values(), b.results.values(), names)
    alike = check_alike(a.baseline, b.baseline.profile, b.baseline.metrics, names, arguments.allow_mismatch, details)
    comparison = compare(a, b, arguments.tolerance)
    print("\n".join([*alike, *comparison_lines(a, b, comparison, Screen.of_stream(sys.stdout))]))
    if not any(row.pairs for row in comparison.metrics):
        print("nothing to compare: no check has a score on both sides")
        return NOTHING_SCORED
    return 0
