"""What `noise` and `models drift` score: the checks of case files, and the edits of each."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.commands.reading import add_max_pixels, add_root_only, confinement_of, limit_pixels_of

if TYPE_CHECKING:
    from pytest_editeval.candidates import Candidate, Edit, Variant
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.profiles import Profile
    from pytest_editeval.suites import Suite, SuiteCheck


@dataclass(frozen=True)
class EditedCheck:
    """A check, and the edits that it scores: one, or one per seed."""

    check: SuiteCheck
    variant: Variant
    edits: tuple[Edit, ...]

    @property
    def node_id(self) -> str:
        """As a run of pytest in the working directory names it."""
        file = self.check.label.split("::", 1)[0]
        return f"{file}::{self.variant.name(self.check.case)}::{self.check.metric}"

    def label(self, edit: Edit) -> str:
        """What an edit of the check is called."""
        return f"{self.check.label}, seed {edit.seed}" if self.check.case.repeat else self.check.label


def add_suite(parser: Any) -> None:
    """Declare the case files and the models that score them."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="case files, or directories of them")
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="configuration file (default: the embedded profile)"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--lock", metavar="FILE", type=Path, help="stop unless the checkpoints are those of a lock file"
    )
    parser.add_argument("--candidate", metavar="NAME=DIR", help="measure the edits of a candidate, not the files' own")
    add_root_only(parser)
    add_max_pixels(parser)


def read_suite(args: argparse.Namespace) -> tuple[Profile, Suite, Confinement | None]:
    """What `add_suite` declares: the profile, the checks, and where they may read."""
    from pytest_editeval.suites import find_case_files, load_suite

    profile, confinement = read_profile(args)
    return profile, load_suite(find_case_files(args.paths), profile, confinement), confinement


def read_profile(args: argparse.Namespace) -> tuple[Profile, Confinement | None]:
    """The profile of the command line, as its lock file has it, and where its files may read."""
    from pytest_editeval.config import load_profile
    from pytest_editeval.device import check_device
    from pytest_editeval.scoring.locking import check_lock

    check_device(args.device)
    limit_pixels_of(args)
    confinement = confinement_of(args)
    profile = load_profile(args.config, confinement)
    if args.lock is not None:
        check_lock(args.lock, profile)
    return profile, confinement


def edited_checks(
    checks: Iterable[SuiteCheck], args: argparse.Namespace, confinement: Confinement | None, *, controls: bool
) -> Iterator[EditedCheck]:
    """The checks with the edits of the candidate, or their own; with `controls` those of ``controls: auto`` as well."""
    from pytest_editeval.candidates import EditFinder, variants

    candidate = _candidate(args.candidate)
    finder = EditFinder(Path.cwd(), confinement)
    for check in checks:
        for variant in variants(check.case, () if candidate is None else (candidate,)):
            if variant.control is None:
                yield EditedCheck(check, variant, finder.edits(check.case, variant.candidate))
            elif controls:
                yield EditedCheck(check, variant, (_control(check, variant.control),))


def why_none(edit: Edit) -> str:
    """Why an edit has no image."""
    return edit.problem or "the case names no edited image; give --candidate"


def _candidate(text: str | None) -> Candidate | None:
    from pytest_editeval.candidates import read_candidate
    from pytest_editeval.errors import EditEvalError

    candidate = None if text is None else read_candidate(text, Path.cwd())
    if candidate is not None and candidate.directory is None:
        raise EditEvalError(f"--candidate {candidate.name}: say where its edits are: {candidate.name}=DIR")
    return candidate


def _control(check: SuiteCheck, control: str) -> Edit:
    from pytest_editeval.candidates import SEED, Edit
    from pytest_editeval.controls import controls

    return Edit(SEED, controls(check.case, check.resolved)[control])
