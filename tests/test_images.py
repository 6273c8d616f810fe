"""One way to open an image, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from pytest_editeval.errors import ImageError
from pytest_editeval.vision.images import load_image

ORIENTATION = 0x0112


def colours(image: Image.Image) -> list[list[tuple[int, ...]]]:
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


UPRIGHT = np.array([[[10] * 3, [20] * 3, [30] * 3], [[40] * 3, [50] * 3, [60] * 3]], np.uint8)
STORED = {  # how a camera stores the upright picture under each orientation
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif)
    loaded = load_image(path)
    assert loaded.ref.size == (3, 2)
    assert np.array_equal(np.asarray(loaded.pixels), UPRIGHT)
    with Image.open(path) as opened:
        assert load_image(opened).ref == loaded.ref


def two_pixels(mode: str, left: object, right: object) -> Image.Image:
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), left)  # type: ignore[arg-type]
    image.putpixel((1, 0), right)  # type: ignore[arg-type]
    return image


def palette(transparency: int | bytes) -> Image.Image:
    image = two_pixels("P", 0, 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.info["transparency"] = transparency
    return image


RED, BLUE, WHITE, BLACK = (200, 0, 0), (0, 0, 200), (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (two_pixels("RGB", RED, BLUE), [RED, BLUE]),
        (two_pixels("RGBA", (*RED, 255), (*BLUE, 0)), [RED, WHITE]),
        (two_pixels("RGBA", (0, 0, 0, 51), (*BLUE, 255)), [(204, 204, 204), BLUE]),
        (two_pixels("LA", (9, 255), (9, 0)), [(9, 9, 9), WHITE]),
        (two_pixels("LA", (9, 255), (9, 0)).convert("La"), [(9, 9, 9), WHITE]),
        (palette(0), [WHITE, BLUE]),
        (palette(bytes([255, 0])), [RED, WHITE]),
        (two_pixels("L", 7, 250), [(7, 7, 7), (250, 250, 250)]),
        (two_pixels("1", 0, 1), [BLACK, WHITE]),
        (two_pixels("CMYK", (0, 0, 0, 0), (0, 255, 255, 0)), [WHITE, (255, 0, 0)]),
        (Image.fromarray(np.array([[0, 65535]], np.uint16)), [BLACK, WHITE]),
        (Image.fromarray(np.array([[257 * 7, 257 * 250]], np.int32)), [(7, 7, 7), (250, 250, 250)]),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_becomes_rgb_over_white(image: Image.Image, expected: list[tuple[int, ...]]) -> None:
    before = image.mode, image.tobytes(), dict(image.info)
    loaded = load_image(image)
    assert colours(loaded.pixels) == [expected]
    assert (image.mode, image.tobytes(), image.info) == before


@pytest.mark.parametrize(
    "image",
    [
        Image.new("F", (2, 2)),
        Image.fromarray(np.full((2, 2), -1, np.int32)),
        Image.fromarray(np.full((2, 2), 70000, np.int32)),
        Image.new("RGB", (0, 3)),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((1, 2, 2, 3), np.uint8),
        None,
    ],
    ids=["F", "negative", "beyond 16 bits", "no width", "no pixels", "float", "two channels", "batch", "None"],
)
def test_what_is_no_8_bit_picture_is_refused(image: object) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(image)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_callers_image_is_not_shared() -> None:
    image = picture(1, 8, 8)
    loaded = load_image(image)
    image.putpixel((0, 0), (1, 2, 3))
    assert loaded.pixels.getpixel((0, 0)) != (1, 2, 3)
    array = np.zeros((4, 4, 3), np.uint8)
    loaded = load_image(array)
    array[:] = 9
    assert loaded.pixels.getpixel((0, 0)) == BLACK


def test_the_digest_is_of_the_pixels(tmp_path: Path) -> None:
    image = picture(1, 12, 8)
    refs = [load_image(image).ref, load_image(np.asarray(image)).ref]
    for name in ("a.png", "a.bmp", "a.tif", "a.webp"):
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        refs += [load_image(tmp_path / name).ref, load_image(str(tmp_path / name)).ref]
    assert len(set(refs)) == 1
    changed = image.copy()
    changed.putpixel((3, 3), (1, 2, 3))
    assert load_image(changed).ref != refs[0]


def test_the_digest_knows_the_shape() -> None:
    flat = np.zeros((6, 4, 3), np.uint8)
    digests = {load_image(flat.reshape(*shape, 3)).ref.digest for shape in ((6, 4), (4, 6), (2, 12), (24, 1))}
    assert len(digests) == 4


def refused(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path)
    message = str(caught.value)
    assert str(path.name) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp", "gif"])
@pytest.mark.parametrize("kept", [0, 3, 8, 20, 60, 0.5])
def test_a_truncated_file_is_refused(ending: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{ending}"
    picture(1, 60, 40).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    refused(path)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    picture(1).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path)


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(1, 60, 40).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_image(path).ref.size == (60, 40)


def test_what_is_no_image_file_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    assert "not an image file" in refused(text)
    assert "not found" in refused(tmp_path / "nowhere.png")
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize("side", [13_500, 40_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int, tmp_path: Path) -> None:
    """The file has a header and no pixels: an error about its size shows that none were read."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    assert "178,956,970 that --editeval-max-pixels allows" in refused(path)


def test_a_large_photograph_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from its limit on, and refuses from twice the limit on."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    path = tmp_path / "scan.png"
    picture(1, 10, 8).save(path)
    assert load_image(path).ref.size == (10, 8)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4), (1, 2, 3)).save(path)
    first = load_image(path)
    assert load_image(str(path)).pixels is first.pixels
    Image.new("RGB", (4, 4), (3, 2, 1)).save(path)
    os.utime(path, ns=(1, 1))
    assert load_image(path).ref != first.ref
    path.unlink()
    with pytest.raises(ImageError, match="image not found"):
        load_image(path)
