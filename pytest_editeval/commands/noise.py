"""`editeval noise`: what changes that do no harm do to the scores of a suite."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.reading import add_max_pixels, add_root_only, confinement_of, limit_pixels_of
from pytest_editeval.statuses import CHECKS_FAILED

if TYPE_CHECKING:
    from pytest_editeval.commands.disturbed import Edit
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.gating.noise import MetricNoise
    from pytest_editeval.suites import SuiteCheck


def add(commands: Any) -> None:
    """Declare the command."""
    noise = commands.add_parser("noise", help="measure what harmless changes of an image do to each metric")
    noise.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="case files, or directories of them")
    noise.add_argument("--config", metavar="FILE", type=Path, help="configuration file (default: the embedded profile)")
    noise.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    noise.add_argument("--lock", metavar="FILE", type=Path, help="stop unless the checkpoints are those of a lock file")
    noise.add_argument("--output", metavar="FILE", type=Path, help="write the noise file, for `pytest` and `lint`")
    noise.add_argument("--candidate", metavar="NAME=DIR", help="measure the edits of a candidate, not the files' own")
    add_root_only(noise)
    add_max_pixels(noise)
    noise.set_defaults(run=_noise)


def _noise(args: argparse.Namespace) -> int:
    from pytest_editeval.commands.disturbed import measure_noise
    from pytest_editeval.config import load_profile
    from pytest_editeval.device import check_device
    from pytest_editeval.errors import EditEvalError, display_path
    from pytest_editeval.escapes import visible
    from pytest_editeval.gating.noise import NoiseFloor, write_noise
    from pytest_editeval.scoring.locking import check_lock
    from pytest_editeval.suites import find_case_files, load_suite

    check_device(args.device)
    if args.output is not None and (args.output.is_dir() or not args.output.parent.is_dir()):
        raise EditEvalError(f"--output {display_path(args.output)}: that is a directory, or lies in none")
    limit_pixels_of(args)
    confinement = confinement_of(args)
    profile = load_profile(args.config, confinement)
    if args.lock is not None:
        check_lock(args.lock, profile)
    suite = load_suite(find_case_files(args.paths), profile, confinement)
    if suite.mistakes:
        print("\n".join(map(str, suite.mistakes)))
        return CHECKS_FAILED
    checks = [check for check in suite.checks if check.resolved.check.expect == "pass"]
    edits, left_out = _edits(checks, args.candidate, confinement)
    measured = measure_noise(profile, args.device, edits)
    left_out += measured.left_out
    if measured.metrics:
        print("\n".join(_table(measured.metrics)))
    for line in measured.notes:
        print(visible(line))
    if controls := len(suite.checks) - len(checks):
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
    checks: Sequence[SuiteCheck], candidate_text: str | None, confinement: Confinement | None
) -> tuple[list[Edit], list[str]]:
    """The edits whose scores are measured, and a line for each that there is none of."""
    from pytest_editeval.candidates import EditFinder, read_candidate
    from pytest_editeval.commands.disturbed import Edit
    from pytest_editeval.errors import EditEvalError

    candidate = None if candidate_text is None else read_candidate(candidate_text, Path.cwd())
    if candidate is not None and candidate.directory is None:
        raise EditEvalError(f"--candidate {candidate.name}: say where its edits are: {candidate.name}=DIR")
    finder = EditFinder(Path.cwd(), confinement)
    edits: list[Edit] = []
    left_out: list[str] = []
    for check in checks:
        for edit in finder.edits(check.case, candidate):
            label = f"{check.label}, seed {edit.seed}" if check.case.repeat else check.label
            if edit.location is None:
                left_out.append(f"{label}: {edit.problem or 'the case names no edited image; give --candidate'}")
            else:
                edits.append(Edit(label, check.resolved, check.case.source, edit.location))
    return edits, left_out


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
