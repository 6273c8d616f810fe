"""What commands do with the results of a run that has not ended."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_allow_partial(parser: argparse.ArgumentParser) -> None:
    """Declare the option of a command that judges."""
    parser.add_argument(
        "--allow-partial", action="store_true", help="take the results of a run that has not ended, and say so"
    )


def say_partial(paths: Sequence[Path], arguments: argparse.Namespace | None = None) -> bool:
    """Say of which results the run has not ended, where they are taken all the same; returns whether they are.

    A command that only shows takes them always; one that judges gives its `arguments`.
    """
    from pytest_editeval.results_journal import unended

    if arguments is not None and not arguments.allow_partial:
        return False
    for run in filter(None, map(unended, paths)):
        print(run)
    return True
