"""What it costs to have the plugin installed: one empty test with it, and without it (`-p no:editeval`).

Both commands run in turn, so that a machine whose speed drifts slows both; the ratio is taken pair by pair.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

RUNS = 15


def seconds(folder: str, *options: str) -> float:
    """Wall time of one whole pytest process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, folder]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_empty.py").write_text("def test_empty():\n    pass\n", "utf-8")
        seconds(folder)
        pairs = [(seconds(folder), seconds(folder, "-p", "no:editeval")) for _ in range(RUNS)]
    ratios = sorted(with_plugin / without for with_plugin, without in pairs)
    print(f"start-up, {RUNS} pairs of runs of one empty test")
    print(f"  with the plugin   median {median(pair[0] for pair in pairs):.3f} s")
    print(f"  -p no:editeval    median {median(pair[1] for pair in pairs):.3f} s")
    print(f"  ratio             median {median(ratios):.3f}   (min {ratios[0]:.3f}, max {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
