"""Which device a run uses."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pytest_editeval import device
from pytest_editeval.device import check_device, resolve_device
from pytest_editeval.errors import EditEvalError
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
    monkeypatch.setattr(device, "_gpu_count", lambda: gpus)
    assert resolve_device("auto") == resolve_device(None) == expected
    assert resolve_device("cpu") == "cpu"


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
