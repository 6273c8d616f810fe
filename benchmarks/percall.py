"""The metrics as the published pipeline computes them: every call opens and encodes both of its images again.

Nothing of the package under test is used here. Square images only, whose geometry is the same in both systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ot
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from segment_anything import SamPredictor

from common import Box, Edit
from networks import Networks

PATCH_MASK_THRESHOLD = 0.1
WHITE = 255

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Encoder:
    """One of the two backbones with its processor: one image at a time."""

    model: Any
    processor: Any
    device: str

    @property
    def input_size(self) -> int:
        """Side of the input in pixels."""
        return int(self.model.config.image_size)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels of the input."""
        return int(self.model.config.patch_size)

    def pixels(self, image: Image.Image) -> torch.Tensor:
        """What the checkpoint's processor makes of an image: `(1, 3, size, size)`."""
        pixels: torch.Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels.to(self.device)

    def tokens(self, image: Image.Image) -> tuple[Floats, Floats]:
        """The CLS feature `(dim,)` and the patch features `(n_patches, dim)`."""
        hidden = self.model(pixel_values=self.pixels(image)).last_hidden_state[0].cpu().numpy().astype(np.float64)
        skipped = 1 + getattr(self.model.config, "num_register_tokens", 0)
        return hidden[0], hidden[skipped:]

    def selected(self, size: tuple[int, int], box: Box, inside: bool) -> Bools:
        """The patches `(n_patches,)` inside or outside the box."""
        side, patch = self.input_size, self.patch_size
        x1, y1, x2, y2 = (int(value * side / size[axis % 2]) for axis, value in enumerate(box))
        mask = np.full((side, side), not inside, np.float64)
        mask[y1:y2, x1:x2] = inside
        grid = side // patch
        means = mask.reshape(grid, patch, grid, patch).mean(axis=(1, 3))
        return (means > PATCH_MASK_THRESHOLD).reshape(-1)


class PerCall:
    """Scores one edit on one metric; nothing is kept from one call to the next."""

    def __init__(self, networks: Networks) -> None:
        self.clip = Encoder(networks.clip, networks.clip_processor, networks.device)
        self.dinov3 = Encoder(networks.dinov3, networks.dinov3_processor, networks.device)
        self.predictor = SamPredictor(networks.sam)

    @torch.inference_mode()
    def score(self, metric: str, edit: Edit) -> float | None:
        """The score, `None` when SAM finds no object."""
        source, edited = _opened(edit.source), _opened(edit.edited)
        match metric:
            case "emd" | "region_emd":
                return self._emd(source, edited, edit.box, everywhere=metric == "emd")
            case "dinov3_structure_similarity":
                return self._structure(source, edited, edit.box)
            case "sam_clip_cls_sim":
                return self._objects(self.clip, source, edited, edit.box)
            case "sam_dino_cls_sim":
                return self._objects(self.dinov3, source, edited, edit.box)
        raise ValueError(metric)

    def cut_out(self, image: Image.Image, *boxes: Box) -> list[Pixels | None]:
        """The object in each box on white, cropped to the box; SAM's encoder runs for every call."""
        pixels = np.array(image)
        self.predictor.set_image(pixels)
        return [self._object(pixels.copy(), box) for box in boxes]

    def _object(self, pixels: Pixels, box: Box) -> Pixels | None:
        masks, scores, _ = self.predictor.predict(box=np.array(box, np.float64), multimask_output=True)
        mask = masks[int(np.argmax(scores))]
        x1, y1, x2, y2 = box
        if not mask[y1:y2, x1:x2].any():
            return None
        pixels[~mask] = WHITE
        return pixels[y1:y2, x1:x2]

    def _emd(self, source: Image.Image, edited: Image.Image, box: Box, *, everywhere: bool) -> float:
        selected = self.clip.selected(source.size, box, inside=False)
        _, left = self.clip.tokens(source)
        _, right = self.clip.tokens(edited)
        left, right = left if everywhere else left[selected], right[selected]
        cost = cdist(left, right, "sqeuclidean")
        return float(ot.emd2(np.full(len(left), 1 / len(left)), np.full(len(right), 1 / len(right)), cost))

    def _structure(self, source: Image.Image, edited: Image.Image, box: Box) -> float:
        selected = self.dinov3.selected(source.size, box, inside=True)
        matrices = []
        for image in (source, edited):
            _, patches = self.dinov3.tokens(image)
            unit = patches[selected] / np.linalg.norm(patches[selected], axis=1, keepdims=True)
            matrices.append(unit @ unit.T)
        return float(1 / (1 + 100 * np.mean((matrices[0] - matrices[1]) ** 2)))

    def _objects(self, encoder: Encoder, source: Image.Image, edited: Image.Image, box: Box) -> float | None:
        features = []
        for image in (source, edited):
            (crop,) = self.cut_out(image, box)
            if crop is None:
                return None
            cls, _ = encoder.tokens(squared(crop, encoder.input_size))
            features.append(cls / np.linalg.norm(cls))
        return float(features[0] @ features[1])


def squared(crop: Pixels, size: int) -> Image.Image:
    """The crop centred on a white square and resized to `(size, size)`."""
    height, width = crop.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), WHITE, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = crop
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return Image.fromarray(np.asarray(cv2.resize(square, (size, size), interpolation=how), np.uint8))


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
