"""Each family of backbones against its own network and image processor, and which row is which patch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import checkpoints
import oracle
from conftest import picture
from pytest_editeval import CLIPMixin, CLIPPipe, DINOv3Mixin, DINOv3Pipe, SAMSegmenter
from pytest_editeval.errors import CheckpointError
from pytest_editeval.vision.backbones import Backbone

SIZES = [(96, 96), (150, 90), (70, 131)]


@dataclass(frozen=True)
class Kind:
    """A checkpoint of a family: how a test makes it, who reads it, and what transformers calls its network."""

    make: Callable[..., Path]
    settings: dict[str, Any]
    reads: type[Backbone]
    network: Any
    size: int
    patch: int
    skipped: int = 1

    def at(self, folder: Path) -> Path:
        return self.make(folder / "checkpoint", image_size=self.size, **self.settings)


TINY = {"width": 32, "layers": 2}
KINDS = {
    "clip": Kind(checkpoints.make_clip, {**TINY, "patch_size": 8}, CLIPMixin, transformers.CLIPVisionModel, 64, 8),
    "siglip": Kind(
        checkpoints.make_siglip, {**TINY, "patch_size": 16}, CLIPMixin, transformers.SiglipVisionModel, 96, 16, 0
    ),
    "siglip-full": Kind(
        checkpoints.make_siglip,
        {**TINY, "patch_size": 14, "full": True, "seed": 5},
        CLIPMixin,
        transformers.SiglipVisionModel,
        70,
        14,
        0,
    ),
    "dinov2": Kind(checkpoints.make_dinov2, TINY, DINOv3Mixin, transformers.AutoModel, 70, 14),
    "dinov2-registers": Kind(
        checkpoints.make_dinov2, {**TINY, "registers": 3}, DINOv3Mixin, transformers.AutoModel, 70, 14, 4
    ),
    "dinov3": Kind(checkpoints.make_dinov3, {**TINY, "patch_size": 16}, DINOv3Mixin, transformers.AutoModel, 96, 16, 5),
    "dinov3-no-registers": Kind(
        checkpoints.make_dinov3, {**TINY, "patch_size": 8, "registers": 0}, DINOv3Mixin, transformers.AutoModel, 56, 8
    ),
    "dinov3-gated": Kind(
        checkpoints.make_dinov3,
        {**TINY, "patch_size": 16, "registers": 7, "gated": True, "heads": 4},
        DINOv3Mixin,
        transformers.AutoModel,
        80,
        16,
        8,
    ),
    "convnext": Kind(checkpoints.make_dinov3_convnext, {}, DINOv3Mixin, transformers.AutoModel, 160, 32),
    "convnext-of-three-stages": Kind(
        checkpoints.make_dinov3_convnext,
        {"widths": (8, 12, 20), "depths": (1, 2, 1), "seed": 3},
        DINOv3Mixin,
        transformers.AutoModel,
        96,
        16,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path]:
    found = KINDS[request.param]
    return found, found.at(tmp_path_factory.mktemp(request.param))


def test_features_are_those_of_the_own_network_and_processor(kind: tuple[Kind, Path]) -> None:
    made, path = kind
    network = made.network.from_pretrained(path).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    backbone = made.reads(model_path=str(path), device="cpu")
    assert (backbone.geometry.input_size, backbone.patch_size) == (made.size, made.patch)
    images = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    for image, found in zip(images, backbone.encode(images), strict=True):
        with torch.no_grad():
            output = network(pixel_values=processor(image, return_tensors="pt").pixel_values)
        rows = output.last_hidden_state[0].numpy()
        cls = output.pooler_output[0].numpy() if made.skipped == 0 else rows[0]
        np.testing.assert_allclose(found.patches, rows[made.skipped :], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.cls, cls, rtol=1e-4, atol=1e-4)
        assert len(found.patches) == (made.size // made.patch) ** 2


def test_a_marked_patch_is_found_where_it_was_put(kind: tuple[Kind, Path]) -> None:
    made, path = kind
    backbone = made.reads(model_path=str(path), device="cpu", fit="squash")
    grid = made.size // made.patch
    plain = np.asarray(picture(4, made.size, made.size)).copy()
    before = backbone.encode([Image.fromarray(plain)])[0].patches
    for place in {0, grid - 1, grid, grid * grid // 2, grid * grid - 2}:
        row, column = divmod(place, grid)
        marked = plain.copy()
        marked[row * made.patch : (row + 1) * made.patch, column * made.patch : (column + 1) * made.patch] ^= 255
        moved = np.linalg.norm(backbone.encode([Image.fromarray(marked)])[0].patches - before, axis=1)
        assert int(moved.argmax()) == place


def test_a_family_scores_from_end_to_end(kind: tuple[Kind, Path], models: Path) -> None:
    made, path = kind
    source, edited = picture(1, 128, 128), picture(2, 128, 128)
    sam = {"model_path": str(models / "sam.pth")}
    pipe = (CLIPPipe if made.reads is CLIPMixin else DINOv3Pipe)(model_path=str(path), device="cpu", sam=sam)
    box = (10, 10, 110, 110)
    if isinstance(pipe, CLIPPipe):
        assert pipe(source, source, metric="emd") == pytest.approx(0, abs=1e-4)
        assert pipe(source, source, [box], "inner", metric="region_emd") == pytest.approx(0, abs=1e-4)
        assert (pipe(source, edited, [box], "inner", metric="emd") or 0) > 0.01
    else:
        assert pipe(source, source, [box], "inner") == pytest.approx(1, abs=1e-5)
        assert (pipe(source, edited, [box], "inner") or 1) < 0.999
    same = pipe.calc_object_pad_cls_sim(source, source, [box, box])
    assert same == pytest.approx(1.0, abs=1e-5)


def test_sizes_that_the_files_leave_out_are_the_familys(tmp_path: Path) -> None:
    path = checkpoints.make_siglip(tmp_path / "siglip", patch_size=16, **TINY)
    config = json.loads((path / "config.json").read_text("utf-8"))
    assert config.pop("patch_size") == 16
    assert config.pop("image_size") == 224
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    backbone = CLIPMixin(model_path=str(path), device="cpu")
    assert (backbone.geometry.input_size, backbone.patch_size) == (224, 16)
    assert len(backbone.encode([picture(1)])[0].patches) == 196


@pytest.mark.parametrize(
    ("make", "settings"),
    [(checkpoints.make_dinov2, {"patch_size": 14}), (checkpoints.make_dinov2, {"patch_size": 16, "registers": 4})],
)
def test_tokens_that_the_files_leave_out_are_the_familys(
    make: Callable[..., Path], settings: dict[str, Any], tmp_path: Path
) -> None:
    path = make(tmp_path / "checkpoint", image_size=112, **TINY, **settings)
    config = json.loads((path / "config.json").read_text("utf-8"))
    for name in ("patch_size", "num_register_tokens"):
        config.pop(name, None)
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    network = transformers.AutoModel.from_pretrained(path).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(path)(picture(1), return_tensors="pt").pixel_values
    with torch.no_grad():
        rows = network(pixel_values=pixels).last_hidden_state[0].numpy()
    found = DINOv3Mixin(model_path=str(path), device="cpu").encode([picture(1)])[0]
    np.testing.assert_allclose(found.patches, rows[1 + settings.get("registers", 0) :], rtol=1e-4, atol=1e-4)


def test_siglip_of_any_input_size_is_refused_with_what_to_take(tmp_path: Path) -> None:
    path = checkpoints.make_siglip(tmp_path / "siglip", patch_size=16, **TINY)
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {"model_type": "siglip2"}), "utf-8")
    with pytest.raises(CheckpointError, match=r"'siglip2' checkpoint; CLIPMixin takes: .*siglip.*; .*fixed size"):
        CLIPMixin(model_path=str(path), device="cpu")


def test_siglip_has_one_input_size(tmp_path: Path) -> None:
    path = checkpoints.make_siglip(tmp_path / "siglip", image_size=64, patch_size=16, **TINY)
    with pytest.raises(CheckpointError, match="its positions are for 64 px"):
        CLIPMixin(model_path=str(path), device="cpu", input_size=96)


def test_a_convnext_takes_other_sizes(tmp_path: Path) -> None:
    path = checkpoints.make_dinov3_convnext(tmp_path / "convnext", image_size=96)
    backbone = DINOv3Mixin(model_path=str(path), device="cpu", input_size=160)
    assert len(backbone.encode([picture(1)])[0].patches) == 25
    with pytest.raises(CheckpointError, match="multiples of 32"):
        DINOv3Mixin(model_path=str(path), device="cpu", input_size=100)


def test_a_family_that_transformers_does_not_have_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoints.make_siglip(tmp_path / "siglip", image_size=64, patch_size=16, **TINY)
    monkeypatch.setattr("pytest_editeval.vision.loading.transformers", type("Old", (), {"__version__": "4.0"}))
    with pytest.raises(CheckpointError, match=r"needs SiglipVisionModel, which transformers 4\.0 does not have"):
        CLIPMixin(model_path=str(path), device="cpu").encode([picture(1)])


# --- segmenters ------------------------------------------------------------------------------------------------------

SEGMENTERS = {
    "sam-hq": (checkpoints.make_sam_hq, {}, "SamHQModel", "SamHQProcessor"),
    "sam-hq-of-another-size": (
        checkpoints.make_sam_hq,
        {"image_size": 192, "embed_dim": 48, "depth": 4, "seed": 2},
        "SamHQModel",
        "SamHQProcessor",
    ),
    "sam3-tracker": (checkpoints.make_sam3_tracker, {}, "Sam3TrackerModel", "Sam3TrackerProcessor"),
    "sam3": (checkpoints.make_sam3, {"image_size": 168, "seed": 4}, "Sam3TrackerModel", "Sam3TrackerProcessor"),
    "edgetam": (checkpoints.make_edgetam, {}, "EdgeTamModel", "Sam2Processor"),
}
needs_edgetam = pytest.mark.skipif(
    not hasattr(transformers, "EdgeTamModel"), reason=f"transformers {transformers.__version__} has no EdgeTAM"
)
BOXES = [(10.0, 10.0, 80.0, 60.0), (4.0, 6.0, 40.0, 44.0), (30.5, 20.25, 90.75, 70.5)]


@pytest.fixture(scope="module", params=SEGMENTERS)
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, oracle.HfSam]:
    make, settings, network, processor = SEGMENTERS[request.param]
    if not hasattr(transformers, network):
        pytest.skip(f"transformers {transformers.__version__} has no {network}")
    path = make(tmp_path_factory.mktemp(request.param) / "checkpoint", **settings)
    loaded = getattr(transformers, network).from_pretrained(path).eval()
    return path, oracle.HfSam(loaded, getattr(transformers, processor).from_pretrained(path))


@pytest.mark.parametrize("size", [(96, 72), (60, 130)])
def test_masks_are_those_of_the_own_network_and_processor(
    segmenter: tuple[Path, oracle.HfSam], size: tuple[int, int]
) -> None:
    path, by_hand = segmenter
    sam = SAMSegmenter(model_path=str(path), device="cpu")
    image, other = picture(5, *size), picture(6, *size)
    embedding, second = sam.embed_all([image, other])
    boxes = [(x1 * size[0] / 96, y1 * size[1] / 72, x2 * size[0] / 96, y2 * size[1] / 72) for x1, y1, x2, y2 in BOXES]
    found = sam.masks(embedding, boxes)
    for box, mask in zip(boxes, found, strict=True):
        expected = oracle.best_mask(by_hand, np.asarray(image), box)
        assert mask.shape == (size[1], size[0])
        assert (mask != expected).mean() < 1e-3
    expected = oracle.best_mask(by_hand, np.asarray(other), boxes[0])
    assert (sam.masks(second, boxes[:1])[0] != expected).mean() < 1e-3
    assert not np.array_equal(found[0], found[1])


def test_a_segmenter_cuts_an_object_out_for_a_score(segmenter: tuple[Path, oracle.HfSam], models: Path) -> None:
    path, _ = segmenter
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu", sam={"model_path": str(path)})
    source = picture(5, 96, 72)
    assert pipe.calc_object_pad_cls_sim(source, source, [BOXES[0], BOXES[0]]) == pytest.approx(1, abs=1e-5)


@needs_edgetam
def test_timm_is_asked_for_where_a_checkpoint_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoints.make_edgetam(tmp_path / "edgetam", seed=9)  # equal weights are not loaded a second time
    monkeypatch.setattr("pytest_editeval.vision.loading.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"edgetam needs timm.*; pip install 'pytest-editeval\[timm\]'$"):
        SAMSegmenter(model_path=str(path), device="cpu").embed(picture(1))


@needs_edgetam
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "hf_hub:someone/else"}, "names the architecture 'hf_hub:someone/else', no name of timm's"),
        ({"architecture": ["a"]}, "no name of timm's"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "has model_args .*; allowed: dynamic_img_size, features_"),
        ({"model_args": {"pretrained": True, "in_chans": 3}}, "has model_args"),
        ({"model_args": "pretrained"}, "has model_args"),
    ],
)
def test_a_checkpoint_cannot_send_timm_elsewhere(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    path = checkpoints.make_edgetam(tmp_path / "edgetam", seed=9)
    config = json.loads((path / "config.json").read_text("utf-8"))
    config["vision_config"]["backbone_config"] |= settings
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=message):
        SAMSegmenter(model_path=str(path), device="cpu").embed(picture(1))
