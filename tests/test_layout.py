"""Lines that fit: widths, wrapping, shortening, escapes, encodings, histograms; against a formula by hand."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.escapes import visible
from pytest_editeval.gate_rules import PASS_RATE
from pytest_editeval.reports.gates import gate_lines, gate_message, gate_status
from pytest_editeval.reports.layout import Screen, abbreviated, flowed, shortened, table, width, wrapped
from pytest_editeval.reports.sparkline import MARK, sparkline
from pytest_editeval.reports.summary import summary_lines, total
from pytest_editeval.reports.text import beginning, brief, explanation, headline, status
from pytest_editeval.results import GateResult, GateSlice, Outcome
from results import result, scores

HOSTILE = "a\x1b[31mred\x07\nb\tc\u202egnp.exe\u2066\u2028d\x9be\udcff"
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from(" ab中é\u0301👩\u200d🚒/"), max_size=300)


# --- escapes --------------------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert visible(HOSTILE) == r"a\x1b[31mred\x07\nb\tc\u202egnp.exe\u2066\u2028d\x9be\udcff"


@pytest.mark.parametrize(
    "text",
    ["Mach den Schal rot.", "شال را قرمز کن", "می\u200cخواهم", "👩\u200d🚒", "é", "C:\\new"],  # noqa: RUF001
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_nothing_visible_moves_the_cursor_or_turns_the_text(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not turning.intersection(map(unicodedata.bidirectional, shown))
    shown.encode("utf-8")
    assert visible(shown) == shown


def test_every_sentence_about_a_check_is_safe() -> None:
    bad = result(case="x", instruction=HOSTILE, source=HOSTILE, edited=HOSTILE, score=9.0, task=HOSTILE)
    error = result(outcome=Outcome.ERROR, detail=f"{HOSTILE}")
    lines = [*explanation(bad).split("\n"), headline(error), brief(error), Screen().text(total([bad], HOSTILE))]
    assert all("\x1b" not in line and "\u202e" not in line for line in lines)
    assert len(explanation(bad).split("\n")) == len(explanation(result(score=9.0)).split("\n"))


def test_a_long_instruction_is_begun() -> None:
    line = beginning("x" * 10_000)
    assert line == "x" * 300 + " … (9,700 more characters)"
    assert beginning("  Make it red.\n") == "Make it red."
    assert max(map(len, explanation(result(instruction="word " * 2000, score=9.0)).split("\n"))) < 340


# --- widths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("中文", 4), ("e\u0301", 1), ("ｱ", 1), ("Ａ", 2)])  # noqa: RUF001
def test_a_width_is_what_a_terminal_takes(text: str, columns: int) -> None:
    assert width(text) == columns


@given(TEXTS)
def test_widths_are_those_of_pytests_writer(text: str) -> None:
    from _pytest._io.wcwidth import wcwidth

    shown = "".join(c for c in visible(text) if unicodedata.category(c) != "Cf" and c.isprintable())
    assert width(shown) == sum(map(wcwidth, shown))


@given(TEXTS, st.integers(20, 120), st.sampled_from(["", "  ", "    "]))
def test_wrapped_lines_fit_and_keep_every_character(text: str, columns: int, indent: str) -> None:
    line = visible(text)
    lines = wrapped(line, columns, indent)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")
    for one in lines:
        # A path, a URL or a node id is never broken, as it may be copied.
        assert width(one) <= columns or any(c in one.split(" ")[-1] for c in ("/", "\\", "::"))


@given(TEXTS, st.integers(3, 60))
def test_shortened_text_fits_and_keeps_both_ends(text: str, columns: int) -> None:
    line = visible(text)
    short = shortened(line, columns)
    assert width(short) <= columns
    if short != line:
        begin, end = re.fullmatch("(.*?)…(.*)", short, re.DOTALL).groups() if line.count("…") == 0 else ("", "")  # type: ignore[union-attr]
        assert line.startswith(begin)
        assert line.endswith(end)


def test_wrapping_by_hand() -> None:
    assert wrapped("  one two three four five", 20) == ["  one two three four", "    five"]
    assert wrapped("short", 80) == ["short"]
    assert wrapped("x" * 45, 20) == ["x" * 20, "  " + "x" * 18, "  " + "x" * 7]
    assert wrapped("see cases/a/very/long/path.png now", 20) == ["see", "  cases/a/very/long/path.png", "  now"]
    assert wrapped("as long as it takes " * 9, None) == ["as long as it takes " * 9]
    assert flowed(["n=26", "p=0.003", "a fact"], 20) == ["n=26   p=0.003", "a fact"]


def test_names_are_shortened_where_they_say_least() -> None:
    assert shortened("coffee_remove_spoon", 12) == "coffee…spoon"
    assert abbreviated("dinov3_structure_similarity", 21) == "dinov3_structure_sim."
    assert abbreviated("emd", 21) == "emd"


def test_a_table_that_is_too_wide_goes_on_below() -> None:
    rows = [("metric", "one", "two", "three"), ("emd", "1", "22", "333")]
    assert table(rows, right=(1, 2, 3)) == ["metric  one  two  three", "emd       1   22    333"]
    lines = Screen(18).table(rows, right=(1, 2, 3))
    assert lines == ["metric  one  two", "emd       1   22", "", "metric  three", "emd       333"]


def test_a_table_is_aligned_by_width() -> None:
    assert [width(line) for line in table([("中文", "x"), ("a", "y")])] == [7, 7]


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", "utf-16"])
@given(text=st.text())
def test_a_screen_shows_only_what_its_encoding_has(encoding: str, text: str) -> None:
    assert Screen(80, encoding).text(text).encode(encoding) is not None


def test_what_ascii_lacks_has_a_plain_form() -> None:
    assert Screen(80, "ascii").text("↑ ↓ ≤ ≥ × · ─ … │ ▁▄█ é") == r"^ v <= >= x - - ~ | .=@ \xe9"
    assert Screen(80, "latin-1").text("≤ × · é") == "<= × · é"


# --- histograms -----------------------------------------------------------------------------------


def test_better_scores_are_to_the_right() -> None:
    assert sparkline([0, 1, 1, 1, 1, 4], higher_is_better=True, bins=4) == "▂█ ▂"
    assert sparkline([0, 1, 1, 1, 1, 4], higher_is_better=False, bins=4) == "▂  █"


def test_the_mark_parts_what_passes_from_what_fails() -> None:
    assert sparkline([1, 2, 3, 4], higher_is_better=True, threshold=2.5, bins=4) == "██│██"
    assert sparkline([2.5, 2.5], higher_is_better=True, threshold=2.5, bins=4) == "│█   "
    assert sparkline([0.0, 100.0], higher_is_better=False, threshold=99.99, bins=8) == "█│      █"
    assert sparkline([1.0], higher_is_better=True, threshold=5.0, bins=4) == "█   │"
    assert sparkline([1.0], higher_is_better=False, threshold=5.0, bins=4) == "│   █"


def test_no_scores_have_no_histogram() -> None:
    assert sparkline([], higher_is_better=True) == ""
    assert sparkline([float("nan"), float("inf")], higher_is_better=True, threshold=1.0) == ""


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    st.booleans(),
)
def test_a_histogram_shows_every_side_that_has_scores(values: list[float], limit: float | None, higher: bool) -> None:
    line = sparkline(values, higher_is_better=higher, threshold=limit, bins=8)
    assert len(line) == 8 + (limit is not None)
    if limit is None:
        assert line.strip()
        return
    left, right = line.split(MARK)
    passing = [value >= limit if higher else value <= limit for value in values]
    assert bool(right.strip()) is any(passing)
    assert bool(left.strip()) is not all(passing)


# --- sections -------------------------------------------------------------------------------------


def many() -> list[object]:
    long = "dinov3_structure_similarity"
    return [
        *scores(0.9, 0.5, metric=long, candidate="candidate", threshold=0.7),
        *[result(metric=long, candidate="candidate", case="c9", outcome=Outcome.SOFT_FAILURE)],
        *[result(metric="emd", case="a_case_with_a_very_long_name_that_says_all" * 2, score=7.42)],
        *scores(1.0, 2.0, metric="region_emd", threshold=1.5, within_noise=True, noise=1.0),
    ]


@pytest.mark.parametrize("columns", [80, 81, 100, 160])
def test_the_section_fits(columns: int) -> None:
    lines = summary_lines(many(), {"scores computed": 6, "CLIP": 6, "SAM": 12}, Screen(columns))  # type: ignore[arg-type]
    assert max(map(width, lines)) <= columns
    assert all(re.match(r"  |\w", line) for line in lines)


def test_the_table_by_hand() -> None:
    assert summary_lines(many(), {}, Screen(80))[:4] == [  # type: ignore[arg-type]
        "metric                     pass  fail  soft  median  better →   worst (case)",
        "dinov3_str.[candidate]  ↑   1/3     1     1     0.7  █   │   █  0.5 c1",
        "emd                     ↓   0/1     1     0    7.42  █       │  7.42 a_cas…s_all",
        "region_emd              ↓   1/2     1     0     1.5  █   │   █  2 c1",
    ]


def test_two_metrics_are_never_shown_under_one_name() -> None:
    names = ["a_metric_of_quality_with_a_name_first", "a_metric_of_quality_with_a_name_second"]
    found = [result(metric=name, case="c" * 60, higher_is_better=True, score=9.0) for name in names]
    lines = summary_lines(found, {}, Screen(80))
    assert [line.split()[0] for line in lines[1:3]] == names


def test_columns_that_say_nothing_are_left_out() -> None:
    assert summary_lines(scores(1.0), {}, Screen())[0].split() == [
        "metric",
        "pass",
        "fail",
        "median",
        "better",
        "→",
        "worst",
        "(case)",
    ]
    both = [*scores(1.0), result(outcome=Outcome.SOFT_FAILURE), result(outcome=Outcome.ERROR, detail="x")]
    assert "soft  error" in summary_lines(both, {}, Screen())[0]


def gate(**fields: object) -> GateResult:
    usual: dict[str, object] = {
        "node_id": "a::gates::b",
        "rule": "mean region_emd ≤ 5",
        "place": "a.edit.yaml:2:5",
        "candidate": None,
        "metric": "region_emd",
        "statistic": "mean",
        "threshold": 5.0,
        "confidence": 0.95,
        "higher_is_better": False,
        "slices": (GateSlice("", 4.31, 212, passed=True, bound=4.58),),
    }
    return GateResult(**(usual | fields))  # type: ignore[arg-type]


def test_what_does_not_fit_beside_a_gate_stands_under_its_value() -> None:
    versus = GateSlice("", 0.41, 212, passed=False, interval=(0.22, 0.63), p_value=0.003)
    gates = [
        gate(),
        gate(statistic=None, rule="emd no worse than baseline + 0.2", threshold=0.2, slices=(versus,)),
        gate(rule="region_emd no worse than an_old_release + 0.2", statistic=None, threshold=0.2, slices=(versus,)),
    ]
    assert gate_lines(gates, Screen(80)) == [
        "PASS  mean region_emd ≤ 5               4.31   95 % upper bound 4.58   n=212",
        "FAIL  emd no worse than baseline + 0.2  +0.41",
        "                                        [0.22, 0.63]   p=0.003",
        "                                        paired, n=212, Holm-corrected over 2",
        "FAIL  region_emd no worse than an_old_release + 0.2",
        "                                        +0.41   [0.22, 0.63]   p=0.003",
        "                                        paired, n=212, Holm-corrected over 2",
        "release gate: FAILED (2 of 3)",
    ]
    assert len(gate_lines(gates, Screen())) == 4
    assert [line.split()[0] for line in gate_lines(gates, Screen(), only_failing=True)] == ["FAIL", "FAIL", "release"]


def test_a_gate_leads_with_what_decides() -> None:
    failing = gate(slices=(GateSlice("", 4.9, 20, passed=False, bound=5.3),))
    assert gate_message(failing) == "5.3 must be ≤ 5, 95 % upper bound of 4.9, n=20; mean region_emd ≤ 5"
    assert gate_status(failing) == "5.3 > 5, 95 % upper bound of 4.9"
    assert gate_status(gate()) == "4.58 ≤ 5, 95 % upper bound of 4.31"
    rate = gate(statistic=PASS_RATE, higher_is_better=True, threshold=0.95, confidence=None)
    assert gate_status(rate) == "431 % ≥ 95 %"
    assert gate_status(gate(slices=(GateSlice("", None, 0, passed=False, reason="no checks"),))) == "no checks"


def test_a_check_leads_with_what_decides() -> None:
    assert brief(result(score=7.42)) == "7.42 must be ≤ 5, misses by 2.42"
    assert status(result(score=7.42)) == "7.42 > 5"
    assert status(result(score=3.12)) == "3.12 ≤ 5"
    assert status(result(metric="sam_clip_cls_sim", score=0.5, threshold=0.7)) == "0.5 < 0.7"
    assert status(result(score=7.42, expect="fail")) == "caught: 7.42 > 5"
    assert status(result(score=7.42, covered_by="pass rate ≥ 95 %")) == "7.42 > 5, covered by gate"
    assert status(result(outcome=Outcome.SOFT_FAILURE)) == "no-patch-selected"
    assert status(result(outcome=Outcome.ERROR, detail="x")) is None
    worse = result(score=4.0, baseline=3.0, tolerance=0.5)
    assert brief(worse) == "4, was 3: worse by 1, tolerance 0.5"
    assert status(worse) == "4, was 3"
