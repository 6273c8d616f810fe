"""Which checks this process will run after the one that is running, in the order of the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_editeval.item import CheckItem
    from pytest_editeval.locations import Location


class Selection:
    """The selected items of a session.

    In a worker of xdist only the rest of a file can be foreseen, and that only when files stay together.
    """

    def __init__(self, items: list[pytest.Item], *, is_worker: bool, files_together: bool) -> None:
        self._items = items
        self._one_file = is_worker
        self._nothing = is_worker and not files_together
        self._order = {item: index for index, item in enumerate(items)}
        self._by_image: defaultdict[Location, list[CheckItem]] = defaultdict(list)
        for item in items:
            if getattr(item, "uses_objects", False):
                for location in item.locations:  # type: ignore[attr-defined]
                    self._by_image[location].append(item)  # type: ignore[arg-type]

    def following(self, item: CheckItem) -> Iterator[CheckItem]:
        """The checks that come next.

        Those of another directory are left out: its `conftest.py` may put other models in the fixtures' place.
        """
        for index in range(self._order[item] + 1, len(self._items)):
            other = self._items[index]
            if hasattr(other, "case") and self._together(item, other):
                yield other  # type: ignore[misc]
            elif self._one_file:
                return

    def sharing(self, item: CheckItem, location: Location) -> Iterator[CheckItem]:
        """The checks from this one on that look at objects in an image."""
        for other in self._by_image[location]:
            if self._order[other] >= self._order[item] and self._together(item, other):
                yield other

    def _together(self, item: pytest.Item, other: pytest.Item) -> bool:
        if self._nothing:
            return False
        return item.path == other.path if self._one_file else item.path.parent == other.path.parent
