"""Checks that a hook takes out of the run behind pytest's back: they were collected, and nobody has deselected them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_editeval.hooks import EditHooks

OUTPUT = "editeval_dropped"
"""The name under which a worker tells the controller, which collects nothing itself."""


class DroppedChecks:
    """Has such checks count as selected, and not run."""

    def __init__(self, checks: EditHooks) -> None:
        self.checks = checks
        self._collected: dict[str, None] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """It is selected, unless pytest hears otherwise."""
        if self.checks.run.is_edit_node(item.nodeid):
            self._collected[item.nodeid] = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """They are left out on purpose."""
        for item in items:
            self._collected.pop(item.nodeid, None)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What was collected has to be there still."""
        left = {item.nodeid for item in session.items}
        dropped = [nodeid for nodeid in self._collected if nodeid not in left]
        self._collected.clear()
        if self.checks.run.is_worker:
            self.checks.run.config.workeroutput[OUTPUT] = dropped  # type: ignore[attr-defined]
        else:
            self._note(dropped)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Every worker has collected the same."""
        self._note(getattr(node, "workeroutput", {}).get(OUTPUT, ()))

    def _note(self, nodeids: Sequence[str]) -> None:
        if nodeids:
            self.checks.note_checks(nodeids)
            count = f"{len(nodeids):,} check{'s' if len(nodeids) > 1 else ''}"
            self.checks.notices[f"taken out of the run by a hook that deselected nothing: {count}"] = None
