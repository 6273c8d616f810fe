"""The `editeval` command: what is done with cases and results beside a run of `pytest`.

A command is a module of `pytest_editeval.commands` with `add`, which declares it, and a function that runs it and
returns the exit status; what it needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pytest_editeval import __version__
from pytest_editeval.commands import baseline, calibrate, catalogue, compare, gate, lint, models, noise, plot, report
from pytest_editeval.errors import EditEvalError
from pytest_editeval.escapes import visible
from pytest_editeval.statuses import USAGE_ERROR

COMMANDS = (report, gate, compare, baseline, calibrate, noise, lint, plot, models, catalogue)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse, with the exit status that pytest has for it."""
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = _Parser(prog="editeval", description="Tools for edit cases and their results; `pytest` scores them.")
    parser.add_argument("--version", action="version", version=f"pytest-editeval {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    parsed = parser.parse_args(arguments)
    _take_any_character()
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except EditEvalError as error:
        print("\n".join(map(visible, f"editeval: {error}".split("\n"))), file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0
    return status


def _take_any_character() -> None:
    """An output in ASCII or Latin-1 gets `<=` for ≤, and never a traceback."""
    from pytest_editeval.reports.layout import PLAIN

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=PLAIN)
