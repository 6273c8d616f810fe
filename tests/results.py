"""Results of checks for tests of what reads them, without scoring anything."""

from __future__ import annotations

from typing import Any

from pytest_editeval.registry import metrics
from pytest_editeval.results import CheckResult, Outcome, Reason


def result(**overrides: Any) -> CheckResult:
    """A check of `emd` that passed, or what the overrides make of it; whatever else follows from them is filled in.

    `node_id`, `higher_is_better`, `margin` and, where a score is given, `outcome` follow from the others; a soft
    failure and an error have no score.
    """
    fields: dict[str, Any] = {
        "file": "a.edit.yaml",
        "case": "one",
        "candidate": None,
        "metric": "emd",
        "threshold": 5.0,
    }
    fields |= overrides
    metric, candidate = fields["metric"], fields["candidate"]
    higher = metrics()[metric].higher_is_better if metric in metrics() else True
    higher = fields.setdefault("higher_is_better", higher)
    scored = fields.get("outcome") not in (Outcome.SOFT_FAILURE, Outcome.ERROR)
    score = fields.setdefault("score", 4.0 if scored else None)
    margin = None
    if scored and score is not None:
        margin = score - fields["threshold"] if higher else fields["threshold"] - score
    good = margin is not None and (margin >= 0 if fields.get("expect", "pass") == "pass" else margin < 0)
    soft = fields.get("outcome") is Outcome.SOFT_FAILURE
    case = fields["case"] if candidate is None else f"{fields['case']}[{candidate}]"
    defaults: dict[str, Any] = {
        "node_id": f"{fields['file']}::{case}::{metric}",
        "line": 3,
        "control": None,
        "metric_version": 1,
        "instruction": "Do it.",
        "task": None,
        "tags": (),
        "source": "source.png",
        "edited": "edited.png",
        "source_size": (96, 96),
        "edited_size": (96, 96),
        "source_digest": "0" * 16,
        "edited_digest": "1" * 16,
        "scope": None,
        "coords": (),
        "parameters": {},
        "expect": "pass",
        "margin": margin,
        "outcome": Outcome.PASSED if good else Outcome.FAILED,
        "reason": str(Reason.NO_PATCH_SELECTED) if soft else None,
        "detail": "no patch is selected" if soft else None,
        "quota": None,
        "repeats": (),
        "covered_by": None,
        "baseline": None,
        "tolerance": None,
        "noise": None,
        "within_noise": False,
        "profile": "tiny",
        "fingerprint": "f" * 12,
        "device": "cpu",
        "versions": {},
        "models": {},
        "duration": 0.1,
        "remembered": False,
    }
    return CheckResult(**(defaults | fields))


def scores(*values: float, **overrides: Any) -> list[CheckResult]:
    """A check for each score, of cases `c0`, `c1`, ..."""
    return [result(case=f"c{index}", score=value, **overrides) for index, value in enumerate(values)]
