"""What the project depends on, and how that is looked at."""

from __future__ import annotations

import os
import re
import runpy
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
REQUIREMENTS = [*PROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
REQUIREMENTS += PROJECT["build-system"]["requires"]
OTHERS = sorted({one for one in REQUIREMENTS if not one.startswith("pytest-editeval[")})

judged = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["judged"]


def rows() -> dict[str, list[str]]:
    """CONTRIBUTING's table of dependencies: reason and licence by name."""
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Dependencies")[2].partition("\n## ")[0]
    found = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and not set(cells[0]) <= set("-"):
            names = re.sub(r"\(.*?\)", "", cells[0])
            found.update({name.strip().lower(): cells[1:] for name in names.split(",")})
    return found


@pytest.mark.parametrize("requirement", OTHERS)
def test_every_dependency_is_bounded_below_and_justified(requirement: str) -> None:
    name, bound = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(.*)", requirement).groups()  # type: ignore[union-attr]
    assert re.fullmatch(r">=[\d.]+", bound), f"{requirement} has no lower bound"
    reason, licence = rows()[name.lower()]
    assert len(reason.split()) >= 2
    assert licence


def test_pickles_are_read_by_no_torch_that_runs_their_code() -> None:
    """CVE-2026-24747 is mended in 2.10."""
    (bound,) = (one.partition(">=")[2] for one in PROJECT["project"]["dependencies"] if one.startswith("torch>="))
    assert tuple(map(int, bound.split("."))) >= (2, 10)


def test_an_audit_fails_with_a_vulnerability() -> None:
    bad = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    good = {"name": "b", "version": "1", "vulns": []}
    unknown = {"name": "c", "skip_reason": "not found"}
    assert judged([bad, good]) == (["a 1: CVE-1, fixed in 2", "pip-audit: 1 vulnerabilities in 2 packages"], 1)
    assert judged([good, unknown]) == (["pip-audit: 0 vulnerabilities in 1 packages", "not audited: 1: c"], 0)


def test_an_audit_that_reached_no_data_says_so_and_claims_nothing() -> None:
    lines, status = judged([{"name": "c", "skip_reason": "not found"}])
    assert (lines, status) == (["pip-audit: no data reachable, skipped: 1 packages not audited"], 0)


def test_what_every_submission_must_pass_looks_for_insecure_code() -> None:
    assert "security" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert {"bandit", "pip-audit"} <= {re.split(r"[\[>]", one)[0] for one in EXTRAS["dev"]}
    assert "S" in PROJECT["tool"]["ruff"]["lint"]["select"]


@pytest.mark.parametrize("path", sorted((ROOT / "pytest_editeval").rglob("*.py")), ids=lambda path: path.stem)
def test_every_exception_from_a_security_rule_has_its_reason(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        if found := re.search(r"# nosec B\d+(.*)|# noqa: S\d+(.*)", line):
            reason = (found[1] or found[2] or "").strip(" #")
            assert reason or ', "' in line, line  # an assert says it itself


@pytest.mark.parametrize(("given", "expected"), [(None, "0"), ("1", "1")])
def test_a_ray_cluster_of_ours_reports_to_nobody(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_editeval.scoring.cluster.link import RayLink
    from pytest_editeval.scoring.cluster.options import RayOptions

    seen: list[str | None] = []

    class Ray(ModuleType):
        is_initialized = staticmethod(lambda: False)
        init = staticmethod(lambda **_: seen.append(os.environ.get("RAY_USAGE_STATS_ENABLED")))
        shutdown = staticmethod(lambda: None)

    monkeypatch.setitem(sys.modules, "ray", Ray("ray"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", given or "")
    if given is None:
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    RayLink(RayOptions("local")).close()
    assert seen == [expected]
