"""Draws what each metric sees and misses, into docs/pictures: `python docs/make_pictures.py`.

The photographs are the repository's (cases/LICENSES.md), the scores those of the embedded profile. Patches are shaded
by what they cost, on one scale per picture; those that were not compared are hatched. Of objects, what SAM did not cut
out is faded.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from pytest_editeval.config import load_profile
from pytest_editeval.evidence import OBJECTS, patch_costs
from pytest_editeval.registry import PIPES, Box, MaskMode
from pytest_editeval.results import Score

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH, ROOM_FOR_WORDS, DPI = 10.0, 0.65, 100
MOST_BYTES = 60_000
HEAT, BOX, QUIET = "#ff0090", "#0072b2", "#444444"
DRINK: Box = (196, 88, 378, 202)
CUP: Box = (170, 16, 410, 310)
SUIT: Box = (16, 176, 372, 512)
DAHLIA: Box = (168, 82, 450, 360)
PAGODA: Box = (62, 28, 354, 346)


@dataclass(frozen=True)
class Panel:
    """One edit under a metric: what was done, in words, and the images and boxes that were scored."""

    words: str
    source: Image.Image
    edited: Image.Image
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Picture:
    """A metric with two edits to compare with, edits that it sees, and edits that it misses."""

    metric: str
    mode: MaskMode | None
    known: tuple[Panel, Panel]
    sees: tuple[Panel, ...]
    misses: tuple[Panel, ...]


def photograph(name: str) -> Image.Image:
    """A file of `cases`, as RGB."""
    return Image.open(ROOT / "cases" / name).convert("RGB")


def within(image: Image.Image, box: Box, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The image with the inside of the box changed."""
    corners = tuple(int(value) for value in box)
    changed = image.copy()
    changed.paste(change(image.crop(corners)), corners[:2])
    return changed


def around(image: Image.Image, box: Box, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The image with the outside of the box changed."""
    changed = change(image)
    return within(changed, box, lambda _: image.crop(tuple(int(value) for value in box)))


def turned_hue(image: Image.Image, degrees: int) -> Image.Image:
    """Every colour turned round the colour wheel."""
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray(((np.asarray(hue).astype(int) + degrees * 256 // 360) % 256).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def shuffled(image: Image.Image, tile: int = 46) -> Image.Image:
    """The image cut into tiles that change places."""
    places = [(x, y) for y in range(0, image.height - tile + 1, tile) for x in range(0, image.width - tile + 1, tile)]
    result = image.copy()
    for place, other in zip(places, np.random.default_rng(1).permutation(places), strict=True):
        left, top = (int(value) for value in other)
        result.paste(image.crop((left, top, left + tile, top + tile)), place)
    return result


def swapped_columns(image: Image.Image, left: int, right: int, width: int) -> Image.Image:
    """Two upright strips of that width change places."""
    strips = [image.crop((x, 0, x + width, image.height)) for x in (left, right)]
    result = image.copy()
    result.paste(strips[0], (right, 0))
    result.paste(strips[1], (left, 0))
    return result


def dotted(image: Image.Image, box: Box) -> Image.Image:
    """A small red dot on the image."""
    result = image.copy()
    ImageDraw.Draw(result).ellipse(box, fill=(230, 30, 30))
    return result


def noise_at_the_sides(image: Image.Image, left: int, right: int) -> Image.Image:
    """Coloured tiles left of `left` and right of `right`."""
    colours = np.random.default_rng(0).integers(0, 256, (image.height // 8, image.width // 8, 3), np.uint8)
    result = Image.fromarray(colours).resize(image.size, Image.Resampling.NEAREST)
    result.paste(image.crop((left, 0, right, image.height)), (left, 0))
    return result


def pictures() -> list[Picture]:
    """All of them."""
    return [*of_the_rest(), of_the_structure(), *of_objects()]


def of_the_rest() -> tuple[Picture, Picture]:
    """`region_emd` and `emd`, outside the drink of a cup of coffee."""
    coffee = photograph("images/coffee.png")
    edits = ("matcha", "leaked_matcha", "no_spoon", "flower_for_cup")
    matcha, leaked, without_spoon, flower = (photograph(f"edits/coffee_{name}.jpg") for name in edits)

    def panel(words: str, edited: Image.Image, box: Box = DRINK) -> Panel:
        return Panel(words, coffee, edited, (box,))

    known = (panel("as asked: the drink is green", matcha), panel("untouched", coffee))
    violet = panel("all else blurred and violet", leaked)
    swapped = panel("two columns of patches swapped", swapped_columns(coffee, 100, 443, 57))
    return (
        Picture(
            "region_emd",
            "outer",
            known,
            sees=(
                violet,
                panel("the whole picture mirrored", ImageOps.mirror(coffee)),
                panel("the spoon is gone", without_spoon),
            ),
            misses=(
                swapped,
                panel("a dot, smaller than a patch", dotted(coffee, (430, 120, 446, 136))),
                panel("noise that CLIP's crop removes", noise_at_the_sides(coffee, 100, 500)),
            ),
        ),
        Picture(
            "emd",
            "outer",
            known,
            sees=(violet, panel("a flower where the cup was", flower), panel("the spoon is gone", without_spoon)),
            misses=(
                swapped,
                panel("untouched, another box", coffee, (150, 2, 424, 322)),
                panel("untouched, a larger box", coffee, (110, 0, 490, 380)),
            ),
        ),
    )


def of_the_structure() -> Picture:
    """`dinov3_structure_similarity`, inside the box round a suit."""
    astronaut = photograph("images/astronaut.png")

    def panel(words: str, edited: Image.Image) -> Panel:
        return Panel(words, astronaut, edited, (SUIT,))

    return Picture(
        "dinov3_structure_similarity",
        "inner",
        (panel("as asked: a blue suit", photograph("edits/astronaut_blue_suit.jpg")), panel("untouched", astronaut)),
        sees=(
            panel("shuffled tiles", photograph("edits/astronaut_scrambled_suit.jpg")),
            panel("mirrored in the box", within(astronaut, SUIT, ImageOps.mirror)),
            panel("negative", within(astronaut, SUIT, ImageOps.invert)),
        ),
        misses=(
            panel("another colour than asked", within(astronaut, SUIT, lambda part: turned_hue(part, 120))),
            panel("all colour lost", ImageOps.grayscale(astronaut).convert("RGB")),
            panel("other colours round the box", around(astronaut, SUIT, lambda image: turned_hue(image, 180))),
        ),
    )


def of_objects() -> tuple[Picture, Picture]:
    """`sam_clip_cls_sim` of a dahlia and `sam_dino_cls_sim` of a cup, with others beside them."""
    coffee, dahlia, china = map(photograph, ("images/coffee.png", "images/flower.jpg", "images/china.jpg"))
    flower = Panel(
        "a flower where the cup was", coffee, photograph("edits/coffee_flower_for_cup.jpg"), (CUP, (156, 10, 418, 314))
    )

    def bloom(words: str, edited: Image.Image) -> Panel:
        return Panel(words, dahlia, edited, (DAHLIA, DAHLIA))

    def cup(words: str, edited: Image.Image) -> Panel:
        return Panel(words, coffee, edited, (CUP, CUP))

    blue_cup = photograph("edits/coffee_blue_cup.jpg")
    grey = ImageOps.grayscale(dahlia).convert("RGB")
    tiles = bloom("shuffled tiles", within(dahlia, DAHLIA, shuffled))
    mirrored = bloom("mirrored in the box", within(dahlia, DAHLIA, ImageOps.mirror))
    evening = Panel("another sky", china, photograph("edits/china_sunset.jpg"), (PAGODA, PAGODA))
    return (
        Picture(
            "sam_clip_cls_sim",
            None,
            (bloom("as asked: a violet dahlia", photograph("edits/flower_violet.jpg")), bloom("untouched", dahlia)),
            sees=(flower, tiles, bloom("all colour lost", grey)),
            misses=(evening, mirrored, bloom("the bloom below is gone", photograph("edits/flower_no_bud.jpg"))),
        ),
        Picture(
            "sam_dino_cls_sim",
            None,
            (cup("as asked: a blue cup", blue_cup), cup("untouched", coffee)),
            sees=(flower, tiles, bloom("all colour lost", grey)),
            misses=(
                cup("another table", around(coffee, CUP, lambda image: turned_hue(image, 180))),
                evening,
                mirrored,
            ),
        ),
    )


def scored(picture: Picture) -> list[list[tuple[Panel, Score]]]:
    """The scores of both rows, by the embedded profile on the CPU."""
    settings = load_profile(None).settings(picture.metric).pipe
    sam = {"model_path": settings.sam.model_path} if settings.sam else None
    pipe = PIPES[settings.pipe_name].load()(model_path=settings.model_path, device="cpu", sam=sam)
    rows = zip(picture.known, (picture.sees, picture.misses), strict=True)
    return [
        [(one, pipe.score(one.source, one.edited, one.boxes, picture.mode, picture.metric)) for one in (known, *others)]
        for known, others in rows
    ]


def draw(picture: Picture) -> Image.Image:
    """Both rows, as an RGB image."""
    rows = scored(picture)
    parts = [part for row in rows for part in row]
    shape = max(panel.edited.height / panel.edited.width for panel, _ in parts)
    size = (WIDTH, 2 * (WIDTH / len(rows[0]) * shape + ROOM_FOR_WORDS))
    figure, axes = pyplot.subplots(2, len(rows[0]), figsize=size, dpi=DPI, layout="constrained")
    highest = 0.0 if picture.mode is None else max(costs_of(score).max() for _, score in parts)
    for axis, (panel, score) in zip(axes.flat, parts, strict=True):
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{score.value:#.3g}".removesuffix("."), fontsize=13, fontweight="bold")
        axis.set_xlabel(panel.words, fontsize=9.5)
        axis.imshow(panel.edited)
        if picture.mode is None:
            fade_all_but_objects(axis, panel, score)
        else:
            shade_patches(axis, score, highest)
        x1, y1, x2, y2 = panel.boxes[-1]
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=BOX, linewidth=1.8))
        axis.set(xlim=(0, panel.edited.width), ylim=(panel.edited.height, 0))
    for label, row in zip(("sees", "misses"), axes, strict=True):
        row[1].set_ylabel(label, fontsize=13, fontweight="bold", color=QUIET)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    pyplot.close(figure)
    return Image.open(stream).convert("RGB")


def costs_of(score: Score) -> NDArray[np.float64]:
    """What each patch cost, `(rows, columns)`: of a distance, or of the mean squared difference behind a similarity."""
    costs = patch_costs(score.details)
    assert costs is not None
    assert costs.shares is not None
    assert score.value is not None
    total = 1 / score.value - 1 if score.metric == "dinov3_structure_similarity" else score.value
    return costs.shares * total


def shade_patches(axis: Axes, score: Score, highest: float) -> None:
    """Shade each patch by its cost, of which `highest` is the darkest, and hatch those that were not compared."""
    costs = patch_costs(score.details)
    assert costs is not None
    x1, y1, x2, y2 = costs.area
    rows, columns = costs.compared.shape
    width, height = (x2 - x1) / columns, (y2 - y1) / rows
    strengths = np.sqrt(costs_of(score) / highest)
    for row, column in np.ndindex(rows, columns):
        look: dict[str, Any] = {"color": HEAT, "alpha": 0.85 * float(strengths[row, column])}
        if not costs.compared[row, column]:
            look = {"fill": False, "hatch": "////", "edgecolor": "#ffffff", "alpha": 0.5}
        place = (x1 + column * width, y1 + row * height)
        axis.add_patch(Rectangle(place, width, height, linewidth=0, **look))


def fade_all_but_objects(axis: Axes, panel: Panel, score: Score) -> None:
    """Fade what SAM did not cut out of the edited image."""
    fade = np.full((panel.edited.height, panel.edited.width), 0.78)
    for entry in score.details[OBJECTS]:
        x1, y1, x2, y2 = entry["edited"]["box"]
        mask = Image.open(io.BytesIO(base64.b64decode(entry["edited"]["mask"]))).resize((x2 - x1, y2 - y1))
        fade[y1:y2, x1:x2][np.asarray(mask)] = 0
    white = np.ones((*fade.shape, 4))
    white[..., 3] = fade
    axis.imshow(white)


def save(image: Image.Image, path: Path) -> None:
    """Write a WebP of at most `MOST_BYTES`, in the best quality that allows."""
    for quality in range(80, 0, -5):
        image.save(path, quality=quality, method=6)
        if path.stat().st_size <= MOST_BYTES:
            return


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for picture in pictures():
        save(draw(picture), PICTURES / f"{picture.metric}.webp")
