"""A score against its threshold: direction, inclusiveness, NaN, soft failures, controls."""

from __future__ import annotations

import math

import pytest

from pytest_editeval.gating.verdicts import judge
from pytest_editeval.registry import BUILTIN_METRICS
from pytest_editeval.results import Outcome, Reason, Score, SoftFailure

PASSED, FAILED, SOFT = Outcome.PASSED, Outcome.FAILED, Outcome.SOFT_FAILURE


@pytest.mark.parametrize(
    ("value", "higher", "outcome", "margin"),
    [
        (0.75, True, PASSED, 0.25),
        (0.5, True, PASSED, 0.0),
        (0.25, True, FAILED, -0.25),
        (0.75, False, FAILED, -0.25),
        (0.5, False, PASSED, 0.0),
        (0.25, False, PASSED, 0.25),
        (0.0, False, PASSED, 0.5),
        (math.nextafter(0.5, 0), True, FAILED, None),
        (math.nextafter(0.5, 1), False, FAILED, None),
    ],
)
def test_thresholds_are_inclusive_and_have_a_direction(
    value: float, higher: bool, outcome: Outcome, margin: float | None
) -> None:
    verdict = judge(Score("m", value), 0.5, higher)
    assert verdict.outcome is outcome
    if margin is not None:
        assert verdict.margin == margin
    control = judge(Score("m", value), 0.5, higher, "fail")
    assert control.outcome is (FAILED if outcome is PASSED else PASSED)


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("expect", ["pass", "fail"])
def test_nan_never_passes(higher: bool, expect: str) -> None:
    assert judge(Score("m", math.nan), 0.5, higher, expect).outcome is FAILED  # type: ignore[arg-type]
    assert judge(Score("m", 0.5), math.nan, higher, expect).outcome is FAILED  # type: ignore[arg-type]


def test_an_emd_of_zero_is_a_perfect_score() -> None:
    assert judge(Score("emd", 0.0), 0.0, higher_is_better=False).outcome is PASSED
    assert judge(Score("emd", -0.0), 9.5, higher_is_better=False).outcome is PASSED


@pytest.mark.parametrize("expect", ["pass", "fail"])
@pytest.mark.parametrize("value", [None, 0.0])
def test_a_soft_failure_stays_one_whatever_its_value(value: float | None, expect: str) -> None:
    score = Score("m", value, SoftFailure(Reason.NO_PATCH_SELECTED, "no patch"))
    for higher in (True, False):
        verdict = judge(score, 0.0, higher, expect)  # type: ignore[arg-type]
        assert verdict.outcome is SOFT
        assert verdict.margin is None


def test_no_value_is_a_soft_failure_even_without_a_reason() -> None:
    assert judge(Score("m", None), 0.0, True).outcome is SOFT


def test_the_directions_of_the_contract() -> None:
    assert {spec.name: (spec.higher_is_better, spec.soft_failure_value) for spec in BUILTIN_METRICS} == {
        "emd": (False, None),
        "region_emd": (False, None),
        "sam_clip_cls_sim": (True, None),
        "dinov3_structure_similarity": (True, 0.0),
        "sam_dino_cls_sim": (True, None),
    }
