"""A suite whose scores and features are all in the store: whole runs of pytest, against the first run and a bare one.

"Cold" fills an empty store, "warm" runs the same suite again, "bare" is pytest without the plugin on as many empty
tests in one module. Warm and bare runs are taken in turn. All times are those of the whole process.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import networks
from common import METRICS, options, print_table, run_inside, run_pytest, spread, workplace, write_suite


def write_empty_tests(folder: Path, count: int) -> Path:
    """One module of empty tests."""
    folder.mkdir()
    path = folder / "test_empty.py"
    path.write_text("\n\n".join(f"def test_{index}():\n    pass\n" for index in range(count)), "utf-8")
    return path


def main() -> None:
    """Take the timings and print them."""
    parser = options(__doc__, sources=50, edits=4, side=256, colds=2, pairs=5)
    parser.add_argument("--profile", choices=networks.PROFILES, default="embedded")
    asked = parser.parse_args()
    checks = asked.sources * asked.edits * len(METRICS)
    with workplace() as folder:
        suite, empty = folder / "suite", write_empty_tests(folder / "bare", checks)
        write_suite(suite, asked.sources, asked.edits, asked.side)
        profile = networks.named(asked.profile, folder / "models")

        def scored(store: int) -> list[str | Path]:
            store_folder = f"cache_dir={folder / f'store{store}'}"
            return ["-o", store_folder, "--editeval-device", asked.device, *profile.arguments, suite]

        def bare() -> float:
            return run_pytest(empty.parent, "-p", "no:editeval", empty).wall

        cold = [run_pytest(folder, *scored(store)).wall for store in range(asked.colds)]
        bare()  # writes the module's bytecode
        pairs = [(run_pytest(folder, *scored(0)).wall, bare()) for _ in range(asked.pairs)]
        last = run_inside(folder, *scored(0))
    warm = [first for first, _ in pairs]
    rows = [
        ("cold", spread(cold), "fills an empty store"),
        ("warm", spread(warm), f"torch was {'imported' if last.torch else 'not imported'}"),
        ("bare", spread(second for _, second in pairs), "-p no:editeval, empty tests in one module"),
        ("cold / warm", spread(each / median(warm) for each in cold), "each cold run over the median warm one"),
        ("warm / bare", spread(first / second for first, second in pairs), "pair by pair"),
    ]
    suite_size = f"{asked.sources} sources x {asked.edits} edits x {len(METRICS)} metrics at {asked.side} px"
    title = f"A warm store: {checks} checks ({suite_size}), profile {asked.profile}"
    print_table(title, ("", "seconds or ratio", ""), rows, device=asked.device)


if __name__ == "__main__":
    main()
