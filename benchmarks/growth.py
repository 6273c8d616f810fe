"""Time per check and peak memory as a suite grows, on networks so small that the engine's own cost shows.

The clock runs inside pytest, from the first check to the end of the last; a warm-up before it takes imports, weights
and first calls. "off" is a run without a store, "fill" one that fills an empty store, "warm" one that finds
everything there. "Marginal" is the time per check of what a suite has more than the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import networks
from common import (
    MEBI,
    METRICS,
    Inner,
    options,
    positive,
    print_table,
    run_inside,
    run_pytest,
    workplace,
    write_suite,
    write_warm_up_case,
    write_warm_up_test,
)

EDITS = 10
MODES = ("off", "fill", "warm")


@dataclass(frozen=True)
class Suite:
    """A suite of some size, and a store of its own."""

    folder: Path
    store: Path
    settings: list[str | Path]

    def run(self, mode: str, warm_up_test: Path, warm_up_case: Path) -> Inner:
        """A run in one of the modes; "warm" comes after "fill"."""
        cache = "off" if mode == "off" else "readwrite"
        settings = ["-o", f"cache_dir={self.store}", "--editeval-cache", cache, *self.settings]
        root = self.folder.parent
        if mode != "warm":
            return run_inside(root, *settings, warm_up_test, self.folder)
        run_pytest(root, *settings, warm_up_case)  # so that the warm-up finds its scores as well
        return run_inside(root, *settings, warm_up_case, self.folder)


def rows(mode: str, found: list[Inner]) -> list[tuple[str, ...]]:
    """The lines of one mode, the sizes rising."""
    lines: list[tuple[str, ...]] = []
    before: Inner | None = None
    for inner in found:
        milliseconds = 1000 * inner.seconds / inner.checks
        marginal = growth = ""
        if before is not None and inner.checks > before.checks:
            marginal = f"{1000 * (inner.seconds - before.seconds) / (inner.checks - before.checks):.2f}"
            growth = f"x {inner.checks / before.checks:.1f}: x {inner.seconds / before.seconds:.1f}, "
            growth += f"x {inner.run.peak / before.run.peak:.2f}"
        peak = f"{inner.run.peak / MEBI:.0f}"
        figures = (f"{inner.seconds:.2f}", f"{milliseconds:.2f}", marginal, peak, growth, f"{inner.run.wall:.2f}")
        lines.append((mode, str(inner.checks), *figures))
        before = inner
    return lines


def main() -> None:
    """Take the timings and print them."""
    parser = options(__doc__, side=96)
    sizes = (100, 1_000, 10_000)
    parser.add_argument("--checks", type=positive, nargs="+", default=sizes, help="sizes (default: 100 1000 10000)")
    asked = parser.parse_args()
    found: dict[str, list[Inner]] = {mode: [] for mode in MODES}
    with workplace() as folder:
        profile = networks.tiny(folder / "models")
        warm_ups = write_warm_up_test(folder), write_warm_up_case(folder / "first", asked.side)
        for size in sorted(asked.checks):
            sources = max(1, round(size / (EDITS * len(METRICS))))
            write_suite(folder / f"suite{size}", sources, EDITS, asked.side)
            settings = ["--editeval-device", asked.device, *profile.arguments]
            suite = Suite(folder / f"suite{size}", folder / f"store{size}", settings)
            for mode in MODES:
                found[mode].append(suite.run(mode, *warm_ups))
    title = f"Growth: {len(METRICS)} metrics x {EDITS} edits a source, {asked.side} px, tiny random networks"
    columns = ("store", "checks", "seconds", "ms a check", "marginal ms", "peak MiB", "checks: time, memory", "wall")
    print_table(title, columns, [line for mode in MODES for line in rows(mode, found[mode])], device=asked.device)


if __name__ == "__main__":
    main()
