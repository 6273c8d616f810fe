"""The metrics: pure functions from features to a number, and to what each patch or pair added to it.

All arithmetic is in float64. Inputs are never written to.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
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

MATRIX_ROWS = 2048
"""Of more patches the matrices of cosines, which grow with the square, are never held."""
CHUNK_ROWS = 4096


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
    unit = _unit(features)
    similarity: Floats = unit @ unit.T
    return similarity


def structure_similarity(source: Rows, edited: Rows) -> Measurement:
    """`1 / (1 + 100 * MSE)` between the self-similarity matrices of two equally long sets of patches, in (0, 1]."""
    if len(source) > MATRIX_ROWS:
        costs = structure_costs(source, edited)
    else:
        costs = ((self_similarity(source) - self_similarity(edited)) ** 2).sum(axis=1)
    return Measurement(float(1 / (1 + STRUCTURE_SCALE * costs.sum() / len(source) ** 2)), _shares(costs))


def structure_costs(source: Rows, edited: Rows) -> Floats:
    """Of each row i the sum over j of the squared difference between cosine ij of `source` and of `edited` `(n, dim)`.

    The same numbers as from the two matrices `(n, n)`, in memory that does not grow with n. With a and b the rows of
    unit length, d = a - b and s = a + b, a difference of cosines is (d_i·s_j + s_i·d_j) / 2, so that its squares are
    summed over j by three matrices `(dim, dim)`. Rows are subtracted first: where little has changed nothing large
    cancels.
    """
    dim = source.shape[1]
    both, mixed, apart = np.zeros((3, dim, dim))
    for d, s in _differences(source, edited):
        both += s.T @ s
        mixed += s.T @ d
        apart += d.T @ d
    costs = [
        np.einsum("ik,ik->i", d @ both + 2 * (s @ mixed.T), d) + np.einsum("ik,ik->i", s @ apart, s)
        for d, s in _differences(source, edited)
    ]
    return np.maximum(np.concatenate(costs) / 4, 0)


def _differences(source: Rows, edited: Rows) -> Iterator[tuple[Floats, Floats]]:
    """Differences and sums of the rows of unit length, some rows at a time."""
    for start in range(0, len(source), CHUNK_ROWS):
        a, b = (_unit(rows[start : start + CHUNK_ROWS]) for rows in (source, edited))
        yield a - b, a + b


def _unit(features: Rows) -> Floats:
    rows = features.astype(np.float64)
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


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
