"""The controls of a check: edits that show both ends of its metric, nothing done and everything lost."""

from __future__ import annotations

from pytest_editeval.candidates import DESTROYED, NOTHING_DONE
from pytest_editeval.checks import EditCase, ResolvedCheck
from pytest_editeval.derived import Derived, Destroyed
from pytest_editeval.locations import Location
from pytest_editeval.registry import MASK_MODES, get_metric


def controls(case: EditCase, resolved: ResolvedCheck) -> dict[str, Location]:
    """The edits that are controls of a check, by `CheckResult.control`: the source itself, and the source destroyed.

    Destroyed is what the check looks at: the inside of its boxes (scope ``edit_area``), their outside
    (``unedit_area``), or the whole image (no scope); for an object metric, whatever its scope, the inside of the edited
    image's boxes, the second half of its `coords`.
    """
    return {NOTHING_DONE: case.source, DESTROYED: Derived(case.source, _destroyed(resolved))}


def _destroyed(resolved: ResolvedCheck) -> Destroyed:
    if get_metric(resolved.check.metric).inputs == "objects":
        return Destroyed(resolved.coords[len(resolved.coords) // 2 :], "inner")
    return Destroyed(resolved.coords, MASK_MODES[resolved.scope]) if resolved.scope else Destroyed()
