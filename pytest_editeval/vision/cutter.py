"""Objects that are cut out of images: from the needs of some images to crops that a backbone can encode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from pytest_editeval.errors import CheckpointError
from pytest_editeval.evidence import mask_data
from pytest_editeval.needs import ImageRef, ObjectNeed
from pytest_editeval.registry import Box, Color
from pytest_editeval.results import SoftFailure
from pytest_editeval.vision.embedder import Embedder
from pytest_editeval.vision.features import Input
from pytest_editeval.vision.images import LoadedImage
from pytest_editeval.vision.model_guard import ModelGuard, contained
from pytest_editeval.vision.segmenter import CutOut, Embedding, SAMSegmenter, cut_outs

if TYPE_CHECKING:
    from pytest_editeval.vision.backbones import Backbone
    from pytest_editeval.vision.objects import Pixels

Cut = Input | SoftFailure | Exception
"""An object's crop, or why there is none."""


class Cutter:
    """Cuts objects out of images; an image is embedded once, and all its boxes on one background are prompted together.

    Threads may share it: it holds no state but its embedder's. `backbones` say how large a crop becomes.
    """

    def __init__(self, guard: ModelGuard, embedder: Embedder, backbones: Mapping[str, Backbone]) -> None:
        self._guard = guard
        self._embedder = embedder
        self._backbones = backbones

    def cut(
        self,
        key: str,
        segmenter: SAMSegmenter,
        group: Mapping[ImageRef, Sequence[ObjectNeed]],
        images: Mapping[ImageRef, LoadedImage],
    ) -> Iterator[tuple[ObjectNeed, Cut]]:
        """What becomes of each need, as soon as that is known; an error is met by its image, or its prompt, only."""
        # No error is kept in a variable: its frames would hold it, and with it the embeddings, in a circle.
        try:
            embeddings = self._guard.use(key, segmenter, self._embedder.embed, key, segmenter, group, images)
        except Exception as error:  # another package's model may raise anything
            if len(group) == 1 or isinstance(error, CheckpointError):
                for need in chain(*group.values()):
                    yield need, error
            else:
                for ref, needs in group.items():
                    yield from self.cut(key, segmenter, {ref: needs}, images)
            return
        for ref, needs in group.items():
            for color, boxes in _by_prompt(needs).items():
                try:
                    prompted = self._prompt(segmenter, embeddings[ref], boxes, color)
                except Exception as error:  # as above
                    for need in chain(*boxes.values()):
                        yield need, error
                else:
                    yield from prompted

    def _prompt(
        self, segmenter: SAMSegmenter, embedding: Embedding, boxes: Mapping[Box, Sequence[ObjectNeed]], color: Color
    ) -> list[tuple[ObjectNeed, Cut]]:
        cuts: list[tuple[ObjectNeed, Cut]] = []
        for needs, found in zip(boxes.values(), _cut_outs(segmenter, embedding, boxes, color), strict=True):
            if isinstance(found, SoftFailure):
                cuts += [(need, found) for need in needs]
                continue
            mask = None if found.mask is None else mask_data(found.mask)
            for need in needs:
                size = self._backbones[need.backbone].geometry.input_size
                cuts.append((need, Input(partial(_padded, found.crop, size, color), mask)))
        return cuts


def _by_prompt(needs: Sequence[ObjectNeed]) -> dict[Color, dict[Box, list[ObjectNeed]]]:
    """The needs of an image by background and box: backbones share what is cut out."""
    by_color: defaultdict[Color, dict[Box, list[ObjectNeed]]] = defaultdict(dict)
    for need in needs:
        by_color[need.bg_color].setdefault(need.box, []).append(need)
    return by_color


def _cut_outs(
    segmenter: SAMSegmenter, embedding: Embedding, boxes: Mapping[Box, object], color: Color
) -> list[CutOut | SoftFailure]:
    try:
        return cut_outs(segmenter, embedding, boxes, color)
    except Exception:
        raise
    except BaseException as error:
        raise contained(error, (__file__,)) from None


def _padded(crop: Pixels, size: int, color: Color) -> Pixels:
    from pytest_editeval.vision.objects import pad_to_square

    return pad_to_square(crop, size, color)
