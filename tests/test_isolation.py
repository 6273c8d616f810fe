"""An error in one check, hook, metric of another package, or report changes no other check's result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import picture
from project import Project
from pytest_editeval import registry


@pytest.fixture(autouse=True)
def _own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runs in this process register is gone after each test."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])

THEIRS = """
import sys
import threading
import time
import numpy as np
from pytest_editeval import MetricSpec, register_metric
from pytest_editeval.vision.features import Measurement

def checked(rows):
    if len(rows):
        raise ValueError("rows\\nof two lines \\x1b[31m")

def raises(source, edited):
    checked(source)

class Hostile(Exception):
    def __init__(self, a, b):
        self.lock = threading.Lock()
    def __str__(self):
        raise RuntimeError("no message")

def hostile(source, edited): raise Hostile(1, 2)
def leaves(source, edited): sys.exit(0)
def interrupts(source, edited): raise KeyboardInterrupt
def skips(source, edited):
    import pytest
    pytest.skip("not today")
def deep(source, edited): return deep(source, edited)
def talks(source, edited): raise ValueError("word " * 100_000)
def nothing(source, edited): pass
def text(source, edited): return "0.5"
def array(source, edited): return np.ones(1)
def parts(source, edited): return Measurement(0.5, np.full(len(edited), None))
def writes(source, edited):
    source += 1
    return 0.5
def one_argument(source): return 0.5
def hangs(source, edited): time.sleep(600)
def spins(source, edited):
    while True: pass
def fine(source, edited): return float(np.abs(source).mean() + np.abs(edited).mean())
value = 0.5

NAMES = ["raises", "hostile", "leaves", "interrupts", "skips", "deep", "talks", "nothing", "text", "array", "parts"]
NAMES += ["writes", "one_argument", "hangs", "spins", "fine", "value", "gone"]
for name in NAMES:
    register_metric(
        MetricSpec(name, "clip-pipe", True, None, None, "patches", f"theirs:{name}", "-", settings_of="emd")
    )
register_metric(
    MetricSpec("no_module", "clip-pipe", True, None, None, "patches", "gone.metrics:x", "-", settings_of="emd")
)
for name in ("sam_raises", "sam_fine"):
    function, settings = f"theirs:{name[4:]}", "sam_clip_cls_sim"
    register_metric(MetricSpec(name, "clip-pipe", True, None, None, "objects", function, "-", settings_of=settings))
"""

CASES = """
defaults: {{source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}}
cases:
  - {{id: before, edited: other.png, metrics: {{region_emd: 1.0e+9, fine: -1}}}}
  - {{id: broken, edited: other.png, metrics: {{{broken}}}}}
  - {{id: after, edited: source.png, metrics: {{region_emd: 1.0e+9, fine: -1}}}}
"""

MESSAGES = {
    "raises": r"raised ValueError: rows\nof two lines \x1b[31m (theirs.py:10)",
    "hostile": "raised Hostile: its message cannot be shown, str() raised RuntimeError (theirs.py:21)",
    "leaves": "raised SystemExit: 0 (theirs.py:22)",
    "interrupts": "raised KeyboardInterrupt (theirs.py:23)",
    "skips": "raised Skipped: not today (*)",
    "deep": "raised RecursionError: maximum recursion depth exceeded* (theirs.py:27)",
    "talks": "raised ValueError: word word *word* (500,000 characters) (theirs.py:28)",
    "nothing": "returned None, not a number: a metric returns a finite int or float",
    "text": "returned str, not a number: a metric returns a finite int or float",
    "array": "returned ndarray (1,) of float64, not a number: a metric returns a finite int or float",
    "parts": "returned a Measurement whose parts are ndarray (49,) of object: allowed are an array of 49 numbers, *",
    "writes": "raised ValueError: output array is read-only (theirs.py:34)",
    "one_argument": "raised TypeError: one_argument() takes 1 positional argument but 2 were given",
    "value": "raised TypeError: 'float' object is not callable",
    "gone": "cannot be imported: AttributeError: module 'theirs' has no attribute 'gone'",
    "no_module": "cannot be imported: ModuleNotFoundError: No module named 'gone'",
}


def rows(project: Project, name: str = "out.jsonl") -> dict[str, dict[str, Any]]:
    lines = (project.path / name).read_text("utf-8").splitlines()
    return {row["node_id"]: row for row in map(json.loads, lines)}


@pytest.fixture
def suite(project: Project) -> Project:
    project.pytester.makepyfile(theirs=THEIRS, conftest="import theirs")
    return project


def check(**metrics: float) -> str:
    return ", ".join(f"{name}: {threshold}" for name, threshold in metrics.items())


@PLAIN_AND_XDIST
def test_whatever_a_metric_does_is_one_line_and_its_own_checks_error(suite: Project, options: tuple[str, ...]) -> None:
    suite.cases(CASES.format(broken=check(**dict.fromkeys(MESSAGES, 0.0))))
    result = suite.run("--editeval-results=out.jsonl", *options)
    result.assert_outcomes(passed=4, failed=len(MESSAGES))
    assert result.ret == 1
    out = result.stdout.str()
    assert not [word for word in ("Traceback", "measuring.py", "scorer.py", "INTERNALERROR") if word in out]
    found = rows(suite)
    for name, message in MESSAGES.items():
        row = found[f"a.edit.yaml::broken::{name}"]
        function = "gone.metrics:x" if name == "no_module" else f"theirs:{name}"
        place = pytest.LineMatcher(row["detail"].splitlines()[:1])
        place.fnmatch_lines([f"metric '{name}' ({function}) {message}".replace("[31m", "[[]31m")])
        assert (row["outcome"], row["score"]) == ("error", None)
    lines = found["a.edit.yaml::broken::raises"]["detail"].splitlines()
    assert lines[1:] == [
        "  theirs.py:13: in raises",
        "      checked(source)",
        "  theirs.py:10: in checked",
        r"""      raise ValueError("rows\nof two lines \x1b[31m")""",
    ]
    assert "more lines led here" in found["a.edit.yaml::broken::deep"]["detail"]
    assert "let it work on a copy" in found["a.edit.yaml::broken::writes"]["detail"]


HUNG = 5  # more than there are threads


@PLAIN_AND_XDIST
def test_a_metric_that_hangs_is_an_error_and_the_others_have_their_scores(
    suite: Project, options: tuple[str, ...]
) -> None:
    suite.cases(CASES.format(broken="fine: -1"))
    suite.run("--editeval-results=before.jsonl", "--editeval-cache=off")
    names = ["hangs", "spins"]
    cases = [f"  - {{id: h{index}, edited: other.png, metrics: {{{names[index % 2]}: 0}}}}" for index in range(HUNG)]
    suite.cases(CASES.format(broken="fine: -1") + "\n".join(cases) + "\n")
    arguments = ("--editeval-results=out.jsonl", "--editeval-timeout=1.5", "--editeval-cache=off", *options)
    result = suite.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=120)
    result.assert_outcomes(passed=5, failed=HUNG)
    assert result.ret == 1
    found = rows(suite)
    hung = [row["detail"] for row in found.values() if row["case"].startswith("h")]
    assert hung == [
        f"metric '{names[index % 2]}' (theirs:{names[index % 2]}) did not end within 1.5 s (--editeval-timeout)"
        for index in range(HUNG)
    ]
    for node_id, row in rows(suite, "before.jsonl").items():
        assert found[node_id]["score"] == row["score"]


@pytest.mark.parametrize("value", ["-1", "soon", "nan", "1e3", "1e999"])
def test_a_timeout_is_a_number_of_seconds(project: Project, value: str) -> None:
    project.one("region_emd: 1.0e+9")
    result = project.run(f"--editeval-timeout={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: editeval: editeval_timeout is a number of seconds, *, not '{value}'"])


def test_without_a_timeout_metrics_run_as_long_as_they_take(suite: Project) -> None:
    suite.one("fine: -1, region_emd: 1.0e+9")
    suite.run("-o", "editeval_timeout=0").assert_outcomes(passed=2)


# --- other packages' entry points ------------------------------------------------------------------------------------


@PLAIN_AND_XDIST
def test_a_package_that_cannot_be_loaded_is_named_and_costs_its_own_metric_only(
    project: Project, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project.path / "site" / "their_package.py"
    project.write("site/their_package.py", "import not_there\n")
    project.write("site/theirs-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    project.write(
        "site/theirs-1.dist-info/entry_points.txt", "[pytest_editeval.metrics]\nsharpness = their_package:SPEC\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=":")
    project.one("region_emd: 1.0e+9, sharpness: 1")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=1, errors=1)
    why = "metric 'sharpness' (their_package:SPEC) cannot be loaded: ModuleNotFoundError: No module named 'not_there' *"
    result.stdout.fnmatch_lines_random([f"editeval: {why}", f"a.edit.yaml:1:*: {why}; it is wanted in case 'one'*"])


# --- hooks -----------------------------------------------------------------------------------------------------------

HOOKS = {
    "makereport": """
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if "broken" in item.nodeid and call.when == {when!r}:
        raise ValueError("a hook")
    return report
""",
    "logreport": """
def pytest_runtest_logreport(report):
    if "broken" in report.nodeid and report.when == {when!r}:
        raise ValueError("a hook")
""",
}


@pytest.mark.parametrize(
    ("when", "options"),
    [("setup", ()), ("call", ()), ("teardown", ()), ("call", ("-n", "2"))],
    ids=["setup", "call", "teardown", "xdist"],
)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_raises_about_one_check_costs_no_other(
    project: Project, hook: str, when: str, options: tuple[str, ...], remembered_scores: Path
) -> None:
    project.store = remembered_scores
    project.pytester.makeconftest(HOOKS[hook].format(when=when))
    project.cases(CASES.format(broken="region_emd: 1.0e+9").replace(", fine: -1", ""))
    result = project.run("--editeval-results=out.jsonl", *options)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR)
    found = rows(project)
    assert {found[f"a.edit.yaml::{case}::region_emd"]["outcome"] for case in ("before", "after")} == {"passed"}
    result.stdout.fnmatch_lines([f"*the hook pytest_runtest_{hook} raised ValueError: a hook (conftest.py:*)*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    if hook == "makereport" and when != "teardown":
        assert found["a.edit.yaml::broken::region_emd"]["outcome"] == "error"


@pytest.mark.parametrize("error", ["ValueError('no edit')", "SystemExit(0)", "Hostile()"])
def test_an_editing_hook_that_raises_costs_its_own_case_only(project: Project, error: str) -> None:
    project.pytester.makeconftest(
        f"""
        class Hostile(Exception):
            def __str__(self):
                raise RuntimeError

        def pytest_editeval_edit(case, source, seed, candidate):
            if case.id == "broken":
                raise {error}
            return source
        """
    )
    cases = CASES.format(broken="region_emd: 1.0e+9").replace(", fine: -1", "")
    project.cases(cases.replace(", edited: other.png", "").replace(", edited: source.png", ""))
    result = project.run("--editeval-edits=made")
    result.assert_outcomes(passed=2, failed=1)
    name = error.partition("(")[0]
    result.stdout.fnmatch_lines([f"a.edit.yaml:5:*: case 'broken': the editing model raised {name}: * (conftest.py:7)"])


@pytest.mark.parametrize("error", ["ValueError('no model')", "SystemExit(0)"])
def test_a_fixture_that_raises_costs_the_checks_of_its_folder_only(project: Project, error: str) -> None:
    project.write(
        "theirs/conftest.py",
        f"""
        import pytest

        @pytest.fixture(scope="session")
        def dinov3_pipe():
            raise {error}
        """,
    )
    for folder in ("ours", "theirs", "zz"):
        (project.path / folder).mkdir(exist_ok=True)
        for seed, name in enumerate(("source", "other")):
            picture(seed + 1).save(project.path / folder / f"{name}.png")
        project.cases(
            CASES.format(broken="dinov3_structure_similarity: 0").replace(", fine: -1", ""), f"{folder}/a.edit.yaml"
        )
    result = project.run()
    result.assert_outcomes(passed=8, errors=1)
    assert result.ret == 1


# --- reports ---------------------------------------------------------------------------------------------------------

REPORTS = {
    "results_file.write_results": "--editeval-results out.jsonl",
    "reports.html.page.write_page": "--editeval-report page.html",
    "reports.markdown.write_markdown": "--editeval-markdown summary.md",
    "reports.markdown.markdown": "--editeval-markdown summary.md",
    "reports.annotations.annotation_lines": "annotations",
    "reports.junit.suite_properties": "properties in JUnit",
    "reports.summary.summary_lines": "edit scores",
    "reports.gates.gate_lines": "gates",
    "reports.text.status": "what the terminal shows of a check",
    "attachment_hooks.attachment_lines": "attachments in JUnit",
    "item.case_properties": "properties in JUnit",
}
CHECKS = 8  # fewer tell a gate nothing
FILES = {"out.jsonl": "results", "page.html": "report", "summary.md": "markdown", "junit.xml": ""}


BOOM = """
import importlib
import pytest

def boom(*_, **__):
    raise ValueError("a report")

def pytest_configure(config):
    config.boom = pytest.MonkeyPatch()
    for target in {targets!r}:
        module, _, name = target.rpartition(".")
        config.boom.setattr(importlib.import_module("pytest_editeval." + module), name, boom)

def pytest_unconfigure(config):
    config.boom.undo()
"""
OPTIONS = (
    "--editeval-results=out.jsonl",
    "--editeval-report=page.html",
    "--editeval-markdown=summary.md",
    "--junitxml=junit.xml",
    "--editeval-annotations=on",
    "--override-ini=editeval_junit_attachments=jenkins",
)


def run_with_broken_reports(project: Project, broken: Iterable[str], threshold: str, *options: str) -> pytest.RunResult:
    project.pytester.makeconftest(BOOM.format(targets=list(broken)))
    gates = "gates: [{metric: region_emd, statistic: mean, threshold: 1.0e+9}]\n"
    more = "".join(
        f"  - {{id: more{index}, edited: source.png, metrics: {{region_emd: 1}}}}\n" for index in range(CHECKS - 3)
    )
    project.cases(CASES.format(broken=f"region_emd: {threshold}").replace(", fine: -1", "") + more + gates)
    return project.run(*OPTIONS, *options)


def faults(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("ERROR: editeval: ")]


@pytest.mark.parametrize("broken", REPORTS)
def test_a_report_that_raises_costs_no_check_and_no_other_report(
    project: Project, broken: str, remembered_scores: Path
) -> None:
    project.store = remembered_scores
    what = REPORTS[broken]
    for threshold in ("0.0", "1.0e+9"):
        for name in FILES:
            (project.path / name).unlink(missing_ok=True)
        result = run_with_broken_reports(project, [broken], threshold)
        green = threshold != "0.0"
        result.assert_outcomes(passed=CHECKS + green, failed=0 if green else 1)  # and the gate
        if green and "attachments" in what:
            assert result.ret == 0  # only checks that did not pass have them
            continue
        assert result.ret == (pytest.ExitCode.USAGE_ERROR if green else pytest.ExitCode.TESTS_FAILED)
        assert faults(result) == [f"ERROR: editeval: {what}: ValueError: a report (conftest.py:5)"]
        written = {name for name in FILES if (project.path / name).exists()}
        assert written == {name for name in FILES if not what.endswith(name)}
        if "out.jsonl" in written:
            assert len(rows(project)) == CHECKS


@PLAIN_AND_XDIST
def test_when_every_report_raises_the_checks_are_what_they_were(
    project: Project, options: tuple[str, ...], remembered_scores: Path
) -> None:
    project.store = remembered_scores
    result = run_with_broken_reports(project, REPORTS, "1.0e+9", *options)
    result.assert_outcomes(passed=CHECKS + 1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert {line.split(": ")[2] for line in faults(result)} == {*REPORTS.values()} - {"attachments in JUnit"}
    assert (project.path / "junit.xml").exists()


# --- a random part of a suite is broken in random ways ---------------------------------------------------------------

WAYS = [
    "raises",
    "hostile",
    "leaves",
    "interrupts",
    "nothing",
    "array",
    "writes",
    "gone",
    "hangs",
    "no_file",
    "no_image",
]
WAYS += ["no_box", "sam_raises"]
COUNT = 8


def random_suite(broken: dict[int, str]) -> str:
    lines = ["defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}", "cases:"]
    for index in range(COUNT):
        way = broken.get(index)
        edited = {"no_file": "gone.png", "no_image": "broken.png"}.get(str(way), f"edit{index}.png")
        metric = way if way in WAYS[:9] else "fine"
        checks = {metric: 0, "region_emd": 1e9, "dinov3_structure_similarity": 0}
        coords = "[[500, 500, 600, 600]]" if way == "no_box" else "[[20, 20, 80, 80]]"
        pairs = f"{{threshold: 0, pairs: [{{source: [10, 10, 80, 80], edited: [10, 10, 80, {70 + index}]}}]}}"
        metrics = [*(f"{name}: {value}" for name, value in checks.items())]
        metrics.append(f"{'sam_raises' if way == 'sam_raises' else 'sam_fine'}: {pairs}")
        lines.append(f"  - {{id: c{index}, edited: {edited}, coords: {coords}, metrics: {{{', '.join(metrics)}}}}}")
    return "\n".join(lines) + "\n"


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("duration", "line")}


def test_a_random_part_of_a_suite_that_is_broken_leaves_the_rest_as_it_was(suite: Project) -> None:
    for index in range(COUNT):
        picture(50 + index).save(suite.path / f"edit{index}.png")
    suite.write("broken.png", "no picture")
    options = (
        "--editeval-results=out.jsonl",
        "--editeval-cache=off",
        "--editeval-timeout=1",
        "--editeval-batch-size=4",
    )
    suite.cases(random_suite({}))
    suite.run(*options).assert_outcomes(passed=4 * COUNT)
    whole = rows(suite)

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from(WAYS), min_size=1, max_size=5))
    def holds(broken: dict[int, str]) -> None:
        suite.cases(random_suite(broken))
        result = suite.run(*options)
        assert result.ret == (0 if set(broken.values()) <= {"no_box"} else 1)
        found = rows(suite)
        others = [node_id for node_id in whole if int(node_id.split("::")[1][1:]) not in broken]
        assert {node_id: comparable(found[node_id]) for node_id in others} == {
            node_id: comparable(whole[node_id]) for node_id in others
        }
        assert len(found) == len(whole)

    holds()
