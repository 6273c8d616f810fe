"""`editeval calibrate`: thresholds from the scores of good and bad edits, or of accepted ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.reading import add_root_only, confinement_of
from pytest_editeval.errors import EditEvalError, display_path

if TYPE_CHECKING:
    from pytest_editeval.checks import CheckSpec, EditCase
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.gating.calibrate import Proposal
    from pytest_editeval.gating.calibration_groups import Groups


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("calibrate", help="propose thresholds from scored edits, and write them into cases")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="results files, of one profile")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="which edits are good and which bad; else all are good"
    )
    parser.add_argument(
        "--false-alarm",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="of the good edits, that a threshold may reject (default 0.05)",
    )
    parser.add_argument("--cases", nargs="+", type=Path, metavar="PATH", help="case files, or directories of them")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the configuration whose profile the runs must have"
    )
    parser.add_argument("--candidate", metavar="NAME", help="only the edits of this candidate")
    parser.add_argument("--by", choices=("task",), help="a threshold for each task")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write the ROC curves and distributions as PNGs")
    parser.add_argument("--write", action="store_true", help="write the thresholds into the case files")
    add_root_only(parser)
    parser.set_defaults(run=_calibrate)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be a share between 0 and 1, such as 0.05, found {text!r}")
    return share


def _calibrate(arguments: argparse.Namespace) -> int:
    from pytest_editeval.gating.calibrate import propose
    from pytest_editeval.gating.calibration_groups import group_scores
    from pytest_editeval.gating.labels import read_labels
    from pytest_editeval.reports.calibration import calibration_lines
    from pytest_editeval.reports.calibration_plots import write_plots
    from pytest_editeval.reports.layout import Screen
    from pytest_editeval.reports.plotting import Pictures
    from pytest_editeval.results_file import read_runs
    from pytest_editeval.suites import find_case_files

    if arguments.write and not arguments.cases:
        raise EditEvalError("--write needs --cases: the case files to write the thresholds into")
    files = None if arguments.cases is None else find_case_files(arguments.cases)
    pictures = None if arguments.plots is None else Pictures(arguments.plots, "--plots")
    labels = None if arguments.labels is None else read_labels(arguments.labels)
    groups = group_scores(
        read_runs(arguments.runs), labels, candidate=arguments.candidate, by_task=arguments.by == "task"
    )
    _check_profile(arguments.config, groups.profile, confinement_of(arguments))
    proposals = [
        propose(group, arguments.false_alarm, has_labels=groups.has_labels) for group in groups.groups.values()
    ]
    edited = None if files is None else _edited(files, groups, proposals)
    print("\n".join(calibration_lines(groups, proposals, arguments.false_alarm, Screen.of_stream(sys.stdout))))
    print()
    if pictures is not None:
        for path in write_plots(pictures, groups, proposals):
            print(f"wrote {display_path(path)}")
    if edited is None:
        print("no case files were named (--cases), so that nothing can be written")
    else:
        _finish(*edited, arguments.write)
    return 0


def _check_profile(config: Path | None, profile: str, confinement: Confinement | None) -> None:
    from pytest_editeval.config import load_profile

    if config is not None and (name := load_profile(config, confinement).name) != profile:
        raise EditEvalError(f"the runs are of profile {profile!r}, --config {display_path(config)} is {name!r}")


def _edited(
    files: Sequence[Path], groups: Groups, proposals: Sequence[Proposal]
) -> tuple[dict[Path, tuple[bytes, bytes]], list[str]]:
    """The old and the new content of every file, and what to say of it."""
    from pytest_editeval.reports.calibration import title
    from pytest_editeval.threshold_edits import edit_thresholds

    new = {
        (proposal.group.metric, proposal.group.task): proposal
        for proposal in proposals
        if proposal.threshold is not None
    }
    met: set[tuple[str, str | None]] = set()
    notes: dict[str, None] = {}

    def wanted(case: EditCase, check: CheckSpec) -> float | None:
        key = (check.metric, case.task if groups.by_task else None)
        if key not in new:
            return None
        met.add(key)
        scopes = new[key].group.scopes
        if check.scope_given and check.scope not in scopes:
            found = ", ".join(sorted(scope or "the whole image" for scope in scopes))
            of = check.scope or "the whole image"
            notes[f"{check.threshold_position}: left as it is: its scope is {of}, the scores are of {found}"] = None
            return None
        return new[key].threshold

    edited = {}
    for path in files:
        try:
            old = path.read_bytes()
        except OSError as error:
            raise EditEvalError(f"{display_path(path)}: cannot be read: {error.strerror or error}") from None
        edited[path] = old, edit_thresholds(old, path, groups.profile, wanted)
    unmet = [title(new[key].group, groups.by_task) for key in sorted(new.keys() - met, key=str)]
    return edited, [*notes, *(f"no check in the case files: {name}" for name in unmet)]


def _finish(edited: Mapping[Path, tuple[bytes, bytes]], notes: Sequence[str], write: bool) -> None:
    """Print the diff, and write the files if that is asked for."""
    from pytest_editeval.threshold_edits import unified_diff, write_files

    changed = {path: contents for path, contents in edited.items() if contents[0] != contents[1]}
    for path, (old, new) in changed.items():
        print("\n".join(unified_diff(path, old, new)))
    print("".join(f"{note}\n" for note in notes), end="")
    counted = f"{len(changed)} of {len(edited)} case files"
    if not changed:
        print(f"no threshold in the {len(edited)} case files would change")
    elif write:
        write_files({path: new for path, (_, new) in changed.items()})
        print(f"\nwrote {counted}")
    else:
        print(f"\n{counted} would change; nothing is written without --write")
