"""Results of checks for what chooses thresholds: judged as a run judges them."""

from __future__ import annotations

from typing import Any

import results
from pytest_editeval.gating.verdicts import settled
from pytest_editeval.results import CheckResult, Outcome, SoftFailure

USUAL: dict[str, Any] = {
    "file": "cases/a.edit.yaml",
    "case": "red_scarf",
    "edited_digest": None,  # so that no two edits are the same
    "scope": "unedit_area",
    "coords": ((20.0, 20.0, 80.0, 80.0),),
    "parameters": {"patch_mask_threshold": 0.1},
    "threshold": 4.0,
    "score": 3.0,
    "profile": "embedded",
    "fingerprint": "f" * 16,
}


def result(*, soft: SoftFailure | None = None, **overrides: Any) -> CheckResult:
    """A check of `emd`, or what the overrides make of it; `soft` is why it has no score."""
    values = USUAL | overrides
    if soft is not None:
        values |= {"reason": str(soft.reason), "detail": soft.detail, "outcome": Outcome.SOFT_FAILURE}
    found = results.result(**values)
    return found if "outcome" in overrides else settled(found)
