"""The second of the two steps of every score: encode what the plans need, once each and batched, then compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pytest_editeval import __version__
from pytest_editeval.errors import MetricError
from pytest_editeval.needs import ImageNeed, ImageRef, Need, ObjectNeed, Plan, ScoreRequest, plan
from pytest_editeval.registry import MetricSpec
from pytest_editeval.results import Score, SoftFailure
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.checkpoints import digest_of
from pytest_editeval.vision.features import Encoded, FeatureMemory, Features, FeatureStore
from pytest_editeval.vision.images import LoadedImage
from pytest_editeval.vision.metrics import Measurement
from pytest_editeval.vision.objects import Pixels, pad_to_square
from pytest_editeval.vision.segmenter import Embedding, SAMSegmenter


@dataclass(eq=False)
class Scorer:
    """Models by key, the images that are at hand, and what was encoded so far.

    An image is encoded once per backbone, and embedded by SAM once, however many scores need it.
    """

    memory: FeatureMemory = field(default_factory=FeatureMemory)
    backbones: dict[str, Backbone] = field(default_factory=dict)
    segmenters: dict[str, SAMSegmenter] = field(default_factory=dict)
    encoded: Counter[str] = field(default_factory=Counter)
    remembered: int = 0
    store: FeatureStore | None = None

    def score(self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage]) -> list[Score]:
        """Scores in the order of the requests; `images` are those the requests refer to.

        Raises `MetricError` when a model or a metric gives something that is no finite number.
        """
        plans = [plan(request) for request in requests]
        needs = dict.fromkeys(need for item in plans if isinstance(item, Plan) for need in item.needs)
        encoded = self.encode(tuple(needs), {image.ref: image.pixels for image in images})
        return [
            _failed(request.metric, item) if isinstance(item, SoftFailure) else compute(request, item, encoded)
            for request, item in zip(requests, plans, strict=True)
        ]

    def holds(self, request: ScoreRequest) -> bool:
        """Whether nothing is left to encode for the request."""
        planned = plan(request)
        return isinstance(planned, SoftFailure) or all(self.memory.holds(need) for need in planned.needs)

    def encode_ahead(self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage]) -> bool:
        """Encode for several requests at once, in batches; false when something went wrong.

        What it was is left to the score that it belongs to, which will meet it again.
        """
        plans = [item for item in map(plan, requests) if isinstance(item, Plan)]
        needs = dict.fromkeys(need for item in plans for need in item.needs)
        try:
            self.encode(tuple(needs), {image.ref: image.pixels for image in images})
        except Exception:  # a model or a metric of another package may raise anything
            return False
        return True

    def encode(self, needs: Sequence[Need], images: Mapping[ImageRef, Image.Image]) -> dict[Need, Encoded]:
        """Features, or the soft failure of the segmenter, for each need; remembered ones are not encoded again."""
        known = {need: self._recall(need) for need in needs}
        encoded = {need: entry for need, entry in known.items() if entry is not None}
        missing = [need for need in needs if need not in encoded]
        inputs: dict[Need, Image.Image | Pixels] = {}
        for need in missing:
            if isinstance(need, ImageNeed):
                inputs[need] = _resized(images[need.image], need)
        for need, crop in self._isolate([need for need in missing if isinstance(need, ObjectNeed)], images).items():
            if isinstance(crop, SoftFailure):
                encoded[need] = crop
            else:
                inputs[need] = pad_to_square(crop, self.backbones[need.backbone].geometry.input_size, need.bg_color)
        for key in dict.fromkeys(need.backbone for need in inputs):
            batch = [need for need in inputs if need.backbone == key]
            features = self.backbones[key].encode([inputs[need] for need in batch])
            self.encoded[type(self.backbones[key]).family] += len(batch)
            encoded.update(zip(batch, features, strict=True))
        for need in missing:
            self._remember(need, encoded[need])
        return encoded

    def _recall(self, need: Need) -> Encoded | None:
        entry = self.memory.get(need)
        if entry is None and self.store is not None and (key := self._store_key(need)):
            arrays = self.store.load(key)
            if arrays is not None:
                self.remembered += 1
                entry = Features(*arrays)
                self.memory.put(need, entry)
        return entry

    def _remember(self, need: Need, entry: Encoded) -> None:
        self.memory.put(need, entry)
        if self.store is not None and isinstance(entry, Features) and (key := self._store_key(need)):
            self.store.save(key, entry.patches, entry.cls)

    def _store_key(self, need: Need) -> str | None:
        """Everything that can change the features; `None` for models of other classes, whose code has no digest."""
        backbone = self.backbones[need.backbone]
        segmenter = self.segmenters[need.segmenter] if isinstance(need, ObjectNeed) else None
        if not _is_ours(backbone) or not (segmenter is None or _is_ours(segmenter)):
            return None
        return digest_of(
            {"versions": _versions(), "backbone": backbone.fingerprint, "device": backbone.device}
            | {"segmenter": segmenter and (segmenter.fingerprint, segmenter.device)}
            | {"image": need.image, "rest": _rest(need)}
        )

    def _isolate(
        self, needs: Sequence[ObjectNeed], images: Mapping[ImageRef, Image.Image]
    ) -> dict[ObjectNeed, Pixels | SoftFailure]:
        """The isolated object of each need; every image is embedded once and its boxes are prompted together."""
        objects: dict[ObjectNeed, Pixels | SoftFailure] = {}
        by_image: dict[tuple[Any, ...], list[ObjectNeed]] = {}
        for need in needs:
            by_image.setdefault((need.segmenter, need.image, need.bg_color), []).append(need)
        for (segmenter_key, ref, bg_color), group in by_image.items():
            segmenter = self.segmenters[segmenter_key]
            embedding = self.memory.embedding((segmenter_key, ref), partial(self._embed, segmenter, images[ref]))
            boxes = list(dict.fromkeys(need.box for need in group))
            crops = dict(zip(boxes, segmenter.isolate(embedding, boxes, bg_color), strict=True))
            objects.update((need, crops[need.box]) for need in group)
        return objects

    def _embed(self, segmenter: SAMSegmenter, image: Image.Image) -> Embedding:
        self.encoded["SAM"] += 1
        return segmenter.embed(image)


def compute(request: ScoreRequest, planned: Plan, encoded: Mapping[Need, Encoded]) -> Score:
    """The score of one request from the features of its plan."""
    metric = request.metric
    sides: list[list[Features]] = []
    for needs in (planned.source, planned.edited):
        features = [encoded[need] for need in needs]
        for entry in features:
            if isinstance(entry, SoftFailure):
                return _failed(metric, entry)
        sides.append([entry for entry in features if isinstance(entry, Features)])
    if planned.patch_mask is None:
        rows = [np.stack([entry.cls for entry in side]) for side in sides]
    else:
        selected = planned.patch_mask
        source, edited = sides[0][0].patches, sides[1][0].patches
        rows = [source if metric.all_source_patches else source[selected], edited[selected]]
    measurement = measure(metric, rows[0], rows[1])
    if planned.patch_mask is None:
        details: dict[str, Any] = {"pairs": [float(part) for part in measurement.parts]}
    else:
        details = _patch_details(request, planned.patch_mask, measurement.parts)
    return Score(metric.name, measurement.value, None, details)


def measure(metric: MetricSpec, source: NDArray[Any], edited: NDArray[Any]) -> Measurement:
    """Call the metric's function on copies, and hold what it returns to being one finite number."""
    try:
        function = metric.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise MetricError(f"{metric.name}: {metric.function!r} cannot be imported: {error}") from error
    result = function(source.copy(), edited.copy())
    if not isinstance(result, Measurement):
        result = Measurement(result, np.zeros(0))
    if isinstance(result.value, bool) or not isinstance(result.value, int | float | np.integer | np.floating):
        raise MetricError(f"{metric.name} returned {type(result.value).__name__}, not a number")
    if not np.isfinite(result.value):
        raise MetricError(f"{metric.name} is {result.value}: the features or the metric are broken")
    return Measurement(float(result.value), result.parts)


def _failed(metric: MetricSpec, failure: SoftFailure) -> Score:
    return Score(metric.name, metric.soft_failure_value, failure)


def _is_ours(model: object) -> bool:
    return type(model).__module__.startswith("pytest_editeval.")


@cache
def _versions() -> tuple[str, ...]:
    return (__version__, torch.__version__, transformers.__version__, np.__version__, PIL.__version__)


def _rest(need: Need) -> object:
    return (need.box, need.bg_color) if isinstance(need, ObjectNeed) else need.resized_to


def _resized(image: Image.Image, need: ImageNeed) -> Image.Image:
    return image if need.resized_to is None else image.resize(need.resized_to, Image.Resampling.BICUBIC)


def _patch_details(request: ScoreRequest, selected: NDArray[np.bool_], shares: NDArray[np.float64]) -> dict[str, Any]:
    details: dict[str, Any] = {
        "boxes": len(request.coords) if request.mask_mode else 0,
        "patches_compared": int(selected.sum()),
        "patches_total": len(selected),
    }
    if shares.size == selected.sum() and shares.any():
        details["worst"] = _worst_spot(request, selected, shares)
    return details


def _worst_spot(request: ScoreRequest, selected: NDArray[np.bool_], shares: NDArray[np.float64]) -> dict[str, Any]:
    """The spot that cost most: the worst patch, and those connected to it that cost at least half as much."""
    grid = request.geometry.grid
    cost = np.zeros(len(selected))
    cost[selected] = shares
    worst = int(cost.argmax())
    spots, _ = ndimage.label((cost >= cost[worst] / 2).reshape(grid, grid))
    spot = np.flatnonzero(spots.reshape(-1) == spots[divmod(worst, grid)])
    rows, columns = np.divmod(spot, grid)
    areas = np.array([request.geometry.patch_area(int(index), request.source.size) for index in spot])
    return {
        "rows": [int(rows.min()), int(rows.max())],
        "columns": [int(columns.min()), int(columns.max())],
        "share": float(cost[spot].sum()),
        "area": [int(value) for value in (*areas[:, :2].min(axis=0), *areas[:, 2:].max(axis=0))],
    }
