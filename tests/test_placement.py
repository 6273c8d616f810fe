"""How a network is held: over several devices and the disk, in 8 bits, compiled; against the network as it is."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import checkpoints
from conftest import picture
from project import Project
from pytest_editeval import CLIPMixin, DINOv3Mixin
from pytest_editeval.errors import CheckpointError, EditEvalError
from pytest_editeval.vision.costs import weight_bytes
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.placing import placed

SEVEN_BILLION = {"width": 64, "layers": 40, "heads": 32 // 16, "gated": True, "registers": 4, "patch_size": 16}
"""The 7B network's depth, gated MLP and registers, with 64 in the place of 4,096."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make_dinov3(tmp_path_factory.mktemp("7b") / "dinov3", image_size=96, **SEVEN_BILLION)


def bytes_of(path: Path) -> int:
    weights = transformers.AutoModel.from_pretrained(path).state_dict()
    return sum(value.numel() * 4 for value in weights.values())


@pytest.mark.parametrize("part", [0.02, 0.5, 2.0])
def test_what_does_not_fit_is_kept_on_the_disk(large: Path, part: float) -> None:
    """By the rows that transformers gives of the whole network."""
    image = picture(1, 96, 96)
    budget = {"cpu": f"{int(part * bytes_of(large) / 1000) + 1}KB"}
    spread = DINOv3Mixin(model_path=str(large), device="cpu", device_map="auto", max_memory=budget)
    found = spread.encode([image, picture(2, 96, 96)])[0]
    network = transformers.AutoModel.from_pretrained(large).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(large)(image, return_tensors="pt").pixel_values
    with torch.no_grad():
        rows = network(pixel_values=pixels).last_hidden_state[0].numpy()
    np.testing.assert_allclose(found.patches, rows[5:], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.cls, rows[0], rtol=1e-4, atol=1e-4)
    held = sum(p.numel() * 4 for p in spread.model.parameters() if p.device.type != "meta")
    assert held <= part * bytes_of(large) + 1000
    assert (held < bytes_of(large) / 2 + 1000) == (part < 1)


def original(folder: Path) -> dict[str, Any]:
    torch.save(checkpoints.dinov3_file_weights(layers=6, width=64), folder / "own.pth")
    return {"model_path": str(folder / "own.pth"), "domain": "web"}


def of_timm(folder: Path) -> dict[str, Any]:
    arguments = {"embed_dim": 48, "depth": 6, "num_heads": 3, "img_size": 64}
    return {"model_path": str(checkpoints.make_timm(folder / "vit", "vit_small_patch16_dinov3", **arguments))}


def convnext_of_timm(folder: Path) -> dict[str, Any]:
    arguments: dict[str, Any] = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}
    return {"model_path": str(checkpoints.make_timm(folder / "convnext", "convnext_tiny", **arguments))}


@pytest.mark.parametrize("make", [original, of_timm, convnext_of_timm])
def test_other_formats_are_spread_as_well(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    settings, image = make(tmp_path), picture(1, 96, 96)
    whole = DINOv3Mixin(**settings, device="cpu")
    expected = whole.encode([image])[0]
    half = f"{weight_bytes([whole], []) // 2000}KB"
    spread = DINOv3Mixin(**settings, device="cpu", device_map="auto", max_memory={"cpu": half})
    np.testing.assert_allclose(spread.encode([image])[0].patches, expected.patches, rtol=1e-4, atol=1e-4)
    assert {p.device.type for p in spread.model.parameters()} == {"cpu", "meta"}
    assert spread.fingerprint == whole.fingerprint
    assert list((tmp_path / "own").glob("*/*"))
    del spread
    gc.collect()
    assert not list((tmp_path / "own").iterdir())
    none = DINOv3Mixin(**settings, device="cpu", device_map="auto", max_memory={"cpu": "1KB"})
    with pytest.raises(CheckpointError, match=r"max_memory leaves no room|device_map: auto does not work here"):
        none.encode([image])


@pytest.mark.parametrize("second", [1.0, 0.3])
def test_a_plan_for_two_gpus(second: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the parts of a network would go: there are no GPUs here, so what is planned is not carried out."""
    import accelerate
    import timm

    plans: list[dict[str, Any]] = []
    tables: dict[str, Any] = {}
    monkeypatch.setattr(accelerate, "dispatch_model", lambda network, plan, **_: plans.append(plan) or network)
    monkeypatch.setattr(
        "accelerate.utils.set_module_tensor_to_device", lambda _, name, device: tables.update({name: device})
    )
    arguments: dict[str, Any] = {"embed_dim": 48, "depth": 12, "num_heads": 3, "img_size": 64, "num_classes": 0}
    network = timm.create_model("vit_small_patch16_224", **arguments)
    block = sum(p.numel() * 4 for p in network.blocks[0].parameters())
    rest = sum(p.numel() * 4 for p in network.parameters()) - 12 * block
    # Of the first GPU accelerate leaves room for the largest part, which may have to pass through.
    memory = (("0", f"{(6 * block + rest) // 1000}KB"), ("1", f"{int(second * 12 * block) // 1000}KB"), ("cpu", "1MB"))
    placed(Placement("cuda", device_map="auto", max_memory=memory), lambda: network)
    (plan,) = plans
    where = [plan[f"blocks.{number}"] for number in range(12)]  # none is divided
    order = [0, 1, "cpu"]
    assert where == sorted(where, key=order.index)
    assert where[0] == plan["patch_embed"] == 0
    assert set(where) == ({0, 1} if second == 1 else {0, 1, "cpu"})
    for device, size in ((0, memory[0][1]), (1, memory[1][1])):
        assert where.count(device) * block <= int(size.removesuffix("KB")) * 1000
    assert tables == dict.fromkeys(("cls_token", "pos_embed"), 0)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_an_attention_pooling_is_kept_on_the_disk_too(
    part: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """SigLIP's, which is an attention of torch's, whose last layer's weights are used without a call of that layer."""
    path = checkpoints.make_siglip(tmp_path / "siglip", image_size=64, patch_size=16, width=32, layers=4)
    image = picture(1, 96, 96)
    network = transformers.SiglipVisionModel.from_pretrained(path).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(path)(image, return_tensors="pt").pixel_values
    with torch.no_grad():
        pooled = network(pixel_values=pixels).pooler_output[0].numpy()
    whole = sum(value.numel() * 4 for value in network.parameters())
    budget = {"cpu": f"{int(part * whole / 1000)}KB"}
    spread = CLIPMixin(model_path=str(path), device="cpu", device_map="auto", max_memory=budget)
    capfd.readouterr()
    for _ in range(2):
        np.testing.assert_allclose(spread.encode([image])[0].cls, pooled, rtol=1e-4, atol=1e-4)
    assert any(parameter.is_meta for parameter in spread.model.parameters())
    assert "offloaded" not in capfd.readouterr().err


@pytest.mark.parametrize("mixin", [CLIPMixin, DINOv3Mixin])
def test_weights_in_8_bits(mixin: Any, models: Path) -> None:
    """Each weight is within a step of 256 of its row's range, biases are as they were, and features nearly."""
    path = models / ("clip" if mixin is CLIPMixin else "dinov3")
    plain, small = (mixin(model_path=str(path), device="cpu", quantize=quantize) for quantize in (None, "int8"))
    image = picture(3, 224, 224)
    found, exact = small.encode([image])[0].patches, plain.encode([image])[0].patches
    assert 1e-4 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.05
    before, number, linear = dict(plain.model.named_modules()), 0, 0
    for name, module in small.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            weight: Any = module.weight
            exactly = before[name].weight
            assert ((weight.dequantize() - exactly).abs() <= exactly.abs().amax(1, keepdim=True) / 127).all()
            number += 1
            linear += exactly.numel()
    assert number >= 6
    assert weight_bytes([small], []) < weight_bytes([plain], []) - 2.8 * linear
    assert small.fingerprint != plain.fingerprint
    assert (plain.manifest["quantize"], small.manifest["quantize"]) == (None, "int8")


def test_a_compiled_network(tmp_path: Path) -> None:
    path = checkpoints.make_dinov3(tmp_path / "dinov3", width=32, layers=1, image_size=32)
    plain, compiled = (DINOv3Mixin(model_path=str(path), device="cpu", compile=choice) for choice in (False, True))
    images = [picture(seed, 40, 40) for seed in range(3)]
    for one, other in zip(plain.encode(images), compiled.encode(images), strict=True):
        np.testing.assert_allclose(one.patches, other.patches, rtol=1e-4, atol=1e-4)
    assert type(compiled.model).__name__ == "OptimizedModule"
    assert plain.fingerprint != compiled.fingerprint


def test_a_machine_that_cannot_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo.exc

    path = checkpoints.make_dinov3(tmp_path / "dinov3", width=32, layers=1, image_size=32, seed=9)

    def broken(network: Any) -> Any:
        def call(**_: Any) -> Any:
            raise torch._dynamo.exc.InternalTorchDynamoError("no working C++ compiler was found")

        network.forward = call
        return network

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(CheckpointError, match=r"dinov3: compile does not work here: no working C\+\+ compiler"):
        DINOv3Mixin(model_path=str(path), device="cpu", compile=True).encode([picture(1)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantize": "int4"}, "unknown quantize 'int4'; allowed: int8"),
        ({"device_map": "balanced"}, "unknown device_map 'balanced'; allowed: auto"),
        ({"max_memory": {"cpu": "1GB"}}, "max_memory is for device_map: auto, which is not set"),
        ({"device_map": "auto", "quantize": "int8"}, "device_map: auto and quantize do not work together"),
        ({"device_map": "auto", "compile": True}, "device_map: auto and compile do not work together"),
        ({"device_map": "auto", "max_memory": {"tpu": "1GB"}}, r"max_memory has tpu: 1GB; write \{0: 20GiB"),
        ({"device_map": "auto", "max_memory": {0: "much"}}, "max_memory has 0: much; write"),
        ({"device_map": "auto", "max_memory": "20GB"}, "max_memory must be a mapping, found '20GB'"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str, models: Path, project: Project) -> None:
    with pytest.raises(EditEvalError, match=message):
        DINOv3Mixin(model_path=str(models / "dinov3"), **settings)


@pytest.mark.parametrize(("library", "settings"), [("torchao", "quantize"), ("accelerate", "device_map")])
def test_a_library_that_is_not_installed(
    library: str, settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.make_dinov3(tmp_path / "dinov3", width=32, layers=1, image_size=32, seed=10)
    monkeypatch.setattr("pytest_editeval.vision.placing.find_spec", lambda name: None)
    choice: dict[str, Any] = {settings: "int8" if settings == "quantize" else "auto"}
    with pytest.raises(CheckpointError, match=rf"needs {library}, which is not installed; pip install .*\[large\]"):
        DINOv3Mixin(model_path=str(path), device="cpu", **choice).encode([picture(1)])


CONFIG = "metric_configs: {{dinov3_structure_similarity: {{default_config: {{model_path: {path}, {settings}}}}}}}\n"


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("device_map: auto, max_memory: {cpu: 40KB}", "1 passed"),
        ("quantize: int8", "1 passed"),
        ("quantize: int4", "own.yaml:1:*quantize*must be 'int8'*found 'int4'"),
        ("device_map: auto, compile: true", "own.yaml:1:*device_map: auto and compile do not work together*"),
        ("max_memory: {cpu: 1GB}", "own.yaml:1:*max_memory is for device_map: auto*"),
        (
            "device_map: auto, max_memory: {cpu: lots}",
            "own.yaml:1:*max_memory*has cpu: lots; write {0: 20GiB, cpu: 60GiB}*",
        ),
    ],
)
def test_a_configuration(settings: str, shown: str, project: Project, tmp_path: Path) -> None:
    project.one("dinov3_structure_similarity: 0.000001", coords="[[10, 10, 70, 70]]")
    path = checkpoints.make_dinov3(project.path / "dinov3", width=32, layers=2, image_size=64, seed=4)
    config = project.write("own.yaml", CONFIG.format(path=path, settings=settings))
    result = project.run("--editeval-config", str(config))
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    (result.stdout if "passed" in shown else result.stderr).fnmatch_lines([f"*{shown}*"])
