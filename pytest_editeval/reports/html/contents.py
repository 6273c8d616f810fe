"""What a page's script shows: cases, their checks, and what explains each score, as JSON types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_editeval.candidates import CONTROLS
from pytest_editeval.escapes import visible
from pytest_editeval.gating.seeds import over_seeds
from pytest_editeval.reports.html.anchors import case_key
from pytest_editeval.reports.html.explained import (
    background,
    bands,
    finite,
    finite_boxes,
    is_of_objects,
    objects,
    pair_scores,
    patches,
    worst_spot,
)
from pytest_editeval.reports.html.pictures import Pictures
from pytest_editeval.reports.html.tables import NO_TASK, in_order_of_trouble
from pytest_editeval.reports.standing import missed_by
from pytest_editeval.reports.text import brief, comparison, headline, number, seeds_in_words
from pytest_editeval.results import CheckResult, Outcome, Repeat

TEXT_LENGTH = 20_000


def case_data(results: Sequence[CheckResult], pictures: Pictures) -> list[dict[str, Any]]:
    """The cases of each candidate, worst first, with their checks, worst first too.

    Controls of `controls: auto` are no cases: their scores are marks on the scales of the checks that they belong to.
    Texts are made visible, and cut at `TEXT_LENGTH` characters; numbers that JSON lacks are `None`.
    """
    marks: dict[str, dict[str, float]] = {}
    for result in results:
        if result.control in CONTROLS and result.has_score and finite(result.score) is not None:
            marks.setdefault(result.key, {})[result.control] = float(result.score or 0.0)
    checks = [result for result in results if result.control is None]
    ranks = in_order_of_trouble(checks)
    groups: dict[str, list[CheckResult]] = {}
    for result in sorted(checks, key=lambda result: ranks[result.node_id]):
        groups.setdefault(case_key(result), []).append(result)
    return [_case(key, group, marks, pictures) for key, group in groups.items()]


def _case(
    key: str, group: Sequence[CheckResult], marks: Mapping[str, Mapping[str, float]], pictures: Pictures
) -> dict[str, Any]:
    first = group[0]
    return {
        "key": key,
        "file": _text(first.file),
        "line": first.line,
        "id": _text(first.case),
        "candidate": _maybe(first.candidate),
        "family": visible(f"{first.node_id.split('::')[0]}::{first.case}"),
        "instruction": _text(first.instruction.strip()),
        "task": _text(first.task or NO_TASK),
        "tags": [_text(tag) for tag in first.tags],
        "checks": [_check(result, marks.get(result.key, {}), pictures) for result in group],
    }


def _check(result: CheckResult, marks: Mapping[str, float], pictures: Pictures) -> dict[str, Any]:
    scored = result.has_score and finite(result.score) is not None
    half = len(result.coords) // 2
    of_objects = is_of_objects(result)
    return {
        "node": _text(result.node_id),
        "place": _text(f"{result.file}:{result.line}"),
        "metric": _text(result.metric),
        "higher": result.higher_is_better,
        "outcome": str(result.outcome),
        "expect": result.expect,
        "brief": _text(brief(result)),
        "relation": comparison(result),
        "headline": _text(" ".join(headline(result).split())),
        "score": finite(result.score) if scored else None,
        "shown": number(result.score, result.threshold) if scored and result.score is not None else "",
        "threshold": finite(result.threshold),
        "missed": finite(missed_by(result)),
        "reason": _maybe(result.reason),
        "detail": _maybe(result.detail),
        "covered": _maybe(result.covered_by),
        "source": pictures.add(result.source, result.source_digest, bands(result)),
        "edited": pictures.add(result.edited, result.edited_digest, bands(result), result.source),
        "sourceName": _text(result.source),
        "editedName": _text(result.edited),
        "sourceSize": result.source_size,
        "editedSize": result.edited_size,
        "scope": _maybe(result.scope),
        "boxes": {
            "source": finite_boxes(result.coords[:half] if of_objects else result.coords),
            "edited": finite_boxes(result.coords[half:]) if of_objects else None,
        },
        "background": background(result) if of_objects else None,
        "patches": patches(result),
        "worst": worst_spot(result),
        "objects": objects(result),
        "pairs": pair_scores(result),
        "baseline": finite(result.baseline),
        "worsening": finite(result.worsening),
        "tolerance": finite(result.tolerance),
        "noise": finite(result.noise),
        "withinNoise": result.within_noise,
        "overSeeds": None if (found := over_seeds(result)) is None else seeds_in_words(found),
        "controls": dict(marks),
        "quota": result.quota,
        "repeats": [_repeat(result, repeat, pictures) for repeat in result.repeats],
        "profile": _text(result.profile),
        "device": _text(result.device),
        "remembered": result.remembered,
        "seconds": finite(round(result.duration, 4)),
    }


def _repeat(result: CheckResult, repeat: Repeat, pictures: Pictures) -> dict[str, Any]:
    scored = repeat.outcome is not Outcome.SOFT_FAILURE and finite(repeat.score) is not None
    return {
        "seed": repeat.seed,
        "edited": pictures.add(repeat.edited, repeat.edited_digest, bands(result), result.source),
        "editedName": _text(repeat.edited),
        "score": finite(repeat.score) if scored else None,
        "shown": number(repeat.score) if scored and repeat.score is not None else _text(repeat.reason or "-"),
        "outcome": str(repeat.outcome),
    }


def _maybe(text: str | None) -> str | None:
    return None if text is None else _text(text)


def _text(text: str) -> str:
    shown = visible(text)
    rest = len(shown) - TEXT_LENGTH
    return shown if rest <= 0 else f"{shown[:TEXT_LENGTH]}… ({rest:,} more characters)"
