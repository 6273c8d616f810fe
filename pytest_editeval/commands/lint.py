"""`editeval lint`: thresholds that mean nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.edits import read_profile
from pytest_editeval.commands.reading import add_max_pixels, add_root_only
from pytest_editeval.results import MetricIdentity
from pytest_editeval.statuses import CHECKS_FAILED

if TYPE_CHECKING:
    from pytest_editeval.gating.lint import Linted
    from pytest_editeval.profiles import Profile
    from pytest_editeval.suites import Suite

STORE = Path(".pytest_cache", "d", "editeval")
"""Where a run of pytest in this directory remembers scores."""


def add(commands: Any) -> None:
    """Declare the command."""
    lint = commands.add_parser("lint", help="find thresholds that catch nothing, or that noise decides")
    lint.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="case files, or directories of them")
    lint.add_argument("--config", metavar="FILE", type=Path, help="configuration file (default: the embedded profile)")
    lint.add_argument("--results", metavar="RUN", type=Path, help="results with controls, in place of scoring them")
    lint.add_argument("--noise", metavar="FILE", type=Path, help="noise file of `editeval noise`")
    lint.add_argument(
        "--ignore",
        metavar="KIND",
        action="append",
        default=[],
        choices=("range", "destroyed", "nothing-done", "noise"),
        help="leave out findings of this kind, and count them: range, destroyed, nothing-done or noise (repeatable)",
    )
    lint.add_argument("--lock", metavar="FILE", type=Path, help="stop unless the checkpoints are those of a lock file")
    lint.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_root_only(lint)
    add_max_pixels(lint)
    lint.set_defaults(run=_lint)


def _lint(args: argparse.Namespace) -> int:
    from pytest_editeval.errors import EditEvalError
    from pytest_editeval.gating.lint import lint
    from pytest_editeval.gating.noise import mismatches, read_noise
    from pytest_editeval.reports.lint import finding_line, not_told
    from pytest_editeval.suites import find_case_files, load_suite

    profile, confinement = read_profile(args)
    floor = read_noise(args.noise) if args.noise is not None else None
    if floor is not None and (wrong := mismatches(floor, profile.name, {})):
        raise EditEvalError("; ".join(wrong))
    files = find_case_files(args.paths)
    suite = load_suite(files, profile, confinement)
    if args.results is not None:
        checks, identities = _from_results(args.results, suite, profile)
    else:
        checks, identities = _scored(suite, profile, args.device)
    if floor is not None and (wrong := mismatches(floor, profile.name, identities)):
        raise EditEvalError("; ".join(wrong))
    found, untold = lint(checks, floor), not_told(checks)
    findings = [finding for finding in found if finding.rule.kind not in args.ignore]
    unmeasured = sorted({one.check.metric for one in checks} - floor.metrics.keys()) if floor is not None else []
    missing = (f"{metric}: the noise file has no noise of it" for metric in unmeasured)
    for line in (*map(str, suite.mistakes), *map(finding_line, findings), *untold, *missing):
        print(line)
    counts = f"{len(findings)} findings in {len(checks)} checks of {len(files)} files"
    counts += f" ({len(found) - len(findings)} ignored)" if len(found) > len(findings) else ""
    print(f"lint: {counts}, {len(untold)} checks not told, {len(suite.mistakes)} mistakes in case files")
    return CHECKS_FAILED if findings or suite.mistakes else 0


def _from_results(path: Path, suite: Suite, profile: Profile) -> tuple[list[Linted], dict[str, MetricIdentity]]:
    from pytest_editeval.gating.control_rows import linted_from
    from pytest_editeval.gating.identities import identities_of
    from pytest_editeval.results_file import read_results

    results = read_results(path)
    measured = (row for row in results if row.fingerprint is not None)
    return linted_from(suite.checks, results, profile.name), identities_of(measured, str(path))


def _scored(suite: Suite, profile: Profile, device: str) -> tuple[list[Linted], dict[str, MetricIdentity]]:
    from pytest_editeval.commands.controlled import score_controls
    from pytest_editeval.scoring.store import Store
    from pytest_editeval.scoring.suite import identities, open_editeval

    with open_editeval(profile, device, store=Store(STORE) if STORE.is_dir() else None) as editeval:
        checks = score_controls(editeval, suite.checks)
        return checks, identities(editeval, [check.metric for check in suite.checks])
