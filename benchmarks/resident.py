"""A pytest plugin (`-p resident`): the resident memory of the process as checks end, every hundredth time.

It writes pairs of checks that have ended and bytes to the file that `EDITEVAL_BENCH_SAMPLES` names. Linux only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

SAMPLES = "EDITEVAL_BENCH_SAMPLES"
EVERY = 100


class Resident:
    """Samples after each hundred checks, and at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended = 0
        self.samples: list[tuple[int, int]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A check has ended with its call, or with a setup that failed."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self.ended += 1
            if self.ended % EVERY == 0:
                self._sample()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Write the samples."""
        self._sample()
        self.path.write_text(json.dumps(self.samples), "utf-8")

    def _sample(self) -> None:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        self.samples.append((self.ended, pages * os.sysconf("SC_PAGE_SIZE")))


def pytest_configure(config: pytest.Config) -> None:
    """Follow the run in the process that gathers the reports."""
    if (path := os.environ.get(SAMPLES)) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Resident(Path(path)), "bench-resident")
