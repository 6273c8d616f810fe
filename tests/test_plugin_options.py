"""The plugin's options and ini settings, and what a mistake in them prints."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from project import Project
from pytest_editeval.profiles import EMBEDDED_LIMITS
from pytest_editeval.results import CheckResult

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("--editeval-device", "gpu"), "unknown device 'gpu'; allowed: auto, cpu, cuda, cuda:N, mps"),
        (("--editeval-results", "x.xlsx"), "unknown format '.xlsx'; allowed: .jsonl, .csv, .parquet"),
        (("--editeval-config", "gone.yaml"), "gone.yaml"),
        (("-o", "editeval_soft_failures=skip"), "unknown editeval_soft_failures 'skip'; allowed: xfail, fail"),
        (("-o", "editeval_device=tpu"), "unknown device 'tpu'"),
    ],
)
@PLAIN_AND_XDIST
def test_a_wrong_setting_stops_the_run_in_one_line(
    project: Project, mistake: tuple[str, ...], message: str, options: tuple[str, ...]
) -> None:
    project.cases()
    result = project.run(*mistake, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: editeval: *{message}*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_a_mistake_in_the_configuration_is_one_line(project: Project) -> None:
    project.write("bad.yaml", "metric_configs:\n  emdd:\n    pipe_name: clip-pipe\n")
    result = project.run("--editeval-config", "bad.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: bad.yaml:2:3: unknown metric 'emdd'; did you mean 'emd'?"])


def test_a_device_that_is_not_there_is_one_line(project: Project) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    project.one("region_emd: 1.0e+9")
    result = project.run("--editeval-device", "cuda")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["device cuda was asked for, but torch * finds no CUDA GPU here"])


def test_a_checkpoint_that_is_not_there_is_one_line_per_check(project: Project) -> None:
    project.write("tiny.yaml", (project.path / "tiny.yaml").read_text("utf-8").replace("/clip}", "/clop}"))
    project.cases()
    result = project.run("-k", "other or same")
    result.assert_outcomes(errors=3, passed=2)
    result.stdout.fnmatch_lines(["no checkpoint at */clop; point model_path at a directory or a hub id"])
    assert "Traceback" not in result.stdout.str()
    assert "checkpoints.py" not in result.stdout.str()


@PLAIN_AND_XDIST
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_results_file(project: Project, suffix: str, options: tuple[str, ...]) -> None:
    project.cases()
    result = project.run("--editeval-results", f"out/results{suffix}", *options)
    rows = read(project.path / f"out/results{suffix}")
    assert len(rows) == 8
    result.stdout.fnmatch_lines([f"results: out/results{suffix} (8 rows)"])
    failed = next(row for row in rows if row["node_id"] == "a.edit.yaml::other::region_emd")
    assert failed["outcome"] == "failed"
    assert float(failed["score"]) > 0.001
    assert float(failed["margin"]) == pytest.approx(0.001 - float(failed["score"]))
    soft = next(row for row in rows if row["case"] == "speck")
    assert (soft["outcome"], soft["reason"], float(soft["score"])) == ("soft failure", "no-patch-selected", 0.0)


def test_results_from_the_ini_file_and_back_into_python(project: Project) -> None:
    project.cases()
    project.run("-o", "editeval_results=scores.jsonl")
    lines = (project.path / "scores.jsonl").read_text("utf-8").splitlines()
    results = [CheckResult.from_data(json.loads(line)) for line in lines]
    assert [json.loads(line) for line in lines] == [result.to_data() for result in results]
    assert {result.profile for result in results} == {"tiny"}


def test_xdist_gives_the_same_scores(project: Project) -> None:
    project.cases()
    project.run("--editeval-results", "plain.jsonl")
    project.run("--editeval-results", "xdist.jsonl", "-n", "2")
    plain, xdist = (
        {row["node_id"]: row["score"] for row in read(project.path / name)} for name in ("plain.jsonl", "xdist.jsonl")
    )
    assert list(plain) == list(xdist)
    for node_id, score in plain.items():
        assert xdist[node_id] == pytest.approx(score, rel=1e-4)


def read(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    import pyarrow.parquet

    rows: list[dict[str, str]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


@PLAIN_AND_XDIST
def test_results_that_cannot_be_written_cost_nothing_else(project: Project, options: tuple[str, ...]) -> None:
    project.one("region_emd: 1.0e+9")
    project.write("taken", "a file")
    result = project.run("--editeval-results", "taken/results.csv", "--junitxml", "junit.xml", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR: editeval: --editeval-results taken/results.csv: *", "region_emd *"])
    result.stdout.no_fnmatch_line("results: *")
    assert (project.path / "junit.xml").is_file()


@pytest.mark.parametrize("dry", ["--collect-only", "--setup-plan", "--fixtures-per-test"])
def test_a_dry_run_leaves_the_results_of_the_last_run_alone(project: Project, dry: str) -> None:
    project.one("region_emd: 1.0e+9")
    project.write("results.jsonl", "of the last run")
    result = project.run("--editeval-results", "results.jsonl", dry)
    assert result.ret == 0
    assert (project.path / "results.jsonl").read_text("utf-8") == "of the last run"
    result.stdout.no_fnmatch_line("*edit scores*")
    result.stdout.no_fnmatch_line("*not run*")


@PLAIN_AND_XDIST
def test_without_a_configuration_the_embedded_profile_is_used_and_says_so(
    project: Project, options: tuple[str, ...]
) -> None:
    project.pytester.makeini("[pytest]\n")
    project.one("region_emd: {threshold: {embedded: 1.0e+9}}")
    result = project.run("--editeval-device", "cpu", *options)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "editeval: profile embedded (for learning the tool and testing pipelines, not for gating a release) "
            "· device cpu · 3 checkpoints, 15.* MB",
            *(f"editeval: {limit}" for limit in EMBEDDED_LIMITS),
        ]
    )


def test_what_a_configuration_has_that_is_ignored_is_named_once(project: Project) -> None:
    config = (project.path / "tiny.yaml").read_text("utf-8")
    project.write("tiny.yaml", f"name: object-centric\nsupport_task: [color_alter]\n{config}")
    project.one("region_emd: 1.0e+9")
    result = project.run()
    result.stdout.fnmatch_lines(["editeval: *tiny.yaml:1:1: 'name' is ignored", "editeval: *tiny.yaml:2:1: *ignored"])
    assert result.stdout.str().count("'name' is ignored") == 1


def test_a_fixture_of_a_pipe_that_the_profile_lacks_is_one_line(project: Project) -> None:
    project.write(
        "tiny.yaml",
        f"metric_configs: {{emd: {{pipe_name: clip-pipe, init_config: {{model_path: {project.models}/clip}}}}}}\n",
    )
    project.pytester.makepyfile(
        """
        def test_dino(dinov3_pipe): pass
        def test_sam(sam_segmenter): pass
        def test_clip(clip_pipe): pass
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        ["profile tiny configures no metric of dino-v3-pipe", "profile tiny has no sam block"]
    )
    assert "Traceback" not in result.stdout.str()


def test_results_into_a_directory_are_refused_before_the_run(project: Project) -> None:
    (project.path / "out.jsonl").mkdir()
    project.cases()
    result = project.run("--editeval-results", "out.jsonl")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: --editeval-results out.jsonl: that is a directory"])
