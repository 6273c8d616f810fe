"""What explains a score, as plain data in `Score.details`: what each patch cost, and which object was cut out.

Written where scores are computed, read by reports; images are not in it, because the reports have them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import PixelBox, Size
from pytest_editeval.regions import PatchGrid

PATCHES, OBJECTS = "patches", "objects"
WHOLE = 65535
"""A share of 1. Sixteen bits a patch tell shares of 0.002 % apart, and keep 10,000 checks small."""

MOST_PATCHES = 4096
"""Of more patches the shares of neighbours are told together: a row of results stays small, and shares stay above 0."""

MASK_SIDE = 512
"""Longer masks are thinned out: they are looked at, not computed with."""


@dataclass(frozen=True, eq=False)
class PatchCosts:
    """The patches of a check: which were compared, and what each added to the cost.

    `compared` and `shares` are `(rows, columns)`; the shares sum to 1 and are 0 for what was not compared, `None` where
    the metric does not tell. `area` is what the grid covers, `(x1, y1, x2, y2)` in pixels of the source image.
    """

    area: tuple[float, float, float, float]
    compared: NDArray[np.bool_]
    shares: NDArray[np.float64] | None


def patch_data(
    grid: PatchGrid, size: Size, compared: NDArray[np.bool_], shares: NDArray[np.float64] | None
) -> dict[str, Any]:
    """The patches of a check on a source of that size as JSON types; `patch_costs` reads them.

    `compared` is `(n_patches,)` row by row, `shares` has a number in [0, 1] for each that was compared.
    """
    rows, columns = grid.shape(size)
    data = {
        "rows": rows,
        "columns": columns,
        "area": [round(value, 2) for value in grid.area(size)],
        "compared": "".join("1" if one else "0" for one in compared),
    }
    if shares is not None:
        whole = np.zeros(len(compared), "<u2")
        whole[compared] = np.rint(shares * WHOLE)
        data["shares"] = base64.b64encode(whole.tobytes()).decode("ascii")
    return data


def patch_costs(details: Mapping[str, Any]) -> PatchCosts | None:
    """What `patch_data` wrote into `details`; `None` where there is nothing, or nothing that can be read."""
    data: Any = details.get(PATCHES)
    try:
        shape = int(data["rows"]), int(data["columns"])
        x1, y1, x2, y2 = (float(value) for value in data["area"])
        compared = np.array([one == "1" for one in data["compared"]]).reshape(shape)
        shares = None
        if data.get("shares") is not None:
            whole = np.frombuffer(base64.b64decode(data["shares"], validate=True), "<u2")
            shares = whole.reshape(shape).astype(np.float64) / WHOLE
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return PatchCosts((x1, y1, x2, y2), compared, shares)


def object_data(box: PixelBox, mask: str | None) -> dict[str, Any]:
    """An object that was cut out: the whole pixels of its box, and its mask there as `mask_data` writes it."""
    return {"box": list(box), "mask": mask}


def mask_data(mask: NDArray[np.bool_]) -> str:
    """A mask `(h, w)` as a PNG of one bit per pixel in base64, at most `MASK_SIDE` pixels wide and high."""
    from PIL import Image

    step = -(-max(mask.shape) // MASK_SIDE)
    stream = io.BytesIO()
    Image.fromarray(mask[::step, ::step]).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")
