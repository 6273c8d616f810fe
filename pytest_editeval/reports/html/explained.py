"""What explains a score, as a page's script draws it.

Details are those of any metric, read from any file: what does not have the form that is drawn is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_editeval.derived import Bands
from pytest_editeval.evidence import OBJECTS, PATCHES, patch_costs
from pytest_editeval.registry import WHITE
from pytest_editeval.results import CheckResult

SIDES = ("source", "edited")


def is_of_objects(result: CheckResult) -> bool:
    """Whether the boxes of the check are pairs: of the first half in the source, of the second in the edited image."""
    return "pairs" in result.details or (result.scope is None and "bg_color" in result.parameters)


def patches(result: CheckResult) -> dict[str, Any] | None:
    """The patches as they are, if they can be read; what they cover as parts of the image."""
    costs = patch_costs(result.details)
    if costs is None or result.source_size is None:
        return None
    width, height = result.source_size
    x1, y1, x2, y2 = costs.area
    rows, columns = costs.compared.shape
    if not rows * columns or not all(map(math.isfinite, costs.area)):
        return None
    return {
        "rows": rows,
        "columns": columns,
        "area": [x1 / width, y1 / height, x2 / width, y2 / height],
        "compared": result.details[PATCHES]["compared"],
        "shares": result.details[PATCHES].get("shares"),
        "counts": _numbers([result.details.get(f"patches_{name}") for name in ("compared", "total")], 2),
        "averaged": finite(result.details.get("averaged")),
    }


def worst_spot(result: CheckResult) -> dict[str, Any] | None:
    """The patches that cost most: rows and columns from the first to the last, their share, their pixels."""
    worst = result.details.get("worst")
    if not isinstance(worst, Mapping) or finite(worst.get("share")) is None:
        return None
    spans = {name: _numbers(worst.get(name), 2) for name in ("rows", "columns")}
    area = _numbers(worst.get("area"), 4)
    if area is None or None in spans.values():
        return None
    return {**spans, "share": worst["share"], "area": area}


def objects(result: CheckResult) -> list[dict[str, Any]] | None:
    """The objects of each pair of boxes, by side: the pixels that were cut out and the mask there."""
    pairs = result.details.get(OBJECTS)
    if not isinstance(pairs, Sequence) or isinstance(pairs, str) or not pairs:
        return None
    shown = [_pair(pair) for pair in pairs]
    return None if None in shown else [pair for pair in shown if pair]


def _pair(pair: object) -> dict[str, Any] | None:
    if not isinstance(pair, Mapping):
        return None
    sides = {side: _object(pair.get(side)) for side in SIDES}
    return None if None in sides.values() else sides


def _object(found: object) -> dict[str, Any] | None:
    if not isinstance(found, Mapping):
        return None
    box, mask = _numbers(found.get("box"), 4), found.get("mask")
    if box is None or not (mask is None or isinstance(mask, str)) or box[2] <= box[0] or box[3] <= box[1]:
        return None
    return {"box": box, "mask": mask}


def pair_scores(result: CheckResult) -> list[float | None]:
    """The score of each pair."""
    found = result.details.get("pairs")
    return [finite(value) for value in found] if isinstance(found, list | tuple) else []


def background(result: CheckResult) -> list[float]:
    """The colour that objects were laid on, red, green and blue from 0 to 255."""
    return _numbers(result.parameters.get("bg_color"), 3) or [float(value) for value in WHITE]


def bands(result: CheckResult) -> Bands | None:
    """The bands of TIFF files that were looked at, and their scale."""
    numbers, scale = result.parameters.get("bands"), result.parameters.get("scale")
    if not isinstance(numbers, list) or not isinstance(scale, Mapping) or len(numbers) not in (1, 3):
        return None
    if not all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers):
        return None
    written = {name: _numbers(scale.get(name), 2) for name in ("range", "percentile")}
    ends = {name: (pair[0], pair[1]) for name, pair in written.items() if pair is not None}
    return Bands(tuple(numbers), ends.get("range"), ends.get("percentile")) if len(ends) == 1 else None


def finite_boxes(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """Those that can be drawn."""
    return [list(box) for box in boxes if all(map(math.isfinite, box))]


def finite(value: object) -> float | None:
    """The number, as JSON has it; `None` for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None  # type: ignore[arg-type,return-value]


def _numbers(values: object, count: int) -> list[float] | None:
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    numbers = [number for number in map(finite, values) if number is not None]
    return numbers if len(numbers) == count else None
