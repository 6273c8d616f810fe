"""Which device a run uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_editeval import device
from pytest_editeval.config import load_profile
from pytest_editeval.device import check_device, gpu_count, gpu_name, resolve_device, spread
from pytest_editeval.errors import EditEvalError
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.vision.loading import check_available


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_allowed_names(name: str) -> None:
    assert check_device(name) == name


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cuda:", "cuda:x", "cuda:0 ", "cpu\n", "mps:0", "xpu"])
def test_other_names_list_the_allowed_ones(name: str) -> None:
    with pytest.raises(EditEvalError, match="allowed: auto, cpu, cuda, cuda:N, mps") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_a_torch_device_is_taken_by_its_name() -> None:
    assert resolve_device(torch.device("cpu")) == "cpu"
    assert resolve_device(torch.device("cuda", 1)) == "cuda:1"


@pytest.mark.parametrize(("built", "gpus", "expected"), [(1, 2, "cuda"), (1, 0, "cpu"), (0, 2, "cpu"), (0, 0, "cpu")])
def test_auto_is_cuda_where_torch_and_driver_have_it(
    built: int, gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_torch_has_cuda", lambda: bool(built))
    monkeypatch.setattr(device, "gpu_count", lambda: gpus)
    assert resolve_device("auto") == resolve_device(None) == expected
    assert resolve_device("cpu") == "cpu"


class Driver:
    """A CUDA driver with these GPUs."""

    def __init__(self, *names: bytes) -> None:
        self.names = names

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, gpu: Any, index: int) -> int:  # noqa: N802
        gpu._obj.value = 70 + index
        return 0 if 0 <= index < len(self.names) else 101

    def cuDeviceGetName(self, name: Any, size: int, gpu: Any) -> int:  # noqa: N802
        name.value = self.names[gpu.value - 70][: size - 1]
        return 0


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(device, "_driver", lambda: Driver(b"GPU A", b"GPU B"))


@pytest.mark.usefixtures("two_gpus")
def test_the_driver_counts_and_names_the_gpus() -> None:
    assert gpu_count() == 2
    assert [gpu_name(index) for index in (0, 1, 2, -1)] == ["GPU A", "GPU B", None, None]


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_driver", lambda: None)
    assert gpu_count() == 0
    assert gpu_name(0) is None


@pytest.mark.parametrize(
    ("name", "worker", "gpus", "expected"),
    [
        ("cuda", 0, 2, "cuda:0"),
        ("cuda", 1, 2, "cuda:1"),
        ("cuda", 5, 4, "cuda:1"),
        ("cuda", 1, 1, "cuda"),
        ("cuda", 1, 0, "cuda"),
        ("cuda", None, 2, "cuda"),
        ("cuda:0", 1, 2, "cuda:0"),
        ("cpu", 1, 2, "cpu"),
        ("mps", 1, 2, "mps"),
    ],
)
def test_workers_share_the_gpus(name: str, worker: int | None, gpus: int, expected: str) -> None:
    assert spread(name, worker, gpus) == expected


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("asked", "worker", "clip", "sam"),
    [
        ("auto", 3, "cuda:1", "cuda:1"),
        ("cuda", 2, "cuda:0", "cuda:0"),
        ("cuda:1", 2, "cuda:1", "cuda:1"),
        ("cpu", 1, "cpu", "cpu"),
        ("auto", None, "cuda", "cuda"),
    ],
)
def test_a_workers_pipes_are_on_its_gpu(asked: str, worker: int | None, clip: str, sam: str) -> None:
    pool = PipePool(load_profile(None), asked, worker=worker)
    assert (pool.default_pipe("clip-pipe").device, pool.default_segmenter().device) == (clip, sam)


@pytest.mark.usefixtures("two_gpus")
def test_the_configurations_device_is_shared_too(models: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        f"""
        profile: tiny
        metric_configs:
          sam_clip_cls_sim:
            pipe_name: clip-pipe
            default_config: {{model_path: {models}/clip, device: cuda}}
            init_config: {{sam: {{model_path: {models}/sam.pth, device: "cuda:0"}}}}
        """,
        "utf-8",
    )
    pool = PipePool(load_profile(tmp_path / "tiny.yaml"), "auto", worker=1)
    assert (pool.default_pipe("clip-pipe").device, pool.default_segmenter().device) == ("cuda:1", "cuda:0")


def test_auto_agrees_with_torch() -> None:
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_asking_costs_no_torch() -> None:
    code = "import sys; from pytest_editeval.device import *; resolve_device('auto'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("name", ["cuda", "cuda:99", "mps"])
def test_a_device_that_is_not_here_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "cuda:99":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EditEvalError, match=f"device {name} was asked for") as caught:
        check_available(name)
    assert "\n" not in str(caught.value)


PRECISION = """
import torch, warnings
from pytest_editeval.vision.loading import exact_arithmetic
warnings.simplefilter("error")
parts = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul]
choices = [
    lambda: None,
    lambda: torch.set_float32_matmul_precision("medium"),
    lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    lambda: setattr(torch.backends, "fp32_precision", "tf32"),
]
for choose in choices:
    choose()
    before = [part.fp32_precision for part in parts]
    with exact_arithmetic():
        assert [part.fp32_precision for part in parts] == ["ieee"] * 3, before
        assert torch.is_inference_mode_enabled()
    assert [part.fp32_precision for part in parts] == before
print("exact")
"""


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_arithmetic_is_exact_whatever_the_process_has_chosen() -> None:
    """In a process of its own: the settings are global."""
    done = subprocess.run([sys.executable, "-c", PRECISION], capture_output=True, text=True, check=False)
    assert done.stdout == "exact\n", done.stderr
