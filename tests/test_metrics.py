"""The metrics against numbers worked by hand and against other solvers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from pytest_editeval.vision.metrics import (
    Measurement,
    earth_movers_distance,
    object_similarity,
    self_similarity,
    structure_costs,
    structure_similarity,
)

Metric = Callable[[np.ndarray, np.ndarray], Measurement]


def rows(seed: int, count: int, dim: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("source", "edited", "expected"),
    [
        ([0.0], [3.0], 9.0),
        ([0.0, 1.0], [0.0, 3.0], 2.0),  # half the weight moves by 2: 4 / 2
        ([0.0, 4.0], [1.0], 5.0),  # (1 + 9) / 2
        ([0.0, 0.0, 6.0], [0.0, 6.0], 6.0),  # a sixth of the weight moves by 6: 36 / 6
    ],
)
def test_emd_by_hand(source: list[float], edited: list[float], expected: float) -> None:
    found = earth_movers_distance(np.array(source)[:, None], np.array(edited)[:, None])
    assert found.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_emd_of_equal_counts_is_an_assignment(seed: int) -> None:
    source, edited = rows(seed, 12), rows(seed + 100, 12)
    cost = cdist(source.astype(float), edited.astype(float), "sqeuclidean")
    assert earth_movers_distance(source, edited).value == pytest.approx(
        cost[linear_sum_assignment(cost)].mean(), rel=1e-9
    )


@pytest.mark.parametrize(("n", "m"), [(7, 4), (3, 8)])
def test_emd_of_unequal_counts_is_a_linear_program(n: int, m: int) -> None:
    source, edited = rows(n, n), rows(m, m)
    cost = cdist(source.astype(float), edited.astype(float), "sqeuclidean")
    sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    optimum = linprog(cost.ravel(), A_eq=sums, b_eq=weights).fun
    assert earth_movers_distance(source, edited).value == pytest.approx(optimum, rel=1e-7)


def test_emd_on_a_line_with_distances_of_0_and_1_is_scipys() -> None:
    """For costs of 0 and 1 the square is the distance itself."""
    source, edited = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    found = earth_movers_distance(source[:, None], edited[:, None]).value
    assert found == pytest.approx(wasserstein_distance(source, edited))


def test_emd_of_equal_rows_is_exactly_zero() -> None:
    source = rows(0, 20)
    for edited in (source.copy(), source[::-1], np.repeat(source, 2, axis=0)):
        found = earth_movers_distance(source, edited)
        assert found.value == pytest.approx(0, abs=1e-15)
        assert not found.parts.any()
    assert earth_movers_distance(source, source).value == 0.0


def test_emd_shares_name_the_patch_that_changed() -> None:
    source = rows(0, 10)
    edited = source.copy()
    edited[7] += 9
    found = earth_movers_distance(source, edited)
    assert found.parts.argmax() == 7
    assert found.parts.sum() == pytest.approx(1)
    assert found.parts.shape == (10,)


def test_structure_similarity_by_hand() -> None:
    """Orthogonal rows against rows at 60 degrees: the off-diagonal cosines are 0 and 1/2, so MSE is 2 * 0.25 / 4."""
    source = np.array([[1.0, 0.0], [0.0, 1.0]])
    edited = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    found = structure_similarity(source, edited)
    assert found.value == pytest.approx(1 / (1 + 100 * 0.125))
    assert found.parts == pytest.approx([0.5, 0.5])


def test_structure_similarity_is_one_for_equal_structure() -> None:
    source = rows(1, 9)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    scales = np.linspace(0.1, 9, 9)[:, None]
    for edited in (source, source * scales, source.astype(float) @ turn, source[:, ::-1]):
        assert structure_similarity(source, edited).value == pytest.approx(1, abs=1e-9)


def test_structure_similarity_is_never_zero() -> None:
    same, opposite = np.array([[1.0], [1.0]]), np.array([[1.0], [-1.0]])
    assert structure_similarity(same, opposite).value == pytest.approx(1 / 201)
    assert 0 < structure_similarity(rows(1, 30), rows(2, 30)).value < 1


def test_structure_similarity_of_one_patch_is_one() -> None:
    assert structure_similarity(rows(1, 1), rows(2, 1)).value == pytest.approx(1)


@pytest.mark.parametrize("change", [0.0, 1e-7, 1e-3, 0.1, 3.0])
def test_structure_of_many_patches_is_that_of_the_matrices(change: float) -> None:
    """Near-identical and quite other features; the row sums, and the value, without a matrix of all pairs."""
    source = rows(1, 5000, 12) + 2
    edited = source + change * rows(2, 5000, 12)
    squared = (self_similarity(source) - self_similarity(edited)) ** 2
    np.testing.assert_allclose(structure_costs(source, edited), squared.sum(axis=1), rtol=1e-6, atol=1e-15)
    found = structure_similarity(source, edited)
    assert found.value == pytest.approx(1 / (1 + 100 * squared.mean()), abs=1e-12)
    if change:
        assert found.parts == pytest.approx(squared.sum(axis=1) / squared.sum(), abs=1e-9)
    else:
        assert found.value == 1.0
        assert not found.parts.any()


def test_structure_of_turned_features_is_the_same() -> None:
    """What cancels is as large as it can be, and the value is still right."""
    source = rows(3, 3000, 8)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    found = structure_similarity(source, source.astype(float) @ turn)
    assert found.value == pytest.approx(1, abs=1e-9)
    assert (found.parts >= 0).all()


def test_structure_of_very_many_patches_takes_little_memory() -> None:
    """The matrices of 40,000 patches would take 12.8 GB each."""
    source, edited = rows(1, 40_000, 16), rows(2, 40_000, 16)
    tracemalloc.start()
    structure_similarity(source, edited)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_self_similarity_by_hand() -> None:
    assert self_similarity(np.array([[3.0, 0.0], [4.0, 4.0], [-1.0, 0.0]])) == pytest.approx(
        np.array([[1, 0.5**0.5, -1], [0.5**0.5, 1, -(0.5**0.5)], [-1, -(0.5**0.5), 1]])
    )
    assert np.isfinite(self_similarity(np.zeros((2, 3)))).all()


def test_object_similarity_by_hand() -> None:
    source = np.array([[1.0, 0.0], [3.0, 4.0]])
    edited = np.array([[5.0, 5.0], [-6.0, -8.0]])
    found = object_similarity(source, edited)
    assert found.parts == pytest.approx([0.5**0.5, -1])
    assert found.value == pytest.approx((0.5**0.5 - 1) / 2)
    assert object_similarity(source, source * 7).value == pytest.approx(1)


@pytest.mark.parametrize("metric", [earth_movers_distance, structure_similarity, object_similarity])
def test_inputs_are_read_only(metric: Metric) -> None:
    source, edited = rows(1, 6), rows(2, 6)
    source.flags.writeable = edited.flags.writeable = False
    before = source.copy(), edited.copy()
    assert type(metric(source, edited).value) is float
    assert (source == before[0]).all()
    assert (edited == before[1]).all()


@pytest.mark.parametrize("metric", [earth_movers_distance, structure_similarity])
def test_parts_are_shares_of_the_cost(metric: Metric) -> None:
    parts = metric(rows(1, 8), rows(2, 8)).parts
    assert parts.sum() == pytest.approx(1)
    assert (parts >= 0).all()


@pytest.mark.parametrize("metric", [earth_movers_distance, structure_similarity, object_similarity])
def test_arithmetic_is_in_float64(metric: Metric) -> None:
    """Differences that float32 would lose next to large features are kept."""
    source, edited = rows(1, 6).astype(np.float64) + 1e5, rows(2, 6).astype(np.float64) + 1e5
    narrow = metric(source.astype(np.float32), edited.astype(np.float32)).value
    wide = metric(source.astype(np.float32).astype(float), edited.astype(np.float32).astype(float)).value
    assert narrow == wide
