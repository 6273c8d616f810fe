"""The terminal summary: a table per metric, soft failures by reason, what was encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from pytest_editeval.reports.text import number, table
from pytest_editeval.results import (
    FEATURES_REMEMBERED,
    SCORES_COMPUTED,
    SCORES_REMEMBERED,
    CheckResult,
    Outcome,
)

HEADINGS = ("metric", "", "checks", "pass", "fail", "soft", "error", "median", "worst (case)")


def summary_lines(results: Sequence[CheckResult], counts: Mapping[str, int]) -> list[str]:
    """The section "edit scores", without its title."""
    by_metric: dict[str, list[CheckResult]] = {}
    for result in results:
        by_metric.setdefault(result.metric, []).append(result)
    rows = [HEADINGS, *(_row(metric, group) for metric, group in sorted(by_metric.items()))]
    lines = table(rows, right=range(2, len(HEADINGS) - 1))
    reasons = Counter(result.reason for result in results if result.outcome is Outcome.SOFT_FAILURE)
    if reasons:
        counted = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        lines.append(f"soft failures: {counted}   (details: -rx)")
    if counts:
        lines.append(_work(counts))
    return lines


def _work(counts: Mapping[str, int]) -> str:
    """What the store had, and what had to be done."""
    had = {name: counts.get(name, 0) for name in (SCORES_COMPUTED, SCORES_REMEMBERED, FEATURES_REMEMBERED)}
    families = [f"{count} × {what}" for what, count in sorted(counts.items()) if what not in had and count]
    line = f"scores: {had[SCORES_COMPUTED]} computed, {had[SCORES_REMEMBERED]} remembered"
    if had[SCORES_COMPUTED]:
        remembered = had[FEATURES_REMEMBERED]
        line += f" · images and objects: {', '.join(families) or '0'} encoded, {remembered} remembered"
    return line


def _row(metric: str, group: Sequence[CheckResult]) -> tuple[str, ...]:
    outcomes = Counter(result.outcome for result in group)
    higher = group[0].higher_is_better
    # Controls are made to score badly: they would stand for the worst of every table.
    scored = [result for result in group if result.margin is not None and result.expect == "pass"]
    counts = [outcomes[outcome] for outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.SOFT_FAILURE, Outcome.ERROR)]
    middle, worst = "-", "-"
    if scored:
        middle = number(median(result.score for result in scored if result.score is not None))
        bad = min(scored, key=lambda result: (result.score or 0.0) * (1 if higher else -1))
        worst = f"{number(bad.score or 0.0)} {bad.case}"
    return (metric, "↑" if higher else "↓", str(len(group)), *map(str, counts), middle, worst)
