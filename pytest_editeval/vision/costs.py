"""What models take: the seconds of their forward passes, and the bytes of their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from pytest_editeval.vision.backbones import Backbone
    from pytest_editeval.vision.segmenter import SAMSegmenter

BLANK = 64  # pixels of a side of the images that warm models up


class Stopwatch:
    """Adds up seconds; what runs at the same time in several threads counts for each."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block."""
        started = perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds += perf_counter() - started


forward_time = Stopwatch()
"""Of all forward passes of the process, with their copies to and from the device."""


def warm_up(backbones: Iterable[Backbone], segmenters: Iterable[SAMSegmenter]) -> None:
    """Load every model, and give it one blank image and then two: what it does the first time only is done then."""
    blank = Image.new("RGB", (BLANK, BLANK), "grey")
    for count in (1, 2):
        # What is wrong with a model is met, and told, by every score that needs it.
        for backbone in backbones:
            with suppress(Exception):
                backbone.encode([blank] * count)
        for segmenter in segmenters:
            with suppress(Exception):
                segmenter.cut_outs(segmenter.embed_all([blank] * count)[0], [(8.0, 8.0, 56.0, 56.0)])


def weight_bytes(backbones: Iterable[Backbone], segmenters: Iterable[SAMSegmenter]) -> int:
    """Of the parameters and buffers of the networks that are loaded; what models share counts once."""
    networks: list[Any] = [vars(backbone).get("model") for backbone in backbones]
    networks += [getattr(vars(segmenter).get("backend"), "model", None) for segmenter in segmenters]
    tensors = chain.from_iterable(
        chain(network.parameters(), network.buffers()) for network in networks if network is not None
    )
    return sum({id(tensor): _bytes(tensor) for tensor in tensors}.values())


def _bytes(tensor: Any) -> int:
    """Of a tensor, or of those that one of another package is made of: 8-bit weights and their scales."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()
    return sum(_bytes(getattr(tensor, name)) for name in names)
