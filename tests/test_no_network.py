"""No telemetry: a run with checkpoints on disk asks nothing of a network, and names no host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import picture

WATCH = """
import json, os, sys

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.bind"):
        asked = arguments[1]
        if not isinstance(asked, tuple) or asked[0] in ("127.0.0.1", "::1", ""):
            return  # a socket of this machine
    else:
        return
    with open(os.environ["WATCHED"], "a") as file:
        file.write(json.dumps([event, repr(asked), sys.argv]) + chr(10))

sys.addaudithook(watch)
with open(os.environ["WATCHED"] + ".processes", "a") as file:
    file.write(str(os.getpid()) + chr(10))
"""

CASES = """
cases:
  - id: one
    instruction: Replace everything.
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    metrics:
      region_emd: 1.0e+9
      dinov3_structure_similarity: 0.0
      sam_clip_cls_sim: {threshold: -1.0, pairs: [{source: [10, 10, 80, 80], edited: [10, 10, 80, 80]}]}
"""

RUN = ["a.edit.yaml", "-pno:cacheprovider", "--editeval-report=report.html", "--editeval-results=results.jsonl"]
RUN += ["--editeval-markdown=summary.md", "--junitxml=junit.xml", "--editeval-lock=editeval.lock.json"]
RUN += ["-pno:rerunfailures"]  # whose versions before 16 have a socket on localhost in every run
COMMANDS = [
    ["models", "lock"],
    ["metrics"],
    ["schema"],
    ["report", "results.jsonl", "--output", "again.html"],
    ["gate", "results.jsonl"],
    ["compare", "results.jsonl", "results.jsonl"],
    ["plot", "results.jsonl", "--output", "plots"],
    ["lint", "a.edit.yaml"],
    ["noise", "a.edit.yaml", "--output", "noise.json"],
]


def watched(folder: Path, code: str) -> tuple[list[str], int, str]:
    """What was asked of a network in all processes that ran, how many those were, and the output."""
    (folder / "watch").mkdir(exist_ok=True)
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    log = folder / "asked"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "RAY_"))}
    path = os.pathsep.join([str(folder / "watch"), environment.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": path, "WATCHED": str(log), "MPLCONFIGDIR": str(folder / "mpl")},
    )
    asked = log.read_text().splitlines() if log.exists() else []
    processes = set((folder / "asked.processes").read_text().split())
    return asked, len(processes), run.stdout + run.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture(1).save(tmp_path / "source.png")
    picture(2).save(tmp_path / "other.png")
    (tmp_path / "a.edit.yaml").write_text(CASES)
    return tmp_path


def test_the_watch_sees_what_is_asked_of_a_network(folder: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('198.51.100.1', 9), 0.01)\nexcept OSError: pass\n"
    asked, _, _ = watched(folder, code)
    assert {json.loads(line)[0] for line in asked} == {"socket.getaddrinfo", "socket.connect"}


def test_a_run_and_every_command_ask_nothing_of_a_network(folder: Path) -> None:
    lock, *rest = COMMANDS
    code = f"""
import pytest
from pytest_editeval.cli import main
assert main({lock!r}) == 0
assert pytest.main({RUN!r}) == 0
for command in {rest!r}:
    print("COMMAND", command[0], main(command))
"""
    asked, _, output = watched(folder, code)
    assert asked == []
    done = dict(line.split()[1:] for line in output.splitlines() if line.startswith("COMMAND"))
    assert done.keys() == {command[0] for command in rest}, output
    assert set(done.values()) <= {"0", "1"}, output
    assert (folder / "report.html").exists()


def test_workers_ask_nothing_of_a_network(folder: Path) -> None:
    code = f"""
import sys, pytest
from pytest_editeval.cli import main
main(["models", "lock"])
sys.exit(pytest.main([*{RUN!r}, "-n2"]))
"""
    asked, processes, output = watched(folder, code)
    assert asked == []
    assert processes == 3
    assert "3 passed" in output, output
