"""The public Python surface: names, defaults, features, soft failures, refusals."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import oracle
from conftest import picture
from pytest_editeval import CLIPMixin, CLIPPipe, DINOv3Mixin, DINOv3Pipe
from pytest_editeval.errors import CheckpointError, ImageError, UnknownMetricError
from pytest_editeval.results import Reason

SOURCE, EDITED = picture(1), picture(2)
BOX = (10, 12, 60, 70)
Pipe = CLIPPipe | DINOv3Pipe


@pytest.fixture(scope="module")
def clip(models: Path) -> CLIPPipe:
    return CLIPPipe(model_path=str(models / "clip"), device="cpu", sam={"model_path": str(models / "sam.pth")})


@pytest.fixture(scope="module")
def dinov3(models: Path) -> DINOv3Pipe:
    return DINOv3Pipe(model_path=str(models / "dinov3"), device="cpu", sam={"model_path": str(models / "sam.pth")})


@pytest.fixture(params=["clip", "dinov3"])
def pipe(request: pytest.FixtureRequest) -> Pipe:
    found: Pipe = request.getfixturevalue(request.param)
    return found


# --- names and defaults ----------------------------------------------------------------------------------------------


def test_documented_names_and_defaults(clip: CLIPPipe, dinov3: DINOv3Pipe) -> None:
    assert (CLIPPipe.pipe_name, DINOv3Pipe.pipe_name) == ("clip-pipe", "dino-v3-pipe")
    assert CLIPMixin.default_path == "openai/clip-vit-base-patch32"
    assert (clip.img_input_size, clip.patch_size) == (224, 32)
    assert (dinov3.input_image_size, dinov3.patch_size) == (224, 16)
    signature = inspect.signature(CLIPPipe.__call__).parameters
    assert list(signature)[1:] == [
        "ref_image",
        "edited_image",
        "coords",
        "mask_mode",
        "metric",
        "patch_mask_threshold",
        "bg_color",
    ]
    assert signature["patch_mask_threshold"].default == 0.1
    assert signature["bg_color"].default == (255, 255, 255)
    assert clip(SOURCE, EDITED) == clip(SOURCE, EDITED, None, None, "emd", 0.1, (255, 255, 255))
    assert dinov3(SOURCE, EDITED) == dinov3(SOURCE, EDITED, metric="dinov3_structure_similarity")


def test_the_mask_methods_are_the_pipes_own(pipe: Pipe) -> None:
    mask = pipe.make_resized_mask(96, 96, [BOX], mode="inner", target_h=224, target_w=224)
    selected = pipe.create_patch_mask_from_mask_2d(mask, pipe.patch_size).astype(bool)
    assert np.array_equal(selected.ravel(), oracle.selection(pipe.model_path, (96, 96), [BOX], "inner"))


def test_a_path_an_image_and_an_array_are_the_same(clip: CLIPPipe, tmp_path: Path) -> None:
    SOURCE.save(tmp_path / "source.png")
    scores = {
        clip(source, EDITED, [BOX], "outer")
        for source in (SOURCE, np.asarray(SOURCE), tmp_path / "source.png", str(tmp_path / "source.png"))
    }
    assert len(scores) == 1


# --- features --------------------------------------------------------------------------------------------------------


def test_features_are_rows_of_the_last_hidden_state(pipe: Pipe) -> None:
    tokens = oracle.tokens(pipe.model_path, SOURCE)
    features, cls = pipe.get_features(SOURCE), pipe.get_cls_feature(SOURCE)
    assert isinstance(features, torch.Tensor)
    np.testing.assert_allclose(features.numpy(), tokens.patches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cls.numpy(), tokens.cls, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 5), (3, 1), (6, 6)])
def test_patches_are_in_row_major_order(pipe: Pipe, row: int, column: int) -> None:
    """Only one patch of the input changes, and its own row changes most."""
    side, grid = pipe.patch_size, 224 // pipe.patch_size
    plain = np.asarray(picture(3, 224, 224)).copy()
    marked = plain.copy()
    marked[row * side : (row + 1) * side, column * side : (column + 1) * side] ^= 0xFF
    left, right = (pipe.get_features(Image.fromarray(pixels)) for pixels in (plain, marked))
    assert isinstance(left, torch.Tensor)
    assert isinstance(right, torch.Tensor)
    assert int((left - right).norm(dim=1).argmax()) == row * grid + column


def test_a_mask_selects_rows(pipe: Pipe) -> None:
    every = pipe.get_features(SOURCE)
    assert isinstance(every, torch.Tensor)
    mask = np.zeros(len(every), bool)
    mask[[1, 4, 9]] = True
    for form in (mask, torch.from_numpy(mask), mask.reshape(-1, 7), mask.astype(np.uint8)):
        assert torch.equal(pipe.get_features(SOURCE, form), every[[1, 4, 9]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mask of 3 patches"):
        pipe.get_features(SOURCE, mask[:3])


def test_a_list_gives_a_list(pipe: Pipe) -> None:
    features, cls = pipe.get_features([SOURCE, EDITED]), pipe.get_cls_feature([SOURCE, EDITED])
    assert isinstance(features, list)
    for index, image in enumerate((SOURCE, EDITED)):
        torch.testing.assert_close(features[index], pipe.get_features(image), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(cls[index], pipe.get_cls_feature(image), rtol=1e-4, atol=1e-5)
    assert pipe.get_features([]) == []


@pytest.mark.parametrize("size", [1, 2, 5])
def test_features_do_not_depend_on_the_batch(pipe: Pipe, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(seed) for seed in range(5)]
    alone = [pipe.encode([image])[0] for image in images]
    monkeypatch.setattr(pipe.batch, "size", size)
    for left, right in zip(pipe.encode(images), alone, strict=True):
        assert np.linalg.norm(left.patches - right.patches) <= 1e-4 * np.linalg.norm(right.patches)
        assert np.linalg.norm(left.cls - right.cls) <= 1e-4 * np.linalg.norm(right.cls)


# --- the public methods ----------------------------------------------------------------------------------------------


def test_calc_methods_agree_with_the_call(clip: CLIPPipe, dinov3: DINOv3Pipe) -> None:
    for mode in ("inner", "outer"):
        mask = oracle.selection(clip.model_path, (96, 96), [BOX], mode)
        assert clip.calc_emd(SOURCE, EDITED, mask) == clip(SOURCE, EDITED, [BOX], mode)
        mask = oracle.selection(dinov3.model_path, (96, 96), [BOX], mode)
        expected = dinov3(SOURCE, EDITED, [BOX], mode)
        assert dinov3.calc_structure_similarity(SOURCE, EDITED, torch.from_numpy(mask)) == expected
    assert clip.calc_emd(SOURCE, EDITED) == clip(SOURCE, EDITED)
    assert dinov3.calc_structure_similarity(SOURCE, EDITED) == dinov3(SOURCE, EDITED)


def test_calc_methods_without_a_patch(clip: CLIPPipe, dinov3: DINOv3Pipe) -> None:
    assert clip.calc_emd(SOURCE, EDITED, np.zeros(49, bool)) is None
    assert dinov3.calc_structure_similarity(SOURCE, EDITED, np.zeros(196, bool)) == 0.0
    with pytest.raises(ValueError, match="48 patches"):
        clip.calc_emd(SOURCE, EDITED, np.ones(48, bool))


def test_object_similarity_by_its_method(pipe: Pipe) -> None:
    metric = "sam_clip_cls_sim" if isinstance(pipe, CLIPPipe) else "sam_dino_cls_sim"
    assert pipe.calc_object_pad_cls_sim(SOURCE, EDITED, [BOX, BOX]) == pipe(SOURCE, EDITED, [BOX, BOX], metric=metric)
    assert pipe.calc_object_pad_cls_sim(SOURCE, SOURCE, [BOX, BOX]) == pytest.approx(1)
    crop = np.full((3, 9, 3), 5, np.uint8)
    assert np.array_equal(pipe._pad_image_to_target_size(crop, (1, 2, 3)), oracle.pad_and_resize(crop, 224, (1, 2, 3)))


def test_the_background_colour_reaches_the_score(clip: CLIPPipe) -> None:
    arguments = (SOURCE, EDITED, [BOX, BOX], None, "sam_clip_cls_sim", 0.1)
    assert clip(*arguments, (0, 0, 0)) != clip(*arguments, (255, 255, 255))
    assert clip(*arguments, [0, 0, 0]) == clip(*arguments, np.zeros(3, int)) == clip(*arguments, (0, 0, 0))  # type: ignore[arg-type]


def test_self_similarity_matrix(dinov3: DINOv3Pipe) -> None:
    features = torch.tensor([[3.0, 0.0], [4.0, 4.0]])
    expected = torch.tensor([[1.0, 0.5**0.5], [0.5**0.5, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(dinov3._calc_self_sim_matrix(features), expected)


def test_emd_with_a_mask_has_a_direction(clip: CLIPPipe) -> None:
    """Every patch of the source, the region's patches of the edited image."""
    assert clip(SOURCE, EDITED, [BOX], "inner") != clip(EDITED, SOURCE, [BOX], "inner")
    assert clip(SOURCE, EDITED) == pytest.approx(clip(EDITED, SOURCE))
    assert clip(SOURCE, SOURCE, [BOX], "inner") > 0  # type: ignore[operator]
    assert clip(SOURCE, SOURCE) == 0.0


# --- soft failures ---------------------------------------------------------------------------------------------------

WIDE = picture(1, 300, 100)
LEFT, TINY, AWAY = (0, 0, 90, 100), (150, 10, 151, 11), (400, 0, 500, 50)


@pytest.mark.parametrize(
    ("name", "metric", "value"),
    [("clip", "emd", None), ("clip", "region_emd", None), ("dinov3", "dinov3_structure_similarity", 0.0)],
)
@pytest.mark.parametrize(
    ("coords", "reason"),
    [(None, Reason.NO_BOXES), ([TINY], Reason.NO_PATCH_SELECTED), ([AWAY], Reason.BOX_OUTSIDE_IMAGE)],
)
def test_soft_failures_of_patch_metrics(
    name: str,
    metric: str,
    value: float | None,
    coords: list[tuple[float, ...]] | None,
    reason: Reason,
    request: pytest.FixtureRequest,
) -> None:
    pipe: Pipe = request.getfixturevalue(name)
    found = pipe(WIDE, WIDE, coords, "inner", metric)
    assert found == value
    assert type(found) is type(value)
    score = pipe.score(WIDE, WIDE, coords, "inner", metric)
    assert score.value == value
    assert score.soft_failure is not None
    assert score.soft_failure.reason is reason


@pytest.mark.parametrize(("name", "metric"), [("clip", "sam_clip_cls_sim"), ("dinov3", "sam_dino_cls_sim")])
@pytest.mark.parametrize(
    ("coords", "reason"),
    [
        (None, Reason.NO_BOXES),
        ([LEFT], Reason.ODD_BOX_COUNT),
        ([LEFT, AWAY], Reason.BOX_OUTSIDE_IMAGE),
        ([LEFT, (5.2, 5.2, 5.8, 5.8)], Reason.EMPTY_OBJECT_MASK),
    ],
)
def test_soft_failures_of_object_metrics(
    name: str, metric: str, coords: list[tuple[float, ...]] | None, reason: Reason, request: pytest.FixtureRequest
) -> None:
    pipe: Pipe = request.getfixturevalue(name)
    assert pipe(WIDE, WIDE, coords, metric=metric) is None
    failure = pipe.score(WIDE, WIDE, coords, metric=metric).soft_failure
    assert failure is not None
    assert failure.reason is reason


def test_blank_objects_are_not_a_perfect_score(models: Path) -> None:
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu", sam={"model_path": str(models / "sam-empty.pth")})
    score = pipe.score(SOURCE, SOURCE, [BOX, BOX], metric="sam_clip_cls_sim")
    assert score.value is None
    assert score.soft_failure is not None
    assert score.soft_failure.reason is Reason.EMPTY_OBJECT_MASK


def test_fit_squash_reaches_what_the_crop_removes(models: Path, clip: CLIPPipe) -> None:
    failure = clip.score(WIDE, WIDE, [LEFT], "inner").soft_failure
    assert failure is not None
    assert failure.reason is Reason.REGION_OUTSIDE_CROP
    assert "fit: squash" in failure.detail
    squashed = CLIPPipe(model_path=str(models / "clip"), device="cpu", fit="squash")
    score = squashed.score(WIDE, WIDE, [LEFT], "inner")
    assert score.soft_failure is None
    assert score.details["patches_compared"] == 7 * 2  # 67 of 224 px: two patches, and 9 % of a third


def test_fit_squash_moves_the_pixels_too(models: Path) -> None:
    """A squashed pipe sees a picture that was squashed beforehand."""
    squashed = CLIPPipe(model_path=str(models / "clip"), device="cpu", fit="squash")
    stretched = WIDE.resize((224, 224), Image.Resampling.BICUBIC)
    left, right = squashed.encode([WIDE])[0].patches, squashed.encode([stretched])[0].patches
    assert np.linalg.norm(left - right) < 0.02 * np.linalg.norm(right)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["emdd", "dinov3_structure_similarity", "EMD"])
def test_an_unknown_metric_names_the_pipes_own(clip: CLIPPipe, metric: str) -> None:
    with pytest.raises(ValueError, match="emd, region_emd, sam_clip_cls_sim") as caught:
        clip(SOURCE, EDITED, metric=metric)
    assert isinstance(caught.value, UnknownMetricError)
    assert "sam_dino_cls_sim" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coords": [(60, 12, 10, 70)]}, "inverted"),
        ({"coords": [(10, 12, 10, 70)]}, "empty"),
        ({"coords": [(10, 12, float("inf"), 70)]}, "finite"),
        ({"coords": BOX}, "list of boxes"),
        ({"mask_mode": "edit_area"}, "inner, outer"),
        ({"patch_mask_threshold": float("nan")}, "patch_mask_threshold"),
        ({"patch_mask_threshold": 1}, "patch_mask_threshold"),
        ({"patch_mask_threshold": "10%"}, "patch_mask_threshold"),
        ({"bg_color": (1, 2)}, "bg_color"),
        ({"bg_color": (1, 2, 256)}, "bg_color"),
        ({"bg_color": (0.5, 0, 0)}, "bg_color"),
        ({"bg_color": 255}, "bg_color"),
        ({"bg_color": "red"}, "bg_color"),
    ],
)
def test_bad_arguments_are_a_value_error(pipe: Pipe, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        pipe(SOURCE, EDITED, **{"coords": [BOX], "mask_mode": "inner", **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_object_metric_needs_a_sam_block(models: Path) -> None:
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    with pytest.raises(CheckpointError, match="sam block"):
        pipe(SOURCE, EDITED, [BOX, BOX], metric="sam_clip_cls_sim")
    with pytest.raises(CheckpointError, match="sam block"):
        pipe.calc_object_pad_cls_sim(SOURCE, EDITED, [BOX, BOX])
    with pytest.raises(CheckpointError, match="model_path"):
        CLIPPipe(model_path=str(models / "clip"), sam={"model_type": "vit_b"})
    with pytest.raises(CheckpointError, match="model_path"):
        DINOv3Mixin()


def test_an_image_too_narrow_to_crop(clip: CLIPPipe, models: Path) -> None:
    thin = Image.new("RGB", (1, 20_000))
    with pytest.raises(ImageError, match="fit: squash"):
        clip(thin, thin)
    assert CLIPPipe(model_path=str(models / "clip"), device="cpu", fit="squash")(thin, thin) == 0.0


def test_weights_are_loaded_on_first_use(models: Path) -> None:
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    assert pipe(WIDE, WIDE, [TINY], "inner") is None
    assert "model" not in vars(pipe)
    pipe(WIDE, WIDE)
    assert "model" in vars(pipe)
    assert CLIPPipe(model_path=str(models / "clip"), device="cpu").model is pipe.model
