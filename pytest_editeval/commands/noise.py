"""`editeval noise`: what changes that do no harm do to the scores of a suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.edits import add_suite, read_suite
from pytest_editeval.statuses import CHECKS_FAILED

if TYPE_CHECKING:
    from pytest_editeval.commands.disturbed import Edit
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.gating.noise import MetricNoise
    from pytest_editeval.suites import Suite


def add(commands: Any) -> None:
    """Declare the command."""
    noise = commands.add_parser("noise", help="measure what harmless changes of an image do to each metric")
    add_suite(noise)
    noise.add_argument("--output", metavar="FILE", type=Path, help="write the noise file, for `pytest` and `lint`")
    noise.set_defaults(run=_noise)


def _noise(args: argparse.Namespace) -> int:
    from pytest_editeval.commands.disturbed import measure_noise
    from pytest_editeval.errors import EditEvalError, display_path
    from pytest_editeval.escapes import visible
    from pytest_editeval.gating.noise import NoiseFloor, write_noise

    if args.output is not None and (args.output.is_dir() or not args.output.parent.is_dir()):
        raise EditEvalError(f"--output {display_path(args.output)}: that is a directory, or lies in none")
    profile, suite, confinement = read_suite(args)
    if suite.mistakes:
        print("\n".join(map(str, suite.mistakes)))
        return CHECKS_FAILED
    edits, left_out, controls = _edits(suite, args, confinement)
    measured = measure_noise(profile, args.device, edits)
    left_out += measured.left_out
    if measured.metrics:
        print("\n".join(_table(measured.metrics)))
    for line in measured.notes:
        print(visible(line))
    if controls:
        print(f"controls (expect: fail), not measured: {controls}")
    if left_out:
        print(f"left out: {len(left_out)}", *map(visible, left_out), sep="\n  ")
    if not measured.metrics:
        raise EditEvalError(f"no score could be measured: {len(suite.checks)} checks in the case files")
    if args.output is not None:
        write_noise(args.output, NoiseFloor(args.output, profile.name, measured.metrics))
        print(f"written: {display_path(args.output)}")
    return 0


def _edits(
    suite: Suite, args: argparse.Namespace, confinement: Confinement | None
) -> tuple[list[Edit], list[str], int]:
    """The edits whose scores are measured, a line for each that there is none of, and how many checks are controls."""
    from pytest_editeval.commands.disturbed import Edit
    from pytest_editeval.commands.edits import edited_checks, why_none

    checks = [check for check in suite.checks if check.resolved.check.expect == "pass"]
    edits: list[Edit] = []
    left_out: list[str] = []
    for one in edited_checks(checks, args, confinement, controls=False):
        for edit in one.edits:
            if edit.location is None:
                left_out.append(f"{one.label(edit)}: {why_none(edit)}")
            else:
                edits.append(Edit(one.label(edit), one.check.resolved, one.check.case.source, edit.location))
    return edits, left_out, len(suite.checks) - len(checks)


def _table(metrics: dict[str, MetricNoise]) -> list[str]:
    from pytest_editeval.commands.disturbed import DISTURBANCES
    from pytest_editeval.reports.layout import Screen
    from pytest_editeval.reports.text import number

    rows = [("metric", "checks", *DISTURBANCES, "noise")]
    for name, metric in metrics.items():
        values = [metric.disturbances[disturbance] for disturbance in DISTURBANCES]
        shown = ["-" if value is None else number(value) for value in values]
        rows.append((name, str(metric.checks), *shown, number(metric.noise)))
    return Screen.of_stream(sys.stdout).table(rows, right=range(1, len(rows[0])))
