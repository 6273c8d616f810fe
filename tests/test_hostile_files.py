"""Files from outside that are made to break a reader: an error of a line with its place, in bounded time and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import hostile, seeds, targets
from project import Project
from pytest_editeval import cases, yaml_loader
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import EditCase
from pytest_editeval.config import load_profile
from pytest_editeval.errors import CaseError, ConfigError, EditEvalError
from pytest_editeval.gating.baseline_file import read_baseline_file
from pytest_editeval.gating.noise import read_noise
from pytest_editeval.results_reader import read_results
from pytest_editeval.validation import MAX_MISTAKES
from pytest_editeval.yamlfile import MAX_BYTES, read_yaml

SIZE = int(os.environ.get("EDITEVAL_HOSTILE_BYTES", "300000"))  # `make fuzz` takes 10 MB
SECONDS = 5.0
MEGABYTES = 1000
GOOD = "cases: [{id: a, instruction: b, source: c, edited: d, coords: [[1, 2, 3, 4]], metrics: {emd: 1}}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fuzz")
    (found / targets.BASE_FILE).write_text(targets.BASE_TEXT, "utf-8")
    return found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is told by Linux")
def test_large_files_are_read_or_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, hostile.__file__, tmp_path, str(SIZE)], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert {result for name, (_, _, result) in found.items() if name.startswith("good cases")} == {"read"}
    assert len(found) >= 55
    assert {name: seconds for name, (seconds, _, _) in found.items() if seconds > SECONDS} == {}
    assert max(peak for _, peak, _ in found.values()) < MEGABYTES
    for name, (_, _, result) in found.items():
        lines = [line for line in result.split("\n") if not line.startswith("  ")]
        assert result == "read" or all(re.match(r"\S+?\.yaml:\d+(:\d+)?: ", line) for line in lines), name
        assert len(lines) <= MAX_MISTAKES + 1, name


def test_a_file_with_too_many_mistakes_says_where_checking_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.edit.yaml"
    path.write_text("cases:\n" + "".join(f"- {{id: a{n}, source: s, x: 1}}\n" for n in range(5000)), "utf-8")
    with pytest.raises(CaseError) as caught:
        load_cases(path)
    lines = [line for line in str(caught.value).splitlines() if not line.startswith("  ")]
    assert len(lines) == 1001
    assert lines[-1].endswith("more than 1,000 mistakes; the rest of the file was not checked")
    last, ended = (int(line.removeprefix(str(path)).split(":")[1]) for line in lines[-2:])
    assert last <= ended < 5000


def test_limits_are_named_before_the_file_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.edit.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(CaseError, match=r":1:1: cannot be read: it has more than 16,000,000 bytes$"):
        load_cases(path)
    path.write_text(GOOD + "#" * (MAX_BYTES - len(GOOD)), "utf-8")
    assert len(load_cases(path).cases) == 1
    with path.open("wb") as sparse:
        sparse.truncate(5 * 2**30)
    for read in (load_cases, load_profile, read_noise, read_baseline_file):
        with pytest.raises(EditEvalError, match=r"cannot be read: it has more than [\d,]+ bytes$"):
            read(path)


def test_too_many_nodes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_loader, "MAX_NODES", 1000)
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n" * 999, "utf-8")
    assert len(read_yaml(path, ConfigError).data) == 999
    path.write_text("- 1\n" * 1000, "utf-8")
    with pytest.raises(ConfigError, match="more than 1,000 keys and values"):
        read_yaml(path, ConfigError)


def test_too_many_cases_and_checks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MAX_CASES", 4)
    monkeypatch.setattr(cases, "MAX_CHECKS", 7)
    path = tmp_path / "a.edit.yaml"
    case = "- {{id: c{}, instruction: i, source: s, metrics: {}}}\n"

    def read(*metrics: str) -> int:
        listed = "".join(case.format(index, one) for index, one in enumerate(metrics))
        path.write_text(f"defaults: {{metrics: {{emd: 1}}}}\ncases:\n{listed}", "utf-8")
        return sum(len(case.checks) for case in load_cases(path).cases if isinstance(case, EditCase))

    assert read(*["{}"] * 4) == 4
    with pytest.raises(CaseError, match=r"a\.edit\.yaml:7:3: the file has more than 4 cases\n  split it$"):
        read(*["{}"] * 5)
    own = "{emd: 2, region_emd: 1}"
    assert read(own, own, own, "{}") == 7
    with pytest.raises(CaseError, match=r"a\.edit\.yaml:6:3: the file has more than 7 checks\n  split it$"):
        read(own, own, own, own)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize("read", [load_cases, load_profile, read_noise, read_baseline_file])
def test_pipes_and_devices_are_never_read(tmp_path: Path, read: object) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(EditEvalError, match="cannot be read: not a regular file"):
            read(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("own.yaml", "comes back to 'own.yaml'"),
        ("other.yaml", "comes back to 'own.yaml'"),
        ("link.yaml", "comes back to 'link.yaml'"),
        ("../here/own.yaml", "comes back to '../here/own.yaml'"),
        ("ring.yaml", "no such file: 'ring.yaml'"),
        (".", "no such file: '.'"),
        ("pipe", "no such file: 'pipe'"),
        ("/dev/zero", "no such file: '/dev/zero'"),
        ("missing.yaml", "no such file: 'missing.yaml'"),
        ("sparse.yaml", "leads to files of more than 2,000,000 bytes together"),
    ],
)
def test_bases_that_lead_nowhere_or_back(tmp_path: Path, base: str, message: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    own = here / "own.yaml"
    own.write_text(f"_base_: {{b: '{base}'}}\nmetric_configs: {{emd: }}\n", "utf-8")
    (here / "other.yaml").write_text("_base_: {b: own.yaml}\n", "utf-8")
    (here / "link.yaml").symlink_to("own.yaml")
    (here / "ring.yaml").symlink_to("ring.yaml")
    os.mkfifo(here / "pipe")
    with (here / "sparse.yaml").open("wb") as sparse:
        sparse.truncate(5 * 2**30)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_profile(own)
    targets.check_error(caught.value, own)


def test_files_of_bases_are_counted_together(tmp_path: Path) -> None:
    names = [f"b{number}.yaml" for number in range(120)]
    for name in names:
        (tmp_path / name).write_text("a: 1\n", "utf-8")
    bases = ", ".join(f"n{number}: {name}" for number, name in enumerate(names))
    path = tmp_path / "a.yaml"
    path.write_text(f"_base_: {{{bases}}}\n", "utf-8")
    with pytest.raises(ConfigError, match=r":1:.*leads to more than 100 files"):
        load_profile(path)


@pytest.mark.parametrize("length", range(1, 61, 7))
def test_cycles_of_references(tmp_path: Path, length: int) -> None:
    path, base = tmp_path / "a.yaml", tmp_path / "b.yaml"
    base.write_text("".join(f"k{n}: '${{k{(n + 1) % length}}}'\n" for n in range(length)), "utf-8")
    path.write_text("_base_: {b: b.yaml}\nmetric_configs: {emd: {scope: '${b.k0}'}}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"circular reference|nested deeper than 60 levels") as caught:
        load_profile(path)
    targets.check_error(caught.value, base)


def test_what_the_environment_holds_is_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "${env:X}")
    path = tmp_path / "a.yaml"
    path.write_text("metric_configs: {emd: {default_config: {model_path: '${env:X}'}}}\n", "utf-8")
    assert load_profile(path).settings("emd").pipe.model_path == "${env:X}"


IDS = {
    "empty": "''", "long": "x" * 10_000, "colons": "'a::b'", "bracket": "'a[b]'", "slash": "a/b", "newline": '"a\\nb"',
    "escape": '"a\\eb"', "right to left": '"a\\u202eb"', "decomposed": '"a\\u0301"', "composed": '"\\xe1"',
    "surrogate": '"\\ud800"', "number": "1", "list": "[]", "nan": ".nan",
}  # fmt: skip
BOXES = [
    "[.nan, 0, 1, 1]",
    "[0, 0, .inf, 1]",
    "[0, 0, 0, 1]",
    "[5, 0, 1, 1]",
    "[a, b, c, d]",
    "[]",
    f"[{'9' * 10_000}]",
]
THRESHOLDS = [".nan", ".inf", "-.inf", "1e999", "true", "2024-01-01", "'1'", "[]", "{}", "{1: 2}", "!!float x"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("id: a", f"id: {text}") for text in IDS.values()]
    + [("[1, 2, 3, 4]", text) for text in BOXES]
    + [("emd: 1", f"emd: {text}") for text in THRESHOLDS],
)
def test_a_value_that_cannot_be_is_an_error_in_its_line(folder: Path, old: str, new: str) -> None:
    path = folder / "value.edit.yaml"
    path.write_text(GOOD.replace(old, new), "utf-8")
    try:
        errors = list(targets.mistakes_of(load_cases(path)))
    except CaseError as error:
        errors = [error]
    assert errors
    for error in errors:
        targets.check_error(error, path)
        assert error.position.line == 1  # type: ignore[attr-defined]
        assert len(str(error)) < 1500


MANY_DIGITS = "9" * 5000
JSON = [MANY_DIGITS, "[" * 900 + "]" * 900, "[" * 200_000, '{"a":' * 500 + "1" + "}" * 500, "NaN", '"\\ud800"', "\x00"]


@pytest.mark.parametrize("target", ["baseline", "noise", "jsonl"])
@pytest.mark.parametrize("value", JSON, ids=range(len(JSON)))
def test_hostile_json_is_an_error_of_a_line(folder: Path, target: str, value: str) -> None:
    (seed,) = (content for content in seeds.seeds(target) if content)
    text = seed.decode()
    for content in (value, *(text.replace(f": {old}", f": {value}", 1) for old in ("0.5", "{}", "1", "null", "3.0"))):
        targets.run(target, content.encode("utf-8", "surrogatepass"), folder)


def test_nesting_that_recursion_cannot_follow_is_refused_in_every_column(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = '{"a": ' * 400 + "1" + "}" * 400
    path.write_bytes(
        re.sub(rb'"details": {.*?}', f'"details": {deep}'.encode(), seeds.results_content(".jsonl"), count=1)
    )
    with pytest.raises(EditEvalError, match="nested deeper than 100 levels"):
        read_results(path)


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """A valid file with a few lines, words or bytes dropped, doubled, swapped or replaced."""
    content = draw(st.sampled_from([seed for seed in seeds.seeds(target) if seed]))
    for _ in range(draw(st.integers(1, 4))):
        parts = re.split(draw(st.sampled_from([rb"(\n)", rb"([\s:,\[\]{}\"]+)", rb"()"])), content)
        index, other = (draw(st.integers(0, len(parts) - 1)) for _ in range(2))
        match draw(st.sampled_from(["drop", "double", "swap", "word", "text"])):
            case "drop":
                del parts[index]
            case "double":
                parts.insert(index, parts[other])
            case "swap":
                parts[index], parts[other] = parts[other], parts[index]
            case "word":
                parts[index] = draw(st.sampled_from(WORDS))
            case _:
                parts[index] = draw(st.binary(max_size=8) | st.text(max_size=8).map(_encoded))
        content = b"".join(parts)
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\x85"])) + content


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


WORDS = [_encoded(word) for word in (*seeds.words(), "\t", "\r", "\r\n", "\x85", "\u2028", "<<: {a: 1}", "9" * 5000)]


@pytest.mark.parametrize("target", targets.TARGETS)
def test_any_bytes_are_data_or_an_error_of_a_line_with_its_place(folder: Path, target: str) -> None:
    @settings(deadline=None, max_examples=settings().max_examples // 2)
    @given(mutated(target) | st.binary(max_size=40))
    def holds(content: bytes) -> None:
        targets.run(target, content, folder)

    holds()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
@pytest.mark.parametrize("target", ["cases", "configuration", "baseline", "noise", "jsonl", "csv", "labels"])
def test_other_encodings_are_refused(folder: Path, target: str, encoding: str) -> None:
    content = next(seed for seed in seeds.seeds(target) if seed).decode() + "# ü\n"
    assert targets.run(target, content.encode(encoding), folder) is False


VALID = ("good cases", "one instruction", "placeholders")
HOSTILE = {
    **{f"{name}": text for name, text in hostile.case_files(400) if name not in VALID},
    "object": "a: !!python/object/apply:os.system [touch hacked]",
    "name": "a: !!python/name:os.system",
    "control": "cases: [{id: a, \x1b: 1}]",
    "surrogate": 'cases: ["\\ud800"]',
    "utf-16": GOOD.encode("utf-16"),
    "invalid": GOOD.encode() + b"\xff",
    "NUL": GOOD.encode() + b"\0",
}


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--collect-only",)])
def test_hostile_files_do_not_keep_a_good_one_from_being_scored(
    project: Project, remembered_scores: Path, arguments: tuple[str, ...]
) -> None:
    project.store = remembered_scores
    project.one("region_emd: 1.0e+9")
    bad = project.path / "bad"
    bad.mkdir()
    for number, content in enumerate(HOSTILE.values()):
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (bad / f"f{number}.edit.yaml").write_bytes(data)
    result = project.run(*arguments)
    output = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
    assert result.ret in (1, 2)
    if "--collect-only" not in arguments:
        assert result.parseoutcomes()["passed"] == 1
    for number in range(len(HOSTILE)):
        assert re.search(rf"^ERROR .*bad/f{number}\.edit\.yaml", output, re.MULTILINE), list(HOSTILE)[number]
    assert not (project.path / "hacked").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"reason": null', b'"reason": "because"', "unknown reason 'because'"),
        (b'"quota": null, "repeats": []', b'"quota": 3, "repeats": [%s]', "a quota of 3 of 1 repeats"),
        (b'"case": "', b'"\\u001b[2J": 1, "case": "', r"unknown columns: \x1b[2J"),
    ],
)
def test_results_that_no_run_can_have_written_are_refused(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    repeat = b'{"seed": 0, "edited": "e", "score": 1.0, "margin": 1.0, "outcome": "passed", "reason": null, ' + (
        b'"detail": null, "edited_digest": null}'
    )
    path = tmp_path / "a.jsonl"
    content = seeds.results_content(".jsonl")
    assert old in content
    path.write_bytes(content.replace(old, new.replace(b"%s", repeat), 1))
    with pytest.raises(EditEvalError, match=re.escape(message)) as caught:
        read_results(path)
    targets.check_error(caught.value, path)


EVERY_KEY = """\
defaults:
  expect:
    pass
cases:
- id:
    a
  instruction:
    b
  source:
    c.png
  edited:
    d.png
  task:
    t
  tags:
    [u]
  coords:
    [[1, 2, 3, 4]]
  controls:
    auto
  edited_pattern:
    '{id}'
  metrics:
    emd:
      threshold:
        1
      scope:
        edit_area
      tolerance:
        1
      patch_mask_threshold:
        0.1
    sam_clip_cls_sim:
      threshold:
        1
      bg_color:
        [1, 2, 3]
      pairs:
        [{source: [1, 2, 3, 4], edited: [1, 2, 3, 4]}]
gates:
- metric:
    emd
  statistic:
    mean
  threshold:
    1
"""
LINES = EVERY_KEY.splitlines()
VALUES = [number for number, line in enumerate(LINES) if not line.rstrip().endswith(":")]
TYPES = ["1.5", "-1", "true", "x y", "[]", "[[]]", "{x: 1}", "2024-01-01", ".nan", "!!binary aGk=", "'\u202e'"]
TEXT = ("x y", "'\u202e'")
ALLOWED = {
    **dict.fromkeys(("instruction", "source", "edited", "edited_pattern"), TEXT),
    **dict.fromkeys(("tags", "coords", "pairs"), ("[]",)),
    "threshold": ("1.5", "-1"),
    "tolerance": ("1.5",),
}


@pytest.mark.parametrize("number", VALUES, ids=lambda number: LINES[number - 1].strip(" -:"))
@pytest.mark.parametrize("value", TYPES, ids=range(len(TYPES)))
def test_a_value_of_another_type_is_an_error_in_the_lines_of_its_key(folder: Path, number: int, value: str) -> None:
    path = folder / "every.edit.yaml"
    indent = LINES[number][: len(LINES[number]) - len(LINES[number].lstrip())]
    path.write_text("\n".join([*LINES[:number], indent + value, *LINES[number + 1 :]]) + "\n", "utf-8")
    try:
        errors = list(targets.mistakes_of(load_cases(path)))
    except CaseError as error:
        errors = list(getattr(error, "errors", (error,)))
    of_the_value = [error for error in errors if error.position.line in (number, number + 1)]  # type: ignore[attr-defined]
    for error in errors:
        targets.check_error(error, path)
    allowed = value in ALLOWED.get(LINES[number - 1].strip(" -:"), ())
    allowed |= (number, value) == (VALUES[-1], "{x: 1}")  # a gate's threshold, one per profile of any name
    assert bool(of_the_value) is not allowed, [str(error) for error in errors]
