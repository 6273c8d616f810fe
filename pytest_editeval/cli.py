"""The `editeval` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from pytest_editeval import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="editeval", description="Tools for edit cases; `pytest` runs them.")
    parser.add_argument("--version", action="version", version=f"pytest-editeval {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("schema", help="print the JSON Schema of *.edit.yaml files, for completion in an editor")
    commands.add_parser("metrics", help="list the metrics: direction, pipe, usual scope, what they measure")
    command = parser.parse_args(arguments).command
    try:
        print(_schema() if command == "schema" else _metrics(), flush=True)
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
    return 0


def _schema() -> str:
    from pytest_editeval.case_schema import case_file_schema

    return json.dumps(case_file_schema(), indent=2)


def _metrics() -> str:
    from pytest_editeval.registry import metrics

    rows = [("metric", "better", "pipe", "scope", "measures")]
    for spec in metrics().values():
        better = "higher" if spec.higher_is_better else "lower"
        rows.append((spec.name, better, spec.pipe_name, spec.scope or "whole image", spec.summary))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows
    )
