"""New thresholds in case files: the numbers change, nothing else does."""

from __future__ import annotations

import stat
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_editeval.cases import load_cases
from pytest_editeval.errors import CaseError, EditEvalError
from pytest_editeval.threshold_edits import checks_of, edit_thresholds, unified_diff, write_files
from pytest_editeval.yaml_edits import number_text

PATH = Path("a.edit.yaml")
CASE = "  - id: {id}\n    instruction: Do it.\n    source: s.png\n    edited: e.png\n    coords: [[1, 2, 3, 4]]\n"


def edited(text: str, number: float | dict[str, float] = 7.25, profile: str = "embedded") -> str:
    """`text` with the number (or one per metric) for every check of the profile."""
    new = number if isinstance(number, dict) else {"emd": number, "region_emd": number}
    content = edit_thresholds(dedent(text).encode(), PATH, profile, lambda _, check: new.get(check.metric))
    return content.decode()


def metrics(text: str) -> str:
    """A file with one case that has these lines under `metrics`."""
    return (
        "cases:\n" + CASE.format(id="one") + "    metrics:\n" + "".join(f"      {line}\n" for line in text.split("\n"))
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("emd: 9.5", "emd: 7.25"),
        ("emd:   9.5   # why", "emd:   7.25   # why"),
        ("emd: {threshold: 9.5, scope: null} # why", "emd: {threshold: 7.25, scope: null} # why"),
        ("emd: {'threshold':9,}", None),
        ("emd: {threshold: {embedded: 9.5, clip-b32: 3}}", "emd: {threshold: {embedded: 7.25, clip-b32: 3}}"),
        ("emd: {threshold: {clip-b32: 3}}", "emd: {threshold: {clip-b32: 3, embedded: 7.25}}"),
        ("emd: {threshold: {clip-b32: 3, }}", "emd: {threshold: {clip-b32: 3, embedded: 7.25 }}"),
        ("emd: {threshold: { clip-b32: 3 }}", "emd: {threshold: { clip-b32: 3, embedded: 7.25 }}"),
        ('"emd": {"threshold": {"clip-b32":3}}', '"emd": {"threshold": {"clip-b32":3, embedded: 7.25}}'),
        (
            "emd:\n  # per profile\n  threshold:\n    clip-b32: 3 # old\n    # last\n  scope: null",
            "emd:\n  # per profile\n  threshold:\n    clip-b32: 3 # old\n    embedded: 7.25\n    # last\n  scope: null",
        ),
        ("emd:\n  threshold:\n      embedded: 1_0.5", "emd:\n  threshold:\n      embedded: 7.25"),
        ("emd: &t 9.5", "emd: &t 7.25"),
        ("emd: !!float '9.5'", "emd: !!float '7.25'"),
        ("emd: &t !!float 9", "emd: &t !!float 7.25"),
        ("emd: &t 9.5 # shared\nregion_emd: *t", "emd: &t 7.25 # shared\nregion_emd: *t"),
        ("emd: &m {threshold: 9}\nregion_emd: {<<: *m, scope: null}", None),
        (
            "emd: {threshold: &m {clip: 3}}\nregion_emd: {threshold: {<<: *m, b: 2}}",
            "emd: {threshold: &m {clip: 3, embedded: 7.25}}\nregion_emd: {threshold: {<<: *m, b: 2, embedded: 7.25}}",
        ),
        (
            "emd: {threshold: &m {embedded: 3}}\nregion_emd: {threshold: {<<: *m, b: 2}}",
            "emd: {threshold: &m {embedded: 7.25}}\nregion_emd: {threshold: {<<: *m, b: 2}}",
        ),
        (
            "emd: {threshold: &m {clip: &n 3}}\nregion_emd: {threshold: {b: *n}}",
            "emd: {threshold: &m {clip: &n 3, embedded: 7.25}}\nregion_emd: {threshold: {b: *n, embedded: 7.25}}",
        ),
        (
            "emd:\n  threshold: &m\n    b: &n 3 # x\n    clip: *n # y\n  scope: null",
            "emd:\n  threshold: &m\n    b: &n 3 # x\n    clip: *n # y\n    embedded: 7.25\n  scope: null",
        ),
        (
            "emd: {threshold: {clip: 3, # it's {\n  b: 4 # last }\n  }}",
            "emd: {threshold: {clip: 3, # it's {\n  b: 4, embedded: 7.25 # last }\n  }}",
        ),
    ],
)
def test_the_number_is_changed_where_it_stands(old: str, new: str | None) -> None:
    expected = old.replace(":9", ":7.25").replace(": 9}", ": 7.25}") if new is None else new
    assert edited(metrics(old)) == metrics(expected)


def test_a_threshold_that_is_so_already_leaves_the_file_as_it_is() -> None:
    assert edited(metrics("emd: 7.250")) == metrics("emd: 7.250")


def test_the_last_line_of_a_file_needs_no_line_end() -> None:
    text = metrics("emd:\n  threshold:\n    clip: 3").rstrip("\n")
    assert edited(text) == f"{text}\n          embedded: 7.25"


def test_a_byte_order_mark_and_line_ends_stay() -> None:
    text = metrics("emd:\n  threshold:\n    clip: 3 # é\nregion_emd: 4").replace("\n", "\r\n")
    content = b"\xef\xbb\xbf" + text.encode()
    new = edit_thresholds(content, PATH, "embedded", lambda _, check: 7.25)
    assert new == content.replace("é".encode(), "é\r\n          embedded: 7.25".encode()).replace(b": 4\r", b": 7.25\r")


DEFAULTS = """\
defaults:
  metrics: {{emd: {default}}}
cases:
  - {{id: one, instruction: a, source: s, edited: e, coords: [[1, 2, 3, 4]], metrics: {{emd: {own}}}}}
  - {{id: two, instruction: a, source: s, edited: e, task: day, coords: [[1, 2, 3, 4]], metrics: {{region_emd: 1}}}}
"""
B = "{threshold: {b: 2"


@pytest.mark.parametrize(
    ("default", "own", "new_default", "new_own"),
    [
        ("9.5", "{scope: null}", "7.25", "{scope: null}"),
        ("9.5", "8", "7.25", "7.25"),
        ("{threshold: {embedded: 4, b: 1}}", f"{B}}}}}", "{threshold: {embedded: 7.25, b: 1}}", f"{B}}}}}"),
        ("{threshold: {b: 1}}", f"{B}}}}}", "{threshold: {b: 1, embedded: 7.25}}", f"{B}, embedded: 7.25}}}}"),
        ("{scope: null, threshold: 3}", f"{B}}}}}", "{scope: null, threshold: 7.25}", f"{B}, embedded: 7.25}}}}"),
    ],
)
def test_a_threshold_of_the_defaults_is_changed_once(default: str, own: str, new_default: str, new_own: str) -> None:
    new = edited(DEFAULTS.format(default=default, own=own), {"emd": 7.25})
    assert new == DEFAULTS.format(default=new_default, own=new_own)


def test_a_control_gets_the_new_threshold_too() -> None:
    text = metrics("emd: {threshold: 9.5, expect: fail}")
    assert edited(text) == metrics("emd: {threshold: 7.25, expect: fail}")


def test_two_checks_that_want_different_numbers_of_one_place_are_both_named() -> None:
    content = DEFAULTS.format(default="9.5", own="{scope: null}").encode()
    with pytest.raises(CaseError) as caught:
        edit_thresholds(content, PATH, "embedded", lambda case, check: {None: 3.5, "day": 4.5}[case.task])
    assert str(caught.value).splitlines()[0] == (
        "a.edit.yaml:2:18: metric 'emd' in case 'one' (to be 3.5) and metric 'emd' in case 'two' of task 'day' "
        "(to be 4.5) share one threshold"
    )
    with pytest.raises(CaseError, match=r"'one' \(to be 3.5\) and metric 'emd' in case 'two' of task 'day' \(to stay"):
        edit_thresholds(content, PATH, "embedded", lambda case, check: 3.5 if case.task is None else None)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("emd: {threshold: &t 0.5, tolerance: *t}", "'cases[0].metrics.emd.tolerance'"),
        ("emd: {threshold: {embedded: &t 3, clip: *t}}", "'cases[0].metrics.emd.threshold.clip'"),
        ("region_emd: &t 3\nemd: {threshold: {clip: *t}}", "'cases[0].metrics.emd.threshold.clip'"),
    ],
)
def test_a_number_that_is_something_else_too_is_not_changed(text: str, what: str) -> None:
    with pytest.raises(CaseError, match="would change with this threshold") as caught:
        edited(metrics(text))
    assert what in str(caught.value)


def test_a_check_that_would_gain_a_threshold_is_named() -> None:
    text = DEFAULTS.format(default="{threshold: {b: 1}}", own="{threshold: {b: 2}}")
    with pytest.raises(CaseError, match="'emd' in case 'one' cannot be changed without changing others"):
        edit_thresholds(text.encode(), PATH, "embedded", lambda case, _: 3.5 if case.task else None)


def test_a_whole_number_by_its_tag_cannot_become_another() -> None:
    with pytest.raises(CaseError, match=r"a\.edit\.yaml:8:12: "):
        edited(metrics("emd: !!int 9"))


def test_a_file_with_a_mistake_is_not_changed() -> None:
    with pytest.raises(CaseError, match="unknown metric 'emdd'"):
        edited(metrics("emdd: 9\nemd: 8"))


@pytest.mark.parametrize(
    "profile", ["clip b32", "8", "true", "1e3", "a: b", "x # y", "é", '"q"', "null", "y", "~", "*a"]
)
def test_a_profile_of_any_name_can_be_added(profile: str, tmp_path: Path) -> None:
    for text in ("emd: {threshold: {clip: 3}}", "emd:\n  threshold:\n    clip: 3"):
        path = tmp_path / "a.edit.yaml"
        path.write_text(edited(metrics(text), profile=profile), "utf-8")
        ((_, _, check),) = checks_of(load_cases(path))
        assert check.threshold == {"clip": 3, profile: 7.25}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_back_by_readers_of_yaml_1_1(number: float) -> None:
    assert yaml.safe_load(number_text(number)) == number


def test_the_diff_shows_the_numbers_alone() -> None:
    old, new = metrics("emd: 9.5 # why"), metrics("emd: 7.25 # why")
    lines = list(unified_diff(PATH, old.encode(), new.encode()))
    assert lines[:2] == ["--- a.edit.yaml", "+++ a.edit.yaml"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-      emd: 9.5 # why", "+      emd: 7.25 # why"]


def test_files_are_replaced_whole_and_keep_their_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "a.edit.yaml", tmp_path / "link.edit.yaml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_files({link: b"new"})
    assert path.read_bytes() == b"new"
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.edit.yaml", "link.edit.yaml"]


def test_no_file_is_replaced_when_one_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "a.edit.yaml"
    path.write_bytes(b"old")
    with pytest.raises(EditEvalError, match=r"b\.edit\.yaml: cannot be written: No such file"):
        write_files({path: b"new", tmp_path / "gone" / "b.edit.yaml": b"new"})
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.edit.yaml"]


COMMENTS = st.sampled_from(["", "  # why: {a, [b", " # 9.5", "   # it's *that* &much", " #é"])
NUMBERS = st.sampled_from(["9.5", "3", "-1.5", "+0.25", "1e-3", ".5", "1_000.0", "0x10", "0"])
STYLES = ("short", "flow", "flow profiles", "flow other", "block", "block profiles", "block other")


@st.composite
def check_lines(draw: st.DrawFn, metric: str, indent: str) -> list[str]:
    """A metric's entry in one of many styles, with comments everywhere."""
    number, other, style = draw(NUMBERS), draw(NUMBERS), draw(st.sampled_from(STYLES))
    quote, inner = draw(st.sampled_from(["", "'", '"'])), draw(st.sampled_from(["  ", "    "]))
    space, comma = draw(st.sampled_from(["", " "])), draw(st.sampled_from(["", ","]))

    def comment() -> str:
        return draw(COMMENTS)

    key = f"{indent}{quote}{metric}{quote}:"
    match style:
        case "short":
            return [f"{key} {number}{comment()}"]
        case "flow":
            return [f"{key} {{{space}threshold: {number}{comma}{space}}}{comment()}"]
        case "flow profiles" | "flow other":
            mine = f"embedded: {number}, " if style == "flow profiles" else ""
            lines = [f"{key} {{scope: null, threshold: {{{mine}{comment()}", f"{indent} b: {other}{comma}{comment()}"]
            return [*lines, f"{indent} {space}}}}}{comment()}"]
        case "block":
            lines = [f"{key}{comment()}", f"{indent}{inner}scope: null{comment()}"]
            return [*lines, f"{indent}{inner}threshold: {number}{comment()}"]
    lines = [
        f"{key}{comment()}",
        f"{indent}{inner}threshold:{comment()}",
        f"{indent}{inner}{inner}b: {other}{comment()}",
    ]
    if style == "block profiles":
        lines.append(f"{indent}{inner}{inner}embedded: {number}{comment()}")
    return [*lines, f"{indent}# after{comment()}", f"{indent}{inner}scope: null{comment()}"]


@st.composite
def case_files(draw: st.DrawFn) -> str:
    lines = ["# top"]
    if draw(st.booleans()):
        lines += ["defaults:" + draw(COMMENTS), "  metrics:", *draw(check_lines("emd", "    "))]
    lines.append("cases:" + draw(COMMENTS))
    for index in range(draw(st.integers(1, 3))):
        lines += CASE.format(id=f"case{index}").rstrip("\n").split("\n")
        lines.append(f"    metrics:{draw(COMMENTS)}")
        for metric in draw(st.sampled_from([["emd"], ["region_emd"], ["region_emd", "emd"]])):
            lines += draw(check_lines(metric, "      "))
        lines.append(draw(st.sampled_from(["", "# between", "    # between"])))
    line_break = draw(st.sampled_from(["\n", "\r\n"]))
    return line_break.join(lines) + draw(st.sampled_from(["", line_break]))


def comment_of(line: str) -> str:
    return line.partition(" #")[2]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=case_files(), number=st.sampled_from([7.25, 12.0, 1e-07, -3.5e30]), data=st.data())
def test_any_file_keeps_all_but_its_thresholds(text: str, number: float, data: Any) -> None:
    metric = data.draw(st.sampled_from(["emd", "region_emd"]))
    content = edit_thresholds(
        text.encode(), PATH, "embedded", lambda _, check: number if check.metric == metric else None
    )
    new = content.decode()
    written = number_text(number)
    old_lines = text.split("\n")
    for after in new.split("\n"):
        if old_lines and after == old_lines[0]:
            old_lines.pop(0)
        elif after.strip() != f"embedded: {written}" or (old_lines and "embedded:" in old_lines[0]):
            assert written in after
            assert comment_of(after) == comment_of(old_lines.pop(0))
    assert not old_lines
    assert new.count("\r\n") in (0, new.count("\n"))
    for expected, source in ((None, text), (number, new)):
        for _, _, check in checks_of(_loaded(source)):
            if check.metric == metric and expected is not None:
                threshold = check.threshold
                assert (threshold["embedded"] if isinstance(threshold, dict) else threshold) == expected
    assert _others(text, metric) == _others(new, metric)


def _loaded(text: str) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.edit.yaml"
        path.write_bytes(text.encode())
        return load_cases(path)


def _others(text: str, metric: str) -> list[object]:
    """What the file says beside the thresholds of the metric, by PyYAML's own reader."""
    data = yaml.safe_load(text.replace("1e-3", "0.001"))
    found: list[object] = []
    for part in (data.get("defaults") or {"metrics": {}}, *data["cases"]):
        rest = {key: value for key, value in part["metrics"].items() if key != metric}
        found.append({**part, "metrics": rest})
    return found
