"""`editeval report`: the page of stored results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.partial import say_partial
from pytest_editeval.commands.reading import add_max_pixels, add_root_only, confinement_of, limit_pixels_of
from pytest_editeval.errors import EditEvalError, display_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_editeval.confinement import Confinement
    from pytest_editeval.profiles import Profile
    from pytest_editeval.results import CheckResult, GateResult


def add(commands: Any) -> None:
    """Declare the command."""
    report = commands.add_parser("report", help="write the page of stored results: where each edit went wrong")
    report.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="results files (--editeval-results)")
    report.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    report.add_argument(
        "--images", choices=("embed", "link"), default="embed", help="into the page (default), or by their paths"
    )
    report.add_argument(
        "--size", default="512", metavar="PIXELS", help="longer side of embedded images, or full (default: 512)"
    )
    report.add_argument(
        "--root", type=Path, metavar="DIR", help="where the run was started, if not here: images are looked for in it"
    )
    report.add_argument("--config", type=Path, metavar="FILE", help="configuration of the run, for its gates")
    report.add_argument(
        "--cases", type=Path, nargs="+", metavar="PATH", help="where the case files are now, for their gates"
    )
    report.add_argument("--no-gates", action="store_true", help="leave the gates out")
    add_root_only(report)
    add_max_pixels(report)
    report.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    from pytest_editeval.reports.html.page import PageSettings, check_can_render, page_lines, write_page
    from pytest_editeval.reports.html.pictures import parse_side
    from pytest_editeval.reports.verdict import RunNotes

    check_can_render("editeval report")
    limit_pixels_of(arguments)
    roots = (Path(), *([] if arguments.root is None else [arguments.root]))
    confinement = confinement_of(arguments, [*roots[1:], *(path.parent for path in arguments.results)])
    settings = PageSettings(arguments.images, parse_side(arguments.size), roots, confinement)
    say_partial(arguments.results)
    results = _read(arguments.results)
    gates, why_not = (
        ([], None) if arguments.no_gates else _gates(results, arguments.config, arguments.cases, confinement)
    )
    files = {"results": ", ".join(map(display_path, arguments.results))}
    notes = RunNotes(gates_not_judged=why_not, files=files)
    try:
        written = write_page(arguments.output, results, gates, notes, settings)
    except OSError as error:
        raise EditEvalError(f"--output {arguments.output}: {error.strerror or error}") from None
    if why_not:
        print(f"gates were not judged: {why_not}")
    print("\n".join(page_lines(arguments.output, written)))
    return 0


def _read(paths: Sequence[Path]) -> list[CheckResult]:
    """The rows of all files; an `EditEvalError` for a check that two of them have."""
    from pytest_editeval.results_file import read_results

    found: dict[str, tuple[CheckResult, Path]] = {}
    for path in paths:
        for result in read_results(path, partial=True):
            _, first = found.setdefault(result.node_id, (result, path))
            if first != path:
                cure = "results of one page are of different candidates"
                raise EditEvalError(f"{display_path(path)}: {result.node_id!r} is in {display_path(first)} too; {cure}")
    return [result for result, _ in found.values()]


def _gates(
    results: Sequence[CheckResult], config: Path | None, cases: Sequence[Path] | None, confinement: Confinement | None
) -> tuple[list[GateResult], str | None]:
    """The gates as they are written now, judged on these results, and why there are none where that cannot be done.

    What was named has to be right; that results have travelled without their case files is no mistake.
    """
    from pytest_editeval.config import load_profile

    profile = load_profile(config, confinement)
    try:
        return _judged(results, profile, cases, confinement), None
    except EditEvalError as error:
        if config is not None or cases is not None:
            raise
        return [], str(error).splitlines()[0]


def _judged(
    results: Sequence[CheckResult], profile: Profile, cases: Sequence[Path] | None, confinement: Confinement | None
) -> list[GateResult]:
    from pytest_editeval.gating.evaluate import judge_gates
    from pytest_editeval.gating.matching import files_of
    from pytest_editeval.gating.rows import profile_of
    from pytest_editeval.suites import find_case_files, load_suite

    found = profile_of(results, "results")
    if found != profile.name:
        raise EditEvalError(f"the checks were scored with profile {found!r}; --config names its configuration")
    files = files_of(results, confinement) if cases is None else find_case_files(cases)
    written = load_suite(files, profile, confinement)
    if written.mistakes:
        raise EditEvalError(f"mistakes in case files: {len(written.mistakes):,}, the first is {written.mistakes[0]}")
    checks = [result for result in results if result.control is None]
    before: Mapping[str, float | None] = {row.key: row.baseline for row in checks if row.baseline is not None}
    return judge_gates((*profile.gates, *written.gates), checks, profile.name, before or None, ())
