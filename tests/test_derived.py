"""Derived images: what is done to the pixels, by what they are known, and how they travel."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import picture
from project import Project
from pytest_editeval import CLIPPipe
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import CheckSpec, EditCase, resolve_check
from pytest_editeval.config import load_profile
from pytest_editeval.controls import controls
from pytest_editeval.derived import Derived, Destroyed, Disturbance, Recipe
from pytest_editeval.errors import ImageError
from pytest_editeval.locations import display, stamp
from pytest_editeval.needs import ImageRef
from pytest_editeval.scoring.ahead import UNOPENED, Wanted
from pytest_editeval.scoring.cluster.actors import Cluster
from pytest_editeval.scoring.cluster.options import RayOptions
from pytest_editeval.scoring.cluster.parcels import Picture
from pytest_editeval.scoring.store import Store
from pytest_editeval.vision import images as images_module
from pytest_editeval.vision.derive import GRAINS, derive
from pytest_editeval.vision.images import ImageFiles, load_image, loaded, rgb_pixels, to_rgb

BOX = (10.0, 20.0, 50.0, 60.0)
RECIPES: list[Recipe] = [*Disturbance, Destroyed(), Destroyed((BOX,), "inner"), Destroyed((BOX,), "outer")]
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=str)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    picture(1, 96, 72).save(path)
    return path


def made(image: Image.Image, recipe: Recipe) -> np.ndarray:
    return np.asarray(derive(loaded(image).ref, image, recipe))


def test_jpeg95_is_pillows_file_opened_again() -> None:
    data = io.BytesIO()
    picture(1).save(data, "JPEG", quality=95)
    with Image.open(data) as expected:
        assert np.array_equal(made(picture(1), Disturbance.JPEG95), np.asarray(expected))


def test_shift_moves_by_one_pixel_and_repeats_the_edge() -> None:
    before = np.asarray(picture(1, 7, 5))
    after = made(picture(1, 7, 5), Disturbance.SHIFT)
    for row in range(5):
        for column in range(7):
            assert np.array_equal(after[row, column], before[max(0, row - 1), max(0, column - 1)])


def test_resize_keeps_the_size_and_nearly_the_picture() -> None:
    before = np.asarray(picture(1), float)
    after = made(picture(1), Disturbance.RESIZE).astype(float)
    flat = Image.new("RGB", (30, 20), (10, 200, 30))
    assert 0 < np.abs(before - after).mean() < 8
    assert np.array_equal(made(flat, Disturbance.RESIZE), np.asarray(flat))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (640, 3)])
@every_recipe
def test_the_smallest_images_have_derived_ones(size: tuple[int, int], recipe: Recipe) -> None:
    image = derive(ImageRef("0f", size), picture(1, *size), recipe)
    assert (image.size, image.mode) == (size, "RGB")


def inside(boxes: tuple[tuple[float, ...], ...], width: int, height: int) -> np.ndarray:
    """Pixels whose upper left corner's whole number lies in a truncated box, one by one."""
    found = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            found[row, column] = any(
                int(max(x1, 0)) <= column < int(min(x2, width)) and int(max(y1, 0)) <= row < int(min(y2, height))
                for x1, y1, x2, y2 in boxes
            )
    return found


coordinate = st.floats(-20, 60, allow_nan=False)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda four: (min(four[0], four[2]), min(four[1], four[3]), max(four[0], four[2]), max(four[1], four[3]))
)


@given(boxes=st.lists(box, max_size=3).map(tuple), mode=st.sampled_from(["inner", "outer"]))
def test_pixels_out_of_the_region_are_untouched_to_the_bit(boxes: tuple, mode: str) -> None:
    """Boxes at the border, beyond it, fractions of a pixel, none at all."""
    width, height = 40, 30
    source = np.full((height, width, 3), 7, np.uint8)
    source[::2] = 9
    region = inside(boxes, width, height) ^ (mode == "outer")
    after = made(Image.fromarray(source), Destroyed(boxes, mode))
    assert np.array_equal(after[~region], source[~region])
    if region.any():
        assert (after[region] != source[region]).mean() > 0.9 or region.sum() < 20


def test_without_a_mode_noise_is_everywhere() -> None:
    noise = made(picture(1, 128, 128), Destroyed())
    assert abs(noise.mean() - 127.5) < 3
    assert abs(noise.std() - 73.9) < 2  # of the uniform distribution over 0 to 255
    assert abs(np.corrcoef(noise.reshape(-1), np.asarray(picture(1, 128, 128)).reshape(-1))[0, 1]) < 0.05


@pytest.mark.parametrize("side", [64, 640, 1280])
def test_the_grain_does_not_depend_on_the_resolution(side: int) -> None:
    """A photograph's noise is still noise once it is as small as a network's input."""
    noise = Image.fromarray(made(Image.new("RGB", (side, side)), Destroyed()))
    small = np.asarray(noise.resize((GRAINS, GRAINS), Image.Resampling.BOX), float)
    assert abs(small.std() - 73.9) < 2


def test_noise_is_of_the_picture_and_the_recipe() -> None:
    source = picture(1)
    digests = {made(source, recipe).tobytes() for recipe in RECIPES}
    assert len(digests) == len(RECIPES)
    other = source.copy()
    other.putpixel((95, 95), (1, 2, 3))
    first, second = made(source, Destroyed((BOX,), "inner")), made(other, Destroyed((BOX,), "inner"))
    assert not np.array_equal(first[20:60, 10:50], second[20:60, 10:50])


IN_ANOTHER_PROCESS = """
import sys
from pytest_editeval.derived import Derived, Destroyed, Disturbance
from pytest_editeval.vision.images import load_image
from pathlib import Path
recipes = [*Disturbance, Destroyed(), Destroyed((%s,), "inner"), Destroyed((%s,), "outer")]
for recipe in recipes:
    print(load_image(Derived(Path(sys.argv[1]), recipe)).ref.digest)
assert "torch" not in sys.modules
"""


def test_every_process_makes_the_same_image(photo: Path) -> None:
    code = IN_ANOTHER_PROCESS % (BOX, BOX)
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", code, str(photo)], capture_output=True, text=True, env=environment)
    assert found.stderr == ""
    assert found.stdout.split() == [load_image(Derived(photo, recipe)).ref.digest for recipe in RECIPES]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "1", "P", "CMYK", "I;16"])
@every_recipe
def test_a_source_of_every_mode_is_derived_as_it_is_opened(mode: str, recipe: Recipe, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture(3).convert("L"), np.uint16) * 257)
    else:
        image = picture(3).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    image.save(path)
    with Image.open(path) as opened:
        expected = made(to_rgb(opened), recipe)
    assert np.array_equal(np.asarray(load_image(Derived(path, recipe)).pixels), expected)
    assert np.array_equal(np.asarray(rgb_pixels(Derived(path, recipe))), expected)


def test_a_derived_image_is_named_by_recipe_and_base(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photo.parent)
    assert display(Derived(photo, Disturbance.JPEG95)) == "jpeg95 photo.png"
    assert display(Derived(photo, Destroyed((BOX,), "inner"))) == "destroyed photo.png"
    twice = Derived(Derived("s3://key:secret@images/a.png", Disturbance.SHIFT), Destroyed())
    assert display(twice) == "destroyed shift s3://images/a.png"
    assert stamp(twice) is None
    assert stamp(Derived(photo, Disturbance.SHIFT)) == stamp(photo)


def test_derived_of_derived(photo: Path) -> None:
    once = load_image(Derived(photo, Disturbance.SHIFT))
    twice = load_image(Derived(Derived(photo, Disturbance.SHIFT), Disturbance.RESIZE))
    assert np.array_equal(np.asarray(twice.pixels), made(once.pixels, Disturbance.RESIZE))


def test_a_derived_image_is_made_once_while_its_base_stays(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Recipe] = []

    def counted(ref: ImageRef, pixels: Image.Image, recipe: Recipe) -> Image.Image:
        calls.append(recipe)
        return derive(ref, pixels, recipe)

    monkeypatch.setattr(images_module, "derive", counted)
    files, location = ImageFiles(), Derived(photo, Disturbance.SHIFT)
    first = files.load(location)
    assert files.load(Derived(photo, Disturbance.SHIFT)) is first
    assert files.load(photo).ref != first.ref
    assert len(calls) == 1
    picture(2, 96, 72).save(photo)
    os.utime(photo, ns=(1, 1))
    assert files.load(location).ref != first.ref


def test_a_run_that_knows_the_image_does_not_make_it(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Derived(photo, Destroyed())
    first = ImageFiles(Store(tmp_path / "store")).load(location)
    monkeypatch.setattr(images_module, "decode", lambda *_: pytest.fail("decoded"))
    again = ImageFiles(Store(tmp_path / "store")).load(location)
    assert again.ref == first.ref
    monkeypatch.undo()
    assert again.pixels.tobytes() == first.pixels.tobytes()
    known = ImageFiles(Store(tmp_path / "store")).load(location)
    picture(2, 96, 72).save(photo)
    os.utime(photo, ns=(1, 1))
    with pytest.raises(ImageError, match=r"destroyed .*photo\.png was changed while the run was using it"):
        _ = known.pixels


def test_a_base_that_cannot_be_read_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^image not found: \S+gone\.png$"):
        load_image(Derived(tmp_path / "gone.png", Destroyed()))


def test_an_image_that_jpeg_cannot_hold_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (65_501, 1)).save(tmp_path / "long.png")
    with pytest.raises(ImageError, match=r"^cannot make jpeg95 \S+long\.png: JPEG cannot hold 65501×1 pixels$"):
        load_image(Derived(tmp_path / "long.png", Disturbance.JPEG95))


def test_a_large_photograph_is_no_warning(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    assert load_image(Derived(photo, Disturbance.JPEG95)).ref.size == (96, 72)


def test_the_boxes_of_both_sides_are_found_by_location(models: Path, photo: Path) -> None:
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu", sam={"model_path": str(models / "sam.pth")})
    left, right = (1.0, 1.0, 9.0, 9.0), (2.0, 2.0, 8.0, 8.0)
    request = pipe.request("sam_clip_cls_sim", UNOPENED, UNOPENED, [left, right])
    destroyed = Derived(photo, Destroyed((right,), "inner"))
    wanted = Wanted(request, photo, destroyed)
    assert wanted.boxes(photo) == [left]
    assert wanted.boxes(Derived(photo, Destroyed((right,), "inner"))) == [right]
    assert Wanted(request, photo, photo).boxes(photo) == [left, right]
    assert hash(wanted) == hash(Wanted(request, photo, Derived(photo, Destroyed((right,), "inner"))))


@pytest.mark.parametrize("how", ["bytes", "paths"])
@every_recipe
def test_a_derived_image_travels_as_pixels(how: str, recipe: Recipe, photo: Path) -> None:
    cluster = Cluster(RayOptions.read("local", None, None, how, "cpu"), 1 << 20)
    cluster._link = type("Link", (), {"ray": type("Ray", (), {"put": staticmethod(lambda data: data)})})()  # type: ignore[assignment]
    location = Derived(photo, recipe)
    packed = cluster._packed(Picture(display(location), location))
    with Image.open(io.BytesIO(pickle.loads(pickle.dumps(packed)).data)) as image:
        assert loaded(to_rgb(image)).ref == load_image(location).ref
    gone = Derived(photo.parent / "gone.png", recipe)
    assert "image not found" in str(cluster._packed(Picture(display(gone), gone)).error)


CONTROLLED = """
cases:
  - id: one
    instruction: Do it.
    source: source.png
    edited: other.png
    coords: [[20, 20, 80, 80]]
    metrics:
      region_emd: {threshold: 1, scope: unedit_area}
      emd: {threshold: 1, scope: null}
      dinov3_structure_similarity: 0.5
      sam_clip_cls_sim: {threshold: 0.5, pairs: [{source: [1, 1, 40, 40], edited: [2, 2, 50, 50]}]}
      sam_dino_cls_sim: {threshold: 0.5, coords: [[1, 1, 40, 40], [50, 50, 90, 90], [3, 3, 9, 9], [4, 4, 8, 8]]}
"""


def test_the_controls_of_a_check_destroy_what_it_looks_at(project: Project) -> None:
    (case,) = load_cases(project.cases(CONTROLLED)).cases
    assert isinstance(case, EditCase)
    profile = load_profile(project.path / "tiny.yaml")
    found = {}
    for check in case.checks:
        assert isinstance(check, CheckSpec)
        both = controls(case, resolve_check(case, check, profile))
        assert list(both) == ["nothing-done", "destroyed"]
        assert both["nothing-done"] == case.source
        destroyed = both["destroyed"]
        assert isinstance(destroyed, Derived)
        assert destroyed.base == case.source
        found[check.metric] = destroyed.recipe
    assert found == {
        "region_emd": Destroyed(((20, 20, 80, 80),), "outer"),
        "emd": Destroyed(),
        "dinov3_structure_similarity": Destroyed(((20, 20, 80, 80),), "inner"),
        "sam_clip_cls_sim": Destroyed(((2, 2, 50, 50),), "inner"),
        "sam_dino_cls_sim": Destroyed(((3, 3, 9, 9), (4, 4, 8, 8)), "inner"),
    }
