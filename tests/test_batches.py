"""Batches that do not fit are halved, lanes share the cores, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import checkpoints
from conftest import picture
from project import Project
from pytest_editeval import CLIPMixin, CLIPPipe, DINOv3Mixin, DINOv3Pipe, SAMSegmenter
from pytest_editeval.vision import loading
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.batches import BatchSize, default_size, is_out_of_memory
from pytest_editeval.vision.images import ImageLike, load_image
from pytest_editeval.vision.lanes import InTurn, Lanes
from pytest_editeval.vision.loading import exact_arithmetic
from pytest_editeval.vision.scorer import Scorer

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:98] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(error: Exception) -> None:
    tried: list[int] = []

    def forward(part: Sequence[int]) -> list[int]:
        tried.append(len(part))
        if len(part) > 3:
            raise error
        return [2 * item for item in part]

    batch = BatchSize(16, "a model")
    assert batch.run(range(10), forward) == [2 * item for item in range(10)]
    assert tried == [10, 5, 2, 2, 2, 2, 2]
    assert batch.size == 2
    assert batch.notices == [
        "out of memory with 10 images at once in a model; 5 from now on",
        "out of memory with 5 images at once in a model; 2 from now on",
    ]
    assert batch.run(range(3), forward) == [0, 2, 4]  # what fitted is kept
    assert tried[-2:] == [2, 1]


def test_what_does_not_fit_alone_is_raised_and_other_errors_are_not_retried() -> None:
    calls: list[int] = []

    def failing(error: Exception) -> object:
        def forward(part: Sequence[int]) -> list[int]:
            calls.append(len(part))
            raise error

        return forward

    with pytest.raises(MemoryError):
        BatchSize(4, "a model").run(range(4), failing(MemoryError()))  # type: ignore[arg-type]
    assert calls == [4, 2, 1]
    calls.clear()
    with pytest.raises(ValueError, match="shape"):
        BatchSize(4, "a model").run(range(4), failing(ValueError("shape")))  # type: ignore[arg-type]
    assert calls == [4]
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_a_graphics_card_gets_larger_batches() -> None:
    assert default_size("cpu") < default_size("cuda:1")


@pytest.mark.parametrize("name", ["clip", "dinov3", "sam.pth", "sam-hf", "sam2-hf"])
def test_a_halved_batch_changes_no_features(models: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of several sizes, through a network that takes two at a time."""
    images = [picture(seed, 96 + 16 * seed, 96) for seed in range(5)]
    model: Backbone | SAMSegmenter
    if name.startswith("sam"):
        model = SAMSegmenter(model_path=str(models / name), device="cpu", batch_size=80)
        together = lambda: [embedding.tensors for embedding in model.embed_all(images)]  # noqa: E731
        inner = model._embed_batch
    else:
        pipe = CLIPPipe if name == "clip" else DINOv3Pipe
        model = pipe(model_path=str(models / name), device="cpu", batch_size=5)
        together = lambda: [(entry.patches, entry.cls) for entry in model.encode(images)]  # noqa: E731
        inner = model._encode_batch
    expected = together()

    def narrow(part: Sequence[ImageLike]) -> object:
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return inner(part)

    monkeypatch.setattr(model, inner.__name__, narrow)
    found = together()
    assert model.batch.size == 2
    for left, right in zip(found, expected, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_running_out_of_memory_is_one_line_and_no_failure(
    project: Project, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # one lane, so that both images are one batch
    project.cases()
    project.pytester.makeconftest(
        "import torch\n"
        "import pytest_editeval.vision.networks as networks\n"
        "hidden_states = networks.hidden_states\n"
        "def small(network, pixels, *rest):\n"
        "    if len(pixels) > 1:\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory')\n"
        "    return hidden_states(network, pixels, *rest)\n"
        "networks.hidden_states = small\n"
    )
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "same or other", *options)
    result.assert_outcomes(passed=4, failed=1)  # as without the shortage
    lines = [line for line in result.outlines if line.startswith("out of memory with")]
    assert lines == [f"out of memory with 2 images at once in {project.models}/clip; 1 from now on"]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", ""])
def test_a_batch_size_is_a_whole_number_or_auto(project: Project, value: str) -> None:
    project.cases()
    result = project.run(f"--editeval-batch-size={value}")
    if value:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["ERROR: editeval: editeval_batch_size is auto or a number of images from 1, not *"]
        )


@pytest.mark.parametrize("option", ["--editeval-memory", "--editeval-cache-size"])
@pytest.mark.parametrize("value", ["2", "GB", "-1GB", "0MB", "1 TB"])
def test_a_size_has_a_unit(project: Project, option: str, value: str) -> None:
    project.cases()
    result = project.run(f"{option}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: editeval: * is a size such as 500MB or 2GB, not '{value}'"])


def test_a_store_that_is_a_file_is_a_mistake(project: Project) -> None:
    project.cases()
    project.write("taken", "text")
    result = project.run("--editeval-cache-dir", "taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: editeval_cache_dir * is no directory"])


# --- lanes -----------------------------------------------------------------------------------------------------------


def test_lanes_share_torchs_threads_and_leave_the_callers_alone() -> None:
    code = """
import torch
torch.set_num_threads(4)
from pytest_editeval.vision.lanes import Lanes
lanes = Lanes()
print(lanes.lanes, {lanes.model(torch.get_num_threads).result() for _ in range(20)}, torch.get_num_threads())
import threading
seen = []
thread = threading.Thread(target=lambda: (torch.rand(9, 9) @ torch.rand(9, 9), seen.append(torch.get_num_threads())))
thread.start()
thread.join()
print(seen)
lanes.close()
"""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=alone)
    assert run.stdout.split("\n")[:2] == ["4 {1} 4", "[4]"]


@pytest.mark.parametrize("executor", [InTurn, Lanes])
def test_an_error_of_a_task_is_its_callers(executor: type[InTurn] | type[Lanes]) -> None:
    pool = executor()
    assert pool.work(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        pool.model(lambda: 1 / 0).result()
    pool.close()


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="a switch of torch 2.9")
def test_two_threads_compute_exactly_whoever_ends_first() -> None:
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with exact_arithmetic():
            inside.set()
            leave.wait(10)

    try:
        matmul.fp32_precision = "bf16"
        with exact_arithmetic():
            thread = threading.Thread(target=hold)
            thread.start()
            inside.wait(10)
        assert matmul.fp32_precision == "ieee"  # the other thread is not done
        leave.set()
        thread.join()
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize("lanes", [1, 3])
def test_threads_that_ask_at_once_share_one_pass(models: Path, lanes: int) -> None:
    """Six threads want the same scores of the same images; every image is encoded once."""
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu", sam={"model_path": str(models / "sam.pth")})
    torch.set_num_threads(lanes)
    try:
        pipe.scorer = Scorer(executor=Lanes())
        assert pipe.scorer.executor.lanes == lanes
    finally:
        torch.set_num_threads(1)
    box = (10, 10, 80, 80)
    results: list[object] = []

    def ask() -> None:
        pair = picture(1), picture(2)
        results.append((pipe(*pair, [box], "outer"), pipe(*pair, [box, box], metric="sam_clip_cls_sim")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert pipe.scorer.counts == {"CLIP": 4, "SAM": 2}
    pipe.scorer.executor.close()


class Short(CLIPPipe):
    """Returns fewer features than it was given images, as a broken model of somebody might."""

    def encode(self, images: Sequence[ImageLike]) -> list[object]:  # type: ignore[override]
        return list(super().encode(images))[:-1]


def test_a_model_that_returns_too_little_is_an_error_not_a_wait(models: Path) -> None:
    pipe = Short(model_path=str(models / "clip"), device="cpu")
    pipe.scorer = Scorer(executor=Lanes())
    with pytest.raises(ValueError, match="shorter"):
        pipe(picture(1), picture(2))
    pipe.scorer.executor.close()


def test_a_session_that_is_over_answers_at_once(models: Path) -> None:
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    pipe.scorer = Scorer(executor=Lanes())
    pipe.scorer.executor.close()
    images = [load_image(picture(seed)) for seed in (1, 2)]
    request = pipe.request("emd", images[0].ref, images[1].ref)
    (future,) = pipe.scorer.submit([request], images)
    assert isinstance(future, Future)
    deadline = time.monotonic() + 10
    while not future.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert future.done()


# --- batched preprocessing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip", "dinov3"])
def test_batches_give_what_the_checkpoints_own_processor_gives(models: Path, name: str) -> None:
    """Square images, where the processor's crop or squash is the whole image: transformers end to end."""
    import transformers

    kind = CLIPPipe if name == "clip" else DINOv3Pipe
    pipe = kind(model_path=str(models / name), device="cpu", batch_size=4)
    processor = transformers.AutoImageProcessor.from_pretrained(models / name)
    images = [picture(seed, side, side) for seed, side in enumerate((96, 224, 300, 96, 501, 37))]
    with torch.inference_mode():
        inputs = processor(images=images, return_tensors="pt")
        hidden = pipe.model(pixel_values=inputs["pixel_values"]).last_hidden_state.numpy()
    skipped = 1 + pipe.info.num_register_tokens
    for features, rows in zip(pipe.encode(images), hidden, strict=True):
        for found, expected in ((features.patches, rows[skipped:]), (features.cls, rows[0])):
            assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


# --- the line that moves ---------------------------------------------------------------------------------------------


def on_a_terminal(folder: Path, *options: str, **environment: str) -> str:
    """What a run prints to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options]
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS")}
    settings = {**known, "COLUMNS": "100", "TERM": "xterm", **environment}
    process = subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, stdin=theirs, env=settings)
    os.close(theirs)
    printed = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how a terminal of Linux says that the other end is closed
            break
        if not part:
            break
        printed += part
    os.close(ours)
    process.wait()
    return printed.decode()


def test_the_line_moves_on_a_terminal_and_leaves_nothing_behind(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    printed = on_a_terminal(project.path)
    assert "loading models" in printed
    assert "1 passed" in printed
    # What stands after the last movement is pytest's own line: erased, then the dot.
    after = printed.rsplit("loading models", 1)[1]
    assert "\x1b[K" in after.split("1 passed")[0]


@pytest.mark.parametrize("case", ["quiet", "ci", "workers"])
def test_the_line_stays_away(project: Project, case: str) -> None:
    project.one("region_emd: 1.0e+9")
    options = {"quiet": ("-q",), "ci": (), "workers": ("-n", "1")}[case]
    printed = on_a_terminal(project.path, *options, **({"CI": "true"} if case == "ci" else {}))
    assert "1 passed" in printed
    assert "loading" not in printed
    assert "encoding" not in printed


def test_nothing_moves_in_a_pipe(project: Project) -> None:
    project.one("region_emd: 0.0")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert "loading" not in result.stdout.str()
    assert "\x1b" not in result.stdout.str()


def test_checkpoints_are_what_their_files_hold(tmp_path: Path, models: Path) -> None:
    """Two copies are one model; other weights at the same place are another."""
    import shutil

    for name in "ab":
        shutil.copytree(models / "clip", tmp_path / name)
    first, second = (CLIPPipe(model_path=str(tmp_path / name), device="cpu") for name in "ab")
    assert first.key == second.key
    assert first.model is second.model
    checkpoints.make_clip(tmp_path / "b", seed=9)
    third = CLIPPipe(model_path=str(tmp_path / "b"), device="cpu")
    assert third.key != first.key
    assert third.model is not first.model


# --- the default dtype of the process --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["clip", "dinov3"])
def test_another_default_dtype_in_the_process_changes_no_feature(family: str, models: Path) -> None:
    cls: Any = {"clip": CLIPMixin, "dinov3": DINOv3Mixin}[family]
    expected = cls(model_path=str(models / family), device="cpu").encode([picture(3)])[0]
    loading._loaded.clear()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        found = cls(model_path=str(models / family), device="cpu").encode([picture(3)])[0]
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(before)
    assert np.array_equal(found.patches, expected.patches)
    assert np.array_equal(found.cls, expected.cls)


def test_a_half_precision_checkpoint_never_sets_the_default_of_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.make_dinov3(tmp_path / "half", image_size=32, width=16, layers=1)
    weights = {name: value.half() for name, value in load_file(path / "model.safetensors").items()}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"dtype": "float16", "torch_dtype": "float16"}))
    chosen = []
    real = torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda dtype: (chosen.append(dtype), real(dtype)))
    DINOv3Mixin(model_path=str(path), device="cpu").encode([picture(3)])
    assert set(chosen) == {torch.float32}
