"""What it costs to have the plugin installed: one empty test with it, and without it (`-p no:editeval`).

The two commands of a pair run directly after each other, and take turns at being the first; ratios are taken pair by
pair. CPU time (user and system) is less disturbed by other processes than wall time.
"""

from __future__ import annotations

from pathlib import Path

from common import Run, options, print_table, run_pytest, spread, workplace


def pair(folder: Path, index: int) -> tuple[Run, Run]:
    """A run with the plugin and one without it."""
    extra: list[tuple[str, ...]] = [(), ("-p", "no:editeval")]
    order = (0, 1) if index % 2 == 0 else (1, 0)
    runs = {which: run_pytest(folder, "-p", "no:cacheprovider", *extra[which]) for which in order}
    return runs[0], runs[1]


def main() -> None:
    """Take the timings and print them."""
    asked = options(__doc__, device=False, pairs=31).parse_args()
    with workplace() as folder:
        (folder / "test_empty.py").write_text("def test_empty():\n    pass\n", "utf-8")
        pair(folder, 0)
        pairs = [pair(folder, index) for index in range(asked.pairs)]
    rows = [
        (
            name,
            spread((getattr(plugin, what) for plugin, _ in pairs), 3),
            spread((getattr(bare, what) for _, bare in pairs), 3),
            spread((getattr(plugin, what) / getattr(bare, what) for plugin, bare in pairs), 3),
        )
        for name, what in (("wall", "wall"), ("user + system", "cpu"))
    ]
    title = f"Start-up: one empty test, median of {len(pairs)} pairs (and range)"
    print_table(title, ("seconds", "with the plugin", "-p no:editeval", "ratio, pair by pair"), rows)


if __name__ == "__main__":
    main()
