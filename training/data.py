"""Training pictures: where they come from, how they are cached, how scenes are made.

Only three kinds of material are used: public domain clip art (Debian package openclipart-png), the glyphs of
Noto Color Emoji (OFL), and photographs under CC-BY, CC0-1.0 or in the public domain: ten of Debian's package
lomiri-wallpapers-16.04, and those of gcompris-qt-data whose licence its copyright file names one by one.
Everything else is drawn here. See LICENSES.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import photographed
import qt_resources

Array = NDArray[np.uint8]
Rng = np.random.Generator

CLIPART = Path("/usr/share/openclipart/png")
EMOJI_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
PHOTO_DIR = Path("/usr/share/backgrounds")
# The package also holds CC-BY-SA pictures; only these are CC-BY-4.0 or CC0-1.0.
PHOTOS = (
    "Picture_0B_by_freespace.jpg",
    "Picture_1A_by_freespace.jpg",
    "Wine_by_Jakkub_Mede.jpg",
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "friends_by_Aitzol_Berasategi.jpg",
    "life_by_Aitzol_Berasategi.jpg",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "seeding_by_Clements_Engelhardt.jpg",
    "sunset_by_Aitzol_Berasategi.jpg",
    "umang_by_Abhishek_Mudgal.jpg",
)
GCOMPRIS = Path("/usr/share/gcompris-qt/rcc")
GCOMPRIS_LICENCES = Path("/usr/share/doc/gcompris-qt-data/copyright")
GCOMPRIS_ACTIVITIES = ("categorization", "explore_world_animals")
# Strips of a fish swimming; "teeth" is its skeleton, and "manta" has more than two frames.
AQUARIUM, NO_FISH = "clickgame", ("manta", "teeth")
FREE = re.compile(r"public-domain|CC0-1\.0|CC-BY-\d")
EMOJI_RANGES = ((0x1F300, 0x1F650), (0x1F680, 0x1F700), (0x1F900, 0x1FA00), (0x1FA70, 0x1FB00))
# Flags, playing cards and patterns come in hundreds of near copies and are no "objects".
SKIPPED_FOLDERS = ("flags", "cards", "patterns")

CUTOUT = 160
PHOTO_SIDE = 1800
# What is sharp when it fills a scene, and the least part of a picture that is cut out of it.
LARGE_PHOTO = 500
SMALLEST_PHOTO = 180
LARGEST = 12_000_000
HELD_OUT_EVERY = 12


def square_cutout(picture: Image.Image, least: float = 0.25) -> Array | None:
    """The picture's opaque part, centred on a transparent square; None if it is no object.

    An object fills at least the part `least` of its bounding box.
    """
    rgba = picture.convert("RGBA")
    box = rgba.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 40:
        return None
    rgba = rgba.crop(box)
    scale = CUTOUT / max(rgba.size)
    size = (max(1, round(rgba.width * scale)), max(1, round(rgba.height * scale)))
    rgba = rgba.resize(size, Image.Resampling.BICUBIC)
    solid = float((np.asarray(rgba.getchannel("A")) > 127).mean())
    # Line drawings have no inside to segment; full rectangles teach only "fill the box".
    if not least < solid < 0.97 or min(size) < 24:
        return None
    out = Image.new("RGBA", (CUTOUT, CUTOUT))
    out.paste(rgba, ((CUTOUT - size[0]) // 2, (CUTOUT - size[1]) // 2))
    return np.asarray(out)


def _emoji() -> list[Array]:
    font = ImageFont.truetype(str(EMOJI_FONT), 109)
    found = []
    for first, last in EMOJI_RANGES:
        for code in range(first, last):
            canvas = Image.new("RGBA", (136, 128))
            ImageDraw.Draw(canvas).text((0, 0), chr(code), font=font, embedded_color=True)
            cutout = square_cutout(canvas)
            if cutout is not None:
                found.append(cutout)
    return found


def _clipart() -> list[Array]:
    found = []
    for path in sorted(CLIPART.rglob("*.png")):
        if any(part in SKIPPED_FOLDERS for part in path.parts):
            continue
        try:
            with Image.open(path) as picture:
                if picture.width * picture.height > LARGEST:
                    continue
                cutout = square_cutout(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        if cutout is not None:
            found.append(cutout)
    return found


def _distinct(cutouts: list[Array]) -> list[Array]:
    """Drop near copies, which would be false negatives of instance discrimination."""
    seen: set[bytes] = set()
    kept = []
    for cutout in cutouts:
        small = cv2.resize(cutout, (6, 6), interpolation=cv2.INTER_AREA) // 40
        key = hashlib.sha256(small.tobytes()).digest()
        if key not in seen:
            seen.add(key)
            kept.append(cutout)
    return kept


def _free_files(copyright_file: Path) -> set[str]:
    """The files, without suffix, that a machine-readable copyright file of Debian's puts under a licence of `FREE`."""
    found: set[str] = set()
    for paragraph in copyright_file.read_text("utf-8").split("\n\n"):
        names = re.search(r"^Files:((?:.|\n[ \t])*)", paragraph)
        licence = re.search(r"^License:\s*(.*)", paragraph, re.MULTILINE)
        if names and licence and FREE.fullmatch(re.sub(r"(?<=CC-BY-\d)\.\d$", "", licence[1])):
            # The pictures were converted to another format since their licences were written down.
            found |= {str(PurePosixPath(name).with_suffix("")) for name in names[1].split()}
    return found


def _gcompris(*activities: str, mode: str) -> dict[str, Array]:
    free = _free_files(GCOMPRIS_LICENCES)
    found = {}
    for activity in activities:
        for path, content in qt_resources.files(GCOMPRIS / f"{activity}.rcc"):
            name = PurePosixPath(path.removeprefix("gcompris/")).with_suffix("")
            if str(name) not in free or not path.endswith(".webp"):
                continue
            with Image.open(io.BytesIO(content)) as picture:
                if picture.mode == mode:
                    found[name.name] = np.asarray(picture)
    return found


def _photographed(photos: dict[str, Array]) -> list[Array]:
    """Cut-outs of photographed objects."""
    strips = _gcompris(AQUARIUM, mode="RGBA")
    pictures = [photographed.cut_out(photos[name], box) for name, box in photographed.OBJECTS.items()]
    pictures += [photographed.first_frame(strip) for name, strip in sorted(strips.items()) if name not in NO_FISH]
    # Tools lie across their boxes.
    found = [square_cutout(Image.fromarray(picture), least=0.05) for picture in pictures]
    return [cutout for cutout in found if cutout is not None]


def build_cache(work: Path) -> None:
    """Decode everything once; the training runs only map these files into memory."""
    work.mkdir(parents=True, exist_ok=True)
    photos = _gcompris(*GCOMPRIS_ACTIVITIES, mode="RGB")
    np.save(work / "photographed.npy", np.stack(_photographed(photos)))
    for name, rgb in photos.items():
        if min(rgb.shape[:2]) >= SMALLEST_PHOTO:
            np.save(work / f"photo-gcompris-{name}.npy", rgb)
    cutouts = np.stack(_distinct(_clipart() + _emoji()))
    np.save(work / "cutouts.npy", cutouts)
    for name in PHOTOS:
        with Image.open(PHOTO_DIR / name) as picture:
            photo = picture.convert("RGB")
        photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        np.save(work / f"photo-{Path(name).stem}.npy", np.asarray(photo))
    print(f"{len(cutouts)} cut-outs, {len(list(work.glob('photo-*.npy')))} photographs in {work}")


class Pictures:
    """Random backgrounds, objects and scenes from the cache."""

    def __init__(self, work: Path, *, held_out: bool = False) -> None:
        cutouts = np.load(work / "cutouts.npy", mmap_mode="r")
        numbers = np.arange(len(cutouts))
        self.cutouts: Array = cutouts
        self.numbers = numbers[(numbers % HELD_OUT_EVERY == 0) == held_out]
        self.photographed: Array = np.load(work / "photographed.npy", mmap_mode="r")
        photos = [np.load(path, mmap_mode="r") for path in sorted(work.glob("photo-*.npy"))]
        self.large: list[Array] = [photo for photo in photos if min(photo.shape[:2]) >= LARGE_PHOTO]
        self.small: list[Array] = [photo for photo in photos if min(photo.shape[:2]) < LARGE_PHOTO]

    def texture(self, rng: Rng, height: int, width: int) -> Array:
        """Coloured noise of several octaves, sometimes laid over by stripes."""
        out = np.zeros((height, width, 3), np.float32) + rng.uniform(0, 1, 3).astype(np.float32)
        for cells in (2, 5, 12, 40):
            grid = rng.normal(0, rng.uniform(0, 0.25), (cells, cells, 1)).astype(np.float32)
            tint = rng.normal(0, 0.6, 3).astype(np.float32) + 0.6
            noise = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
            out += noise[..., None] * tint
        if rng.random() < 0.4:
            yy, xx = np.mgrid[:height, :width].astype(np.float32)
            angle, wave = rng.uniform(0, np.pi), rng.uniform(5, 60)
            stripes = np.sin((xx * np.cos(angle) + yy * np.sin(angle)) * 2 * np.pi / wave)
            if rng.random() < 0.5:
                stripes = np.sign(stripes)
            tint = rng.normal(0, 0.2, 3).astype(np.float32)
            out += stripes.astype(np.float32)[..., None] * tint
        return (np.clip(out, 0, 1) * 255).astype(np.uint8)

    def background(self, rng: Rng, height: int, width: int, texture: float = 0.15) -> Array:
        """A random rectangle of a photograph, or with chance `texture` a drawn texture."""
        if rng.random() < texture:
            return self.texture(rng, height, width)
        photos = self.large if rng.random() < 0.5 else self.small
        photo = photos[rng.integers(len(photos))]
        full_h, full_w = photo.shape[:2]
        least = min(1.0, SMALLEST_PHOTO / min(full_h, full_w))
        part = float(np.exp(rng.uniform(np.log(least), 0)))
        scale = min(full_h / height, full_w / width) * part
        h, w = max(8, int(height * scale)), max(8, int(width * scale))
        top, left = rng.integers(full_h - h + 1), rng.integers(full_w - w + 1)
        crop = np.ascontiguousarray(photo[top : top + h, left : left + w])
        method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        crop = np.asarray(cv2.resize(crop, (width, height), interpolation=method), np.uint8)
        return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop

    def blob(self, rng: Rng) -> Array:
        """A smooth random outline filled with a photograph: an object without clip art's look."""
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        radius = np.ones_like(angles)
        for k in range(2, 7):
            radius += rng.normal(0, 0.45 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        radius = np.clip(radius, 0.25, None)
        aspect = np.exp(rng.uniform(-0.6, 0.6))
        points = np.stack([radius * np.cos(angles) * aspect, radius * np.sin(angles)], 1)
        points -= points.min(0)
        points *= (CUTOUT - 2) / points.max()
        alpha = np.zeros((CUTOUT, CUTOUT), np.uint8)
        cv2.fillPoly(alpha, [points.astype(np.int32)], 255)
        rgb = self.background(rng, CUTOUT, CUTOUT, texture=0.3)
        return np.dstack([rgb, alpha])

    def object(self, rng: Rng, blobs: float = 0.3) -> Array:
        """A cut-out (square RGBA), now and then a blob, or clip art with a photo's texture."""
        if rng.random() < blobs:
            return self.blob(rng)
        rgba = self._cutout(rng)
        if rng.random() < blobs / 2:
            textured(rgba, self.background(rng, CUTOUT, CUTOUT), rng.uniform(0.5, 1))
        return rgba

    def limbs(self, rng: Rng) -> Array:
        """Bent strokes that get thinner, from one place or from each other, filled with a photograph: a thin object."""
        alpha = np.zeros((2 * CUTOUT, 2 * CUTOUT), np.uint8)
        joints = [np.full(2, float(CUTOUT))]
        thick = rng.uniform(0.03, 0.16) * CUTOUT
        if rng.random() < 0.6:
            axes = (rng.uniform(0.08, 0.35, 2) * CUTOUT).astype(int)
            cv2.ellipse(alpha, (CUTOUT, CUTOUT), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 255, -1)
        lean, spread = rng.uniform(-np.pi, np.pi), rng.uniform(0.3, np.pi)
        for _ in range(rng.integers(2, 9)):
            start = joints[rng.integers(len(joints))]
            angle = lean + rng.uniform(-spread, spread)
            length = rng.uniform(0.2, 0.7) * CUTOUT
            end = start + length * np.array([np.cos(angle), np.sin(angle)])
            bend = (start + end) / 2 + rng.normal(0, 0.2, 2) * length
            t = np.linspace(0, 1, 24)[:, None]
            path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
            taper = rng.uniform(0.15, 1)
            for part, (x, y) in zip(t[:, 0], path, strict=True):
                radius = max(1, int(thick / 2 * (1 - part * (1 - taper))))
                cv2.circle(alpha, (int(x), int(y)), radius, 255, -1)
            if rng.random() < 0.4:
                axes = (rng.uniform(0.04, 0.14, 2) * CUTOUT).astype(int)
                cv2.ellipse(alpha, (int(end[0]), int(end[1])), axes.tolist(), float(np.degrees(angle)), 0, 360, 255, -1)
            joints.append(end)
        ys, xs = np.nonzero(alpha)
        top, left = int(ys.min()), int(xs.min())
        shape = alpha[top : int(ys.max()) + 1, left : int(xs.max()) + 1]
        scale = (CUTOUT - 2) / max(shape.shape)
        h, w = (max(1, int(n * scale)) for n in shape.shape)
        out = np.zeros((CUTOUT, CUTOUT), np.uint8)
        y, x = (CUTOUT - h) // 2, (CUTOUT - w) // 2
        out[y : y + h, x : x + w] = cv2.resize(shape, (w, h), interpolation=cv2.INTER_AREA)
        return np.dstack([self.background(rng, CUTOUT, CUTOUT, texture=0.3), out])

    def thing(self, rng: Rng) -> Array:
        """An object to be outlined (square RGBA): photographed, a cut-out, thin ones more often, or an outline."""
        kind = rng.random()
        if kind < 0.1:
            return self.blob(rng)
        if kind < 0.2:
            return self.limbs(rng)
        if kind < 0.45:
            return np.array(self.photographed[rng.integers(len(self.photographed))])
        rgba = self._cutout(rng)
        if rng.random() < 0.6:
            rgba = min(rgba, self._cutout(rng), key=lambda other: solidity(other[..., 3]))
        if rng.random() < 0.4:
            textured(rgba, self.background(rng, CUTOUT, CUTOUT), rng.uniform(0.5, 1))
        return rgba

    def _cutout(self, rng: Rng) -> Array:
        return np.array(self.cutouts[self.numbers[rng.integers(len(self.numbers))]])

    def with_objects(self, rng: Rng, canvas: Array, most: int, sizes: tuple[float, float], turn: float) -> Array:
        """A square picture with up to `most` objects anywhere in it, their `sizes` parts of its side."""
        side = len(canvas)
        for _ in range(rng.integers(0, most + 1)):
            size = side * float(rng.uniform(*sizes))
            centre = (rng.uniform(0, side), rng.uniform(0, side))
            matrix = placement(rng, size, centre, turn, bool(rng.random() < 0.5))
            canvas = paste(canvas, warp(self.object(rng), matrix, side, side))
        return canvas

    def neighbours(self, rng: Rng, number: int) -> list[Array]:
        """Different cut-outs that lie next to each other, mostly of one kind; one may have a photograph's texture."""
        if rng.random() < 0.15:
            return [self.blob(rng) for _ in range(number)]
        first = int(rng.integers(len(self.numbers) - 3 * number))
        chosen = first + rng.permutation(3 * number)[:number]
        return [np.array(self.cutouts[self.numbers[index]]) for index in chosen]

    def pieces(self, rng: Rng, number: int) -> list[Array]:
        """Rectangles of one photograph that do not overlap much: each from a cell of its own."""
        whole = self.background(rng, 448, 448, texture=0.1)
        cells = rng.permutation(4)[:number]
        found = []
        for cell in cells:
            h, w = (int(n) for n in rng.integers(96, 225, 2))
            y = int(cell) // 2 * 224 + int(rng.integers(225 - h))
            x = int(cell) % 2 * 224 + int(rng.integers(225 - w))
            found.append(np.ascontiguousarray(whole[y : y + h, x : x + w]))
        return found


def textured(rgba: Array, photo: Array, part: float) -> None:
    """Mix a photograph of its size into a cut-out: `part` of its colours, and nothing of its outline."""
    rgba[..., :3] = (rgba[..., :3] * (1 - part) + photo.astype(np.float32) * part).astype(np.uint8)


def solidity(alpha: Array) -> float:
    """The part of its bounding box that an outline fills."""
    ys, xs = np.nonzero(alpha > 127)
    return len(ys) / float((np.ptp(ys) + 1) * (np.ptp(xs) + 1)) if len(ys) else 0.0


def warp(rgba: Array, matrix: NDArray[np.float32], height: int, width: int) -> Array:
    """Affine placement of a cut-out on an empty canvas, without dark fringes at its edge."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    pre = np.dstack([rgba[..., :3] * alpha, rgba[..., 3:]]).astype(np.uint8)
    return np.asarray(cv2.warpAffine(pre, matrix, (width, height), flags=cv2.INTER_LINEAR))


def placement(rng: Rng, size: float, centre: tuple[float, float], turn: float, flip: bool) -> NDArray[np.float32]:
    """The affine matrix that puts a cut-out of `size` pixels around `centre`."""
    scale = size / CUTOUT
    angle = rng.uniform(-turn, turn)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    sign = -1.0 if flip else 1.0
    half = CUTOUT / 2
    return np.array(
        [
            [sign * cos, -sin, centre[0] - half * (sign * cos - sin)],
            [sign * sin, cos, centre[1] - half * (sign * sin + cos)],
        ],
        np.float32,
    )


def paste(canvas: Array, layer: Array) -> Array:
    """Lay a premultiplied RGBA layer over a canvas of the same size."""
    keep = 255 - layer[..., 3:].astype(np.uint16)
    return (layer[..., :3] + (canvas * keep // 255)).clip(0, 255).astype(np.uint8)


def reencode(picture: Array, quality: int) -> Array:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode the training pictures into a cache.")
    parser.add_argument("--work", type=Path, default=Path("build/training"))
    build_cache(parser.parse_args().work)


if __name__ == "__main__":
    main()
