"""Windows, weights and the grid over a large image: against masks of the whole image and against loops."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_editeval.boxes import clip_box
from pytest_editeval.needs import ImageRef, Plan, ScoreRequest, plan
from pytest_editeval.regions import Geometry, PatchGrid, paint, select_region
from pytest_editeval.registry import Box, MaskMode, MetricSpec, get_metric
from pytest_editeval.results import Reason, SoftFailure
from pytest_editeval.tiling import Averaged, TiledGeometry, averaged, axis_windows, block_means, block_sums

TILES = TiledGeometry(Geometry(64, 16), 64, 16)
RESIZED = TiledGeometry(Geometry(56, 14), 33, 9)  # 4 patches in a row, of 8.25 pixels of the image; 2 are shared


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Cells of an axis, of a window, and those that windows share."""
    across = draw(st.integers(1, 12))
    return draw(st.integers(1, 80)), across, draw(st.integers(0, across - 1))


@given(axes())
def test_the_weights_of_all_windows_sum_to_one_everywhere(axis: tuple[int, int, int]) -> None:
    cells, across, shared = axis
    total = np.zeros(cells)
    for start, weights in axis_windows(cells, across, shared):
        assert (weights > 0).all()
        assert len(weights) == min(across, cells)
        total[start : start + len(weights)] += weights
    assert total == pytest.approx(np.ones(cells), abs=1e-12)


@given(axes())
def test_windows_begin_at_multiples_of_the_step_and_the_last_ends_with_the_axis(axis: tuple[int, int, int]) -> None:
    cells, across, shared = axis
    starts = [start for start, _ in axis_windows(cells, across, shared)]
    assert starts[0] == 0
    assert starts[-1] == max(0, cells - across)
    assert starts[:-1] == [index * (across - shared) for index in range(len(starts) - 1)]
    assert all(0 < after - before <= across - shared for before, after in pairwise(starts))


def test_weights_fall_linearly_within_the_overlap() -> None:
    """Two windows of 5 cells that share 3: 3/4, 2/4 and 1/4 of the first, and what is missing of the second."""
    (_, first), (start, second) = axis_windows(7, 5, 3)
    assert start == 2
    assert first == pytest.approx([1, 1, 0.75, 0.5, 0.25])
    assert second == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_the_weights_of_a_single_window_are_exactly_one() -> None:
    for cells in (3, 8):
        ((start, weights),) = axis_windows(cells, 8, 5)
        assert start == 0
        assert (weights == 1.0).all()


sizes = st.tuples(st.integers(1, 260), st.integers(1, 260))
tilings = st.sampled_from(
    [TILES, RESIZED, TiledGeometry(Geometry(64, 16), 64, 0), TiledGeometry(Geometry(24, 8), 6, 4)]
)


@settings(deadline=None)  # patch by patch, which a busy machine takes its time for
@given(sizes, tilings)
def test_the_windows_of_an_image_cover_its_grid_once(size: tuple[int, int], tiles: TiledGeometry) -> None:
    rows, columns = tiles.shape(size)
    side = Fraction(tiles.size, tiles.window.grid)
    assert (rows, columns) == (math.ceil(size[1] / side), math.ceil(size[0] / side))
    total = np.zeros((rows, columns))
    for window in tiles.windows(size):
        x1, y1, x2, y2 = window.box
        assert (x1, y1) == (math.floor(window.column * side), math.floor(window.row * side))
        assert (x2 - x1, y2 - y1) == (tiles.size, tiles.size)
        assert x1 < size[0]
        assert y1 < size[1]
        down, along = window.weights.shape
        total[window.row : window.row + down, window.column : window.column + along] += window.weights
    assert total == pytest.approx(np.ones((rows, columns)))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[TiledGeometry, tuple[int, int], list[Box], MaskMode]:
    size = draw(sizes)
    part = st.floats(-0.3, 1.1)
    boxes = [
        (
            x1 * size[0],
            y1 * size[1],
            (x1 + draw(st.floats(0.01, 1.2))) * size[0],
            (y1 + draw(st.floats(0.01, 1))) * size[1],
        )
        for x1, y1 in draw(st.lists(st.tuples(part, part), min_size=1, max_size=3))
    ]
    return draw(tilings), size, boxes, draw(st.sampled_from(["inner", "outer"]))


@settings(deadline=None)
@given(scenes(), st.integers(1, 4))
def test_the_region_is_that_of_a_mask_of_the_whole_image(
    scene: tuple[TiledGeometry, tuple[int, int], list[Box], MaskMode], factor: int
) -> None:
    """Patch by patch, also of patches that are averaged: those are patches that are so many times larger."""
    tiles, size, boxes, mode = scene
    grid = averaged(tiles, factor)
    mask = paint(size[1], size[0], [clip_box(box, size) for box in boxes], mode)
    covered, pixels = grid.coverage(boxes, mode, size)
    rows, columns = grid.shape(size)
    side = Fraction(tiles.size, tiles.window.grid) * factor
    assert covered.shape == pixels.shape == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            (top, bottom), (left, right) = (
                (math.floor(place * side), math.floor((place + 1) * side)) for place in (row, column)
            )
            patch = mask[top:bottom, left:right]
            assert (covered[row, column], pixels[row, column]) == (patch.sum(), patch.size)
            x1, y1, x2, y2 = grid.patch_area(row * columns + column, size)
            assert (x1, y1) == (left, top)
            assert (x2 - x1) * (y2 - y1) == patch.size
    assert grid.area(size) == pytest.approx((0, 0, float(columns * side), float(rows * side)))
    assert not grid.hides(boxes, mode, size)


def test_a_patch_at_the_threshold_is_not_selected() -> None:
    """A quarter of the first patch; of the last one, of which only half lies in the image, a half of that."""
    tiles = TiledGeometry(Geometry(32, 8), 32, 8)
    boxes = [(0.0, 0.0, 4.0, 4.0), (32.0, 0.0, 34.0, 8.0)]
    for threshold, expected in ((0.24, [0, 4]), (0.25, [4]), (0.49, [4]), (0.5, [])):
        selected = select_region(tiles, (36, 8), boxes, "inner", threshold)
        found = [] if isinstance(selected, SoftFailure) else np.flatnonzero(selected).tolist()
        assert found == expected


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_features_are_averaged_over_the_neighbours_that_there_are(rows: int, columns: int, factor: int) -> None:
    patches = np.random.default_rng(rows * 13 + columns).normal(size=(rows * columns, 3)).astype(np.float32)
    grid = patches.reshape(rows, columns, 3).astype(np.float64)
    expected = [
        grid[row : row + factor, column : column + factor].reshape(-1, 3).mean(axis=0)
        for row in range(0, rows, factor)
        for column in range(0, columns, factor)
    ]
    found = block_means(patches, (rows, columns), factor)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)
    sums = block_sums(grid, factor)
    assert sums.shape[:2] == (math.ceil(rows / factor), math.ceil(columns / factor))
    assert sums.sum() == pytest.approx(grid.sum())


@pytest.mark.parametrize("fine", [Geometry(64, 8), Geometry(64, 8, 96)], ids=["squash", "crop"])
def test_averaged_patches_of_one_input_are_larger_patches(fine: Geometry) -> None:
    coarse, size, boxes = Averaged(fine, 2), (150, 90), [(20.0, 10.0, 81.5, 60.0)]
    expected = Geometry(64, 16, fine.shortest_edge)
    assert coarse.shape(size) == expected.shape(size)
    assert coarse.area(size) == pytest.approx(expected.area(size))
    for index in range(16):
        assert coarse.patch_area(index, size) == expected.patch_area(index, size)
    for mode in ("inner", "outer"):
        for found, wanted in zip(coarse.coverage(boxes, mode, size), expected.coverage(boxes, mode, size), strict=True):
            assert np.array_equal(found, wanted)


def request(metric: MetricSpec, grid: PatchGrid, size: tuple[int, int], *boxes: Box) -> ScoreRequest:
    image = ImageRef("a", size)
    return ScoreRequest(metric, image, image, boxes, "inner" if boxes else None, 0.1, (0, 0, 0), "clip", grid)


def spec(*, all_source_patches: bool, most: int | None) -> MetricSpec:
    return MetricSpec("m", "clip-pipe", False, None, None, "patches", "a:b", "", all_source_patches, most_patches=most)


@pytest.mark.parametrize(
    ("most", "box", "all_source", "averaging", "selected"),
    [
        (100, None, True, 1, 100),  # 10 × 10 patches
        (99, None, True, 2, 25),
        (24, None, True, 3, 16),
        (24, None, False, 3, 16),
        (1, None, False, 10, 1),
        (24, (0.0, 0.0, 16.0, 16.0), False, 1, 4),  # the region alone counts
        (24, (0.0, 0.0, 16.0, 16.0), True, 3, 1),
        (3, (0.0, 0.0, 16.0, 16.0), False, 2, 1),
        (None, None, True, 1, 100),  # a metric of another package
    ],
)
def test_features_are_averaged_where_a_metric_takes_no_more(
    most: int | None, box: Box | None, all_source: bool, averaging: int, selected: int
) -> None:
    tiles = TiledGeometry(Geometry(32, 8), 32, 8)
    metric = spec(all_source_patches=all_source, most=most)
    planned = plan(request(metric, tiles, (80, 77), *([box] if box else [])))
    assert isinstance(planned, Plan)
    assert planned.patch_mask is not None
    assert (planned.averaging, int(planned.patch_mask.sum())) == (averaging, selected)


def test_where_the_grid_fits_nothing_is_averaged() -> None:
    assert [get_metric(name).most_patches for name in ("emd", "region_emd", "dinov3_structure_similarity")] == [
        4096,
        4096,
        None,
    ]
    tiles = TiledGeometry(Geometry(32, 8), 32, 8)
    for size, averaging in (((512, 512), 1), ((513, 512), 2), ((8, 64_000), 2)):
        planned = plan(request(get_metric("emd"), tiles, size))
        assert isinstance(planned, Plan)
        assert planned.averaging == averaging


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (
            TiledGeometry(Geometry(64, 16), 64, 16),
            "every 16 px patch in 64 px tiles); draw a larger box, raise input_size",
        ),
        (
            TiledGeometry(Geometry(64, 16), 128, 32),
            "every 32 px patch in 128 px tiles); draw a larger box, take a smaller",
        ),
        (Averaged(TILES, 3), "every 3×3 averaged 16 px patch in 64 px tiles); draw a larger box, or lower patch_mask"),
    ],
)
def test_a_box_smaller_than_a_patch_says_what_helps(grid: PatchGrid, words: str) -> None:
    found = select_region(grid, (300, 200), [(2.0, 2.0, 4.0, 4.0)], "inner", 0.1)
    assert isinstance(found, SoftFailure)
    assert found.reason is Reason.NO_PATCH_SELECTED
    assert words in found.detail


def test_the_region_of_a_very_large_image_takes_little_memory() -> None:
    import tracemalloc

    tiles = TiledGeometry(Geometry(512, 16), 512, 64)
    tracemalloc.start()
    selected = select_region(tiles, (10_000, 10_000), [(1000.0, 1000.0, 9000.0, 5000.0)], "outer", 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not isinstance(selected, SoftFailure)
    assert len(selected) == 625**2
    assert peak < 40e6  # the image's own mask has 100 MB
