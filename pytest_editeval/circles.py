"""Python's search for objects that hold each other in circles, which looks at every object that lives.

A suite of many checks is millions of objects that live as long as the run: they would be looked at again and again
while they are made, whenever tests have made enough others, and twice more when pytest and Python end.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import ClassVar

import pytest

MANY = 1_000
"""Checks from which on a suite is left out of the search."""

PLUGIN = "editeval-circles"


class CircleSearch:
    """Has the search wait while edit files are collected, and leave out what was collected."""

    _left_out: ClassVar[bool] = False  # by the process: it has one search

    def __init__(self) -> None:
        self._waits = False
        self._deselected = 0

    def wait(self) -> None:
        """Until `go_on`."""
        if CircleSearch._left_out:  # the suite of an earlier run in this process, which nobody needs any more
            gc.unfreeze()
            CircleSearch._left_out = False
        if gc.isenabled():
            gc.disable()
            self._waits = True

    def go_on(self) -> None:
        """Search as before."""
        if self._waits:
            gc.enable()
            self._waits = False

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """These are to be freed."""
        self._deselected += len(items)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Search on, but not in a large suite most of which is going to run."""
        if self._waits and len(session.items) >= max(MANY, self._deselected):
            gc.freeze()
            CircleSearch._left_out = True
        self.go_on()


def let_search_wait(config: pytest.Config) -> None:
    """Until all is collected: what collecting leaves in circles is little."""
    if not config.pluginmanager.has_plugin(PLUGIN):
        search = CircleSearch()
        config.pluginmanager.register(search, PLUGIN)
        config.add_cleanup(search.go_on)  # collecting may end early
        search.wait()
