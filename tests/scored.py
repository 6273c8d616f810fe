"""Results of checks for tests: what is not said is filled in."""

from __future__ import annotations

from typing import Any

from pytest_editeval.gating.verdicts import judge
from pytest_editeval.results import CheckResult, Score, SoftFailure

USUAL: dict[str, Any] = {
    "file": "cases/a.edit.yaml",
    "line": 3,
    "case": "red_scarf",
    "candidate": None,
    "control": None,
    "metric": "emd",
    "metric_version": 1,
    "instruction": "Make the scarf red.",
    "task": None,
    "tags": (),
    "source": "cases/source.png",
    "edited": "cases/edited.png",
    "source_size": (96, 96),
    "edited_size": (96, 96),
    "source_digest": "5" * 16,
    "edited_digest": None,
    "scope": "unedit_area",
    "coords": ((20.0, 20.0, 80.0, 80.0),),
    "parameters": {"patch_mask_threshold": 0.1},
    "expect": "pass",
    "threshold": 4.0,
    "higher_is_better": False,
    "score": 3.0,
    "reason": None,
    "detail": None,
    "quota": None,
    "repeats": (),
    "covered_by": None,
    "baseline": None,
    "tolerance": None,
    "noise": None,
    "profile": "embedded",
    "fingerprint": "f" * 16,
    "device": "cpu",
    "versions": {"torch": "2.9.0"},
    "duration": 0.1,
    "details": {},
}


def result(*, soft: SoftFailure | None = None, **overrides: Any) -> CheckResult:
    """A result; node id, margin and outcome belong to the rest where they are not said."""
    values = USUAL | overrides
    candidate = f"[{values['candidate']}]" if values["candidate"] else ""
    values.setdefault("node_id", f"{values['file']}::{values['case']}{candidate}::{values['metric']}")
    if soft is not None:
        values |= {"reason": str(soft.reason), "detail": soft.detail}
    score = Score(values["metric"], values["score"], soft)
    verdict = judge(score, values["threshold"], values["higher_is_better"], values["expect"])
    return CheckResult(**{"margin": verdict.margin, "outcome": verdict.outcome, **values})
