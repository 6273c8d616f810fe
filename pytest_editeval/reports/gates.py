"""Gates in words: the section of the terminal summary, and what a failing gate prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_editeval.escapes import visible
from pytest_editeval.gate_rules import RATES
from pytest_editeval.gating.verdicts import margin
from pytest_editeval.reports.layout import GAP, Screen, flowed, padded, table, width, wrapped
from pytest_editeval.reports.text import number
from pytest_editeval.results import GateResult, GateSlice

SLICES_SHOWN = 10
WORD = len("PASS")
VERDICT = "release gate: "


def gate_lines(results: Sequence[GateResult], screen: Screen, *, only_failing: bool = False) -> list[str]:
    """The section "gates", without its title: a line per gate, and per slice where it fails.

    What does not fit beside the value stands below it, and a rule that is too long in lines of its own.
    """
    if not results:
        return []
    tests = Counter(result.candidate for result in results for part in result.slices if part.p_value is not None)
    shown = [result for result in results if not (only_failing and result.passed)]
    rows = [row for result in shown for row in _rows(result, tests[result.candidate], screen)]
    failed = sum(not result.passed for result in results)
    verdict = f"FAILED ({failed} of {len(results)})" if failed else f"passed ({len(results)})"
    return [*_laid_out(rows, screen.columns), f"{VERDICT}{verdict}"]


def _laid_out(rows: Sequence[Row], columns: int | None) -> Iterator[str]:
    titles = [width(row.title) for row in rows if columns is None or width(row.title) <= columns * 2 // 5]
    title, value = max(titles, default=0), max((width(row.value) for row in rows), default=0)
    before = " " * (WORD + 2 + title + 2)
    for row in rows:
        head = padded(row.status, WORD) + "  "
        line = f"{head}{padded(row.title, title)}  {padded(row.value, value)}"
        whole = f"{line}  {GAP.join(row.facts)}".rstrip()
        if width(row.title) <= title and (columns is None or width(whole) <= columns):
            yield whole
            continue
        facts = row.facts
        if width(row.title) <= title:
            yield line.rstrip()
        else:
            yield from wrapped(head + row.title, columns, " " * len(head))
            facts = (row.value, *facts)
        for line in flowed(facts, None if columns is None else columns - len(before)):
            yield before + line


def gate_message(result: GateResult) -> str:
    """One line: what decides it, which is first because the line may be cut, and the rule."""
    part = deciding_slice(result)
    if part is None:
        return visible(f"nothing to judge: {gate_title(result)}")
    more = sum(not other.passed for other in result.slices) - 1
    found = part.reason or _decisive(result, part)
    said = (part.reason, None if part.reason else " ".join(_bound(result, part) or ()))
    facts = [fact for fact in _facts(result, part, None) if fact not in said]
    return visible(
        ", ".join((found, *facts)) + (f"; {more} more failing" if more > 0 else "") + f"; {gate_title(result)}"
    )


def gate_status(result: GateResult) -> str | None:
    """What stands behind the verdict of `-v`: ``0.8613 ≤ 1.5`` where that passes, ``1.62 > 1.5`` where not, or why."""
    part = deciding_slice(result)
    if part is None or part.reason is not None:
        return None if part is None else visible(part.reason or "")
    return visible(_decisive(result, part, "≥≤" if part.passed else "<>"))


def _decisive(result: GateResult, part: GateSlice, signs: Sequence[str] = ("must be ≥", "must be ≤")) -> str:
    """The number that decides, the value or its bound, and what it must be; `signs` if higher is better, and if not."""
    if result.statistic is None:
        return f"{gate_value(result, part)}, at most {number(result.threshold)} worse"
    value, bound = gate_value(result, part), _bound(result, part)
    must = f"{signs[not result.higher_is_better]} {_number(result, result.threshold)}"
    return f"{value} {must}" if bound is None else f"{bound[1]} {must}, {bound[0]} of {value}"


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
    return "\n".join(f"  {visible(line)}" for line in lines)


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
    return [(name, visible(str(value))) for name, value in values.items() if value is not None]


class Row(NamedTuple):
    """A line of the section: of a gate, or of one of its slices."""

    status: str
    title: str
    value: str
    facts: tuple[str, ...]


def _rows(result: GateResult, tests: int, screen: Screen) -> list[Row]:
    title = screen.text(gate_title(result))

    def row(status: str, part: GateSlice, prefix: str = "") -> Row:
        first, *others = _facts(result, part, tests) or [""]
        facts = (screen.text(fact) for fact in (prefix + first, *others))
        return Row(status, title, screen.text(gate_value(result, part)), tuple(filter(None, facts)))

    if result.passed:
        part = deciding_slice(result)
        return [row("PASS", part, "worst: " if len(result.slices) > 1 else "")] if part is not None else []
    failing = sorted((part for part in result.slices if not part.passed), key=lambda part: _distance(result, part))
    rows = [row("FAIL", part) for part in failing[:SLICES_SHOWN]] or [Row("FAIL", title, "", ("nothing to judge",))]
    if len(failing) > SLICES_SHOWN:
        rows.append(Row("", "", "", (f"... and {len(failing) - SLICES_SHOWN} more",)))
    if passing := len(result.slices) - len(failing):
        rows[-1] = rows[-1]._replace(facts=(*rows[-1].facts, f"({_passing(passing)})"))
    return rows


def gate_title(result: GateResult) -> str:
    """The rule, and for which candidate it was judged."""
    return result.rule if result.candidate is None else f"{result.rule} [{result.candidate}]"


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
    bound = _bound(result, part)
    bounds = [" ".join(bound)] if bound else []
    if part.interval is not None:
        bounds.append(f"[{', '.join(map(number, part.interval))}]")
    if part.p_value is not None:
        bounds.append("p<0.001" if part.p_value < 0.001 else f"p={part.p_value:.2g}")
    return bounds


def _passing(count: int) -> str:
    return "1 other slice passes" if count == 1 else f"{count} other slices pass"


def _distance(result: GateResult, part: GateSlice) -> float:
    """What slices are sorted by; those without a number first."""
    value = part.value if part.bound is None else part.bound
    distance = None if value is None else margin(value, result.threshold, result.higher_is_better)
    return -float("inf") if distance is None or distance != distance else distance


def _number(result: GateResult, value: float) -> str:
    return f"{100 * value:.3g} %" if result.statistic in RATES else number(value)


def _bound(result: GateResult, part: GateSlice) -> tuple[str, str] | None:
    """What the bound is called, and the bound itself: ``("95 % upper bound", "4.58")``."""
    if part.bound is None or result.confidence is None:
        return None
    side = "lower" if result.higher_is_better else "upper"
    return f"{100 * result.confidence:g} % {side} bound", _number(result, part.bound)


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
