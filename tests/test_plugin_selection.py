"""pytest's own options on checks: selection, planning, JUnit."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from project import Project


def test_collect_only_shows_the_tree(project: Project) -> None:
    project.cases()
    result = project.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "a.edit.yaml::same::region_emd",
            "a.edit.yaml::same::dinov3_structure_similarity",
            "a.edit.yaml::same::sam_dino_cls_sim",
            "a.edit.yaml::other::region_emd",
            "a.edit.yaml::other::emd",
            "a.edit.yaml::speck::dinov3_structure_similarity",
            "a.edit.yaml::caught::region_emd",
            "a.edit.yaml::toothless::region_emd",
            "",
            "8 tests collected*",
        ]
    )


def test_setup_plan_names_the_fixtures_a_metric_needs(project: Project) -> None:
    project.cases()
    result = project.run("--setup-plan", "-k", "same")
    result.stdout.fnmatch_lines_random(
        ["SETUP    S clip_pipe", "SETUP    S dinov3_pipe", "SETUP    S sam_segmenter", "SETUP    S editeval"]
    )
    assert "FAILED" not in result.stdout.str()


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        (("-k", "caught"), 1),
        (("-m", "people"), 3),
        (("-m", "color_alter and not control"), 3),
        (("-m", "control", "--strict-markers"), 1),
        (("-k", "same and emd"), 1),
    ],
)
def test_names_tasks_and_tags_select(project: Project, options: tuple[str, ...], passed: int) -> None:
    project.cases()
    result = project.run(*options)
    result.assert_outcomes(passed=passed, deselected=8 - passed)


def test_a_node_id_runs_one_check(project: Project) -> None:
    project.cases()
    result = project.run("a.edit.yaml::same::dinov3_structure_similarity")
    result.assert_outcomes(passed=1)


def test_last_failed_and_exit_first(project: Project) -> None:
    project.cases()
    first = project.pytester.runpytest("-x")
    first.assert_outcomes(passed=3, failed=1)
    again = project.pytester.runpytest("--lf")
    again.assert_outcomes(failed=1)
    assert "region_emd" in again.stdout.str()


def test_only_files_of_the_pattern_are_cases(project: Project) -> None:
    project.cases(name="plain.yaml")
    assert project.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED
    project.cases(name="b.edit.yml")
    project.run("--collect-only", "-q").stdout.fnmatch_lines(["8 tests collected*"])
    project.run("--collect-only", "-q", "-o", "editeval_files=plain.*").stdout.fnmatch_lines(["plain.yaml::same::*"])


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_junit_carries_scores_and_versions(project: Project, options: tuple[str, ...]) -> None:
    project.cases()
    project.run("--junitxml=junit.xml", *options)
    suite = ElementTree.parse(project.path / "junit.xml").getroot()[0]
    versions = {entry.get("name"): entry.get("value") for entry in suite.findall("properties/property")}
    assert versions["profile"] == "tiny"
    assert versions["device"] == "cpu"
    assert {"torch", "transformers", "python"} <= set(versions)
    found = {}
    for case in suite.findall("testcase"):
        values = {entry.get("name"): entry.get("value") for entry in case.findall("properties/property")}
        found[values["case"], values["metric"]] = values, case
    assert len(found) == 8
    failed, element = found["other", "region_emd"]
    assert float(failed["margin"]) == pytest.approx(float(failed["threshold"]) - float(failed["score"]))
    assert failed["direction"] == "lower_is_better"
    assert len(failed["fingerprint"]) == 16
    assert element.find("failure").get("message").startswith("region_emd = ")  # type: ignore[union-attr]
    soft, element = found["speck", "dinov3_structure_similarity"]
    assert (soft["score"], soft["reason"], soft["outcome"]) == ("0.0", "no-patch-selected", "soft failure")
    assert element.find("skipped") is not None


def test_cases_and_hand_written_tests_share_a_run(project: Project) -> None:
    project.cases()
    project.pytester.makepyfile(
        """
        from PIL import Image

        def test_mine(editeval):
            source, edited = Image.open("source.png"), Image.open("other.png")
            score = editeval.score("region_emd", source, edited, coords=[(20, 20, 80, 80)])
            assert score.value > 0 and score.soft_failure is None
            assert editeval.score("emd", "source.png", "source.png").value == 0

        def test_pipes(clip_pipe, dinov3_pipe, sam_segmenter):
            assert clip_pipe.img_input_size == dinov3_pipe.input_image_size == 224
            assert clip_pipe.sam_block is sam_segmenter
        """
    )
    project.run("-k", "test_ or same").assert_outcomes(passed=5, deselected=5)


def test_a_conftest_can_put_its_own_pipe_in_place(project: Project) -> None:
    project.pytester.makeconftest(
        f"""
        import pytest
        from pytest_editeval import CLIPPipe

        class Counting(CLIPPipe):
            calls = 0
            def encode(self, images):
                Counting.calls += 1
                return super().encode(images)

        @pytest.fixture(scope="session")
        def clip_pipe():
            yield Counting(model_path={str(project.models / "clip")!r}, device="cpu")
            assert Counting.calls == 1
            print("ENCODED", Counting.calls)
        """
    )
    project.cases()
    result = project.run("-s", "-k", "same and region_emd")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*ENCODED 1"])


def test_a_conftest_can_put_its_own_segmenter_in_place(project: Project) -> None:
    project.pytester.makeconftest(
        f"""
        import pytest
        from pytest_editeval import SAMSegmenter

        @pytest.fixture(scope="session")
        def sam_segmenter():
            return SAMSegmenter(model_path={str(project.models / "sam-empty.pth")!r}, device="cpu")
        """
    )
    project.cases()
    result = project.run("-rx", "-k", "same and sam_dino")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["*empty-object-mask*"])
