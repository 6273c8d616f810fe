"""Settings of image processors as checkpoints in the field have them: each as its own library does it, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import checkpoints
from conftest import picture
from pytest_editeval import CLIPMixin, DINOv3Mixin
from pytest_editeval.errors import CheckpointError
from pytest_editeval.regions import Geometry, select_region
from pytest_editeval.results import SoftFailure
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.description import describe

SIZES = [(96, 96), (151, 90), (61, 137)]
SQUARE = {"height": 56, "width": 56}
LEFT_OUT = "left out"


def clip(folder: Path) -> tuple[Path, type[Backbone], int]:
    return checkpoints.make_clip(folder, image_size=56, patch_size=14, width=32, layers=1), CLIPMixin, 1


def full_clip(folder: Path) -> tuple[Path, type[Backbone], int]:
    path = checkpoints.make_clip(folder, image_size=56, patch_size=14, width=32, layers=1, full=True)
    return path, CLIPMixin, 1


def dinov2(folder: Path) -> tuple[Path, type[Backbone], int]:
    return checkpoints.make_dinov2(folder, image_size=56, patch_size=14, width=32, layers=1), DINOv3Mixin, 1


def dinov3(folder: Path) -> tuple[Path, type[Backbone], int]:
    made = checkpoints.make_dinov3(folder, image_size=56, patch_size=14, width=32, layers=1, registers=2)
    return made, DINOv3Mixin, 3


Make = Callable[[Path], tuple[Path, type[Backbone], int]]
WAYS: list[tuple[Make, dict[str, Any]]] = [
    (clip, {"size": SQUARE}),  # squashed, and nothing is left to crop
    (clip, {"size": LEFT_OUT}),
    (clip, {"size": {"shortest_edge": 60}}),
    (clip, {"resample": 2, "rescale_factor": 1 / 127.5}),
    (clip, {"do_normalize": False}),
    (full_clip, {"feature_extractor_type": LEFT_OUT, "do_center_crop": LEFT_OUT}),
    (dinov2, {"size": SQUARE}),
    (dinov2, {"size": LEFT_OUT}),
    (dinov2, {"crop_size": LEFT_OUT, "size": {"shortest_edge": 256}}),
    (dinov2, {"do_center_crop": LEFT_OUT}),
    (dinov2, {"image_processor_type": LEFT_OUT, "do_center_crop": LEFT_OUT}),
    (dinov3, {"do_center_crop": True, "crop_size": SQUARE}),
    (dinov3, {"size": {"shortest_edge": 70}, "do_center_crop": True, "crop_size": SQUARE}),
    (dinov3, {"size": LEFT_OUT}),
]
REFUSED: list[tuple[Make, dict[str, Any], str]] = [
    (clip, {"do_resize": False}, r"its image processor does not resize \(do_resize is false\)"),
    (clip, {"size": {"height": 64, "width": 64}}, "squashes to 64 px and crops 56 px of that, which is not supported"),
    (dinov3, {"do_center_crop": True, "crop_size": {"height": 42, "width": 42}}, "squashes to 56 px and crops 42 px"),
    (clip, {"size": {"shortest_edge": 56, "longest_edge": 80}}, "not understood; allowed: shortest_edge, or height"),
    (clip, {"size": {"longest_edge": 56}}, "not understood; allowed: shortest_edge, or height and width"),
    (
        clip,
        {"image_processor_type": "LevitImageProcessor"},  # resizes the shortest edge to 256/224 of what the file says
        "its LevitImageProcessor.* does not resize and crop as its preprocessor_config.json says",
    ),
    (clip, {"image_processor_type": "Siglip2ImageProcessor", "do_center_crop": False, "size": SQUARE}, "does not work"),
]


def changed(made: tuple[Path, type[Backbone], int], settings: dict[str, Any]) -> tuple[Path, type[Backbone], int]:
    file = made[0] / "preprocessor_config.json"
    held = json.loads(file.read_text("utf-8")) | settings
    file.write_text(json.dumps({key: value for key, value in held.items() if value != LEFT_OUT}), "utf-8")
    return made


@pytest.mark.parametrize(("make", "settings"), WAYS)
def test_a_processor_does_what_it_does_by_itself(make: Make, settings: dict[str, Any], tmp_path: Path) -> None:
    path, reads, skipped = changed(make(tmp_path / "checkpoint"), settings)
    network: Any = transformers.CLIPVisionModel if reads is CLIPMixin else transformers.AutoModel
    own, processor = network.from_pretrained(path).eval(), transformers.AutoImageProcessor.from_pretrained(path)
    images = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    for image, found in zip(images, reads(model_path=str(path), device="cpu").encode(images), strict=True):
        with torch.no_grad():
            rows = own(pixel_values=processor(image, return_tensors="pt").pixel_values).last_hidden_state[0].numpy()
        np.testing.assert_allclose(found.patches, rows[skipped:], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.cls, rows[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "settings", "message"), REFUSED)
def test_what_a_geometry_cannot_be_is_refused(
    make: Make, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path, reads, _ = changed(make(tmp_path / "checkpoint"), settings)
    with pytest.raises(CheckpointError, match=message):
        reads(model_path=str(path), device="cpu").encode([picture(1)])


def test_what_no_backbone_takes_is_refused_by_its_family_or_as_a_file(tmp_path: Path) -> None:
    sam, file = checkpoints.make_sam_hf(tmp_path / "sam"), checkpoints.make_sam_pth(tmp_path / "sam.pth")
    for mixin in (CLIPMixin, DINOv3Mixin):
        with pytest.raises(CheckpointError, match=rf"is a 'sam' checkpoint; {mixin.__name__} takes: "):
            mixin(model_path=str(sam), device="cpu")
    with pytest.raises(
        CheckpointError, match=r"sam.pth is a file, and a directory in transformers' format or a hub id"
    ):
        CLIPMixin(model_path=str(file), device="cpu")


def test_a_processor_that_does_not_normalise_has_no_normalisation(tmp_path: Path) -> None:
    path, _, _ = changed(dinov3(tmp_path / "checkpoint"), {"do_normalize": False})
    assert DINOv3Mixin(model_path=str(path), device="cpu").manifest["mean"] is None
    assert describe(str(path)).mean is None
    with pytest.raises(CheckpointError, match=r"domain: web, and by its preprocessor_config.json .* not normalised"):
        DINOv3Mixin(model_path=str(path), device="cpu", domain="web")


def test_siglip_2_of_any_size_is_refused_as_a_vision_tower_too(tmp_path: Path) -> None:
    path = checkpoints.make_siglip(tmp_path / "siglip", image_size=64, patch_size=16, width=32, layers=1)
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {"model_type": "siglip2_vision_model"}), "utf-8")
    with pytest.raises(CheckpointError, match=r"'siglip2_vision_model' checkpoint; .*NaFlex.*fixed size"):
        CLIPMixin(model_path=str(path), device="cpu")


# --- patches that do not fill the input, as those of so400m-patch14-384 -----------------------------------------------


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rest") / "siglip"
    return checkpoints.make_siglip(folder, image_size=48, patch_size=14, width=32, layers=2)


def test_a_siglip_leaves_the_rest_of_its_input_out(siglip: Path) -> None:
    own = transformers.SiglipVisionModel.from_pretrained(siglip).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(siglip)
    backbone = CLIPMixin(model_path=str(siglip), device="cpu")
    images = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    for image, found in zip(images, backbone.encode(images), strict=True):
        with torch.no_grad():
            output = own(pixel_values=processor(image, return_tensors="pt").pixel_values)
        np.testing.assert_allclose(found.patches, output.last_hidden_state[0].numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.cls, output.pooler_output[0].numpy(), rtol=1e-4, atol=1e-4)


def test_boxes_of_patches_that_do_not_fill_the_input() -> None:
    grid = Geometry(48, 14)  # 3 × 3 patches of 42 px; the last 6 are seen by none
    covered, pixels = grid.coverage([(20, 0, 96, 30)], "inner", (96, 96))  # columns 10 to 48, rows 0 to 15 of the input
    np.testing.assert_array_equal(covered, [[4 * 14, 196, 196], [4, 14, 14], [0, 0, 0]])
    np.testing.assert_array_equal(pixels, np.full((3, 3), 196))
    assert grid.area((96, 96)) == (0, 0, 84, 84)
    assert isinstance(select_region(grid, (96, 96), [(85, 0, 96, 96)], "inner", 0.1), SoftFailure)


def test_windows_of_patches_that_do_not_fill_the_input_are_refused(siglip: Path) -> None:
    with pytest.raises(CheckpointError, match="patches of 14 px do not fill its input of 48 px"):
        CLIPMixin(model_path=str(siglip), device="cpu", tile={"size": 96})


def test_a_network_of_any_size_fills_its_input(tmp_path: Path) -> None:
    path = checkpoints.make_dinov3(tmp_path / "dinov3", image_size=48, patch_size=14, width=32, layers=1)
    with pytest.raises(CheckpointError, match="multiples of 14"):
        DINOv3Mixin(model_path=str(path), device="cpu")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 99, None, "bicubic"])
def test_results_name_the_filter_of_the_resize(number: object, tmp_path: Path) -> None:
    """A number of Pillow's; what is none of them, or is left out, is not named."""
    path, mixin, _ = clip(tmp_path / "clip")
    file = path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"resample": number}), "utf-8")
    names = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
    expected = names.get(number) if isinstance(number, int) else None
    assert mixin(model_path=str(path), device="cpu").manifest["resample"] == expected
