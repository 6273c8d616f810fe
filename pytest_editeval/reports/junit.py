"""Properties for JUnit: of each test case, and of the suite."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from pytest_editeval.digests import LIBRARIES
from pytest_editeval.escapes import visible
from pytest_editeval.results import CheckResult, Outcome

PACKAGES = ("pytest-editeval", *LIBRARIES)


def case_properties(result: CheckResult) -> list[tuple[str, str]]:
    """What a test case of a check carries; values that do not exist are left out, and so are images where it passed."""
    values = {
        "metric": result.metric,
        "case": result.case,
        "candidate": result.candidate,
        "control": result.control,
        "profile": result.profile,
        "score": result.score,
        "threshold": result.threshold,
        "direction": "higher_is_better" if result.higher_is_better else "lower_is_better",
        "margin": result.margin,
        "expect": result.expect,
        "outcome": result.outcome,
        "reason": result.reason,
        "quota": f"{result.quota} of {len(result.repeats)}" if result.repeats else None,
        "scores": ", ".join(str(repeat.score) for repeat in result.repeats) or None,
        "covered_by": result.covered_by,
        "baseline": result.baseline,
        "worsening": result.worsening,
        "noise": result.noise,
        "within_noise": result.within_noise or None,
        "fingerprint": result.fingerprint,
        **({} if result.outcome is Outcome.PASSED else {"source": result.source, "edited": result.edited or None}),
    }
    return [(name, visible(str(value))) for name, value in values.items() if value is not None]


def suite_properties(results: Sequence[CheckResult]) -> dict[str, str]:
    """Versions and devices behind the results."""
    properties = {"profile": _joined(results, "profile"), "device": _joined(results, "device")}
    properties["python"] = platform.python_version()
    for package in PACKAGES:
        try:
            properties[package] = version(package)
        except PackageNotFoundError:
            continue
    return properties


def _joined(results: Sequence[CheckResult], name: str) -> str:
    return visible(", ".join(sorted({str(getattr(result, name)) for result in results})))
