"""Crops that wait to be encoded in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

from pytest_editeval.needs import ObjectNeed
from pytest_editeval.vision.batches import size_of
from pytest_editeval.vision.features import Input

if TYPE_CHECKING:
    from pytest_editeval.vision.backbones import Backbone


class Crops:
    """Crops by backbone; they wait until they fill a batch, or until no group of images is being cut that brings more.

    Threads may share it. One lock guards the crops and the number of groups, so that the last group to end takes
    whatever is left; nothing is called while it is held.
    """

    def __init__(self, backbones: Mapping[str, Backbone]) -> None:
        self._backbones = backbones
        self._lock = Lock()
        self._waiting: defaultdict[str, dict[ObjectNeed, Input]] = defaultdict(dict)
        self._groups = 0

    def expect(self, groups: int) -> None:
        """So many groups of images will be cut, each of which ends with `group_ended`."""
        with self._lock:
            self._groups += groups

    def add(self, need: ObjectNeed, crop: Input) -> None:
        """A crop has to be encoded."""
        with self._lock:
            self._waiting[need.backbone][need] = crop

    def group_ended(self) -> dict[str, dict[ObjectNeed, Input]]:
        """A group brings no more crops: those that are to be encoded now, by backbone."""
        with self._lock:
            self._groups -= 1
            return {
                backbone: self._waiting.pop(backbone)
                for backbone, crops in list(self._waiting.items())
                if not self._groups or len(crops) >= size_of(self._backbones[backbone])
            }
