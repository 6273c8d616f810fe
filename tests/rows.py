"""Results of checks that know all about themselves, for what reads and writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

import results
from pytest_editeval.results import CheckResult, Outcome, Reason, Repeat

USUAL: dict[str, Any] = {
    "file": "cases/a.edit.yaml",
    "line": 14,
    "case": "red_scarf",
    "metric": "region_emd",
    "instruction": "Make the scarf red.",
    "task": "color_alter",
    "tags": ("people",),
    "source": "cases/images/source.png",
    "edited": "cases/images/edited.png",
    "source_digest": "5f" * 16,
    "edited_digest": "6a" * 16,
    "scope": "unedit_area",
    "coords": ((20.0, 20.0, 80.0, 80.0),),
    "parameters": {"patch_mask_threshold": 0.1},
    "score": 3.0,
    "fingerprint": "c1" * 16,
    "versions": {"pytest-editeval": "0.1.0"},
    "duration": 0.25,
    "details": {"patches_compared": 33, "patches_total": 49},
}


def result(**overrides: Any) -> CheckResult:
    """A check of `region_emd` that passed, or what the overrides make of it."""
    return results.result(**(USUAL | overrides))


TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", '""', '"', "NaN", "\\NaN", "-Infinity", "null", "a\r\nb", "\n", "\u2028", "\x85", "\x00", "=1+1", "1"]
)
MAYBE_TEXT = st.none() | TEXT
FLOAT = st.floats(allow_nan=False) | st.sampled_from([0.1 + 0.2, -0.0, 5e-324, 1e308])
ANY_FLOAT = st.none() | st.floats()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3),
    max_leaves=6,
)
MAPPING = st.dictionaries(TEXT, PLAIN, max_size=3)
SIZE = st.none() | st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))
REASON = st.none() | st.sampled_from(Reason).map(str)
REPEAT = st.builds(
    Repeat, st.integers(0, 99), TEXT, ANY_FLOAT, ANY_FLOAT, st.sampled_from(Outcome), REASON, MAYBE_TEXT, MAYBE_TEXT
)
RESULT = st.builds(
    CheckResult,
    node_id=TEXT,
    file=TEXT,
    line=st.integers(1, 10**6),
    case=TEXT,
    candidate=MAYBE_TEXT,
    control=MAYBE_TEXT,
    metric=TEXT,
    metric_version=st.integers(1, 9),
    instruction=TEXT,
    task=MAYBE_TEXT,
    tags=st.lists(TEXT, max_size=3).map(tuple),
    source=TEXT,
    edited=TEXT,
    source_size=SIZE,
    edited_size=SIZE,
    source_digest=MAYBE_TEXT,
    edited_digest=MAYBE_TEXT,
    scope=MAYBE_TEXT,
    coords=st.lists(st.tuples(FLOAT, FLOAT, FLOAT, FLOAT), max_size=2).map(tuple),
    parameters=MAPPING,
    expect=st.sampled_from(["pass", "fail"]),
    threshold=FLOAT,
    higher_is_better=st.booleans(),
    score=ANY_FLOAT,
    margin=ANY_FLOAT,
    outcome=st.sampled_from(Outcome),
    reason=REASON,
    detail=MAYBE_TEXT,
    quota=st.none() | st.integers(1, 9),
    repeats=st.lists(REPEAT, max_size=2).map(tuple),
    covered_by=MAYBE_TEXT,
    baseline=ANY_FLOAT,
    tolerance=ANY_FLOAT,
    noise=ANY_FLOAT,
    profile=TEXT,
    fingerprint=MAYBE_TEXT,
    device=TEXT,
    versions=st.dictionaries(TEXT, TEXT, max_size=3),
    models=MAPPING,
    duration=FLOAT,
    remembered=st.booleans(),
    details=MAPPING,
).map(lambda row: replace(row, quota=row.quota and min(row.quota, len(row.repeats) or 1)))
