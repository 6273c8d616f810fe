"""The terminal summary: a table per metric, soft failures by reason, what was encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from pytest_editeval.candidates import DESTROYED
from pytest_editeval.gating.seeds import OverSeeds, repeated
from pytest_editeval.reports.layout import Screen, abbreviated, shortened, table, width
from pytest_editeval.reports.seeds import case_node, seeds_lines
from pytest_editeval.reports.sparkline import sparkline
from pytest_editeval.reports.text import named, number
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.statuses import (
    EDITS_KEPT,
    EDITS_MADE,
    FEATURES_REMEMBERED,
    NOT_SAVED,
    SCORES_COMPUTED,
    SCORES_REMEMBERED,
    SOFT_RETRIED,
    SOFT_SCORED,
)

NAMES_SHOWN = 5
HEADINGS = ("metric", "", "pass", "fail", "soft", "error", "median", "better →", "worst (case)")
NUMBERS = range(2, 7)
SPARES = {"soft": Outcome.SOFT_FAILURE, "error": Outcome.ERROR}  # columns that are left out where they say nothing
SOFT_FAILURES = "soft failures"
LEAST_NAME, LEAST_WORST = 8, 16  # columns that a metric, and a score with its case, keep in a narrow terminal
WORDS = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.SOFT_FAILURE: "soft", Outcome.ERROR: "error"}


def summary_lines(results: Sequence[CheckResult], counts: Mapping[str, int], screen: Screen) -> list[str]:
    """The section "edit scores", without its title. Controls are counted by themselves."""
    controls = [result for result in results if result.control is not None]
    results = [result for result in results if result.control is None]
    seeds = repeated(results)
    facts = (
        soft_failures(results),
        _covered(results),
        _noise(results),
        *_spreads(seeds),
        _baseline(results),
        _controls(controls),
        work(counts) if counts else None,
    )
    return [
        *_table(results, screen),
        *seeds_lines(seeds, screen),
        *(line for fact in facts if fact for line in screen.wrapped(fact)),
    ]


def total(results: Sequence[CheckResult], profile: str) -> str:
    """A line for a quiet run: ``editeval: 67 checks (64 passed, 3 soft) · profile embedded``."""
    checks = [result for result in results if result.control is None]
    controls = f", {len(results) - len(checks):,} controls" if len(checks) < len(results) else ""
    counted = ", ".join(in_words(checks))
    return f"editeval: {len(checks):,} check{'' if len(checks) == 1 else 's'} ({counted}){controls} · profile {profile}"


def in_words(results: Sequence[CheckResult]) -> Iterator[str]:
    """How many checks ended how: ``62 passed``, ``3 failed (2 for a gate to decide)``."""
    counts = Counter(result.outcome for result in results)
    covered = sum(result.covered_by is not None for result in results)
    for outcome, word in WORDS.items():
        if counts[outcome] or outcome is Outcome.PASSED:
            decided = f" ({covered:,} for a gate to decide)" if outcome is Outcome.FAILED and covered else ""
            yield f"{counts[outcome]:,} {word}{decided}"


def soft_failures(results: Sequence[CheckResult]) -> str | None:
    """How many there are for each reason."""
    soft = [result for result in results if result.outcome is Outcome.SOFT_FAILURE and result.control is None]
    reasons = Counter(result.reason for result in soft)
    counted = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
    return f"{SOFT_FAILURES}: {counted} (details: -rx)" if soft else None


def _table(results: Sequence[CheckResult], screen: Screen) -> list[str]:
    groups = _by_metric(results)
    rows = [[*map(screen.text, _row(name, group))] for name, group in groups.items()]
    cases = [screen.text(bad.case) if (bad := _worst(group)) else "" for group in groups.values()]
    found = {result.outcome for result in results}
    left = [index for index, name in enumerate(HEADINGS) if SPARES.get(name) in (None, *found)]
    rows = [[row[index] for index in left] for row in (list(map(screen.text, HEADINGS)), *rows)]
    _fit(rows, [("metric", ""), *groups], ["", *cases], screen)
    return table(rows, right=[place for place, index in enumerate(left) if index in NUMBERS])


def metric_rows(results: Sequence[CheckResult]) -> list[tuple[str, ...]]:
    """A row of text per metric and candidate, under `HEADINGS`."""
    return [_row(name, group) for name, group in _by_metric(results).items()]


def _by_metric(results: Sequence[CheckResult]) -> dict[tuple[str, str], list[CheckResult]]:
    """By the metric, and the candidate in brackets."""
    groups: dict[tuple[str, str], list[CheckResult]] = {}
    for result in results:
        candidate = f"[{result.candidate}]" if result.candidate else ""
        groups.setdefault((result.metric, candidate), []).append(result)
    return dict(sorted(groups.items()))


def _fit(rows: list[list[str]], names: Sequence[tuple[str, str]], cases: Sequence[str], screen: Screen) -> None:
    """Shorten in place what is too wide for the screen: cases first, then metrics, unless two would be named alike."""
    over = max(map(width, table(rows))) - screen.columns if screen.columns is not None else 0
    if over <= 0:
        return
    name, worst = (max(width(row[column]) for row in rows) for column in (0, -1))
    room = name + worst - over
    worst = max(room - name, min(worst, LEAST_WORST))
    name = max(min(name, room - worst), LEAST_NAME)
    worst = max(room - name, LEAST_NAME)
    short = [screen.text(_short(*one, name)) for one in names]
    if len(set(short)) < len(short):
        short = [row[0] for row in rows]
    for row, metric, case in zip(rows, short, cases, strict=True):
        row[0] = metric
        if case:
            score = row[-1].removesuffix(case)
            row[-1] = screen.text(score + shortened(case, worst - width(score)))


def _short(metric: str, candidate: str, columns: int) -> str:
    room = columns - width(candidate)
    return abbreviated(metric, room) + candidate if room >= LEAST_NAME else shortened(metric + candidate, columns)


def _spreads(checks: Sequence[tuple[CheckResult, OverSeeds]]) -> list[str]:
    """Of checks of several edits, a line per metric: how far their scores lie apart, and where most."""
    by_metric: dict[str, list[tuple[float, CheckResult, OverSeeds]]] = {}
    for result, found in checks:
        if len(found.scores) > 1:
            spread = max(found.scores.values()) - min(found.scores.values())
            by_metric.setdefault(result.metric, []).append((spread, result, found))
    lines = []
    for metric, ones in sorted(by_metric.items()):
        middle = number(median(spread for spread, *_ in ones))
        _, widest, found = max(ones, key=lambda one: one[0])
        low, high = min(found.scores.values()), max(found.scores.values())
        worst = (min if widest.higher_is_better else max)(found.scores, key=found.scores.__getitem__)
        lines.append(
            f"spread over seeds, {metric}: median {middle} of {len(ones)} checks; widest {case_node(widest)}: "
            f"{number(low)} to {number(high)}, worst seed {worst}"
        )
    return lines


def _covered(results: Sequence[CheckResult]) -> str | None:
    covered = Counter(result.covered_by for result in results if result.covered_by is not None)
    counted = ", ".join(f"{count} × {gate}" for gate, count in covered.most_common())
    return f"below their threshold, which a gate decides: {counted}" if covered else None


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
    names = [result.node_id.split("::", 1)[1] for result in within]
    return f"verdicts within noise: {len(within)} of {len(results)}: {named(names, NAMES_SHOWN)}" if within else None


def _controls(controls: Sequence[CheckResult]) -> str | None:
    if not controls:
        return None
    soft = sum(result.outcome is Outcome.SOFT_FAILURE for result in controls)
    toothless = [result for result in controls if result.outcome is Outcome.FAILED]
    names = named([result.key.split("::", 1)[1] for result in toothless], NAMES_SHOWN)
    found = f"{len(toothless)} thresholds are passed by {DESTROYED}: {names}" if toothless else "all thresholds hold"
    untold = f", {soft} soft failures" if soft else ""
    return f"controls: {len(controls) - soft} scored{untold}; {found} (editeval lint)"


def work(counts: Mapping[str, int]) -> str:
    """What the store had, and what had to be done."""
    had = {name: counts.get(name, 0) for name in (SCORES_COMPUTED, SCORES_REMEMBERED, FEATURES_REMEMBERED)}
    others = (*had, EDITS_MADE, EDITS_KEPT, SOFT_RETRIED, SOFT_SCORED)
    families = [
        f"{count} × {what}"
        for what, count in sorted(counts.items())
        if what not in others and count and not what.startswith(NOT_SAVED)
    ]
    line = f"scores: {had[SCORES_COMPUTED]} computed, {had[SCORES_REMEMBERED]} remembered"
    if retried := counts.get(SOFT_RETRIED, 0):
        line += f" · soft failures retried: {retried}, with a score now: {counts.get(SOFT_SCORED, 0)}"
    if had[SCORES_COMPUTED]:
        remembered = had[FEATURES_REMEMBERED]
        line += f" · images and objects: {', '.join(families) or '0'} encoded, {remembered} remembered"
    return line


def not_saved(counts: Mapping[str, int], folder: str) -> str | None:
    """What the store could not write, and why: the next run computes it again."""
    reasons = {what.removeprefix(NOT_SAVED): count for what, count in counts.items() if what.startswith(NOT_SAVED)}
    counted = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()) if count)
    return f"the store {folder} could not be written, and remembers less: {counted}" if counted else None


def _row(name: tuple[str, str], group: Sequence[CheckResult]) -> tuple[str, ...]:
    outcomes = Counter(result.outcome for result in group)
    higher = group[0].higher_is_better
    scores = [result.score for result in _scored(group) if result.score is not None]
    thresholds = {result.threshold for result in _scored(group)}
    shared = thresholds.pop() if len(thresholds) == 1 else None
    counts = [outcomes[outcome] for outcome in (Outcome.FAILED, Outcome.SOFT_FAILURE, Outcome.ERROR)]
    bad = _worst(group)
    return (
        "".join(name),
        "↑" if higher else "↓",
        f"{outcomes[Outcome.PASSED]}/{len(group)}",
        *map(str, counts),
        number(median(scores)) if scores else "-",
        sparkline(scores, higher_is_better=higher, threshold=shared),
        f"{number(bad.score or 0.0)} {bad.case}" if bad else "-",
    )


def _scored(group: Sequence[CheckResult]) -> list[CheckResult]:
    """Controls are made to score badly: they would stand for the worst of every table."""
    return [result for result in group if result.margin is not None and result.expect == "pass"]


def _worst(group: Sequence[CheckResult]) -> CheckResult | None:
    sign = 1 if group[0].higher_is_better else -1
    return min(_scored(group), key=lambda result: sign * (result.score or 0.0), default=None)
