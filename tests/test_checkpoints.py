"""What a checkpoint's own files say, and one clear line for whatever is wrong with them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import errors as hub
from safetensors.torch import load_file, save_file

import checkpoints
from conftest import picture
from pytest_editeval import CLIPMixin, DINOv3Mixin, SAMSegmenter
from pytest_editeval.errors import CheckpointError, EditEvalError, MetricError
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.checkpoint_config import read_backbone

IMAGE = picture(1, 80, 60)
IS_5 = int(transformers.__version__.split(".")[0]) >= 5
BACKBONES: dict[str, type[Backbone]] = {"clip": CLIPMixin, "dinov3": DINOv3Mixin, "dinov2": DINOv3Mixin}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes that are nobody's default."""
    folder = tmp_path_factory.mktemp("small")
    tiny: dict[str, Any] = {"width": 16, "layers": 1}
    checkpoints.make_clip(folder / "clip", image_size=64, patch_size=8, **tiny)
    checkpoints.make_clip(folder / "clip-full", image_size=64, patch_size=8, full=True, **tiny)
    checkpoints.make_dinov3(folder / "dinov3", image_size=64, patch_size=8, registers=2, **tiny)
    checkpoints.make_dinov2(folder / "dinov2", image_size=56, **tiny)
    checkpoints.make_dinov2(folder / "dinov2-registers", image_size=56, registers=3, **tiny)
    return folder


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(small / name, tmp_path / name))


def change(path: Path, **values: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (data | values).items() if value != "remove"}))


def first_norm(weights: dict[str, torch.Tensor]) -> str:
    """The name that it has; 4.56 writes what the tower is a part of before it."""
    return next(name for name in weights if name.endswith("pre_layrnorm.weight"))


def refused(use: Callable[[], object], *words: str, lines: int = 1) -> str:
    with pytest.raises(EditEvalError) as caught:
        use()
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) <= lines
    assert len(message) < 600
    return message


def encode(path: object, family: str = "dinov3", **settings: Any) -> torch.Tensor:
    features = BACKBONES[family](model_path=str(path), device="cpu", **settings).get_features(IMAGE)
    assert isinstance(features, torch.Tensor)
    return features


def by_hand(path: Path, model_class: Any, skipped: int, **size: Any) -> torch.Tensor:
    """The patch rows as transformers gives them, without the package."""
    model = model_class.from_pretrained(path).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(path)(IMAGE, return_tensors="pt", **size).pixel_values
    with torch.no_grad():
        rows: torch.Tensor = model(pixel_values=pixels).last_hidden_state[0, skipped:]
    return rows


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family", "model_class", "sizes", "edge", "registers"),
    [
        ("clip", "clip", transformers.CLIPVisionModel, (64, 8), 64, 0),
        ("clip-full", "clip", transformers.CLIPVisionModel, (64, 8), 64, 0),
        ("dinov3", "dinov3", transformers.AutoModel, (64, 8), None, 2),
        ("dinov2", "dinov2", transformers.AutoModel, (56, 14), 64, 0),
        ("dinov2-registers", "dinov2", transformers.AutoModel, (56, 14), 64, 3),
    ],
)
def test_sizes_come_from_the_files(
    name: str, family: str, model_class: Any, sizes: tuple[int, int], edge: int | None, registers: int, small: Path
) -> None:
    backbone = BACKBONES[family](model_path=str(small / name), device="cpu")
    geometry = backbone.geometry
    assert (geometry.input_size, geometry.patch_size, geometry.shortest_edge) == (*sizes, edge)
    assert backbone.info.num_register_tokens == registers
    size_name = "img_input_size" if family == "clip" else "input_image_size"
    assert (getattr(backbone, size_name), backbone.patch_size) == sizes
    expected = by_hand(small / name, model_class, 1 + registers)
    assert expected.shape[0] == (sizes[0] // sizes[1]) ** 2
    torch.testing.assert_close(encode(small / name, family), expected, rtol=1e-4, atol=1e-5)


def test_a_full_clip_checkpoint_loads_without_noise(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its text weights are left aside, and nobody needs to read that."""
    encode(small / "clip-full", "clip", dtype="bfloat16")  # a dtype of its own: a fresh load
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("crops", [True, False])
def test_legacy_sizes_are_bare_numbers(crops: bool, copy: Callable[[str], Path]) -> None:
    path = copy("clip-full")
    change(path / "preprocessor_config.json", size=64, crop_size=64, do_center_crop=crops)
    if crops:
        assert read_backbone(str(path)).geometry.shortest_edge == 64
    else:
        refused(lambda: read_backbone(str(path)), "does not crop")


@pytest.mark.parametrize("size", [128, 72, 32])
def test_dinov3_at_another_multiple_of_its_patch(size: int, small: Path) -> None:
    expected = by_hand(small / "dinov3", transformers.AutoModel, 3, size={"height": size, "width": size})
    found = encode(small / "dinov3", input_size=size)
    assert found.shape[0] == (size // 8) ** 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_dinov2_keeps_its_crop_at_another_size(small: Path) -> None:
    size = {"size": {"shortest_edge": 128}, "crop_size": {"height": 112, "width": 112}}
    expected = by_hand(small / "dinov2", transformers.AutoModel, 1, **size)
    torch.testing.assert_close(encode(small / "dinov2", "dinov2", input_size=112), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [65, 0, -8, "64", 64.0, True])
def test_other_input_sizes_are_refused(size: object, small: Path) -> None:
    refused(lambda: encode(small / "dinov3", input_size=size), "dinov3", str(size))


def test_clip_has_one_input_size(small: Path) -> None:
    refused(lambda: encode(small / "clip", "clip", input_size=128), "input_size 128", "64")
    assert torch.equal(encode(small / "clip", "clip", input_size=64), encode(small / "clip", "clip"))


# --- configuration files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("preprocessor_config.json", None, ["no preprocessor_config.json"]),
        ("config.json", None, ["no config.json"]),
        ("config.json", b"{", ["config.json", "JSON"]),
        ("config.json", b"[1]", ["config.json", "JSON object"]),
        ("config.json", b"\xff\xfe\x00", ["config.json", "JSON"]),
        ("config.json", b"{}", ["no model_type"]),
        ("preprocessor_config.json", b'{"size"', ["preprocessor_config.json", "JSON"]),
    ],
)
@pytest.mark.parametrize("family", ["clip", "dinov3"])
def test_broken_configuration_files(
    family: str, file: str, content: bytes | None, words: list[str], copy: Callable[[str], Path]
) -> None:
    path = copy(family)
    (path / file).unlink() if content is None else (path / file).write_bytes(content)
    refused(lambda: BACKBONES[family](model_path=str(path)), str(path.name), *words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patch_size": 7}, ["64 px", "7 px patches"]),
        ({"patch_size": 0}, ["0 px patches"]),
        ({"vision_config": [1]}, ["vision_config"]),
        ({"model_type": "resnet"}, ["'resnet'", "dinov2", "dinov3_vit"]),
        ({"patch_size": 16}, ["another shape"]),
        ({"hidden_size": 32}, ["another shape"]),
        ({"num_register_tokens": 4}, ["another shape", "register_tokens"]),
        ({"num_hidden_layers": 2}, ["missing"]),
        ({"num_hidden_layers": "two"}, ["num_hidden_layers"] if IS_5 else ["cannot be loaded"]),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit(
    values: dict[str, object], words: list[str], copy: Callable[[str], Path]
) -> None:
    path = copy("dinov3")
    change(path / "config.json", **values)
    refused(lambda: encode(path), str(path), *words)


@pytest.mark.parametrize(
    "values",
    [
        {"size": "64"},
        {"size": [64, 64]},
        {"size": {"shortest_edge": "64"}},
        {"size": {"shortest_edge": 32}},
        {"size": {"height": 64, "width": 32}, "do_center_crop": False},
        {"crop_size": {"height": 64, "width": 32}},
        {"crop_size": 60},
        {"crop_size": 32, "size": {"shortest_edge": 32}},  # not what config.json says
        # 4.56 takes the default of the class.
        *([{"image_mean": None}] if IS_5 else []),
        {"image_mean": [0.5, 0.5]},
        {"image_mean": "grey"},
        {"image_std": [0, 0, 0]},
        {"resample": 99},
        {"image_processor_type": "NobodysProcessor"},
    ],
    ids=str,
)
def test_an_image_processor_that_does_not_work(values: dict[str, object], copy: Callable[[str], Path]) -> None:
    path = copy("clip")
    change(path / "preprocessor_config.json", **values)
    refused(lambda: encode(path, "clip"), str(path))


def test_code_in_a_checkpoint_is_never_run(copy: Callable[[str], Path], tmp_path: Path) -> None:
    path, witness = copy("dinov3"), tmp_path / "was_run"
    (path / "evil.py").write_text(f"open({str(witness)!r}, 'w')\nclass Evil: pass\n")
    change(path / "config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    change(path / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Evil"})
    encode(path)
    assert not witness.exists()


def test_a_checkpoint_of_the_wrong_family(small: Path, models: Path) -> None:
    refused(lambda: CLIPMixin(model_path=str(small / "dinov3")), "'dinov3_vit'", "clip_vision_model")
    refused(lambda: DINOv3Mixin(model_path=str(small / "clip")), "'clip_vision_model'", "dinov3_vit")
    refused(lambda: CLIPMixin(model_path=str(models / "sam.pth")), "is a file", "a hub id")
    refused(lambda: SAMSegmenter(model_path=str(small / "clip")), "'clip_vision_model'", "sam2")
    refused(lambda: DINOv3Mixin(), "model_path")
    refused(lambda: SAMSegmenter(), "model_path")


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_half_downloaded_weights(kept: float, copy: Callable[[str], Path]) -> None:
    path = copy("clip")
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    refused(lambda: encode(path, "clip"), str(path), "download it again")


def test_no_weights_at_all(copy: Callable[[str], Path]) -> None:
    path = copy("clip")
    (path / "model.safetensors").unlink()
    refused(lambda: encode(path, "clip"), str(path), "model.safetensors")


@pytest.mark.parametrize("family", BACKBONES)
@pytest.mark.parametrize("where", ["first", "last", "most"])
def test_missing_weights_are_never_random(family: str, where: str, copy: Callable[[str], Path]) -> None:
    path = copy(family)
    weights = load_file(path / "model.safetensors")
    names = sorted(weights)
    gone = {"first": names[:1], "last": names[-1:], "most": names[1:]}[where]
    save_file({name: weights[name] for name in names if name not in gone}, path / "model.safetensors", {"format": "pt"})
    refused(lambda: encode(path, family), str(path), "missing")


def test_weights_that_are_not_finite(copy: Callable[[str], Path]) -> None:
    path = copy("clip")
    weights = load_file(path / "model.safetensors")
    weights[first_norm(weights)] *= float("nan")
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MetricError, match="NaN or infinite features"):
        encode(path, "clip")


# --- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere", "~nobody/clip", "a/b/c", "with space", "x" * 5000, "a\0b"])
def test_no_such_path(path: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at") as caught:
        CLIPMixin(model_path=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["sam.pth", "models/sam.pth", "models/sam.pt"])
def test_a_missing_file_is_no_hub_id(path: str) -> None:
    refused(lambda: SAMSegmenter(model_path=path), f"no checkpoint at {path}")


def test_offline_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for use in (CLIPMixin, DINOv3Mixin, SAMSegmenter):
        refused(lambda use=use: use(model_path="nobody/never-published"), "nobody/never-published", "HF_HUB_OFFLINE")


HUB_ERRORS = [
    (hub.GatedRepoError, 403, ["gated", "403", "1.", "2.", "3.", "HF_TOKEN", "downloaded copy"]),
    (hub.RepositoryNotFoundError, 404, ["not on the Hugging Face hub", "HF_TOKEN"]),
    (hub.LocalEntryNotFoundError, 0, ["cannot be reached"]),
    (ConnectionError, 0, ["cannot be loaded"]),
]


@pytest.mark.parametrize(("error", "status", "words"), HUB_ERRORS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_hub_says(
    error: type[Exception], status: int, words: list[str], wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    response = SimpleNamespace(status_code=status, headers={}, request=None)

    def download(*_: object, **__: object) -> None:
        first = error("no", response=response) if status else error("no")
        if wrapped:  # as transformers does
            raise OSError("We couldn't load it\nfor many reasons") from first
        raise first

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    if error is ConnectionError and wrapped:
        words = ["cannot be loaded: We couldn't load it;"]
    refused(lambda: DINOv3Mixin(model_path="facebook/dinov3-vitb16"), "facebook/dinov3-vitb16", *words, lines=3)


def test_settings_that_are_not_known(small: Path) -> None:
    refused(lambda: encode(small / "clip", "clip", fit="stretch"), "'stretch'", "crop, squash")
    refused(lambda: encode(small / "clip", "clip", dtype="int8"), "'int8'", "float32, bfloat16, float16")
    refused(lambda: CLIPMixin(model_path=str(small / "clip"), device="gpu"), "'gpu'", "cuda:N")
    refused(lambda: SAMSegmenter(model_path=str(small / "clip"), dtype="int8"), "'int8'")
    refused(lambda: SAMSegmenter(model_path=str(small / "clip"), model_type="vit_x"), "vit_x", "vit_b, vit_l, vit_h")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(small: Path) -> None:
    refused(lambda: CLIPMixin(model_path=str(small / "clip"), device="cuda").get_features(IMAGE), "no CUDA GPU")


# --- segment-anything's files ----------------------------------------------------------------------------------------


class Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.witness),)


def segment(path: Path, **settings: Any) -> object:
    return SAMSegmenter(model_path=str(path), device="cpu", **settings).extract_object(IMAGE, (5, 5, 50, 50))


@pytest.mark.parametrize("protocol", [None, 0, 2, 4])
def test_pickled_objects_are_refused_and_not_run(protocol: int | None, tmp_path: Path) -> None:
    path, witness = tmp_path / "sam.pth", tmp_path / "was_run"
    if protocol is None:
        torch.save({"model": Evil(witness)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Evil(witness)}, protocol))
    refused(lambda: segment(path), "sam.pth")
    assert not witness.exists()


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_half_a_pth(kept: float, models: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "sam.pth", (models / "sam.pth").read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    refused(lambda: segment(path), "sam.pth", "download it again")


@pytest.mark.parametrize("text", ["hello", "<!DOCTYPE html>\n<title>404</title>", "version https://git-lfs.github.com"])
def test_a_text_file_named_pth(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    path.write_text(text)
    refused(lambda: segment(path), "sam.pth", "download it again")


def test_other_weights_in_a_pth(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    weights = torch.load(models / "sam.pth", weights_only=True)
    first = next(iter(weights))
    encoder = {name: value for name, value in weights.items() if name.startswith("image_encoder")}
    for other, words in (
        ({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, ["SAM 2", "transformers directory"]),
        ([1], ["no segment-anything checkpoint"]),
        (dict.fromkeys(weights, 1), ["no segment-anything checkpoint"]),
        (encoder, ["no segment-anything checkpoint"]),
        ({name: value for name, value in weights.items() if name != first}, ["no", first]),
        (weights | {"extra": torch.zeros(1)}, ["extra"]),
    ):
        torch.save(other, path)
        refused(lambda: segment(path), "sam.pth", *words)


def test_the_model_type_is_checked_against_the_weights(models: Path) -> None:
    refused(lambda: segment(models / "sam.pth", model_type="vit_b"), "no vit_b", "768")


@pytest.mark.parametrize("name", ["sam-hf", "sam2-hf"])
def test_a_damaged_segmenter_directory(name: str, models: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(models / name, tmp_path / name))
    weights = load_file(path / "model.safetensors")
    gone = next(key for key in sorted(weights) if "layer" in key)
    save_file({k: v for k, v in weights.items() if k != gone}, path / "model.safetensors", {"format": "pt"})
    refused(lambda: segment(path), str(path), "missing")
    (path / "model.safetensors").write_bytes(b"half")
    refused(lambda: segment(path), str(path), "download it again")
    (path / "config.json").unlink()
    refused(lambda: segment(path), "no config.json")


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_what_was_loaded(small: Path, copy: Callable[[str], Path]) -> None:
    original, moved = (CLIPMixin(model_path=str(path), device="cpu") for path in (small / "clip", copy("clip")))
    assert original.fingerprint == moved.fingerprint
    weights = load_file(Path(moved.model_path) / "model.safetensors")
    weights[first_norm(weights)] += 1e-3
    save_file(weights, Path(moved.model_path) / "model.safetensors", {"format": "pt"})
    prints = [
        CLIPMixin(model_path=str(small / "clip"), device="cpu", **settings).fingerprint
        for settings in ({}, {"fit": "squash"}, {"dtype": "bfloat16"})
    ]
    prints.append(CLIPMixin(model_path=moved.model_path, device="cpu").fingerprint)
    assert len(set(prints)) == 4


def test_half_precision_is_close_to_float32(small: Path) -> None:
    exact = encode(small / "clip", "clip").numpy()
    for dtype in ("bfloat16", "float16"):
        rough = encode(small / "clip", "clip", dtype=dtype)
        assert rough.dtype == torch.float32
        assert 0 < np.abs(rough.numpy() - exact).max() < 0.1 * np.abs(exact).max()


def test_a_network_that_refuses_its_input_is_one_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What version 5 of transformers refuses when it reads the configuration, version 4 meets here."""
    backbone = CLIPMixin(model_path=str(small / "clip"), device="cpu")

    def refuse(**_: object) -> None:
        raise ValueError("no such activation\nand more")

    monkeypatch.setattr(backbone, "model", refuse)
    with pytest.raises(CheckpointError) as caught:
        backbone.encode([IMAGE])
    assert str(caught.value) == f"{small / 'clip'}: its config.json does not work: no such activation"
