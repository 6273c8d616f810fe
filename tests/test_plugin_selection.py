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
    message = f"{float(failed['score']):.4g} must be ≤ 0.001"
    assert element.find("failure").get("message").startswith(message)  # type: ignore[union-attr]
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


def test_a_pipe_without_a_segmenter_uses_the_sessions(project: Project) -> None:
    project.pytester.makeconftest(
        f"""
        import pytest
        from pytest_editeval import CLIPPipe

        @pytest.fixture(scope="session")
        def clip_pipe():
            return CLIPPipe(model_path={str(project.models / "clip")!r}, fit="squash", device="cpu")
        """
    )
    project.one("sam_clip_cls_sim: {threshold: -1.0, coords: [[10, 10, 80, 80], [10, 10, 80, 80]]}")
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"emdd"', "unknown metric 'emdd'; did you mean 'emd'?"),
        ('"emd", scope="edit_areas"', "emd: unknown scope 'edit_areas'; did you mean 'edit_area'?"),
        ('"emd", coords=5', "emd: coords must be a list of boxes (x1, y1, x2, y2), found 5"),
        ('"emd", coords="abcd"', "emd: coords must be a list of boxes (x1, y1, x2, y2), found 'abcd'"),
        ('"emd", coords=[(1, 2, 3)]', "emd: coords is a list of boxes (x1, y1, x2, y2), and (1, 2, 3) is no box"),
        ('"emd", coords=[(50, 2, 3, 40)]', "emd: box (50, 2, 3, 40) is inverted or empty: *"),
        ('"emd", coords=[(float("nan"), 2, 3, 40)]', "emd: box (nan, 2, 3, 40) is not finite"),
        ('"emd", patch_mask_threshold=2', "emd: a patch_mask_threshold is a number from 0 to below 1, not 2"),
        (
            '"sam_dino_cls_sim", pairs=[(1, 2, 3)]',
            "sam_dino_cls_sim: pairs must be a list of pairs of (source box, edited box), found ?(1, 2, 3)?",
        ),
    ],
)
def test_a_mistake_in_a_hand_written_test_is_one_line(project: Project, arguments: str, message: str) -> None:
    metric, _, settings = arguments.partition(", ")
    project.pytester.makepyfile(
        f"""
        def test_mine(editeval):
            editeval.score({metric}, "source.png", "other.png", {settings})
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Error*")


def test_boxes_may_be_an_array(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import numpy as np

        def test_mine(editeval):
            boxes = [(20, 20, 80, 80)]
            scores = [editeval.score("emd", "source.png", "other.png", form(boxes)) for form in (list, np.array)]
            assert scores[0] == scores[1]
        """
    )
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_directorys_own_segmenter_stays_in_its_directory(project: Project, order: tuple[str, str]) -> None:
    project.write(
        "b/conftest.py",
        f"""
        import pytest
        from pytest_editeval import SAMSegmenter

        @pytest.fixture(scope="session")
        def sam_segmenter():
            return SAMSegmenter(model_path={str(project.models / "sam-empty.pth")!r}, device="cpu")
        """,
    )
    for folder in order:
        project.one(
            "sam_dino_cls_sim: {threshold: 0.999, coords: [[9, 9, 80, 80], [9, 9, 80, 80]]}", edited="source.png"
        )
        (project.path / folder).mkdir(exist_ok=True)
        text = (project.path / "a.edit.yaml").read_text("utf-8").replace("source.png", "../source.png")
        project.write(f"{folder}/c.edit.yaml", text)
    result = project.run("-v", *order)
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines_random(["a/c.edit.yaml*PASSED*", "b/c.edit.yaml*XFAIL*"])
