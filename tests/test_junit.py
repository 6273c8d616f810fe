"""pytest's JUnit file of a run with edit cases: valid for CI systems, with the images of what did not pass."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

import rows
from conftest import picture
from junit_schema import properties, validated
from project import CASES, Project
from pytest_editeval.attachment_hooks import attachment_lines
from pytest_editeval.reports.junit import case_properties
from pytest_editeval.results import Outcome

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
HOSTILE = [
    "]]> <b>&amp;</b> \"q\" 'a'",
    "bell \x07 escape \x1b[31m null \x00 delete \x7f next \x85",
    "two\nlines\ttab\u2028separator",
    "שלום \u202eoverride 🎉 \uffff",
    "[[ATTACHMENT|/etc/passwd]]",
    "x" * 10_000,
]


@pytest.fixture(autouse=True)
def edits(project: Project, remembered_scores: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.store = remembered_scores
    for name in ("JENKINS_URL", "GITLAB_CI", "CI_PROJECT_DIR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    return project


def by_name(suite: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {f"{case.get('classname')}.{case.get('name')}": case for case in suite.findall("testcase")}


@PLAIN_AND_XDIST
@pytest.mark.parametrize("family", [(), ("-o", "junit_logging=all")])
def test_every_kind_of_outcome_is_valid(project: Project, options: tuple[str, ...], family: tuple[str, ...]) -> None:
    project.cases(CASES + "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n")
    project.cases(CASES.replace("other.png", "gone.png"), "gone.edit.yaml")
    project.cases("cases: [", "torn.edit.yaml")
    (project.path / "v2").mkdir()
    for case in ("same", "other", "speck", "caught", "toothless"):
        picture(2).save(project.path / "v2" / f"{case}.png")
    project.pytester.makepyfile("def test_mine(): pass")
    result = project.run("--editeval-candidate=v2=v2", "--junitxml=junit.xml", *options, *family)
    counts = result.parseoutcomes()
    suite = validated(project.path / "junit.xml")
    assert suite.get("failures") == str(counts["failed"])
    assert suite.get("errors") == str(counts["errors"])
    assert suite.get("skipped") == str(counts["xfailed"])
    cases = by_name(suite)
    assert {"a.edit.yaml.other[v2].region_emd", "a.edit.yaml.gates.mean region_emd[v2]"} <= set(cases)
    assert cases["a.edit.yaml.speck[v2].dinov3_structure_similarity"].find("skipped") is not None


@PLAIN_AND_XDIST
def test_without_properties_of_test_cases_the_strict_schema_holds(project: Project, options: tuple[str, ...]) -> None:
    project.cases(CASES + "gates: [{metric: region_emd, statistic: mean, threshold: 0.1}]\n")
    project.run("--junitxml=junit.xml", *options)
    with pytest.raises(xmlschema.XMLSchemaValidationError, match="properties"):
        validated(project.path / "junit.xml", strict=True)
    project.run("--junitxml=junit.xml", "-o", "editeval_junit_properties=no", *options)
    suite = validated(project.path / "junit.xml", strict=True)
    assert suite.find("properties/property[@name='profile']") is not None


def in_yaml(text: str) -> str:
    """Any text as a quoted scalar."""
    plain = (letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}" for letter in text)
    return f'"{"".join(plain)}"'


@PLAIN_AND_XDIST
def test_hostile_text_leaves_the_file_valid(project: Project, options: tuple[str, ...]) -> None:
    written = ["defaults: {source: source.png, coords: [[20, 20, 80, 80]], metrics: {region_emd: 0.001}}", "cases:"]
    for index, text in enumerate(map(in_yaml, HOSTILE)):
        written.append(f"  - {{id: failing{index}, instruction: {text}, edited: other.png}}")
        written.append(f"  - {{id: error{index}, instruction: {text}, edited: gone.png}}")
        written.append(f'  - {{id: mistake{index}, instruction: x, edited: other.png, task: {text[:-1]}!"}}')
    project.cases("\n".join(written))
    result = project.run("--junitxml=junit.xml", *options)
    result.assert_outcomes(failed=2 * len(HOSTILE), errors=len(HOSTILE))
    cases = by_name(validated(project.path / "junit.xml"))
    for index in range(len(HOSTILE)):
        failure = cases[f"a.edit.yaml.failing{index}.region_emd"].find("failure")
        assert failure is not None
        assert " must be ≤ 0.001" in (failure.get("message") or "")
        assert cases[f"a.edit.yaml.mistake{index}"].find("error") is not None


@PLAIN_AND_XDIST
def test_half_a_surrogate_pair_in_a_message_leaves_the_file_valid(project: Project, options: tuple[str, ...]) -> None:
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def edit_model():
            def edit(**asked):
                raise ValueError("no such file: \\udcff]]>")
            return edit
        """
    )
    project.cases("cases: [{id: a, instruction: x, source: source.png, coords: [[20, 20, 80, 80]], metrics: {emd: 1}}]")
    result = project.run("--editeval-candidate=v2", "--junitxml=junit.xml", *options)
    result.assert_outcomes(failed=1)
    validated(project.path / "junit.xml")


@pytest.mark.parametrize(
    ("overrides", "images"),
    [
        ({}, False),
        ({"score": 9.0}, True),
        ({"outcome": Outcome.SOFT_FAILURE}, True),
        ({"outcome": Outcome.ERROR}, True),
        ({"score": 9.0, "covered_by": "gate"}, True),
    ],
)
def test_images_are_properties_of_what_did_not_pass(overrides: dict[str, object], images: bool) -> None:
    found = dict(case_properties(rows.result(**overrides)))
    assert ("source" in found, "edited" in found) == (images, images)
    if images:
        assert (found["source"], found["edited"]) == ("cases/images/source.png", "cases/images/edited.png")


def test_an_edit_that_was_never_made_has_no_property() -> None:
    assert "edited" not in dict(case_properties(rows.result(outcome=Outcome.ERROR, edited="")))


@PLAIN_AND_XDIST
@pytest.mark.parametrize("logging", ["no", "system-out", "all"])
def test_jenkins_gets_both_images_of_a_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], logging: str
) -> None:
    monkeypatch.setenv("JENKINS_URL", "https://jenkins.example")
    project.cases()
    project.run("--junitxml=junit.xml", "-o", f"junit_logging={logging}", *options)
    cases = by_name(validated(project.path / "junit.xml"))
    attached = {name: lines(case) for name, case in cases.items() if lines(case)}
    both = [f"[[ATTACHMENT|{project.path / name}]]" for name in ("other.png", "source.png")]
    assert attached == {
        "a.edit.yaml.other.region_emd": both,
        "a.edit.yaml.speck.dinov3_structure_similarity": both,
        "a.edit.yaml.toothless.region_emd": both,
    }
    assert properties(cases["a.edit.yaml.other.region_emd"])["edited"] == "other.png"


def lines(case: ElementTree.Element) -> list[str]:
    """What a CI system finds: the attachments in the first `system-out`, each alone on its line."""
    text = case.findtext("system-out") or ""
    return [line for line in text.splitlines() if line.startswith("[[ATTACHMENT|")]


@PLAIN_AND_XDIST
def test_what_a_check_prints_stays_in_the_same_element(
    project: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def talkative():
            print("what the fixture says")
        """
    )
    project.one("region_emd: 0.001")
    project.run(
        "--junitxml=j.xml", "-o", "junit_logging=system-out", "-o", "editeval_junit_attachments=jenkins", *options
    )
    (case,) = validated(project.path / "j.xml").findall("testcase")
    assert len(lines(case)) == 2
    assert "what the fixture says" in (case.findtext("system-out") or "")


def test_gitlab_gets_the_edited_image_from_the_root_of_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_PROJECT_DIR", str(project.path.parent))
    project.one("region_emd: 0.001")
    project.run("--junitxml=junit.xml")
    (case,) = validated(project.path / "junit.xml").findall("testcase")
    assert lines(case) == [f"[[ATTACHMENT|{project.path.name}/other.png]]"]


@pytest.mark.parametrize("options", [(), ("-o", "editeval_junit_attachments=off")])
def test_elsewhere_or_switched_off_nothing_is_attached(
    project: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    if options:
        monkeypatch.setenv("JENKINS_URL", "https://jenkins.example")
    project.one("region_emd: 0.001")
    project.run("--junitxml=junit.xml", *options)
    (case,) = validated(project.path / "junit.xml").findall("testcase")
    assert case.find("system-out") is None


def test_a_mode_that_there_is_not_is_one_line(project: Project) -> None:
    result = project.run("-o", "editeval_junit_attachments=yes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: editeval: unknown editeval_junit_attachments 'yes'; allowed: auto, jenkins, gitlab, off"]
    )


@pytest.mark.parametrize("system", ["jenkins", "gitlab"])
def test_what_cannot_be_attached_is_left_out(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("fine.png", "two\nlines.png", os.fsdecode(b"not-utf8-\xff.png"), "../outside.png"):
        Path(name).touch()
    names = [
        "fine.png",
        "two\nlines.png",
        os.fsdecode(b"not-utf8-\xff.png"),
        "../outside.png",
        "s3://b/x.png",
        "gone.png",
        "",
    ]
    found = [list(attachment_lines("", name, system, {})) for name in names]
    outside = [[f"[[ATTACHMENT|{tmp_path / 'outside.png'}]]"]] if system == "jenkins" else [[]]
    fine = root / "fine.png" if system == "jenkins" else "fine.png"
    assert found == [[f"[[ATTACHMENT|{fine}]]"], [], [], *outside, [], [], []]
