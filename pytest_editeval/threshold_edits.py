"""Thresholds written into case files, where they stand: nothing but the numbers changes."""

from __future__ import annotations

import difflib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_editeval.cases import cases_of
from pytest_editeval.checks import BrokenCase, BrokenCheck, CaseFile, CheckSpec, EditCase
from pytest_editeval.errors import CaseError, EditEvalError, display_path
from pytest_editeval.validation import dotted
from pytest_editeval.yaml_builder import Node
from pytest_editeval.yaml_edits import TextEdits, number_text
from pytest_editeval.yamlfile import DataPath, Document, parse_yaml

Wanted = Callable[[EditCase, CheckSpec], float | None]
"""The new threshold of a check, `None` where it stays as it is."""

_MISSING = object()


@dataclass(frozen=True)
class _Use:
    """A check, and what its threshold for the profile is written in.

    `node`, at `path`, is the number, or with `added` the mapping that lacks an entry for the profile.
    """

    case: EditCase
    check: CheckSpec
    path: DataPath
    node: Node
    added: bool
    wanted: float | None


def edit_thresholds(content: bytes, path: Path, profile: str, wanted: Wanted) -> bytes:
    """The content of the case file at `path` with new thresholds for a profile.

    A plain number, which holds for every profile, is replaced; in a mapping the profile's entry is replaced or added. A
    number that checks share (`defaults`, aliases, merge keys) is changed once. Raises a `CaseError` for a file with
    mistakes, for checks that share a number and want different ones, and where anything else would change.
    """
    document = parse_yaml(content, path, CaseError)
    uses = list(_uses(document, profile, wanted))
    changes = {id(use.node): use for use in _one_per_place(document, uses) if _differs(use, profile)}
    if not changes:
        return content
    edits = TextEdits(content)
    for use in changes.values():
        assert use.wanted is not None, "only uses with a wanted value come here"  # noqa: S101
        if use.node.is_mapping:
            edits.add_entry(use.node, profile, use.wanted)
        elif use.node.text is not None:
            edits.replace_number(use.node, use.wanted)
    edited = parse_yaml(edits.content(), path, CaseError)
    _check_data(document, edited, changes, profile)
    _check_thresholds(uses, edited, profile)
    return edits.content()


def checks_of(file: CaseFile) -> Iterator[tuple[int, EditCase, CheckSpec]]:
    """Every check, with the index of its case and the case; raises the first mistake that is met in the file."""
    for index, case in enumerate(file.cases):
        if isinstance(case, BrokenCase):
            raise case.errors[0]
        for check in case.checks:
            if isinstance(check, BrokenCheck):
                raise check.errors[0]
            yield index, case, check


def unified_diff(path: Path, old: bytes, new: bytes) -> Iterator[str]:
    """The lines of a diff of a case file, without line ends."""
    name = display_path(path)
    before, after = (content.decode("utf-8-sig").splitlines() for content in (old, new))
    yield from difflib.unified_diff(before, after, name, name, lineterm="")


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Replace files, each whole or not at all, and none before the content of every one is on disk; modes stay."""
    targets = {path.resolve(): content for path, content in contents.items()}  # a link stays a link
    unfinished = {target: target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp") for target in targets}
    try:
        for target, temporary in unfinished.items():
            temporary.write_bytes(targets[target])
            shutil.copymode(target, temporary)
        for target, temporary in unfinished.items():
            temporary.replace(target)
    except OSError as error:
        raise EditEvalError(f"{display_path(target)}: cannot be written: {error.strerror or error}") from None
    finally:
        for temporary in unfinished.values():
            temporary.unlink(missing_ok=True)


def _uses(document: Document, profile: str, wanted: Wanted) -> Iterator[_Use]:
    for index, case, check in checks_of(cases_of(document)):
        path, added = _place(document, index, check, profile)
        node = document.node(path)
        assert node is not None, "the check was read from this document"  # noqa: S101
        yield _Use(case, check, path, node, added, wanted(case, check))


def _place(document: Document, index: int, check: CheckSpec, profile: str) -> tuple[DataPath, bool]:
    """Where the check's number for the profile is, or the mapping it is to be added to."""
    own, default = ("cases", index, "metrics", check.metric), ("defaults", "metrics", check.metric)
    written: tuple[DataPath, ...] = ((*own, "threshold"), own, (*default, "threshold"), default)
    path = next(path for path in written if path in document and document.position(path) == check.threshold_position)
    if (node := document.node(path)) is None or not node.is_mapping:
        return path, False
    for mapping in (path, (*default, "threshold")):  # a case may leave some profiles to the defaults
        if (*mapping, profile) in document:
            return (*mapping, profile), False
    return path, True


def _one_per_place(document: Document, uses: list[_Use]) -> Iterator[_Use]:
    first: dict[int, _Use] = {}
    for use in uses:
        other = first.setdefault(id(use.node), use)
        if use.wanted != other.wanted:
            found = f"{_named(other)} ({_number(other)}) and {_named(use)} ({_number(use)}) share one threshold"
            raise CaseError(document.position(use.path), found, "write each its own threshold")
    yield from first.values()


def _differs(use: _Use, profile: str) -> bool:
    threshold = use.check.threshold
    current = threshold.get(profile) if isinstance(threshold, Mapping) else threshold
    return use.wanted is not None and (use.added or use.wanted != current)


def _named(use: _Use) -> str:
    task = f" of task {use.case.task!r}" if use.case.task else ""
    return f"metric {use.check.metric!r} in case {use.case.id!r}{task}"


def _number(use: _Use) -> str:
    return "to stay" if use.wanted is None else f"to be {number_text(use.wanted)}"


def _check_data(old: Document, new: Document, changes: Mapping[int, _Use], profile: str) -> None:
    """Refuse an edit that changes anything but thresholds of this profile, as when `coords` use the same number."""
    for path, value in _differences(old.data, new.data):
        added = path not in old
        use = changes.get(id(old.node(path[:-1] if added else path)))
        is_threshold = _is_threshold(path, profile)
        if use is None or not is_threshold or use.added != added or value != use.wanted:
            place = old.position(path if use is None else use.path)
            message = f"{dotted(path)} would change with this threshold, because both are one in the file"
            raise CaseError(place, message, "write each its own number")


def _is_threshold(path: DataPath, profile: str) -> bool:
    match path:
        case ("cases", int(), "metrics", _, *rest) | ("defaults", "metrics", _, *rest):
            return rest in ([], ["threshold"], ["threshold", profile])
    return False


def _differences(old: Any, new: Any, path: DataPath = ()) -> Iterator[tuple[DataPath, Any]]:
    """Each value that differs, with what is new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, (*path, index))
    elif old != new:
        yield path, new


def _check_thresholds(uses: list[_Use], edited: Document, profile: str) -> None:
    """Refuse an edit after which a check has not the number that it is to have."""
    for use, (_, _, check) in zip(uses, checks_of(cases_of(edited)), strict=True):
        threshold = check.threshold
        reached = threshold.get(profile) if isinstance(threshold, Mapping) else threshold
        if threshold != use.check.threshold if use.wanted is None else reached != use.wanted:
            message = f"the threshold of {_named(use)} cannot be changed without changing others"
            raise CaseError(use.check.threshold_position, message, "write each check its own threshold")
