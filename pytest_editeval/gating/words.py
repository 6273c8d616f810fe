"""Gates in words: the rule that a report prints, and the name in a node id."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_editeval.gate_rules import PASS_RATE, SOFT_FAILURE_RATE, Gate
from pytest_editeval.registry import get_metric

_IN_A_SLUG = str.maketrans({"[": "(", "]": ")"})


def higher_is_better(gate: Gate) -> bool:
    """The direction of what the gate holds against its number; of a comparison, that is the worsening."""
    if gate.versus is not None or gate.statistic == SOFT_FAILURE_RATE:
        return False
    return gate.statistic == PASS_RATE or get_metric(gate.metric or "").higher_is_better


def rule(gate: Gate, threshold: float) -> str:
    """`p10 sam_clip_cls_sim ≥ 0.7 by task`."""
    sign = "≥" if higher_is_better(gate) else "≤"
    of = "" if gate.metric is None else f" of {gate.metric}"
    if gate.versus is not None:
        worse = "-" if get_metric(gate.metric or "").higher_is_better else "+"
        text = f"{gate.metric} no worse than {gate.versus}" + (f" {worse} {threshold:g}" if threshold else "")
    elif gate.statistic == PASS_RATE:
        text = f"pass rate{of} {sign} {100 * threshold:g} %"
    elif gate.statistic == SOFT_FAILURE_RATE:
        text = f"soft failures {sign} {100 * threshold:g} %{of}"
    else:
        text = f"{gate.statistic} {gate.metric} {sign} {threshold:g}"
    by = f" by {gate.by}" if gate.by else ""
    return text + by + (f" ({', '.join(_where(gate))})" if gate.where else "")


def slugs(gates: Sequence[Gate]) -> list[str]:
    """A name for each gate, unique in its file: its own, or its words; a number is added where it is taken."""
    taken: set[tuple[object, str]] = set()
    found = []
    for gate in gates:
        slug = plain = title(gate).replace("::", ":").translate(_IN_A_SLUG)
        number = 1
        while (gate.position.path, slug) in taken:
            number += 1
            slug = f"{plain} {number}"
        taken.add((gate.position.path, slug))
        found.append(slug)
    return found


def title(gate: Gate) -> str:
    """What reports call the gate: its name, else statistic, metric and slice."""
    if gate.name is not None:
        return gate.name
    what = [gate.metric, "versus", gate.versus] if gate.versus is not None else [gate.statistic, gate.metric]
    by = ["by", gate.by] if gate.by else []
    return " ".join(word for word in (*what, *by, *_where(gate)) if word)


def _where(gate: Gate) -> list[str]:
    return [f"{key}={value}" for key, value in gate.where]


def many(count: int, noun: str) -> str:
    """`1 check`, `2 checks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
