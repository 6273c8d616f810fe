"""Every selected check ends exactly once, whatever was reported."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.reckoning import Ending, Report, reckon
from pytest_editeval.results import Outcome

IDS = st.sampled_from("abcdef")
REPORTS = st.lists(
    st.builds(
        Report,
        IDS,
        st.sampled_from(["setup", "call", "teardown", "???"]),
        st.sampled_from(["passed", "failed", "skipped", "rerun"]),
        st.booleans(),
        st.sampled_from([None, *Outcome]),
    )
)


@given(st.lists(IDS), REPORTS, st.sets(IDS))
def test_every_selected_check_is_counted_once(selected: list[str], reports: list[Report], rows: set[str]) -> None:
    found = reckon(selected, reports, rows)
    assert sum(found.counts.values()) == found.selected == len(set(selected))
    assert found.counts[Ending.NOT_RUN] == len(found.not_run)
    assert found.counts[Ending.SKIPPED] == len(found.skipped)
    assert set(found.unknown).isdisjoint(selected)
    assert {*found.not_run, *found.skipped, *found.rowless} <= set(selected)
    assert not (set(found.rowless) & rows)
    decided = {report.nodeid for report in reports if report.ending is not None}
    assert decided <= {*selected, *found.unknown}
    assert set(found.not_run) == set(selected) - decided


@given(st.lists(IDS), REPORTS, st.sets(IDS))
def test_green_means_that_each_check_has_a_good_last_report_and_a_row(
    selected: list[str], reports: list[Report], rows: set[str]
) -> None:
    if not reckon(selected, reports, rows).may_be_green:
        return
    assert rows == set(selected)
    for nodeid in selected:
        calls = [one for one in reports if one.nodeid == nodeid and one.ending is not None]
        assert calls
        assert calls[-1].outcome in ("passed", "skipped")
        assert calls[-1].outcome == "passed" or calls[-1].expected
        assert calls[-1].row not in (Outcome.FAILED, Outcome.ERROR) or calls[-1].expected


@given(st.lists(IDS, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_different_checks_does_not_matter(selected: list[str], random: object) -> None:
    reports = [Report(nodeid, "call", "passed", row=Outcome.PASSED) for nodeid in selected]
    shuffled = list(reports)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = reckon(selected, shuffled, selected)
    assert found == reckon(selected, reports, selected)
    assert found.may_be_green
    assert found.counts == Counter({Ending.PASSED: len(selected)} if selected else {})


@pytest.mark.parametrize(
    ("reports", "ending", "doubled"),
    [
        ([Report("a", "call", "rerun"), Report("a", "call", "passed")], Ending.PASSED, ()),
        ([Report("a", "call", "failed"), Report("a", "call", "passed")], Ending.PASSED, ("a",)),
        ([Report("a", "call", "passed"), Report("a", "teardown", "failed")], Ending.ERROR, ()),
        ([Report("a", "call", "failed"), Report("a", "teardown", "failed")], Ending.FAILED, ()),
        ([Report("a", "call", "passed"), Report("a", "teardown", "skipped")], Ending.PASSED, ()),
        ([Report("a", "???", "failed")], Ending.ERROR, ()),
        ([Report("a", "setup", "skipped")], Ending.SKIPPED, ()),
        ([Report("a", "setup", "passed"), Report("a", "teardown", "passed")], Ending.NOT_RUN, ()),
        ([Report("a", "call", "skipped", True, Outcome.SOFT_FAILURE)], Ending.SOFT_FAILURE, ()),
        ([Report("a", "setup", "skipped", True)], Ending.EXPECTED, ()),
        ([Report("a", "call", "passed", False, Outcome.FAILED)], Ending.FAILED, ()),
    ],
)
def test_the_last_report_decides(reports: list[Report], ending: Ending, doubled: tuple[str, ...]) -> None:
    found = reckon(["a"], reports, ["a"])
    assert found.counts == {ending: 1}
    assert found.doubled == doubled
    assert str(found) == f"1 = 1 {ending}"
