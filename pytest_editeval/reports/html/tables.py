"""The tables of a page's overview: metrics, tasks, soft failures, with what the scores were measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_editeval.escapes import cut, visible
from pytest_editeval.gating.manifests import models_of
from pytest_editeval.reports.gates import deciding_slice, gate_bounds, gate_title, gate_value
from pytest_editeval.reports.html.charts import Distribution, Interval, distribution, interval
from pytest_editeval.reports.standing import worst_first
from pytest_editeval.reports.text import number
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome

NO_TASK = "no task"
SLOWEST_SHOWN = 5
MODEL_LENGTH = 600  # characters of what is known of a model
_GROUPS = (Outcome.ERROR, Outcome.FAILED, Outcome.SOFT_FAILURE, Outcome.PASSED)


@dataclass(frozen=True)
class MetricRow:
    """A metric of one candidate: how its checks ended, and its scores without those of checks that must fail."""

    metric: str
    candidate: str | None
    higher_is_better: bool
    checks: int
    counts: Mapping[Outcome, int]
    median: str
    worst: CheckResult | None
    thresholds: str
    distribution: Distribution | None

    @property
    def worst_score(self) -> str:
        """Its number."""
        return "" if self.worst is None or self.worst.score is None else number(self.worst.score)


@dataclass(frozen=True)
class SliceRow:
    """What a gate found in one slice, in words and as a picture."""

    passed: bool
    label: str
    value: str
    bounds: str
    scored: int
    soft: int
    reason: str
    interval: Interval | None


@dataclass(frozen=True)
class GateRow:
    """A gate, where it is written, and its slices: of one that passes the deciding one, else those that fail."""

    title: str
    place: str
    passed: bool
    slices: tuple[SliceRow, ...]
    others: int


@dataclass(frozen=True)
class TaskCell:
    """The checks of one task under one metric."""

    passed: int
    judged: int
    soft: int


@dataclass(frozen=True)
class SoftRow:
    """A reason why metrics could not be computed, and the checks it was met in."""

    reason: str
    results: tuple[CheckResult, ...]


def metric_table(results: Sequence[CheckResult]) -> list[MetricRow]:
    """A row for each metric and candidate. `results` are without controls."""
    groups: dict[tuple[str, str], list[CheckResult]] = {}
    for result in results:
        groups.setdefault((result.metric, result.candidate or ""), []).append(result)
    return [_metric_row(group) for _, group in sorted(groups.items())]


def _metric_row(group: Sequence[CheckResult]) -> MetricRow:
    first = group[0]
    usual = [result for result in group if result.expect == "pass" and result.has_score and result.score is not None]
    scores = [result.score for result in usual if result.score is not None]
    limits = sorted({result.threshold for result in group})
    sign = "≥" if first.higher_is_better else "≤"
    span = number(limits[0]) if len(limits) == 1 else f"{number(limits[0])} to {number(limits[-1])}"
    return MetricRow(
        metric=first.metric,
        candidate=first.candidate,
        higher_is_better=first.higher_is_better,
        checks=len(group),
        counts=Counter(result.outcome for result in group),
        median=number(median(scores)) if scores else "",
        worst=(min if first.higher_is_better else max)(usual, key=lambda result: result.score or 0.0, default=None),
        thresholds=f"{sign} {span}",
        distribution=distribution(group),
    )


def gate_table(gates: Sequence[GateResult]) -> list[GateRow]:
    """A row for each gate, those that fail first."""
    return [_gate_row(gate) for gate in sorted(gates, key=lambda gate: gate.passed)]


def _gate_row(gate: GateResult) -> GateRow:
    decides = deciding_slice(gate)
    chosen = [part for part in gate.slices if not part.passed] or ([decides] if decides else [])
    shown = tuple(_slice_row(gate, part) for part in chosen)
    return GateRow(gate_title(gate), gate.place, gate.passed, shown, len(gate.slices) - len(shown))


def _slice_row(gate: GateResult, part: GateSlice) -> SliceRow:
    value, bounds = gate_value(gate, part), ", ".join(gate_bounds(gate, part))
    return SliceRow(
        part.passed, part.label, value, bounds, part.scored, part.soft, part.reason or "", interval(gate, part)
    )


def task_table(results: Sequence[CheckResult]) -> tuple[list[str], dict[str, dict[str, TaskCell]]]:
    """The metrics, and for each task (`NO_TASK` last) a cell for each metric it has checks of."""
    metrics = sorted({result.metric for result in results})
    groups: dict[str, dict[str, list[CheckResult]]] = {}
    for result in sorted(results, key=lambda result: (result.task is None, result.task or "")):
        groups.setdefault(visible(result.task or NO_TASK), {}).setdefault(result.metric, []).append(result)
    return metrics, {
        task: {metric: _task_cell(group) for metric, group in by_metric.items()} for task, by_metric in groups.items()
    }


def _task_cell(group: Sequence[CheckResult]) -> TaskCell:
    counts = Counter(result.outcome for result in group)
    soft = counts[Outcome.SOFT_FAILURE]
    return TaskCell(passed=counts[Outcome.PASSED], judged=len(group) - soft, soft=soft)


def soft_table(results: Sequence[CheckResult]) -> list[SoftRow]:
    """A row for each reason, the most frequent first."""
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        if result.outcome is Outcome.SOFT_FAILURE:
            groups.setdefault(result.reason or "", []).append(result)
    rows = [SoftRow(reason, tuple(group)) for reason, group in groups.items()]
    return sorted(rows, key=lambda row: -len(row.results))


def slowest(results: Sequence[CheckResult]) -> list[CheckResult]:
    """The checks that took longest; the first ones of a run wait for the models."""
    return sorted(results, key=lambda result: -result.duration)[:SLOWEST_SHOWN]


def measured_with(results: Sequence[CheckResult]) -> list[tuple[str, str]]:
    """Profile, device, the versions of what the numbers depend on, and each metric's checkpoints and what they are."""
    facts = [
        ("profile", _joined(result.profile for result in results)),
        ("device", _joined(result.device for result in results)),
        ("checks", f"{len(results):,}, {sum(result.remembered for result in results):,} of them remembered"),
        ("time of the checks", f"{sum(result.duration for result in results):.1f} s"),
    ]
    versions: dict[str, set[str]] = {}
    fingerprints: dict[str, set[str]] = {}
    for result in results:
        for name, version in result.versions.items():
            versions.setdefault(name, set()).add(str(version))
        if result.fingerprint:
            fingerprints.setdefault(result.fingerprint, set()).add(result.metric)
    facts += [(name, _joined(found)) for name, found in versions.items()]
    facts += [(f"checkpoints of {_joined(names)}", fingerprint) for fingerprint, names in fingerprints.items()]
    facts += [
        (f"{part} of {_joined(names)}", cut(told, MODEL_LENGTH)) for (part, told), names in models_of(results).items()
    ]
    return [(visible(name), visible(value)) for name, value in facts]


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def in_order_of_trouble(results: Sequence[CheckResult]) -> dict[str, int]:
    """The rank of each check by its node id.

    What could not be scored comes first, then what fails, soft failures, and the rest by how near to failing it came.
    """

    def group(result: CheckResult) -> int:
        return _GROUPS.index(result.outcome)

    ranked: list[CheckResult] = []
    for index in range(len(_GROUPS)):
        ranked += worst_first([result for result in results if group(result) == index])
    return {result.node_id: rank for rank, result in enumerate(ranked)}
