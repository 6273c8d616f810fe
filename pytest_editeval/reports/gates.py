"""Gates in words: the section of the terminal summary, and what a failing gate prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_editeval.gate_rules import RATES
from pytest_editeval.gating.verdicts import margin
from pytest_editeval.reports.text import number, table
from pytest_editeval.results import GateResult, GateSlice

SLICES_SHOWN = 10


def gate_lines(results: Sequence[GateResult]) -> list[str]:
    """The section "gates", without its title: a line per gate, and per slice where it fails."""
    if not results:
        return []
    tests = Counter(result.candidate for result in results for part in result.slices if part.p_value is not None)
    rows = [row for result in results for row in _rows(result, tests[result.candidate])]
    failed = sum(not result.passed for result in results)
    verdict = f"FAILED ({failed} of {len(results)})" if failed else f"passed ({len(results)})"
    return [*table(rows), f"release gate: {verdict}"]


def gate_message(result: GateResult) -> str:
    """One line: the rule, and what decides it."""
    part = deciding_slice(result)
    if part is None:
        return f"{gate_title(result)}: nothing to judge"
    more = sum(not other.passed for other in result.slices) - 1
    facts = [text for text in (gate_value(result, part), *_facts(result, part, None)) if text]
    return f"{gate_title(result)}: {', '.join(facts)}" + (f"; {more} more failing" if more > 0 else "")


def gate_explanation(result: GateResult) -> str:
    """What a failing gate prints: its rule, where it is written, and every slice that does not pass."""
    lines = [gate_title(result)]
    failing = [part for part in result.slices if not part.passed]
    lines += (
        table([(gate_value(result, part), ", ".join(_facts(result, part, None))) for part in failing])
        if failing
        else []
    )
    if len(result.slices) > len(failing):
        lines.append(_passing(len(result.slices) - len(failing)))
    if result.place:
        lines.append(result.place)
    return "\n".join(f"  {line}" for line in lines)


def gate_properties(result: GateResult) -> list[tuple[str, str]]:
    """What a test case of a gate carries in JUnit; of several slices the one that decides."""
    part = deciding_slice(result)
    values = {
        "gate": result.rule,
        "candidate": result.candidate,
        "metric": result.metric,
        "statistic": result.statistic or "worsening",
        "threshold": result.threshold,
        "confidence": result.confidence,
        "slice": part.label or None if part else None,
        "value": part.value if part else None,
        "bound": part.bound if part else None,
        "p_value": part.p_value if part else None,
        "scored": part.scored if part else None,
        "soft_failures": part.soft if part else None,
        "outcome": "passed" if result.passed else "failed",
    }
    return [(name, str(value)) for name, value in values.items() if value is not None]


def deciding_slice(result: GateResult) -> GateSlice | None:
    """The slice that decides: the worst of those that fail, else of all."""
    return min(result.slices, key=lambda part: (part.passed, _distance(result, part)), default=None)


def gate_value(result: GateResult, part: GateSlice) -> str:
    """What the gate found in a slice: a statistic, a rate in percent, or with its sign a mean worsening."""
    if part.value is None:
        return "-"
    return f"{part.value:+.4g}" if result.statistic is None else _number(result, part.value)


def gate_bounds(result: GateResult, part: GateSlice) -> list[str]:
    """How sure the value is: its one-sided bound, its interval, its p-value; none where nothing of it was asked."""
    bounds = []
    if part.bound is not None and result.confidence is not None:
        side = "lower" if result.higher_is_better else "upper"
        bounds.append(f"{100 * result.confidence:g} % {side} bound {_number(result, part.bound)}")
    if part.interval is not None:
        bounds.append(f"[{', '.join(map(number, part.interval))}]")
    if part.p_value is not None:
        bounds.append("p<0.001" if part.p_value < 0.001 else f"p={part.p_value:.2g}")
    return bounds


def gate_title(result: GateResult) -> str:
    """The rule, and for which candidate it was judged."""
    return result.rule if result.candidate is None else f"{result.rule} [{result.candidate}]"


def _rows(result: GateResult, tests: int) -> list[tuple[str, str, str, str]]:
    title = gate_title(result)
    if result.passed:
        part = deciding_slice(result)
        return [("PASS", title, *_cells(result, part, tests, "worst: " if len(result.slices) > 1 else ""))]
    failing = sorted((part for part in result.slices if not part.passed), key=lambda part: _distance(result, part))
    rows = [("FAIL", title, *_cells(result, part, tests)) for part in failing[:SLICES_SHOWN]] or [
        ("FAIL", title, "", "nothing to judge")
    ]
    if len(failing) > SLICES_SHOWN:
        rows.append(("", "", "", f"... and {len(failing) - SLICES_SHOWN} more"))
    if passing := len(result.slices) - len(failing):
        status, title, value, facts = rows[-1]
        rows[-1] = (status, title, value, f"{facts}   ({_passing(passing)})")
    return rows


def _cells(result: GateResult, part: GateSlice | None, tests: int, prefix: str = "") -> tuple[str, str]:
    return ("", "") if part is None else (gate_value(result, part), prefix + "   ".join(_facts(result, part, tests)))


def _passing(count: int) -> str:
    return "1 other slice passes" if count == 1 else f"{count} other slices pass"


def _distance(result: GateResult, part: GateSlice) -> float:
    """What slices are sorted by; those without a number first."""
    value = part.value if part.bound is None else part.bound
    distance = None if value is None else margin(value, result.threshold, result.higher_is_better)
    return -float("inf") if distance is None or distance != distance else distance


def _number(result: GateResult, value: float) -> str:
    return f"{100 * value:.3g} %" if result.statistic in RATES else number(value)


def _facts(result: GateResult, part: GateSlice, tests: int | None) -> list[str]:
    """What stands beside the value; `tests` is the number of tests that the p-value is corrected over, if known."""
    facts = [*([part.label] if part.label else []), *gate_bounds(result, part)]
    if part.scored:
        counted = f"{'paired, ' if result.statistic is None else ''}n={part.scored}"
        corrected = "" if part.p_value is None else ", Holm-corrected" + (f" over {tests}" if tests else "")
        facts.append(counted + corrected)
    left_out = ((part.soft, "soft"), (part.errors, "errors"), (part.missing, "without a pair"))
    facts += [f"{count} {what.removesuffix('s') if count == 1 else what}" for count, what in left_out if count]
    if part.reason is not None:
        facts.append(part.reason)
    return facts
