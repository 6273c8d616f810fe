"""Each image is encoded once, whatever is asked of it, and what is remembered never changes a score."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import oracle
from conftest import picture
from pytest_editeval import CLIPPipe, DINOv3Pipe, MetricSpec, register_metric, registry
from pytest_editeval.errors import MetricError
from pytest_editeval.registry import WHITE, Box, Color
from pytest_editeval.results import Score, SoftFailure
from pytest_editeval.vision.features import FeatureMemory
from pytest_editeval.vision.images import load_image
from pytest_editeval.vision.lanes import Executor, InTurn, Lanes
from pytest_editeval.vision.metrics import Measurement
from pytest_editeval.vision.objects import Pixels
from pytest_editeval.vision.scorer import Scorer
from pytest_editeval.vision.segmenter import Embedding, SAMSegmenter

SOURCE, EDITED, OTHER = picture(1), picture(2), picture(3)
BOX, BOX2 = (10, 12, 60, 70), (30, 20, 90, 88)


def clip_pipe(models: Path, **settings: Any) -> CLIPPipe:
    sam = {"model_path": str(models / "sam.pth")}
    return CLIPPipe(**{"model_path": str(models / "clip"), "device": "cpu", "sam": sam, **settings})


@contextmanager
def encoded_images(model: Any) -> Iterator[list[int]]:
    """How many images go through the network, one entry a forward pass."""
    passes: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(len(kwargs.get("pixel_values", args[0] if args else None))),
        with_kwargs=True,
    )
    yield passes
    hook.remove()


def test_each_distinct_image_is_encoded_once(models: Path) -> None:
    pipe = clip_pipe(models)
    with encoded_images(pipe.model) as passes:
        for mode in ("inner", "outer", None):
            pipe(SOURCE, EDITED, [BOX], mode)
            pipe(SOURCE.copy(), EDITED.copy(), [BOX2], mode, metric="region_emd")
        assert passes == [2]
        pipe.calc_emd(EDITED, SOURCE)
        assert passes == [2]
        pipe(SOURCE, OTHER)  # a second candidate of the same source
        assert passes == [2, 1]
        pipe(OTHER, OTHER.copy())
    assert sum(passes) == 3


def test_an_image_against_itself_is_one_pass(models: Path) -> None:
    pipe = clip_pipe(models)
    with encoded_images(pipe.model) as passes:
        pipe(SOURCE, SOURCE.copy())
    assert passes == [1]


def test_sam_sees_each_image_once(models: Path) -> None:
    pipe = clip_pipe(models)
    dinov3 = DINOv3Pipe(model_path=str(models / "dinov3"), device="cpu", sam={"model_path": str(models / "sam.pth")})
    dinov3.scorer = pipe.scorer
    assert pipe.sam_block is not None
    with encoded_images(pipe.sam_block.backend.model.image_encoder) as passes:
        pipe(SOURCE, EDITED, [BOX, BOX2, BOX, BOX2], metric="sam_clip_cls_sim")
        pipe(SOURCE, EDITED, [BOX, BOX], metric="sam_clip_cls_sim", bg_color=(0, 0, 0))
        dinov3(SOURCE, EDITED, [BOX, BOX2], metric="sam_dino_cls_sim")
    assert passes == [1, 1]


def test_the_same_object_is_encoded_once(models: Path) -> None:
    pipe = clip_pipe(models)
    with encoded_images(pipe.model) as passes:
        pipe(SOURCE, EDITED, [BOX, BOX2, BOX, BOX2], metric="sam_clip_cls_sim")
        pipe(SOURCE, EDITED, [BOX, BOX], metric="sam_clip_cls_sim")
    assert sum(passes) == 4


def scores(pipe: CLIPPipe) -> list[float | None]:
    return [
        pipe(SOURCE, EDITED, [BOX], "outer"),
        pipe(SOURCE, OTHER, [BOX], "inner", "region_emd"),
        pipe(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim"),
        pipe(SOURCE, EDITED.resize((50, 60)), [BOX], "inner"),
        pipe(OTHER, EDITED),
    ]


@pytest.mark.parametrize("max_bytes", [0, 1, 20_000, 1 << 30])
def test_what_is_remembered_changes_no_score(models: Path, max_bytes: int) -> None:
    pipe = clip_pipe(models)
    expected = scores(pipe)
    small = clip_pipe(models)
    small.scorer = Scorer(FeatureMemory(max_bytes))
    for _ in range(2):
        assert scores(small) == pytest.approx(expected, rel=1e-4)
    assert len(small.scorer.memory) == 1 or max_bytes > 1


def test_the_memory_forgets_what_was_used_least_recently(models: Path) -> None:
    pipe = clip_pipe(models)
    pipe(SOURCE, EDITED)
    one = next(iter(pipe.scorer.memory._entries.values())).nbytes
    pipe.scorer = Scorer(FeatureMemory(2 * one))
    with encoded_images(pipe.model) as passes:
        pipe(SOURCE, EDITED)
        pipe(SOURCE, SOURCE)
        pipe(SOURCE, OTHER)  # EDITED goes
        assert passes == [2, 1]
        pipe(SOURCE, OTHER)
        assert passes == [2, 1]
        pipe(SOURCE, EDITED)
        assert passes == [2, 1, 1]


def test_backbones_that_share_a_memory_do_not_mix(models: Path) -> None:
    crop, squash = clip_pipe(models), clip_pipe(models, fit="squash")
    wide = picture(1, 160, 96), picture(2, 160, 96)
    alone = crop(*wide), squash(*wide)
    assert alone[0] != alone[1]
    shared = Scorer()
    again = []
    for settings in ({}, {"fit": "squash"}, {"dtype": "bfloat16"}):
        pipe = clip_pipe(models, **settings)
        pipe.scorer = shared
        again.append(pipe(*wide))
    assert again[:2] == list(alone)
    assert again[2] != again[0]


def test_many_requests_at_once_are_the_same_scores(models: Path) -> None:
    pipe = clip_pipe(models)
    images = [load_image(image) for image in (SOURCE, EDITED, OTHER)]
    requests = [
        pipe.request("emd", images[0].ref, images[1].ref, [BOX], "outer"),
        pipe.request("sam_clip_cls_sim", images[0].ref, images[1].ref, [BOX]),
        pipe.request("region_emd", images[0].ref, images[2].ref, [BOX], "inner"),
        pipe.request("sam_clip_cls_sim", images[0].ref, images[2].ref, [BOX, BOX2]),
    ]
    with encoded_images(pipe.model) as passes:
        together = [score.value for score in pipe.scorer.score(requests, images)]
    assert passes == [3, 2]  # the whole images, then the objects
    assert together.pop(1) is None
    alone = clip_pipe(models)
    expected = [
        alone(SOURCE, EDITED, [BOX], "outer"),
        alone(SOURCE, OTHER, [BOX], "inner", "region_emd"),
        alone(SOURCE, OTHER, [BOX, BOX2], metric="sam_clip_cls_sim"),
    ]
    assert together == pytest.approx(expected, rel=1e-4)


class NoBlack(SAMSegmenter):
    """Another package's, which raises for one background."""

    def isolate(
        self, embedding: Embedding, boxes: Sequence[Box], bg_color: Color = WHITE
    ) -> list[Pixels | SoftFailure]:
        if bg_color == (0, 0, 0):
            raise MetricError("no black")
        return super().isolate(embedding, boxes, bg_color)


@pytest.mark.parametrize("executor", [InTurn, Lanes])
def test_a_prompt_that_fails_costs_its_own_scores_only(models: Path, executor: Callable[[], Executor]) -> None:
    """Not those of another background in the same images, nor of other images whose crops are in the same batch."""
    pipe = clip_pipe(models)
    pipe.sam_block = NoBlack(model_path=str(models / "sam.pth"), device="cpu")
    pipe.scorer = Scorer(executor=executor())
    images = [load_image(image) for image in (SOURCE, EDITED, OTHER)]
    black = {"bg_color": (0, 0, 0)}
    requests = [
        pipe.request("sam_clip_cls_sim", images[0].ref, images[1].ref, [BOX, BOX2]),
        pipe.request("sam_clip_cls_sim", images[0].ref, images[1].ref, [BOX, BOX2], **black),
        pipe.request("sam_clip_cls_sim", images[2].ref, images[2].ref, [BOX, BOX]),
    ]
    white, failing, other = pipe.scorer.submit(requests, images)
    expected = clip_pipe(models)(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim")
    assert white.result(60).value == pytest.approx(expected, rel=1e-4)
    assert other.result(60).value == pytest.approx(1, rel=1e-4)
    with pytest.raises(MetricError, match=r"^no black$"):
        failing.result(60)
    assert pipe.scorer.progress == (6, 6)  # three images in SAM, three objects
    pipe.scorer.executor.close()


class Leaver(SAMSegmenter):
    """Another package's, which would end the process."""

    def isolate(self, *_: object) -> list[Pixels | SoftFailure]:
        raise SystemExit(3)


def test_a_segmenter_that_would_end_the_process_is_an_error_with_its_own_lines(models: Path) -> None:
    pipe = clip_pipe(models)
    pipe.sam_block = Leaver(model_path=str(models / "sam.pth"), device="cpu")
    with pytest.raises(MetricError, match=r"^a model raised SystemExit: 3 \(.*test_scorer.py:\d+\)\n") as caught:
        pipe(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim")
    assert not [
        name for name in ("vision/scorer.py", "vision/cutter.py", "vision/model_guard.py") if name in str(caught.value)
    ]


def test_the_region_is_drawn_in_the_source(models: Path) -> None:
    """The box misses the smaller edited image; that image is resized to the source first."""
    pipe = clip_pipe(models)
    small = EDITED.resize((48, 48))
    box = (50, 50, 90, 90)
    found = pipe(SOURCE, small, [box], "inner")
    assert found == pipe(SOURCE, small.resize((96, 96), Image.Resampling.BICUBIC), [box], "inner")
    assert found == pytest.approx(oracle.score("emd", models / "clip", None, SOURCE, small, [box], "inner"), rel=1e-4)


def test_the_worst_spot_is_where_the_edit_went_wrong(models: Path) -> None:
    """The lower right corner is destroyed: the share of the cost that is named lies there, in source pixels."""
    pipe = clip_pipe(models)
    source = picture(1, 224, 224)
    pixels = np.asarray(source).copy()
    pixels[160:224, 160:224] ^= 0xFF
    score = pipe.score(source, Image.fromarray(pixels), metric="region_emd")
    worst = score.details["worst"]
    assert worst["rows"][1] == worst["columns"][1] == 6
    assert worst["area"][:2] >= [96, 96]
    assert worst["area"][2:] == [224, 224]
    assert 0 < worst["share"] <= 1
    assert score.details["patches_compared"] == score.details["patches_total"] == 49


# --- a metric of another package -------------------------------------------------------------------------------------


def plain(source: np.ndarray, edited: np.ndarray) -> float:
    return float(np.abs(source - edited).mean())


def vandal(source: np.ndarray, edited: np.ndarray) -> float:
    source[:] = 0
    edited[:] = 0
    return 1.0


def insister(source: np.ndarray, edited: np.ndarray) -> float:
    source.setflags(write=True)
    edited.setflags(write=True)
    return vandal(source, edited)


RETURNS = {
    "numpy_float": np.float32(0.5),
    "whole": 3,
    "measured": Measurement(2, np.zeros(0)),
    "nan": float("nan"),
    "infinite": float("inf"),
    "none": None,
    "text": "0.5",
    "truth": True,
    "array": np.zeros(2),
    "complex": np.complex128(1j),
    "measured_none": Measurement(None, np.zeros(0)),  # type: ignore[arg-type]
    "measured_nan": Measurement(float("nan"), np.zeros(0)),
    "array_of_one": np.ones(1),
    "array_of_no_dimension": np.zeros(()),
    "tensor": torch.ones(1),
    "numpy_truth": np.True_,
    "huge": 10**400,
    "measurement_of_measurement": Measurement(Measurement(1, np.zeros(0)), np.zeros(0)),  # type: ignore[arg-type]
    "parts_of_another_shape": Measurement(1, np.ones((2, 2))),
    "parts_of_another_number": Measurement(1, np.ones(1)),
    "parts_that_are_objects": Measurement(1, np.full(49, None)),
    "parts_that_are_complex": Measurement(1, np.zeros(49, complex)),
    "parts_that_are_a_list": Measurement(1, [0.0] * 49),  # type: ignore[arg-type]
    "parts_that_are_none": Measurement(1, None),  # type: ignore[arg-type]
    "parts_with_a_nan": Measurement(1, np.full(49, np.nan)),
    "parts_below_zero": Measurement(1, np.full(49, -1.0)),
}


@pytest.fixture(autouse=True)
def _their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("their_metrics")
    for function in (plain, vandal, insister):
        setattr(module, function.__name__, function)
    for name, value in RETURNS.items():
        setattr(module, name, lambda *_, value=value: value)
    monkeypatch.setitem(sys.modules, "their_metrics", module)
    monkeypatch.setattr(registry, "_registered", dict(registry.metrics()))


def theirs(function: str, **fields: Any) -> str:
    spec = {"pipe_name": "clip-pipe", "higher_is_better": False, "scope": None, "soft_failure_value": None}
    spec |= {"inputs": "patches", "summary": "theirs", **fields}
    return register_metric(MetricSpec(name="theirs", function=function, **spec)).name


def test_their_metric_is_computed_from_the_regions_patches(models: Path) -> None:
    pipe = clip_pipe(models)
    selected = oracle.selection(models / "clip", (96, 96), [BOX], "inner")
    left, right = (oracle.clip_tokens(models / "clip", image).patches[selected] for image in (SOURCE, EDITED))
    found = pipe.score(SOURCE, EDITED, [BOX], "inner", theirs("their_metrics:plain"))
    assert found.value == pytest.approx(plain(left, right), rel=1e-4)
    assert type(found.value) is float
    assert "worst" not in found.details
    assert isinstance(found, Score)


def test_their_metric_can_compare_objects(models: Path) -> None:
    pipe = clip_pipe(models)
    name = theirs("their_metrics:plain", inputs="objects")
    assert pipe(SOURCE, SOURCE, [BOX, BOX], metric=name) == 0.0
    assert pipe(SOURCE, EDITED, [BOX, BOX], metric=name) > 0  # type: ignore[operator]


def test_their_soft_failure_value_is_used(models: Path) -> None:
    assert clip_pipe(models)(SOURCE, EDITED, [], "inner", theirs("their_metrics:plain", soft_failure_value=-1.0)) == -1


def test_their_metric_cannot_write_to_what_is_remembered(models: Path) -> None:
    pipe = clip_pipe(models)
    before = pipe(SOURCE, EDITED)
    for inputs, fields in (("patches", {"all_source_patches": True}), ("objects", {})):
        registry._registered.pop("theirs", None)  # type: ignore[attr-defined]
        with pytest.raises(
            MetricError, match=r"raised ValueError: .*read-only \(.*test_scorer.py:\d+\)\n(.*\n)*.*copy"
        ):
            pipe(SOURCE, EDITED, [BOX, BOX], metric=theirs("their_metrics:vandal", inputs=inputs, **fields))
        registry._registered.pop("theirs")  # type: ignore[attr-defined]
        assert pipe(SOURCE, EDITED, [BOX, BOX], metric=theirs("their_metrics:insister", inputs=inputs, **fields)) == 1
    assert pipe(SOURCE, EDITED) == before


@pytest.mark.parametrize(("name", "value"), [("numpy_float", 0.5), ("whole", 3.0), ("measured", 2.0)])
def test_numbers_of_every_kind_are_scores(models: Path, name: str, value: float) -> None:
    found = clip_pipe(models)(SOURCE, EDITED, metric=theirs(f"their_metrics:{name}"))
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize("name", list(RETURNS)[3:])
def test_what_is_no_finite_number_is_a_fault(models: Path, name: str) -> None:
    with pytest.raises(MetricError, match=r"^metric 'theirs' \(their_metrics:\w+\) (is|returned) [^\n]+$"):
        clip_pipe(models)(SOURCE, EDITED, metric=theirs(f"their_metrics:{name}"))


@pytest.mark.parametrize("function", ["their_metrics:nothing", "no_such_package.metrics:mine", "their_metrics"])
def test_a_function_that_is_not_there_is_named(models: Path, function: str) -> None:
    with pytest.raises(MetricError, match=rf"metric 'theirs' \({function}\) cannot be imported: \w+: "):
        clip_pipe(models)(SOURCE, EDITED, metric=theirs(function))
