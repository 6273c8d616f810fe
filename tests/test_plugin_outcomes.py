"""How checks end: node ids, outcomes, messages, exit status; plain and under xdist."""

from __future__ import annotations

import pytest

from project import Project
from pytest_editeval.statuses import NOTHING_SCORED

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@PLAIN_AND_XDIST
def test_outcomes(project: Project, options: tuple[str, ...]) -> None:
    project.cases()
    result = project.run("-v", *options)
    result.assert_outcomes(passed=5, failed=2, xfailed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines_random(
        [
            "editeval: profile tiny · device cpu · CLIP *",
            "*a.edit.yaml::same::region_emd*PASSED*" if not options else "*PASSED*a.edit.yaml::same::region_emd*",
            "region_emd*↓*2/4*2*0*",
            "dinov3_structure_similarity*↑*1/2*0*1*",
            "soft failures: 1 × no-patch-selected*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "collect.py" not in result.stdout.str()


def test_a_failing_check_explains_itself(project: Project) -> None:
    project.cases()
    result = project.run("-k", "other and region_emd")
    result.stdout.fnmatch_lines(
        [
            "editeval: profile tiny * device cpu * CLIP *clip*",
            "*_ a.edit.yaml::other::region_emd _*",
            "  Replace everything.",
            "  region_emd = *   must be ≤ 0.001   (lower is better)   misses by *",
            "  scope unedit_area: outside 1 box, 40 of 49 patches compared",
            "  worst patches: row* column* of the cost*, near pixels x *, y *",
            "  source  source.png   96×96",
            "  edited  other.png   96×96",
            "  a.edit.yaml:21 * profile tiny * device cpu",
            "*─ edit scores · profile tiny ─*",
            "region_emd*",
            "FAILED a.edit.yaml::other::region_emd - * must be ≤ 0.001, misses by *",
        ]
    )


def test_a_control_that_is_not_caught_fails(project: Project) -> None:
    project.cases()
    result = project.run("-k", "toothless or caught")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*region_emd = * does not catch this control (threshold ≤ 1e+09, lower is better)"])


def test_a_soft_failure_is_xfailed_with_its_reason(project: Project) -> None:
    project.cases()
    result = project.run("-rx", "-k", "speck")
    result.assert_outcomes(xfailed=1)
    assert result.ret == NOTHING_SCORED
    result.stdout.fnmatch_lines(
        ["XFAIL a.edit.yaml::speck::dinov3_structure_similarity - *no-patch-selected: no patch lies in edit_area*"]
    )


@pytest.mark.parametrize(
    "option", [["--runxfail"], ["--editeval-soft-failures", "fail"], ["-o", "editeval_soft_failures=fail"]]
)
def test_soft_failures_can_be_made_to_fail(project: Project, option: list[str]) -> None:
    project.cases()
    result = project.run("-k", "speck", *option)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*dinov3_structure_similarity: no-patch-selected: no patch lies in edit_area*"])


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("sam_clip_cls_sim: {threshold: 0.1, coords: [[1, 2, 30, 40]]}", "odd-box-count"),
        ("sam_clip_cls_sim: {threshold: 0.1, scope: null, coords: []}", "no-boxes"),
        ("region_emd: {threshold: 0.1, coords: [[200, 200, 220, 220]]}", "box-outside-image"),
        ("dinov3_structure_similarity: {threshold: 0.1, coords: [[3, 3, 5, 5]]}", "no-patch-selected"),
    ],
)
def test_every_soft_failure_names_its_reason(project: Project, metric: str, reason: str) -> None:
    project.one(metric)
    result = project.run("-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines([f"XFAIL *{reason}: *"])


def test_a_region_outside_the_crop_names_squash(project: Project) -> None:
    from conftest import picture

    picture(3, 200, 96).save(project.path / "source.png")
    picture(3, 200, 96).save(project.path / "other.png")
    project.one("region_emd: {threshold: 1, scope: edit_area, coords: [[0, 0, 40, 96]]}")
    result = project.run("-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL *region-outside-crop: *fit: squash*"])


def test_an_empty_mask_is_a_soft_failure(project: Project) -> None:
    config = (project.path / "tiny.yaml").read_text("utf-8").replace("sam.pth", "sam-empty.pth")
    project.write("tiny.yaml", config)
    project.one("sam_clip_cls_sim: {threshold: 0.1, pairs: [{source: [1, 1, 50, 50], edited: [1, 1, 50, 50]}]}")
    result = project.run("-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL *empty-object-mask: *"])


@PLAIN_AND_XDIST
def test_a_missing_or_broken_image_fails_its_check_only(project: Project, options: tuple[str, ...]) -> None:
    project.write("broken.png", "no picture")
    project.cases(
        """
        defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]], metrics: {region_emd: 1.0e+9}}
        cases:
          - {id: missing, edited: gone.png}
          - {id: broken, edited: broken.png}
          - {id: fine, edited: other.png}
        """
    )
    result = project.run(*options)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "a.edit.yaml:4:*: edited image not found: gone.png",
            "a.edit.yaml:5:*: edited not an image file: broken.png (10 bytes)",
            "region_emd*1/3*0*2*",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_a_score_that_is_no_number_never_passes(project: Project) -> None:
    project.pytester.makepyfile(
        nan_metric="""
        from pytest_editeval import MetricSpec, register_metric
        register_metric(
            MetricSpec(
                "nan_metric", "clip-pipe", True, None, None, "patches", "nan_metric:compute", "-", settings_of="emd"
            )
        )
        def compute(source, edited):
            return float("nan")
        """,
        conftest="import nan_metric",
    )
    project.cases(
        """
        cases:
          - {id: a, instruction: -, source: source.png, edited: other.png, metrics: {nan_metric: 0.5}}
          - {id: b, instruction: -, source: source.png, edited: other.png, metrics: {nan_metric: 0.5}, expect: fail}
        """
    )
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["metric 'nan_metric' (nan_metric:compute) is nan: the features or the metric are broken*"]
    )


def test_checks_that_did_not_run_are_counted_and_named(project: Project) -> None:
    project.cases()
    result = project.run("-x", "-k", "other or caught")
    result.stdout.fnmatch_lines(["not run: 2 of 3 checks: a.edit.yaml::other::emd, a.edit.yaml::caught::region_emd"])


def test_tb_line_is_a_line_per_failure(project: Project) -> None:
    project.one("region_emd: 0.001, emd: 0.001", edited="gone.png")
    project.write("b.edit.yaml", (project.path / "a.edit.yaml").read_text("utf-8").replace("gone.png", "other.png"))
    result = project.run("--tb=line", "-k", "region_emd")
    result.assert_outcomes(failed=2, deselected=2)
    failures = result.stdout.str().split("= FAILURES =")[1].split("edit scores")[0].splitlines()[1:-1]
    assert len(failures) == 2
    assert failures[0].startswith("a.edit.yaml:1: region_emd: a.edit.yaml:1:68: edited image not found: gone.png")
    assert failures[1].startswith("b.edit.yaml:1: region_emd: ")


def test_other_tests_fail_as_ever(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        def test_silent():
            pytest.fail("", pytrace=False)
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_quiet_run_names_its_profile_all_the_same(project: Project) -> None:
    project.cases()
    result = project.run("-q", "-k", "caught")
    assert "editeval: profile" not in result.stdout.str()
    result.stdout.fnmatch_lines(["editeval: 1 check (1 passed) · profile tiny"])
