"""Candidates: models under test, by name, and where their edits of a case lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_editeval.checks import EditCase
from pytest_editeval.confinement import Confinement
from pytest_editeval.derived import Derived
from pytest_editeval.errors import CaseError, EditEvalError, display_path
from pytest_editeval.locations import Location, display, is_url, locate

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NOTHING_DONE, DESTROYED = CONTROLS = ("nothing-done", "destroyed")
SEED = 0  # of a case without `repeat`

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_STEMS = ("{id}", "{path}/{id}")
_SEED_STEMS = ("{seed}/{id}", "{id}/{seed}", "{path}/{seed}/{id}", "{path}/{id}/{seed}")


@dataclass(frozen=True)
class Candidate:
    """A model under test. `directory` is a path or a URL; without one, its edits are made in the run."""

    name: str
    directory: Path | str | None  # a string is a URL


@dataclass(frozen=True)
class Edit:
    """One edited image of a case. Without a `location` it is still to be made; `problem` says why there is none."""

    seed: int
    location: Location | None
    problem: str | None = None


@dataclass(frozen=True)
class Variant:
    """Whose edits of a case are scored: a candidate's, a control's, or, with neither, the case's own."""

    candidate: Candidate | None = None
    control: str | None = None

    def name(self, case: EditCase) -> str:
        """The name of the case's node."""
        label = self.control or (self.candidate.name if self.candidate else None)
        return f"{case.id}[{label}]" if label else case.id


OF_THE_CASE = Variant()


def variants(case: EditCase, candidates: Sequence[Candidate]) -> Iterator[Variant]:
    """The candidates, and the controls where the case asks for them.

    A case that is a control itself has neither: its edit is a known bad one, whatever model is under test.
    """
    own = case.expect == "fail" and case.edited is not None
    if own or not candidates:
        yield OF_THE_CASE
    else:
        yield from map(Variant, candidates)
    if case.controls and case.expect == "pass":
        yield from (Variant(control=control) for control in CONTROLS)


def read_candidate(text: str, directory: Path) -> Candidate:
    """``v2=outputs/v2`` (relative to `directory`), or ``v2`` alone; an `EditEvalError` says what is allowed."""
    name, equals, place = text.partition("=")
    if not _NAME.fullmatch(name) or name in CONTROLS:
        why = "that is a control" if name in CONTROLS else "a name is letters, digits, '_', '-' and '.'"
        raise EditEvalError(f"candidate {text!r}: {why}; write NAME=DIR, or NAME for edits that are made in the run")
    if not equals:
        return Candidate(name, None)
    location = locate(place.strip(), directory)
    if not place.strip() or (isinstance(location, Path) and not location.is_dir()):
        raise EditEvalError(f"candidate {name!r}: {place.strip() or 'nothing'} is no directory")
    return Candidate(name, location)


def read_candidates(texts: list[str], directory: Path) -> tuple[Candidate, ...]:
    """The candidates of a run; a name may be given once."""
    found: dict[str, Candidate] = {}
    for text in texts:
        candidate = read_candidate(text, directory)
        if found.setdefault(candidate.name, candidate) is not candidate:
            raise EditEvalError(f"candidate {candidate.name!r} is given twice")
    return tuple(found.values())


def seeds_of(case: EditCase) -> tuple[int, ...]:
    """Of the edits of a case, one or more."""
    return case.repeat.seeds if case.repeat else (SEED,)


def path_name(case: EditCase, root: Path) -> str:
    """The path of the case's file from `root`, without its endings, as ``{path}`` stands for."""
    path = Path(os.path.normpath(case.path.absolute()))
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return re.sub(r"(\.edit)?\.ya?ml$", "", relative.as_posix())


class EditFinder:
    """Finds the edits of cases; directories are listed once. ``{path}`` is the case file's path from `root`."""

    def __init__(self, root: Path, confinement: Confinement | None = None) -> None:
        self._root = root
        self._confinement = confinement
        self._listed: dict[Path, frozenset[str]] = {}
        self._found_for: dict[Location, EditCase] = {}

    def edits(self, case: EditCase, candidate: Candidate | None) -> tuple[Edit, ...]:
        """The edits of a case, one per seed: the file's own without a candidate. Raises a `CaseError`."""
        edits = self._files(case, candidate)
        if case.bands is None or not isinstance(case.source, Derived):
            return edits
        bands = case.bands.of_edits(case.source.base)
        return tuple(
            one if one.location is None else replace(one, location=Derived(one.location, bands)) for one in edits
        )

    def _files(self, case: EditCase, candidate: Candidate | None) -> tuple[Edit, ...]:
        if candidate is None:
            if case.repeat is None or case.edited is None:
                return tuple(Edit(seed, case.edited) for seed in seeds_of(case))
            return tuple(Edit(seed, _of_seed(str(case.edited), seed)) for seed in seeds_of(case))
        if candidate.directory is None:
            return tuple(Edit(seed, None) for seed in seeds_of(case))
        if case.repeat and case.edited_pattern is not None and "{seed}" not in case.edited_pattern:
            message = f"'edited_pattern' in case {case.id!r} needs {{seed}}, because of 'repeat'"
            raise CaseError(case.position, message)
        return tuple(self._find(case, candidate.directory, seed) for seed in seeds_of(case))

    def _find(self, case: EditCase, directory: Path | str, seed: int) -> Edit:
        stems = (case.edited_pattern,) if case.edited_pattern else _SEED_STEMS if case.repeat else _STEMS
        path = path_name(case, self._root)
        values = {"id": case.id, "seed": str(seed), "task": case.task or "", "path": path, "file": Path(path).name}
        texts = [re.sub(r"\{(\w+)\}", lambda found: values[found[1]], stem) for stem in stems]
        if isinstance(directory, str):
            # Listing a bucket costs more than it tells; what is not there is said when it is read.
            if self._confinement is not None and ("::" in texts[0] or ".." in texts[0].split("/")):
                return Edit(seed, None, f"image {texts[0]!r} leads out of {display(directory)}")
            name = texts[0] if _suffix(texts[0]) else f"{texts[0]}.png"
            return self._confined(Edit(seed, f"{directory.rstrip('/')}/{name}"), case, None)
        found = [path for text in texts for path in self._existing(directory, text)]
        if not found:
            tried = display(directory / (texts[0] if _suffix(texts[0]) else f"{texts[0]}.png"))
            others = "" if _suffix(texts[0]) else f" (nor {', '.join(SUFFIXES[1:])})"
            return Edit(seed, None, f"image not found: {tried}{others}")
        if len(found) > 1:
            return Edit(seed, None, f"image is ambiguous: {' and '.join(display(path) for path in found)}")
        first = self._found_for.setdefault(found[0], case)
        if (first.path, first.id) != (case.path, case.id):
            other = f"{display_path(first.path)}::{first.id}"
            cure = "set 'edited_pattern', for instance '{path}/{id}'"
            return Edit(seed, None, f"image {display(found[0])} is the edit of {other} already; {cure}")
        return self._confined(Edit(seed, found[0]), case, directory)

    def _confined(self, edit: Edit, case: EditCase, directory: Path | None) -> Edit:
        """The edit, or why there is none: it is outside of the candidate's directory and of what its case may read."""
        if self._confinement is None or edit.location is None or isinstance(edit.location, Derived):
            return edit
        refusal = self._confinement.refusal(edit.location, case.path, directory)
        return edit if refusal is None else Edit(edit.seed, None, f"image {refusal}")

    def _existing(self, directory: Path, text: str) -> list[Path]:
        path = Path(os.path.normpath(directory / text))
        names = [path.name] if _suffix(text) else [f"{path.name}{suffix}" for suffix in SUFFIXES]
        listed = self._listing(path.parent)
        return [path.parent / name for name in names if name in listed]

    def _listing(self, directory: Path) -> frozenset[str]:
        if directory not in self._listed:
            try:
                self._listed[directory] = frozenset(os.listdir(directory))  # noqa: PTH208  (names are all it takes)
            except OSError:
                self._listed[directory] = frozenset()
        return self._listed[directory]


def _of_seed(place: str, seed: int) -> Location:
    text = place.replace("{seed}", str(seed))
    return text if is_url(text) else Path(text)


def _suffix(text: str) -> bool:
    return text.lower().endswith(SUFFIXES)
