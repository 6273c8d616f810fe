"""Images of checks that did not pass, as CI systems find them in JUnit: a line in the test case's output."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # nosec B405  # it is written with, and reads nothing

import pytest

from pytest_editeval.hooks import EditHooks

WHAT = "attachments in JUnit"
JENKINS, GITLAB = "jenkins", "gitlab"


class AttachmentHooks:
    """Adds ``[[ATTACHMENT|path]]`` to the `system-out` of test cases (docs/ci.md says who reads which path)."""

    def __init__(self, checks: EditHooks, system: str) -> None:
        self.checks = checks
        self._system = system
        self._lines: list[tuple[Any, list[str]]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Note the lines of a check that did not pass, with JUnit's test case, which is known afterwards."""
        row = getattr(report, "editeval_result", None)
        yield
        if row is None or row["outcome"] == "passed":
            return
        with self.checks.making(WHAT):
            if lines := list(attachment_lines(row["source"], row["edited"], self._system, os.environ)):
                self._lines += [(plugin.node_reporter(report), lines) for plugin in self.checks.display.junit_plugins()]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Write the lines, before JUnit's file: Jenkins reads the first `system-out` of a test case only."""
        for reporter, lines in self._lines:
            with self.checks.making(WHAT):
                case = reporter.to_xml()
                output = case.find("system-out")
                if output is None:
                    output = ElementTree.SubElement(case, "system-out")
                output.text = "\n".join([*lines, output.text or ""])


def attachment_lines(source: str, edited: str, system: str, environment: Mapping[str, str]) -> Iterator[str]:
    """For Jenkins the edited image and the source, by absolute paths; for GitLab, which shows one, the edited image.

    GitLab wants a path from the project's root (``CI_PROJECT_DIR``). What is no file there, as an image on another
    machine, and a path that XML cannot hold, is left out: the properties `source` and `edited` name it all the same.
    """
    from pytest_editeval.reports.places import below

    for name in (edited, source) if system == JENKINS else (edited,):
        path = os.path.normpath(Path.cwd() / name)
        if not name or not path.isprintable() or not Path(path).is_file():
            continue
        place = path if system == JENKINS else below(path, environment.get("CI_PROJECT_DIR") or str(Path.cwd()))
        if place is not None:
            yield f"[[ATTACHMENT|{place}]]"
