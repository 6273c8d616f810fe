"""The terminal summary: a table per metric, soft failures by reason, what was encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from pytest_editeval.candidates import DESTROYED
from pytest_editeval.reports.text import number, table
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.statuses import EDITS_MADE, FEATURES_REMEMBERED, SCORES_COMPUTED, SCORES_REMEMBERED

NAMES_SHOWN = 5
HEADINGS = ("metric", "", "checks", "pass", "fail", "soft", "error", "median", "worst (case)")


def summary_lines(results: Sequence[CheckResult], counts: Mapping[str, int]) -> list[str]:
    """The section "edit scores", without its title. Controls are counted by themselves."""
    controls = [result for result in results if result.control is not None]
    results = [result for result in results if result.control is None]
    lines = table([HEADINGS, *metric_rows(results)], right=range(2, len(HEADINGS) - 1))
    reasons = Counter(result.reason for result in results if result.outcome is Outcome.SOFT_FAILURE)
    if reasons:
        counted = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        lines.append(f"soft failures: {counted}   (details: -rx)")
    lines += _spreads(results)
    lines += [line for line in (_covered(results), _baseline(results), _noise(results), _controls(controls)) if line]
    if counts:
        lines.append(_work(counts))
    return lines


def metric_rows(results: Sequence[CheckResult]) -> list[tuple[str, ...]]:
    """A row of text per metric and candidate, under `HEADINGS`."""
    by_metric: dict[str, list[CheckResult]] = {}
    for result in results:
        name = f"{result.metric}[{result.candidate}]" if result.candidate else result.metric
        by_metric.setdefault(name, []).append(result)
    return [_row(metric, group) for metric, group in sorted(by_metric.items())]


def _spreads(results: Sequence[CheckResult]) -> list[str]:
    """Of checks of several edits, a line per metric: how far their scores lie apart, and where most."""
    by_metric: dict[str, list[tuple[float, CheckResult]]] = {}
    for result in results:
        scores = _scores(result)
        if len(scores) > 1:
            by_metric.setdefault(result.metric, []).append((max(scores.values()) - min(scores.values()), result))
    lines = []
    for metric, found in sorted(by_metric.items()):
        middle = number(median(spread for spread, _ in found))
        _, widest = max(found, key=lambda one: one[0])
        scores = _scores(widest)
        low, high = min(scores.values()), max(scores.values())
        worst = (min if widest.higher_is_better else max)(scores, key=scores.__getitem__)
        named = widest.node_id.split("::", 1)[1].rpartition("::")[0]
        lines.append(
            f"spread over seeds, {metric}: median {middle} of {len(found)} checks; widest {named}: "
            f"{number(low)} to {number(high)}, worst seed {worst}"
        )
    return lines


def _scores(result: CheckResult) -> dict[int, float]:
    return {one.seed: one.score for one in result.repeats if one.score is not None and one.reason is None}


def _covered(results: Sequence[CheckResult]) -> str | None:
    covered = Counter(result.covered_by for result in results if result.covered_by is not None)
    named = ", ".join(f"{count} × {gate}" for gate, count in covered.most_common())
    return f"below their threshold, which a gate decides: {named}" if covered else None


def _baseline(results: Sequence[CheckResult]) -> str | None:
    results = [result for result in results if result.expect == "pass"]
    changes = [result.worsening for result in results if result.worsening is not None]
    if not changes:
        return None
    worse, better = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    line = f"against the baseline: {better} better, {worse} worse, {len(changes) - worse - better} equal"
    missing = len(results) - len(changes)
    return line + (f", {missing} not comparable" if missing else "")


def _noise(results: Sequence[CheckResult]) -> str | None:
    within = [result for result in results if result.within_noise]
    named = ", ".join(result.node_id.split("::", 1)[1] for result in within[:NAMES_SHOWN])
    more = " ..." if len(within) > NAMES_SHOWN else ""
    return f"verdicts within noise: {len(within)} of {len(results)}: {named}{more}" if within else None


def _controls(controls: Sequence[CheckResult]) -> str | None:
    if not controls:
        return None
    soft = sum(result.outcome is Outcome.SOFT_FAILURE for result in controls)
    toothless = [result for result in controls if result.outcome is Outcome.FAILED]
    named = ", ".join(result.key.split("::", 1)[1] for result in toothless[:NAMES_SHOWN])
    found = f"{len(toothless)} thresholds are passed by {DESTROYED}: {named}" if toothless else "all thresholds hold"
    untold = f", {soft} soft failures" if soft else ""
    return f"controls: {len(controls) - soft} scored{untold}; {found}   (editeval lint)"


def _work(counts: Mapping[str, int]) -> str:
    """What the store had, and what had to be done."""
    had = {name: counts.get(name, 0) for name in (SCORES_COMPUTED, SCORES_REMEMBERED, FEATURES_REMEMBERED)}
    others = (*had, EDITS_MADE)
    families = [f"{count} × {what}" for what, count in sorted(counts.items()) if what not in others and count]
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
