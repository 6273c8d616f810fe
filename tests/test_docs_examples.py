"""Every example of the documents: case files and configurations load, Python runs, commands have their options."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import yaml

import results
import run_examples
from pytest_editeval.cases import load_cases
from pytest_editeval.cli import COMMANDS
from pytest_editeval.config import load_profile
from pytest_editeval.results_file import write_results
from run_examples import Block, blocks

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]
RUN = ("python.md", "quickstart.md", "thresholds.md")
EXCERPT, COMPILED_ONLY = "an excerpt", "compiled only"


def named(path: Path) -> str:
    return path.name


def examples(*languages: str) -> list[object]:
    """The blocks in these languages, each with its page and its place there as the test's id."""
    return [
        pytest.param(path, block, id=f"{path.name}-{index}")
        for path in sorted(WRITTEN)
        for index, block in enumerate(blocks(path.read_text("utf-8")))
        if block.language in languages
    ]


@pytest.mark.parametrize(("page", "block"), examples("yaml"))
def test_a_yaml_example_is_what_it_says(page: Path, block: Block, tmp_path: Path) -> None:
    keys = set(re.findall(r"^([\w-]+):", block.text, re.MULTILINE))
    if "metric_configs" in keys:
        assert load_profile(write_files(page, tmp_path) / "models" / named_in(block)).metrics
    elif "cases" in keys and not block.note.startswith(EXCERPT):
        path = tmp_path / "a.edit.yaml"
        path.write_text(block.text, "utf-8")
        assert load_cases(path).cases
    else:
        assert yaml.safe_load(block.text)


def named_in(block: Block) -> str:
    """The name of the file that a block's first line says it is."""
    return Path(block.text.splitlines()[0].removeprefix("# ")).name


def write_files(page: Path, folder: Path) -> Path:
    """Write the page's examples that say which file they are."""
    for block in blocks(page.read_text("utf-8")):
        if found := re.match(r"# (models/[\w.-]+)\n", block.text):
            (folder / "models").mkdir(exist_ok=True)
            (folder / found[1]).write_text(block.text, "utf-8")
    return folder


@pytest.mark.parametrize(("page", "block"), examples("python"))
def test_a_python_example_runs(page: Path, block: Block, pytester: pytest.Pytester, remembered_scores: Path) -> None:
    code = compile(block.text, str(page), "exec")
    if page.name not in RUN or block.note.startswith(COMPILED_ONLY):
        return
    run_examples.prepare(pytester.path)
    shutil.copy(ROOT / "cases" / "images" / "coffee.png", pytester.path / "photo.png")
    shutil.copy(ROOT / "cases" / "edits" / "coffee_matcha.jpg", pytester.path / "edited.png")
    write_results(pytester.path / "v1.jsonl", results.scores(1.0, 2.0))
    if "def test_" in block.text:
        (pytester.path / "test_example.py").write_text(block.text, "utf-8")
        run = pytester.runpytest_subprocess(f"--editeval-cache-dir={remembered_scores}", "--editeval-device=cpu")
        run.assert_outcomes(passed=block.text.count("def test_"))
    else:
        exec(code, {"__name__": "example"})


def commands() -> Iterator[object]:
    """The lines that call pytest or editeval, without what is set before them."""
    for path in sorted(WRITTEN):
        for block in blocks(path.read_text("utf-8")):
            if block.language not in ("", "console", "bash", "sh", "yaml"):
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                if found := re.match(r"\s*(?:\$ |- run: |run: )?(?:[A-Z_]+=\S* )*((?:pytest|editeval) .*)", line):
                    yield pytest.param(found[1], id=f"{path.name}-{found[1]}")


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_has_options_that_exist(command: str, pytester: pytest.Pytester) -> None:
    words = shlex.split(command, comments=True)
    program, *arguments = takewhile(lambda word: word not in ("|", "||", "&&", ";", ">", ">>"), words)
    if program == "pytest":
        pytester.parseconfig(*arguments)
        return
    parser = argparse.ArgumentParser()
    declared = parser.add_subparsers(required=True)
    for module in COMMANDS:
        module.add(declared)
    assert callable(parser.parse_args(arguments).run)


def test_the_examples_are_found() -> None:
    """A page whose fences are written in another way would not be tested."""
    for path in WRITTEN:
        text = path.read_text("utf-8")
        assert text.count("\n```") == 2 * len(list(blocks(text))), path.name


@pytest.mark.parametrize("page", run_examples.PAGES)
def test_a_page_shows_what_its_commands_print(page: str, tmp_path: Path) -> None:
    """`make reference` writes it anew."""
    text = (DOCS / page).read_text("utf-8")
    run_examples.prepare(tmp_path)
    printed = run_examples.run_page(text, tmp_path)
    assert run_examples.without_numbers(printed) == run_examples.without_numbers(text)


@pytest.mark.parametrize("page", run_examples.PAGES)
def test_what_is_quoted_was_printed(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    shown = "".join(block.text for block in blocks(text) if block.language == "console")
    quotes = re.findall(r"\*\*`([^`]+)`\*\*", text)
    assert quotes
    assert [quote for quote in quotes if quote not in shown] == []
