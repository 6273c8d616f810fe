"""`editeval schema` and `editeval metrics`: what there is to write in a case file."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add(commands: Any) -> None:
    """Declare the commands."""
    schema = commands.add_parser("schema", help="print the JSON Schema of *.edit.yaml files, for an editor")
    schema.set_defaults(run=_schema)
    metrics = commands.add_parser("metrics", help="list the metrics: direction, pipe, usual scope, what they measure")
    metrics.set_defaults(run=_metrics)


def _schema(_: argparse.Namespace) -> int:
    from pytest_editeval.case_schema import case_file_schema

    print(json.dumps(case_file_schema(), indent=2))
    return 0


def _metrics(_: argparse.Namespace) -> int:
    from pytest_editeval.registry import broken_metrics, metrics
    from pytest_editeval.reports.layout import Screen

    rows = [("metric", "better", "pipe", "scope", "measures")]
    for spec in metrics().values():
        better = "higher" if spec.higher_is_better else "lower"
        rows.append((spec.name, better, spec.pipe_name, spec.scope or "whole image", spec.summary))
    print("\n".join(Screen.of_stream(sys.stdout).table(rows)))
    for problem in broken_metrics().values():
        print(problem, file=sys.stderr)
    return 0
