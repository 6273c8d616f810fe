"""Failures that explain themselves, in the place of a traceback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_editeval.escapes import inert, visible


@dataclass(frozen=True)
class Headline:
    """What pytest's short summary and JUnit show of a failure, and, after its place, `--tb=line`.

    The short summary cuts it at the terminal's width: what matters comes first.
    """

    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


@dataclass(frozen=True)
class Explanation:
    """A failure that explains itself, in a traceback's place on a report."""

    text: str
    reprcrash: Headline
    shown: bool = True

    def __str__(self) -> str:
        return self.text

    def toterminal(self, writer: Any) -> None:
        """Print it, as pytest prints a traceback."""
        if not self.shown:
            return
        from pytest_editeval.reports.layout import Screen

        screen = Screen.of_writer(writer)
        guarded = inert if os.environ.get("GITHUB_ACTIONS") == "true" else str
        for line in self.text.split("\n"):
            for part in screen.wrapped(line):
                writer.line(guarded(part))


def explained(config: pytest.Config, text: str, message: str, place: str = "") -> Any:
    """What stands on a report in a traceback's place; `--tb=line` prints the headline after it by itself."""
    text = "\n".join(map(visible, text.split("\n")))
    headline = Headline(visible(message), visible(place))
    return Explanation(text, headline, shown=config.getoption("tbstyle", "auto") != "line")
