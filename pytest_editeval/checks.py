"""Edit cases and their checks as plain data, and how a profile completes a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_editeval.derived import Bands
from pytest_editeval.errors import CaseError, ConfigError, Position
from pytest_editeval.gate_rules import Gate
from pytest_editeval.locations import Location
from pytest_editeval.profiles import MetricSettings, Profile
from pytest_editeval.registry import Box, Color, Scope, metrics

Expect = Literal["pass", "fail"]


@dataclass(frozen=True)
class CheckSpec:
    """How one metric judges a case, as the file says it; `resolve_check` completes it from the profile.

    `coords` are the check's own boxes, else the case's; empty where there are `pairs` of (source box, edited box).
    `scope` counts only with `scope_given`: ``scope: null`` and no `scope` differ. `position` is the metric's key.
    """

    metric: str
    threshold: float | Mapping[str, float]
    scope: Scope | None
    scope_given: bool
    coords: tuple[Box, ...]
    pairs: tuple[tuple[Box, Box], ...] | None
    patch_mask_threshold: float | None
    bg_color: Color | None
    expect: Expect
    tolerance: float | None
    position: Position
    threshold_position: Position


@dataclass(frozen=True)
class RepeatSpec:
    """How many of the edits of a case, one per seed, have to pass."""

    quota: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class BrokenCheck:
    """A check with mistakes, in the place of the `CheckSpec`."""

    name: str
    errors: tuple[CaseError, ...]


@dataclass(frozen=True)
class EditCase:
    """One edit and its checks. `source` and `edited` are absolute paths or URLs; `_text` is what the file says.

    `edited` is `None` where candidates or a model make the edits. It and `edited_pattern`, which says where they lie in
    a candidate's directory, may hold ``{seed}`` when there is a `repeat`. `controls`: whether the edits that every
    threshold must tell from a good one, nothing done and destroyed, are scored too. With `bands` the source is derived
    from its file, and so are the edits, when they are found (`pytest_editeval.candidates`).
    """

    id: str
    instruction: str
    task: str | None
    tags: tuple[str, ...]
    source: Location
    edited: Location | None
    source_text: str
    edited_text: str | None
    source_position: Position
    edited_position: Position
    coords: tuple[Box, ...]
    expect: Expect
    edited_pattern: str | None
    repeat: RepeatSpec | None
    controls: bool
    checks: tuple[CheckSpec | BrokenCheck, ...]
    position: Position
    path: Path
    bands: Bands | None = None


@dataclass(frozen=True)
class BrokenCase:
    """A case with mistakes, in the place of the `EditCase`; `name` is its id, or ``case[2]`` (counted from 0)."""

    name: str
    errors: tuple[CaseError, ...]


@dataclass(frozen=True)
class CaseFile:
    """A file of edit cases, and the gates over its checks."""

    path: Path
    cases: tuple[EditCase | BrokenCase, ...]
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class ResolvedCheck:
    """A check with nothing left open. `coords` of an object metric are the source's boxes, then the edited image's."""

    check: CheckSpec
    settings: MetricSettings
    threshold: float
    scope: Scope | None
    coords: tuple[Box, ...]
    patch_mask_threshold: float
    bg_color: Color

    @property
    def parameters(self) -> dict[str, Any]:
        """The runtime parameters that the metric reads, as plain data."""
        values = {"patch_mask_threshold": self.patch_mask_threshold, "bg_color": list(self.bg_color)}
        return {name: values[name] for name in metrics()[self.check.metric].parameters}


def resolve_check(case: EditCase, check: CheckSpec, profile: Profile) -> ResolvedCheck:
    """Complete a check: what it leaves open is the profile's for the metric. Raises a `CaseError`."""
    try:
        settings = profile.settings(check.metric)
    except ConfigError as error:
        raise CaseError(check.position, f"{error.message}, which case {case.id!r} needs", error.hint) from None
    scope = check.scope if check.scope_given else settings.scope
    coords = check.coords
    if check.pairs is not None:
        coords = (*(source for source, _ in check.pairs), *(edited for _, edited in check.pairs))
    if scope is not None and not coords:
        boxes = "'coords' or 'pairs'" if metrics()[check.metric].inputs == "objects" else "'coords'"
        message = f"metric {check.metric!r} in case {case.id!r} has the scope {scope}, but no boxes"
        raise CaseError(check.position, message, f"add {boxes}, or 'scope: null' for the whole image")
    threshold = check.patch_mask_threshold
    return ResolvedCheck(
        check=check,
        settings=settings,
        threshold=threshold_for(check, profile, case.id),
        scope=scope,
        coords=coords,
        patch_mask_threshold=settings.patch_mask_threshold if threshold is None else threshold,
        bg_color=settings.bg_color if check.bg_color is None else check.bg_color,
    )


def threshold_for(check: CheckSpec, profile: Profile, case_id: str) -> float:
    """The threshold under a profile; a `CaseError` names the profiles that the check has one for."""
    if not isinstance(check.threshold, Mapping):
        return check.threshold
    if profile.name in check.threshold:
        return check.threshold[profile.name]
    message = f"metric {check.metric!r} in case {case_id!r} has no threshold for profile {profile.name!r}"
    raise CaseError(check.threshold_position, message, f"it has thresholds for: {', '.join(sorted(check.threshold))}")
