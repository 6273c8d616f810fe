"""SAM: one pass of the encoder for many boxes, and every way in which it finds no object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
import oracle
from conftest import picture
from pytest_editeval import SAMSegmenter
from pytest_editeval.boxes import clip_box
from pytest_editeval.errors import CheckpointError
from pytest_editeval.results import Reason, SoftFailure
from pytest_editeval.vision.objects import cut_out, pad_to_square
from pytest_editeval.vision.sam_models import build_sam

IMAGE = picture(5, 96, 72)
PIXELS = np.asarray(IMAGE)
BOXES = [(10, 10, 80, 60), (4, 6, 40, 44), (30.5, 20.25, 90.75, 70.5)]
KINDS = ["sam.pth", "sam-hf", "sam2-hf"]


@pytest.fixture(scope="module", params=KINDS)
def sam(models: Path, request: pytest.FixtureRequest) -> SAMSegmenter:
    return SAMSegmenter(model_path=str(models / request.param), device="cpu")


@contextmanager
def encoder_calls(sam: SAMSegmenter) -> Iterator[list[None]]:
    model: Any = sam.backend.model
    encoder = model.image_encoder if hasattr(model, "image_encoder") else model.vision_encoder
    calls: list[None] = []
    hook = encoder.register_forward_hook(lambda *_: calls.append(None))
    yield calls
    hook.remove()


def test_an_image_is_encoded_once_for_all_its_boxes(sam: SAMSegmenter) -> None:
    with encoder_calls(sam) as calls:
        embedding = sam.embed(IMAGE)
        together = sam.isolate(embedding, BOXES)
        one_by_one = [sam.isolate(embedding, [box])[0] for box in BOXES]
        assert len(calls) == 1
    for left, right in zip(together, one_by_one, strict=True):
        assert isinstance(left, np.ndarray)
        assert np.array_equal(left, right)


def test_more_boxes_than_fit_in_one_batch(sam: SAMSegmenter) -> None:
    embedding = sam.embed(IMAGE)
    boxes = [(i, i, 40 + i, 40 + i) for i in range(20)]
    masks = sam.masks(embedding, boxes)
    assert len(masks) == 20
    assert np.array_equal(masks[18], sam.masks(embedding, [boxes[18]])[0])


def test_the_best_predicted_score_wins(sam: SAMSegmenter) -> None:
    """Of three candidates that are told apart by how much they cover, the one that is rated best is returned."""
    embedding = sam.embed(IMAGE)
    with torch.no_grad():
        logits, scores = sam.backend.predict(embedding.image, embedding.tensors, BOXES)
        candidates = sam.backend.masks(embedding.image, logits.flatten(0, 1)).reshape(3, 3, 72, 96)
    assert len({mask.tobytes() for mask in candidates[0]}) == 3
    for found, masks, rated in zip(sam.masks(embedding, BOXES), candidates, scores, strict=True):
        assert np.array_equal(found, masks[max(range(3), key=lambda index: rated[index])])


def test_every_candidate_can_win(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sam = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu")
    embedding = sam.embed(IMAGE)
    predict = sam.backend.predict
    for winner in range(3):
        scores = np.eye(3, dtype=np.float32)[[winner]]
        monkeypatch.setattr(sam.backend, "predict", lambda *args, s=scores: (predict(*args)[0], s))
        with torch.no_grad():
            logits = predict(embedding.image, embedding.tensors, BOXES[:1])[0]
            expected = sam.backend.masks(embedding.image, logits[:, winner])[0]
        assert np.array_equal(sam.masks(embedding, BOXES[:1])[0], expected)


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
def test_what_is_not_the_object_has_the_background_colour(sam: SAMSegmenter, color: tuple[int, int, int]) -> None:
    embedding = sam.embed(IMAGE)
    for box, mask in zip(BOXES, sam.masks(embedding, BOXES), strict=True):
        x1, y1, x2, y2 = (int(value) for value in box)
        crop = sam.isolate(embedding, [box], color)[0]
        assert isinstance(crop, np.ndarray)
        assert crop.shape == (y2 - y1, x2 - x1, 3)
        inside = mask[y1:y2, x1:x2]
        assert (crop[~inside] == color).all()
        assert np.array_equal(crop[inside], PIXELS[y1:y2, x1:x2][inside])


def test_a_box_that_sticks_out_is_clipped(sam: SAMSegmenter) -> None:
    for box in [(-20, -5.5, 50, 40), (40, 30, 500, 400), (-9, -9, 999, 999)]:
        inside = (max(box[0], 0), max(box[1], 0), min(box[2], 96), min(box[3], 72))
        left, right = sam.isolate(sam.embed(IMAGE), [box, inside])
        assert isinstance(left, np.ndarray)
        assert np.array_equal(left, right)


def test_a_box_smaller_than_a_pixel_holds_no_object(sam: SAMSegmenter) -> None:
    found = sam.isolate(sam.embed(IMAGE), [(5.2, 5.2, 5.8, 30), BOXES[0]])
    assert isinstance(found[0], SoftFailure)
    assert found[0].reason is Reason.EMPTY_OBJECT_MASK
    assert isinstance(found[1], np.ndarray)


def test_an_empty_mask_is_a_soft_failure(models: Path) -> None:
    sam = SAMSegmenter(model_path=str(models / "sam-empty.pth"), device="cpu")
    for found in sam.isolate(sam.embed(IMAGE), BOXES):
        assert isinstance(found, SoftFailure)
        assert found.reason is Reason.EMPTY_OBJECT_MASK


def raising(error: Exception) -> Callable[..., None]:
    def forward(*_: object, **__: object) -> None:
        raise error

    return forward


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, IndexError, NotImplementedError])
def test_a_failure_inside_sam_is_a_soft_failure(
    error: type[Exception], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sam = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu")
    embedding = sam.embed(IMAGE)
    monkeypatch.setattr(sam.backend.model.mask_decoder, "forward", raising(error("shapes do not fit\nhere")))
    found = sam.isolate(embedding, BOXES)
    assert [failure.reason for failure in found if isinstance(failure, SoftFailure)] == [Reason.SEGMENTER_FAILED] * 3
    assert "shapes do not fit" in str(found[0])
    assert "\n" not in str(found[0])


def test_no_memory_is_no_soft_failure(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run may have it: the metric was not shown to be impossible."""
    sam = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu")
    embedding = sam.embed(IMAGE)
    monkeypatch.setattr(
        sam.backend.model.mask_decoder, "forward", raising(torch.OutOfMemoryError("CUDA out of memory"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        sam.isolate(embedding, BOXES)


def test_no_mask_is_a_soft_failure(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sam = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu")
    monkeypatch.setattr(sam, "masks", lambda *_: [None])
    found = sam.extract_object(IMAGE, BOXES[0])
    assert isinstance(found, SoftFailure)
    assert found.reason is Reason.SEGMENTER_FAILED


@pytest.mark.parametrize("box", [(1, 2, 3), (30, 30, 5, 5), (float("nan"), 0, 5, 5)])
def test_what_is_no_box_is_refused(box: tuple[float, ...], models: Path) -> None:
    with pytest.raises(ValueError, match="box"):
        SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu").extract_object(IMAGE, box)


def test_weights_are_loaded_on_first_use(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pytest_editeval.vision.sam_models as sam_models

    loaded: list[object] = []
    load: Callable[..., object] = sam_models.load_sam
    monkeypatch.setattr(sam_models, "load_sam", lambda *args: (loaded.append(args), load(*args))[1])
    sam = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu", dtype="bfloat16")
    assert not loaded
    sam.embed(IMAGE)
    sam.embed(IMAGE)
    assert len(loaded) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_masks_are_close(kind: str, dtype: str, models: Path) -> None:
    exact, rough = (
        SAMSegmenter(model_path=str(models / kind), device="cpu", dtype=name) for name in ("float32", dtype)
    )
    candidates = []
    for sam in (exact, rough):
        embedding = sam.embed(IMAGE)
        with torch.inference_mode():
            logits = sam.backend.predict(embedding.image, embedding.tensors, BOXES)[0]
            candidates.append(sam.backend.masks(embedding.image, logits.flatten(0, 1)))
    assert (candidates[0] == candidates[1]).mean() > 0.8
    assert isinstance(rough.extract_object(IMAGE, BOXES[0]), np.ndarray)


# --- cutting out and padding -----------------------------------------------------------------------------------------


def test_cut_out_by_hand() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = mask[3, 4] = True
    crop = cut_out(image, mask, (1, 1, 4, 3), (9, 8, 7))
    assert crop is not None
    assert crop.shape == (2, 3, 3)
    assert crop[0, 1].tolist() == image[1, 2].tolist()
    assert (crop.reshape(-1, 3) == (9, 8, 7)).all(axis=1).sum() == 5
    assert cut_out(image, mask, (0, 0, 2, 4)) is None
    assert clip_box((-3, 1.9, 99, 4.7), (5, 4)) == (0, 1, 5, 4)


@pytest.mark.parametrize(
    ("shape", "size"), [((10, 4), 10), ((4, 9), 9), ((40, 30), 16), ((5, 7), 32), ((1, 1), 8), ((33, 64), 32)]
)
def test_padding_is_the_contracts(shape: tuple[int, int], size: int) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for color in ((255, 255, 255), (1, 2, 3)):
        assert np.array_equal(pad_to_square(crop, size, color), oracle.pad_and_resize(crop, size, color))


def test_padding_centres_by_hand() -> None:
    crop = np.full((2, 4, 3), 50, np.uint8)
    padded = pad_to_square(crop, 4, (7, 7, 7))
    assert padded[:, 0, 0].tolist() == [7, 50, 50, 7]
    with pytest.raises(ValueError, match="empty crop"):
        pad_to_square(np.zeros((0, 3, 3), np.uint8), 4)


def test_a_wrong_model_type_is_found_though_the_file_is_loaded_already(models: Path) -> None:
    path = str(models / "sam.pth")
    loaded = SAMSegmenter(model_path=path, device="cpu")
    loaded.embed(picture(1))
    with pytest.raises(CheckpointError, match=r"is no vit_b: its encoder is \d+ wide, vit_b is 768"):
        SAMSegmenter(model_path=path, model_type="vit_b", device="cpu").embed(picture(1))


def test_a_file_that_changed_is_loaded_again(tmp_path: Path) -> None:
    path = checkpoints.make_sam_pth(tmp_path / "sam.pth", seed=0)
    first = SAMSegmenter(model_path=str(path), device="cpu")
    before = first.embed(picture(1)).tensors[0]
    checkpoints.make_sam_pth(tmp_path / "sam.pth", seed=1)
    second = SAMSegmenter(model_path=str(path), device="cpu")
    assert not np.array_equal(second.embed(picture(1)).tensors[0], before)


@pytest.mark.parametrize("model_type", ["vit_b", "vit_l", "vit_h"])
def test_the_published_sizes_are_read_off_their_weights(model_type: str) -> None:
    """Against segment-anything's own builders; on the meta device, which holds shapes and no numbers."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        published = sam_model_registry[model_type]()
        built = build_sam(published.state_dict())
    shapes = {name: weight.shape for name, weight in published.state_dict().items()}
    assert {name: weight.shape for name, weight in built.state_dict().items()} == shapes
    for ours, theirs in zip(built.image_encoder.blocks, published.image_encoder.blocks, strict=True):
        assert (ours.window_size, ours.attn.num_heads) == (theirs.window_size, theirs.attn.num_heads)
    assert built.image_encoder.img_size == published.image_encoder.img_size == 1024
    assert built.mask_decoder.num_multimask_outputs == 3
    ours, theirs = built.mask_decoder.transformer, published.mask_decoder.transformer
    assert (ours.num_heads, ours.depth, ours.mlp_dim) == (theirs.num_heads, theirs.depth, theirs.mlp_dim)
