"""Mistakes in case files: found at collection, in one line with a position; everything else still runs."""

from __future__ import annotations

import pytest

from project import Project

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])

MIXED = """
defaults: {source: source.png, edited: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}
cases:
  - {id: fine, metrics: {region_emd: 0.0}}
  - id: half
    metrics:
      emdd: 1.0
      dinov3_structure_similarity: 1.0
  - {id: profiled, metrics: {region_emd: {threshold: {embedded: 4.0, clip-b32: 9.5}}}}
  - {id: boxed, coords: [[20, 20, 10, 80]], metrics: {region_emd: 0.0}}
  - {id: fine, metrics: {region_emd: 0.0}}
"""


@PLAIN_AND_XDIST
def test_a_mistake_leaves_everything_else_running(project: Project, options: tuple[str, ...]) -> None:
    project.cases(MIXED)
    project.cases("cases: [", name="torn.edit.yaml")
    result = project.run(*options)
    result.assert_outcomes(passed=2, errors=5)
    assert result.ret == 1
    result.stdout.fnmatch_lines_random(
        [
            "a.edit.yaml:7:7: unknown metric 'emdd' in case 'half'; did you mean 'emd'?",
            "  known: dinov3_structure_similarity, emd, region_emd, sam_clip_cls_sim, sam_dino_cls_sim",
            "a.edit.yaml:9:54: metric 'region_emd' in case 'profiled' has no threshold for profile 'tiny'",
            "  it has thresholds for: clip-b32, embedded",
            "a.edit.yaml:10:*inverted or empty*",
            "a.edit.yaml:11:10:*'fine'*",
            "torn.edit.yaml:2:1: not YAML: *",
            "ERROR a.edit.yaml::half::emdd - a.edit.yaml:7:7: unknown metric*",
            "not collected: 5 × a mistake in a case file*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "Interrupted" not in result.stdout.str()


def test_another_collection_error_still_stops_the_run(project: Project) -> None:
    project.cases(MIXED)
    project.pytester.makepyfile(test_broken="import gone_module")
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_collect_only_shows_mistakes(project: Project) -> None:
    project.cases(MIXED)
    result = project.run("--collect-only")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["a.edit.yaml:7:7: unknown metric 'emdd'*"])


def test_a_good_node_id_is_not_troubled_by_its_siblings(project: Project) -> None:
    project.cases(MIXED)
    project.run("a.edit.yaml::half::dinov3_structure_similarity").assert_outcomes(passed=1)
