"""How xdist's workers share a run when `-n` was given without a distribution mode.

Imported only where xdist asks for a scheduler, because xdist need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class EditLoadScheduling(LoadScheduling):  # type: ignore[misc]
    """`--dist load`, except that the checks of one edit case file go to one worker, the largest files first.

    Not built on xdist's loadscope, which runs a test that crashed its worker again until no worker may be replaced.
    """

    def __init__(self, config: pytest.Config, log: Producer, is_edit_node: Callable[[str], bool]) -> None:
        super().__init__(config, log)
        self._is_edit_node = is_edit_node
        self._file_of: dict[int, str] = {}

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Take a worker's collection; without edit checks in it this is xdist's own scheduler from here on."""
        super().add_node_collection(node, collection)
        if self.collection is None and not any(map(self._is_edit_node, collection)):
            self.__class__ = LoadScheduling

    def _send_tests(self, node: WorkerController, num: int) -> None:
        """Send a file's checks, all of them, or else up to `num` tests."""
        if not self._file_of:
            self._file_of = self._arrange()
        while num > 0 and self.pending:
            count = self._next_unit(num)
            super()._send_tests(node, count)
            num -= count
            if len(self.node2pending[node]) >= 2:  # with one only, a worker waits to hear what comes after it
                break

    def _next_unit(self, num: int) -> int:
        """How many of the pending tests go together."""
        file = self._file_of.get(self.pending[0])
        ahead = self.pending if file else islice(self.pending, num)
        return sum(1 for _ in takewhile(lambda index: self._file_of.get(index) == file, ahead))

    def _arrange(self) -> dict[int, str]:
        """Put the checks in front, file by file, and give the file of each.

        The largest file is the first: if it were the last to start, the other workers would wait for it.
        """
        files: dict[str, list[int]] = {}
        others = []
        for index, nodeid in enumerate(self.collection):
            if self._is_edit_node(nodeid):
                files.setdefault(nodeid.split("::", 1)[0], []).append(index)
            else:
                others.append(index)
        largest_first = sorted(files.values(), key=len, reverse=True)
        self.pending[:] = [*chain.from_iterable(largest_first), *others]
        return {index: file for file, indices in files.items() for index in indices}
