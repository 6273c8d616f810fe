# ruff: noqa: E501  (a mistake per line reads best)
import json
import pickle
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.case_schema import SCHEMA_PATH, case_file_schema
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import (
    BrokenCase,
    BrokenCheck,
    CaseFile,
    CheckSpec,
    EditCase,
    ResolvedCheck,
    resolve_check,
    threshold_for,
)
from pytest_editeval.config import load_profile
from pytest_editeval.errors import CaseError
from pytest_editeval.profiles import MetricSettings, PipeSettings, Profile
from pytest_editeval.registry import BUILTIN_METRICS

NAME = "x.edit.yaml"
EMBEDDED = load_profile(None)
KNOWN = "known: dinov3_structure_similarity, emd, region_emd, sam_clip_cls_sim, sam_dino_cls_sim"
BOX = (120.0, 200.0, 260.0, 330.0)

# Verbatim from the issue that asks for the format.
EXAMPLE = """\
defaults:                       # merged under every case of the file
  metrics: {region_emd: {threshold: {embedded: 4.0}}}
cases:
  - id: red_scarf
    instruction: Make the scarf red.
    task: color_alter           # becomes a marker, as do tags
    tags: [people]
    source: images/astronaut.png        # relative to this file
    edited: edits/astronaut_red.png
    coords: [[120, 200, 260, 330]]
    metrics:
      emd: {threshold: 9.5}             # or {threshold: {embedded: 3.1, clip-b32: 9.5}}: a threshold belongs to a profile
      dinov3_structure_similarity: {threshold: 0.8, patch_mask_threshold: 0.1}
      sam_clip_cls_sim:
        threshold: 0.85
        pairs: [{source: [120,200,260,330], edited: [118,200,262,331]}]   # or the flat list: source half, then edited half
    expect: pass                        # `fail` makes it a control: the test passes only if the metric catches the edit
"""


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str) -> CaseFile:
    path = Path(NAME)
    path.write_text(text, encoding="utf-8")
    return load_cases(path)


def case(metrics: str, more: str = "", defaults: str = "") -> str:
    """A file with one case, whose `metrics` begin in line 7 and column 7."""
    head = f"defaults: {defaults}\n" if defaults else "# no defaults\n"
    lines = "\n".join(f"      {line}" for line in metrics.splitlines())
    return f"{head}cases:\n  - id: c\n    instruction: Do it.\n    source: a.png\n    edited: b.png\n    metrics:\n{lines}\n{more}"


def only(text: str) -> EditCase:
    (found,) = load(text).cases
    assert isinstance(found, EditCase), [str(error) for error in found.errors]
    return found


def check(text: str, metric: str = "emd") -> CheckSpec:
    (found,) = (check for check in only(text).checks if isinstance(check, CheckSpec) and check.metric == metric)
    return found


def resolved(text: str, metric: str = "emd", profile: Profile = EMBEDDED) -> ResolvedCheck:
    return resolve_check(only(text), check(text, metric), profile)


def mistakes(text: str) -> list[str]:
    """Every mistake that is found in a file, in the order of its parts."""
    try:
        file = load(text)
    except CaseError as error:
        return [str(mistake) for mistake in getattr(error, "errors", (error,))]
    found: list[CaseError] = []
    for part in file.cases:
        checks = part.checks if isinstance(part, EditCase) else (part,)
        found += [error for check in checks if not isinstance(check, CheckSpec) for error in check.errors]
    return [str(error) for error in found]


def test_the_example(in_directory: Path) -> None:
    found = only(EXAMPLE)
    assert (found.id, found.instruction, found.task, found.tags) == (
        "red_scarf", "Make the scarf red.", "color_alter", ("people",),
    )  # fmt: skip
    assert found.source == in_directory / "images" / "astronaut.png"
    assert (found.source_text, found.edited_text) == ("images/astronaut.png", "edits/astronaut_red.png")
    assert (str(found.position), str(found.source_position), str(found.edited_position)) == (
        f"{NAME}:4:9", f"{NAME}:8:13", f"{NAME}:9:13",
    )  # fmt: skip
    assert (found.expect, found.coords, found.path) == ("pass", (BOX,), Path(NAME))
    region, emd, structure, similarity = (part for part in found.checks if isinstance(part, CheckSpec))
    assert [region.metric, emd.metric, structure.metric, similarity.metric] == [
        "region_emd", "emd", "dinov3_structure_similarity", "sam_clip_cls_sim",
    ]  # fmt: skip
    assert (region.threshold, str(region.position), str(region.threshold_position)) == (
        {"embedded": 4.0}, f"{NAME}:2:13", f"{NAME}:2:37",
    )  # fmt: skip
    assert (emd.threshold, emd.coords, emd.pairs, emd.scope_given) == (9.5, (BOX,), None, False)
    assert (str(emd.position), str(emd.threshold_position)) == (f"{NAME}:12:7", f"{NAME}:12:24")
    assert structure.patch_mask_threshold == 0.1
    assert (similarity.coords, similarity.pairs) == ((), ((BOX, (118.0, 200.0, 262.0, 331.0)),))
    assert resolve_check(found, similarity, EMBEDDED).coords == (BOX, (118.0, 200.0, 262.0, 331.0))
    assert resolve_check(found, region, EMBEDDED).threshold == 4.0


def test_urls(in_directory: Path) -> None:
    found = only(case("emd: 1").replace("a.png", "s3://bucket/a b.png"))
    assert (found.source, found.edited) == ("s3://bucket/a b.png", in_directory / "b.png")
    assert found.source_text == found.source
    assert (str(found.source_position), str(found.edited_position)) == (f"{NAME}:5:13", f"{NAME}:6:13")
    SCHEMA.validate(yaml.safe_load(case("emd: 1").replace("a.png", "s3://bucket/a.png")))
    text = "defaults: {source: 'hf://datasets/o/n/a.png', edited: 'https://u:p@h/b.png?sig=1'}\n" + HEAD
    found = only(text.replace("    source: a\n    edited: b\n", ""))
    assert (found.source, found.edited) == ("hf://datasets/o/n/a.png", "https://u:p@h/b.png?sig=1")
    assert str(found.edited_position) == f"{NAME}:1:55"
    assert only(case("emd: 1").replace("a.png", "'C:\\a.png'")).source == in_directory / "C:\\a.png"


def test_a_url_without_a_file_in_the_defaults() -> None:
    text = f"defaults: {{source: 's3://'}}\n{HEAD}"
    assert mistakes(text) == [f"{NAME}:1:20: 'source' in defaults must name a file after 's3://'"]


def test_short_form_and_number_formats() -> None:
    found = check(case("emd: 1e-3"))
    assert (found.threshold, str(found.threshold_position)) == (0.001, f"{NAME}:8:12")
    assert check(case("emd: 0")).threshold == 0.0
    assert check(case("emd: {threshold: -2}")).threshold == -2.0


@pytest.mark.parametrize(
    ("default", "own", "threshold"),
    [
        ("{threshold: 4}", "{}", 4),
        ("4", "{}", 4),
        ("4", "{threshold: 5}", 5),
        ("{threshold: 4}", "5", 5),
        ("{threshold: {a: 1, b: 2}}", "{threshold: {b: 3, c: 4}}", {"a": 1, "b": 3, "c": 4}),
        ("{threshold: {a: 1}}", "5", 5),
        ("5", "{threshold: {a: 1}}", {"a": 1}),
    ],
)
def test_thresholds_merge(default: str, own: str, threshold: object) -> None:
    assert check(case(f"emd: {own}", defaults=f"{{metrics: {{emd: {default}}}}}")).threshold == threshold


def test_defaults_merge_key_by_key_and_lists_replace() -> None:
    defaults = (
        "{instruction: I, task: t, tags: [a, b], source: s, edited: e, coords: [[0, 0, 1, 1]], expect: fail,"
        " metrics: {emd: {threshold: 1, scope: null}, region_emd: 2, sam_clip_cls_sim: {threshold: 3, coords: [[0, 0, 9, 9]]}}}"
    )
    text = f"""\
defaults: {defaults}
cases:
  - {{id: one}}
  - id: two
    tags: [c, c]
    task: null
    coords: [[1, 1, 2, 2]]
    expect: pass
    metrics:
      emd: {{expect: fail, patch_mask_threshold: 0.5}}
      region_emd: null
      sam_clip_cls_sim: {{pairs: [{{source: [0, 0, 1, 1], edited: [2, 2, 3, 3]}}], bg_color: [0, 1, 2]}}
"""
    one, two = load(text).cases
    assert isinstance(one, EditCase)
    assert isinstance(two, EditCase)
    assert (one.instruction, one.task, one.tags, one.source_text, one.edited_text) == ("I", "t", ("a", "b"), "s", "e")
    assert (one.expect, one.coords) == ("fail", ((0, 0, 1, 1),))
    assert str(one.source_position) == f"{NAME}:1:59"
    assert (two.task, two.tags, two.coords, two.expect) == (None, ("c",), ((1, 1, 2, 2),), "pass")
    emd, region, similarity = (part for part in one.checks if isinstance(part, CheckSpec))
    assert (emd.scope, emd.scope_given, emd.expect) == (None, True, "fail")
    assert (region.threshold, region.expect) == (2, "fail")
    assert similarity.coords == ((0, 0, 9, 9),)
    emd, similarity = (part for part in two.checks if isinstance(part, CheckSpec))
    assert (emd.threshold, emd.scope_given, emd.expect, emd.patch_mask_threshold) == (1, True, "fail", 0.5)
    assert str(emd.position) == f"{NAME}:10:7"
    assert str(emd.threshold_position) == f"{NAME}:1:138"
    assert similarity.pairs == (((0, 0, 1, 1), (2, 2, 3, 3)),), "boxes of a case replace the default's"
    assert (similarity.threshold, similarity.bg_color, similarity.coords) == (3, (0, 1, 2), ())


def test_anchors_and_merge_keys() -> None:
    text = case("emd: &emd {threshold: 1, scope: null}\nregion_emd: {<<: *emd, threshold: 2}")
    assert (check(text, "region_emd").threshold, check(text, "region_emd").scope_given) == (2, True)


def test_gates_are_read() -> None:
    (gate,) = load(case("emd: 1", more="gates:\n  - {metric: emd, statistic: mean, threshold: 3}\n")).gates
    assert (gate.metric, gate.statistic, gate.threshold, gate.file) == ("emd", "mean", 3.0, NAME)
    assert str(gate.position) == f"{NAME}:10:5"


PROFILE = Profile(
    "mine",
    None,
    {"emd": MetricSettings("emd", PipeSettings("clip-pipe"), "edit_area", 0.25, (1, 2, 3))},
)


def test_a_check_is_completed_from_the_profile() -> None:
    found = resolved(case("emd: {threshold: 1, coords: [[0, 0, 1, 1]]}"), profile=PROFILE)
    assert (found.scope, found.patch_mask_threshold, found.bg_color) == ("edit_area", 0.25, (1, 2, 3))
    text = case("emd: {threshold: 1, coords: [[0, 0, 1, 1]], scope: unedit_area, patch_mask_threshold: 0}")
    found = resolved(text, profile=PROFILE)
    assert (found.scope, found.patch_mask_threshold) == ("unedit_area", 0.0)
    found = resolved(case("emd: {threshold: 1, scope: null}"), profile=PROFILE)
    assert (found.scope, found.coords) == (None, ())
    assert resolved(case("region_emd: {threshold: 1, scope: null}"), "region_emd", PROFILE).scope is None
    text = case("region_emd: {threshold: 1, coords: [[0, 0, 1, 1]]}")
    assert resolved(text, "region_emd", PROFILE).scope == "unedit_area"


def test_boxes_of_a_check() -> None:
    boxes = "    coords: [[0, 0, 1, 1], [1, 1, 2, 2]]\n"
    assert resolved(case("sam_clip_cls_sim: 1", boxes), "sam_clip_cls_sim").coords == ((0, 0, 1, 1), (1, 1, 2, 2))
    odd = resolved(case("sam_clip_cls_sim: {threshold: 1, coords: [[-5, 0, 1, 1]]}", boxes), "sam_clip_cls_sim")
    assert odd.coords == ((-5, 0, 1, 1),), "an odd number is a soft failure at run time, no mistake here"
    text = case("sam_clip_cls_sim: {threshold: 1, scope: null}")
    assert resolved(text, "sam_clip_cls_sim").coords == ()


@pytest.mark.parametrize(
    ("text", "metric", "message"),
    [
        (case("emd: 1"), "emd", "8:7: metric 'emd' in case 'c' has the scope unedit_area, but no boxes\n  add 'coords', or 'scope: null' for the whole image"),
        (case("emd: {threshold: 1, scope: edit_area}"), "emd", "8:7: metric 'emd' in case 'c' has the scope edit_area, but no boxes"),
        (case("emd: {threshold: 1, coords: []}", "    coords: [[0, 0, 1, 1]]\n"), "emd", "8:7: metric 'emd' in case 'c' has the scope unedit_area, but no boxes"),
        (case("sam_dino_cls_sim: 1"), "sam_dino_cls_sim", "8:7: metric 'sam_dino_cls_sim' in case 'c' has the scope edit_area, but no boxes\n  add 'coords' or 'pairs', or"),
        (case("sam_dino_cls_sim: {threshold: 1, pairs: []}"), "sam_dino_cls_sim", "8:7: metric 'sam_dino_cls_sim' in case 'c' has the scope edit_area"),
        (case("emd: {scope: null, threshold: {clip-b32: 1, b: 2}}"), "emd", "8:37: metric 'emd' in case 'c' has no threshold for profile 'embedded'\n  it has thresholds for: b, clip-b32"),
    ],
)  # fmt: skip
def test_a_check_that_cannot_be_completed(text: str, metric: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        resolved(text, metric)
    assert str(caught.value).startswith(f"{NAME}:{message}")


def test_a_metric_that_the_profile_does_not_configure() -> None:
    with pytest.raises(CaseError) as caught:
        resolved(case("sam_dino_cls_sim: {threshold: 1, scope: null}"), "sam_dino_cls_sim", PROFILE)
    assert str(caught.value) == (
        f"{NAME}:8:7: profile 'mine' does not configure metric 'sam_dino_cls_sim', which case 'c' needs\n  it configures: emd"
    )


def test_threshold_for() -> None:
    found = check(case("emd: {threshold: {mine: 2}}"))
    assert threshold_for(found, PROFILE, "c") == 2
    with pytest.raises(
        CaseError, match=f"{NAME}:8:24: metric 'emd' in case 'c' has no threshold for profile 'embedded'"
    ):
        threshold_for(found, EMBEDDED, "c")


ID = "must be made of letters, digits, '_', '-' and '.' (first a letter, digit or '_'), found"
MARKER = "must be a name of letters, digits and '_' (it becomes a pytest marker), found"
PATCH_KEYS = "known: coords, expect, patch_mask_threshold, scope, threshold, tolerance"
OBJECT_KEYS = "known: bg_color, coords, expect, pairs, scope, threshold, tolerance"
CASE_KEYS = "known: bands, controls, coords, edited, edited_pattern, expect, id, instruction, metrics, repeat, scale, source, tags, task"
HEAD = "cases:\n  - id: c\n    instruction: i\n    source: a\n    edited: b\n    metrics: {emd: 1}\n"
S = "sam_clip_cls_sim: {threshold: 1, "
BAD_CHECKS = {
    "unknown metric": ("emdd: 1", f"8:7: unknown metric 'emdd' in case 'c'; did you mean 'emd'?\n  {KNOWN}"),
    "metric is a number": ("7: 1", "8:7: the metric 7 in case 'c' must be text\n  quote it"),
    "metric is empty": ("emd:", "8:7: metric 'emd' in case 'c' has no threshold\n  write 'emd: NUMBER' or 'emd: {threshold: NUMBER}'"),
    "no threshold": ("emd: {scope: null}", "8:7: metric 'emd' in case 'c' has no threshold"),
    "tolerance": ("emd: {threshold: 1, tolerance: -1}", "8:38: 'metrics.emd.tolerance' in case 'c' must be at least 0, found -1"),
    "text": ("emd: high", "8:12: 'metrics.emd' in case 'c' must be a number or a mapping, found 'high'"),
    "quoted": ("emd: '1'", "8:12: 'metrics.emd' in case 'c' must be a number or a mapping, found '1'"),
    "truth": ("emd: true", "8:12: 'metrics.emd' in case 'c' must be a number, found true"),
    "list": ("emd: [1]", "8:12: 'metrics.emd' in case 'c' must be a number or a mapping, found a list"),
    "nan": ("emd: .nan", "8:12: 'metrics.emd' in case 'c' must be a finite number, found .nan"),
    "threshold text": ("emd: {threshold: x}", "8:24: 'metrics.emd.threshold' in case 'c' must be a number or a mapping, found 'x'"),
    "threshold truth": ("emd: {threshold: no}", "8:24: 'metrics.emd.threshold' in case 'c' must be a number, found false"),
    "threshold inf": ("emd: {threshold: -.inf}", "8:24: 'metrics.emd.threshold' in case 'c' must be a finite number, found -.inf"),
    "threshold date": ("emd: {threshold: 2024-01-01}", "8:24: 'metrics.emd.threshold' in case 'c' must be a number or a mapping, found the date 2024-01-01"),
    "threshold of a profile": ("emd: {threshold: {a: x}}", "8:28: 'metrics.emd.threshold.a' in case 'c' must be a number, found 'x'"),
    "no profile": ("emd: {threshold: {}}", "8:24: 'metrics.emd.threshold' in case 'c' must not be empty"),
    "profile is a number": ("emd: {threshold: {1: 1}}", "8:25: the profile 1 in case 'c' must be text\n  quote it"),
    "key": ("emd: {treshold: 1}", f"8:13: unknown key 'treshold' of 'metrics.emd' in case 'c'; did you mean 'threshold'?\n  {PATCH_KEYS}"),
    "key of objects": ("emd: {threshold: 1, bg_color: [0, 0, 0]}", f"8:27: unknown key 'bg_color' of 'metrics.emd' in case 'c'\n  {PATCH_KEYS}"),
    "pairs of patches": ("emd: {threshold: 1, pairs: []}", f"8:27: unknown key 'pairs' of 'metrics.emd' in case 'c'\n  {PATCH_KEYS}"),
    "key of patches": (S + "patch_mask_threshold: 0}", f"8:40: unknown key 'patch_mask_threshold' of 'metrics.sam_clip_cls_sim' in case 'c'; did you mean 'threshold'?\n  {OBJECT_KEYS}"),
    "key is a number": ("emd: {threshold: 1, 5: 1}", "8:27: the key 5 of 'metrics.emd' in case 'c' must be text\n  quote it"),
    "key is nothing": ("emd: {threshold: 1, ~: 1}", "8:27: the key None of 'metrics.emd' in case 'c' must be text\n  quote it"),
    "scope": ("emd: {threshold: 1, scope: all}", "8:34: 'metrics.emd.scope' in case 'c' must be 'edit_area' or 'unedit_area', found 'all'"),
    "expect": ("emd: {threshold: 1, expect: no}", "8:35: 'metrics.emd.expect' in case 'c' must be 'pass' or 'fail', found false"),
    "patch_mask_threshold": ("emd: {threshold: 1, patch_mask_threshold: 1}", "8:49: 'metrics.emd.patch_mask_threshold' in case 'c' must be less than 1, found 1"),
    "patch_mask_threshold text": ("emd: {threshold: 1, patch_mask_threshold: x}", "8:49: 'metrics.emd.patch_mask_threshold' in case 'c' must be a number, found 'x'"),
    "patch_mask_threshold truth": ("emd: {threshold: 1, patch_mask_threshold: no}", "8:49: 'metrics.emd.patch_mask_threshold' in case 'c' must be a number, found false"),
    "coords": ("emd: {threshold: 1, coords: 3}", "8:35: 'metrics.emd.coords' in case 'c' must be a list, found 3"),
    "one box, no list": ("emd: {threshold: 1, coords: [1, 2, 3, 4]}", "8:35: 'metrics.emd.coords' in case 'c' must be a list of boxes: [[x1, y1, x2, y2], ...]"),
    "inverted box": ("emd: {threshold: 1, coords: [[0, 0, 1, 1], [5, 0, 1, 1]]}", "8:50: 'metrics.emd.coords[1]' in case 'c' is an inverted or empty box [5, 0, 1, 1]: x2 must be greater than x1, and y2 than y1"),
    "coords and pairs": (S + "coords: [], pairs: []}", "8:52: metric 'sam_clip_cls_sim' in case 'c' has both 'coords' and 'pairs'\n  keep one"),
    "pair of one": (S + "pairs: [{source: [0, 0, 1, 1]}]}", "8:48: 'metrics.sam_clip_cls_sim.pairs[0].edited' in case 'c' is missing"),
    "pair of three": (S + "pairs: [{source: [0, 0, 1, 1], edited: [0, 0, 1, 1], edit: 1}]}", "8:93: unknown key 'edit' of 'metrics.sam_clip_cls_sim.pairs[0]' in case 'c'; did you mean 'edited'?\n  known: edited, source"),
    "pair of lists": (S + "pairs: [[[0, 0, 1, 1], [0, 0, 1, 1]]]}", "8:48: 'metrics.sam_clip_cls_sim.pairs[0]' in case 'c' must be a mapping, found a list"),
    "pair's box": (S + "pairs: [{source: [0, 0, 1, .inf], edited: [0, 0, 1, 1]}]}", "8:67: 'metrics.sam_clip_cls_sim.pairs[0].source[3]' in case 'c' must be a finite number, found .inf"),
    "colour": (S + "bg_color: white}", "8:50: 'metrics.sam_clip_cls_sim.bg_color' in case 'c' must be a colour, 3 whole numbers [red, green, blue]; found 'white'"),
    "colour of floats": (S + "bg_color: [0, 0.5, 0]}", "8:54: 'metrics.sam_clip_cls_sim.bg_color[1]' in case 'c' must be a whole number, found 0.5"),
    "colour below 0": (S + "bg_color: [0, 0, -1]}", "8:57: 'metrics.sam_clip_cls_sim.bg_color[2]' in case 'c' must be at least 0, found -1"),
}  # fmt: skip


@pytest.mark.parametrize(("metrics", "message"), BAD_CHECKS.values(), ids=BAD_CHECKS)
def test_a_mistake_in_a_check_leaves_the_others(metrics: str, message: str) -> None:
    found = only(case(metrics + "\nregion_emd: 1"))
    broken, good = found.checks
    assert isinstance(broken, BrokenCheck)
    assert isinstance(good, CheckSpec)
    assert broken.name == metrics.split(":")[0]
    (error,) = broken.errors
    assert str(error).startswith(f"{NAME}:{message}")
    assert str(error) == f"{NAME}:{message}" or message.endswith("no threshold")


BAD_CASES = {
    "text": ("cases: [c, {id: d}]", "1:9: case[0] must be a mapping, found 'c'"),
    "nothing": ("cases:\n  -\n  - {id: d}", "2:4: case[0] must be a mapping, found nothing"),
    "no id": (HEAD.replace("id: c\n    ", ""), "2:5: 'id' in case[0] is missing"),
    "id is a number": (HEAD.replace("id: c", "id: 7"), "2:9: 'id' in case[0] must be text, found 7\n  quote it: \"7\""),
    "id is a truth": (HEAD.replace("id: c", "id: on"), "2:9: 'id' in case[0] must be text, found true\n  quote it: \"on\""),
    "id is a date": (HEAD.replace("id: c", "id: 2024-01-02"), "2:9: 'id' in case[0] must be text, found the date 2024-01-02\n  quote it: \"2024-01-02\""),
    "id with a space": (HEAD.replace("id: c", "id: a b"), f"2:9: 'id' in case 'a b' {ID} 'a b'"),
    "id with colons": (HEAD.replace("id: c", "id: a::b"), f"2:9: 'id' in case 'a::b' {ID} 'a::b'"),
    "id with brackets": (HEAD.replace("id: c", "id: a[b]"), f"2:9: 'id' in case 'a[b]' {ID} 'a[b]'"),
    "id with a slash": (HEAD.replace("id: c", "id: a/b"), f"2:9: 'id' in case 'a/b' {ID} 'a/b'"),
    "id with a line break": (HEAD.replace("id: c", 'id: "a\\n"'), f"2:9: 'id' in case 'a\\n' {ID} 'a\\n'"),
    "empty id": (HEAD.replace("id: c", "id: ''"), f"2:9: 'id' in case '' {ID} ''"),
    "unknown key": (HEAD + "    coord: []", f"7:5: unknown key 'coord' in case 'c'; did you mean 'coords'?\n  {CASE_KEYS}"),
    "scope of a case": (HEAD + "    scope: null", "7:5: unknown key 'scope' in case 'c'; it is a key of a metric\n  metrics: {NAME: {threshold: ..., scope: ...}}"),
    "threshold of a case": (HEAD + "    threshold: 1", "7:5: unknown key 'threshold' in case 'c'; it is a key of a metric\n  metrics: {NAME: {threshold: ...}}"),
    "key is a number": (HEAD + "    1: 2", "7:5: the key 1 in case 'c' must be text\n  quote it"),
    "no instruction": (HEAD.replace("instruction: i\n    ", ""), "2:5: 'instruction' in case 'c' is missing"),
    "instruction null": (HEAD.replace("instruction: i", "instruction: null"), "3:5: 'instruction' in case 'c' is missing"),
    "empty instruction": (HEAD.replace("instruction: i", "instruction: ' '"), "3:18: 'instruction' in case 'c' must not be empty"),
    "instruction is a number": (HEAD.replace("instruction: i", "instruction: 1e3"), "3:18: 'instruction' in case 'c' must be text, found 1000.0\n  quote it: \"1e3\""),
    "no source": (HEAD.replace("source: a\n    ", ""), "2:5: 'source' in case 'c' is missing"),
    "source is a list": (HEAD.replace("source: a", "source: [a]"), "4:13: 'source' in case 'c' must be text, found a list"),
    "URL without a file": (HEAD.replace("source: a", "source: s3://"), "4:13: 'source' in case 'c' must name a file after 's3://'"),
    "URL of slashes": (HEAD.replace("edited: b", "edited: file:///"), "5:13: 'edited' in case 'c' must name a file after 'file://'"),
    "URL of a query": (HEAD.replace("source: a", "source: https://?a=/b"), "4:13: 'source' in case 'c' must name a file after 'https://'"),
    "URL with a control character": (HEAD.replace("source: a", 'source: "s3://b/a\\t.png"'), "4:13: 'source' in case 'c' must not hold control characters"),
    "source with a NUL": (HEAD.replace("source: a", 'source: "a\\0"'), "4:13: 'source' in case 'c' must not hold control characters"),
    "seed without repeat": (HEAD.replace("edited: b", "edited: b{seed}"), "5:13: 'edited' in case 'c' has {seed}, but the case has no 'repeat'"),
    "repeat without seed": (HEAD + "    repeat: {pass: 4, of: 5}", "5:13: 'edited' in case 'c' needs {seed}, because of 'repeat'"),
    "repeat of too few": (HEAD + "    repeat: {pass: 6, of: 5}", "7:13: 'repeat' in case 'c' asks for 6 of 5 edits to pass"),
    "repeat without pass": (HEAD + "    repeat: {of: 5}", "7:5: 'repeat.pass' in case 'c' is missing"),
    "seeds of repeat": (HEAD + "    repeat: {pass: 1, of: 2, seeds: [1, 1]}", "7:13: 'repeat' in case 'c' must have 2 different 'seeds', found 1"),
    "placeholder": (HEAD + "    edited_pattern: 'a/{name}.png'", "7:21: 'edited_pattern' in case 'c' has the unknown placeholder {name}; known: {id}, {seed}, {task}, {file}, {path}"),
    "controls": (HEAD + "    controls: always", "7:15: 'controls' in case 'c' must be 'auto' or 'off', found 'always'"),
    "no metrics": (HEAD.replace("    metrics: {emd: 1}\n", ""), f"2:5: no metrics in case 'c'\n  {KNOWN}"),
    "empty metrics": (HEAD.replace("{emd: 1}", "{}"), f"6:5: no metrics in case 'c'\n  {KNOWN}"),
    "metrics are a list": (HEAD.replace("{emd: 1}", "[emd]"), "6:14: 'metrics' in case 'c' must be a mapping, found a list"),
    "task": (HEAD + "    task: re-colour", f"7:11: 'task' in case 'c' {MARKER} 're-colour'"),
    "task of pytest": (HEAD + "    task: xfail", "7:11: 'task' in case 'c' must not be 'xfail', which is a marker of pytest itself"),
    "task that is a keyword": (HEAD + "    task: not", "7:11: 'task' in case 'c' must not be 'not', which `pytest -m` could not select"),
    "tags are text": (HEAD + "    tags: a", "7:11: 'tags' in case 'c' must be a list, found 'a'"),
    "tag with an underscore": (HEAD + "    tags: [ok, _a]", f"7:16: 'tags[1]' in case 'c' {MARKER} '_a'"),
    "tag is a truth": (HEAD + "    tags: [yes]", "7:12: 'tags[0]' in case 'c' must be text, found true\n  quote it: \"yes\""),
    "expect": (HEAD + "    expect: failure", "7:13: 'expect' in case 'c' must be 'pass' or 'fail', found 'failure'"),
    "box of 3": (HEAD + "    coords: [[1, 2, 3]]", "7:14: 'coords[0]' in case 'c' must be 4 numbers [x1, y1, x2, y2]; found 3"),
    "box of 5": (HEAD + "    coords: [[1, 2, 3, 4, 5]]", "7:14: 'coords[0]' in case 'c' must be 4 numbers [x1, y1, x2, y2]; found 5"),
    "box of text": (HEAD + "    coords: [[1, 2, 3, '4']]", "7:24: 'coords[0][3]' in case 'c' must be a number, found '4'"),
    "box and no box": (HEAD + "    coords: [[1, 2, 3, 4], 5]", "7:28: 'coords[1]' in case 'c' must be a box, 4 numbers [x1, y1, x2, y2]; found 5"),
    "box of truths": (HEAD + "    coords: [[1, 2, 3, true]]", "7:24: 'coords[0][3]' in case 'c' must be a number, found true"),
    "box with nothing": (HEAD + "    coords: [[1, 2, 3, null]]", "7:24: 'coords[0][3]' in case 'c' must be a number, found nothing"),
    "box to infinity": (HEAD + "    coords: [[1, 2, 3, .inf]]", "7:24: 'coords[0][3]' in case 'c' must be a finite number, found .inf"),
    "box of nan": (HEAD + "    coords: [[.nan, 2, 3, 4]]", "7:15: 'coords[0][0]' in case 'c' must be a finite number, found .nan"),
    "inverted box": (HEAD + "    coords: [[3, 2, 1, 4]]", "7:14: 'coords[0]' in case 'c' is an inverted or empty box [3, 2, 1, 4]: x2 must be"),
    "empty box": (HEAD + "    coords: [[1, 2, 3, 2]]", "7:14: 'coords[0]' in case 'c' is an inverted or empty box [1, 2, 3, 2]: x2 must be"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_CASES.values(), ids=BAD_CASES)
def test_a_mistake_in_a_case_leaves_the_others(text: str, message: str) -> None:
    good = "\n  - {id: good, instruction: i, source: a, edited: b, metrics: {emd: 1}}\n"
    if ", {id: d}]" in text:
        broken, *_ = load(text).cases
    else:
        broken, *_, last = load(text.replace("\n  - {id: d}", "") + good).cases
        assert isinstance(last, EditCase)
        assert last.id == "good"
    assert isinstance(broken, BrokenCase)
    (error,) = broken.errors
    assert str(error).startswith(f"{NAME}:{message}")


BAD_FILES = {
    "empty": ("", "1:1: the file has no cases"),
    "only a comment": ("# nothing yet\n", "1:1: the file has no cases"),
    "no cases": ("defaults: {}", "1:1: the file has no cases"),
    "empty cases": ("defaults: {}\ncases: []", "2:1: the file has no cases"),
    "cases are a mapping": ("cases: {a: 1}", "1:8: 'cases' must be a list, found a mapping"),
    "list": ("- id: c", "1:1: an edit case file is a mapping with the key 'cases', found a list"),
    "unknown key": (HEAD + "default: {}", "7:1: unknown key 'default'; did you mean 'defaults'?\n  known: cases, defaults, gates"),
    "key is a number": (HEAD + "1: {}", "7:1: unknown key 1\n  known: cases, defaults, gates"),
    "defaults are a list": (HEAD + "defaults: []", "7:11: defaults must be a mapping, found a list"),
    "defaults with an id": (HEAD + "defaults: {id: a}", "7:12: unknown key 'id' in defaults\n  known: bands, controls, coords, edited, edited_pattern, expect, instruction"),
    "metric in defaults": (HEAD + "defaults: {metrics: {emdd: 1}}", "7:22: unknown metric 'emdd' in defaults; did you mean 'emd'?"),
    "threshold in defaults": (HEAD + "defaults: {metrics: {emd: {threshold: [1]}}}", "7:39: 'metrics.emd.threshold' in defaults must be a number"),
    "empty metric in defaults": (HEAD + "defaults: {metrics: {emd: null}}", "7:27: metric 'emd' in defaults is empty"),
    "tolerance in defaults": (HEAD + "defaults: {tolerance: 1}", "7:12: unknown key 'tolerance' in defaults; it is a key of a metric"),
    "box in defaults": (HEAD + "defaults: {coords: [[1]]}", "7:21: 'coords[0]' in defaults must be 4 numbers"),
    "syntax": (HEAD + "    coords: [[1, 2]", "8:1: not YAML: "),
    "unsafe tag": (HEAD + "    coords: !!python/object/apply:os.system [ls]", "7:13: unsafe YAML tag '!!python/object/apply:os.system'"),
    "tuple": (HEAD + "    coords: !tuple [1]", "7:13: unknown YAML tag '!tuple'"),
    "duplicate key": (HEAD + "    id: d", "7:5: duplicate key 'id'; it is first written in line 2"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_mistake_in_the_file(text: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        load(text)
    assert str(caught.value).startswith(f"{NAME}:{message}")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_duplicate_ids() -> None:
    text = case("emd: 1", "  - {id: c, instruction: i, source: a, edited: b, metrics: {emd: 1}}\n")
    first, second = load(text).cases
    assert isinstance(first, EditCase)
    assert isinstance(second, BrokenCase)
    assert second.name == "case[1]"
    assert mistakes(text) == [f"{NAME}:9:10: case id 'c' is taken; it is first used in line 3"]
    aliased = case("emd: 1").replace("  - id", "  - &c\n    id") + "  - *c\n"
    assert mistakes(aliased) == [f"{NAME}:4:9: case id 'c' is taken; it is first used in line 4"]


def test_a_metrics_key_in_a_case_whose_id_is_wrong_too() -> None:
    """The id is told whole, whatever is in it."""
    text = HEAD.replace("id: c", "id: a;b") + "    scope: null"
    found = [line for line in mistakes(text) if "scope" in line]
    assert found[0].startswith(f"{NAME}:7:5: unknown key 'scope' in case 'a;b'; it is a key of a metric")


def test_all_mistakes_are_found_in_one_go() -> None:
    text = """\
default: {}
defaults: {task: 7}
cases:
  - id: a
    tags: [x-y, skip]
    source: 1
    coords: [[1, 2, 3], [4, 5, 1, 9]]
    metrics:
      emdd: 4
      emd: {threshold: high, bg_color: 1}
      region_emd: {}
  - 7
"""
    lines = [line.split(":", 3)[1:3] for line in mistakes(text)]
    assert lines == [list(pair) for pair in (("1", "1"), ("2", "18"), ("5", "12"), ("5", "17"), ("6", "13"), ("7", "14"), ("7", "25"), ("9", "7"), ("10", "24"), ("10", "30"), ("12", "5"))]  # fmt: skip
    whole = text.replace("default: {}\n", "").replace("defaults: {task: 7}\n", "")
    lines = [line.split(":", 3)[1:3] for line in mistakes(whole)]
    assert ["2", "5"] in lines, "the missing instruction"
    assert ["9", "7"] in lines, "the missing threshold"


def test_schema_file_is_up_to_date() -> None:
    assert json.loads(SCHEMA_PATH.read_text(encoding="utf-8")) == case_file_schema(), "write it anew: editeval schema"


SCHEMA = jsonschema.Draft202012Validator(case_file_schema())


def test_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(case_file_schema())
    assert case_file_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(case_file_schema()["$defs"]["Metrics"]["properties"]) == {spec.name for spec in BUILTIN_METRICS}
    SCHEMA.validate(yaml.safe_load(EXAMPLE))


# What a JSON Schema cannot know, or JSON cannot say.
BEYOND_SCHEMA = ("inverted", "empty box", "infinity", "nan", "inf", "NUL", "instruction", "no source", "seed", "repeat of", "placeholder", "metrics", "no threshold", "metric is empty", "coords and pairs", "underscore", "keyword", "line break", "pair's box", "is a number", "is nothing", "task", "URL")  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in [*BAD_CASES, *BAD_CHECKS] if not any(word in name for word in BEYOND_SCHEMA)]
)
def test_schema_refuses_what_the_reader_refuses(name: str) -> None:
    text = BAD_CASES[name][0] if name in BAD_CASES else case(BAD_CHECKS[name][0])
    data = json.loads(json.dumps(yaml.safe_load(text), default=str))
    assert not SCHEMA.is_valid(data) or "date" in name


NUMBERS = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)
BOXES = st.tuples(NUMBERS, NUMBERS, st.integers(1, 500), st.integers(1, 500)).map(
    lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
LINES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
PATHS = LINES.filter(lambda text: "://" not in text and "{seed}" not in text)  # which have rules of their own
MARKERS = st.from_regex(r"[a-z][a-z0-9_]{3,8}x", fullmatch=True).filter(lambda name: not name.isspace())
COMMON = {
    "scope": st.sampled_from(["edit_area", "unedit_area", None]),
    "expect": st.sampled_from(["pass", "fail"]),
}
THRESHOLDS = NUMBERS | st.dictionaries(st.just("embedded") | NAMES, NUMBERS, min_size=1, max_size=3)
PATCH_CHECKS = st.fixed_dictionaries(
    {"threshold": THRESHOLDS},
    optional={**COMMON, "coords": st.lists(BOXES, max_size=2), "patch_mask_threshold": st.floats(0, 0.99)},
)
PAIRS = st.lists(st.fixed_dictionaries({"source": BOXES, "edited": BOXES}), max_size=2)
OBJECT_CHECKS = st.fixed_dictionaries(
    {"threshold": THRESHOLDS},
    optional={**COMMON, "pairs": PAIRS, "bg_color": st.tuples(*[st.integers(0, 255)] * 3).map(list)},
)
METRICS = st.fixed_dictionaries(
    {"emd": NUMBERS},
    optional={spec.name: OBJECT_CHECKS if spec.inputs == "objects" else PATCH_CHECKS for spec in BUILTIN_METRICS[1:]},
)
CASES = st.fixed_dictionaries(
    {"id": NAMES, "instruction": LINES, "source": PATHS, "edited": PATHS, "metrics": METRICS},
    optional={
        "task": MARKERS,
        "tags": st.lists(MARKERS, max_size=2, unique=True),
        "coords": st.lists(BOXES, max_size=3),
        "expect": st.sampled_from(["pass", "fail"]),
    },
)


def quoted(data: Any) -> str:
    """As JSON, which is YAML that leaves no doubt what is text."""
    return json.dumps(data, ensure_ascii=False, indent=1)


@given(st.lists(CASES, min_size=1, max_size=3, unique_by=lambda written: written["id"]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]]) -> None:
    data = {"cases": written}
    SCHEMA.validate(data)
    path = tmp_path_factory.getbasetemp() / NAME
    path.write_text(quoted(data), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").split("\n")
    read = load_cases(path).cases
    assert len(read) == len(written)
    for raw, found in zip(written, read, strict=True):
        assert isinstance(found, EditCase)
        assert found.id == raw["id"]
        assert (found.instruction, found.source_text, found.edited_text) == (
            raw["instruction"],
            raw["source"],
            raw["edited"],
        )
        assert found.source == path.parent / raw["source"]
        assert (found.task, list(found.tags), found.expect) == (
            raw.get("task"),
            raw.get("tags", []),
            raw.get("expect", "pass"),
        )
        assert [list(box) for box in found.coords] == raw.get("coords", [])
        assert [part.metric for part in found.checks if isinstance(part, CheckSpec)] == list(raw["metrics"])
        for part in found.checks:
            assert isinstance(part, CheckSpec)
            settings = raw["metrics"][part.metric]
            settings = settings if isinstance(settings, dict) else {"threshold": settings}
            assert part.threshold == settings["threshold"]
            assert (part.scope_given, part.scope) == ("scope" in settings, settings.get("scope"))
            assert part.expect == settings.get("expect", found.expect)
            assert lines[part.position.line - 1][part.position.column - 1 :].startswith(f'"{part.metric}"')
            try:
                complete = resolve_check(found, part, EMBEDDED)
            except CaseError:
                assert not (part.coords or part.pairs) or "embedded" not in settings["threshold"]
            else:
                assert complete.coords or complete.scope is None


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.integers() | st.none() | st.booleans(), inner, max_size=3),
)  # fmt: skip
CHECKS = (
    PATCH_CHECKS
    | OBJECT_CHECKS
    | VALUES
    | st.dictionaries(st.sampled_from(["threshold", "coords", "pairs", "scope"]), VALUES)
)


@st.composite
def spoilt_files(draw: st.DrawFn) -> Any:
    """A file in which parts of valid cases are replaced by anything."""
    cases: list[Any] = draw(st.lists(CASES, max_size=3))
    for written in cases:
        for key in draw(st.lists(st.sampled_from([*written, "coords", "x"]), max_size=2)):
            written[key] = draw(VALUES)
        if isinstance(written.get("metrics"), dict):
            written["metrics"][draw(st.sampled_from(["emd", "sam_clip_cls_sim", "x", 1]))] = draw(CHECKS)
    data: Any = {"cases": draw(st.just(cases) | VALUES)}
    for key in draw(st.lists(st.sampled_from(["defaults", "gates", "cases", "x"]), max_size=1)):
        data[key] = draw(VALUES | CASES)
    return data


@given(spoilt_files() | VALUES)
def test_any_file_ends_in_cases_or_case_errors(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{NAME}"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    count = len(re.findall("\r\n|[\r\n\x85\u2028\u2029]", path.read_text(encoding="utf-8"))) + 1
    try:
        read = load_cases(path).cases
    except CaseError as error:
        errors = list(getattr(error, "errors", (error,)))
    else:
        errors = []
        for part in read:
            checks = part.checks if isinstance(part, EditCase) else (part,)
            errors += [error for check in checks if not isinstance(check, CheckSpec) for error in check.errors]
    for error in errors:
        assert error.position.line <= count
        assert "\n" not in error.message
