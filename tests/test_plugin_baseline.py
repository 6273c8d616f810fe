"""A run held against a baseline and a noise floor, and judged again without a model; plain and under xdist."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from conftest import picture
from project import Project
from pytest_editeval.cli import main
from pytest_editeval.results_file import read_results
from pytest_editeval.statuses import CHECKS_FAILED, GATE_FAILED

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.fixture(autouse=True)
def _remembered(project: Project, remembered_scores: Path) -> None:
    project.store = remembered_scores


CASES = """
defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]%s}
cases:
%s
%s
"""


def suite(
    project: Project, *, threshold: float = 1e9, tolerance: str = "", gates: str = "", defaults: str = ""
) -> None:
    lines = [
        f"  - {{id: c{index}, task: {'even' if index % 2 == 0 else 'odd'}, metrics: "
        f"{{region_emd: {{threshold: {threshold}{tolerance}}}, dinov3_structure_similarity: 0.0}}}}"
        for index in range(9)
    ]
    project.cases(CASES % (defaults, "\n".join(lines), gates))


@pytest.fixture
def releases(project: Project) -> Project:
    """v1 did well; v2 leaks more in every case."""
    source = picture(1)
    for name, strength in (("v1", 0.1), ("v2", 0.3)):
        (project.path / name).mkdir()
        for index in range(9):
            Image.blend(source, picture(10 + index), strength).save(project.path / name / f"c{index}.png")
    return project


def accepted(project: Project) -> None:
    suite(project)
    assert project.run("--editeval-candidate=v1=v1", "--editeval-results=v1.jsonl").ret == 0
    assert main(["accept", "v1.jsonl", "--candidate", "v1"]) == 0


@PLAIN_AND_XDIST
def test_a_check_is_held_against_the_baseline(releases: Project, options: tuple[str, ...]) -> None:
    accepted(releases)
    suite(releases, tolerance=", tolerance: 0.001")
    asked = ("--editeval-candidate=v2=v2", "--editeval-baseline=editeval-baseline.json")
    result = releases.run(*asked, "--editeval-results=v2.jsonl", *options)
    assert result.ret == CHECKS_FAILED
    result.stdout.fnmatch_lines(
        [
            "  region_emd = *   was *   (lower is better)   worse by *, tolerance 0.001",
            "against the baseline: * better, * worse, * equal",
        ]
    )
    rows = [row for row in read_results(releases.path / "v2.jsonl") if row.metric == "region_emd"]
    before = {row.key: row.score for row in read_results(releases.path / "v1.jsonl")}
    assert all(row.baseline == before[row.key] for row in rows)
    assert all(str(row.outcome) == ("failed" if (row.worsening or 0) > 0.001 else "passed") for row in rows)


@PLAIN_AND_XDIST
def test_a_gate_against_the_baseline_is_paired(releases: Project, options: tuple[str, ...]) -> None:
    accepted(releases)
    gates = "gates: [{metric: region_emd, versus: baseline, no_worse_than: 0.001, confidence: 0.95}]"
    suite(releases, gates=gates)
    baseline = "--editeval-baseline=editeval-baseline.json"
    worse = releases.run("--editeval-candidate=v2=v2", baseline, *options)
    assert worse.ret == GATE_FAILED
    worse.stdout.fnmatch_lines(
        ["FAIL  region_emd no worse than baseline + 0.001 [[]v2[]]*paired, n=9, Holm-corrected*"]
    )
    same = releases.run("--editeval-candidate=v1=v1", baseline, *options)
    assert same.ret == 0
    same.stdout.fnmatch_lines(["against the baseline: 0 better, 0 worse, 18 equal"])
    without = releases.run("--editeval-candidate=v1=v1")
    assert without.ret == GATE_FAILED
    without.stdout.fnmatch_lines(["FAIL*needs --editeval-baseline*"])


def test_a_gate_compares_two_candidates(releases: Project) -> None:
    gates = "gates: [{metric: region_emd, versus: v1, confidence: 0.95}]"
    suite(releases, gates=gates)
    result = releases.run("--editeval-candidate=v1=v1", "--editeval-candidate=v2=v2")
    assert result.ret == GATE_FAILED
    result.stdout.fnmatch_lines(["FAIL  region_emd no worse than v1 [[]v2[]]*", "release gate: FAILED (1 of 1)"])


@PLAIN_AND_XDIST
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"profile": "tiny"', '"profile": "large"', "profile: the baseline has 'large', this run 'tiny'"),
        ('"version": 1', '"version": 7', "region_emd: metric version 7 against 1"),
        ('"fingerprint": "', '"fingerprint": "0000000000', "region_emd: checkpoints 00000000* against *"),
    ],
)
def test_a_baseline_of_something_else_is_refused(
    releases: Project, old: str, new: str, message: str, options: tuple[str, ...]
) -> None:
    accepted(releases)
    path = releases.path / "editeval-baseline.json"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    asked = ("--editeval-candidate=v2=v2", "--editeval-baseline=editeval-baseline.json", *options)
    result = releases.run(*asked)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: editeval: --editeval-baseline editeval-baseline.json: *{message}*"])
    assert "passed" not in result.stdout.str()
    allowed = releases.run(*asked, "--editeval-allow-mismatch")
    assert allowed.ret == 0
    allowed.stdout.fnmatch_lines(["against the baseline: *"])


def test_models_that_a_conftest_puts_in_place_are_compared_too(releases: Project) -> None:
    accepted(releases)
    releases.pytester.makeconftest(
        f"""
        import pytest
        from pytest_editeval import CLIPPipe

        @pytest.fixture(scope="session")
        def clip_pipe():
            return CLIPPipe(model_path={str(releases.models / "clip")!r}, device="cpu", fit="squash")
        """
    )
    result = releases.run("--editeval-candidate=v1=v1", "--editeval-baseline=editeval-baseline.json", "-k", "c0")
    assert result.ret == CHECKS_FAILED
    result.stdout.fnmatch_lines(["--editeval-baseline editeval-baseline.json: region_emd: checkpoints * against *"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "*editeval-baseline.json: *"), ("{", "*editeval-baseline.json:1:*"), ("[]", "*editeval-baseline.json*")],
)
def test_a_baseline_that_cannot_be_read_is_one_line(project: Project, content: str | None, message: str) -> None:
    suite(project)
    if content is not None:
        project.write("editeval-baseline.json", content)
    result = project.run("--editeval-baseline=editeval-baseline.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.stderr.lines if line.startswith("ERROR"))
    assert Path("editeval-baseline.json").name in line
    assert "Traceback" not in result.stderr.str()


@PLAIN_AND_XDIST
def test_a_verdict_within_the_noise_is_marked(releases: Project, options: tuple[str, ...]) -> None:
    suite(releases, threshold=0.0)
    config, device = ("--config", "tiny.yaml"), ("--device", "cpu")
    assert main(["noise", "a.edit.yaml", *config, *device, "--candidate", "v1=v1", "--output", "noise.json"]) == 0
    asked = ("--editeval-candidate=v1=v1", "--editeval-noise=noise.json", "--editeval-results=v1.jsonl")
    result = releases.run(*asked, "--junitxml=junit.xml", *options)
    rows = read_results(releases.path / "v1.jsonl")
    within = [row for row in rows if row.within_noise]
    assert within
    assert all(abs(row.margin or 0.0) < (row.noise or 0.0) for row in within)
    result.stdout.fnmatch_lines([f"verdicts within noise: {len(within)} of {len(rows)}: *"])
    junit = (releases.path / "junit.xml").read_text("utf-8")
    assert junit.count('name="within_noise" value="True"') == len(within)
    wrong = (releases.path / "noise.json").read_text("utf-8").replace('"tiny"', '"large"')
    releases.write("noise.json", wrong)
    refused = releases.run(*asked)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: editeval: --editeval-noise noise.json: profile: the noise file has 'large'*"])


GATES = """
gates:
  - {metric: region_emd, statistic: mean, threshold: %s, confidence: 0.95}
  - {statistic: pass_rate, threshold: 0.7, where: {task: even}}
  - {metric: region_emd, statistic: median, threshold: %s, by: task}
"""


@pytest.mark.parametrize("threshold", [0.0, 1.0, 30.0, 1e9])
@pytest.mark.parametrize("level", [1.0, 1e3])
def test_judged_again_is_as_run_afresh(
    releases: Project, capsys: pytest.CaptureFixture[str], threshold: float, level: float
) -> None:
    """Verdict by verdict, gate by gate, and in the exit status."""
    suite(releases, defaults=", controls: auto")
    candidates = ("--editeval-candidate=v1=v1", "--editeval-candidate=v2=v2")
    releases.run(*candidates, "--editeval-results=old.jsonl")
    suite(releases, threshold=threshold, gates=GATES % (level, level), defaults=", controls: auto")
    fresh = releases.run(*candidates, "--editeval-results=new.jsonl")
    capsys.readouterr()
    again = main(["gate", "old.jsonl", "--cases", ".", "--config", "tiny.yaml", "--output", "again.jsonl"])
    printed = capsys.readouterr().out.splitlines()
    assert again == fresh.ret
    changing = {"duration", "remembered", "versions"}
    for one, other in zip(
        read_results(releases.path / "again.jsonl"), read_results(releases.path / "new.jsonl"), strict=True
    ):
        first, second = one.to_data(), other.to_data()
        assert {key: first[key] for key in first.keys() - changing} == {
            key: second[key] for key in second.keys() - changing
        }
    gates = [line for line in fresh.stdout.lines if line.startswith(("PASS  ", "FAIL  ", "release gate"))]
    assert gates
    assert [line for line in printed if line.startswith(("PASS  ", "FAIL  ", "release gate"))] == gates
