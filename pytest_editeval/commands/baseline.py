"""`editeval accept`: a run's scores become the baseline of the next release."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_editeval.commands.partial import add_allow_partial, say_partial

DEFAULT_PATH = Path("editeval-baseline.json")


def add(commands: Any) -> None:
    """Declare the command."""
    accept = commands.add_parser("accept", help="accept the scores of a run as the baseline of the next release")
    accept.add_argument("results", type=Path, metavar="RUN", help="results file of the run (--editeval-results)")
    accept.add_argument(
        "--baseline",
        type=Path,
        default=DEFAULT_PATH,
        metavar="FILE",
        help="baseline file to write, made if it is not there (default: %(default)s)",
    )
    accept.add_argument("--candidate", metavar="NAME", help="whose scores, where the run has several candidates")
    accept.add_argument("--prune", action="store_true", help="delete the scores of checks that this run did not score")
    add_allow_partial(accept)
    accept.set_defaults(run=_accept)


def _accept(arguments: argparse.Namespace) -> int:
    from pytest_editeval.errors import EditEvalError, display_path
    from pytest_editeval.gating.accepting import accept
    from pytest_editeval.gating.baseline_file import read_baseline, write_baseline
    from pytest_editeval.gating.rows import of_candidate
    from pytest_editeval.reports.comparison import change_lines
    from pytest_editeval.results_file import SUFFIXES, read_results

    path = arguments.baseline
    if path.suffix in SUFFIXES:
        raise EditEvalError(f"--baseline {path}: a baseline file ends in .json; {path.suffix} is for results")
    name = display_path(arguments.results)
    rows = read_results(arguments.results, partial=say_partial([arguments.results], arguments))
    run = of_candidate(rows, arguments.candidate, name)
    old = read_baseline(path) if path.exists() else None
    baseline, changes = accept(run, old, arguments.prune, path)
    write_baseline(baseline)
    print(f"{display_path(path)}: accepted {name} (profile {baseline.profile}, scores now: {len(baseline.scores):,})")
    for line in change_lines(changes):
        print(f"  {line}")
    return 0
