"""The documents name what the code has: reasons, columns, options, metrics."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from pytest_editeval.cases import load_cases
from pytest_editeval.checks import EditCase
from pytest_editeval.cli import main
from pytest_editeval.registry import metrics
from pytest_editeval.results import CheckResult, Reason

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_cause_and_cure(reason: Reason) -> None:
    (row,) = (line for line in read("docs/soft-failures.md").splitlines() if line.startswith(f"| `{reason}`"))
    assert len([cell for cell in row.split("|") if cell.strip()]) == 3


@pytest.mark.parametrize("column", [field.name for field in dataclasses.fields(CheckResult)])
def test_every_column_of_the_results_is_documented(column: str) -> None:
    assert f"`{column}`" in read("docs/results.md")


@pytest.mark.parametrize("metric", list(metrics()))
def test_every_metric_is_documented_with_its_direction(metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    better = "higher" if metrics()[metric].higher_is_better else "lower"
    assert re.search(rf"^\| `{metric}` \| {better} \|", read("docs/metrics.md"), re.MULTILINE)
    assert main(["metrics"]) == 0
    assert re.search(rf"^{metric} +{better} ", capsys.readouterr().out, re.MULTILINE)


def test_every_option_is_in_the_readme(pytester: pytest.Pytester) -> None:
    options = set(re.findall(r"--editeval-[a-z-]+", pytester.runpytest("--help").stdout.str()))
    assert options
    assert options <= set(re.findall(r"--editeval-[a-z-]+", read("README.md")))


@pytest.mark.parametrize("name", ["README.md", "docs/cases.md"])
def test_the_example_of_a_case_file_loads(name: str, tmp_path: Path) -> None:
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", read(name), re.DOTALL) if "cases:" in block]
    for index, block in enumerate(blocks):
        path = tmp_path / f"{index}.edit.yaml"
        path.write_text(block, "utf-8")
        for case in load_cases(path).cases:
            assert isinstance(case, EditCase)
            assert len(case.checks) == len(yaml.safe_load(block)["cases"][0]["metrics"]) + block.count("defaults:")
    assert blocks


@pytest.mark.parametrize("name", ["README.md", "docs/gating.md"])
def test_the_examples_of_gates_are_read(name: str, tmp_path: Path) -> None:
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", read(name), re.DOTALL) if "gates:" in block]
    for block in blocks:
        path = tmp_path / "a.edit.yaml"
        path.write_text(
            f"{block}\ncases: [{{id: a, instruction: -, source: a, edited: b, metrics: {{emd: 1}}}}]\n", "utf-8"
        )
        assert len(load_cases(path).gates) == len(yaml.safe_load(block)["gates"])
    assert blocks


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/reference/*.md")]),
    ids=lambda path: path.name,
)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def blocks_of(name: str, *languages: str) -> list[str]:
    return [
        block for language, block in re.findall(r"```(\w*)\n(.*?)```", read(name), re.DOTALL) if language in languages
    ]


def test_the_recipes_for_ci_are_yaml_that_runs_pytest() -> None:
    found = [yaml.safe_load(block) for block in blocks_of("docs/ci.md", "yaml")]
    assert [sorted(map(str, recipe)) for recipe in found] == [["True", "jobs", "name"], ["jobs"], ["edits"]]
    scripts = [step["run"] for recipe in found[:2] for step in recipe["jobs"]["edits"]["steps"] if "run" in step]
    commands = [line for line in [*scripts, *found[2]["edits"]["script"]] if line.startswith("pytest")]
    assert len(commands) == 3
    assert all("\n" not in command.strip() for command in commands)


def test_the_recipes_for_ci_use_options_that_exist(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    options = set(re.findall(r"--[a-z-]+", pytester.runpytest("--help").stdout.str()))
    options |= {"--junitxml"}  # pytest's other spelling
    for block in blocks_of("docs/ci.md", "yaml", "groovy"):
        assert set(re.findall(r"(?<=\s)--[a-z-]+", block)) <= options
    (command,) = (block for block in blocks_of("docs/ci.md", "") if block.startswith("editeval gate"))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["gate", "--help"])
    assert set(re.findall(r"--[a-z-]+", command)) <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_what_the_recipes_say_of_annotations_is_what_is_printed() -> None:
    from pytest_editeval.reports.annotations import PER_LEVEL
    from pytest_editeval.reports.markdown import LIMIT

    assert f"at most {PER_LEVEL} of each" in read("docs/ci.md")
    assert f"below {LIMIT // 1024} KiB" in read("docs/ci.md")
