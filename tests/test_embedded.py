"""The embedded profile: standard formats, small, and pointing in the right direction on photographs it never saw."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pytest_editeval.config import load_profile
from pytest_editeval.profiles import EMBEDDED_LIMITS, EMBEDDED_PATH
from pytest_editeval.registry import get_metric
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.pool import PipePool

PHOTOS = Path(__file__).parents[1] / "cases" / "images"
# One thing in each photograph, by eye: photograph, box.
THINGS = [
    ("astronaut.png", (165, 20, 300, 190)),
    ("chelsea.png", (100, 20, 330, 260)),
    ("coffee.png", (200, 60, 440, 300)),
    ("rocket.jpg", (255, 60, 395, 400)),
    ("flower.jpg", (200, 100, 460, 360)),
    ("china.jpg", (220, 60, 420, 300)),
]
Box = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def editeval() -> EditEval:
    pool = PipePool(load_profile(None), "cpu")
    fixtures = {"clip_pipe": "clip-pipe", "dinov3_pipe": "dino-v3-pipe"}
    return EditEval(
        pool, lambda name: pool.default_pipe(fixtures[name]) if name in fixtures else pool.default_segmenter()
    )


@pytest.fixture(scope="module")
def photos() -> list[tuple[Image.Image, Box]]:
    """The centre squares of the photographs, which is what CLIP sees of them, at 256 px."""
    found = []
    for name, (x1, y1, x2, y2) in THINGS:
        image = Image.open(PHOTOS / name).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        scale = 256 / side
        box = [(x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale]
        x1, y1, x2, y2 = (int(min(max(value, 8), 248)) for value in box)
        square = image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.LANCZOS)
        found.append((square, (x1, y1, x2, y2)))
    return found


def reencoded(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def inside(image: Image.Image, box: Box, change: Image.Image) -> Image.Image:
    edited = image.copy()
    edited.paste(change.crop(box), box[:2])
    return edited


def recoloured(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (blue.point(lambda v: int(v * 0.9)), red, green))


def good_edits(image: Image.Image, box: Box) -> Iterator[Image.Image]:
    yield reencoded(inside(image, box, recoloured(image)))
    yield reencoded(inside(image, box, image.point(lambda v: min(255, int(v * 1.15)))))


def leaks(image: Image.Image, box: Box, other: Image.Image) -> Iterator[Image.Image]:
    """Edits that reach outside the box."""
    rng = np.random.default_rng(3)
    inner = inside(image, box, recoloured(image)).crop(box)
    noise = np.asarray(image).astype(int) + rng.normal(0, 30, (256, 256, 3))
    corner = image.copy()
    corner.paste(other.resize((90, 90)), (0, 160))
    for outside in (
        image.point(lambda v: int(v * 0.65)),
        image.filter(ImageFilter.GaussianBlur(4)),
        Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)),
        corner,
        recoloured(image),
    ):
        leaked = outside.copy()
        leaked.paste(inner, box[:2])
        yield leaked


def destroyed(image: Image.Image, box: Box, other: Image.Image) -> Iterator[Image.Image]:
    """Edits after which what was inside the box is no longer there."""
    x1, y1, x2, y2 = box
    part = image.crop(box)
    tiles = np.asarray(part.resize((64, 64))).reshape(4, 16, 4, 16, 3).swapaxes(1, 2).reshape(16, 16, 16, 3)
    shuffled = (
        tiles[np.random.default_rng(4).permutation(16)].reshape(4, 4, 16, 16, 3).swapaxes(1, 2).reshape(64, 64, 3)
    )
    for change in (
        part.transpose(Image.Transpose.ROTATE_180),
        Image.fromarray(shuffled),
        other.crop((60, 60, 200, 200)),
    ):
        edited = image.copy()
        edited.paste(change.resize((x2 - x1, y2 - y1)), (x1, y1))
        yield edited


def mean(scores: list[float | None]) -> float:
    assert None not in scores
    return float(np.mean([score for score in scores if score is not None]))


@pytest.mark.parametrize(
    "metric", ["region_emd", "emd", "dinov3_structure_similarity", "sam_clip_cls_sim", "sam_dino_cls_sim"]
)
def test_bad_edits_score_worse_than_good_ones(
    editeval: EditEval, photos: list[tuple[Image.Image, Box]], metric: str
) -> None:
    spec = get_metric(metric)
    bad_edits = leaks if spec.scope == "unedit_area" else destroyed
    good: list[float | None] = []
    bad: list[float | None] = []
    for index, (image, box) in enumerate(photos):
        other = photos[(index + 1) % len(photos)][0]
        coords = [box, box] if spec.inputs == "objects" else [box]
        good += [editeval.score(metric, image, edit, coords).value for edit in good_edits(image, box)]
        bad += [editeval.score(metric, image, edit, coords).value for edit in bad_edits(image, box, other)]
    gap = mean(good) - mean(bad) if spec.higher_is_better else mean(bad) - mean(good)
    spread = float(np.std([score for score in good if score is not None]))
    assert gap > 0.5 * spread, f"{metric}: good {mean(good):.4g} (spread {spread:.2g}), bad {mean(bad):.4g}"


def test_three_checkpoints_in_the_standard_formats(editeval: EditEval) -> None:
    clip = json.loads((EMBEDDED_PATH / "clip" / "config.json").read_text("utf-8"))
    dinov3 = json.loads((EMBEDDED_PATH / "dinov3" / "config.json").read_text("utf-8"))
    assert (clip["image_size"], clip["patch_size"]) == (224, 32)
    assert (dinov3["image_size"], dinov3["patch_size"], dinov3["num_register_tokens"]) == (224, 16, 4)
    assert dinov3["model_type"] == "dinov3_vit"
    assert editeval.pool.default_segmenter().backend.model.image_encoder.img_size == 256
    size = sum(file.stat().st_size for file in EMBEDDED_PATH.rglob("*") if file.is_file())
    assert size < 16e6


def test_the_header_names_what_missed_a_target() -> None:
    """training/results.md says it of each table, in its heading or in a row."""
    results = (Path(__file__).parents[1] / "training" / "results.md").read_text("utf-8")
    owners = {"region_emd": "CLIP", "sam_clip": "CLIP", "dinov3": "DINOv3", "sam_dino": "DINOv3", "SAM": "SAM"}
    missed = set()
    for section in results.split("\n## ")[2:]:
        owner = next(name for start, name in owners.items() if section.lstrip("`").startswith(start))
        if "**missed**" in section:
            missed.add(owner)
    named = [{owner for owner in owners.values() if f"{owner}'s " in limit} for limit in EMBEDDED_LIMITS]
    assert set().union(*named) == missed
    assert all(named)


@pytest.mark.parametrize("name", ["clip", "dinov3", "sam"])
def test_each_has_a_model_card_and_a_licence(name: str) -> None:
    card = (EMBEDDED_PATH / name / "README.md").read_text("utf-8").lower()
    for word in ("licen", "data", "not for"):
        assert word in card, word
    assert (EMBEDDED_PATH / name / "LICENSE").exists()
