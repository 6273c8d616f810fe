"""A factory of results, for whatever reads them."""

from __future__ import annotations

from typing import Any

from pytest_editeval.results import CheckResult, Outcome


def result(**overrides: Any) -> CheckResult:
    """A passed check; `node_id` and `margin` follow from the other columns where they are not given."""
    values: dict[str, Any] = {
        "file": "cases/a.edit.yaml",
        "line": 14,
        "case": "red_scarf",
        "candidate": None,
        "control": None,
        "metric": "region_emd",
        "metric_version": 1,
        "instruction": "Make the scarf red.",
        "task": "color_alter",
        "tags": ("people",),
        "source": "cases/images/source.png",
        "edited": "cases/images/edited.png",
        "source_size": (96, 96),
        "edited_size": (96, 96),
        "source_digest": "5f" * 16,
        "edited_digest": "6a" * 16,
        "scope": "unedit_area",
        "coords": ((20.0, 20.0, 80.0, 80.0),),
        "parameters": {"patch_mask_threshold": 0.1},
        "expect": "pass",
        "threshold": 5.0,
        "higher_is_better": False,
        "score": 3.0,
        "outcome": Outcome.PASSED,
        "reason": None,
        "detail": None,
        "quota": None,
        "repeats": (),
        "covered_by": None,
        "baseline": None,
        "tolerance": None,
        "noise": None,
        "profile": "tiny",
        "fingerprint": "c1" * 16,
        "device": "cpu",
        "versions": {"pytest-editeval": "0.1.0"},
        "duration": 0.25,
        "details": {"patches_compared": 33, "patches_total": 49},
        **overrides,
    }
    mark = f"[{values['candidate']}]" if values["candidate"] else ""
    values.setdefault("node_id", f"{values['file']}::{values['case']}{mark}::{values['metric']}")
    if "margin" not in values:
        score, threshold = values["score"], values["threshold"]
        good = values["outcome"] in (Outcome.PASSED, Outcome.FAILED) and score is not None
        values["margin"] = (score - threshold) * (1 if values["higher_is_better"] else -1) if good else None
    return CheckResult(**values)
