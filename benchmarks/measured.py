"""Runs a command and writes what it cost: `python -I -S measured.py FIGURES.json COMMAND...`.

A process counts the memory of whoever started it as its own peak, so a benchmark that holds pictures and models starts
its commands from this small process instead.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command; its exit status is a figure, not this process's own."""
    figures, *command = sys.argv[1:]
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    cost = {
        "status": os.waitstatus_to_exitcode(status),
        "wall": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        # Kibibytes, except on macOS.
        "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    Path(figures).write_text(json.dumps(cost), "utf-8")


if __name__ == "__main__":
    main()
