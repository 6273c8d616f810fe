"""Make the edited images in ``cases/edits`` from the photographs in ``cases/images``.

Every edit is plain image processing (masks, colour, inpainting, pasting) with fixed seeds, so
running the script again writes the same bytes with the same library versions.

    python cases/make_edits.py                 # write every edited image
    python cases/make_edits.py matcha shift    # only those whose name contains one of the words
    python cases/make_edits.py --check         # write nothing, fail if a file would change
    python cases/make_edits.py --sources       # copy the photographs from the packages again

``--sources`` needs scikit-image and scikit-learn; the rest needs numpy, Pillow and OpenCV.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
EDITS = HERE / "edits"
JPEG_QUALITY = 92

Photo = npt.NDArray[np.uint8]  # height x width x 3, RGB
Mask = npt.NDArray[np.float32]  # height x width, 0 to 1
Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]  # x1, y1, x2, y2; x2 and y2 exclusive
Points = Sequence[tuple[int, int]]

SOURCES = {
    "astronaut.png": ("skimage", "data/astronaut.png"),
    "camera.png": ("skimage", "data/camera.png"),
    "chelsea.png": ("skimage", "data/chelsea.png"),
    "coffee.png": ("skimage", "data/coffee.png"),
    "coins.png": ("skimage", "data/coins.png"),
    "rocket.jpg": ("skimage", "data/rocket.jpg"),
    "china.jpg": ("sklearn", "datasets/images/china.jpg"),
    "flower.jpg": ("sklearn", "datasets/images/flower.jpg"),
}

# The boxes that the case files name too.
SUIT: Box = (16, 176, 372, 512)
SHUTTLE: Box = (340, 0, 512, 312)
WALL: Box = (40, 0, 512, 350)
PATCH: Box = (126, 340, 218, 430)
LAMP: Box = (356, 440, 362, 444)
CAT_EYES: tuple[Box, ...] = ((130, 78, 210, 152), (294, 102, 352, 170))
CAT_BACKGROUND: Box = (385, 0, 451, 300)
CUP_AND_SAUCER: Box = (70, 10, 486, 394)
CUP: Box = (150, 2, 424, 322)
DRINK: Box = (196, 88, 378, 202)
CUP_MOUTH: Box = (166, 2, 414, 214)
SPOON: Box = (304, 58, 434, 336)
SAUCER_COIN: Box = (96, 196, 172, 268)
DUSK_SKY: Box = (0, 0, 640, 372)
FALCON: Box = (286, 116, 358, 410)
SECOND_FALCON: Box = (230, 130, 296, 427)
GREY_SKY: Box = (0, 0, 512, 204)
TOWER: Box = (402, 104, 446, 202)
ROOFS: Box = (56, 20, 378, 396)
CHINA_SKY: Box = (0, 0, 640, 336)
PAGODA: Box = (54, 18, 382, 416)
SMALL_PAGODA: Box = (390, 176, 526, 350)
DAHLIA: Box = (164, 78, 454, 364)
BUD: Box = (276, 364, 484, 427)
SECOND_DAHLIA: Box = (406, 8, 536, 136)
GOLD_COIN: Box = (138, 228, 208, 294)
LOST_COIN: Box = (180, 98, 236, 150)


# --- files ---------------------------------------------------------------------------------


def load(name: str) -> Photo:
    """A photograph as RGB, whatever its own mode is."""
    with Image.open(IMAGES / name) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8).copy()


def encode(name: str, photo: Photo) -> bytes:
    """The bytes of an edited image: JPEG, or optimised PNG (grey where the photo has no colour)."""
    image = Image.fromarray(photo)
    buffer = io.BytesIO()
    if name.endswith(".png"):
        if np.array_equal(photo[..., 0], photo[..., 1]):
            image = image.convert("L")
        image.save(buffer, format="PNG", optimize=True)
    else:
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def copy_sources() -> None:
    """Copy the photographs, unchanged, from the installed scikit-image and scikit-learn."""
    IMAGES.mkdir(exist_ok=True)
    for name, (package, inside) in SOURCES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"--sources needs the package {package}")
        shutil.copyfile(Path(spec.origin).parent / inside, IMAGES / name)


# --- masks ---------------------------------------------------------------------------------


def blur(values: Floats, sigma: float) -> Floats:
    """Gaussian blur, the border mirrored."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)


def blank(photo: Photo) -> Mask:
    """An empty mask of the photograph's size."""
    return np.zeros(photo.shape[:2], dtype=np.float32)


def rectangle(photo: Photo, box: Box) -> Mask:
    """A mask of one box."""
    mask = blank(photo)
    mask[box[1] : box[3], box[0] : box[2]] = 1.0
    return mask


def polygon(photo: Photo, points: Points, soft: float = 0.0) -> Mask:
    """A mask of one polygon, its edge softened by ``soft`` pixels."""
    mask = blank(photo)
    cv2.fillPoly(mask, [np.asarray(points, dtype=np.int32)], (1.0,), lineType=cv2.LINE_8)
    return blur(mask, soft) if soft else mask


def ellipse(
    photo: Photo,
    centre: tuple[int, int],
    axes: tuple[int, int],
    angle: float = 0.0,
    soft: float = 0.0,
) -> Mask:
    """A mask of one filled ellipse, its edge softened by ``soft`` pixels."""
    mask = blank(photo)
    cv2.ellipse(mask, centre, axes, angle, 0.0, 360.0, (1.0,), -1)
    return blur(mask, soft) if soft else mask


def grow(mask: Mask, pixels: int) -> Mask:
    """Dilate (or, with a negative number, erode) a mask."""
    size = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.asarray(change(mask, kernel), dtype=np.float32)


def largest_part(mask: Mask) -> Mask:
    """Keep the largest connected part, with its holes filled."""
    binary = (mask > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    best = max(contours, key=cv2.contourArea)
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, [best], -1, (1.0,), -1)
    return filled


def hue_mask(photo: Photo, low: float, high: float, saturation: int = 60, value: int = 0, ramp: int = 1) -> Mask:
    """Pixels with a hue between two angles (degrees, may wrap past 360) and enough colour.

    The mask rises from 0 to 1 over ``ramp`` steps of saturation.
    """
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV).astype(np.float32)
    hue = hsv[..., 0] * 2.0
    inside = (hue >= low) & (hue <= high) if low <= high else (hue >= low) | (hue <= high)
    colourful = np.clip((hsv[..., 1] - saturation + 1.0) / ramp, 0.0, 1.0)
    return (colourful * (inside & (hsv[..., 2] >= value))).astype(np.float32)


def pale(photo: Photo, least: int) -> Mask:
    """Pixels whose darkest channel is at least so bright: sky, mist, white paint."""
    return np.asarray(photo.min(axis=2) >= least, dtype=np.float32)


def either(*masks: Mask) -> Mask:
    """The union of masks."""
    return np.asarray(np.maximum.reduce(masks), dtype=np.float32)


def grabcut(photo: Photo, box: Box, inside: Mask | None = None, outside: Mask | None = None) -> Mask:
    """OpenCV's GrabCut in a box, with optional pixels known to be inside or outside."""
    cv2.setRNGSeed(7)
    labels = np.full(photo.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    labels[box[1] : box[3], box[0] : box[2]] = cv2.GC_PR_FGD
    if inside is not None:
        labels[inside > 0.5] = cv2.GC_FGD
    if outside is not None:
        labels[outside > 0.5] = cv2.GC_BGD
    back, front = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(photo[..., ::-1])
    cv2.grabCut(bgr, labels, (0, 0, 1, 1), back, front, 5, cv2.GC_INIT_WITH_MASK)
    return np.asarray(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)), dtype=np.float32)


# --- pixels --------------------------------------------------------------------------------


def to_photo(values: npt.NDArray[np.floating]) -> Photo:
    """Round and clip to 8 bits."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def mix(base: Photo, top: npt.NDArray[np.generic], mask: Mask) -> Photo:
    """``top`` over ``base`` where the mask is 1."""
    weight = np.clip(mask, 0.0, 1.0)[..., None]
    under = base.astype(np.float32)
    return to_photo(under + (top.astype(np.float32) - under) * weight)


def keep_inside(source: Photo, edited: Photo, boxes: Sequence[Box], feather: int = 4) -> Photo:
    """Take the edit inside the boxes only; it fades out over the last pixels before an edge."""
    padded = np.pad(source[..., 0], 2 * feather + 2)
    mask = np.zeros(padded.shape, dtype=np.float32)
    height, width = source.shape[:2]
    pad = 2 * feather + 2
    for x1, y1, x2, y2 in boxes:  # a box that touches the image's edge does not fade there
        left = 0 if x1 <= 0 else x1 + pad + feather
        top = 0 if y1 <= 0 else y1 + pad + feather
        right = width + 2 * pad if x2 >= width else x2 + pad - feather
        bottom = height + 2 * pad if y2 >= height else y2 + pad - feather
        mask[top:bottom, left:right] = 1.0
    mask = blur(mask, feather / 2.5)[pad : pad + height, pad : pad + width]
    hard = np.maximum.reduce([rectangle(source, box) for box in boxes])
    return mix(source, edited, np.where(mask > 0.99, 1.0, mask) * hard)


def recolour(photo: Photo, mask: Mask, turn: float, colour: float = 1.0, light: float = 1.0) -> Photo:
    """Turn the hue by an angle in Lab, so that shading and texture stay; scale chroma, light."""
    lab = cv2.cvtColor(photo.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    angle = np.deg2rad(turn)
    a, b = lab[..., 1].copy(), lab[..., 2].copy()
    lab[..., 0] = np.clip(lab[..., 0] * light, 0.0, 100.0)
    lab[..., 1] = (a * np.cos(angle) - b * np.sin(angle)) * colour
    lab[..., 2] = (a * np.sin(angle) + b * np.cos(angle)) * colour
    turned = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.float32)
    return mix(photo, turned * 255.0, mask)


def tint(photo: Photo, mask: Mask, colour: npt.ArrayLike) -> Photo:
    """Multiply by a colour (1 leaves a channel as it is): like a filter over the scene."""
    factor = np.asarray(colour, dtype=np.float32)
    return mix(photo, np.clip(photo.astype(np.float32) * factor, 0, 255), mask)


def vertical_ramp(photo: Photo, stops: Sequence[tuple[float, tuple[float, float, float]]]) -> Floats:
    """Colours by row, linear between the stops (row, colour): height x 1 x 3."""
    rows = np.arange(photo.shape[0], dtype=np.float32)
    places = [stop[0] for stop in stops]
    channels = [np.interp(rows, places, [stop[1][c] for stop in stops]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)[:, None, :]


def fill_smooth(photo: Photo, hole: Mask, ignore: Mask | None = None) -> Photo:
    """Fill a hole with the smoothest surface that meets its border (Laplace's equation).

    Pixels in ``ignore`` have no say: the surface ends at them without being pulled towards them.
    """
    known = (1 - (hole > 0.5)) * (1 if ignore is None else ignore <= 0.5)
    values = solve_smooth(photo.astype(np.float32), known.astype(np.float32)[..., None])
    return np.asarray(np.where((hole > 0.5)[..., None], to_photo(values), photo), dtype=np.uint8)


def solve_smooth(values: Floats, known: Floats) -> Floats:
    """Coarse to fine: start from the solution at half the size, then average neighbours."""
    height, width = values.shape[:2]
    if min(height, width) > 12:
        half = (-(-width // 2), -(-height // 2))
        weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)[..., None]
        total = cv2.resize(values * known, half, interpolation=cv2.INTER_AREA)
        mean = np.asarray(total / np.maximum(weight, 1e-6), dtype=np.float32)
        coarse = solve_smooth(mean, (weight > 0).astype(np.float32))
        start = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        start = np.full_like(values, (values * known).sum(axis=(0, 1)) / max(float(known.sum()), 1.0))
    fixed = np.asarray(cv2.GaussianBlur(values * known, (0, 0), 1.2), dtype=np.float32)
    fixed /= np.maximum(blur(known, 1.2)[..., None], 1e-3)
    out = np.where(known > 0, fixed, start)
    for _ in range(60):
        near = np.pad(out, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (near[:-2, 1:-1] + near[2:, 1:-1] + near[1:-1, :-2] + near[1:-1, 2:]) / 4.0
        out = np.where(known > 0, fixed, mean)
    return np.asarray(out, dtype=np.float32)


def add_grain(photo: Photo, mask: Mask, strength: float, seed: int, size: float = 0.7) -> Photo:
    """Fine grey noise, so that a filled area does not look smoother than the rest."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, photo.shape[:2]).astype(np.float32)
    noise = blur(noise, size)
    noise *= strength / float(noise.std())
    return mix(photo, photo.astype(np.float32) + noise[..., None], mask)


def shift(photo: Photo, dx: int, dy: int) -> Photo:
    """Translate; the strip that comes in repeats the picture mirrored."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    size = (photo.shape[1], photo.shape[0])
    moved = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def paste(base: Photo, piece: Photo, alpha: Mask, box: Box) -> Photo:
    """Put a cut-out into a box, scaled to it."""
    size = (box[2] - box[0], box[3] - box[1])
    method = cv2.INTER_AREA if size[0] <= piece.shape[1] else cv2.INTER_CUBIC
    scaled = cv2.resize(piece, size, interpolation=method)
    layer, mask = base.copy(), blank(base)
    layer[box[1] : box[3], box[0] : box[2]] = scaled
    mask[box[1] : box[3], box[0] : box[2]] = cv2.resize(alpha, size, interpolation=method)
    return mix(base, layer, mask)


def shade(photo: Photo, mask: Mask, depth: float) -> Photo:
    """Darken softly: a shadow."""
    return tint(photo, np.clip(mask, 0.0, 1.0) * depth, (0.12, 0.1, 0.1))


def cut(photo: Photo, mask: Mask, box: Box) -> tuple[Photo, Mask]:
    """The part of a photograph and of its mask in a box."""
    area = slice(box[1], box[3]), slice(box[0], box[2])
    return photo[area].copy(), mask[area].copy()


# --- objects used more than once -----------------------------------------------------------


def dahlia_mask(photo: Photo) -> Mask:
    """The large flower: everything warm in its box."""
    warm = hue_mask(photo, 340, 75, saturation=40, value=90) * rectangle(photo, DAHLIA)
    return blur(largest_part(grow(grow(warm, 2), -3)), 1.0)


def dahlia_piece(turn: float = 0.0, light: float = 1.0) -> tuple[Photo, Mask]:
    """The flower cut out, its hue turned."""
    photo = load("flower.jpg")
    mask = dahlia_mask(photo)
    return cut(recolour(photo, np.ones_like(mask), turn, light=light), mask, (168, 84, 448, 362))


def coin_piece() -> tuple[Photo, Mask]:
    """One large coin cut out of the coins photograph."""
    photo = load("coins.png")
    box = (312, 154, 384, 220)
    mask = ellipse(photo, (347, 186), (32, 31), soft=0.8)
    return cut(photo, mask, box)


def cup_parts(photo: Photo) -> tuple[Mask, Mask, Mask]:
    """The saucer, the cup's outer wall with its mouth, and the mouth (rim, inside and drink)."""
    saucer = ellipse(photo, (278, 222), (206, 166), angle=10.0)
    right = [(408, 118), (401, 160), (391, 196), (374, 222), (352, 246), (335, 264), (318, 274)]
    wall = polygon(photo, [(172, 90), (180, 160), (200, 230), (216, 266), (270, 284), (300, 281), *right[::-1]])
    mouth = ellipse(photo, (290, 112), (117, 95), angle=4.0)
    return saucer, either(wall, mouth), mouth


def pagoda_mask(photo: Photo) -> Mask:
    """The tower: GrabCut against sky, lake and trees."""
    core = polygon(photo, [(200, 40), (212, 40), (300, 130), (310, 320), (90, 320), (120, 130)])
    walls = [(118, 128), (294, 128), (296, 160), (314, 190), (316, 236), (330, 262), (336, 310)]
    sky = grow(grow(pale(photo, 165), -1), 1)
    sky *= 1 - polygon(photo, [*walls, (330, 380), (84, 340), (86, 280), (108, 236), (108, 190), (118, 160)])
    sky *= 1 - polygon(
        photo,
        [
            (198, 34),
            (213, 34),
            (212, 66),
            (228, 84),
            (256, 102),
            (290, 116),
            (110, 112),
            (150, 98),
            (180, 80),
            (197, 66),
        ],
    )
    return grabcut(photo, PAGODA, inside=core * (1 - sky), outside=sky)


# --- edits of the astronaut ----------------------------------------------------------------


def suit_mask(photo: Photo) -> Mask:
    """The orange cloth, without the flag behind it."""
    outline = [(112, 192), (100, 210), (70, 238), (54, 256), (36, 308), (22, 345), (16, 400)]
    outline += [(18, 450), (40, 511), (330, 511), (380, 352), (366, 300), (345, 250), (300, 222)]
    helmet = polygon(photo, [(370, 511), (372, 356), (340, 362), (300, 400), (278, 450), (276, 511)])
    cloth = hue_mask(photo, 346, 36, saturation=70, value=30, ramp=45)
    return blur(cloth * polygon(photo, outline) * (1 - helmet), 0.8)


def astronaut_blue_suit() -> Photo:
    """Make the orange suit blue."""
    photo = load("astronaut.png")
    return keep_inside(photo, recolour(photo, suit_mask(photo), 228.0, colour=0.62, light=0.82), [SUIT])


def shuttle_mask(photo: Photo) -> Mask:
    """The model shuttle and its stand."""
    outline = [(403, 0), (396, 34), (394, 72), (391, 60), (386, 38), (380, 56), (378, 96), (375, 115)]
    outline += [(375, 180), (354, 210), (353, 230), (376, 230), (364, 260), (366, 286), (400, 294)]
    outline += [(440, 290), (474, 280), (472, 268), (455, 268), (458, 236), (455, 214), (454, 66)]
    return polygon(photo, [*outline, (442, 38), (436, 58), (434, 20), (428, 0)])


def table_mask(photo: Photo) -> Mask:
    """The black table that the model stands on."""
    return polygon(photo, [(367, 330), (367, 296), (372, 282), (386, 275), (511, 272), (511, 330)])


def astronaut_no_shuttle() -> Photo:
    """Remove the model shuttle; the wall and the edge of the table go on behind it."""
    photo = load("astronaut.png")
    table = table_mask(photo)
    hole = either(grow(shuttle_mask(photo), 5), rectangle(photo, (354, 254, 512, 300)))
    wall = fill_smooth(photo, hole, ignore=either(grow(table, 12), rectangle(photo, (0, 290, 512, 512))))
    filled = mix(add_grain(wall, hole, 1.3, seed=11, size=0.9), np.full_like(photo, 3), blur(table, 2.0))
    return keep_inside(photo, mix(photo, filled, blur(hole, 2.0)), [SHUTTLE])


def wall_mask(photo: Photo) -> Mask:
    """The studio wall behind the astronaut: pale and colourless, and not one of the things."""
    hsv = cv2.cvtColor(np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.7)), cv2.COLOR_RGB2HSV)
    colourless = ((hsv[..., 1] < 66) & (hsv[..., 2] > 96)).astype(np.float32)
    flag = polygon(
        photo,
        [(0, 0), (50, 0), (57, 50), (68, 110), (84, 170), (97, 206), (100, 214), (112, 214), (112, 300), (0, 300)],
    )
    head = either(ellipse(photo, (227, 81), (65, 61)), rectangle(photo, (186, 120, 258, 190)))
    body = either(
        ellipse(photo, (208, 223), (98, 66), angle=24.0),
        polygon(photo, [(118, 196), (300, 228), (340, 262), (360, 340), (40, 340), (60, 256)]),
    )
    below = rectangle(photo, (0, 336, 512, 512))
    things = either(flag, head, body, below, grow(shuttle_mask(photo), -1), grow(table_mask(photo), 2))
    wall = grow(grow(colourless * (1 - things), 1), -1)
    return blur(wall * rectangle(photo, WALL), 0.9)


def astronaut_teal_wall() -> Photo:
    """Paint the studio wall teal."""
    photo = load("astronaut.png")
    return keep_inside(photo, tint(photo, wall_mask(photo), (0.38, 0.72, 0.74)), [WALL])


def astronaut_dahlia_patch() -> Photo:
    """Replace the mission patch by a dahlia."""
    photo = load("astronaut.png")
    bare = fill_smooth(photo, ellipse(photo, (170, 386), (41, 40)))
    bare = add_grain(bare, ellipse(photo, (170, 386), (40, 39), soft=1.0), 3.0, seed=12)
    dark = shade(bare, ellipse(photo, (173, 391), (38, 38), soft=3.0), 0.5)
    return keep_inside(photo, paste(dark, *dahlia_piece(-75.0), (129, 345, 212, 427)), [PATCH])


def astronaut_scrambled_suit() -> Photo:
    """Control: the picture inside the box is cut into tiles and shuffled."""
    photo = load("astronaut.png")
    out, side = photo.copy(), 24
    x1, y1, x2, y2 = SUIT
    places = [(x, y) for y in range(y1, y2 - side + 1, side) for x in range(x1, x2 - side + 1, side)]
    order = np.random.default_rng(5).permutation(len(places))
    for (x, y), index in zip(places, order.tolist(), strict=True):
        u, v = places[index]
        out[y : y + side, x : x + side] = photo[v : v + side, u : u + side]
    return out


def astronaut_red_glint() -> Photo:
    """Make a glint of 6 x 4 pixels on the visor red."""
    photo = load("astronaut.png")
    return tint(photo, rectangle(photo, LAMP), (1.0, 0.25, 0.2))


# --- edits of the cat ----------------------------------------------------------------------


def iris_mask(photo: Photo) -> Mask:
    """Both irises: the yellow-green in the two eyes."""
    left = ellipse(photo, (171, 116), (31, 28), angle=20.0)
    right = ellipse(photo, (322, 137), (20, 26), angle=100.0)
    green = hue_mask(photo, 26, 90, saturation=60, value=52, ramp=30)
    return blur(grow(grow(green, 3), -3) * either(left, right), 1.2)


def chelsea_blue_eyes() -> Photo:
    """Make the cat's eyes blue."""
    photo = load("chelsea.png")
    return keep_inside(photo, recolour(photo, iris_mask(photo), 170.0, colour=0.75), CAT_EYES)


def chelsea_blue_background() -> Photo:
    """Make the background at the right edge blue."""
    photo = load("chelsea.png")
    ramp = np.clip((np.arange(451, dtype=np.float32) - 388) / 24.0, 0.0, 1.0)
    mask = np.broadcast_to(ramp, photo.shape[:2]).astype(np.float32)
    return keep_inside(photo, tint(photo, mask, (0.62, 0.8, 1.12)), [CAT_BACKGROUND])


# --- edits of the coffee cup ---------------------------------------------------------------


def glaze_mask(photo: Photo) -> Mask:
    """The red glaze of cup and saucer, without the spoon."""
    saucer, cup, mouth = cup_parts(photo)
    red = hue_mask(photo, 340, 32, saturation=70, value=6, ramp=50)
    bowl = ellipse(photo, (366, 282), (37, 44), angle=25.0)
    inside = grow(mouth, -3)
    return blur(np.clip(either(saucer, cup) - inside - bowl, 0, 1) * red, 0.8)


def coffee_blue_cup() -> Photo:
    """Make the cup and the saucer blue."""
    photo = load("coffee.png")
    blue = recolour(photo, glaze_mask(photo), 222.0, colour=0.62)
    return keep_inside(photo, blue, [CUP_AND_SAUCER])


def drink_mask(photo: Photo) -> Mask:
    """The surface of the coffee."""
    brown = hue_mask(photo, 10, 40, saturation=120)
    return blur(grow(grow(brown, 2), -2) * ellipse(photo, (287, 146), (86, 51), angle=6.0), 1.2)


def coffee_matcha() -> Photo:
    """Turn the coffee into matcha."""
    photo = load("coffee.png")
    return keep_inside(photo, recolour(photo, drink_mask(photo), 44.0, colour=0.78), [DRINK])


def coffee_leaked_matcha() -> Photo:
    """Control: the drink is right, but everything else is blurred and turned violet too."""
    photo = load("coffee.png")
    wrong = recolour(np.asarray(cv2.GaussianBlur(photo, (0, 0), 4.0)), blank(photo) + 1, -95.0)
    return mix(wrong, coffee_matcha(), rectangle(photo, DRINK))


def spoon_mask(photo: Photo) -> Mask:
    """The spoon with its reflection in the cup and the shadow below it."""
    handle = [(392, 64), (430, 62), (428, 86), (420, 112), (408, 150), (400, 190), (394, 240), (362, 244)]
    glint = [(308, 250), (328, 224), (366, 216), (380, 224), (362, 258), (318, 268)]
    hole = either(
        polygon(photo, [*handle, (374, 220), (386, 190), (404, 140), (406, 112)]),
        ellipse(photo, (366, 286), (48, 54), angle=25.0),
        polygon(photo, glint),
    )
    _, _, mouth = cup_parts(photo)
    return hole * (1 - grow(mouth, 1))


def coffee_no_spoon() -> Photo:
    """Remove the spoon: wood, saucer and cup are each filled from their own pixels."""
    photo = load("coffee.png")
    saucer, cup, _ = cup_parts(photo)
    wood = (1 - saucer) * (1 - cup) * rectangle(photo, (0, 0, 600, 112))
    hole, out = spoon_mask(photo), photo
    shiny = grow(pale(photo, 60) * either(cup, saucer), 2)
    for part in (wood, cup, saucer * (1 - cup)):
        other = either(1 - grow(part, -1), shiny)
        filled = fill_smooth(photo, hole * part, ignore=other)
        out = mix(out, filled, hole * part)
    seam = mix(out, np.asarray(cv2.GaussianBlur(out, (0, 0), 1.5)), blur(hole, 1.0))
    return keep_inside(photo, add_grain(seam, blur(hole, 1.0), 1.6, seed=13), [SPOON])


def coffee_dahlia_in_cup() -> Photo:
    """Replace the coffee by a dahlia that fills the cup."""
    photo = load("coffee.png")
    _, _, mouth = cup_parts(photo)
    dark = shade(photo, blur(grow(mouth, -14), 5.0), 0.75)
    return keep_inside(photo, paste(dark, *dahlia_piece(), (178, 6, 402, 206)), [CUP_MOUTH])


def coffee_flower_for_cup() -> Photo:
    """Control: asked for a blue cup, it puts a flower where the cup was."""
    photo = load("coffee.png")
    dark = shade(photo, ellipse(photo, (290, 172), (122, 138), soft=8.0), 0.8)
    return keep_inside(photo, paste(dark, *dahlia_piece(), (158, 10, 416, 312)), [CUP])


def coffee_coin_on_saucer() -> Photo:
    """Add a coin, with a shadow, on the saucer."""
    photo = load("coffee.png")
    coin, alpha = coin_piece()
    warm = tint(coin, np.ones_like(alpha), (1.0, 0.78, 0.6))
    dark = shade(photo, ellipse(photo, (136, 236), (27, 22), soft=4.0), 0.8)
    return keep_inside(photo, paste(dark, warm, alpha, (102, 205, 166, 258)), [SAUCER_COIN])


# --- edits of the rocket -------------------------------------------------------------------


def rocket_sunset_sky() -> Photo:
    """Turn the blue dusk into a sunset."""
    photo = load("rocket.jpg")
    values = photo.astype(np.float32)
    blue = np.clip((values[..., 2] - values[..., 0] - 4.0) / 22.0, 0.0, 1.0)
    stops = [
        (0.0, (1.6, 0.75, 1.0)),
        (200.0, (2.2, 0.9, 0.85)),
        (330.0, (2.7, 1.1, 0.6)),
        (365.0, (1.0, 1.0, 1.0)),
    ]
    sky = tint(photo, blur(blue.astype(np.float32), 0.8), vertical_ramp(photo, stops))
    return keep_inside(photo, sky, [DUSK_SKY])


def fill_rows(photo: Photo, left: int, right: int, gap: int, left_only: int = 10**6) -> Photo:
    """Row by row, blend from the picture left of a band to the picture right of it.

    From row ``left_only`` down the right side is the left one, darkened as it was in that row.
    """
    smooth = cv2.GaussianBlur(photo, (0, 0), 3.0).astype(np.float32)
    before = smooth[:, left - gap - 24 : left - gap].mean(axis=1, keepdims=True)
    after = smooth[:, right + gap : right + gap + 24].mean(axis=1, keepdims=True)
    last = min(left_only, photo.shape[0])
    after[last:] = before[last:] * after[last - 9 : last].mean(axis=0) / before[last - 9 : last].mean(axis=0)
    weight = np.linspace(0.0, 1.0, right - left, dtype=np.float32)[None, :, None]
    out = photo.copy()
    out[:, left:right] = to_photo(before + (after - before) * weight)
    return out


def rocket_no_rocket() -> Photo:
    """Remove the rocket; the empty pad stays."""
    photo = load("rocket.jpg")
    hole = polygon(
        photo, [(300, 122), (344, 122), (344, 330), (352, 345), (354, 405), (290, 405), (290, 345), (300, 330)]
    )
    filled = add_grain(fill_rows(photo, 286, 358, 6, left_only=345), hole, 0.8, seed=14, size=0.5)
    return keep_inside(photo, mix(photo, filled, blur(hole, 1.5)), [FALCON])


def falcon_mask(photo: Photo) -> Mask:
    """The rocket: what is not blue sky in a narrow band."""
    shaft = polygon(photo, [(323, 124), (334, 138), (336, 404), (308, 404), (311, 138)])
    return blur(grow(shaft, 1), 1.0)


def rocket_second_rocket() -> Photo:
    """Add a second rocket to the left of the first."""
    photo = load("rocket.jpg")
    piece, alpha = cut(photo, falcon_mask(photo), (296, 118, 352, 406))
    return keep_inside(photo, paste(photo, piece, alpha, (236, 139, 292, 427)), [SECOND_FALCON])


# --- edits of the photographer -------------------------------------------------------------


def clouds(shape: tuple[int, int], seed: int) -> Floats:
    """Smooth noise at five sizes, wider than high, with mean about 0 and deviation 1."""
    rng = np.random.default_rng(seed)
    total = np.zeros(shape, dtype=np.float32)
    for size in (48, 24, 12, 6, 3):
        noise = rng.normal(0.0, 1.0, shape).astype(np.float32)
        layer = cv2.GaussianBlur(noise, (0, 0), size * 1.8, sigmaY=size * 0.6)
        total += (layer / layer.std() * size**0.8).astype(np.float32)
    return np.asarray(total / total.std(), dtype=np.float32)


def camera_storm_sky() -> Photo:
    """Give the grey photograph a stormy sky."""
    photo = load("camera.png")
    tower = polygon(photo, [(410, 124), (420, 112), (428, 112), (436, 124), (436, 190), (410, 190)])
    camcorder = rectangle(photo, (256, 138, 328, 190))
    sky = largest_part(pale(photo, 176) * rectangle(photo, (0, 0, 512, 182)) * (1 - tower) * (1 - camcorder))
    sky = either(grow(sky, 1), pale(photo, 185) * camcorder * rectangle(photo, (256, 138, 328, 146)))
    level = 118.0 + 38.0 * clouds((512, 512), 21) + np.linspace(-30.0, 200.0, 512)[:, None]
    grey = np.repeat(np.clip(level, 25.0, 235.0)[..., None], 3, axis=2)
    return keep_inside(photo, mix(photo, grey, blur(sky, 0.8)), [GREY_SKY])


def camera_no_tower() -> Photo:
    """Remove the tall building on the horizon."""
    photo = load("camera.png")
    hole = polygon(photo, [(406, 110), (441, 110), (441, 178), (432, 184), (406, 184)])
    filled = add_grain(fill_rows(photo, 404, 444, 2), hole, 0.8, seed=15)
    return keep_inside(photo, mix(photo, filled, blur(hole, 1.5)), [TOWER])


# --- edits of the pagoda -------------------------------------------------------------------


def china_blue_roofs() -> Photo:
    """Make the tiles of the roofs blue."""
    photo = load("china.jpg")
    tiles = hue_mask(photo, 6, 31, saturation=80, value=90, ramp=40) * pagoda_mask(photo)
    return keep_inside(photo, recolour(photo, blur(tiles, 0.8), 195.0, colour=0.8), [ROOFS])


def china_sunset() -> Photo:
    """Turn the pale sky and the lake to sunset."""
    photo = load("china.jpg")
    things = pagoda_mask(photo)
    values = photo.astype(np.float32)
    bright = np.clip((values.min(axis=2) - 95.0) / 50.0, 0.0, 1.0).astype(np.float32)
    mask = bright * (1 - things)
    stops = [
        (0.0, (0.5, 0.42, 0.72)),
        (90.0, (0.85, 0.52, 0.62)),
        (190.0, (1.05, 0.68, 0.45)),
        (240.0, (0.95, 0.66, 0.5)),
        (330.0, (0.72, 0.6, 0.62)),
    ]
    return keep_inside(photo, tint(photo, blur(mask, 0.8), vertical_ramp(photo, stops)), [CHINA_SKY])


def brush(photo: Photo, radius: int) -> Photo:
    """Kuwahara's filter: every pixel takes the mean of the calmest of four squares around it."""
    values = photo.astype(np.float32)
    light = values.mean(axis=2)
    side, best, out = radius + 1, np.full(light.shape, np.inf, dtype=np.float32), values
    for dx in (0, radius):
        for dy in (0, radius):
            mean = cv2.blur(values, (side, side), anchor=(dx, dy))
            spread = cv2.blur(light * light, (side, side), anchor=(dx, dy)) - mean.mean(axis=2) ** 2
            calmer = spread < best
            best = np.where(calmer, spread, best).astype(np.float32)
            out = np.where(calmer[..., None], mean, out).astype(np.float32)
    return to_photo(out)


def china_painted() -> Photo:
    """Paint the pagoda with broad strokes."""
    photo = load("china.jpg")
    mask = blur(grow(pagoda_mask(photo), 2), 1.5)
    oil = recolour(strokes(photo, 5), blank(photo) + 1, 0.0, colour=1.25)
    return keep_inside(photo, mix(photo, oil, mask), [PAGODA])


def strokes(photo: Photo, radius: int) -> Photo:
    """The brush at three times the size, so that the strokes have smooth edges."""
    height, width = photo.shape[:2]
    large = cv2.resize(photo, (3 * width, 3 * height), interpolation=cv2.INTER_CUBIC)
    painted = cv2.GaussianBlur(brush(np.asarray(large, dtype=np.uint8), 2 * radius), (0, 0), 1.5)
    return np.asarray(cv2.resize(painted, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def china_second_pagoda() -> Photo:
    """Add a smaller pagoda farther away, behind the crowns of the trees."""
    photo = load("china.jpg")
    piece, alpha = cut(photo, blur(pagoda_mask(photo), 0.8), (60, 24, 356, 352))
    far = mix(piece, np.full_like(piece, 205), np.full_like(alpha, 0.25))
    pasted = paste(photo, far, alpha, (398, 184, 518, 318))
    crowns = grow(grow((1 - pale(photo, 118)) * rectangle(photo, (380, 262, 560, 427)), 4), -4)
    behind = either(largest_part(crowns), rectangle(photo, (380, 314, 560, 427)))
    return keep_inside(photo, mix(pasted, photo, blur(behind, 0.8)), [SMALL_PAGODA])


def china_shifted() -> Photo:
    """Control: the roofs are recoloured, but the whole picture slides 24 pixels both ways."""
    return shift(china_blue_roofs(), 24, 24)


# --- edits of the flower -------------------------------------------------------------------


def flower_violet() -> Photo:
    """Make the orange dahlia violet."""
    photo = load("flower.jpg")
    return keep_inside(photo, recolour(photo, dahlia_mask(photo), -85.0), [DAHLIA])


def flower_poster() -> Photo:
    """Turn the dahlia into a poster with few flat tones."""
    photo = load("flower.jpg")
    lab = cv2.cvtColor(strokes(photo, 3), cv2.COLOR_RGB2LAB).astype(np.float32)
    steps = np.array([22.0, 13.0, 13.0], dtype=np.float32)
    flat = np.clip(np.rint(lab / steps) * steps, 0, 255).astype(np.uint8)
    poster = np.asarray(cv2.cvtColor(flat, cv2.COLOR_LAB2RGB), dtype=np.uint8)
    return keep_inside(photo, mix(photo, poster, dahlia_mask(photo)), [DAHLIA])


def flower_no_bud() -> Photo:
    """Remove the second bloom at the bottom edge."""
    photo = load("flower.jpg")
    bloom = hue_mask(photo, 340, 75, saturation=40, value=70) * rectangle(photo, BUD)
    hole = grow(largest_part(grow(bloom, 3)), 3)
    hole[420:][:, 286:478] = 1.0
    hole[:366] = 0.0
    filled = add_grain(fill_smooth(photo, hole), hole, 1.2, seed=16)
    return keep_inside(photo, mix(photo, filled, blur(hole, 1.5)), [BUD])


def flower_second_dahlia() -> Photo:
    """Add a smaller dahlia, a little out of focus, behind the first."""
    photo = load("flower.jpg")
    piece, alpha = dahlia_piece(light=0.86)
    soft = np.asarray(cv2.GaussianBlur(piece, (0, 0), 3.0), dtype=np.uint8)
    return keep_inside(photo, paste(photo, soft, blur(alpha, 2.0), (412, 14, 530, 130)), [SECOND_DAHLIA])


def flower_leaked_violet() -> Photo:
    """Control: the flower is right, but the leaves around it change colour."""
    photo = load("flower.jpg")
    wrong = recolour(photo, blank(photo) + 1, 150.0, colour=1.3, light=1.5)
    return mix(wrong, flower_violet(), rectangle(photo, DAHLIA))


# --- edits of the coins --------------------------------------------------------------------


def coins_gold() -> Photo:
    """Make one coin golden: a grey photograph whose edit has colour."""
    photo = load("coins.png")
    mask = ellipse(photo, (172, 261), (29, 27), soft=1.0)
    return keep_inside(photo, tint(photo, mask, (1.25, 0.95, 0.35)), [GOLD_COIN])


def coins_lost_coin() -> Photo:
    """Remove one coin from the second row."""
    photo = load("coins.png")
    hole = ellipse(photo, (206, 125), (25, 23))
    filled = add_grain(fill_smooth(photo, hole), hole, 2.5, seed=17)
    return keep_inside(photo, mix(photo, filled, blur(hole, 1.5)), [LOST_COIN])


MAKERS: dict[str, Callable[[], Photo]] = {
    "astronaut_blue_suit.jpg": astronaut_blue_suit,
    "astronaut_no_shuttle.jpg": astronaut_no_shuttle,
    "astronaut_teal_wall.jpg": astronaut_teal_wall,
    "astronaut_dahlia_patch.jpg": astronaut_dahlia_patch,
    "astronaut_scrambled_suit.jpg": astronaut_scrambled_suit,
    "astronaut_red_glint.jpg": astronaut_red_glint,
    "chelsea_blue_eyes.jpg": chelsea_blue_eyes,
    "chelsea_blue_background.jpg": chelsea_blue_background,
    "coffee_blue_cup.jpg": coffee_blue_cup,
    "coffee_matcha.jpg": coffee_matcha,
    "coffee_leaked_matcha.jpg": coffee_leaked_matcha,
    "coffee_no_spoon.jpg": coffee_no_spoon,
    "coffee_dahlia_in_cup.jpg": coffee_dahlia_in_cup,
    "coffee_flower_for_cup.jpg": coffee_flower_for_cup,
    "coffee_coin_on_saucer.jpg": coffee_coin_on_saucer,
    "rocket_sunset_sky.jpg": rocket_sunset_sky,
    "rocket_no_rocket.jpg": rocket_no_rocket,
    "rocket_second_rocket.jpg": rocket_second_rocket,
    "camera_storm_sky.png": camera_storm_sky,
    "camera_no_tower.png": camera_no_tower,
    "china_blue_roofs.jpg": china_blue_roofs,
    "china_sunset.jpg": china_sunset,
    "china_painted.jpg": china_painted,
    "china_second_pagoda.jpg": china_second_pagoda,
    "china_shifted.jpg": china_shifted,
    "flower_violet.jpg": flower_violet,
    "flower_poster.jpg": flower_poster,
    "flower_no_bud.jpg": flower_no_bud,
    "flower_second_dahlia.jpg": flower_second_dahlia,
    "flower_leaked_violet.jpg": flower_leaked_violet,
    "coins_gold.jpg": coins_gold,
    "coins_lost_coin.png": coins_lost_coin,
}


def run(words: Sequence[str], check: bool) -> int:
    """Write (or with ``check`` compare) the edited images that the words choose."""
    EDITS.mkdir(exist_ok=True)
    changed = 0
    for name, maker in MAKERS.items():
        if words and not any(word in name for word in words):
            continue
        content, path = encode(name, maker()), EDITS / name
        if check:
            same = path.exists() and path.read_bytes() == content
            changed += not same
            print(f"{'same' if same else 'DIFFERENT':10}{name}")
        else:
            path.write_bytes(content)
            print(f"{len(content):>8} {name}")
    return 1 if changed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and make the images."""
    parser = argparse.ArgumentParser(description="Make the edited images of the repository's cases.")
    parser.add_argument("words", nargs="*", help="only the images whose names contain one of these")
    parser.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    parser.add_argument("--sources", action="store_true", help="copy the photographs first")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)  # so that the order of additions does not depend on the machine
    if options.sources:
        copy_sources()
    return run(options.words, options.check)


if __name__ == "__main__":
    sys.exit(main())
