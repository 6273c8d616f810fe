"""From the features of a plan to a score, and to what explains it. No model is involved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import Size, clip_box
from pytest_editeval.evidence import MOST_PATCHES, OBJECTS, PATCHES, object_data, patch_data
from pytest_editeval.needs import Need, Plan, ScoreRequest
from pytest_editeval.regions import PatchGrid
from pytest_editeval.registry import MetricSpec
from pytest_editeval.results import Score, SoftFailure
from pytest_editeval.tiling import averaged, block_means, block_sums
from pytest_editeval.vision.features import Encoded, Features
from pytest_editeval.vision.lanes import Executor
from pytest_editeval.vision.measuring import Limited, at_once, measure


def compute(request: ScoreRequest, planned: Plan, encoded: Mapping[Need, Encoded], limited: Limited = at_once) -> Score:
    """The score of one request from the features of its plan; `limited` runs the metric's function."""
    metric = request.metric
    sides: list[list[Features]] = []
    for needs in (planned.source, planned.edited):
        features = [encoded[need] for need in needs]
        for entry in features:
            if isinstance(entry, SoftFailure):
                return failed(metric, entry)
        sides.append([entry for entry in features if isinstance(entry, Features)])
    if planned.patch_mask is None:
        rows = [np.stack([entry.cls for entry in side]) for side in sides]
    else:
        selected = planned.patch_mask
        shape = request.geometry.shape(request.source.size)
        source, edited = (block_means(side[0].patches, shape, planned.averaging) for side in sides)
        rows = [source if metric.all_source_patches else source[selected], edited[selected]]
    measurement = measure(metric, rows[0], rows[1], limited)
    if planned.patch_mask is None:
        details: dict[str, Any] = {
            "pairs": [float(part) for part in measurement.parts],
            OBJECTS: _objects(request, *sides),
        }
    else:
        details = _patch_details(request, planned.patch_mask, planned.averaging, measurement.parts)
    return Score(metric.name, measurement.value, None, details)


def compute_later(
    request: ScoreRequest, planned: Plan, encoded: Sequence[Future[Encoded]], executor: Executor
) -> Future[Score]:
    """The score once all its features are there; solvers run beside the models."""
    score: Future[Score] = Future()
    lock = Lock()  # of `left`: features arrive in several threads
    left = len(encoded)
    # Emptied in the end: these futures know `arrived`, which knows `run`, and a circle would hold their features
    # until Python looks for circles, which in a session of many thousand tests it seldom does.
    waited = [*encoded]

    def run() -> None:
        try:
            features = {need: future.result() for need, future in zip(planned.needs, waited, strict=True)}
            score.set_result(compute(request, planned, features, executor.limited))
        except BaseException as error:  # whatever it is, nobody may wait for ever
            score.set_exception(error)
        finally:
            waited.clear()

    def arrived(_: Future[Encoded]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            try:
                executor.work(run)
            except RuntimeError:  # the session is over
                score.cancel()

    for future in encoded:
        future.add_done_callback(arrived)
    return score


def failed(metric: MetricSpec, failure: SoftFailure) -> Score:
    """The score of a metric that could not be computed."""
    return Score(metric.name, metric.soft_failure_value, failure)


def _patch_details(
    request: ScoreRequest, selected: NDArray[np.bool_], averaging: int, shares: NDArray[np.float64]
) -> dict[str, Any]:
    details: dict[str, Any] = {
        "boxes": len(request.coords) if request.mask_mode else 0,
        "patches_compared": int(selected.sum()),
        "patches_total": len(selected),
    }
    if averaging > 1:
        details["averaged"] = averaging
    size = request.source.size
    # A metric of another package need not say them.
    told = shares if shares.size else np.zeros(int(selected.sum()))
    grid, compared, costs = _told_together(averaged(request.geometry, averaging), size, selected, told)
    details[PATCHES] = patch_data(grid, size, compared, costs[compared] if shares.size else None)
    if shares.any():
        details["worst"] = _worst_spot(grid, size, costs)
    return details


def _told_together(
    grid: PatchGrid, size: Size, selected: NDArray[np.bool_], shares: NDArray[np.float64]
) -> tuple[PatchGrid, NDArray[np.bool_], NDArray[np.float64]]:
    """A grid of at most `MOST_PATCHES`; which of it were compared, in part at least, and their shares, 0 for others."""
    costs = np.zeros(len(selected))
    costs[selected] = shares
    shape = grid.shape(size)
    factor = next(one for one in count(1) if math.prod(averaged(grid, one).shape(size)) <= MOST_PATCHES)
    if factor == 1:
        return grid, selected, costs
    compared = block_sums(selected.reshape(shape).astype(np.int64), factor) > 0
    return averaged(grid, factor), compared.reshape(-1), block_sums(costs.reshape(shape), factor).reshape(-1)


def _objects(request: ScoreRequest, source: Sequence[Features], edited: Sequence[Features]) -> list[dict[str, Any]]:
    half = len(request.coords) // 2
    sides = {
        "source": (request.coords[:half], request.source.size, source),
        "edited": (request.coords[half:], request.edited.size, edited),
    }
    return [
        {
            name: object_data(clip_box(boxes[index], size), features[index].mask)
            for name, (boxes, size, features) in sides.items()
        }
        for index in range(half)
    ]


def _worst_spot(grid: PatchGrid, size: Size, costs: NDArray[np.float64]) -> dict[str, Any]:
    """The spot that cost most: the worst patch, and those connected to it that cost at least half as much."""
    from scipy import ndimage

    shape = grid.shape(size)
    worst = int(costs.argmax())
    spots, _ = ndimage.label((costs >= costs[worst] / 2).reshape(shape))
    spot = np.flatnonzero(spots.reshape(-1) == spots[divmod(worst, shape[1])])
    rows, columns = np.divmod(spot, shape[1])
    corners = ((rows.min(), columns.min()), (rows.max(), columns.max()))
    first, last = (grid.patch_area(int(row * shape[1] + column), size) for row, column in corners)
    return {
        "rows": [int(rows.min()), int(rows.max())],
        "columns": [int(columns.min()), int(columns.max())],
        "share": float(costs[spot].sum()),
        "area": [*first[:2], *last[2:]],
    }
