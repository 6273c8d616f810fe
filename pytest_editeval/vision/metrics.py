"""The metrics: pure functions from features to a number, and to what each patch or pair added to it.

All arithmetic is in float64. Inputs are never written to.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pytest_editeval.errors import MetricError
from pytest_editeval.vision.features import Measurement as Measurement

try:
    import ot
except SyntaxError:
    # Not compiled yet, as after `uv pip install`, and `-W error`: Python warns of escapes in POT's own docstrings.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ot

Rows = NDArray[Any]
Floats = NDArray[np.float64]

EMD_ITERATIONS = 1_000_000
STRUCTURE_SCALE = 100.0


def earth_movers_distance(source: Rows, edited: Rows) -> Measurement:
    """Earth mover's distance between two sets of features, weighted uniformly, under squared Euclidean cost.

    `source` is `(n, dim)`, `edited` `(m, dim)`; n and m may differ. The exact optimum of the transport problem
    (Rubner et al., 2000; network simplex of POT's `ot.emd`). 0 exactly when both are the same multiset of rows.
    Raises `MetricError` when the solver does not converge.
    """
    cost = cdist(source.astype(np.float64), edited.astype(np.float64), "sqeuclidean")
    plan, log = ot.emd(
        np.full(len(source), 1 / len(source)),
        np.full(len(edited), 1 / len(edited)),
        cost,
        numItermax=EMD_ITERATIONS,
        log=True,
    )
    if log["warning"] is not None:
        raise MetricError(f"the earth mover's distance of {len(source)} and {len(edited)} patches: {log['warning']}")
    return Measurement(float(log["cost"]), _shares((plan * cost).sum(axis=0)))


def self_similarity(features: Rows) -> Floats:
    """Cosine of every row with every row: `(n, dim)` -> `(n, n)` in [-1, 1]."""
    rows = features.astype(np.float64)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    similarity: Floats = unit @ unit.T
    return similarity


def structure_similarity(source: Rows, edited: Rows) -> Measurement:
    """`1 / (1 + 100 * MSE)` between the self-similarity matrices of two equally long sets of patches, in (0, 1]."""
    difference = (self_similarity(source) - self_similarity(edited)) ** 2
    return Measurement(float(1 / (1 + STRUCTURE_SCALE * difference.mean())), _shares(difference.sum(axis=1)))


def object_similarity(source: Rows, edited: Rows) -> Measurement:
    """Mean over the pairs of the cosine between row i of `source` and row i of `edited`, both `(pairs, dim)`."""
    left, right = source.astype(np.float64), edited.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / np.maximum(norms, 1e-12)
    return Measurement(float(cosines.mean()), cosines)


def _shares(costs: Floats) -> Floats:
    total = costs.sum()
    shares: Floats = costs / total if total > 0 else np.zeros_like(costs)
    return shares
