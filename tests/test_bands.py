"""Bands of TIFF files: against arrays that are scaled here, through pipes, case files and the page."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pages
from conftest import picture
from project import Project
from pytest_editeval.derived import Bands, Derived
from pytest_editeval.errors import ImageError
from pytest_editeval.locations import display
from pytest_editeval.pixel_limit import limit_pixels
from pytest_editeval.vision.bands import decode_bands, percentile_limits
from pytest_editeval.vision.images import ImageFiles, load_image

DTYPES = ["uint8", "uint16", "int16", "float32", "uint32", "float64"]


def scene(seed: int, bands: int = 5, size: tuple[int, int] = (60, 40), dtype: str = "uint16") -> np.ndarray:
    """Values `(rows, columns, bands)` of another range in each band."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 40, (size[1], size[0], bands)) + 40 * np.arange(bands)
    return values.astype(dtype)


def scaled(values: np.ndarray, numbers: tuple[int, ...], limits: list[tuple[float, float]]) -> np.ndarray:
    """Band by band and pixel by pixel, in plain Python."""
    found = np.zeros((*values.shape[:2], 3), np.uint8)
    for channel in range(3):
        place = channel if len(numbers) == 3 else 0
        low, high = limits[place]
        for row, column in np.ndindex(values.shape[:2]):
            part = (float(values[row, column, numbers[place] - 1]) - low) / (high - low)
            found[row, column, channel] = round(255 * min(max(part, 0.0), 1.0))
    return found


def save(path: Path, values: np.ndarray, **given_settings: Any) -> Path:
    options = {"photometric": "minisblack", "planarconfig": "contig", **given_settings}
    if options["planarconfig"] == "separate":
        values = np.moveaxis(values, 2, 0)
    tifffile.imwrite(path, values, **options)
    return path


def shown(path: Path, bands: Bands) -> np.ndarray:
    return np.asarray(load_image(Derived(path, bands)).pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bands_of_a_range(tmp_path: Path, dtype: str, planar: str) -> None:
    values = scene(1, dtype=dtype)
    path = save(tmp_path / "a.tif", values, planarconfig=planar)
    found = shown(path, Bands((4, 3, 2), value_range=(50, 170)))
    assert np.array_equal(found, scaled(values, (4, 3, 2), [(50, 170)] * 3))


@pytest.mark.parametrize(
    "settings",
    [
        {"bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"compression": "zlib"},
        {"rowsperstrip": 7},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd", "predictor": True, "tile": (32, 16)},
        {"compression": "lerc"},
    ],
    ids=str,
)
def test_every_way_to_write_a_file(tmp_path: Path, settings: dict[str, Any]) -> None:
    values = scene(2)
    found = shown(save(tmp_path / "a.tif", values, **settings), Bands((1, 5, 3), value_range=(0, 200)))
    assert np.array_equal(found, scaled(values, (1, 5, 3), [(0, 200)] * 3))


def test_a_compressed_file_of_another_program(tmp_path: Path) -> None:
    """Pillow writes LZW by libtiff."""
    values = scene(2, bands=3, dtype="uint8")
    Image.fromarray(values).save(tmp_path / "a.tif", compression="tiff_lzw")
    found = shown(tmp_path / "a.tif", Bands((3, 1, 2), value_range=(0, 200)))
    assert np.array_equal(found, scaled(values, (3, 1, 2), [(0, 200)] * 3))


def test_a_compression_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", scene(2), compression="lzw")
    # What tifffile's own module says where imagecodecs is not installed.
    message = "<COMPRESSION.LZW: 5> requires the 'imagecodecs' package"
    monkeypatch.setattr(tifffile.TiffPage, "decode", property(lambda _: (_ for _ in ()).throw(ValueError(message))))
    with pytest.raises(ImageError, match=r"a\.tif.*another package: pip install 'pytest-editeval\[tiff\]'"):
        shown(path, Bands((1, 2, 3), value_range=(0, 9)))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_pictures_of_one_row_or_column(tmp_path: Path, size: tuple[int, int], planar: str) -> None:
    values = scene(5, size=size)
    found = shown(save(tmp_path / "a.tif", values, planarconfig=planar), Bands((1, 5, 3), value_range=(0, 200)))
    assert np.array_equal(found, scaled(values, (1, 5, 3), [(0, 200)] * 3))


def test_negative_values_and_one_band(tmp_path: Path) -> None:
    values = scene(3, dtype="int16") - 100
    path = save(tmp_path / "a.tif", values)
    expected = scaled(values, (2,), [(-90, -10)])
    found = shown(path, Bands((2,), value_range=(-90, -10)))
    assert np.array_equal(found, expected)
    assert (found[..., 0] == found[..., 2]).all()
    grey = save(tmp_path / "grey.tif", values[..., 1])
    assert np.array_equal(shown(grey, Bands((1,), value_range=(-90, -10))), expected)


def percentiles(values: np.ndarray, numbers: tuple[int, ...], ends: tuple[float, float]) -> list[tuple[float, float]]:
    """By sorting, linear between two values."""
    found = []
    for number in numbers:
        ordered = sorted(float(value) for value in values[..., number - 1].ravel())
        pair = []
        for end in ends:
            place = end / 100 * (len(ordered) - 1)
            below = int(place)
            above = min(below + 1, len(ordered) - 1)
            pair.append(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
        found.append((pair[0], pair[1]))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_percentiles_are_of_each_band(tmp_path: Path, dtype: str) -> None:
    values = scene(4, dtype=dtype)
    found = shown(save(tmp_path / "a.tif", values), Bands((4, 3, 2), percentiles=(2, 98)))
    assert np.array_equal(found, scaled(values, (4, 3, 2), percentiles(values, (4, 3, 2), (2, 98))))


def test_the_sources_percentiles_hold_for_the_edit(tmp_path: Path) -> None:
    """What an edit leaves as it was keeps its colour, however bright the rest becomes."""
    values = scene(5)
    changed = values.copy()
    changed[10:20, 10:30] += 5000
    source, edited = save(tmp_path / "a.tif", values), save(tmp_path / "b.tif", changed)
    bands = Bands((4, 3, 2), percentiles=(2, 98))
    before = shown(source, bands)
    after = shown(edited, bands.of_edits(source))
    same = (values == changed).all(axis=2)
    assert np.array_equal(before[same], after[same])
    assert (after[~same] == 255).all()
    assert not np.array_equal(shown(edited, bands)[same], before[same])
    fixed = Bands((1,), value_range=(0, 9))
    assert fixed.of_edits(source) == fixed


def test_an_image_is_known_by_what_its_scale_is_from(tmp_path: Path) -> None:
    files = ImageFiles()
    source, edited = save(tmp_path / "a.tif", scene(6)), save(tmp_path / "b.tif", scene(7))
    location = Derived(edited, Bands((1, 2, 3), percentiles=(2, 98)).of_edits(source))
    first = files.load(location).ref
    assert files.load(location).ref == first
    save(source, scene(6) // 2)
    assert files.load(location).ref != first
    assert files.load(Derived(edited, Bands((1, 2, 3), value_range=(0, 99)))).ref != files.load(location).ref
    assert display(location) == display(edited)


def test_pixels_without_a_value(tmp_path: Path) -> None:
    """NaN, and what GDAL's tag says, are black and have no part in percentiles."""
    values = scene(8, dtype="float32")
    holes = values.copy()
    holes[:5], holes[5:9] = np.nan, -9999
    tag = (42113, "s", 0, "-9999", True)
    found = shown(save(tmp_path / "a.tif", holes, extratags=[tag]), Bands((1, 2, 3), percentiles=(0, 100)))
    assert (found[:9] == 0).all()
    expected = scaled(values[9:], (1, 2, 3), percentiles(values[9:], (1, 2, 3), (0, 100)))
    assert np.array_equal(found[9:], expected)


def test_a_flat_band_is_black(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.full((8, 9, 3), 7, np.uint16))
    assert not shown(path, Bands((1, 2, 3), percentiles=(2, 98))).any()


def test_the_orientation_is_applied(tmp_path: Path) -> None:
    values = scene(9)
    upright = shown(save(tmp_path / "a.tif", values), Bands((3, 2, 1), value_range=(0, 200)))
    turned = shown(
        save(tmp_path / "b.tif", values, extratags=[(274, "H", 1, 6, True)]), Bands((3, 2, 1), value_range=(0, 200))
    )
    assert np.array_equal(turned, np.rot90(upright, -1))


def test_a_file_of_another_format_is_as_it_is(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    source = save(tmp_path / "a.tif", scene(1))
    for bands in (Bands((9,), value_range=(0, 1)), Bands((1,), percentiles=(2, 98), reference=source)):
        assert np.array_equal(shown(tmp_path / "a.png", bands), np.asarray(picture(1)))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: save(path, scene(1, bands=3)), "has 3 bands, and band 4 is asked for; bands are counted from 1"),
        (lambda path: save(path, scene(1)[..., 0]), "has 1 band, and band 4 is asked for"),
        (
            lambda path: tifffile.imwrite(path, np.moveaxis(scene(1), 2, 0), photometric="minisblack"),  # 5 pages
            "has 1 band on the first of its 5 pages, which is the one that is read, and band 4 is asked for",
        ),
        (lambda path: save(path, scene(1).astype("complex64")), "its bands are complex64, not whole or floating-point"),
        (lambda path: path.write_bytes(b"II*\0" + b"\xff" * 40), "cannot read image .*a.tif: "),
        (lambda path: path.write_bytes(save(path, scene(1)).read_bytes()[:900]), "cannot read image .*a.tif: "),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, make: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "a.tif")
    caplog.clear()
    with pytest.raises(ImageError, match=message) as caught:
        shown(tmp_path / "a.tif", Bands((4, 3, 2), value_range=(0, 200)))
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_a_file_of_many_bands_is_no_picture_without_bands(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", scene(1))
    with pytest.raises(ImageError, match=r"not an image file: .*; a TIFF file of other bands .* needs `bands` in its"):
        load_image(path)


SAMPLE = io.BytesIO()
tifffile.imwrite(SAMPLE, scene(1, size=(30, 20)), photometric="minisblack", planarconfig="contig", compression="zlib")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_gives_an_image_or_a_line(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(4, len(damaged)))
    bands = Bands((4, 3, 2), percentiles=(2, 98))
    content = bytes(damaged[:cut])
    with suppress(ImageError):
        decode_bands(content, "a.tif", bands, lambda: percentile_limits(content, "a.tif", bands))


def test_a_part_of_a_picture_is_refused(tmp_path: Path) -> None:
    """Of ten strips the file is made to tell one; tifffile would give black for the others."""
    path = save(tmp_path / "a.tif", scene(1), rowsperstrip=4)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("StripOffsets", "StripByteCounts"):
            file.pages[0].tags[tag].overwrite(file.pages[0].tags[tag].value[:1])
    with pytest.raises(ImageError, match=r"a\.tif: the file has 1 of 10 parts of its picture"):
        shown(path, Bands((1, 2, 3), value_range=(0, 9)))


def test_percentiles_of_a_source_that_is_no_tiff(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    edited = save(tmp_path / "b.tif", scene(1))
    with pytest.raises(ImageError, match=r"a\.png is no TIFF file, and the percentiles of a case are of its source"):
        shown(edited, Bands((1, 2, 3), percentiles=(2, 98), reference=tmp_path / "a.png"))


def test_the_limits_hold_for_bands(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.zeros((400, 300, 100), np.float64), compression="zlib")  # 96 MB in 0.1
    bands = Bands((4, 3, 2), value_range=(0, 200))
    for pixels, message in ((100_000, "300×400 is 120,000 pixels"), (130_000, "100 bands take 96,000,000 bytes, more")):
        restore = limit_pixels(pixels)
        try:
            with pytest.raises(ImageError, match=message):
                shown(path, bands)
        finally:
            restore()


def test_without_tifffile_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", scene(1))
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ImageError, match=r"are read by tifffile; pip install 'pytest-editeval\[tiff\]'"):
        shown(path, Bands((1, 2, 3), value_range=(0, 9)))


CASES = """
defaults:
  instruction: Do it.
  bands: [4, 3, 2]
  scale: {scale}
  coords: [[20, 20, 60, 60]]
  metrics: {{region_emd: 1.0e+9, dinov3_structure_similarity: 0}}
cases:
  - {{id: scene, source: a.tif, edited: b.tif}}
"""


def scores(project: Project, *options: str) -> dict[str, dict[str, Any]]:
    result = project.run("--editeval-results", "run.jsonl", *options)
    result.assert_outcomes(passed=2)
    rows = [json.loads(line) for line in (project.path / "run.jsonl").read_text("utf-8").splitlines()]
    return {row["metric"]: row for row in rows if "metric" in row}


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
@pytest.mark.parametrize("scale", ["{percentile: [2, 98]}", "{range: [0, 220]}"])
def test_a_case_file_scores_bands_as_the_pictures_that_they_are(
    project: Project, scale: str, options: tuple[str, ...]
) -> None:
    """The same numbers as of PNG files of what is scaled here; and the page shows them."""
    values, changed = scene(1, size=(96, 96)), scene(2, size=(96, 96))
    changed[:50] = values[:50]
    ends = [(0.0, 220.0)] * 3 if "range" in scale else percentiles(values, (4, 3, 2), (2, 98))
    for name, each in (("a", values), ("b", changed)):
        save(project.path / f"{name}.tif", each)
        Image.fromarray(scaled(each, (4, 3, 2), ends)).save(project.path / f"{name}.png")
    text = CASES.format(scale=scale)
    project.cases(text)
    found = scores(project, "--editeval-report", "page.html", *options)
    plain = "\n".join(line for line in text.splitlines() if "bands:" not in line and "scale:" not in line)
    project.cases(plain.replace(".tif", ".png"))
    expected = scores(project, *options)
    for metric, row in found.items():
        assert row["score"] == expected[metric]["score"]
        assert row["source_digest"] == expected[metric]["source_digest"]
        assert row["edited_digest"] == expected[metric]["edited_digest"]
        assert row["source"].endswith("a.tif")
        assert row["parameters"]["bands"] == [4, 3, 2]
    page = pages.Page((project.path / "page.html").read_text("utf-8"))
    for number in (0, 1):
        with Image.open(io.BytesIO(page.image(number))) as shown_image:
            assert shown_image.size == (96, 96)
    assert "changed since" not in json.dumps(page.data)


def test_candidates_and_controls_have_bands_too(project: Project) -> None:
    values = scene(1, size=(96, 96))
    save(project.path / "a.tif", values)
    (project.path / "v1").mkdir()
    save(project.path / "v1" / "scene.tif", values)
    project.cases(
        """
        cases:
          - id: scene
            instruction: Do it.
            source: a.tif
            edited_pattern: "{id}.tif"
            bands: [4, 3, 2]
            scale: {percentile: [2, 98]}
            coords: [[20, 20, 60, 60]]
            controls: auto
            metrics: {region_emd: 0.001}
        """
    )
    result = project.run("--editeval-candidate", "v1=v1", "-rA")
    assert result.parseoutcomes().get("passed", 0) >= 2, result.stdout.str()
    assert "cannot read" not in result.stdout.str()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("bands: [4, 3, 2]", "'bands' in case 'scene' needs a 'scale': what becomes black, and what white"),
        ("scale: {range: [0, 9]}", "'scale' in case 'scene' needs 'bands'"),
        (
            "bands: [4, 3], scale: {range: [0, 9]}",
            "'bands'*must be three bands*or one, counted from 1; found 2 of them",
        ),
        ("bands: 4, scale: {range: [0, 9]}", "'bands'*must be three bands*; found 4"),
        ("bands: [0, 1, 2], scale: {range: [0, 9]}", "'bands*0*'*must be at least 1, found 0"),
        ("bands: [1], scale: {range: [9, 0]}", "'scale.range'*must be*low*high* with low below high, found*9, 0*"),
        ("bands: [1], scale: {percentile: [2, 101]}", "'scale'*must have percentiles from 0 to 100"),
        ("bands: [1], scale: {}", "'scale'*must have either 'percentile' or 'range'"),
        ("bands: [1], scale: {percentile: [2, 98], range: [0, 1]}", "'scale'*must have either 'percentile' or 'range'"),
        ("bands: [1], scale: {rang: [0, 1]}", "unknown key 'rang' of 'scale'*"),
    ],
)
def test_mistakes_in_a_case_have_their_place(project: Project, settings: str, message: str) -> None:
    project.cases(
        f"cases:\n  - {{id: scene, instruction: Do it., source: a.tif, edited: b.tif, {settings}, "
        "metrics: {emd: {threshold: 0, scope: null}}}\n"
    )
    result = project.run()
    result.stdout.fnmatch_lines([f"*a.edit.yaml:2:*{message}*"])


def test_what_a_file_names_beside_its_root_is_refused_with_bands_too(project: Project, tmp_path: Path) -> None:
    outside = save(tmp_path.parent / "outside.tif", scene(1))
    project.cases(CASES.format(scale="{range: [0, 9]}").replace("b.tif", str(outside)))
    save(project.path / "a.tif", scene(1))
    result = project.run()
    assert "--editeval-root-only off would allow it" in " ".join(result.stdout.str().split())  # lines are wrapped
