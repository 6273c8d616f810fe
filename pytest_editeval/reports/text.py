"""A check in words: what a person reads in the terminal and in JUnit."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_editeval.escapes import visible
from pytest_editeval.gating.seeds import OverSeeds, over_seeds
from pytest_editeval.results import CheckResult, Outcome, Repeat

INSTRUCTION_SHOWN = 300  # characters of it


def number(value: float, beside: float | None = None) -> str:
    """Four significant digits; as many as it takes to tell the number from the one it stands beside."""
    text = f"{value:.4g}"
    if beside is not None and value != beside:
        digits = 4
        while digits < 17 and f"{value:.{digits}g}" == f"{beside:.{digits}g}":
            digits += 1
        text = f"{value:.{digits}g}"
    return text


def named(names: Sequence[str], shown: int = 10) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def beginning(text: str, shown: int = INSTRUCTION_SHOWN) -> str:
    """A text in one line, or the beginning of a long one and how many characters there are more."""
    text = text.strip()
    rest = len(text) - shown
    return visible(text[:shown]) + (f" … ({rest:,} more characters)" if rest > 0 else "")


def headline(result: CheckResult) -> str:
    """One line: the metric and its score, the threshold in its direction, and by how much it misses."""
    if result.score is None or result.margin is None:
        return f"{result.metric}: {_unscored(result)}"
    direction = "higher is better" if result.higher_is_better else "lower is better"
    score, threshold = _beside_each_other(result)
    if result.expect == "fail":
        return f"{result.metric} = {score} {_caught(result)} (threshold {_sign(result)} {threshold}, {direction})"
    if worse := _too_much_worse(result):
        before, by = worse
        return f"{result.metric} = {score}{_which(result)}   was {before}   ({direction})   {by}"
    must = f"must be {_sign(result)} {threshold}"
    return f"{result.metric} = {score}{_which(result)}   {must}   ({direction})   {_margin(result)}"


def brief(result: CheckResult) -> str:
    """The same behind the check's name, where a line may be cut: what decides comes first."""
    if result.score is None or result.margin is None:
        return _unscored(result)
    score, threshold = _beside_each_other(result)
    if result.expect == "fail":
        return f"{score} {_caught(result)}, threshold {_sign(result)} {threshold}"
    if worse := _too_much_worse(result):
        before, by = worse
        return f"{score}{_which(result)}, was {before}: {by}"
    return f"{score}{_which(result)} must be {_sign(result)} {threshold}, {_margin(result)}"


def comparison(result: CheckResult) -> str | None:
    """How the score lies to what decides: ``3.12 ≤ 5`` where that passes, ``7.42 > 5`` where not; without one, none."""
    if result.score is None or result.margin is None:
        return None
    score, threshold = _beside_each_other(result)
    if worse := _too_much_worse(result):
        return f"{score}, was {worse[0]}"
    sign = _sign(result) if result.margin >= 0 else "<" if result.higher_is_better else ">"
    return f"{score} {sign} {threshold}"


def status(result: CheckResult) -> str | None:
    """What stands behind the verdict of `-v`: ``3.12 ≤ 5``, or why there is no score."""
    if result.outcome is Outcome.SOFT_FAILURE:
        return result.reason
    found = comparison(result)
    if found is None:
        return None
    if result.expect == "fail":
        return f"{'caught' if result.outcome is Outcome.PASSED else 'not caught'}: {found}"
    return f"{found}, covered by gate" if result.covered_by is not None else found


def _unscored(result: CheckResult) -> str:
    what = f"{result.reason}: {result.detail}" if result.reason else result.detail or str(result.outcome)
    return visible(what.splitlines()[0])


def _sign(result: CheckResult) -> str:
    return "≥" if result.higher_is_better else "≤"


def _beside_each_other(result: CheckResult) -> tuple[str, str]:
    """Score and threshold, in as many digits as it takes to tell them apart."""
    score = result.score or 0.0
    return number(score, result.threshold), number(result.threshold, score)


def _caught(result: CheckResult) -> str:
    return "catches this control" if result.outcome is Outcome.PASSED else "does not catch this control"


def _which(result: CheckResult) -> str:
    return f" ({_nth_best(result.quota)} of {len(result.repeats)})" if result.quota and result.repeats else ""


def _margin(result: CheckResult) -> str:
    margin = result.margin or 0.0
    within = ", within noise" if result.within_noise else ""
    return f"{'misses' if margin < 0 else 'clears'} by {number(abs(margin))}{within}"


def _too_much_worse(result: CheckResult) -> tuple[str, str] | None:
    """Of a check that the baseline decides: what it was, and by how much it is worse."""
    if result.margin is None or result.margin < 0 or not result.exceeds_tolerance or result.worsening is None:
        return None
    worse, allowed = number(result.worsening, result.tolerance), number(result.tolerance or 0.0, result.worsening)
    return number(result.baseline or 0.0, result.score), f"worse by {worse}, tolerance {allowed}"


def _nth_best(rank: int) -> str:
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return "best" if rank == 1 else f"{rank}{ending} best"


def _versus_baseline(result: CheckResult) -> str:
    worse = result.worsening or 0.0
    how = f"{'worse' if worse > 0 else 'better'} by {number(abs(worse))}" if worse else "unchanged"
    tolerated = f"   (tolerance {number(result.tolerance)})" if result.tolerance is not None else ""
    return f"baseline {number(result.baseline or 0.0)}: {how}{tolerated}"


def explanation(result: CheckResult) -> str:
    """What a failing check prints: case and score, where the cost arose, both images, where it is written."""
    lines = [beginning(result.instruction), headline(result), *_where(result), *_beside(result)]
    if result.expect == "fail":
        lines.append(
            "expect: fail marks an edit that this metric must catch; the threshold is too lenient, or the edit fine"
        )
    for name, path, size in (
        ("source", result.source, result.source_size),
        ("edited", result.edited, result.edited_size),
    ):
        lines.append(f"{name}  {path}" + (f"   {size[0]}×{size[1]}" if size else ""))
    candidate = f" · candidate {result.candidate}" if result.candidate else ""
    lines.append(f"{result.file}:{result.line}{candidate} · profile {result.profile} · device {result.device}")
    return "\n".join(f"  {visible(line)}" for line in lines)


def _where(result: CheckResult) -> list[str]:
    details = result.details
    lines = []
    if "patches_compared" in details:
        counted = f"{details['patches_compared']} of {details['patches_total']} patches compared"
        lines.append(f"scope {_scope(result.scope, details['boxes'])}, {counted}")
    if factor := details.get("averaged"):
        lines.append(f"features averaged over {factor} × {factor} patches")
    if worst := details.get("worst"):
        x1, y1, x2, y2 = worst["area"]
        lines.append(
            f"worst patches: {_span('row', worst['rows'])}, {_span('column', worst['columns'])} "
            f"({worst['share']:.0%} of the cost), near pixels x {x1}-{x2}, y {y1}-{y2}"
        )
    if len(details.get("pairs", ())) > 1:
        lines.append("pairs: " + ", ".join(number(value) for value in details["pairs"]))
    return lines


def _beside(result: CheckResult) -> list[str]:
    """Its other edits, the baseline, the noise."""
    lines = []
    if result.repeats:
        passed = sum(repeat.outcome is Outcome.PASSED for repeat in result.repeats)
        each = (f"seed {repeat.seed} {_one(repeat)}" for repeat in result.repeats)
        lines.append(f"edits: {passed} of {len(result.repeats)} pass, {result.quota} have to: {', '.join(each)}")
    if (found := over_seeds(result)) is not None:
        lines.append(seeds_in_words(found))
    if result.worsening is not None and (result.margin is None or result.margin < 0):
        lines.append(_versus_baseline(result))
    if result.within_noise and result.noise is not None:
        lines.append(f"within noise: harmless changes of the image move {result.metric} by {number(result.noise)}")
    return lines


def seeds_in_words(found: OverSeeds) -> str:
    """``over seeds: mean 3.2, standard deviation 0.41 of 4 scores, 1 soft failure``; of one score only the mean."""
    mean = "no score" if found.mean is None else f"mean {number(found.mean)}"
    deviation = "" if found.deviation is None else f", standard deviation {number(found.deviation)}"
    count = f" of {len(found.scores)} score{'' if len(found.scores) == 1 else 's'}" if found.scores else ""
    soft = f", {found.soft} soft failure{'' if found.soft == 1 else 's'}" if found.soft else ""
    return f"over seeds: {mean}{deviation}{count}{soft}"


def _one(repeat: Repeat) -> str:
    score = number(repeat.score) if repeat.score is not None and repeat.reason is None else str(repeat.reason)
    return f"{score} ({repeat.outcome})"


def _scope(scope: str | None, boxes: int) -> str:
    count = f"{boxes} box" if boxes == 1 else f"{boxes} boxes"
    side = {"edit_area": f"inside {count}", "unedit_area": f"outside {count}"}
    return f"{scope}: {side[scope]}" if scope in side and boxes else "whole image"


def _span(name: str, ends: Sequence[int]) -> str:
    first, last = ends
    return f"{name} {first}" if first == last else f"{name}s {first}-{last}"
