"""Checkpoints of timm's format against timm itself, and the teacher of a training with stable-pretraining."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

import checkpoints
from conftest import picture
from project import Project
from pytest_editeval import CLIPMixin, DINOv3Mixin, DINOv3Pipe
from pytest_editeval.cli import main
from pytest_editeval.errors import CheckpointError

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 3}
KINDS: dict[str, tuple[str, dict[str, Any], int]] = {
    "dinov3": ("vit_small_patch16_dinov3", {**TINY, "img_size": 96}, 5),
    "dinov3-registers": ("vit_base_patch16_dinov3_qkvb", {**TINY, "img_size": 64, "num_reg_tokens": 2}, 3),
    "dinov3-gated": ("vit_small_plus_patch16_dinov3", {**TINY, "img_size": 80, "patch_size": 8}, 5),
    "dinov2": ("vit_small_patch14_dinov2", {**TINY, "img_size": 70}, 1),
    "dinov2-registers": ("vit_small_patch14_reg4_dinov2", {**TINY, "img_size": 56, "reg_tokens": 7}, 8),
    "plain": ("vit_small_patch16_224", {**TINY, "img_size": 64}, 1),
    "convnext": ("convnext_tiny", {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}, 0),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    architecture, arguments, _ = KINDS[request.param]
    path = tmp_path_factory.mktemp(request.param) / "checkpoint"
    return request.param, checkpoints.make_timm(path, architecture, **arguments)


def by_timm(path: Path, image: Image.Image) -> Any:
    """The network as timm itself loads the directory, and `(1, 3, n, n)` pixels by its own transform."""
    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    pixels = create_transform(**resolve_data_config({}, model=model))(image)[None]
    return model, pixels


def test_features_are_those_of_timm(kind: tuple[str, Path]) -> None:
    name, path = kind
    backbone = DINOv3Mixin(model_path=str(path), device="cpu")
    skipped = KINDS[name][2]
    for seed, size in enumerate([(96, 96), (151, 90), (70, 137)]):  # crops whose corner is no whole pixel, too
        image = picture(seed, *size)
        model, pixels = by_timm(path, image)
        with torch.no_grad():
            rows = model.forward_features(pixels)
            if not skipped:
                cls = model.forward_head(rows, pre_logits=True)[0].numpy()
                patches = model.head.norm(rows).flatten(2)[0].T.numpy()
            else:
                cls, patches = rows[0, 0].numpy(), rows[0, skipped:].numpy()
        found = backbone.encode([image])[0]
        np.testing.assert_allclose(found.patches, patches, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.cls, cls, rtol=1e-4, atol=1e-4)


def test_what_a_configuration_leaves_out_is_what_timm_takes(tmp_path: Path) -> None:
    path = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64)
    config = json.loads((path / "config.json").read_text("utf-8"))
    for name in ("crop_pct", "crop_mode", "interpolation"):
        config["pretrained_cfg"].pop(name, None)
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    image = picture(2, 90, 120)
    model, pixels = by_timm(path, image)
    with torch.no_grad():
        rows = model.forward_features(pixels)[0].numpy()
    found = DINOv3Mixin(model_path=str(path), device="cpu").encode([image])[0]
    np.testing.assert_allclose(found.patches, rows[1:], rtol=1e-4, atol=1e-4)


def test_a_marked_patch_is_found_where_it_was_put(kind: tuple[str, Path]) -> None:
    backbone = DINOv3Mixin(model_path=str(kind[1]), device="cpu", fit="squash")
    patch, side = backbone.patch_size, backbone.geometry.input_size
    grid = side // patch
    plain = np.asarray(picture(4, side, side)).copy()
    before = backbone.encode([Image.fromarray(plain)])[0].patches
    for place in (0, grid - 1, grid, grid * grid - 2):
        row, column = divmod(place, grid)
        marked = plain.copy()
        marked[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] ^= 255
        moved = np.linalg.norm(backbone.encode([Image.fromarray(marked)])[0].patches - before, axis=1)
        assert int(moved.argmax()) == place


def test_it_scores_from_end_to_end(kind: tuple[str, Path], models: Path) -> None:
    pipe = DINOv3Pipe(model_path=str(kind[1]), device="cpu", sam={"model_path": str(models / "sam.pth")})
    source, edited, box = picture(1, 128, 128), picture(2, 128, 128), (10, 10, 110, 110)
    assert pipe(source, source, [box], "inner") == pytest.approx(1, abs=1e-5)
    assert (pipe(source, edited, [box], "inner") or 1) < 0.999
    assert pipe.calc_object_pad_cls_sim(source, source, [box, box]) == pytest.approx(1, abs=1e-5)


def test_other_input_sizes(tmp_path: Path) -> None:
    path = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64)
    backbone = DINOv3Mixin(model_path=str(path), device="cpu", input_size=96, fit="squash")
    image = picture(3, 96, 96)
    model = timm.create_model(f"local-dir:{path}", pretrained=True, dynamic_img_size=True).eval()
    pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.no_grad():
        rows = model.forward_features(pixels)[0].numpy()
    np.testing.assert_allclose(backbone.encode([image])[0].patches, rows[1:], rtol=1e-4, atol=1e-4)
    assert len(rows) == 37


def teacher_weights(registers: int, side: int = 64, seed: int = 3) -> tuple[Any, dict[str, torch.Tensor]]:
    """timm's own vision transformer with `registers`, whose positions are zero, and the same network's weights as
    stable-pretraining has them: without registers, and `register_tokens` beside.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(
            "vit_small_patch16_224", num_classes=0, img_size=side, reg_tokens=registers, **TINY
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.15 if parameter.ndim > 1 else 0.5)
            model.pos_embed[:, 1 : 1 + registers] = 0
    held = {name: value.clone() for name, value in model.state_dict().items()}
    held["register_tokens"] = held.pop("reg_token")
    held["pos_embed"] = torch.cat([held["pos_embed"][:, :1], held["pos_embed"][:, 1 + registers :]], 1)
    return model, held


def lightning(path: Path, teacher: dict[str, torch.Tensor]) -> Path:
    """A checkpoint as Lightning writes one of a training: student, teacher, heads, counters."""
    state = OrderedDict({f"backbone.student.{name}": value + 1 for name, value in teacher.items()})
    state |= {f"backbone.teacher.{name}": value for name, value in teacher.items()}
    state |= {"backbone.ema_coefficient": torch.tensor(0.99), "mask_token": torch.zeros(1, 1, 48)}
    state["cls_head.teacher.0.weight"] = torch.zeros(4, 48)
    torch.save({"epoch": 3, "global_step": 70, "state_dict": state, "optimizer_states": [], "loops": {}}, path)
    return path


@pytest.mark.parametrize("registers", [1, 4])
def test_the_teacher_of_a_training_with_stable_pretraining(registers: int, tmp_path: Path) -> None:
    model, held = teacher_weights(registers)
    folder = checkpoints.make_timm(tmp_path / "own", "vit_small_patch16_224", **TINY, img_size=64)
    (folder / "model.safetensors").unlink()
    lightning(folder / "pytorch_model.bin", held)
    backbone = DINOv3Mixin(model_path=str(folder), device="cpu")
    image = picture(2, 64, 64)
    pixels = create_transform(**resolve_data_config({"input_size": (3, 64, 64)}, model=model))(image)[None]
    with torch.no_grad():
        rows = model.forward_features(pixels)[0].numpy()
    assert backbone.info.num_register_tokens == registers
    found = backbone.encode([image])[0]
    np.testing.assert_allclose(found.cls, rows[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.patches, rows[1 + registers :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("domain", ["web", "satellite"])
def test_a_bare_file_with_architecture_and_domain(domain: Any, tmp_path: Path) -> None:
    full = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=12).eval()
    held = {**full.state_dict(), "register_tokens": torch.zeros(1, 2, 192)}
    path = lightning(tmp_path / "last.ckpt", held)
    backbone = DINOv3Mixin(model_path=str(path), device="cpu", domain=domain, architecture="vit_tiny_patch16_224")
    assert (backbone.geometry.input_size, backbone.geometry.shortest_edge) == (32, None)
    mean, std = {
        "web": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "satellite": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
    }[domain]
    image = picture(1, 32, 32)
    pixels = (np.asarray(image, np.float64) / 255 - mean) / std
    expected = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()
    rows = with_registers(full, torch.zeros(1, 2, 192), expected)
    np.testing.assert_allclose(backbone.encode([image])[0].patches, rows[3:], rtol=1e-4, atol=1e-4)
    assert backbone.manifest["family"] == "timm:vit_tiny_patch16_224"
    assert backbone.manifest["mean"] == list(mean)
    assert backbone.manifest["resample"] == "bicubic"


def with_registers(model: Any, registers: torch.Tensor, pixels: torch.Tensor) -> np.ndarray[Any, Any]:
    """By hand, from timm's own parts: CLS and patches with positions, registers between them, blocks, norm."""
    with torch.no_grad():
        patches = model.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        rows = torch.cat([model.cls_token, patches], 1) + model.pos_embed
        rows = torch.cat([rows[:, :1], registers, rows[:, 1:]], 1)
        for block in model.blocks:
            rows = block(rows)
        done: np.ndarray[Any, Any] = model.norm(rows)[0].numpy()
        return done


def refused(message: str, path: Path, **settings: Any) -> None:
    with pytest.raises(CheckpointError, match=message):
        DINOv3Mixin(model_path=str(path), device="cpu", **settings).encode([picture(1)])


def test_what_a_bare_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    _, held = teacher_weights(2)
    path = lightning(tmp_path / "last.ckpt", held)
    refused("last.ckpt does not hold how images are normalised; add `domain: web`", path)
    refused("which network of timm's they are for; add `architecture: vit_small", path, domain="web")
    refused("'../x' is no name of timm's", path, domain="web", architecture="../x")
    refused("timm cannot build vit_enormous: Unknown model", path, domain="web", architecture="vit_enormous")
    refused("vit_giant.* has .* weights, and its file", path, domain="web", architecture="vit_giant_patch14_224")
    full = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    tiny = lightning(tmp_path / "tiny.ckpt", full.state_dict())
    refused(r"weight\(s\) have another shape", tiny, domain="web", architecture="vit_small_patch16_224")
    refused(
        "gives 5 tokens before the patches, and the weights are of CLS and 0 registers",
        tiny,
        domain="web",
        architecture="vit_tiny_patch16_dinov3_qkvb",
    )
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64)
    refused("architecture is for a bare file", folder, architecture="vit_small_patch16_224")
    with pytest.raises(CheckpointError, match="architecture is a setting of DINOv3, and this is CLIP"):
        CLIPMixin(architecture="vit_small_patch16_224")
    with pytest.raises(CheckpointError, match="of timm's format, which only the DINOv3 pipe takes"):
        CLIPMixin(model_path=str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "hf_hub:someone/else"}, "no name of timm's"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "model_args checkpoint_path: '/etc/passwd'"),
        ({"model_args": {"pretrained": True}}, "model_args pretrained: True"),
        ({"model_args": {"features_only": True}}, "model_args features_only"),
        ({"model_args": {"act_layer": "os.system"}}, "model_args act_layer"),
        ({"model_args": {"pretrained_cfg": {"url": "x"}}}, "model_args pretrained_cfg"),
        ({"model_args": [1]}, "model_args in its config.json is no JSON object"),
        ({"model_args": {"no_such": 1}}, "timm cannot build vit_small_patch16_224: .*no_such"),
        ({"model_args": {"depth": 100_000}}, "model_args has depth 100000, and its file holds 30 tensors"),
        ({"architecture": "resnet18", "model_args": {}}, "timm cannot build resnet18: .*img_size"),
        ({"pretrained_cfg": None}, "pretrained_cfg in its config.json is missing"),
    ],
)
def test_a_checkpoint_cannot_send_timm_elsewhere(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changes), "utf-8")
    refused(message, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": [3, 64, 96]}, r"input_size \[3, 64, 96\]; \[3, n, n\] is taken"),
        ({"input_size": [3, 70, 70]}, "no whole number of patches of 16 px"),
        ({"crop_pct": 0}, "crop_pct 0"),
        ({"crop_mode": "border"}, "crop_mode 'border'; center and squash are taken"),
        ({"crop_mode": "squash"}, "squashes, and crops 90% of the picture"),
        ({"interpolation": "random"}, "interpolation 'random'; allowed: nearest"),
        ({"mean": [0.5, 0.5]}, r"mean \[0.5, 0.5\]; three numbers"),
        ({"std": [0, 1, 1]}, "std .*; numbers above 0"),
    ],
)
def test_a_preparation_that_is_not_understood(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["pretrained_cfg"] |= changes
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    refused(message, folder)


def test_networks_that_are_not_taken(tmp_path: Path) -> None:
    folder = checkpoints.make_timm(tmp_path / "net", "resnet10t")
    refused("resnet10t is no network that is taken from timm", folder)
    folder = checkpoints.make_timm(tmp_path / "vit", "deit_tiny_distilled_patch16_224", img_size=32)
    refused("deit_tiny_distilled_patch16_224 is no network that is taken", folder)


def test_a_domain_that_contradicts_the_files(tmp_path: Path) -> None:
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_dinov3", **TINY, img_size=64)
    DINOv3Mixin(model_path=str(folder), domain="web")
    refused(r"domain: satellite, whose image_mean .* and its config\.json says", folder, domain="satellite")


def test_timm_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_small_patch16_224", **TINY, img_size=64, seed=11)
    monkeypatch.setattr("pytest_editeval.vision.networks.find_spec", lambda name: None)
    refused(r"needs timm, which is not installed; pip install 'pytest-editeval\[timm\]'", folder)


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoints.make_timm(tmp_path / "vit", "vit_base_patch16_dinov3_qkvb", **TINY, img_size=64)
    assert main(["models", "info", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "timm:vit_base_patch16_dinov3_qkvb, for dino-v3-pipe" in shown
    assert "CLS, 4 registers, 4×4 patches of 16 px" in shown
    assert "64 px, the centre of a picture whose shorter side is 64 px" in shown
    path = lightning(tmp_path / "last.ckpt", teacher_weights(2)[1])
    options = ["--domain", "satellite", "--architecture", "vit_small_patch16_224", "--json"]
    assert main(["models", "info", str(path), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["family"], found["domain"]) == ("timm:vit_small_patch16_224", "satellite")
    assert found["tokens"] == "CLS, 2 registers, 4×4 patches of 16 px"


def test_a_profile_names_a_bare_file_and_its_network(project: Project) -> None:
    project.one("dinov3_structure_similarity: 0.5", coords="[[10, 10, 70, 70]]")
    full = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    lightning(project.path / "last.ckpt", {**full.state_dict(), "register_tokens": torch.zeros(1, 2, 192)})
    config = project.path / "own.yaml"
    for architecture, shown in (("vit_tiny_patch16_224", None), ("vit_nowhere", "timm cannot build vit_nowhere")):
        config.write_text(
            "metric_configs:\n  dinov3_structure_similarity:\n    pipe_name: dino-v3-pipe\n    default_config:\n"
            f"      model_path: ./last.ckpt\n      domain: web\n      architecture: {architecture}\n"
            "    scope: edit_area\n",
            "utf-8",
        )
        result = project.run("--editeval-config", str(config))
        if shown is None:
            assert result.parseoutcomes().get("errors") is None
            assert sum(result.parseoutcomes().get(name, 0) for name in ("passed", "failed")) == 1
        else:
            result.stdout.fnmatch_lines([f"*{shown}*"])
