"""Parts that several kinds of pictures have: histograms of scores, and what an axis says of its direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 30
_SAME = 1e-9  # relative: closer together, and floats cannot tell the edges of the bins apart
_LEAST = 1e-300

Kind = tuple[Sequence[float], str, str, str]
"""Scores, colour, name, hatch."""


def bin_edges(values: Sequence[float]) -> list[float]:
    """The edges of a histogram over all values; one bin where they are the same."""
    import numpy as np

    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low <= max(_SAME * size, _LEAST):
        half = max(0.5, _SAME * size)
        return [low - half, high + half]
    edges: list[float] = np.linspace(low, high, _BINS + 1).tolist()
    return edges


def histogram(axes: Axes, edges: list[float], kinds: Iterable[Kind]) -> None:
    """Histograms over each other, told apart by colour and hatch; those without scores are left out."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    for scores, color, name, hatch in kinds:
        if scores:
            counts, _ = np.histogram(scores, edges)
            filled = [index for index, count in enumerate(counts) if count]  # an empty bar would be a line on the axis
            lefts, widths = ([edges[index] for index in filled], [edges[index + 1] - edges[index] for index in filled])
            style: dict[str, Any] = {"facecolor": f"{color}59", "edgecolor": color, "linewidth": 1.2, "hatch": hatch}
            axes.bar(lefts, counts[filled], widths, align="edge", label=name, **style)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def direction(higher_is_better: bool) -> str:
    """In words, with an arrow to the better side of a score axis."""
    return "higher is better →" if higher_is_better else "← lower is better"
