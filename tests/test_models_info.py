"""`editeval models info`: what a path really is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import checkpoints
from pytest_editeval.cli import main
from pytest_editeval.errors import CheckpointError
from pytest_editeval.profiles import EMBEDDED_PATH
from pytest_editeval.vision.description import describe


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """What is printed, by label."""
    assert main(["models", "info", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:15].strip(): line[15:] for line in lines}


def test_a_vision_transformer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoints.make_dinov3(tmp_path / "dinov3", image_size=96, patch_size=8, registers=3, width=16, layers=1)
    found = printed(capsys, str(path))
    assert found["family"] == "dinov3_vit, for dino-v3-pipe"
    assert found["tokens"] == "CLS, 3 registers, 12×12 patches of 8 px"
    assert found["input"] == "96 px, squashed; other sizes: input_size"
    assert found["normalisation"] == "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225 (web)"
    import transformers

    model = transformers.AutoModel.from_pretrained(path)
    number = sum(value.numel() for value in model.state_dict().values())
    size = sum((path / name).stat().st_size for name in describe(str(path)).files)
    assert found["weights"] == f"{number:,}, in {size / (1 << 20):.1f} MiB"
    digest = hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
    assert found["sha256"] == f"{digest}  model.safetensors"


@pytest.mark.parametrize(
    ("make", "settings", "family", "tokens", "prepared"),
    [
        (
            checkpoints.make_clip,
            {"image_size": 64, "patch_size": 8},
            "clip_vision_model, for clip-pipe",
            "CLS, 8×8 patches of 8 px",
            "64 px, the centre of a picture whose shorter side is 64 px",
        ),
        (
            checkpoints.make_dinov2,
            {"image_size": 56, "registers": 2},
            "dinov2_with_registers, for dino-v3-pipe",
            "CLS, 2 registers, 4×4 patches of 14 px",
            "56 px, the centre of a picture whose shorter side is 64 px; other sizes: input_size",
        ),
        (
            checkpoints.make_siglip,
            {"image_size": 64},
            "siglip_vision_model, for clip-pipe",
            "4×4 patches of 16 px; the pooled output stands for CLS",
            "64 px, squashed",
        ),
        (
            checkpoints.make_dinov3_convnext,
            {"image_size": 96},
            "dinov3_convnext, for dino-v3-pipe",
            "CLS, 3×3 patches of 32 px",
            "96 px, squashed; other sizes: input_size",
        ),
        (
            checkpoints.make_sam_hf,
            {},
            "sam, for a sam block",
            None,
            "the longer side resized to 256 px, padded to a square",
        ),
        (checkpoints.make_sam2_hf, {}, "sam2, for a sam block", None, "256 px, squashed"),
        (
            checkpoints.make_sam_hq,
            {},
            "sam_hq, for a sam block",
            None,
            "the longer side resized to 256 px, padded to a",
        ),
    ],
)
def test_each_family(
    make: Any,
    settings: dict[str, Any],
    family: str,
    tokens: str | None,
    prepared: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(capsys, str(make(tmp_path / "checkpoint", **settings)))
    assert (found["family"], found.get("tokens")) == (family, tokens)
    assert found["input"].startswith(prepared)
    assert "normalisation" in found


def test_files_without_a_configuration(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, str(models / "sam.pth"))
    assert found["family"] == "segment-anything (an encoder 32 wide), for a sam block"
    assert found["input"] == "the longer side resized to 256 px, padded to a square; patches of 16 px"
    state = torch.load(models / "sam.pth", weights_only=True)
    assert found["weights"].startswith(f"{sum(value.numel() for value in state.values()):,}, in ")

    path = tmp_path / "own.pth"
    torch.save(checkpoints.dinov3_file_weights(registers=0), path)
    found = printed(capsys, str(path), "--domain", "satellite")
    assert found["family"] == "dinov3_vit, an original file, for dino-v3-pipe"
    assert found["tokens"] == "CLS, 14×14 patches of 16 px"
    assert found["normalisation"] == "mean 0.43, 0.411, 0.296, std 0.213, 0.156, 0.143 (satellite)"
    assert main(["models", "info", str(path)]) != 0
    assert "add `domain: web`" in capsys.readouterr().err


def test_weights_in_a_pickle_are_counted(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((models / "clip" / name).read_bytes())
    import transformers

    state = transformers.CLIPVisionModel.from_pretrained(models / "clip").state_dict()
    torch.save(state, folder / "pytorch_model.bin")
    assert describe(str(folder)).weights == sum(value.numel() for value in state.values())


def test_the_embedded_checkpoints_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", str(EMBEDDED_PATH / "dinov3"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] == "dinov3_vit"
    assert found["domain"] == "web"
    assert found["std"] == [0.229, 0.224, 0.225]
    for name, digest in found["files"].items():
        assert hashlib.sha256((EMBEDDED_PATH / "dinov3" / name).read_bytes()).hexdigest() == digest
    assert found["bytes"] == sum((EMBEDDED_PATH / "dinov3" / name).stat().st_size for name in found["files"])


def test_what_no_pipe_takes(tmp_path: Path, models: Path) -> None:
    path = checkpoints.make_clip(tmp_path / "clip", width=16, layers=1)
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {"model_type": "bert"}), "utf-8")
    with pytest.raises(CheckpointError, match=r"is a 'bert' checkpoint, which no pipe takes; known: clip, .*sam2"):
        describe(str(path))
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        describe("./nowhere")


def test_nothing_is_loaded(models: Path) -> None:
    code = (
        "import sys; from pytest_editeval.cli import main\n"
        "main(['models', 'info', sys.argv[1]])\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    for name in ("clip", "dinov3", "sam-hf"):
        subprocess.run([sys.executable, "-c", code, str(models / name)], check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", code, str(models / "sam.pth")], check=True, capture_output=True)


def test_what_a_pipe_refuses_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    dinov3 = checkpoints.make_dinov3(tmp_path / "dinov3", image_size=64, registers=1, width=16, layers=1)
    assert describe(str(dinov3), "web").tokens == "CLS, 1 register, 4×4 patches of 16 px"
    with pytest.raises(CheckpointError, match=r"the pipe has domain: satellite, whose image_mean is \[0\.43"):
        describe(str(dinov3), "satellite")
    with pytest.raises(CheckpointError, match="architecture is for a bare file of weights"):
        describe(str(dinov3), None, "vit_small_patch16_224")
    sam = checkpoints.make_sam_pth(tmp_path / "sam.pth")
    with pytest.raises(CheckpointError, match="domain is a setting of DINOv3, and this is a 'segment-anything'"):
        describe(str(sam), "web")
    with pytest.raises(CheckpointError, match=r"is a safetensors file, .*; point model_path at its directory"):
        describe(str(dinov3 / "model.safetensors"), "web")
    config = json.loads((dinov3 / "config.json").read_text("utf-8")) | {"model_type": "siglip2_vision_model"}
    (dinov3 / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=r"which no pipe takes; .*NaFlex"):
        describe(str(dinov3))
