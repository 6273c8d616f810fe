"""Collecting edit cases with three metrics each, against bare pytest collecting as many parametrised tests.

Cases lie in many files, or all in one. With `--large` a second, larger suite of many files tells how time and memory
grow. Images need not exist at collection, and do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from common import MEBI, Run, options, print_table, run_pytest, spread, workplace

METRICS_PER_CASE = 3
CASE = """\
  - id: {name}
    instruction: Make the scarf red.
    task: color_alter
    tags: [people]
    source: images/{name}.png
    edited: edits/{name}.png
    coords: [[120, 200, 260, 330]]
    metrics:
      emd: 9.5
      dinov3_structure_similarity: {{threshold: 0.8, patch_mask_threshold: 0.1}}
      sam_clip_cls_sim:
        threshold: 0.85
        pairs: [{{source: [120, 200, 260, 330], edited: [118, 200, 262, 331]}}]
"""
BARE = """\
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_empty(number):
    pass
"""


def write_cases(folder: Path, cases: int, per_file: int) -> Path:
    """Case files; ids are unique over all of them."""
    folder.mkdir()
    for start in range(0, cases, per_file):
        names = (f"case{index:06}" for index in range(start, min(start + per_file, cases)))
        text = "cases:\n" + "".join(CASE.format(name=name) for name in names)
        (folder / f"f{start // per_file:04}.edit.yaml").write_text(text, "utf-8")
    return folder


def write_bare(folder: Path, count: int) -> Path:
    """One module with that many parametrised tests."""
    folder.mkdir()
    (folder / "test_bare.py").write_text(BARE.format(count=count), "utf-8")
    return folder


def collect(folder: Path, expected: int, *arguments: str) -> Run:
    """Collect a folder; `AssertionError` when the count is not the expected one."""
    run = run_pytest(folder, "--collect-only", "-p", "no:cacheprovider", *arguments)
    assert f"\n{expected} tests collected" in run.output, run.output[-500:]
    return run


def main() -> None:
    """Take the timings and print them."""
    parser = options(__doc__, device=False, cases=10_000, per_file=100, repeat=3)
    parser.add_argument("--large", type=int, default=0, help="cases of the larger suite (default: none)")
    asked = parser.parse_args()
    checks, large = asked.cases * METRICS_PER_CASE, asked.large * METRICS_PER_CASE
    with workplace() as folder:
        many = write_cases(folder / "many", asked.cases, asked.per_file)
        one = write_cases(folder / "one", asked.cases, asked.cases)
        bare = write_bare(folder / "bare", checks)
        kinds: dict[str, Callable[[], Run]] = {
            f"{-(-asked.cases // asked.per_file)} files of {asked.per_file} cases": lambda: collect(many, checks),
            f"one file of {asked.cases} cases": lambda: collect(one, checks),
            "bare pytest, one module": lambda: collect(bare, checks, "-p", "no:editeval"),
        }
        rounds = [[collected() for collected in kinds.values()] for _ in range(asked.repeat)]
        bigger = collect(write_cases(folder / "large", asked.large, asked.per_file), large) if large else None
    rows = [
        (
            kind,
            checks,
            spread(each[index].wall for each in rounds),
            f"{median(each[index].peak for each in rounds) / MEBI:.0f}",
            spread(each[index].wall / each[-1].wall for each in rounds) if index < len(kinds) - 1 else "",
            "",
        )
        for index, kind in enumerate(kinds)
    ]
    if bigger is not None:
        small_wall, small_peak = (median(getattr(each[0], what) for each in rounds) for what in ("wall", "peak"))
        growth = (
            f"checks x {large / checks:.1f}: time x {bigger.wall / small_wall:.1f}, "
            f"memory x {bigger.peak / small_peak:.1f}"
        )
        files = f"{-(-asked.large // asked.per_file)} files of {asked.per_file} cases"
        rows.append((files, large, f"{bigger.wall:.2f}", f"{bigger.peak / MEBI:.0f}", "", growth))
    columns = ("", "checks", "seconds", "peak MiB", "ratio to bare, round by round", "growth")
    print_table(f"Collection: --collect-only -q, {asked.repeat} rounds", columns, rows)


if __name__ == "__main__":
    main()
