"""What a metric needs, worked out before any model runs: which features of which image.

`plan` is the first of the two steps that every score takes, from a pipe call and from a YAML check alike;
the second, `pytest_editeval.vision.scorer`, encodes what is needed and computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import Size, split_pairs
from pytest_editeval.regions import PatchGrid, select_region
from pytest_editeval.registry import Box, Color, MaskMode, MetricSpec
from pytest_editeval.results import SoftFailure
from pytest_editeval.tiling import averaged


@dataclass(frozen=True)
class ImageRef:
    """An image by content: digest of its RGB pixels, and its size as a viewer shows it."""

    digest: str
    size: Size


@dataclass(frozen=True)
class ImageNeed:
    """The features of a whole image, resized to `resized_to` before the backbone's own geometry where set."""

    backbone: str
    image: ImageRef
    resized_to: Size | None = None


@dataclass(frozen=True)
class ObjectNeed:
    """The features of one object: what the segmenter isolates in `box`, on `bg_color`."""

    backbone: str
    segmenter: str
    image: ImageRef
    box: Box
    bg_color: Color


Need = ImageNeed | ObjectNeed


@dataclass(frozen=True)
class ScoreRequest:
    """One score that is wanted.

    `coords` of a patch metric are the region's boxes, in pixels of the source; of an object metric the boxes
    in the source, then, in the same order, their counterparts in the edited image. `backbone` and `segmenter`
    are the keys of the models.
    """

    metric: MetricSpec
    source: ImageRef
    edited: ImageRef
    coords: tuple[Box, ...]
    mask_mode: MaskMode | None
    patch_mask_threshold: float
    bg_color: Color
    backbone: str
    geometry: PatchGrid
    segmenter: str | None = None


@dataclass(frozen=True)
class Plan:
    """The needs of a request, the source's first, and for a patch metric its patch mask `(n_patches,)`.

    The mask is of the grid that is left when `averaging` x `averaging` neighbouring patches are averaged.
    """

    source: tuple[Need, ...]
    edited: tuple[Need, ...]
    patch_mask: NDArray[np.bool_] | None = None
    averaging: int = 1

    @property
    def needs(self) -> tuple[Need, ...]:
        """All of them."""
        return self.source + self.edited


def plan(request: ScoreRequest) -> Plan | SoftFailure:
    """What has to be encoded for the request, or why it cannot be scored whatever the features are.

    For a patch metric the edited image is resized to the source's size, because the region's boxes are drawn
    in the source.
    """
    source, edited = request.source, request.edited
    if request.metric.inputs == "patches":
        region = _region(request)
        if isinstance(region, SoftFailure):
            return region
        resized_to = None if edited.size == source.size else source.size
        return Plan((ImageNeed(request.backbone, source),), (ImageNeed(request.backbone, edited, resized_to),), *region)
    pairs = split_pairs(request.coords, source.size, edited.size)
    if isinstance(pairs, SoftFailure):
        return pairs
    if request.segmenter is None:
        raise ValueError(f"{request.metric.name} needs a segmenter: give the pipe a sam block")
    of_object = (request.backbone, request.segmenter)
    return Plan(
        tuple(ObjectNeed(*of_object, source, box, request.bg_color) for box, _ in pairs),
        tuple(ObjectNeed(*of_object, edited, box, request.bg_color) for _, box in pairs),
    )


def _region(request: ScoreRequest) -> tuple[NDArray[np.bool_], int] | SoftFailure:
    """The patches of the region, and over how many along a side features have to be averaged for the metric."""
    metric, size = request.metric, request.source.size
    for factor in count(1):
        grid = averaged(request.geometry, factor)
        patches = math.prod(grid.shape(size))
        if metric.all_source_patches and metric.most_patches is not None and patches > metric.most_patches:
            continue
        selected = select_region(grid, size, request.coords, request.mask_mode, request.patch_mask_threshold)
        if isinstance(selected, SoftFailure) or metric.most_patches is None or selected.sum() <= metric.most_patches:
            break
    return selected if isinstance(selected, SoftFailure) else (selected, factor)
