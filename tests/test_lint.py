"""`editeval lint`: thresholds that mean nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from project import Project
from pytest_editeval import results_file
from pytest_editeval.cli import main
from pytest_editeval.config import load_profile
from pytest_editeval.gating.lint import End, Linted, Rule, lint
from pytest_editeval.gating.noise import MetricNoise, NoiseFloor, write_noise
from pytest_editeval.registry import metrics
from pytest_editeval.reports.lint import finding_line
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.suites import SuiteCheck, load_suite

CASE = """
cases:
  - id: red_scarf
    instruction: Make the scarf red.
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    expect: {expect}
    metrics:
      {metric}: {threshold}
"""
PLACE = "a.edit.yaml:10"


def checks_of(project: Project, metric: str = "region_emd", threshold: float = 5, expect: str = "pass") -> SuiteCheck:
    path = project.cases(CASE.format(metric=metric, threshold=threshold, expect=expect))
    suite = load_suite([path], load_profile(project.path / "tiny.yaml"))
    assert suite.mistakes == ()
    (check,) = suite.checks
    return check


def floor(**noise: float) -> NoiseFloor:
    return NoiseFloor(None, "tiny", {name: MetricNoise(value, 1, "f", 9, {}) for name, value in noise.items()})


def lines(linted: Linted, noise: float | None = None) -> list[str]:
    """What is said of one check, without its place; of its case, which nothing done may pass, nothing."""
    found = lint([linted], None if noise is None else floor(**{linted.check.metric: noise}))
    texts = [finding_line(one) for one in found if one.rule is not Rule.CASE_PASSED_BY_NOTHING_DONE]
    assert all(text.startswith(PLACE) for text in texts)
    return [text.split(f"red_scarf {linted.check.metric}: ")[1] for text in texts]


@pytest.mark.parametrize(
    ("metric", "threshold", "nothing", "destroyed", "expected"),
    [
        (
            *("region_emd", 5, 0.0, 3.2),
            'threshold ≤ 5 is passed by "destroyed" (nothing done 0, destroyed 3.2): it can catch nothing; '
            "a threshold between them would be 1.6",
        ),
        ("region_emd", 3, 0.0, 3.2, None),
        (
            *("region_emd", 5, 0.0, 5.0),
            'threshold ≤ 5 is passed by "destroyed" (nothing done 0, destroyed 5): it can catch nothing; '
            "a threshold between them would be 2.5",
        ),
        (
            *("region_emd", 5, 0.0, 4.99999),
            'threshold ≤ 5 is passed by "destroyed" (nothing done 0, destroyed 4.99999): it can catch nothing; '
            "a threshold between them would be 2.5",
        ),
        (
            *("sam_clip_cls_sim", 0.6, 1.0, 0.7),
            'threshold ≥ 0.6 is passed by "destroyed" (nothing done 1, destroyed 0.7): it can catch nothing; '
            "a threshold between them would be 0.85",
        ),
        ("sam_clip_cls_sim", 0.8, 1.0, 0.7, None),
        (
            *("sam_clip_cls_sim", 0.6, 0.7, 0.75),
            'threshold ≥ 0.6 is passed by "destroyed" (nothing done 0.7, destroyed 0.75): it can catch nothing; '
            "the metric does not tell them apart here",
        ),
        (
            *("sam_clip_cls_sim", 0.6, None, 0.75),
            'threshold ≥ 0.6 is passed by "destroyed" (nothing done not told, destroyed 0.75): it can catch nothing; '
            "the metric does not tell them apart here",
        ),
        ("region_emd", 5, None, None, None),
    ],
)
def test_a_threshold_that_noise_passes_catches_nothing(
    metric: str, threshold: float, nothing: float, destroyed: float, expected: str | None, project: Project
) -> None:
    for expect in ("pass", "fail"):
        check = checks_of(project, metric, threshold, expect)
        assert lines(Linted(check, End(nothing), End(destroyed))) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("metric", "threshold", "expected"),
    [
        ("region_emd", -0.5, "no score reaches the threshold ≤ -0.5: the lowest there can be is 0"),
        ("emd", -1, "no score reaches the threshold ≤ -1: the lowest there can be is 0"),
        ("region_emd", 0, None),
        (
            "dinov3_structure_similarity",
            1.0001,
            "no score reaches the threshold ≥ 1.0001: the highest there can be is 1",
        ),
        ("dinov3_structure_similarity", 1, None),
        ("dinov3_structure_similarity", 0, "every score passes the threshold ≥ 0: the lowest there can be is 0"),
        ("sam_clip_cls_sim", 1.5, "no score reaches the threshold ≥ 1.5: the highest there can be is 1"),
        ("sam_dino_cls_sim", -1, "every score passes the threshold ≥ -1: the lowest there can be is -1"),
        ("sam_dino_cls_sim", -0.99, None),
    ],
)
def test_a_threshold_out_of_the_metrics_range_needs_no_score(
    metric: str, threshold: float, expected: str | None, project: Project
) -> None:
    linted = Linted(checks_of(project, metric, threshold), End(None), End(None))
    assert lines(linted) == ([expected] if expected else [])


@pytest.mark.parametrize("metric", list(metrics()))
def test_the_bounds_of_a_metric_hold_its_scores(metric: str, models: Path, project: Project) -> None:
    from pytest_editeval.commands.controlled import score_controls
    from pytest_editeval.scoring.suite import open_editeval

    lowest, highest = metrics()[metric].bounds
    with open_editeval(load_profile(project.path / "tiny.yaml"), "cpu") as editeval:
        (linted,) = score_controls(editeval, [checks_of(project, metric)])
    for end in (linted.nothing_done, linted.destroyed):
        assert end.value is None or lowest - 1e-9 <= end.value <= highest + 1e-9


def test_what_lies_within_the_noise_is_decided_by_it(project: Project) -> None:
    def said(threshold: float, noise: float, nothing: float | None = 0.0, expect: str = "pass") -> list[str]:
        check = checks_of(project, "region_emd", threshold, expect)
        return lines(Linted(check, End(nothing), End(8.0)), noise)

    assert said(1, 0.5) == []
    assert said(0.4, 0.5) == ['threshold ≤ 0.4 is within the noise 0.5 of "nothing done" (nothing done 0, destroyed 8)']
    assert said(0.5, 0.5) == []  # the noise itself is outside it
    assert said(7.6, 0.5) == ['threshold ≤ 7.6 is within the noise 0.5 of "destroyed" (nothing done 0, destroyed 8)']
    assert said(0.4, 0.5, nothing=None) == ["threshold ≤ 0.4 is within the noise 0.5 of a perfect score (0)"]
    assert said(0.4, 0.5, nothing=3.0) == ["threshold ≤ 0.4 is within the noise 0.5 of a perfect score (0)"]
    assert said(0.4, 0.5, expect="fail") == []
    assert len(said(7.6, 0.5, expect="fail")) == 1
    assert len(said(4, 10)) == 2


MANY = """
defaults: {instruction: Do it., source: source.png, edited: other.png, coords: [[20, 20, 80, 80]]}
cases:
  - {id: both, metrics: {region_emd: 1.0, emd: 2.0}}
  - {id: caught, expect: fail, metrics: {region_emd: 1.0}}
  - {id: mixed, metrics: {region_emd: {threshold: 1.0, expect: fail}, emd: 2.0}}
"""


def test_a_case_that_nothing_done_passes_is_one_finding(project: Project) -> None:
    suite = load_suite([project.cases(MANY)], load_profile(project.path / "tiny.yaml"))

    def said(**nothing: float | None) -> list[str]:
        linted = [Linted(check, End(nothing[check.metric]), End(9.0)) for check in suite.checks]
        return [finding_line(one) for one in lint(linted)]

    tail = "no metric of it sees whether the edit was made"
    assert said(region_emd=0.0, emd=1.5) == [
        f'a.edit.yaml:4:10: both: "nothing done" passes every threshold of the case (region_emd 0, emd 1.5): {tail}',
        f'a.edit.yaml:6:10: mixed: "nothing done" passes every threshold of the case (emd 1.5): {tail}',
    ]
    assert said(region_emd=0.0, emd=2.5) == []
    assert said(region_emd=0.0, emd=None) == []  # one that is not told may be the one that catches it


def row(check: SuiteCheck, **changes: object) -> CheckResult:
    """A row of a results file, as a run would write it."""
    resolved, spec = check.resolved, metrics()[check.metric]
    variant = "-".join(str(changes[key]) for key in ("control", "candidate", "score", "scope") if key in changes)
    values: dict[str, object] = {
        "node_id": f"a.edit.yaml::{check.case.id}[{variant}]::{check.metric}",
        "file": "a.edit.yaml",
        "line": 10,
        "case": check.case.id,
        "candidate": None,
        "control": None,
        "metric": check.metric,
        "metric_version": 1,
        "instruction": check.case.instruction,
        "task": None,
        "tags": (),
        "source": "source.png",
        "edited": "other.png",
        "scope": resolved.scope,
        "coords": resolved.coords,
        "parameters": resolved.parameters,
        "expect": "pass",
        "threshold": 99.0,
        "higher_is_better": spec.higher_is_better,
        "outcome": Outcome.PASSED,
        "repeats": (),
        "within_noise": False,
        "profile": "tiny",
        "fingerprint": "f",
        "device": "cpu",
        "versions": {},
        "models": {},
        "duration": 0.0,
        "remembered": False,
        **changes,
    }
    names = ("source_size", "edited_size", "source_digest", "edited_digest", "score", "margin", "reason", "detail")
    names += ("quota", "covered_by", "baseline", "tolerance", "noise")
    return CheckResult(**{**dict.fromkeys(names), **values})  # type: ignore[arg-type]


def command(
    project: Project, capsys: pytest.CaptureFixture[str], *arguments: str, config: str = "tiny.yaml"
) -> tuple[int, list[str], str]:
    status = main(["lint", "--config", config, "--device", "cpu", *arguments, "a.edit.yaml"])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def from_results(
    project: Project, capsys: pytest.CaptureFixture[str], rows: list[CheckResult], *arguments: str
) -> tuple[int, list[str], str]:
    results_file.write_results(project.path / "run.jsonl", rows)
    return command(project, capsys, "--results", "run.jsonl", *arguments)


def test_the_ends_come_from_the_results(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    check = checks_of(project)
    ends = [row(check, control="nothing-done", score=6.0), row(check, control="destroyed", score=9.0)]
    assert from_results(project, capsys, ends) == (
        0,
        ["lint: 0 findings in 1 checks of 1 files, 0 checks not told, 0 mistakes in case files"],
        "",
    )
    ends[1] = replace(ends[1], score=3.2)
    status, out, _ = from_results(project, capsys, ends)
    assert status == 1
    assert out[0] == (
        'a.edit.yaml:10:19: red_scarf region_emd: threshold ≤ 5 is passed by "destroyed" (nothing done 6, destroyed '
        "3.2): it can catch nothing; the metric does not tell them apart here"
    )


def test_scores_within_the_noise_are_named_with_their_candidate(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threshold is the case file's, not the one of the row."""
    check = checks_of(project)
    rows = [row(check, control="nothing-done", score=6.0), row(check, control="destroyed", score=9.0)]
    rows += [row(check, score=4.9, candidate="v2"), row(check, score=4.0), row(check, score=5.05, candidate="v3")]
    rows += [row(check, score=None, reason="no-boxes", detail="none"), row(check, score=5.0, scope=None)]
    write_noise(project.path / "noise.json", floor(region_emd=0.2))
    status, out, _ = from_results(project, capsys, rows, "--noise", "noise.json")
    assert status == 1
    place = "a.edit.yaml:10:19: red_scarf region_emd: the score"
    assert out == [
        f"{place} 4.9 of v2 is within the noise 0.2 of the threshold ≤ 5",
        f"{place} 5.05 of v3 is within the noise 0.2 of the threshold ≤ 5",
        "lint: 2 findings in 1 checks of 1 files, 0 checks not told, 0 mistakes in case files",
    ]


def test_what_is_not_told_is_named_and_no_finding(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    check = checks_of(project)
    label = "a.edit.yaml::red_scarf::region_emd: not told:"
    told = row(check, control="nothing-done", score=6.0)
    soft = row(check, control="destroyed", score=0.0, reason="no-patch-selected", detail="too small")
    boxes = replace(soft, reason=None, coords=((1.0, 1.0, 2.0, 2.0),))
    fault = row(check, control="destroyed", outcome=Outcome.ERROR, detail="image not found: source.png")
    for rows, reason in (
        ([told, soft], '"destroyed": no-patch-selected: too small'),
        ([told, boxes], '"destroyed": its boxes, scope or parameters changed since the results were scored'),
        ([told, fault], '"destroyed": image not found: source.png'),
        ([told], '"destroyed": the results have no such control'),
        (
            [replace(told, file="b.edit.yaml", node_id="b.edit.yaml::red_scarf::region_emd")],
            "the results have no such control",
        ),
    ):
        status, out, _ = from_results(project, capsys, rows)
        assert (status, out[0]) == (0, f"{label} {reason}")
        assert "1 checks not told" in out[1]


def test_rows_of_another_directory_are_found_by_the_end_of_the_path(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = checks_of(project)
    rows = [row(check, control=control, score=9.0) for control in ("nothing-done", "destroyed")]
    rows = [replace(one, file=f"{project.path.name}/a.edit.yaml") for one in rows]
    assert from_results(project, capsys, rows)[0] == 0
    assert "0 checks not told" in from_results(project, capsys, rows)[1][-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "large"}, "profile: the results have 'large', the case files are judged with 'tiny'"),
        ({"control": None}, "the results hold no controls: score them with 'controls: auto', or leave out --results"),
        ({"fingerprint": "0123"}, "region_emd: checkpoints f against 0123"),
        ({"metric_version": 2}, "region_emd: metric version 1 against 2"),
    ],
)
def test_results_that_do_not_belong_are_one_line(
    changes: dict[str, object], message: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(checks_of(project), **{"control": "destroyed", "score": 9.0, **changes})]
    write_noise(project.path / "noise.json", floor(region_emd=0.2))
    status, out, errors = from_results(project, capsys, rows, "--noise", "noise.json")
    assert (status, out) == (4, [])
    assert errors.startswith(f"editeval: {message}")
    assert errors.count("\n") == 1


def test_a_noise_file_of_another_profile_is_refused_before_anything_is_scored(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    checks_of(project)
    write_noise(project.path / "noise.json", replace(floor(region_emd=0.2), profile="large"))
    status, _, errors = command(project, capsys, "--noise", "noise.json")
    assert status == 4
    assert errors == "editeval: profile: the noise file has 'large', this run 'tiny'\n"


SCORED = """
defaults: {instruction: Do it., source: source.png, edited: gone.png, coords: [[20, 20, 80, 80]]}
cases:
  - {id: lenient, metrics: {region_emd: 1.0e+9}}
  - {id: strict, metrics: {region_emd: 1.0e-9}}
  - {id: speck, coords: [[40, 40, 41, 41]], metrics: {dinov3_structure_similarity: 0.5}}
  - {id: wrong, metrics: {emdd: 1.0}}
"""


def test_without_results_the_controls_are_scored_here(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """No edit has to exist, and mistakes in case files leave the rest to be linted."""
    project.cases(SCORED)
    status, out, errors = command(project, capsys)
    assert (status, errors) == (1, "")
    assert out[0].startswith("a.edit.yaml:7:27: unknown metric 'emdd' in case 'wrong'")
    found = [line for line in out[1:] if re.match(r"a\.edit\.yaml:\d", line)]
    assert [line.split(": ")[1] for line in found] == ["lenient", "lenient region_emd", "strict"]
    assert '"destroyed" (nothing done 0, destroyed ' in found[1]
    assert out[-2].startswith("a.edit.yaml::speck::dinov3_structure_similarity: not told: no-patch-selected: ")
    assert out[-1] == "lint: 3 findings in 3 checks of 1 files, 1 checks not told, 1 mistakes in case files"


def test_scores_that_pytest_remembers_are_used(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.cases(SCORED)
    before = command(project, capsys)
    assert not (project.path / ".pytest_cache").exists()
    (project.path / ".pytest_cache" / "d" / "editeval").mkdir(parents=True)
    assert command(project, capsys) == before
    monkeypatch.setattr("pytest_editeval.vision.scorer.Scorer.submit", lambda *_: pytest.fail("scored again"))
    assert command(project, capsys) == before


def test_a_metric_without_noise_is_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    checks_of(project)
    write_noise(project.path / "noise.json", floor(emd=0.2))
    rows = [row(checks_of(project), control=control, score=9.0) for control in ("nothing-done", "destroyed")]
    _, out, _ = from_results(project, capsys, rows, "--noise", "noise.json")
    assert out[0] == "region_emd: the noise file has no noise of it"


def test_findings_of_a_kind_can_be_left_out_and_are_counted(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    check = checks_of(project)
    rows = [row(check, control="nothing-done", score=0.0), row(check, control="destroyed", score=0.0)]
    status, out, _ = from_results(project, capsys, rows)
    assert (status, len(out)) == (1, 3)
    status, out, _ = from_results(project, capsys, rows, "--ignore", "nothing-done")
    assert (status, len(out)) == (1, 2)
    assert out[-1].startswith("lint: 1 findings in 1 checks of 1 files (1 ignored)")
    status, out, _ = from_results(project, capsys, rows, "--ignore", "nothing-done", "--ignore", "destroyed")
    assert (status, len(out)) == (0, 1)
