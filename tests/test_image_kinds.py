"""What becomes of each kind of image file: the rows of docs/images.md."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from image_files import chunk, png, qoi, saved, words
from pytest_editeval.errors import ImageError
from pytest_editeval.vision.decoding import decode

Colours = list[tuple[int, int, int]]
GREY, WHITE, BLACK, RED, BLUE = (128, 128, 128), (255, 255, 255), (0, 0, 0), (200, 0, 0), (0, 0, 200)


def row_of(data: bytes) -> Colours:
    image = decode(data, "file")
    assert image.mode == "RGB"
    assert image.height == 1
    return [tuple(pixel) for pixel in np.asarray(image)[0].tolist()]


def one(mode: str, colour: object, form: str = "TIFF") -> bytes:
    return saved(Image.new(mode, (1, 1), colour), form)  # type: ignore[arg-type]


def gif(*frames: tuple[int, int, bytes], transparent: int | None = None) -> bytes:
    """A 3x1 GIF whose frames are one pixel each, at (x, colour number); red is 0, blue 1, background 1."""
    parts = [b"GIF89a" + struct.pack("<HHBBB", 3, 1, 0x80, 1, 0) + bytes([*RED, *BLUE])]
    for left, _, codes in frames:
        if transparent is not None:
            parts.append(b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0")
        parts.append(b"\x2c" + struct.pack("<HHHHB", left, 0, 1, 1, 0) + b"\x02" + bytes([len(codes)]) + codes + b"\0")
    return b"".join(parts) + b"\x3b"


FIRST, SECOND = b"\x44\x01", b"\x4c\x01"  # LZW of the colours 0 and 1

PLTE = chunk(b"PLTE", bytes([*RED, *BLUE]))
KINDS: dict[str, tuple[bytes, Colours]] = {
    "1": (one("1", 1), [WHITE]),
    "L": (one("L", 128), [GREY]),
    "LA": (one("LA", (0, 127), "PNG"), [(128, 128, 128)]),
    "P": (saved(Image.new("RGB", (1, 1), RED).quantize(2), "PNG"), [RED]),
    "RGB": (one("RGB", RED), [RED]),
    "RGBA": (one("RGBA", (*RED, 0)), [WHITE]),
    "CMYK": (one("CMYK", (0, 255, 255, 0)), [(255, 0, 0)]),
    "CMYK JPEG of Adobe, inverted": (one("CMYK", (0, 255, 255, 0), "JPEG"), [(255, 0, 0)]),
    "YCbCr": (one("YCbCr", (128, 128, 128), "JPEG"), [GREY]),
    "grey of 2 bits": (png((4, 1), 2, 0, [b"\x1b"]), [BLACK, (85,) * 3, (170,) * 3, WHITE]),
    "grey of 16 bits": (png((3, 1), 16, 0, [words(0, 257 * 128 + 128, 65535)]), [BLACK, GREY, WHITE]),
    "grey of 16 bits, big-endian TIFF": (
        saved(Image.frombytes("I;16B", (2, 1), words(0, 257 * 128)), "TIFF"),
        [BLACK, GREY],
    ),
    "RGB of 16 bits": (png((1, 1), 16, 2, [words(0x80FF, 0, 0xFFFF)]), [(128, 0, 255)]),
    "RGBA of 16 bits": (png((2, 1), 16, 6, [words(0x8000, 0, 0, 65535, 0, 0, 0, 0)]), [(128, 0, 0), WHITE]),
    "grey and alpha of 16 bits": (png((2, 1), 16, 4, [words(0x8000, 65535, 0x8000, 0)]), [GREY, WHITE]),
    "grey of 1 bit, black transparent": (png((2, 1), 1, 0, [b"\x40"], chunk(b"tRNS", words(0))), [WHITE, WHITE]),
    "grey of 2 bits, one transparent": (
        png((4, 1), 2, 0, [b"\x1b"], chunk(b"tRNS", words(1))),
        [BLACK, WHITE, (170,) * 3, WHITE],
    ),
    "grey, one transparent": (png((2, 1), 8, 0, [b"\x03\x0c"], chunk(b"tRNS", words(3))), [WHITE, (12,) * 3]),
    "grey of 16 bits, one transparent": (
        png((2, 1), 16, 0, [words(257 * 9, 257 * 8)], chunk(b"tRNS", words(257 * 9))),
        [WHITE, (8,) * 3],
    ),
    "RGB, one transparent": (png((2, 1), 8, 2, [b"\1\2\3\4\5\6"], chunk(b"tRNS", words(1, 2, 3))), [WHITE, (4, 5, 6)]),
    "RGB of 16 bits, one transparent": (
        png((2, 1), 16, 2, [words(0x0102, 0, 0, 0x0202, 0, 0)], chunk(b"tRNS", words(0x0102, 0, 0))),
        [WHITE, (2, 0, 0)],
    ),
    "palette, one half transparent": (
        png((2, 1), 8, 3, [b"\0\1"], PLTE, chunk(b"tRNS", b"\x80")),
        [(227, 127, 127), BLUE],
    ),
    "palette, one transparent": (png((2, 1), 8, 3, [b"\0\1"], PLTE, chunk(b"tRNS", b"\0")), [WHITE, BLUE]),
    "GIF, first of two frames": (
        gif((0, 0, FIRST), (0, 1, SECOND)),
        [RED, RED, RED],
    ),  # what no frame covers has colour 0
    "GIF, frame of a part": (gif((1, 0, SECOND)), [RED, BLUE, RED]),
    "GIF, frame of a part, transparent": (gif((1, 0, SECOND), transparent=0), [WHITE, BLUE, WHITE]),
    "ICC profile": (saved(Image.new("RGB", (1, 1), RED), "PNG", icc_profile=b"\0" * 128), [RED]),
    "gamma": (png((1, 1), 8, 2, [bytes(RED)], chunk(b"gAMA", struct.pack(">I", 100_000))), [RED]),
    "BMP": (one("RGB", RED, "BMP"), [RED]),
    "PPM": (one("RGB", RED, "PPM"), [RED]),
    "QOI": (qoi(Image.new("RGB", (1, 1), RED)), [RED]),
    "JPEG 2000": (one("RGB", RED, "JPEG2000"), [RED]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file(kind: str) -> None:
    data, expected = KINDS[kind]
    assert row_of(data) == expected


@pytest.mark.parametrize("mode", ["HSV", "RGBX", "PA", "La", "RGBa", "I;16", "I;16L", "I;16B", "I"])
def test_modes_that_only_memory_has(mode: str) -> None:
    from pytest_editeval.vision.decoding import to_rgb

    base = Image.new("RGB", (2, 1), WHITE)
    if mode.startswith("I"):
        image = Image.new(mode, (2, 1), 65535)
    elif mode == "PA":
        image = base.convert("P").convert("PA")
    elif mode == "La":
        image = base.convert("LA").convert("La")
    elif mode == "RGBa":
        image = base.convert("RGBA").convert("RGBa")
    else:
        image = base.convert(mode)
    assert np.asarray(to_rgb(image)).tolist() == [[[255] * 3] * 2]


@pytest.mark.parametrize(
    ("form", "count"), [("GIF", 1000), ("PNG", 3), ("WEBP", 3), ("TIFF", 3), ("MPO", 3), ("AVIF", 3)]
)
def test_of_several_frames_the_first(form: str, count: int) -> None:
    frames = [Image.new("RGB", (16, 16), ((37 * index) % 256, 40, 90)) for index in range(count)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as opened:
        assert getattr(opened, "n_frames", 1) == count
    assert np.abs(np.asarray(decode(data, "file"), int) - (0, 40, 90)).max() <= 8


REFUSED = {
    "F": (saved(Image.new("F", (1, 1)), "TIFF"), "file: mode F (floating point) has no defined range"),
    "LAB": (saved(Image.new("LAB", (1, 1)), "TIFF"), "file: mode LAB is not RGB"),
    "I beyond 16 bits": (saved(Image.new("I", (1, 1), 70_000), "TIFF"), "values outside 0 to 65535"),
    "empty": (b"", "not an image file: file (0 bytes)"),
    "text": (b"not a picture", "not an image file: file (13 bytes)"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image file: file (41 bytes)"),
    "EPS, which Ghostscript would run": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\nshowpage\n",
        "not an image file: file",
    ),
    "ICO": (saved(picture(1, 16, 16), "ICO"), "not an image file: file"),
    "TGA": (saved(picture(1, 16, 16), "TGA"), "not an image file: file"),
    "a text chunk that is a bomb": (
        png((1, 1), 8, 0, [b"\0"], chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
        "cannot read image file: ",
    ),
    "a profile that is a bomb": (
        png((1, 1), 8, 0, [b"\0"], chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
        "cannot read image file: ",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind: str) -> None:
    data, message = REFUSED[kind]
    with pytest.raises(ImageError) as caught:
        decode(data, "file")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_content_decides_not_the_name(form: str, tmp_path: Path) -> None:
    from pytest_editeval.vision.images import load_image

    path = tmp_path / "photo.tiff"
    path.write_bytes(saved(picture(1, 8, 6), form))
    assert load_image(path).ref.size == (8, 6)
