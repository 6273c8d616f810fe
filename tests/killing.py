"""Runs of pytest that are killed at random moments: nothing wrong is left, and nothing finished is computed again.

`python tests/killing.py --times 50 --seed 1` prints a line for each; the exit status is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from pytest_editeval.results_journal import unended
from pytest_editeval.results_reader import read_results
from pytest_editeval.scoring.store import KINDS, Store

CASES = 6
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SUITE = """
defaults:
  source: source.png
  instruction: Do it.
  coords: [[10, 10, 50, 50]]
  metrics:
    region_emd: 1.0e+9
    emd: 1.0e+9
    dinov3_structure_similarity: 0.0
    sam_clip_cls_sim: {threshold: -1.0, pairs: [{source: [10, 10, 50, 50], edited: [10, 10, 50, 50]}]}
    sam_dino_cls_sim: {threshold: -1.0, pairs: [{source: [10, 10, 50, 50], edited: [10, 10, 50, 50]}]}
cases:
"""
ENDED = re.compile(r"^(?=.*\b(?:PASSED|FAILED|XFAIL)\b).*?(\S+\.edit\.yaml::\S+::\S+)", re.MULTILINE)
COUNTS = re.compile(r"scores: (\d+) computed, (\d+) remembered")


class Killed(NamedTuple):
    """What a kill left: after how many seconds, checks that were reported, rows, entries, and what was wrong."""

    seconds: float
    reported: int
    rows: int
    entries: int
    computed_after: int
    faults: tuple[str, ...]


def write_suite(folder: Path) -> None:
    """Two case files of small pictures, which the embedded profile scores."""
    rng = random.Random(0)
    for name in ("source", *(f"edited{number}" for number in range(CASES))):
        Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3)).save(folder / f"{name}.png")
    for file in range(2):
        numbers = range(file, CASES, 2)
        cases = "".join(f"  - {{id: case{number}, edited: edited{number}.png}}\n" for number in numbers)
        (folder / f"s{file}.edit.yaml").write_text(SUITE + cases, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nediteval_device = cpu\n", "utf-8")


def start(folder: Path, store: str, *options: str) -> subprocess.Popen[str]:
    """A run with all that writes files, in a process group of its own; what it prints is in the file ``said``."""
    outputs = ("--editeval-results", "now.jsonl", "--junitxml", "junit.xml", "--editeval-report", "page.html")
    command = [sys.executable, "-u", "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command += ["--editeval-cache-dir", store, *outputs, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, text=True, start_new_session=True
        )


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """The rows by node id, without what a run takes."""
    rows = read_results(path, partial=True) if path.exists() else []
    return {row.node_id: row.to_data() | {"duration": None, "remembered": None} for row in rows}


def undisturbed(folder: Path) -> tuple[dict[str, dict[str, Any]], float]:
    """The rows of a run that nobody kills, and how many seconds it takes."""
    begin = time.monotonic()
    assert start(folder, "whole").wait() == 0, (folder / "said").read_text("utf-8")
    return rows_of(folder / "now.jsonl"), time.monotonic() - begin


def reported_in(folder: Path) -> set[str]:
    """The checks whose verdicts the run has printed."""
    said = (folder / "said").read_text("utf-8", "replace")
    return {*ENDED.findall(said)}


def kill(
    folder: Path, store: str, expected: dict[str, Any], checks: int, delay: float, how: int, *options: str
) -> Killed:
    """Kill a run some seconds after it has reported so many checks, look at what it left, and run again."""
    (folder / "now.jsonl").unlink(missing_ok=True)
    (folder / "now.partial.jsonl").unlink(missing_ok=True)
    process = start(folder, store, *options)
    begin = time.monotonic()
    while process.poll() is None and len(reported_in(folder)) < checks:
        time.sleep(0.001)
    time.sleep(delay)
    seconds = time.monotonic() - begin
    if process.poll() is None:
        os.killpg(process.pid, how)
    process.wait()
    if how != signal.SIGKILL:  # the workers of a controller that is gone are killed as well
        time.sleep(0.5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    reported = reported_in(folder)
    faults: list[str] = []
    journal = folder / "now.partial.jsonl"
    left = rows_of(journal if journal.exists() and (run := unended(journal)) and run.rows else folder / "now.jsonl")
    faults += [f"reported, and not in the journal: {node}" for node in reported - left.keys()]
    faults += [f"another row: {node}" for node, row in left.items() if row != expected[node]]
    entries = unreadable(folder / store)
    again = start(folder, store, *options)
    status, said = again.wait(), (folder / "said").read_text("utf-8", "replace")
    computed, remembered = map(int, found.groups()) if (found := COUNTS.search(said)) else (-1, -1)
    if status != 0:
        faults.append(f"the next run ended with {status}")
    if rows_of(folder / "now.jsonl") != expected:
        faults.append("the next run has other rows")
    if not 0 <= computed <= len(expected) - len(left) or computed + remembered != len(expected):
        faults.append(f"{computed} computed, {remembered} remembered, though {len(left)} had ended")
    if journal.exists():
        faults.append("a journal is left")
    return Killed(round(seconds, 1), len(reported), len(left), entries, computed, tuple(faults))


def unreadable(folder: Path) -> int:
    """How many entries the kill left that are not whole; reading them gives nothing, and never raises."""
    store, count = Store(folder), 0
    loads = {"features": store.load, "scores": store.load_score, "images": store.load_image}
    for kind in KINDS:
        for path in (folder / kind).glob("*/*"):
            count += path.suffix == ".tmp" or loads[kind](path.name) is None
    return count


def killed(times: int, seed: int) -> list[Killed]:
    """So many kills, plain and with two workers alternately, each of an empty store; prints a line for each."""
    rng, found = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_suite(folder)
        expected, seconds = undisturbed(folder)
        print(f"seed {seed}: {len(expected)} checks, {seconds:.1f} s undisturbed", flush=True)
        for number in range(times):
            options = ("-n", "2") if number % 2 else ()
            # Most of a run's seconds go by before its first check is reported: a moment by the clock would miss it.
            checks, how = rng.randrange(len(expected)), rng.choice(SIGNALS)
            delay = rng.uniform(0, seconds) if checks == 0 else rng.uniform(0, 0.02)
            one = kill(folder, f"store{number}", expected, checks, delay, how, *options)
            found.append(one)
            print(number, signal.Signals(how).name, *options, one, flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    all_killed = killed(arguments.times, arguments.seed)
    print(
        f"{len(all_killed)} kills, checks reported {sum(one.reported for one in all_killed)}, rows that were left "
        f"{sum(one.rows for one in all_killed)}, half-written entries {sum(one.entries for one in all_killed)}, "
        f"broken promises {sum(len(one.faults) for one in all_killed)}"
    )
    sys.exit(any(one.faults for one in all_killed))
