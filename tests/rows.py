"""Results of checks that know all about themselves, for what reads and writes them."""

from __future__ import annotations

from typing import Any

import results
from pytest_editeval.results import CheckResult

USUAL: dict[str, Any] = {
    "file": "cases/a.edit.yaml",
    "line": 14,
    "case": "red_scarf",
    "metric": "region_emd",
    "instruction": "Make the scarf red.",
    "task": "color_alter",
    "tags": ("people",),
    "source": "cases/images/source.png",
    "edited": "cases/images/edited.png",
    "source_digest": "5f" * 16,
    "edited_digest": "6a" * 16,
    "scope": "unedit_area",
    "coords": ((20.0, 20.0, 80.0, 80.0),),
    "parameters": {"patch_mask_threshold": 0.1},
    "score": 3.0,
    "fingerprint": "c1" * 16,
    "versions": {"pytest-editeval": "0.1.0"},
    "duration": 0.25,
    "details": {"patches_compared": 33, "patches_total": 49},
}


def result(**overrides: Any) -> CheckResult:
    """A check of `region_emd` that passed, or what the overrides make of it."""
    return results.result(**(USUAL | overrides))
