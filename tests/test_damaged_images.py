"""Image files with damage anywhere in them: pixels, or an error of one line. `make fuzz-images` tries many more."""

from __future__ import annotations

import os
import time
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from image_files import samples
from pytest_editeval.errors import ImageError
from pytest_editeval.pixel_limit import limit_pixels
from pytest_editeval.vision.decoding import decode

SAMPLES = samples()
EXAMPLES = int(os.environ.get("EDITEVAL_FUZZ_EXAMPLES", "300"))
SECONDS = 10


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file after up to four accidents."""
    data = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["cut", "flip", "number", "head", "copy", "drop", "insert"])):
            case "cut":
                del data[place:]
            case "flip" if data:
                data[place] ^= draw(st.integers(1, 255))
            case "number":  # what may be a length, an offset or a size
                data[place : place + 4] = draw(
                    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\xff\xff"])
                )
            case "head":
                other = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]
                length = draw(st.integers(1, 64))
                data[:length] = other[:length]
            case "copy":
                data[place:place] = data[place : place + draw(st.integers(1, 200))]
            case "drop":
                del data[place : place + draw(st.integers(1, 200))]
            case _:
                data[place:place] = draw(st.binary(min_size=1, max_size=20))
    return bytes(data)


@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damage_gives_pixels_or_an_error_of_one_line(data: bytes) -> None:
    restore = limit_pixels(4_000_000)  # damage to a header's size is refused, not waited for
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = decode(data, "photo.png")
    except ImageError as error:
        message = str(error)
        assert "photo.png" in message
        assert len(message.splitlines()) == 1
    else:
        assert image.mode == "RGB"
        assert 0 < image.width * image.height <= 4_000_000
        assert len(image.tobytes()) == 3 * image.width * image.height
    finally:
        restore()
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_samples_are_valid(kind: str) -> None:
    if kind == "tiff-float":
        with pytest.raises(ImageError, match="mode F"):
            decode(SAMPLES[kind], kind)
    else:
        assert decode(SAMPLES[kind], kind).width in (24, 16, 1)


CUTS = [kind for kind in SAMPLES if kind not in ("tiff-float", "png-text")]


@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("lenient", [False, True], ids=["", "lenient"])
def test_half_an_image_is_an_error_whatever_pillow_was_told(
    kind: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before the last byte of the first frame's pixels, wherever that is: never a picture with other pixels."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None if lenient else Image.MAX_IMAGE_PIXELS)
    data = SAMPLES[kind]
    whole = decode(data, kind)
    for kept in range(0, len(data), max(1, len(data) // 40)):
        try:
            image = decode(data[:kept], kind)
        except ImageError:
            continue
        assert image.tobytes() == whole.tobytes()  # what was cut off is another frame, or nothing that is seen
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES
