"""An independent, slow and literal reading of the reference contract, to compare the product with.

Nothing here is shared with the package under test: models are loaded again for every call, one
image is encoded at a time, and every formula is written out with the library that defines it.
Boxes are `(x1, y1, x2, y2)` in pixels, `x2` and `y2` exclusive; sizes are `(width, height)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import ot
import torch
import transformers as hf
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

Box = Sequence[float]
Color = tuple[int, int, int]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

WHITE: Color = (255, 255, 255)
REGION_METRICS = ("emd", "dinov3_structure_similarity")
OBJECT_METRICS = ("sam_clip_cls_sim", "sam_dino_cls_sim")


class Tokens(NamedTuple):
    """Rows of one image's `last_hidden_state`."""

    cls: Floats  # (dim,)
    patches: Floats  # (n_patches, dim), row-major


class HfSam(NamedTuple):
    """A `transformers` SAM or SAM 2 with its processor, in place of `segment_anything`."""

    model: Any
    processor: Any


# --- section 1: backbones ------------------------------------------------------------------------


def clip_tokens(model_dir: str | Path, pil: Image.Image) -> Tokens:
    """CLS and patches as `CLIPVisionModel` returns them: no post layer norm on the patches."""
    states = _last_hidden_state(hf.CLIPVisionModel, model_dir, pil)
    return Tokens(cls=states[0], patches=states[1:])


def dinov3_tokens(model_dir: str | Path, pil: Image.Image) -> Tokens:
    """CLS and patches; the registers between them are dropped."""
    states = _last_hidden_state(hf.AutoModel, model_dir, pil)
    config = hf.AutoConfig.from_pretrained(model_dir)
    registers = getattr(config, "num_register_tokens", 0)
    return Tokens(cls=states[0], patches=states[1 + registers :])


def tokens(model_dir: str | Path, pil: Image.Image) -> Tokens:
    """The tokens by the kind of checkpoint."""
    return (clip_tokens if _is_clip(model_dir) else dinov3_tokens)(model_dir, pil)


def backbone_sizes(model_dir: str | Path) -> tuple[int, int]:
    """(input size, patch size): what the processor really puts out, and the model's patch."""
    config = hf.AutoConfig.from_pretrained(model_dir)
    config = getattr(config, "vision_config", config)
    processor = hf.AutoImageProcessor.from_pretrained(model_dir)
    pixels = processor(Image.new("RGB", (40, 40)), return_tensors="pt")["pixel_values"]
    assert pixels.shape[-1] == pixels.shape[-2]
    return int(pixels.shape[-1]), int(config.patch_size)


def _is_clip(model_dir: str | Path) -> bool:
    return hf.AutoConfig.from_pretrained(model_dir).model_type.startswith("clip")


def _last_hidden_state(cls: Any, model_dir: str | Path, pil: Image.Image) -> Floats:
    """(n_tokens, dim) in float32."""
    model = cls.from_pretrained(model_dir, dtype=torch.float32).eval()
    processor = hf.AutoImageProcessor.from_pretrained(model_dir)
    pixels = processor(pil.convert("RGB"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        states: Floats = model(pixel_values=pixels).last_hidden_state[0].numpy()
    return states


# --- section 2: regions --------------------------------------------------------------------------


def resized_mask(image_size: tuple[int, int], coords: Sequence[Box], mode: str, target: int) -> NDArray[np.uint8]:
    """The 0/1 mask (target, target) when the whole image is squashed into the input square.

    This is the geometry of a square image, and of any image whose processor does not crop.
    """
    return _fill(coords, mode, target, image_size, (target, target), (0, 0))


def patch_mask(mask: NDArray[Any], patch: int, threshold: float = 0.1) -> Bools:
    """Which patches are selected, row-major (n_patches,): mean strictly above the threshold."""
    rows, columns = mask.shape[0] // patch, mask.shape[1] // patch
    selected = []
    for row in range(rows):
        for column in range(columns):
            tile = mask[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            selected.append(float(np.sum(tile, dtype=np.float64)) / tile.size > threshold)
    return np.array(selected, dtype=bool)


class CropGeometry(NamedTuple):
    """Where an image lies after "shortest edge to `shortest`, then centre `crop`"."""

    resized: tuple[int, int]  # (width, height)
    offset: tuple[int, int]  # (left, top) of the crop in the resized image


def crop_geometry(size: tuple[int, int], shortest: int, crop: int) -> CropGeometry:
    """The long edge is truncated, and so is half of what the crop leaves over."""
    width, height = size
    if width <= height:
        resized = (shortest, int(shortest * height / width))
    else:
        resized = (int(shortest * width / height), shortest)
    assert min(resized) >= crop, "a crop larger than the image would pad it"
    return CropGeometry(resized, ((resized[0] - crop) // 2, (resized[1] - crop) // 2))


def cropped_mask(
    size: tuple[int, int], coords: Sequence[Box], mode: str, crop: int, shortest: int | None = None
) -> NDArray[np.uint8]:
    """The 0/1 mask (crop, crop) for a processor that resizes the shortest edge and crops."""
    resized, offset = crop_geometry(size, shortest or crop, crop)
    return _fill(coords, mode, crop, size, resized, offset)


def expected_mask_nonsquare(
    size: tuple[int, int],
    coords: Sequence[Box],
    mode: str,
    input: int,
    patch: int,
    threshold: float = 0.1,
    shortest: int | None = None,
) -> Bools:
    """The selected patches (n_patches,) of a non-square image under resize-and-centre-crop.

    The arithmetic is checked by a picture on every call: the boxes are painted white into a black
    image, the real processor runs on it, and each patch must be as white as the arithmetic says.
    """
    shortest = shortest or input
    selected = patch_mask(cropped_mask(size, coords, mode, input, shortest), patch, threshold)
    if all(float(value).is_integer() for box in coords for value in box):
        painted = painted_fractions(size, coords, mode, input, patch, shortest)
        exact = exact_fractions(size, coords, mode, input, patch, shortest)
        # Interpolation blurs an edge over a pixel of the source or of the input.
        blur = max(1.0, shortest / min(size)) / patch
        assert np.abs(painted - exact).max(initial=0) < blur, "arithmetic and picture disagree"
        # Truncation moves each edge by less than a pixel, and a patch can see both edges.
        slack = blur + 2.0 * len(coords) / patch
        assert not np.any(selected & (painted <= threshold - slack))
        assert not np.any(~selected & (painted > threshold + slack))
    return selected


def painted_fractions(
    size: tuple[int, int],
    coords: Sequence[Box],
    mode: str,
    input: int,
    patch: int,
    shortest: int | None = None,
) -> Floats:
    """How white each patch is (n_patches,) after the real CLIP processor ran on a painted image."""
    width, height = size
    inside, outside = (255, 0) if mode == "inner" else (0, 255)
    canvas = np.full((height, width, 3), outside, dtype=np.uint8)
    for box in coords:
        x1, y1, x2, y2 = (max(0, int(value)) for value in box)
        canvas[y1:y2, x1:x2] = inside
    processor = hf.CLIPImageProcessor(
        size={"shortest_edge": shortest or input}, crop_size={"height": input, "width": input}
    )
    pixels = processor(Image.fromarray(canvas), do_normalize=False, return_tensors="pt")
    return _tile_means(pixels["pixel_values"][0, 0].numpy().astype(np.float64), patch)


def exact_fractions(
    size: tuple[int, int],
    coords: Sequence[Box],
    mode: str,
    input: int,
    patch: int,
    shortest: int | None = None,
) -> Floats:
    """The share of each patch (n_patches,) that real-valued, untruncated boxes cover.

    Sampled at 4 x 4 points a pixel, which is exact to an eighth of a pixel per edge.
    """
    resized, offset = crop_geometry(size, shortest or input, input)
    fine = 4
    points = (np.arange(input * fine) + 0.5) / fine
    xs = (points + offset[0]) * size[0] / resized[0]
    ys = (points + offset[1]) * size[1] / resized[1]
    inside = np.zeros((input * fine, input * fine), dtype=bool)
    for x1, y1, x2, y2 in coords:
        inside |= np.outer((ys >= y1) & (ys < y2), (xs >= x1) & (xs < x2))
    return _tile_means((inside if mode == "inner" else ~inside).astype(np.float64), patch * fine)


def _fill(
    coords: Sequence[Box],
    mode: str,
    target: int,
    size: tuple[int, int],
    resized: tuple[int, int],
    offset: tuple[int, int],
) -> NDArray[np.uint8]:
    """Fill (or cut out) the boxes, scaled to `resized`, truncated, in a window at `offset`."""
    assert mode in ("inner", "outer")
    mask = np.full((target, target), 0 if mode == "inner" else 1, dtype=np.uint8)
    for box in coords:
        edges = []
        for axis, value in zip((0, 1, 0, 1), box, strict=True):
            value = min(max(value, 0), size[axis])
            # Multiplied first: a product of whole numbers divided once is rounded once.
            value = int(value * resized[axis] / size[axis]) - offset[axis]
            edges.append(min(max(value, 0), target))
        x1, y1, x2, y2 = edges
        mask[y1:y2, x1:x2] = 1 if mode == "inner" else 0
    return mask


def _tile_means(image: Floats, patch: int) -> Floats:
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    image = image[: rows * patch, : columns * patch]
    means: Floats = image.reshape(rows, patch, columns, patch).mean(axis=(1, 3)).ravel()
    return means


# --- section 3: objects --------------------------------------------------------------------------


def clipped_box(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """The box inside the image, truncated to whole pixels."""
    width, height = size
    x1, y1, x2, y2 = box
    return (
        int(min(max(x1, 0), width)),
        int(min(max(y1, 0), height)),
        int(min(max(x2, 0), width)),
        int(min(max(y2, 0), height)),
    )


def best_mask(sam: Sam | SamPredictor | HfSam, image_np: Pixels, box: Box) -> Bools:
    """The mask (height, width) with the best predicted score among the three for this box."""
    if isinstance(sam, HfSam):
        return _best_mask_hf(sam, image_np, box)
    predictor = sam if isinstance(sam, SamPredictor) else SamPredictor(sam)
    predictor.set_image(image_np)
    masks, scores, _ = predictor.predict(box=np.array(box, dtype=float), multimask_output=True)
    best: Bools = masks[int(np.argmax(scores))]
    return best


def _best_mask_hf(sam: HfSam, image_np: Pixels, box: Box) -> Bools:
    inputs = sam.processor(
        images=Image.fromarray(image_np),
        input_boxes=[[[float(value) for value in box]]],
        return_tensors="pt",
    )
    with torch.no_grad():
        found = sam.model(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"],
            multimask_output=True,
        )
    to_masks = sam.processor.image_processor.post_process_masks
    # SAM 2's takes no second size, whatever its inputs hold.
    wanted = inspect.signature(to_masks).parameters.keys() & {"original_sizes", "reshaped_input_sizes"}
    masks = to_masks(found.pred_masks, **{key: inputs[key] for key in wanted})
    best: Bools = masks[0][0, int(found.iou_scores[0, 0].argmax())].numpy()
    return best


def sam_object(
    sam: Sam | SamPredictor | HfSam,
    image_np: Pixels,
    box: Box,
    bg_color: Color = WHITE,
) -> Pixels | None:
    """The isolated object (h, w, 3) of RGB `image_np` (height, width, 3), cropped to the box.

    None when the clipped box is empty, or when the mask has no pixel inside it, so that nothing
    but background would be compared. SAM is prompted with the clipped box.
    """
    height, width = image_np.shape[:2]
    x1, y1, x2, y2 = clipped_box((width, height), box)
    if x1 >= x2 or y1 >= y2:
        return None
    mask = best_mask(sam, image_np, (x1, y1, x2, y2))
    if not mask[y1:y2, x1:x2].any():
        return None
    isolated = image_np.copy()
    isolated[~mask] = bg_color
    return isolated[y1:y2, x1:x2]


def pad_and_resize(crop: Pixels, size: int, bg_color: Color = WHITE) -> Pixels:
    """The crop centred in a square of background, resized to (size, size, 3).

    An odd rest puts the larger margin on the right and at the bottom.
    """
    height, width = crop.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = bg_color
    square[top : top + height, left : left + width] = crop
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    resized: Pixels = cv2.resize(square, (size, size), interpolation=how)
    return resized


# --- section 4: metrics --------------------------------------------------------------------------


def emd(ref_patches: Floats, edited_selected: Floats) -> float | None:
    """Earth mover's distance from all (n, dim) source patches to the (m, dim) selected ones."""
    n, m = len(ref_patches), len(edited_selected)
    if n == 0 or m == 0:
        return None
    cost = cdist(
        np.asarray(ref_patches, dtype=np.float64),
        np.asarray(edited_selected, dtype=np.float64),
        metric="sqeuclidean",
    )
    return float(ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost))


def region_emd(ref_selected: Floats, edited_selected: Floats) -> float | None:
    """As `emd`, with the same (m, dim) patches selected on both sides."""
    return emd(ref_selected, edited_selected)


def structure_similarity(ref_selected: Floats, edited_selected: Floats) -> float:
    """Similarity of the two patch-by-patch cosine matrices of (m, dim) features; 0.0 if m = 0."""
    if len(ref_selected) == 0:
        return 0.0
    matrices = []
    for features in (ref_selected, edited_selected):
        features = np.asarray(features, dtype=np.float64)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        matrices.append(unit @ unit.T)
    error = float(np.mean((matrices[0] - matrices[1]) ** 2))
    return 1 / (1 + 100 * error)


def cls_similarity(ref_cls: Floats, edited_cls: Floats) -> float:
    """Cosine of two (dim,) vectors."""
    a, b = np.asarray(ref_cls, dtype=np.float64), np.asarray(edited_cls, dtype=np.float64)
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))


def object_similarity(
    model_dir: str | Path,
    sam: Sam | SamPredictor | HfSam,
    ref: Image.Image,
    edited: Image.Image,
    coords: Sequence[Box] | None,
    bg_color: Color = WHITE,
) -> float | None:
    """Mean cosine over pairs: first half of `coords` in the source, second in the edited image."""
    if not coords or len(coords) % 2:
        return None
    size, _ = backbone_sizes(model_dir)
    half = len(coords) // 2
    scores = []
    for ref_box, edited_box in zip(coords[:half], coords[half:], strict=True):
        features = []
        for image, box in ((ref, ref_box), (edited, edited_box)):
            crop = sam_object(sam, np.array(image.convert("RGB")), box, bg_color)
            if crop is None:
                return None
            square = Image.fromarray(pad_and_resize(crop, size, bg_color))
            features.append(tokens(model_dir, square).cls)
        scores.append(cls_similarity(*features))
    return sum(scores) / len(scores)


def selection(
    model_dir: str | Path,
    size: tuple[int, int],
    coords: Sequence[Box] | None,
    mask_mode: str | None,
    threshold: float = 0.1,
) -> Bools:
    """The selected patches (n_patches,) of an image, by what the checkpoint's processor does."""
    input, patch = backbone_sizes(model_dir)
    if mask_mode is None:
        return np.ones((input // patch) ** 2, dtype=bool)
    processor = hf.AutoImageProcessor.from_pretrained(model_dir)
    if getattr(processor, "do_center_crop", None):
        shortest = processor.size["shortest_edge"]
        return expected_mask_nonsquare(size, coords or [], mask_mode, input, patch, threshold, shortest)
    return patch_mask(resized_mask(size, coords or [], mask_mode, input), patch, threshold)


def score(
    metric: str,
    model_dir: str | Path,
    sam: Sam | SamPredictor | HfSam | None,
    ref: Image.Image,
    edited: Image.Image,
    coords: Sequence[Box] | None = None,
    mask_mode: str | None = None,
    patch_mask_threshold: float = 0.1,
    bg_color: Color = WHITE,
) -> float | None:
    """One metric of one pair of upright images; None and 0.0 as section 4's soft failures."""
    if metric in OBJECT_METRICS:
        assert sam is not None
        return object_similarity(model_dir, sam, ref, edited, coords, bg_color)
    assert metric in REGION_METRICS, metric
    ref, edited = ref.convert("RGB"), edited.convert("RGB")
    if edited.size != ref.size:
        edited = edited.resize(ref.size)  # Pillow's default filter: bicubic
    selected = selection(model_dir, ref.size, coords, mask_mode, patch_mask_threshold)
    ref_patches = tokens(model_dir, ref).patches
    edited_patches = tokens(model_dir, edited).patches
    if metric == "emd":
        return emd(ref_patches, edited_patches[selected])
    return structure_similarity(ref_patches[selected], edited_patches[selected])
