"""`editeval gate`: stored scores judged again, with the thresholds and gates as they are written now."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.partial import add_allow_partial, say_partial
from pytest_editeval.commands.reading import add_root_only, confinement_of
from pytest_editeval.errors import EditEvalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_editeval.errors import CaseError
    from pytest_editeval.gating.baseline import Baseline
    from pytest_editeval.gating.suite import JudgedSuite
    from pytest_editeval.profiles import Profile
    from pytest_editeval.results import CheckResult


def add(commands: Any) -> None:
    """Declare the command."""
    gate = commands.add_parser("gate", help="judge stored scores again, by thresholds and gates as they are now")
    gate.add_argument("results", type=Path, metavar="RESULTS", help="results file (--editeval-results)")
    gate.add_argument(
        "--cases",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="case files, or directories of them; every check in them must have a score (default: the files that the "
        "results name)",
    )
    gate.add_argument("--config", type=Path, metavar="FILE", help="configuration that the results were scored with")
    gate.add_argument("--baseline", type=Path, metavar="FILE", help="baseline for tolerances and gates")
    gate.add_argument("--candidate", metavar="NAME", help="judge only this candidate")
    gate.add_argument(
        "--soft-failures", choices=("xfail", "fail"), default="xfail", help="what a soft failure is (default: xfail)"
    )
    gate.add_argument("--allow-mismatch", action="store_true", help="take a baseline that was not measured alike")
    add_allow_partial(gate)
    gate.add_argument("--output", type=Path, metavar="FILE", help="results file to write with the new verdicts")
    gate.add_argument("--markdown", type=Path, metavar="FILE", help="summary to write, in Markdown")
    add_root_only(gate)
    gate.set_defaults(run=_gate)


def _gate(arguments: argparse.Namespace) -> int:
    from pytest_editeval.config import load_profile
    from pytest_editeval.gating.matching import files_of
    from pytest_editeval.gating.rows import candidates_of, check_candidate
    from pytest_editeval.gating.suite import judge_suite
    from pytest_editeval.results_file import check_results_path, read_results
    from pytest_editeval.statuses import CHECKS_FAILED
    from pytest_editeval.suites import find_case_files, load_suite

    if arguments.output is not None:
        check_results_path(arguments.output, "--output")
    rows = read_results(arguments.results, partial=say_partial([arguments.results], arguments))
    if arguments.candidate is not None:
        check_candidate(arguments.candidate, candidates_of(rows), str(arguments.results))
    confinement = confinement_of(arguments)
    profile = load_profile(arguments.config, confinement)
    _check_profile(rows, profile, str(arguments.results))
    files = find_case_files(arguments.cases) if arguments.cases else files_of(rows, confinement)
    written = load_suite(files, profile, confinement)
    if written.mistakes:
        print("\n".join(map(str, written.mistakes)))
        print(f"nothing judged: mistakes in case files: {len(written.mistakes):,}")
        if arguments.markdown is not None:
            _write_markdown(arguments, None, written.mistakes)
        return CHECKS_FAILED
    suite = judge_suite(rows, written, profile, _baseline(arguments, rows, profile))
    if arguments.candidate is not None:
        suite = suite.of(arguments.candidate)
    if arguments.output is not None:
        _write(arguments.output, suite.checks.results)
    if arguments.markdown is not None:
        _write_markdown(arguments, suite, ())
    return _reported(suite, arguments.soft_failures)


def _reported(suite: JudgedSuite, soft_failures: str) -> int:
    """Print the verdicts; returns the exit status."""
    from pytest_editeval.reports.gates import gate_lines
    from pytest_editeval.reports.judged_again import count_line, failing, failing_lines, notice_lines
    from pytest_editeval.reports.layout import Screen
    from pytest_editeval.statuses import CHECKS_FAILED, GATE_FAILED, NOTHING_SCORED

    checks = suite.checks
    stops = failing(checks.results, soft_failures)
    lines = [*failing_lines(stops, checks.missing), *notice_lines(checks)]
    if suite.gates:
        lines += gate_lines(suite.gates, Screen.of_stream(sys.stdout))
    print("\n".join([*lines, count_line(checks, suite.gates)]))
    if stops or checks.missing:
        return CHECKS_FAILED
    if not any(result.control is None and result.has_score for result in checks.results):
        return NOTHING_SCORED
    return 0 if all(gate.passed for gate in suite.gates) else GATE_FAILED


def _check_profile(rows: Sequence[CheckResult], profile: Profile, name: str) -> None:
    from pytest_editeval.gating.rows import profile_of

    found = profile_of(rows, name)
    if found != profile.name:
        cure = "--config names the configuration that it was scored with"
        raise EditEvalError(f"{name} was scored with profile {found!r}, not {profile.name!r}; {cure}")


def _baseline(arguments: argparse.Namespace, rows: Sequence[CheckResult], profile: Profile) -> Baseline | None:
    """The baseline that was named; refused unless it was measured as the rows were."""
    from pytest_editeval.errors import display_path
    from pytest_editeval.gating.baseline import check_alike
    from pytest_editeval.gating.baseline_file import read_baseline
    from pytest_editeval.gating.identities import identities_of
    from pytest_editeval.gating.rows import sort_out

    if arguments.baseline is None:
        return None
    baseline = read_baseline(arguments.baseline)
    identities = identities_of(sort_out(rows).scored, display_path(arguments.results))
    names = (display_path(baseline.path), display_path(arguments.results))
    for line in check_alike(baseline, profile.name, identities, names, arguments.allow_mismatch):
        print(line)
    return baseline


def _write(path: Path, results: Sequence[CheckResult]) -> None:
    from pytest_editeval.results_file import write_results

    try:
        write_results(path, results)
    except OSError as error:
        raise EditEvalError(f"--output {path}: {error.strerror or error}") from None
    print(f"results: {path} ({len(results):,} rows)")


def _write_markdown(arguments: argparse.Namespace, suite: JudgedSuite | None, mistakes: Sequence[CaseError]) -> None:
    from pytest_editeval.reports.markdown import markdown, write_markdown
    from pytest_editeval.reports.verdict import RunNotes

    notes = RunNotes(
        mistakes=mistakes,
        not_run=[] if suite is None else [check.node_id for check in suite.checks.missing],
        files={"results": str(arguments.output or arguments.results)},
        soft_fail=arguments.soft_failures == "fail",
    )
    text = markdown((), (), notes) if suite is None else markdown(suite.checks.results, suite.gates, notes)
    try:
        write_markdown(arguments.markdown, text)
    except OSError as error:
        raise EditEvalError(f"--markdown {arguments.markdown}: {error.strerror or error}") from None
    print(f"summary: {arguments.markdown}")
