"""The original DINOv3 files: against timm, which reads them too, and what is refused of them."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.models.convnext as timm_convnext
import timm.models.eva as timm_eva
import torch
from PIL import Image
from timm.layers import LayerNorm
from torchvision.transforms import v2

import checkpoints
from conftest import picture
from project import Project
from pytest_editeval import CLIPMixin, DINOv3Mixin
from pytest_editeval.errors import CheckpointError
from pytest_editeval.vision.pth_header import tensor_shapes

WEB = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SATELLITE = ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gated": {"gated": True, "heads": 4, "registers": 2, "width": 64, "seed": 1},
    "no-biases": {"biased": False, "patch_size": 8, "layers": 3, "heads": 1, "seed": 2},
    "wide-heads": {"width": 128, "heads": 1, "seed": 3},
    "no-registers": {"registers": 0, "seed": 8},
}


def saved(path: Path, weights: dict[str, Any]) -> Path:
    held: Any = OrderedDict(weights)
    held._metadata = OrderedDict({"": {"version": 1}})  # as a module's state dict has it
    torch.save(held, path)
    return path


def pixels(image: Image.Image, size: int, normalisation: tuple[Any, Any]) -> torch.Tensor:
    """The image squashed to a square and normalised, by torchvision."""
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize((size, size), antialias=True)]
    done: torch.Tensor = v2.Compose([*steps, v2.Normalize(*normalisation)])(image)[None]
    return done


def by_timm(weights: dict[str, torch.Tensor], settings: dict[str, Any], inputs: torch.Tensor) -> torch.Tensor:
    """All rows of the last hidden state `(tokens, dim)`, by timm's network and its own reading of the file."""
    known: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "patch_size": 16, "registers": 4} | settings
    registers = known["registers"]
    model = timm_eva.Eva(
        img_size=inputs.shape[-1],
        patch_size=known["patch_size"],
        num_classes=0,
        embed_dim=known["width"],
        depth=known["layers"],
        num_heads=known["heads"],
        mlp_ratio=3,
        swiglu_mlp=known.get("gated", False),
        swiglu_align_to=8,
        qkv_bias=known.get("biased", True),
        init_values=1e-5,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        num_reg_tokens=registers,
        use_fc_norm=False,
        norm_layer=partial(LayerNorm, eps=1e-5),
    )
    # timm knows such a file by its registers, so one without gets an empty table of them.
    none = {} if registers else {"storage_tokens": torch.empty(1, 0, known["width"])}
    read = timm_eva.checkpoint_filter_fn(none | weights, model)
    if none:
        del read["reg_token"]
    missing, unexpected = model.load_state_dict(read, strict=False)
    assert not unexpected
    assert not [name for name in missing if "k_bias" not in name]
    with torch.no_grad():
        rows: torch.Tensor = model.eval().forward_features(inputs)[0]
    return rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("domain", ["web", "satellite"])
def test_features_are_those_of_timm(kind: str, domain: Any, tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights(**KINDS[kind])
    path = saved(tmp_path / "own.pth", weights)
    backbone = DINOv3Mixin(model_path=str(path), device="cpu", domain=domain)
    assert backbone.geometry.input_size == 224
    assert backbone.info.num_register_tokens == KINDS[kind].get("registers", 4)
    image = picture(1, 224, 224)
    found = backbone.encode([image])[0]
    rows = by_timm(weights, KINDS[kind], pixels(image, 224, WEB if domain == "web" else SATELLITE)).numpy()
    skipped = 1 + KINDS[kind].get("registers", 4)
    np.testing.assert_allclose(found.patches, rows[skipped:], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.cls, rows[0], rtol=1e-4, atol=1e-4)


def test_another_input_size_and_a_rectangle(tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights(seed=6)
    backbone = DINOv3Mixin(
        model_path=str(saved(tmp_path / "own.pth", weights)), device="cpu", domain="web", input_size=96
    )
    image = picture(3, 150, 90)
    rows = by_timm(weights, {}, pixels(image, 96, WEB)).numpy()
    np.testing.assert_allclose(backbone.encode([image])[0].patches, rows[5:], rtol=1e-3, atol=2e-2)


def test_a_convnext_file_is_read_as_timm_reads_it(tmp_path: Path) -> None:
    widths, depths = (8, 16, 24, 32), (1, 1, 2, 1)
    weights = checkpoints.dinov3_convnext_file_weights(widths, depths)
    path = saved(tmp_path / "own.pth", weights)
    backbone = DINOv3Mixin(model_path=str(path), device="cpu", domain="web")
    assert (backbone.geometry.grid, backbone.patch_size) == (7, 32)
    image = picture(2, 224, 224)
    found = backbone.encode([image])[0]

    model = timm_convnext.ConvNeXt(depths=depths, dims=widths, num_classes=0)
    read = timm_convnext.checkpoint_filter_fn(dict(weights), model)
    missing, unexpected = model.load_state_dict(read, strict=False)
    assert (missing, unexpected) == ([], [])
    with torch.no_grad():
        grid = model.eval().forward_features(pixels(image, 224, WEB))
        rows = torch.cat([grid.mean((2, 3))[:, None], grid.flatten(2).transpose(1, 2)], 1)[0]
        rows = torch.nn.functional.layer_norm(rows, widths[-1:], weights["norm.weight"], weights["norm.bias"], 1e-6)
    np.testing.assert_allclose(found.patches, rows[1:].numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.cls, rows[0].numpy(), rtol=1e-4, atol=1e-4)


def test_satellite_and_web_differ_as_computed_by_hand(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.pth", checkpoints.dinov3_file_weights())
    web, satellite = (DINOv3Mixin(model_path=str(path), device="cpu", domain=kind) for kind in ("web", "satellite"))
    image = Image.new("RGB", (64, 64), (51, 102, 204))  # 0.2, 0.4, 0.8
    found = [backbone._pixels([image])[0, :, 5, 7].tolist() for backbone in (web, satellite)]
    assert found[0] == pytest.approx([(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225], abs=1e-5)
    assert found[1] == pytest.approx([(0.2 - 0.430) / 0.213, (0.4 - 0.411) / 0.156, (0.8 - 0.296) / 0.143], abs=1e-5)
    assert web.fingerprint != satellite.fingerprint
    assert not np.allclose(web.encode([image])[0].cls, satellite.encode([image])[0].cls, atol=1e-2)


@pytest.mark.parametrize("wrapped", ["teacher", "flat", "state_dict"])
def test_the_teacher_of_a_training_is_taken(wrapped: str, tmp_path: Path) -> None:
    own, other = (checkpoints.dinov3_file_weights(seed=seed) for seed in (7, 8))
    named = {f"backbone.{name}": value for name, value in own.items()}
    held: dict[str, Any] = {
        "teacher": {"teacher": named, "student": other, "iteration": 12},
        "flat": {f"teacher.{name}": value for name, value in named.items()} | {"student.cls_token": torch.zeros(1)},
        "state_dict": {"state_dict": OrderedDict(own), "epoch": 3},
    }[wrapped]
    torch.save(held, tmp_path / "training.pth")
    settings = {"device": "cpu", "domain": "web"}
    expected = DINOv3Mixin(model_path=str(saved(tmp_path / "own.pth", own)), **settings).encode([picture(1)])[0]
    found = DINOv3Mixin(model_path=str(tmp_path / "training.pth"), **settings).encode([picture(1)])[0]
    np.testing.assert_array_equal(found.patches, expected.patches)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(path: Path, message: str, domain: Any = "web") -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        DINOv3Mixin(model_path=str(path), device="cpu", domain=domain).encode([picture(1)])
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_a_bare_file_needs_a_domain(tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights()
    refused(saved(tmp_path / "own.pth", weights), r"own\.pth does not hold how images are normalised; add", None)
    path = saved(tmp_path / "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth", weights)
    refused(path, r"\(its name says satellite\); add `domain: web`", None)
    refused(path, r"is of satellite images by its name, and the pipe has domain: web$")
    refused(saved(tmp_path / "dinov3_vits16_pretrain_LVD1689M.pth", weights), "is of web images", "satellite")
    refused(path, "unknown domain 'aerial'; allowed: web, satellite", "aerial")
    with pytest.raises(CheckpointError, match="domain is a setting of DINOv3, and this is CLIP"):
        CLIPMixin(model_path="openai/clip-vit-base-patch32", domain="web")


def test_a_directory_says_its_domain_itself(models: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(models / "dinov3", tmp_path / "dinov3"))
    web = DINOv3Mixin(model_path=str(path), device="cpu", domain="web")
    assert web.fingerprint == DINOv3Mixin(model_path=str(path), device="cpu").fingerprint
    refused(
        path, r"domain: satellite, whose image_mean is \[0\.43, 0\.411, 0\.296\], and its preproc.*0\.485", "satellite"
    )


def test_other_files_are_refused(models: Path, tmp_path: Path) -> None:
    refused(models / "sam.pth", "is no original DINOv3 file .*rope_embed.periods")
    (tmp_path / "text.pth").write_text("no weights at all, but some text", "utf-8")
    refused(tmp_path / "text.pth", "is no file of torch.save; download it again")
    whole = saved(tmp_path / "own.pth", checkpoints.dinov3_file_weights()).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "half.pth", "not whole; torch.save it again")
    weights = checkpoints.dinov3_file_weights()
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pth", "format of before 2020")
    torch.save([weights], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "holds no dictionary of tensors")


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    weights: dict[str, Any] = {**checkpoints.dinov3_file_weights(), "extra": Runs(tmp_path / "was-run")}
    torch.save(weights, tmp_path / "own.pth")
    refused(tmp_path / "own.pth", "holds more than tensors .*; where you trust it, torch.save")
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        archive.writestr("bad/data.pkl", pickle.dumps(Runs(tmp_path / "was-run")))
    refused(tmp_path / "bad.pth", "holds more than tensors")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm.weight": None}, r"1 weight\(s\) are missing \(first: norm\.weight\)"),
        ({"blocks.1.attn.qkv.weight": torch.zeros(96, 31)}, "does not fit: size mismatch"),
        ({"head.weight": torch.zeros(2, 2)}, r"holds 1 weight\(s\) that DINOv3 does not have \(first: head\.weight\)"),
        ({"rope_embed.periods": torch.ones(5)}, "is no original DINOv3 file: ValueError heads of 20 in a width of 32"),
        ({"patch_embed.proj.weight": torch.zeros(32, 4, 16, 16)}, "ValueError patches of 4 x 16 x 16"),
        ({"blocks.0.mlp.fc1.weight": None}, "is no original DINOv3 file: KeyError"),
        ({"cls_token": torch.zeros(1, 1, 32, dtype=torch.int64)}, "cls_token is no tensor of floating point numbers"),
        ({"norm.bias": torch.full((32,), float("nan"))}, "returned NaN or infinite features"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, torch.Tensor | None], message: str, tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights() | change
    kept = {name: value for name, value in weights.items() if value is not None}
    with pytest.raises(Exception, match=message) as caught:
        DINOv3Mixin(model_path=str(saved(tmp_path / "own.pth", kept)), device="cpu", domain="web").encode([picture(1)])
    assert type(caught.value).__module__ == "pytest_editeval.errors"


def test_periods_of_another_base_are_followed(tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights(width=64)
    other = weights | {"rope_embed.periods": 10.0 ** (torch.arange(8) / 8)}
    rounded = weights | {"rope_embed.periods": weights["rope_embed.periods"].bfloat16()}
    found = [
        DINOv3Mixin(model_path=str(saved(tmp_path / f"{n}.pth", one)), device="cpu", domain="web")
        for n, one in enumerate((weights, other, rounded))
    ]
    bases = [backbone.model.config.rope_theta for backbone in found]  # type: ignore[union-attr]
    assert bases[0] == bases[2] == 100
    assert bases[1] == pytest.approx(10, rel=1e-4)


def test_names_and_shapes_are_those_of_torch(tmp_path: Path) -> None:
    weights = checkpoints.dinov3_file_weights(seed=4)
    weights["norm.weight"] = torch.nn.Parameter(weights["norm.weight"])
    weights["cls_token"] = weights["cls_token"].half()
    shapes, prefix = tensor_shapes(saved(tmp_path / "own.pth", weights))
    assert prefix == ""
    assert shapes == {name: tuple(value.shape) for name, value in weights.items()}


def test_a_profile_names_a_file_and_its_domain(project: Project) -> None:
    project.cases(
        """
        cases:
          - id: same
            instruction: Change nothing.
            source: source.png
            edited: source.png
            coords: [[20, 20, 80, 80]]
            metrics: {dinov3_structure_similarity: 0.99}
        """
    )
    saved(project.path / "own.pth", checkpoints.dinov3_file_weights())
    config = project.path / "dino.yaml"

    def run(domain: str) -> str:
        block = f"{{model_path: ./own.pth{domain}}}"
        config.write_text(
            f"profile: own\nmetric_configs: {{dinov3_structure_similarity: {{default_config: {block}}}}}\n", "utf-8"
        )
        result = project.run("--editeval-config", str(config))
        return "\n".join([f"status {result.ret:d}", *result.outlines, *result.errlines])

    assert "1 passed" in run(", domain: web")
    assert "1 passed" in run(", domain: satellite")
    assert "own.pth does not hold how images are normalised; add `domain: web`" in run("")
    wrong = run(", domain: aerial")
    assert "status 4" in wrong
    assert "dino.yaml:2:" in wrong
    assert "domain" in wrong
    assert "'web'" in wrong
