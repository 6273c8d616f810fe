"""Candidates, several edits of a case, and edits that are made in the run: plain and under xdist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from conftest import picture
from project import Project

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.fixture(autouse=True)
def _remembered(project: Project, remembered_scores: Path) -> None:
    project.store = remembered_scores


CASES = """
defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
cases:
  - {id: red, metrics: {region_emd: 0.001, dinov3_structure_similarity: -1.0}}
  - {id: blue, metrics: {region_emd: 1.0e+9}}
"""
ONE = """
defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
cases: [{id: one, metrics: {region_emd: 1.0e+9, dinov3_structure_similarity: -1.0}%s}]
"""


def rows(project: Project, name: str = "scores.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.path / name).read_text("utf-8").splitlines()]


@pytest.fixture
def candidates(project: Project) -> Project:
    """v1 changed nothing; v2 has an edit of another picture, and lacks one."""
    for path in ("v1/red.png", "v1/blue.png"):
        (project.path / path).parent.mkdir(exist_ok=True)
        picture(1).save(project.path / path)
    (project.path / "v2").mkdir()
    picture(2).save(project.path / "v2" / "red.jpg")
    project.cases(CASES)
    return project


@PLAIN_AND_XDIST
def test_every_check_exists_per_candidate(candidates: Project, options: tuple[str, ...]) -> None:
    both = ("--editeval-candidate=v1=v1", "--editeval-candidate", "v2=v2")
    result = candidates.run("-v", *both, "--editeval-results=scores.jsonl", *options)
    result.assert_outcomes(passed=4, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(
        [
            "*a.edit.yaml::red[[]v2[]]::region_emd*",
            "*_ a.edit.yaml::red[[]v2[]]::region_emd _*",
            "  a.edit.yaml:4 · candidate v2 · profile tiny · device cpu",
            "a.edit.yaml:5:10: edited image not found: v2/blue.png (nor .jpg, .jpeg, .webp)",
            "region_emd[[]v1[]]*↓*2/2*0*0*",
            "region_emd[[]v2[]]*↓*0/2*1*1*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    found = {(row["candidate"], row["case"], row["metric"]): row["outcome"] for row in rows(candidates)}
    assert found[("v1", "red", "region_emd")] == "passed"
    assert found[("v2", "red", "region_emd")] == "failed"
    assert found[("v2", "blue", "region_emd")] == "error"


def test_a_candidate_is_selected_by_its_name(candidates: Project) -> None:
    both = ("--editeval-candidate=v1=v1", "--editeval-candidate", "v2=v2")
    candidates.run(*both, "a.edit.yaml::red[v1]::region_emd").assert_outcomes(passed=1)
    candidates.run(*both, "-n", "2", "a.edit.yaml::blue[v1]", "./a.edit.yaml::red[v1]").assert_outcomes(passed=3)
    candidates.run(*both, "-k", "v1 and red").assert_outcomes(passed=2, deselected=4)


def test_a_known_bad_edit_is_no_candidates(candidates: Project) -> None:
    bad = "  - {id: bad, edited: other.png, expect: fail, metrics: {region_emd: 0.001}}\n"
    candidates.cases(CASES + bad)
    result = candidates.run("-v", "--editeval-candidate=v1=v1")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["a.edit.yaml::bad::region_emd PASSED*"])


def test_candidates_may_stand_in_the_ini_file(candidates: Project) -> None:
    ini = (candidates.path / "tox.ini").read_text("utf-8")
    candidates.write("tox.ini", ini + "\nediteval_candidates =\n    v1=v1\n    v2=v2\n")
    candidates.run("-k", "red").assert_outcomes(passed=3, failed=1, deselected=2)
    candidates.run("--editeval-candidate=v1=v1").assert_outcomes(passed=3)


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_check_of_a_candidate_that_there_is_not(candidates: Project, options: tuple[str, ...]) -> None:
    result = candidates.run("--editeval-candidate=v1=v1", "a.edit.yaml::red[v9]::emd", *options)
    assert result.ret != 0
    assert "not found: a.edit.yaml::red[v9]::emd" in result.stdout.str() + result.stderr.str()


def test_junit_is_the_same_under_xdist(candidates: Project) -> None:
    found = []
    for options in ((), ("-n", "2")):
        candidates.run("--editeval-candidate=v1=v1", "--junitxml=junit.xml", *options).assert_outcomes(passed=3)
        cases = ElementTree.parse(candidates.path / "junit.xml").iter("testcase")
        found.append([(case.get("classname"), case.get("name")) for case in cases])
    assert found[0] == found[1]
    assert ("a.edit.yaml.red[v1]", "region_emd") in found[0]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("v3=gone", "editeval: candidate 'v3': gone is no directory"),
        ("a b=v1", "editeval: candidate 'a b=v1': a name is letters*"),
    ],
)
def test_a_wrong_candidate_is_one_line(candidates: Project, option: str, message: str) -> None:
    result = candidates.run("--editeval-candidate", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_without_edited_and_candidate_the_mistake_is_named(project: Project) -> None:
    project.cases(CASES)
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "a.edit.yaml:4:5: 'edited' in case 'red' is missing",
            "  or give --editeval-candidate NAME=DIR, or a model: pytest_editeval_edit",
        ]
    )


@PLAIN_AND_XDIST
def test_some_of_several_edits_have_to_pass(project: Project, options: tuple[str, ...]) -> None:
    for seed, content in enumerate((1, 1, 2, 1)):
        path = project.path / "out" / f"{seed}.png"
        path.parent.mkdir(exist_ok=True)
        picture(content).save(path)
    project.cases(
        """
        defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]], edited: 'out/{seed}.png'}
        cases:
          - {id: three, metrics: {region_emd: 0.001}, repeat: {pass: 3, of: 4}}
          - {id: four, metrics: {region_emd: 0.001}, repeat: {pass: 4, of: 4}}
        """
    )
    result = project.run("--editeval-results=scores.jsonl", *options)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "  region_emd = * (4th best of 4)   must be ≤ 0.001   (lower is better)   misses by *",
            "  edits: 3 of 4 pass, 4 have to: seed 0 0 (passed), * seed 2 * (failed), seed 3 0 (passed)",
            "  edited  out/2.png   96×96",
            "spread over seeds, region_emd: median * of 2 checks; widest three: 0 to *, worst seed 2",
        ]
    )
    three, four = rows(project)
    assert (three["score"], three["quota"], three["outcome"]) == (0.0, 3, "passed")
    assert four["score"] == four["repeats"][2]["score"] > 0.001
    assert [repeat["outcome"] for repeat in four["repeats"]] == ["passed", "passed", "failed", "passed"]


def test_a_missing_seed_is_an_error_of_its_check(project: Project) -> None:
    project.cases(ONE % ", edited: 'out/{seed}.png', repeat: {pass: 1, of: 2}")
    (project.path / "out").mkdir()
    picture(1).save(project.path / "out" / "0.png")
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["a.edit.yaml:3:*: edited image not found: out/1.png"])


MODEL = """
from PIL import ImageOps

calls = []

def pytest_editeval_edit(case, source, seed, candidate):
    calls.append((case.id, candidate, seed))
    assert len(calls) == len(set(calls)), "every edit is made once"
    assert source.mode == "RGB"
    return ImageOps.invert(source) if candidate == "bad" else source
"""


@PLAIN_AND_XDIST
def test_a_hook_makes_the_edits(project: Project, options: tuple[str, ...]) -> None:
    project.pytester.makeconftest(MODEL)
    project.cases(ONE.replace("1.0e+9", "0.001") % ", repeat: {pass: 2, of: 2, seeds: [7, 8]}")
    asked = ("--editeval-candidate=good", "--editeval-candidate=bad", "--editeval-results=out/scores.jsonl")
    result = project.run(*asked, *options)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["edits made in the run: 4, in out/scores.edits"])
    made = sorted(str(path.relative_to(project.path)) for path in (project.path / "out").rglob("*.png"))
    assert made == [f"out/scores.edits/{name}/a/{seed}/one.png" for name in ("bad", "good") for seed in (7, 8)]
    assert not list((project.path / "out").rglob("*.part"))
    # What was made is a candidate's directory.
    again = project.run("--editeval-candidate=bad=out/scores.edits/bad", *options)
    again.assert_outcomes(passed=1, failed=1)


@PLAIN_AND_XDIST
def test_a_fixture_may_be_the_model(project: Project, options: tuple[str, ...]) -> None:
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def edit_model():
            return lambda case, source, seed, candidate: source.rotate(0)
        """
    )
    project.cases(ONE.replace("1.0e+9", "0.001") % "")
    result = project.run("--editeval-edits=made", *options)
    result.assert_outcomes(passed=2)
    assert (project.path / "made/edits/a/one.png").is_file()


@PLAIN_AND_XDIST
def test_what_the_model_raises_is_that_cases_error(project: Project, options: tuple[str, ...]) -> None:
    project.pytester.makeconftest(
        """
        def load_weights():
            raise RuntimeError("CUDA out of memory")

        def pytest_editeval_edit(case, source, seed, candidate):
            return load_weights() if case.id == "red" else source
        """
    )
    project.cases(CASES)
    result = project.run("--editeval-edits=made", *options)
    result.assert_outcomes(passed=1, failed=2)
    out = result.stdout.str()
    result.stdout.fnmatch_lines(
        ["a.edit.yaml:4:10: case 'red': the editing model raised RuntimeError: CUDA out of memory (conftest.py:2)"]
    )
    assert out.count('raise RuntimeError("CUDA out of memory")') == 1  # the second check says the line alone
    assert "making.py" not in out


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "no model made the edit; pytest_editeval_edit or the fixture edit_model has to return a PIL image"),
        ("'out.png'", "the editing model gave no image, str: an image array is uint8 (H, W, 3), not <U7 ()"),
    ],
)
def test_a_model_that_gives_no_image(project: Project, returned: str, message: str) -> None:
    project.pytester.makeconftest(f"def pytest_editeval_edit(case, source, seed, candidate):\n    return {returned}\n")
    project.cases(ONE % "")
    result = project.run("--editeval-edits=made")
    result.assert_outcomes(failed=2)
    assert f"a.edit.yaml:3:14: case 'one': {message}" in result.stdout.str()


def test_edits_need_a_place_to_be_saved(project: Project) -> None:
    project.pytester.makeconftest(MODEL)
    project.cases(ONE % "")
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["there is no place to save the edits that are made in the run: give --edit*"])
    assert project.pytester.runpytest().ret == 0
    assert len(list((project.path / ".pytest_cache").rglob("one.png"))) == 1


def test_a_source_that_is_missing_is_the_sources_error(project: Project) -> None:
    project.pytester.makeconftest(MODEL)
    project.cases((ONE % "").replace("source.png", "gone.png"))
    result = project.run("--editeval-edits=made")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*image not found: gone.png*"])
    assert "editing model" not in result.stdout.str()


@PLAIN_AND_XDIST
def test_controls_are_scored_beside_the_edits(project: Project, options: tuple[str, ...]) -> None:
    project.cases((ONE % ", edited: other.png, controls: auto").replace("1.0e+9", "0.001"))
    result = project.run("-rx", "--editeval-results=scores.jsonl", *options)
    # region_emd fails for the edit, dinov3_structure_similarity cannot fail: its threshold is toothless.
    result.assert_outcomes(passed=4, failed=1, xfailed=1)
    result.stdout.fnmatch_lines_random(
        [
            "XFAIL a.edit.yaml::one[[]destroyed[]]::dinov3_structure_similarity - *toothless threshold: *",
            "controls: 4 scored; 1 thresholds are passed by destroyed: one::dinov3_structure_similarity*",
        ]
    )
    found = {(row["control"], row["metric"]): row for row in rows(project)}
    assert found[("nothing-done", "region_emd")]["score"] == 0.0
    assert found[("destroyed", "region_emd")]["score"] > 0.001
    assert found[("destroyed", "region_emd")]["edited"] == "destroyed source.png"
    assert found[("nothing-done", "dinov3_structure_similarity")]["score"] == 1.0
