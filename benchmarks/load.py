"""A long session: 20,000 checks over 2,000 images with the embedded profile: its memory, and whether the sums hold.

    python benchmarks/load.py --sources 1000 --workers 0

Every source has one edit and four cases with boxes of their own, each on five metrics. How each check has to end is
known beforehand: a tenth of the cases has thresholds that no score meets, every 25th a box outside its image, and every
50th names an edit that is not there. The results file, JUnit's file and the summary are held against that, and a second
run against the first: it remembers every score and gives the same rows. The memory is the controller's. What pytest
itself keeps of every test is in it, so the same is measured of as many empty tests without the plugin, with as many
properties in JUnit's file as a check has, a tenth of them failing.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from common import (
    MEBI,
    METRICS,
    OBJECT_METRICS,
    Box,
    draw_object,
    options,
    picture,
    print_table,
    random_box,
    run_pytest,
    workplace,
)
from resident import SAMPLES

CASES = 4
TOO_HARD = dict.fromkeys(("emd", "region_emd"), -1.0) | dict.fromkeys(
    ("dinov3_structure_similarity", *OBJECT_METRICS), 2.0
)
EASY = (
    dict.fromkeys(("emd", "region_emd"), 1e12)
    | {"dinov3_structure_similarity": 0.0}
    | dict.fromkeys(OBJECT_METRICS, -1.001)
)
BARE = """
import pytest

@pytest.mark.parametrize("number", range({total}))
def test_bare(number, record_property):
    for index in range({properties}):
        record_property(f"property{{index}}", f"value {{index}} of {{number}}")
    assert number % 10 != 3, "a line about what was found and what is allowed"
"""
UNTIMED = ("duration", "remembered")  # what two runs may differ in


def end_of(case: int) -> str:
    """How the checks of the case with this number have to end."""
    if case % 50 == 1:
        return "error"
    if case % 25 == 2:
        return "soft failure"
    return "failed" if case % 10 == 3 else "passed"


def write_load(folder: Path, sources: int, side: int) -> Counter[str]:
    """The suite; how many checks have to end in which way."""
    folder.mkdir(parents=True)
    expected: Counter[str] = Counter()
    for source in range(sources):
        rng = np.random.default_rng([source, side])
        boxes = [random_box(rng, side) for _ in range(CASES)]
        image = picture(source, side)
        for box in boxes:
            draw_object(image, box, rng)
        image.save(folder / f"s{source:05}.png")
        draw_object(image, boxes[0], rng)
        image.save(folder / f"e{source:05}.png")
        text = ""
        for index, box in enumerate(boxes):
            case = source * CASES + index
            expected[end_of(case)] += len(METRICS)
            text += _case_text(case, source, box)
        (folder / f"s{source:05}.edit.yaml").write_text("cases:\n" + text, "utf-8")
    return expected


def _case_text(case: int, source: int, box: Box) -> str:
    end = end_of(case)
    box = (9000, 9000, 9100, 9100) if end == "soft failure" else box
    edited = "nowhere" if end == "error" else f"e{source:05}"
    thresholds = TOO_HARD if end == "failed" else EASY
    lines = [
        f"  - id: case{case:06}",
        "    instruction: Change the object.",
        f"    source: s{source:05}.png",
        f"    edited: {edited}.png",
        f"    coords: [{list(box)}]",
        "    metrics:",
    ]
    for name in METRICS:
        if name in OBJECT_METRICS:
            pair = f"{{source: {list(box)}, edited: {list(box)}}}"
            lines.append(f"      {name}: {{threshold: {thresholds[name]}, pairs: [{pair}]}}")
        else:
            lines.append(f"      {name}: {thresholds[name]}")
    return "\n".join(lines) + "\n"


def sums(rows: list[dict[str, object]], junit: Path, output: str) -> dict[str, Counter[str]]:
    """How often each outcome is in the results file, in JUnit's file, and in pytest's last line."""
    suites = ElementTree.parse(junit).getroot()
    kinds = {"failure": "failed", "error": "error", "skipped": "soft failure"}
    cases = (
        next((kinds[part.tag] for part in case if part.tag in kinds), "passed") for case in suites.iter("testcase")
    )
    words = {"failed": "failed", "passed": "passed", "xfailed": "soft failure"}
    last = next(line for line in reversed(output.splitlines()) if " passed" in line or " failed" in line)
    printed = Counter({words[word]: int(count) for count, word in re.findall(r"(\d+) (failed|passed|xfailed)\b", last)})
    return {"results": Counter(str(row["outcome"]) for row in rows), "JUnit": Counter(cases), "printed": printed}


def main() -> None:
    """Run the suite twice, hold everything that is written against what is known, and print the memory."""
    parser = options(__doc__, sources=1000, side=160)
    parser.add_argument("--workers", type=int, default=0, help="xdist's workers (default: none)")
    asked = parser.parse_args()
    with workplace() as folder:
        expected = write_load(folder / "suite", asked.sources, asked.side)
        total = sum(expected.values())
        lines, rows = [], []
        for mode in ("cold", "warm"):
            results, junit, samples = (folder / f"{mode}.{ending}" for ending in ("jsonl", "xml", "json"))
            finished = run_pytest(
                folder, "-p", "resident", "--tb=no", "-o", f"cache_dir={folder / 'cache'}", "-o", "xfail_strict=false",
                f"--editeval-results={results}", f"--junitxml={junit}", f"--editeval-device={asked.device}",
                *(["-n", str(asked.workers)] if asked.workers else []), folder / "suite",
                expect=1, **{SAMPLES: str(samples)},
            )  # fmt: skip
            rows.append([json.loads(line) for line in results.read_text("utf-8").splitlines()])
            _hold(expected, total, rows[-1], sums(rows[-1], junit, finished.output))
            memory: list[list[int]] = json.loads(samples.read_text("utf-8"))
            lines.append(
                (mode, f"{total}", f"{finished.wall:.0f}", *_memory(memory, total), f"{finished.peak / MEBI:.0f}")
            )
        _same(*rows)
        properties = round(sum(1 for _ in ElementTree.parse(junit).iter("property")) / total)
        lines.append(_bare(folder, total, properties))
    columns = (
        "run",
        "checks",
        "seconds",
        "MiB at 10 %",
        "at 25 %",
        "at 50 %",
        "at 100 %",
        "KiB a check, last half",
        "peak",
    )
    where = f"{asked.workers} workers" if asked.workers else "one process"
    images = f"{2 * asked.sources} images of {asked.side} px"
    print_table(f"Load: {total} checks over {images}, {where}; all sums right", columns, lines, device=asked.device)


def _bare(folder: Path, total: int, properties: int) -> tuple[str, ...]:
    """The line of as many empty tests."""
    (folder / "bare").mkdir()
    (folder / "bare/test_bare.py").write_text(BARE.format(total=total, properties=properties), "utf-8")
    samples = folder / "bare.json"
    finished = run_pytest(
        folder, "-p", "resident", "-p", "no:editeval", "--tb=no", f"--junitxml={folder / 'bare.xml'}", folder / "bare",
        expect=1, **{SAMPLES: str(samples)},
    )  # fmt: skip
    memory = json.loads(samples.read_text("utf-8"))
    found = (f"{finished.wall:.0f}", *_memory(memory, total), f"{finished.peak / MEBI:.0f}")
    return (f"bare pytest, {properties} properties", f"{total}", *found)


def _memory(samples: list[list[int]], total: int) -> tuple[str, ...]:
    """Resident memory when a part of the checks has ended, and what each check of the last half added."""

    def at(share: float) -> int:
        return next(size for ended, size in samples if ended >= share * total or ended == samples[-1][0])

    growth = (at(1) - at(0.5)) / (total / 2) / 1024
    return (*(f"{at(share) / MEBI:.0f}" for share in (0.1, 0.25, 0.5, 1)), f"{growth:.1f}")


def _hold(expected: Counter[str], total: int, rows: list[dict[str, object]], found: dict[str, Counter[str]]) -> None:
    wrong = {name: dict(counts) for name, counts in found.items() if counts != _as(name, expected)}
    if wrong or len({row["node_id"] for row in rows}) != total:
        sys.exit(f"expected {dict(expected)} of {total} checks, found {wrong or len(rows)}")


def _as(name: str, expected: Counter[str]) -> Counter[str]:
    """pytest's words for what has to be: an error in a test's call is a failure there, and in JUnit's file."""
    if name == "results":
        return expected
    return Counter({key: count for key, count in (expected + Counter()).items() if key != "error"}) + Counter(
        {"failed": expected["error"]}
    )


def _same(cold: list[dict[str, object]], warm: list[dict[str, object]]) -> None:
    plain = [
        [{key: value for key, value in row.items() if key not in UNTIMED} for row in rows] for rows in (cold, warm)
    ]
    if plain[0] != plain[1]:
        sys.exit("the second run gave other rows than the first")


if __name__ == "__main__":
    os.environ.pop("PYTEST_ADDOPTS", None)
    main()
