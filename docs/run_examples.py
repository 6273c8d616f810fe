"""Runs the console examples of a page, and writes what they print under them: `python docs/run_examples.py`.

A page's examples share a folder that holds the repository's `cases/images` and `cases/edits`. Blocks that start with a
comment naming a file (`# cases/coffee.edit.yaml`) become that file, and `console` blocks are run, in the page's order.
A test holds that the committed output is what the commands print, numbers aside.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("quickstart.md",)
PROGRAMS = {
    "pytest": [sys.executable, "-m", "pytest"],
    "editeval": [sys.executable, "-c", "import sys; from pytest_editeval.cli import main; sys.exit(main())"],
}
CHANGES_OUTPUT = ("PYTEST_", "COV_", "CI", "BUILD_NUMBER", "GITHUB_", "FORCE_COLOR", "PY_COLORS")
AS_SHOWN = {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
AS_SHOWN |= {"PYTEST_ADDOPTS": "--editeval-device=cpu"}
OF_THIS_MACHINE = ("platform ", "rootdir: ", "plugins: ", "cachedir: ", "configfile: ", "testpaths: ")


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, and where that text starts and ends in the page."""

    language: str
    text: str
    start: int
    end: int
    note: str
    """The HTML comment right before it, if there is one."""


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in re.finditer(r"(?:<!--([^>]*)-->\n+)?^```([\w{}-]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield Block(found[2], found[3], found.start(3), found.end(3), (found[1] or "").strip())


def prepare(folder: Path) -> None:
    """Put the repository's photographs and edits into `folder`."""
    for part in ("images", "edits"):
        shutil.copytree(ROOT / "cases" / part, folder / "cases" / part)


def run_page(page: str, folder: Path) -> str:
    """The page with what its commands print in `folder` in the place of what was there."""
    pieces, done = [], 0
    for block in blocks(page):
        if named := re.match(r"# ([\w./-]+\.(?:ya?ml|py))", block.text):
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        if block.language == "console":
            pieces += [page[done : block.start], _run_block(block.text, folder)]
            done = block.end
    return "".join([*pieces, page[done:]])


def _run_block(text: str, folder: Path) -> str:
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return "\n".join(f"$ {command}\n{_run(command, folder)}" for command in commands)


def _run(command: str, folder: Path) -> str:
    """What a command prints; lines that are about this machine are left out."""
    program, *arguments = shlex.split(command)
    ended = subprocess.run(
        [*PROGRAMS[program], *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(CHANGES_OUTPUT)} | AS_SHOWN,
        capture_output=True,
        encoding="utf-8",
    )
    if not ended.stdout:
        raise SystemExit(f"{command}: {ended.stderr}")
    return "".join(line for line in ended.stdout.splitlines(keepends=True) if not line.startswith(OF_THIS_MACHINE))


def without_numbers(text: str) -> str:
    """What stays the same on another machine: numbers, and the widths that follow from them, are left out."""
    return re.sub(r"[=_─]{3,}", "=", re.sub(r" +", " ", re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", text)))


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / "docs" / name
        with tempfile.TemporaryDirectory() as temporary:
            prepare(Path(temporary))
            path.write_text(run_page(path.read_text("utf-8"), Path(temporary)), "utf-8")
