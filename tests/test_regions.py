"""The geometry: boxes and pixels take the same way, and every way in which a region can be empty."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_editeval import CLIPMixin, DINOv3Mixin, MaskProcessor
from pytest_editeval.boxes import check_boxes, split_pairs
from pytest_editeval.regions import Geometry, select_patches, select_region
from pytest_editeval.registry import Box
from pytest_editeval.results import Reason, SoftFailure
from pytest_editeval.vision.backbones import Backbone

SQUASH = Geometry(64, 16)
CROP = Geometry(64, 16, 64)
RESIZE_AND_CROP = Geometry(56, 14, 64)
GEOMETRIES = [SQUASH, CROP, RESIZE_AND_CROP]

sides = st.integers(8, 300)
sizes = st.tuples(sides, sides)
shares = st.floats(-0.5, 1.5)


@st.composite
def boxes_on(draw: st.DrawFn, size: tuple[int, int]) -> Box:
    """A box that may stick out of the image on every side."""
    x1, y1 = draw(shares) * size[0], draw(shares) * size[1]
    return x1, y1, x1 + draw(st.floats(0.01, 1.5)) * size[0], y1 + draw(st.floats(0.01, 1.5)) * size[1]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Geometry, tuple[int, int], list[Box]]:
    size = draw(sizes)
    return draw(st.sampled_from(GEOMETRIES)), size, draw(st.lists(boxes_on(size), min_size=1, max_size=3))


@given(scenes())
def test_inner_and_outer_complement_each_other(scene: tuple[Geometry, tuple[int, int], list[Box]]) -> None:
    geometry, size, boxes = scene
    inner, outer = (geometry.mask(boxes, mode, size) for mode in ("inner", "outer"))
    assert inner.shape == (geometry.input_size, geometry.input_size)
    assert inner.dtype == np.uint8
    assert (inner + outer == 1).all()


@given(scenes())
def test_a_mask_is_the_union_of_its_boxes_clipped_to_the_image(
    scene: tuple[Geometry, tuple[int, int], list[Box]],
) -> None:
    geometry, size, boxes = scene
    clipped = [(max(x1, 0), max(y1, 0), min(x2, size[0]), min(y2, size[1])) for x1, y1, x2, y2 in boxes]
    visible = [box for box in clipped if box[0] < box[2] and box[1] < box[3]]
    union = np.zeros((geometry.input_size, geometry.input_size), np.uint8)
    for box in visible:
        union |= geometry.mask([box], "inner", size)
    assert (geometry.mask(boxes, "inner", size) == union).all()


@given(sizes, st.sampled_from(GEOMETRIES))
def test_the_whole_image_covers_the_whole_input(size: tuple[int, int], geometry: Geometry) -> None:
    assert geometry.mask([(0, 0, *size)], "inner", size).all()
    assert geometry.mask([(-1e308, -5, 1e308, 1e9)], "inner", size).all()


@pytest.fixture(scope="module", params=["clip", "clip squashed", "dinov3"])
def backbone(models: Path, request: pytest.FixtureRequest) -> Backbone:
    if request.param == "dinov3":
        return DINOv3Mixin(model_path=str(models / "dinov3"), device="cpu")
    fit = "squash" if "squashed" in request.param else "crop"
    return CLIPMixin(model_path=str(models / "clip"), device="cpu", fit=fit)


def disagreement(backbone: Backbone, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels of the input where a box painted white and the box's mask differ, away from the edge's blur."""
    x1, y1, x2, y2 = box
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[y1:y2, x1:x2] = 255
    seen = backbone._pixels([Image.fromarray(canvas)])[0, 0].numpy()
    black, white = (backbone._pixels([Image.new("RGB", size, (v, v, v))])[0, 0, 0, 0].item() for v in (0, 255))
    mask = backbone.geometry.mask([box], "inner", size).astype(bool)
    near = [np.zeros(len(mask), bool), np.zeros(len(mask), bool)]
    for axis in (0, 1):
        scale = backbone.geometry.resized(size)[axis] / size[axis]
        for edge in (box[axis] * scale, box[axis + 2] * scale):
            distance = np.abs(np.arange(len(mask)) + backbone.geometry.offset(size)[axis] - edge)
            near[axis] |= distance <= max(scale, 1) + 1
    return ((seen > (black + white) / 2) != mask) & ~near[0][None, :] & ~near[1][:, None]


@settings(max_examples=25, deadline=None)
@given(size=st.tuples(st.integers(60, 300), st.integers(60, 300)), corners=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_go_where_the_pixels_go(
    backbone: Backbone, size: tuple[int, int], corners: tuple[float, float, float, float]
) -> None:
    xs, ys = sorted(int(c * size[0]) for c in corners[:2]), sorted(int(c * size[1]) for c in corners[2:])
    assert not disagreement(backbone, size, (xs[0], ys[0], xs[1] + 1, ys[1] + 1)).any()


def test_the_picture_notices_a_wrong_geometry(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's mistake: the pixels are cropped, the mask is squashed."""
    backbone = CLIPMixin(model_path=str(models / "clip"), device="cpu")
    squashed = backbone.geometry.squashed()
    mask = Geometry.mask
    monkeypatch.setattr(Geometry, "mask", lambda _, *args: mask(squashed, *args))
    assert disagreement(backbone, (200, 100), (20, 20, 80, 80)).any()


@pytest.mark.parametrize(
    ("geometry", "size", "box", "expected"),
    [
        (SQUASH, (100, 50), (10, 10, 33, 33), (6, 12, 21, 42)),  # 6.4 12.8 21.12 42.24
        (SQUASH, (64, 64), (0.9, 1.9, 2.99, 63.99), (0, 1, 2, 63)),
        (SQUASH, (64, 64), (-0.9, -7, 100, 64.5), (0, 0, 64, 64)),
        (CROP, (100, 50), (10, 10, 33, 33), (12, 12, 42, 42)),  # scale 64 / 50, before the crop
        (CROP, (50, 101), (0, 0, 50, 101), (0, 0, 64, 129)),  # 129.28 is truncated
    ],
)
def test_coordinates_are_truncated(
    geometry: Geometry, size: tuple[int, int], box: Box, expected: tuple[int, int, int, int]
) -> None:
    assert geometry.map_boxes([box], size) == [expected]


@pytest.mark.parametrize(("size", "offset"), [((101, 50), (32, 0)), ((50, 100), (0, 32)), ((50, 50), (0, 0))])
def test_the_crop_is_in_the_centre(size: tuple[int, int], offset: tuple[int, int]) -> None:
    assert CROP.offset(size) == offset
    assert SQUASH.offset(size) == (0, 0)


def test_a_square_image_has_the_same_mask_cropped_or_squashed() -> None:
    for box in [(3, 4, 50, 61), (0.5, 10.2, 77, 99)]:
        assert (CROP.mask([box], "inner", (90, 90)) == CROP.squashed().mask([box], "inner", (90, 90))).all()


@pytest.mark.parametrize("covered", range(5))
def test_a_patch_at_the_threshold_is_not_selected(covered: int) -> None:
    mask = np.zeros((2, 2), np.uint8)
    mask.flat[:covered] = 1
    for quarter in range(5):
        assert select_patches(mask, 2, quarter / 4).item() is (covered > quarter)


def test_patches_are_numbered_row_by_row() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[2:, 4:] = 1
    assert np.flatnonzero(select_patches(mask, 2, 0.5)) == [5]


@pytest.mark.parametrize("shape", [(30, 32), (32, 30)])
def test_a_grid_that_does_not_divide_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no whole number of 16 px patches"):
        select_patches(np.zeros(shape, np.uint8), 16, 0.1)


@given(sizes, st.sampled_from(GEOMETRIES))
def test_patch_areas_cover_what_the_model_sees(size: tuple[int, int], geometry: Geometry) -> None:
    seen = np.zeros((size[1], size[0]), bool)
    for index in range(geometry.grid**2):
        x1, y1, x2, y2 = geometry.patch_area(index, size)
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
        seen[y1:y2, x1:x2] = True
    if geometry.resized(size) == (geometry.input_size, geometry.input_size):
        assert seen.all()
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    assert seen[np.ix_(rows, columns)].all()
    assert all(b - a == 1 for part in (rows, columns) for a, b in pairwise(part))


@pytest.mark.parametrize("index", [0, 5, 15])
def test_a_patch_area_selects_its_patch(index: int) -> None:
    for geometry, size in ((SQUASH, (640, 320)), (CROP, (640, 320)), (CROP, (320, 640))):
        selected = select_region(geometry, size, [geometry.patch_area(index, size)], "inner", 0.9)
        assert np.flatnonzero(selected).tolist() == [index]


# --- soft failures ---------------------------------------------------------------------------------------------------

WIDE, TALL = (300, 100), (100, 300)
LEFT, TOP = (0, 0, 90, 100), (0, 0, 100, 90)
MIDDLE_X, MIDDLE_Y = (100, 0, 200, 100), (0, 100, 100, 200)
TINY = (110, 10, 112, 12)


@pytest.mark.parametrize(
    ("size", "boxes", "mode", "reason"),
    [
        (WIDE, [LEFT], "inner", Reason.REGION_OUTSIDE_CROP),
        (TALL, [TOP], "inner", Reason.REGION_OUTSIDE_CROP),
        (WIDE, [MIDDLE_X], "outer", Reason.REGION_OUTSIDE_CROP),
        (TALL, [MIDDLE_Y], "outer", Reason.REGION_OUTSIDE_CROP),
        (WIDE, [TINY], "inner", Reason.NO_PATCH_SELECTED),
        (TALL, [(10, 110, 12, 112)], "inner", Reason.NO_PATCH_SELECTED),
        (WIDE, [(0, 0, 300, 100)], "outer", Reason.NO_PATCH_SELECTED),
        (TALL, [(-9, -9, 100, 400)], "outer", Reason.NO_PATCH_SELECTED),
        ((100, 100), [(0, 0, 100, 99)], "outer", Reason.NO_PATCH_SELECTED),
        ((100, 100), [(5, 5, 5.5, 5.5)], "inner", Reason.NO_PATCH_SELECTED),
        (WIDE, [(300, 0, 310, 100)], "inner", Reason.BOX_OUTSIDE_IMAGE),
        (WIDE, [(-10, 0, 0, 100)], "outer", Reason.BOX_OUTSIDE_IMAGE),
        (WIDE, [MIDDLE_X, (0, 100, 300, 120)], "inner", Reason.BOX_OUTSIDE_IMAGE),
        (WIDE, [], "inner", Reason.NO_BOXES),
        (WIDE, [], "outer", Reason.NO_BOXES),
    ],
)
def test_why_no_patch_is_selected(size: tuple[int, int], boxes: list[Box], mode: str, reason: Reason) -> None:
    failure = select_region(CROP, size, boxes, mode, 0.1)  # type: ignore[arg-type]
    assert isinstance(failure, SoftFailure)
    assert failure.reason is reason
    assert "\n" not in str(failure)
    assert ("fit: squash" in failure.detail) is (reason is Reason.REGION_OUTSIDE_CROP)


@pytest.mark.parametrize(("size", "box"), [(WIDE, LEFT), (TALL, TOP)])
def test_the_cure_for_a_region_outside_the_crop_works(size: tuple[int, int], box: Box) -> None:
    assert select_region(CROP.squashed(), size, [box], "inner", 0.1).any()  # type: ignore[union-attr]


def test_without_a_mode_every_patch_is_selected() -> None:
    assert select_region(CROP, WIDE, [], None, 0.1).all()  # type: ignore[union-attr]
    assert select_region(CROP, WIDE, [(999, 999, 1000, 1000)], None, 0.1).sum() == 16  # type: ignore[union-attr]


A, B, C, D = (0, 0, 5, 5), (1, 1, 9, 9), (2, 2, 8, 8), (3, 3, 7, 7)


def test_pairs_are_the_source_half_then_the_edited_half() -> None:
    assert split_pairs([A, B, C, D], (10, 10), (10, 10)) == [(A, C), (B, D)]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([], Reason.NO_BOXES),
        ([A], Reason.ODD_BOX_COUNT),
        ([A, B, C], Reason.ODD_BOX_COUNT),
        ([(30, 0, 40, 5), B], Reason.BOX_OUTSIDE_IMAGE),
        ([A, (11, 11, 15, 15)], Reason.BOX_OUTSIDE_IMAGE),
        ([(15, 15, 18, 18), A], None),  # the source is larger than the edited image
        ([A, (15, 15, 18, 18)], Reason.BOX_OUTSIDE_IMAGE),
    ],
)
def test_why_there_are_no_pairs(boxes: list[Box], reason: Reason | None) -> None:
    pairs = split_pairs(boxes, (20, 20), (10, 10))
    assert (pairs.reason if isinstance(pairs, SoftFailure) else None) is reason


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ([(1, 2, 3)], "is no box"),
        ((1, 2, 3, 4), "is no box"),
        ([(None, 2, 3, 4)], "is no box"),
        ([("a", 2, 3, 4)], "is no box"),
        ([(0, 0, 10**400, 4)], "is no box"),
        ([(0, 0, math.nan, 4)], "not finite"),
        ([(0, 0, math.inf, 4)], "not finite"),
        ([(5, 0, 4, 4)], "inverted or empty"),
        ([(0, 4, 5, 4)], "inverted or empty"),
    ],
)
def test_what_is_no_box_is_refused(coords: list[Box], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_boxes(coords)


def test_boxes_may_be_an_array() -> None:
    expected = ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))
    assert check_boxes(np.array(expected)) == check_boxes(torch.tensor(expected)) == expected
    assert check_boxes(None) == check_boxes([]) == check_boxes(np.zeros((0, 4))) == ()


# --- the reference's names -------------------------------------------------------------------------------------------


def test_mask_processor_formats() -> None:
    box = [(1, 0, 3, 2)]
    flat = MaskProcessor().make_mask(3, 4, box, mode="inner")
    assert flat.dtype == np.uint8
    assert flat.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    stacked = MaskProcessor().make_mask(3, 4, box, mode="inner", return_format="3d_numpy")
    assert stacked.shape == (3, 3, 4)
    assert all((channel == flat).all() for channel in stacked)
    tensor = MaskProcessor().make_mask(3, 4, box, mode="inner", return_format="4d_tensor")
    assert tensor.shape == (1, 3, 3, 4)
    assert tensor.dtype == torch.bool
    assert (tensor[0].numpy() == stacked.astype(bool)).all()
    assert MaskProcessor().make_mask(3, 4, box) is None
    with pytest.raises(ValueError, match="2d_numpy, 3d_numpy, 4d_tensor"):
        MaskProcessor().make_mask(3, 4, box, mode="inner", return_format="5d")
    with pytest.raises(ValueError, match="inner, outer"):
        MaskProcessor().make_mask(3, 4, box, mode="edit_area")  # type: ignore[arg-type]


def test_mask_processor_scales_each_axis_and_cuts_out_by_default() -> None:
    mask = MaskProcessor().make_resized_mask(10, 20, [(5, 5, 15, 10), (-3, -3, 1, 1)], target_h=4, target_w=4)
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1]]


def test_mask_processor_patches() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = mask[2:, 2:] = 1
    patches = MaskProcessor().create_patch_mask_from_mask_2d(mask, 2, 0.25)
    assert patches.tolist() == [[0, 0], [0, 1]]
    assert MaskProcessor().create_patch_mask_from_mask_2d(mask, 2).tolist() == [[1, 0], [0, 1]]


def test_a_sliver_that_the_crop_leaves_names_squash_too() -> None:
    width, height = WIDE
    edge = (width - height) / 2  # the crop of a wide image starts here
    failure = select_region(CROP, WIDE, [(0, 0, edge + 2, height)], "inner", 0.1)
    assert isinstance(failure, SoftFailure)
    assert failure.reason is Reason.NO_PATCH_SELECTED
    assert "fit: squash" in failure.detail
