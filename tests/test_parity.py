"""The product against the independent implementation of the reference (tests/oracle.py), on the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oracle
from conftest import picture
from pytest_editeval import CLIPPipe, DINOv3Pipe, SAMSegmenter
from pytest_editeval.vision.sam_models import load_sam

BOXES = [(10, 12, 60, 70), (55.5, 40.2, 90.7, 88.8)]
SIZES = [(96, 96), (150, 150)]
RECTANGLES = [(160, 96), (90, 200), (301, 451)]
REL = 1e-4


def scaled(boxes: list[tuple[float, ...]], size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    return [tuple(value * size[i % 2] / 96 for i, value in enumerate(box)) for box in boxes]  # type: ignore[misc]


def edit(image: Image.Image, seed: int = 9) -> Image.Image:
    pixels = np.asarray(image).astype(int)
    patch = np.asarray(picture(seed, image.width // 2, image.height // 2)).astype(int)
    pixels[: patch.shape[0], : patch.shape[1]] = patch
    return Image.fromarray(np.clip(pixels + 3, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES + RECTANGLES)
@pytest.mark.parametrize("mask_mode", ["inner", "outer", None])
def test_emd(models: Path, size: tuple[int, int], mask_mode: str | None) -> None:
    source = picture(1, *size)
    edited = edit(source)
    boxes = scaled(BOXES, size)
    expected = oracle.score("emd", models / "clip", None, source, edited, boxes, mask_mode)
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    assert expected is not None
    assert pipe(source, edited, boxes, mask_mode) == pytest.approx(expected, rel=REL)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask_mode", ["inner", "outer"])
def test_region_emd(models: Path, size: tuple[int, int], mask_mode: str) -> None:
    source = picture(1, *size)
    edited = edit(source)
    boxes = scaled(BOXES, size)
    selected = oracle.selection(models / "clip", size, boxes, mask_mode, 0.1)
    left, right = (oracle.clip_tokens(models / "clip", image).patches[selected] for image in (source, edited))
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    assert pipe(source, edited, boxes, mask_mode, metric="region_emd") == pytest.approx(
        oracle.region_emd(left, right), rel=REL
    )
    assert pipe(source, source, boxes, mask_mode, metric="region_emd") == 0.0


@pytest.mark.parametrize("size", SIZES + RECTANGLES)
@pytest.mark.parametrize("mask_mode", ["inner", "outer", None])
def test_structure_similarity(models: Path, size: tuple[int, int], mask_mode: str | None) -> None:
    source = picture(2, *size)
    edited = edit(source)
    boxes = scaled(BOXES, size)
    expected = oracle.score("dinov3_structure_similarity", models / "dinov3", None, source, edited, boxes, mask_mode)
    pipe = DINOv3Pipe(model_path=str(models / "dinov3"), device="cpu")
    assert pipe(source, edited, boxes, mask_mode) == pytest.approx(expected, rel=REL)


@pytest.mark.parametrize("sam", ["sam.pth", "sam-hf", "sam2-hf"])
@pytest.mark.parametrize(
    ("pipe_class", "backbone", "metric"),
    [(CLIPPipe, "clip", "sam_clip_cls_sim"), (DINOv3Pipe, "dinov3", "sam_dino_cls_sim")],
)
@pytest.mark.parametrize("size", [(96, 96), (160, 96)])
def test_object_similarity(
    models: Path, sam: str, pipe_class: type[CLIPPipe], backbone: str, metric: str, size: tuple[int, int]
) -> None:
    source = picture(3, *size)
    edited = edit(source)
    # source half, then edited half; one box is larger than the backbone's input, one is smaller
    boxes = [(4, 6, 50, 44), (20, 30, 96, 90), (6, 6, 52, 46), (18, 28, 94, 92)]
    expected = oracle.score(metric, models / backbone, _segmenter(models / sam), source, edited, boxes)
    pipe = pipe_class(model_path=str(models / backbone), device="cpu", sam={"model_path": str(models / sam)})
    assert expected is not None
    assert pipe(source, edited, boxes, metric=metric) == pytest.approx(expected, rel=REL)


def _segmenter(path: Path) -> object:
    if path.suffix == ".pth":
        return load_sam(path).eval()
    import transformers

    sam2 = "sam2" in path.name
    model = (transformers.Sam2Model if sam2 else transformers.SamModel).from_pretrained(path)
    processor = (transformers.Sam2Processor if sam2 else transformers.SamProcessor).from_pretrained(path)
    return oracle.HfSam(model.eval(), processor)


def test_images_of_different_size_are_compared_at_the_size_of_the_source(models: Path) -> None:
    source = picture(1, 120, 120)
    edited = edit(source).resize((64, 64), Image.Resampling.BICUBIC)
    boxes = scaled(BOXES, (120, 120))
    for pipe_class, backbone, metric in (
        (CLIPPipe, "clip", "emd"),
        (DINOv3Pipe, "dinov3", "dinov3_structure_similarity"),
    ):
        expected = oracle.score(metric, models / backbone, None, source, edited, boxes, "inner")
        pipe = pipe_class(model_path=str(models / backbone), device="cpu")
        assert pipe(source, edited, boxes, "inner", metric=metric) == pytest.approx(expected, rel=REL)


def test_sam_file_and_factory_agree(models: Path) -> None:
    """`load_sam` reads every size off the weights: its masks are those of the network that was saved."""
    import checkpoints

    image = np.asarray(picture(5))
    known = checkpoints.load_sam_pth(models / "sam.pth").eval()
    mask = oracle.best_mask(known, image, (10, 10, 80, 80))
    segmenter = SAMSegmenter(model_path=str(models / "sam.pth"), device="cpu")
    assert np.array_equal(segmenter.masks(segmenter.embed(image), [(10, 10, 80, 80)])[0], mask)
