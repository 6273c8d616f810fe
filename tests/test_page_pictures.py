"""The images of a page: how they come into it, and what is said of those that do not."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from pages import Page, check, page, save
from pytest_editeval.errors import EditEvalError
from pytest_editeval.reports.html.page import PageSettings, page_lines, write_page
from pytest_editeval.reports.html.pictures import BUDGET, LEAST_SIDE, Pictures, fitting, parse_side
from pytest_editeval.reports.verdict import RunNotes
from pytest_editeval.vision.images import content_digest


def only(found: Page) -> dict[str, Any]:
    (image,) = found.data["images"]
    return dict(image)


def note_of(folder: Path, name: object, **overrides: Any) -> str:
    image = only(page(folder, [check(edited=str(name), **overrides)]))
    assert (image["size"], image["embedded"], image["link"]) == (None, None, None)
    return str(image["note"])


@pytest.mark.parametrize(
    ("size", "side", "small"),
    [
        ((1000, 500), 512, (512, 256)),
        ((500, 1000), 512, (256, 512)),
        ((100, 80), 512, (100, 80)),
        ((4000, 1), 512, (512, 1)),
    ],
)
def test_a_thumbnail_keeps_the_shape_and_is_never_made_larger(
    tmp_path: Path, size: tuple[int, int], side: int, small: tuple[int, int]
) -> None:
    save(tmp_path / "a.png", size=size)
    found = page(tmp_path, [check(edited=tmp_path / "a.png")], side=side)
    assert only(found)["size"] == list(size)
    with Image.open(io.BytesIO(found.image(0))) as image:
        assert (image.format, image.size) == ("WEBP", small)
    assert fitting(size, side) == small


def test_a_thumbnail_looks_like_its_image(tmp_path: Path) -> None:
    picture(1, 200, 160).save(tmp_path / "a.png")
    found = page(tmp_path, [check(edited=tmp_path / "a.png")], side=200)
    with Image.open(io.BytesIO(found.image(0))) as image, Image.open(tmp_path / "a.png") as own:
        difference = np.abs(np.asarray(image, float) - np.asarray(own, float))
    assert difference.mean() < 12  # of 255; the picture is made of noise, which is hard on WebP


def test_an_image_of_several_checks_is_in_the_page_once(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    rows = [check(tmp_path / "a.png", tmp_path / "a.png", metric=name) for name in ("emd", "region_emd")]
    found = page(tmp_path, rows)
    assert len(found.data["images"]) == 1
    for found_check in found.data["cases"][0]["checks"]:
        assert (found_check["source"], found_check["edited"]) == (0, 0)


def test_many_images_are_made_smaller_until_they_fit(tmp_path: Path) -> None:
    names = []
    for index in range(12):
        picture(index, 500, 400).save(tmp_path / f"{index}.png")
        names.append(str(tmp_path / f"{index}.png"))
    sizes: dict[int, int] = {}
    for budget in (BUDGET, 200_000, 1):
        pictures = Pictures(tmp_path)
        for name in names:
            pictures.add(name, None)
        prepared = pictures.prepared(budget)
        sizes[budget] = sum(len(one.data) for one in prepared)
        sides = {Image.open(io.BytesIO(one.data)).width for one in prepared}
        assert {one.size for one in prepared} == {(500, 400)}
        assert len(sides) == 1
        assert sides == ({500} if budget == BUDGET else {LEAST_SIDE} if budget == 1 else sides)
    assert sizes[200_000] <= 200_000 < sizes[BUDGET]


def test_two_thousand_checks_with_their_images_stay_under_60_megabytes() -> None:
    assert BUDGET * 4 / 3 < 54e6  # base64 makes four bytes of three; 6 MB are left for 2,000 checks of 3 kB each


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif"])
def test_a_full_image_is_the_file_itself(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    picture(1).save(path)
    found = page(tmp_path, [check(edited=path)], side=None)
    assert found.image(0) == path.read_bytes()
    assert only(found)["embedded"] == {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}")


@pytest.mark.parametrize("settings", [{"side": None}, {"images": "link"}])
def test_what_no_browser_shows_is_embedded_in_another_format(tmp_path: Path, settings: dict[str, Any]) -> None:
    picture(1).save(tmp_path / "a.tiff")
    found = page(tmp_path, [check(edited=tmp_path / "a.tiff")], **settings)
    with Image.open(io.BytesIO(found.image(0))) as image:
        assert image.size == (96, 96)
        if "side" in settings:
            assert np.array_equal(np.asarray(image), np.asarray(picture(1)))


@pytest.mark.parametrize("name", ["a b#c?d%20&\"'<é>.png", "../up.png", "日本/x.png"])
def test_a_link_is_relative_and_percent_encoded_and_brings_no_bytes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    save(folder / name)
    found = page(folder, [check(edited=folder / name)], images="link")
    link = only(found)["link"]
    assert link.startswith("./")
    assert link.isascii()
    assert not set(link) & set(" #?\"'<>&")
    assert Path(os.path.normpath(folder / unquote(link))) == Path(os.path.normpath(folder / name))
    assert not [name for name in found.scripts if name.startswith("image-")]


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # has to be turned by 90 degrees
    Image.new("RGB", (60, 40), (0, 0, 200)).save(tmp_path / "a.jpg", exif=exif)
    found = page(tmp_path, [check(edited=tmp_path / "a.jpg")])
    assert only(found)["size"] == [40, 60]
    with Image.open(io.BytesIO(found.image(0))) as image:
        assert image.size == (40, 60)


@pytest.mark.parametrize("settings", [{"side": None}, {"images": "link"}])
def test_a_file_that_not_every_browser_turns_is_embedded_turned(tmp_path: Path, settings: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.webp", exif=exif)
    found = page(tmp_path, [check(edited=tmp_path / "a.webp")], **settings)
    assert only(found)["link"] is None
    with Image.open(io.BytesIO(found.image(0))) as image:
        assert image.size == (40, 60)


def test_relative_names_are_looked_for_in_the_roots(tmp_path: Path) -> None:
    save(tmp_path / "second" / "a.png", size=(30, 20))
    roots = (tmp_path / "first", tmp_path / "second")
    assert only(page(tmp_path, [check(edited="a.png")], roots=roots))["size"] == [30, 20]


def test_an_image_that_was_changed_since_it_was_scored_is_shown_with_a_note(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    with Image.open(path) as image:
        digest = content_digest(image)
    assert only(page(tmp_path, [check(edited=path, edited_digest=digest)]))["note"] is None
    save(path, (0, 0, 0))
    image_data = only(page(tmp_path, [check(edited=path, edited_digest=digest)]))
    assert image_data["note"] == "this image was changed since it was scored"
    assert image_data["embedded"] == "image/webp"


def test_what_cannot_be_shown_says_why(tmp_path: Path) -> None:
    assert note_of(tmp_path, tmp_path / "gone.png").startswith("image not found")
    (tmp_path / "text.png").write_text("no image", "utf-8")
    assert note_of(tmp_path, tmp_path / "text.png").startswith("not an image file")
    save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    assert note_of(tmp_path, tmp_path / "cut.png").startswith("cannot read image")
    assert "part that is not written into results" in note_of(tmp_path, "https://host/a.png?token=…")


@pytest.mark.parametrize("name", ["\x00", "a\x00.png", "x" * 10_000, ".", "/", "\u202e.png", "nowhere://x/y.png", "~"])
def test_a_name_that_no_file_has_is_a_note_in_one_line(tmp_path: Path, name: str) -> None:
    note = note_of(tmp_path, name)
    assert note
    assert note.isprintable()


def test_images_that_are_missing_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    rows = [check(tmp_path / "a.png", tmp_path / f"{index}.png", case=f"c{index}") for index in range(4)]
    written = write_page(path, rows, [], RunNotes(), PageSettings())
    assert len(written.missing) == 5
    first, second = page_lines(path, written)
    assert first.endswith("report.html (4 cases, 0.1 MB)")
    assert second.startswith("report: 5 images could not be had: ")
    assert second.endswith(" and 2 more")


@pytest.mark.parametrize("text", ["0", "159", "-1", "1.5", "FULL", "", "²", "٣٠٠", "1e3"])
def test_a_size_is_a_number_of_pixels_or_full(text: str) -> None:
    with pytest.raises(EditEvalError, match="is full or a number of pixels from 160, not") as error:
        parse_side(text)
    assert "\n" not in str(error.value)
    assert parse_side("160") == 160
    assert parse_side("full") is None
