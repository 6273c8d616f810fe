"""What explains a score: each patch's share of the cost, and the objects that were cut out."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.distance import cdist

import oracle
from conftest import picture
from pytest_editeval import CLIPPipe, DINOv3Pipe
from pytest_editeval.evidence import MASK_SIDE, PATCHES, mask_data, patch_costs, patch_data
from pytest_editeval.regions import Geometry
from pytest_editeval.scoring.store import Store
from pytest_editeval.vision.scorer import Scorer

SOURCE, EDITED = picture(1), picture(2)
BOX, BOX2 = (8, 8, 60, 60), (30, 20, 96, 90)


def clip_pipe(models: Path, **settings: object) -> CLIPPipe:
    sam = {"model_path": str(models / "sam.pth")}
    return CLIPPipe(model_path=str(models / "clip"), sam=sam, device="cpu", **settings)  # type: ignore[arg-type]


def test_the_shares_of_an_emd_are_those_of_the_transport_plan(models: Path) -> None:
    """Against a plan solved here, by another solver, from features that the oracle encodes."""
    selected = oracle.selection(models / "clip", (96, 96), [BOX], "outer")
    left, right = (oracle.clip_tokens(models / "clip", image).patches[selected] for image in (SOURCE, EDITED))
    cost = cdist(left, right, "sqeuclidean")
    plan = ot.solve(cost).plan
    expected = (plan * cost).sum(axis=0) / (plan * cost).sum()
    found = patch_costs(clip_pipe(models).score(SOURCE, EDITED, [BOX], "outer", "region_emd").details)
    assert found is not None
    assert found.shares is not None
    assert np.array_equal(found.compared.reshape(-1), selected)
    assert found.shares.reshape(-1)[selected] == pytest.approx(expected, abs=2e-4)
    assert not found.shares.reshape(-1)[~selected].any()
    assert found.shares.sum() == pytest.approx(1, abs=1e-3)


def test_the_shares_of_the_structure_are_rows_of_the_squared_difference(models: Path) -> None:
    pipe = DINOv3Pipe(model_path=str(models / "dinov3"), device="cpu")
    selected = oracle.selection(models / "dinov3", (96, 96), [BOX], "inner")
    cosines = []
    for image in (SOURCE, EDITED):
        rows = oracle.dinov3_tokens(models / "dinov3", image).patches[selected].astype(np.float64)
        norms = np.sqrt((rows**2).sum(axis=1))
        cosines.append((rows @ rows.T) / np.outer(norms, norms))
    squared = (cosines[0] - cosines[1]) ** 2
    found = patch_costs(pipe.score(SOURCE, EDITED, [BOX], "inner", "dinov3_structure_similarity").details)
    assert found is not None
    assert found.shares is not None
    expected = squared.sum(axis=1) / squared.sum()
    assert found.shares.reshape(-1)[selected] == pytest.approx(expected, abs=2e-4)


def test_an_unchanged_image_costs_nothing_anywhere(models: Path) -> None:
    found = patch_costs(clip_pipe(models).score(SOURCE, SOURCE, [BOX], "outer", "region_emd").details)
    assert found is not None
    assert found.shares is not None
    assert not found.shares.any()
    assert found.compared.any()


@pytest.mark.parametrize(
    ("geometry", "size", "expected"),
    [
        (Geometry(224, 32), (512, 512), (0, 0, 512, 512)),
        (Geometry(224, 32), (640, 480), (0, 0, 640, 480)),
        (Geometry(224, 32, shortest_edge=224), (640, 480), (37 * 640 / 298, 0, 261 * 640 / 298, 480)),
        (Geometry(224, 16, shortest_edge=256), (300, 300), (18.75, 18.75, 281.25, 281.25)),
    ],
)
def test_the_grid_covers_what_the_model_saw(
    geometry: Geometry, size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    assert geometry.area(size) == pytest.approx(expected)
    first, last = geometry.patch_area(0, size), geometry.patch_area(geometry.grid**2 - 1, size)
    assert (*first[:2], *last[2:]) == pytest.approx(expected, abs=1)


@given(data=st.data(), grid=st.integers(1, 9))
def test_patch_data_comes_back(data: st.DataObject, grid: int) -> None:
    compared = np.array(data.draw(st.lists(st.booleans(), min_size=grid**2, max_size=grid**2)))
    number = int(compared.sum())
    costs = np.array(data.draw(st.lists(st.floats(0, 1), min_size=number, max_size=number)))
    geometry = Geometry(grid * 8, 8)
    found = patch_costs({PATCHES: patch_data(geometry, (grid * 8, grid * 16), compared, costs)})
    assert found is not None
    assert found.shares is not None
    assert found.area == (0, 0, grid * 8, grid * 16)
    assert np.array_equal(found.compared.reshape(-1), compared)
    assert found.shares.reshape(-1)[compared] == pytest.approx(costs, abs=1e-5)
    untold = patch_costs({PATCHES: patch_data(geometry, (8, 8), compared, None)})
    assert untold is not None
    assert untold.shares is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        "torn",
        {},
        {"rows": 2, "columns": 2, "area": [0, 0, 1], "compared": "1111"},
        {"rows": 2, "columns": 2, "area": [0, 0, 1, 1], "compared": "111"},
        {"rows": 2, "columns": 2, "area": [0, 0, 1, 1], "compared": "1111", "shares": "AA"},
        {"rows": 2, "columns": 2, "area": [0, 0, 1, 1], "compared": "1111", "shares": "AAAA"},
    ],
)
def test_what_cannot_be_read_is_nothing(data: object) -> None:
    assert patch_costs({PATCHES: data}) is None
    assert patch_costs({}) is None


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_the_masks_are_those_that_the_crops_were_made_with(models: Path, tmp_path: Path) -> None:
    """Encoded now, from memory, and from the store of an earlier session."""
    pipe = clip_pipe(models)
    pipe.scorer = Scorer(store=Store(tmp_path))
    sam = pipe.sam_block
    assert sam is not None
    for _ in range(2):
        score = pipe.score(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim")
        (pair,) = score.details["objects"]
        for side, image, box in (("source", SOURCE, BOX), ("edited", EDITED, BOX2)):
            x1, y1, x2, y2 = box
            assert pair[side]["box"] == [x1, y1, x2, y2]
            expected = sam.masks(sam.embed(image), [box])[0][y1:y2, x1:x2]
            assert np.array_equal(decoded(pair[side]["mask"]), expected)
    pipe.scorer = Scorer(store=Store(tmp_path))
    again = pipe.score(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim")
    assert again.details["objects"] == score.details["objects"]
    assert not pipe.scorer.counts["SAM"]


def test_a_segmenter_with_a_way_of_its_own_tells_no_mask(models: Path) -> None:
    from pytest_editeval.vision.segmenter import SAMSegmenter

    class Whole(SAMSegmenter):
        def isolate(self, embedding, boxes, bg_color=(255, 255, 255)):  # type: ignore[no-untyped-def]
            return [np.asarray(embedding.image.crop(box)) for box in boxes]

    pipe = clip_pipe(models)
    pipe.sam_block = Whole(model_path=str(models / "sam.pth"), device="cpu")
    (pair,) = pipe.score(SOURCE, EDITED, [BOX, BOX2], metric="sam_clip_cls_sim").details["objects"]
    assert pair["source"] == {"box": list(BOX), "mask": None}


def test_a_large_mask_is_thinned_out() -> None:
    mask = np.zeros((2000, 300), bool)
    mask[1000:] = True
    found = decoded(mask_data(mask))
    assert found.shape == (500, 75)
    assert max(found.shape) <= MASK_SIDE
    assert np.array_equal(found, np.arange(500)[:, None].repeat(75, axis=1) >= 250)
