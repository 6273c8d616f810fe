"""Images in windows, through networks: against the image scored whole, and against windows cut out and merged here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import ot
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

import checkpoints
import pages
from conftest import picture
from project import Project
from pytest_editeval import CLIPMixin, CLIPPipe, DINOv3Mixin, DINOv3Pipe
from pytest_editeval.errors import CheckpointError
from pytest_editeval.evidence import patch_costs
from pytest_editeval.profiles import EMBEDDED_PATH
from pytest_editeval.scoring.store import Store
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.scorer import Scorer

CASES_FOLDER = Path(__file__).parents[1] / "cases"
TINY = {"width": 32, "layers": 2}
MADE: dict[str, tuple[type[Backbone], Any, dict[str, Any]]] = {
    "clip": (CLIPMixin, checkpoints.make_clip, {**TINY, "image_size": 32, "patch_size": 8}),
    "siglip": (CLIPMixin, checkpoints.make_siglip, {**TINY, "image_size": 96, "patch_size": 16}),
    "dinov2": (DINOv3Mixin, checkpoints.make_dinov2, {**TINY, "image_size": 56, "patch_size": 14}),
    "dinov3": (DINOv3Mixin, checkpoints.make_dinov3, {**TINY, "image_size": 64, "patch_size": 8}),
    "convnext": (DINOv3Mixin, checkpoints.make_dinov3_convnext, {"image_size": 64}),
}
TILES = {  # in the image's own pixels or, for those of one input size, resized; and the side of a patch
    "clip": [({"size": 32, "overlap": 8}, 8), ({"size": 48, "overlap": 36}, 12), ({"size": 50, "overlap": 8}, 12.5)],
    "siglip": [({"size": 96}, 16), ({"size": 120, "overlap": 20}, 20)],
    "dinov2": [({"size": 56, "overlap": 14}, 14), ({"size": 84, "overlap": 42}, 14)],
    "dinov3": [({"size": 64, "overlap": 24}, 8), ({"size": 32, "overlap": 0}, 8)],
    "convnext": [({"size": 96, "overlap": 32}, 32), ({"size": 64, "overlap": 32}, 32)],
}
CASES = [(name, tile, side) for name, tiles in TILES.items() for tile, side in tiles]
SIZES = [(200, 131), (97, 190), (40, 20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each family."""
    made = tmp_path_factory.mktemp("tiled")
    for name, (_, make, settings) in MADE.items():
        make(made / name, **settings)
    return made


def backbone(folder: Path, name: str, **settings: Any) -> Backbone:
    return MADE[name][0](model_path=str(folder / name), device="cpu", **settings)


def by_hand(whole: Backbone, image: Image.Image, size: int, overlap: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the image through a backbone that does not tile, patch by patch, and the mean of their CLS."""
    pixels, across, shared = np.asarray(image), int(size / side), math.ceil(overlap / side)
    columns, rows = math.ceil(image.width / side), math.ceil(image.height / side)
    steps = []
    for cells in (columns, rows):
        starts = [0]
        while starts[-1] + across < cells:
            starts.append(min(starts[-1] + across - shared, cells - across))
        steps.append(starts)
    found: dict[tuple[int, int], list[tuple[float, np.ndarray]]] = {}
    cls = []
    for top in steps[1]:
        for left in steps[0]:
            ys = np.minimum(np.arange(int(top * side), int(top * side) + size), image.height - 1)
            xs = np.minimum(np.arange(int(left * side), int(left * side) + size), image.width - 1)
            features = whole.encode([Image.fromarray(pixels[np.ix_(ys, xs)])])[0]
            cls.append(features.cls)
            for index, feature in enumerate(features.patches):
                row, column = divmod(index, across)
                near = [min(place + 1, across - place, shared + 1) for place in (row, column)]
                found.setdefault((top + row, left + column), []).append((float(math.prod(near)), feature))
    merged = [
        np.average([one for _, one in found[row, column]], axis=0, weights=[weight for weight, _ in found[row, column]])
        for row in range(rows)
        for column in range(columns)
    ]
    return np.array(merged), np.mean(cls, axis=0)


@pytest.mark.parametrize(("name", "tile", "side"), CASES)
def test_features_are_those_of_windows_merged_by_hand(
    folder: Path, name: str, tile: dict[str, int], side: float
) -> None:
    resizable = MADE[name][0] is DINOv3Mixin
    whole = backbone(folder, name, fit="squash", **({"input_size": tile["size"]} if resizable else {}))
    tiled = backbone(folder, name, tile=tile, batch_size=3)
    for seed, size in enumerate(SIZES):
        image = picture(seed, *size)
        (features,) = tiled.encode([image])
        patches, cls = by_hand(whole, image, tile["size"], tile.get("overlap", 0), side)
        assert features.patches == pytest.approx(patches, rel=1e-4, abs=1e-4)
        assert features.cls == pytest.approx(cls, rel=1e-4, abs=1e-4)
        assert tiled.image_geometry.shape(size) == (math.ceil(size[1] / side), math.ceil(size[0] / side))


@pytest.mark.parametrize(("name", "tile", "side"), CASES)
def test_a_marked_patch_is_found_where_it_was_put(folder: Path, name: str, tile: dict[str, int], side: float) -> None:
    tiled = backbone(folder, name, tile=tile)
    width, height = SIZES[0]
    plain = np.asarray(picture(4, width, height)).copy()
    before = tiled.encode([Image.fromarray(plain)])[0].patches
    rows, columns = tiled.image_geometry.shape((width, height))
    for place in (0, columns + 1, (rows // 2) * columns + columns // 2, (rows - 1) * columns - 2):
        row, column = divmod(place, columns)
        marked = plain.copy()
        (top, bottom), (left, right) = ((int(one * side), int((one + 1) * side)) for one in (row, column))
        marked[top:bottom, left:right] ^= 255
        moved = np.linalg.norm(tiled.encode([Image.fromarray(marked)])[0].patches - before, axis=1)
        assert int(moved.argmax()) == place


def test_windows_are_seen_at_another_input_size_where_it_is_set(folder: Path) -> None:
    """Half as many pixels: a window of 64 px becomes 32 at the network, and a patch is 16 px of the image."""
    whole = backbone(folder, "dinov3", fit="squash", input_size=32)
    tiled = backbone(folder, "dinov3", input_size=32, tile={"size": 64, "overlap": 16})
    image = picture(3, 150, 90)
    patches, cls = by_hand(whole, image, 64, 16, 16)
    (features,) = tiled.encode([image])
    assert features.patches == pytest.approx(patches, rel=1e-4, abs=1e-4)
    assert features.cls == pytest.approx(cls, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("edit", ["astronaut_blue_suit.jpg", "astronaut_scrambled_suit.jpg"])
def test_windows_of_a_photograph_agree_with_the_whole_of_it(edit: str) -> None:
    """A trained network at 512 px: 9 windows of 256 px, which know less of each other than the whole image does."""
    source = CASES_FOLDER / "images" / "astronaut.png"
    path, box = str(EMBEDDED_PATH / "dinov3"), (16, 176, 372, 512)
    whole, tiled = (
        DINOv3Pipe(model_path=path, device="cpu", **settings)(source, CASES_FOLDER / "edits" / edit, [box], "inner")
        for settings in ({"input_size": 512}, {"tile": {"size": 256, "overlap": 64}})
    )
    assert tiled == pytest.approx(whole, abs=0.05)


PIPES = {"clip": (CLIPPipe, {}), "dinov3": (DINOv3Pipe, {"input_size": 64})}
SIDE = {"clip": 32, "dinov3": 64}
BOX = (5, 7, 26, 25)


@pytest.mark.parametrize(("name", "metric"), [("clip", "emd"), ("clip", "region_emd"), ("dinov3", None)])
@pytest.mark.parametrize("mode", [None, "inner", "outer"])
def test_one_window_scores_as_the_whole_image(folder: Path, name: str, metric: str | None, mode: Any) -> None:
    pipe, settings = PIPES[name]
    path, side = str(folder / name), SIDE[name]
    source, edited = picture(1, side, side), picture(2, side, side)
    whole = pipe(model_path=path, device="cpu", **settings)
    tiled = pipe(model_path=path, device="cpu", tile={"size": side, "overlap": side // 4})
    one, other = (each.score(source, edited, [BOX] if mode else None, mode, metric) for each in (whole, tiled))
    assert other.value == pytest.approx(one.value, rel=1e-5)
    assert (one.details["patches"], one.details["worst"]) == (other.details["patches"], other.details["worst"])
    left, right = (each.encode([source])[0] for each in (whole, tiled))
    assert left.patches == pytest.approx(right.patches, abs=1e-5)
    assert left.cls == pytest.approx(right.cls, abs=1e-5)


def test_objects_are_encoded_as_without_tiles(folder: Path, models: Path) -> None:
    sam = {"model_path": str(models / "sam.pth")}
    source, edited = picture(1, 200, 150), picture(2, 200, 150)
    for name, pipe in (("clip", CLIPPipe), ("dinov3", DINOv3Pipe)):
        values = [
            pipe(model_path=str(folder / name), device="cpu", sam=sam, **settings).calc_object_pad_cls_sim(
                source, edited, [(10, 10, 120, 120), (30, 20, 150, 140)]
            )
            for settings in ({}, {"tile": {"size": 32, "overlap": 8}})
        ]
        assert values[0] == values[1] is not None


def test_the_region_lies_on_the_tiled_grid(folder: Path) -> None:
    """The score of the patches that a mask of the whole image selects, worked out by hand."""
    pipe = DINOv3Pipe(model_path=str(folder / "dinov3"), device="cpu", tile={"size": 64, "overlap": 16})
    source, edited = picture(1, 150, 90), picture(2, 150, 90)
    mask = np.zeros((96, 152))
    mask[20:70, 33:101] = 1
    inside = np.ones((96, 152))
    inside[90:], inside[:, 150:] = 0, 0
    blocks = [part.reshape(12, 8, 19, 8).sum(axis=(1, 3)) for part in (mask, inside)]
    selected = (blocks[0] / blocks[1] > 0.1).reshape(-1)
    cosines = []
    for image in (source, edited):
        rows = pipe.encode([image])[0].patches[selected].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosines.append(rows @ rows.T)
    expected = 1 / (1 + 100 * ((cosines[0] - cosines[1]) ** 2).mean())
    score = pipe.score(source, edited, [(33, 20, 101, 70)], "inner")
    assert score.value == pytest.approx(expected, rel=1e-6)
    assert pipe.calc_structure_similarity(source, edited, selected) == pytest.approx(expected, rel=1e-6)
    assert (score.details["patches_compared"], score.details["patches_total"]) == (selected.sum(), 12 * 19)
    costs = patch_costs(score.details)
    assert costs is not None
    assert costs.compared.shape == (12, 19)
    assert np.array_equal(costs.compared.reshape(-1), selected)
    assert costs.area == (0, 0, 152, 96)
    assert pipe.get_features(source, selected).shape == (selected.sum(), 32)
    with pytest.raises(ValueError, match="a mask of 100 patches does not fit 12×19"):
        pipe.get_features(source, np.ones(100, bool))


def test_the_worst_spot_is_where_the_image_was_changed(folder: Path) -> None:
    """In a corner that lies beyond the last whole patch, and is no corner of a window's."""
    pipe = DINOv3Pipe(model_path=str(folder / "dinov3"), device="cpu", tile={"size": 64, "overlap": 16})
    source = np.asarray(picture(1, 150, 90)).copy()
    edited = source.copy()
    edited[80:, 136:] ^= 255
    x1, y1, x2, y2 = pipe.score(source, edited).details["worst"]["area"]
    assert x1 <= 136 < x2 == 150
    assert y1 <= 80 < y2 == 90


def test_neighbouring_patches_are_averaged_for_an_earth_movers_distance(folder: Path) -> None:
    """75 × 75 patches are more than 4,096, so features of 2 × 2 are averaged: 38 × 38, the last of fewer."""
    pipe = CLIPPipe(model_path=str(folder / "clip"), device="cpu", tile={"size": 32, "overlap": 0})
    source = picture(1, 600, 597)
    edited = np.asarray(source).copy()
    edited[200:300, 100:200] ^= 255
    rows = []
    for image in (source, Image.fromarray(edited)):
        grid = pipe.encode([image])[0].patches.astype(np.float64).reshape(75, 75, -1)
        rows.append(
            np.array([grid[r : r + 2, c : c + 2].mean(axis=(0, 1)) for r in range(0, 75, 2) for c in range(0, 75, 2)])
        )
    mask = np.ones((38, 38), bool)
    mask[13:18, 7:12] = False  # y 208 to 288, x 112 to 192: those that the box covers wholly or to 90 %
    mask = mask.reshape(-1)
    score = pipe.score(source, edited, [(112, 208, 192, 288)], "outer", "emd")
    cost = cdist(rows[0], rows[1][mask], "sqeuclidean")
    expected = ot.solve(cost).value
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.details["averaged"] == 2
    assert (score.details["patches_compared"], score.details["patches_total"]) == (mask.sum(), 1444)
    costs = patch_costs(score.details)
    assert costs is not None
    assert np.array_equal(costs.compared.reshape(-1), mask)
    assert costs.area == (0, 0, 608, 608)
    assert costs.shares is not None
    assert costs.shares.sum() == pytest.approx(1, abs=0.02)
    small = pipe.score(source, edited, [(112, 208, 192, 288)], "inner", "region_emd")
    assert "averaged" not in small.details  # its region is small enough
    assert small.details["patches_total"] == 75 * 75
    with pytest.raises(ValueError, match="calc_emd takes up to 4096 patches, and the image has 5625; call the pipe"):
        pipe.calc_emd(source, edited)


def test_many_patches_are_told_together(folder: Path) -> None:
    """Structure similarity compares every patch; of 75 × 75 the results keep the shares of 2 × 2."""
    pipe = DINOv3Pipe(model_path=str(folder / "dinov3"), device="cpu", tile={"size": 64})
    source = picture(1, 600, 597)
    edited = np.asarray(source).copy()
    edited[400:480, 96:192] ^= 255
    score = pipe.score(source, edited)
    assert "averaged" not in score.details
    assert score.details["patches_total"] == score.details["patches_compared"] == 75 * 75
    cosines = []
    for image in (source, edited):
        rows = pipe.encode([image])[0].patches.astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosines.append(rows @ rows.T)
    squared = (cosines[0] - cosines[1]) ** 2
    assert score.value == pytest.approx(1 / (1 + 100 * squared.mean()), abs=1e-9)
    shares = (squared.sum(axis=1) / squared.sum()).reshape(75, 75)
    costs = patch_costs(score.details)
    assert costs is not None
    assert costs.shares is not None
    assert costs.shares.shape == (38, 38)
    expected = [[shares[r : r + 2, c : c + 2].sum() for c in range(0, 75, 2)] for r in range(0, 75, 2)]
    assert costs.shares == pytest.approx(np.array(expected), abs=1e-5)
    x1, y1, x2, y2 = score.details["worst"]["area"]
    assert (x1 < 192, x2 > 96, y1 < 480, y2 > 400) == (True,) * 4


def test_features_of_other_tiles_are_other_features(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    source, edited = picture(1, 200, 150), picture(2, 200, 150)
    settings: list[dict[str, Any]] = [
        {},
        {"tile": {"size": 32, "overlap": 0}},
        {"tile": {"size": 32, "overlap": 8}},
        {"tile": {"size": 64, "overlap": 8}},
    ]
    values, fingerprints, kept = [], set(), []
    for one in settings * 2:
        pipe = DINOv3Pipe(model_path=str(folder / "dinov3"), device="cpu", **one)
        pipe.scorer = Scorer(store=store)
        values.append(pipe(source, edited))
        fingerprints.add(pipe.fingerprint)
        kept.append(pipe.scorer.counts["features remembered"])
        again = DINOv3Pipe(**{**pipe.settings, "batch_size": 1})
        assert again.fingerprint == pipe.fingerprint
    assert values[:4] == values[4:]
    assert len(set(values)) == len(fingerprints) == 4
    manifests = [DINOv3Pipe(model_path=str(folder / "dinov3"), device="cpu", **one).manifest for one in settings]
    assert manifests[0]["tile_size"] is None
    assert "tile_overlap" not in manifests[0]
    assert [(one["tile_size"], one["tile_overlap"]) for one in manifests[1:]] == [(32, 0), (32, 8), (64, 8)]


MISTAKES = [
    ("clip", {"size": 3}, "tile: size 3 is less than its 4 patches in a row; the nearest: 4"),
    ("clip", {"size": 41, "overlap": 31}, "an overlap of windows of 41 px is from 0 to 30, not 31; the nearest: 30"),
    ("clip", {"size": 40, "overlap": -10}, "is from 0 to 30, not -10; the nearest: 0"),
    ("dinov3", {"size": 64, "overlap": 12}, "is a multiple of 8 from 0 to 56, not 12; the nearest: 8 or 16"),
    ("dinov3", {"size": 64, "overlap": 64}, "is a multiple of 8 from 0 to 56, not 64; the nearest: 56"),
    ("dinov3", {"size": 500, "overlap": 0}, "size 500 is no multiple of 8, its patch size; the nearest: 496 or 504"),
    ("dinov3", {"size": 0}, "size 0 is no multiple of 8, its patch size; the nearest: 8"),
    ("dinov3", {"size": 8000}, "an input of 8000 px is too large; allowed: up to 4096"),
    ("dinov3", {"size": True}, "tile: size is a whole number of pixels, not True"),
    ("dinov3", {"size": 64, "overlapp": 0}, "unknown key 'overlapp'; did you mean 'overlap'. of tile"),
    ("dinov3", {"overlap": 0}, "tile is a mapping such as {size: 512, overlap: 64}, not {'overlap': 0}"),
    ("dinov3", 512, "tile is a mapping such as {size: 512, overlap: 64}, not 512"),
]


@pytest.mark.parametrize(("name", "tile", "message"), MISTAKES)
def test_tiles_that_cannot_be_are_one_line(folder: Path, name: str, tile: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        backbone(folder, name, tile=tile)
    assert "\n" not in str(caught.value)


def test_tiles_contradict_a_squash(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="fit: squash and tile contradict each other"):
        backbone(folder, "dinov3", fit="squash", tile={"size": 64})


CONFIG = """
profile: {name}
metric_configs:
  emd:
    default_config: {{model_path: {folder}/clip{clip}}}
  dinov3_structure_similarity:
    default_config: {{model_path: {folder}/dinov3{dino}}}
"""
METRICS = "emd: {threshold: 1.0e+9, scope: null}, region_emd: 1.0e+9, dinov3_structure_similarity: 0"


def scores(project: Project, name: str, *options: str) -> dict[str, dict[str, Any]]:
    result = project.run("--editeval-config", f"{name}.yaml", "--editeval-results", f"{name}.jsonl", *options)
    result.assert_outcomes(passed=3)
    rows = [json.loads(line) for line in (project.path / f"{name}.jsonl").read_text("utf-8").splitlines()]
    return {row["metric"]: row for row in rows if "metric" in row}


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_case_file_scores_as_whole_images_where_a_tile_is_one(
    project: Project, folder: Path, options: tuple[str, ...]
) -> None:
    """CLIP sees both resized to its input, DINOv3 at 96 px."""
    whole = CONFIG.format(name="whole", folder=folder, clip="", dino=", input_size: 96")
    tile = ", tile: {size: 96, overlap: 24}"
    project.write("whole.yaml", whole)
    project.write("tiled.yaml", CONFIG.format(name="tiled", folder=folder, clip=tile, dino=tile))
    project.one(METRICS)
    found, expected = scores(project, "tiled", *options), scores(project, "whole", *options)
    assert found.keys() == expected.keys() == {"emd", "region_emd", "dinov3_structure_similarity"}
    for metric, row in found.items():
        assert row["score"] == pytest.approx(expected[metric]["score"], rel=1e-5)
        assert row["fingerprint"] != expected[metric]["fingerprint"]
        assert row["models"]["backbone"]["tile_overlap"] == 24


def test_what_was_averaged_is_said_in_a_failure_and_on_the_page(project: Project, folder: Path) -> None:
    picture(1, 600, 400).save(project.path / "source.png")
    picture(2, 600, 400).save(project.path / "other.png")
    tile = ", tile: {size: 24, overlap: 0}"  # patches of 6 px: 100 × 67
    project.write("tiled.yaml", CONFIG.format(name="tiled", folder=folder, clip=tile, dino=tile))
    project.one("emd: {threshold: 0, scope: null}", coords="[[0, 0, 60, 60]]")
    result = project.run("--editeval-config", "tiled.yaml", "--editeval-report", "page.html")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*whole image, 1700 of 1700 patches compared*"])
    result.stdout.fnmatch_lines(["*features averaged over 2 × 2 patches*"])
    page = pages.Page((project.path / "page.html").read_text("utf-8"))
    shown = page.data["cases"][0]["checks"][0]["patches"]
    assert (shown["rows"], shown["columns"], shown["averaged"], shown["counts"]) == (34, 50, 2, [1700, 1700])
    assert shown["area"] == [0, 0, 1, 34 * 12 / 400]


@pytest.mark.parametrize(
    ("pipe", "message"),
    [
        (", tile: {size: 96}, fit: squash", "*tiled.yaml:4:*'fit: squash' gives up what 'tile' is for*"),
        (
            ", tile: {size: 96, overlap: 96}",
            "*tiled.yaml:4:*'tile.overlap' must be less than 'tile.size' (96), found 96*",
        ),
        (", tile: {size: 96, over: 8}", "*tiled.yaml:4:*unknown key 'over'*of 'tile'*"),
        (", tile: {overlap: 8}", "*tiled.yaml:4:*'tile.size'* is missing*"),
        (", tile: {size: many}", "*tiled.yaml:4:*'tile.size'*must be a whole number, found 'many'*"),
        (", tile: 512", "*tiled.yaml:4:*'tile'*must be a mapping, found 512*"),
    ],
)
def test_mistakes_in_a_configuration_have_their_place(project: Project, folder: Path, pipe: str, message: str) -> None:
    project.write("tiled.yaml", CONFIG.format(name="tiled", folder=folder, clip=pipe, dino="")[1:])
    project.one(METRICS)
    result = project.run("--editeval-config", "tiled.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_tile_that_no_patches_divide_is_the_checks_error(project: Project, folder: Path) -> None:
    tile = ", tile: {size: 500, overlap: 60}"
    project.write("tiled.yaml", CONFIG.format(name="tiled", folder=folder, clip=tile, dino=tile))
    project.one("dinov3_structure_similarity: 1")
    output = project.run("--editeval-config", "tiled.yaml").stdout.str()
    assert "tile: size 500 is no multiple of 8, its patch size; the nearest: 496 or 504" in " ".join(output.split())
    assert "Traceback" not in output
