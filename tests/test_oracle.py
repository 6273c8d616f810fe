"""The oracle against values worked out by hand; the tiny checkpoints through their libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from segment_anything import SamPredictor

import checkpoints
import oracle

BOXES = [(20, 30, 120, 150), (100, 10, 280, 90), (150, 90, 220, 190)]


def picture(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Blurred colours."""
    noise = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make_clip(tmp_path_factory.mktemp("clip"), image_size=64, patch_size=16)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make_dinov3(tmp_path_factory.mktemp("dino"), image_size=64, patch_size=16)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> SamPredictor:
    file = checkpoints.make_sam_pth(tmp_path_factory.mktemp("sam") / "sam.pth")
    return SamPredictor(checkpoints.load_sam_pth(file))


# --- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([0, 1], [0, 3], 2.0),  # 0-0 and 1-3: (0 + 4) / 2
        ([0], [1, 3], 5.0),  # half of the mass each: (1 + 9) / 2
        ([0, 1, 2], [0, 2], 1 / 3),  # the middle third is split: 2 x 1/6 x 1
        ([5, 7], [5, 7], 0.0),
    ],
)
def test_emd_by_hand(left: list[float], right: list[float], expected: float) -> None:
    got = oracle.emd(np.array(left)[:, None], np.array(right)[:, None])
    assert got == pytest.approx(expected, abs=1e-12)


def test_emd_of_a_permutation_is_zero_and_of_nothing_is_none() -> None:
    points = np.random.default_rng(0).normal(size=(12, 5))
    assert oracle.emd(points, points[::-1]) == pytest.approx(0, abs=1e-12)
    assert oracle.emd(points, points[:0]) is None


@pytest.mark.parametrize("seed", range(3))
def test_emd_of_equal_counts_is_an_assignment(seed: int) -> None:
    dice = np.random.default_rng(seed)
    a, b = dice.normal(size=(20, 6)), dice.normal(size=(20, 6))
    cost = cdist(a, b, "sqeuclidean")
    expected = cost[linear_sum_assignment(cost)].mean()
    assert oracle.emd(a, b) == pytest.approx(expected, rel=1e-9)


def test_structure_similarity_by_hand() -> None:
    ref, edited = np.array([[2.0, 0], [0, 3]]), np.array([[1.0, 0], [5, 0]])
    assert oracle.structure_similarity(ref, edited) == pytest.approx(1 / 51)  # half of four differ
    assert oracle.structure_similarity(ref, 7 * ref) == pytest.approx(1)
    assert oracle.structure_similarity(ref[:0], edited[:0]) == 0.0


def test_cls_similarity_by_hand() -> None:
    assert oracle.cls_similarity(np.array([3.0, 4]), np.array([4.0, 3])) == pytest.approx(24 / 25)


# --- regions -------------------------------------------------------------------------------------


def test_resized_mask_truncates_and_clips() -> None:
    # 100 -> 64: 10 * .64 = 6.4, 25 * .64 = 16.0, 33 * .64 = 21.12
    mask = oracle.resized_mask((100, 100), [(-5, 10, 25, 33)], "inner", 64)
    assert np.argwhere(mask).min(axis=0).tolist() == [6, 0]
    assert np.argwhere(mask).max(axis=0).tolist() == [20, 15]
    assert mask.sum() == 16 * 15
    outer = oracle.resized_mask((100, 100), [(-5, 10, 25, 33)], "outer", 64)
    assert np.array_equal(outer, 1 - mask)


def test_a_patch_needs_more_than_the_threshold() -> None:
    mask = np.zeros((20, 20))
    mask[0, :10] = 1  # 10 of 100 pixels: not more than 0.1
    mask[0, 10:] = mask[1, 10] = 1  # 11 of 100 pixels
    assert oracle.patch_mask(mask, 10).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("size", "resized", "offset"),
    [
        ((448, 224), (448, 224), (112, 0)),
        ((300, 200), (336, 224), (56, 0)),
        ((333, 200), (372, 224), (74, 0)),  # 372.96 is truncated
        ((225, 224), (225, 224), (0, 0)),  # so is half a pixel
        ((224, 227), (224, 227), (0, 1)),
        ((100, 301), (224, 674), (0, 225)),
        ((31, 30), (231, 224), (3, 0)),
    ],
)
def test_crop_geometry(size: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int]) -> None:
    assert oracle.crop_geometry(size, 224, 224) == (resized, offset)
    whole = hf.CLIPImageProcessor(do_center_crop=False)(Image.new("RGB", size), return_tensors="pt")
    assert tuple(whole["pixel_values"].shape[:1:-1]) == resized


@pytest.mark.parametrize("width", range(64, 72))
def test_the_crop_starts_where_the_processor_starts_it(width: int) -> None:
    """Without a resize every pixel of the crop tells the column that it comes from."""
    columns = np.tile(np.arange(width, dtype=np.uint8)[None, :, None], (64, 1, 3))
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64)
    pixels = processor(Image.fromarray(columns), do_rescale=False, do_normalize=False, return_tensors="pt")[
        "pixel_values"
    ]
    assert int(pixels[0, 0, 0, 0]) == oracle.crop_geometry((width, 64), 64, 64).offset[0]


@pytest.mark.parametrize("size", [(128, 192), (192, 128), (128, 128), (400, 128), (128, 130)])
def test_exactly_halved_boxes_select_exactly_the_painted_patches(size: tuple[int, int]) -> None:
    """Even coordinates at scale 1/2 are never truncated, so picture and mask must agree."""
    dice = np.random.default_rng(0)
    for _ in range(10):
        x, y = (np.sort(2 * dice.integers(0, edge // 2, 2)) for edge in size)
        box = (int(x[0]), int(y[0]), int(x[1]) + 2, int(y[1]) + 2)
        for mode in ("inner", "outer"):
            got = oracle.expected_mask_nonsquare(size, [box], mode, 64, 16)
            painted = oracle.painted_fractions(size, [box], mode, 64, 16)
            clear = np.abs(painted - 0.1) > 0.01
            assert np.array_equal(got[clear], (painted > 0.1)[clear])


@st.composite
def boxed_images(draw: st.DrawFn) -> tuple[tuple[int, int], list[tuple[int, ...]]]:
    size = (draw(st.integers(24, 400)), draw(st.integers(24, 400)))
    boxes = []
    for _ in range(draw(st.integers(0, 3))):
        (x1, x2), (y1, y2) = (
            sorted(draw(st.lists(st.integers(-20, edge + 20), min_size=2, max_size=2, unique=True))) for edge in size
        )
        boxes.append((x1, y1, x2, y2))
    return size, boxes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(boxed_images(), st.sampled_from(["inner", "outer"]), st.sampled_from([64, 73]))
def test_arithmetic_agrees_with_the_picture(
    case: tuple[tuple[int, int], list[tuple[int, ...]]], mode: str, shortest: int
) -> None:
    size, boxes = case
    oracle.expected_mask_nonsquare(size, boxes, mode, 64, 16, shortest=shortest)


@pytest.mark.parametrize("shift", [-3, 3])
def test_the_picture_catches_a_wrong_offset(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = oracle.crop_geometry

    def wrong(size: tuple[int, int], shortest: int, crop: int) -> oracle.CropGeometry:
        resized, (left, top) = right(size, shortest, crop)
        return oracle.CropGeometry(resized, (left + shift, top))

    monkeypatch.setattr(oracle, "crop_geometry", wrong)
    with pytest.raises(AssertionError, match="disagree"):
        oracle.expected_mask_nonsquare((300, 200), [(100, 50, 180, 150)], "inner", 64, 16)


def test_a_square_image_has_the_same_mask_either_way() -> None:
    box = (13, 27, 88, 61)
    squashed = oracle.resized_mask((97, 97), [box], "inner", 64)
    assert np.array_equal(squashed, oracle.cropped_mask((97, 97), [box], "inner", 64))


# --- objects -------------------------------------------------------------------------------------


def test_pad_centres_the_crop() -> None:
    crop = np.zeros((1, 4, 3), dtype=np.uint8)
    square = oracle.pad_and_resize(crop, 4, (9, 8, 7))
    assert (square[1] == 0).all()  # three rows are left: one above, two below
    assert (square[[0, 2, 3]] == (9, 8, 7)).all()


def test_shrinking_averages() -> None:
    crop = np.zeros((8, 4, 3), dtype=np.uint8)
    small = oracle.pad_and_resize(crop, 2, (200, 200, 200))
    assert (small == 100).all()  # each half of the square is half crop, half background


def test_object_is_the_masked_crop(sam: SamPredictor) -> None:
    image = np.array(picture(0))
    box = BOXES[1]
    crop = oracle.sam_object(sam, image, box, (1, 2, 3))
    mask = oracle.best_mask(sam, image, box)
    x1, y1, x2, y2 = box
    assert crop is not None
    assert crop.shape == (80, 180, 3)
    inside = mask[y1:y2, x1:x2]
    assert np.array_equal(crop[inside], image[y1:y2, x1:x2][inside])
    assert (crop[~inside] == (1, 2, 3)).all()
    assert 0 < inside.mean() < 1


def test_object_of_a_box_outside_is_none(sam: SamPredictor) -> None:
    assert oracle.sam_object(sam, np.array(picture(0)), (300, 0, 400, 50)) is None


def test_boxes_are_clipped(sam: SamPredictor) -> None:
    image = np.array(picture(0))
    over = oracle.sam_object(sam, image, (-20, -9, 150, 120))
    assert over is not None
    assert np.array_equal(over, oracle.sam_object(sam, image, (0, 0, 150, 120)))


# --- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_clip_loads_as_a_vision_model(full: bool, tmp_path: Path) -> None:
    folder = checkpoints.make_clip(tmp_path, full=full)
    model, report = hf.CLIPVisionModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert bool(report["unexpected_keys"]) == full
    assert (model.config.image_size, model.config.patch_size) == (224, 32)
    assert oracle.backbone_sizes(folder) == (224, 32)
    found = oracle.clip_tokens(folder, picture(0))
    assert found.cls.shape == (64,)
    assert found.patches.shape == (49, 64)


def test_clip_full_and_plain_are_the_same_model(tmp_path: Path) -> None:
    plain = checkpoints.make_clip(tmp_path / "plain", image_size=64)
    full = checkpoints.make_clip(tmp_path / "full", image_size=64, full=True)
    assert hf.AutoConfig.from_pretrained(full).model_type == "clip"
    a, b = (oracle.clip_tokens(folder, picture(1)) for folder in (plain, full))
    assert np.array_equal(a.patches, b.patches)


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov3_drops_the_registers(registers: int, tmp_path: Path) -> None:
    folder = checkpoints.make_dinov3(tmp_path, image_size=64, registers=registers)
    found = oracle.dinov3_tokens(folder, picture(0))
    assert found.patches.shape == (16, 64)
    assert oracle.backbone_sizes(folder) == (64, 16)


@pytest.mark.parametrize("registers", [0, 2])
def test_dinov2_loads(registers: int, tmp_path: Path) -> None:
    folder = checkpoints.make_dinov2(tmp_path, image_size=56, registers=registers)
    assert oracle.tokens(folder, picture(0)).patches.shape == (16, 64)
    assert oracle.backbone_sizes(folder) == (56, 14)
    inside = oracle.selection(folder, (300, 200), [(100, 50, 200, 150)], "inner")
    assert 0 < inside.sum() < 16


def test_features_differ_between_images_and_seeds(clip: Path, dino: Path, tmp_path: Path) -> None:
    for folder in (clip, dino):
        a, b = (oracle.tokens(folder, picture(seed)).cls for seed in (0, 1))
        assert oracle.cls_similarity(a, b) < 0.98
    other = checkpoints.make_clip(tmp_path, image_size=64, patch_size=16, seed=1)
    a, b = (oracle.tokens(folder, picture(0)).cls for folder in (clip, other))
    assert oracle.cls_similarity(a, b) < 0.9


def test_a_factory_repeats_itself_and_leaves_the_random_state(clip: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again = checkpoints.make_clip(tmp_path, image_size=64, patch_size=16)
    assert torch.equal(torch.rand(1), expected)
    a, b = (oracle.tokens(folder, picture(0)).cls for folder in (clip, again))
    assert np.array_equal(a, b)


def _load(kind: str, path: Path, seed: int = 0, empty: bool = False) -> SamPredictor | oracle.HfSam:
    if kind == "pth":
        file = checkpoints.make_sam_pth(path / "sam.pth", seed=seed, empty=empty)
        return SamPredictor(checkpoints.load_sam_pth(file))
    if kind == "sam":
        folder = checkpoints.make_sam_hf(path, seed=seed, empty=empty)
        model = hf.SamModel.from_pretrained(folder).eval()
    else:
        folder = checkpoints.make_sam2_hf(path, seed=seed, empty=empty)
        model = hf.Sam2Model.from_pretrained(folder).eval()
    return oracle.HfSam(model, hf.AutoProcessor.from_pretrained(folder))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["pth", "sam", "sam2"])
def test_sam_masks_are_usually_neither_empty_nor_full(kind: str, seed: int, tmp_path: Path) -> None:
    sam = _load(kind, tmp_path, seed)
    covered = []
    for number in range(4):
        image = np.array(picture(number))
        for x1, y1, x2, y2 in BOXES:
            mask = oracle.best_mask(sam, image, (x1, y1, x2, y2))
            assert mask.shape == (200, 300)
            assert mask.dtype == bool
            covered.append(mask[y1:y2, x1:x2].mean())
    usual = [0.005 < share < 0.995 for share in covered]
    assert np.mean(usual) >= 0.9, np.round(covered, 2)
    assert np.std(covered) > 0.05


@pytest.mark.parametrize("kind", ["pth", "sam", "sam2"])
def test_sam_can_be_empty(kind: str, tmp_path: Path) -> None:
    sam = _load(kind, tmp_path, empty=True)
    for number in range(2):
        image = np.array(picture(number))
        for box in BOXES:
            assert not oracle.best_mask(sam, image, box).any()
            assert oracle.sam_object(sam, image, box) is None


def test_sam_pth_in_half_precision(tmp_path: Path) -> None:
    file = checkpoints.make_sam_pth(tmp_path / "half.pth", dtype=torch.float16)
    state = torch.load(file, weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    sam = checkpoints.load_sam_pth(file)
    assert oracle.sam_object(sam, np.array(picture(0)), BOXES[0]) is not None


# --- the metrics put together --------------------------------------------------------------------


def test_identical_images(clip: Path, dino: Path, sam: SamPredictor) -> None:
    image = picture(0)
    pair = [BOXES[0], BOXES[0]]
    assert oracle.score("emd", clip, None, image, image) == pytest.approx(0, abs=1e-9)
    name = "dinov3_structure_similarity"
    assert oracle.score(name, dino, None, image, image, BOXES, "inner") == pytest.approx(1)
    assert oracle.score("sam_clip_cls_sim", clip, sam, image, image, pair) == pytest.approx(1)
    assert oracle.score("sam_dino_cls_sim", dino, sam, image, image, pair) == pytest.approx(1)


def test_different_images(clip: Path, dino: Path, sam: SamPredictor) -> None:
    ref, edited = picture(0), picture(1, (150, 100))
    outer = oracle.score("emd", clip, None, ref, edited, BOXES[:1], "outer")
    inner = oracle.score("emd", clip, None, ref, edited, BOXES[:1], "inner")
    assert outer is not None
    assert inner is not None
    assert 0 < outer < inner
    name = "dinov3_structure_similarity"
    structure = oracle.score(name, dino, None, ref, edited, BOXES[:1], "inner")
    assert structure is not None
    assert 0 < structure < 1
    # Coordinates of the edited image are in its own pixels: half of the source's.
    pairs = [BOXES[0], BOXES[1], (10, 15, 60, 75), (50, 5, 140, 45)]
    both = oracle.score("sam_clip_cls_sim", clip, sam, ref, edited, pairs)
    each = [oracle.score("sam_clip_cls_sim", clip, sam, ref, edited, pairs[i::2]) for i in (0, 1)]
    assert both == pytest.approx(np.mean(each))


def test_soft_failures(clip: Path, dino: Path, sam: SamPredictor) -> None:
    image = picture(0)
    whole = [(0, 0, 300, 200)]
    assert oracle.score("emd", clip, None, image, image, whole, "outer") is None
    assert oracle.score("emd", clip, None, image, image, [(0, 0, 5, 200)], "inner") is None
    name = "dinov3_structure_similarity"
    assert oracle.score(name, dino, None, image, image, whole, "outer") == 0.0
    for coords in (None, [], BOXES):
        assert oracle.score("sam_clip_cls_sim", clip, sam, image, image, coords) is None
