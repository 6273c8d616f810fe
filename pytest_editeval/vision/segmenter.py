"""SAM: one image is embedded once, then any number of boxes in it are isolated.

torch is imported with the network, when a first image is embedded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_editeval.boxes import check_boxes, clip_box
from pytest_editeval.device import resolve_device
from pytest_editeval.digests import digest_of
from pytest_editeval.errors import CheckpointError, EditEvalError, MetricError
from pytest_editeval.hidden import without_hidden
from pytest_editeval.registry import WHITE, Box, Color
from pytest_editeval.results import Reason, SoftFailure
from pytest_editeval.vision.batches import BatchSize, default_size, is_out_of_memory
from pytest_editeval.vision.checkpoint_config import DTYPES, SAM_TYPES, read_config
from pytest_editeval.vision.checkpoints import (
    DigestRecords,
    file_digests,
    is_local,
    local_path,
    provenance,
)
from pytest_editeval.vision.families import SAM_FAMILIES
from pytest_editeval.vision.images import ImageLike, rgb_pixels
from pytest_editeval.vision.placement import Placement

if TYPE_CHECKING:
    import torch

    from pytest_editeval.vision.objects import Pixels
    from pytest_editeval.vision.sam_models import SegmentAnythingFile, TransformersSam

BACKBONE_IMAGES = 16
"""SAM's input has about as many pixels as this many of a backbone's, so its batches are that much smaller."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What SAM's encoder made of one image, and the image."""

    image: Image.Image
    tensors: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Size in memory, the RGB image's included."""
        return sum(tensor.nbytes for tensor in self.tensors) + 3 * self.image.width * self.image.height


class CutOut(NamedTuple):
    """An object that was cut out: its pixels `(h, w, 3)` on the background colour, and the mask `(h, w)`, if known."""

    crop: Pixels
    mask: NDArray[np.bool_] | None


class SAMSegmenter:
    """SAM prompted with boxes.

    `model_path` is a segment-anything `.pth` file (its sizes are read from the weights; `model_type` `vit_b`, `vit_l`
    or `vit_h` is checked against them), or a transformers directory or hub id of one of `SAM_FAMILIES`. The constructor
    checks the settings; weights are loaded when the first image is embedded. `settings` make an equal one in another
    process. `records` remember the digests of large files.
    """

    records: DigestRecords | None = None
    libraries: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(
        self,
        *,
        model_path: str | None = None,
        model_type: str | None = None,
        device: str | None = None,
        dtype: str = "float32",
        model_cfg: object = None,
        batch_size: int | None = None,
    ) -> None:
        # `model_cfg` is in the field's files; a checkpoint's sizes are read from its own files here.
        if not model_path:
            raise CheckpointError(
                "a sam block needs a model_path: a segment-anything .pth file, a directory or a hub id"
            )
        if model_type is not None and model_type not in tuple(SAM_TYPES):
            raise CheckpointError(f"unknown model_type {model_type!r}; allowed: {', '.join(SAM_TYPES)}")
        if dtype not in DTYPES:
            raise CheckpointError(f"unknown dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
        self.model_path = str(model_path)
        self.model_type = model_type
        self.device = resolve_device(device)
        self.dtype = dtype
        self.settings = {"model_path": self.model_path, "device": self.device, "dtype": dtype, "batch_size": batch_size}
        self.settings["model_type"] = model_type
        size = (batch_size or default_size(self.device)) // BACKBONE_IMAGES
        self.batch = BatchSize(max(1, size), self.model_path)
        self._is_file = is_local(self.model_path) and local_path(self.model_path).is_file()
        if not self._is_file:
            family = read_config(self.model_path)["model_type"]
            if family not in SAM_FAMILIES:
                raise CheckpointError(
                    f"{self.model_path} is a {family!r} checkpoint; a segmenter takes a segment-anything .pth file or: "
                    f"{', '.join(sorted(SAM_FAMILIES))}"
                )

    @cached_property
    def key(self) -> str:
        """Equal for segmenters that give equal masks, by whatever name they know their checkpoint."""
        return digest_of({"fingerprint": self.fingerprint, "class": repr(type(self)), "device": self.device})

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the checkpoint's files and of the dtype."""
        return digest_of({"files": file_digests(self.model_path, self.records), "dtype": self.dtype})[:16]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What a results file says of it: path, family, commit, digest of the files, dtype."""
        return {
            **provenance(self.model_path, self.records),
            "family": "segment-anything" if self._is_file else read_config(self.model_path)["model_type"],
            "dtype": self.dtype,
        }

    @cached_property
    def backend(self) -> SegmentAnythingFile | TransformersSam:
        """The loaded network behind the two steps."""
        from pytest_editeval.vision.sam_models import SegmentAnythingFile, TransformersSam

        if self._is_file:
            path = Path(self.model_path).expanduser()
            return SegmentAnythingFile(path, self.model_type, self.device, self.dtype)
        return TransformersSam(self.model_path, self.device, self.dtype)

    def embed(self, image: ImageLike) -> Embedding:
        """The expensive step: run the image encoder."""
        return self.embed_all([image])[0]

    def embed_all(self, images: Sequence[ImageLike]) -> list[Embedding]:
        """The expensive step for several images, batched."""
        return self.batch.run(images, self._embed_batch)

    def _embed_batch(self, images: Sequence[ImageLike]) -> list[Embedding]:
        from pytest_editeval.vision.loading import exact_arithmetic, forward_turn

        pixels = [rgb_pixels(image) for image in images]
        with exact_arithmetic(), forward_turn(Placement(self.device, self.dtype)):
            tensors = self.backend.embed(pixels)
        return [Embedding(image, parts) for image, parts in zip(pixels, tensors, strict=True)]

    def masks(self, embedding: Embedding, boxes: Sequence[Box]) -> list[NDArray[np.bool_]]:
        """The cheap step: per box the mask `(H, W)` with the best predicted score of SAM's three."""
        from pytest_editeval.vision.loading import exact_arithmetic, forward_turn

        width, height = embedding.image.size
        inside = [
            (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))) for x1, y1, x2, y2 in boxes
        ]
        with exact_arithmetic(), forward_turn(Placement(self.device, self.dtype)):
            logits, scores = self.backend.predict(embedding.image, embedding.tensors, inside)
            if not (np.isfinite(scores).all() and bool(logits.isfinite().all())):
                raise MetricError(f"{self.model_path} ({self.dtype} on {self.device}) returned NaN or infinite masks")
            best = logits[np.arange(len(boxes)), scores.argmax(axis=1)]
            return list(self.backend.masks(embedding.image, best))  # only these are brought to the image's size

    def isolate(
        self, embedding: Embedding, boxes: Sequence[Box], bg_color: Color = WHITE
    ) -> list[Pixels | SoftFailure]:
        """Per box the isolated object `(h, w, 3)` (see `cut_out`), or why there is none."""
        found = self.cut_outs(embedding, boxes, bg_color)
        return [one if isinstance(one, SoftFailure) else one.crop for one in found]

    def cut_outs(
        self, embedding: Embedding, boxes: Sequence[Box], bg_color: Color = WHITE
    ) -> list[CutOut | SoftFailure]:
        """The same with each object's mask."""
        try:
            masks = self.masks(embedding, boxes)
        except EditEvalError:
            raise
        except Exception as error:  # whatever a checkpoint's network raises on its input
            if is_out_of_memory(error):
                raise
            return [
                SoftFailure(Reason.SEGMENTER_FAILED, without_hidden(f"SAM ({self.model_path}) raised {error!r}"))
                for _ in boxes
            ]
        image = np.asarray(embedding.image)
        return [self._object(image, mask, box, bg_color) for mask, box in zip(masks, boxes, strict=True)]

    def extract_object(self, image: ImageLike, box: Sequence[float], bg_color: Color = WHITE) -> Pixels | SoftFailure:
        """Both steps for one box of one image."""
        return self.isolate(self.embed(image), check_boxes([box]), bg_color)[0]

    def _object(self, image: Pixels, mask: Any, box: Box, bg_color: Color) -> CutOut | SoftFailure:
        from pytest_editeval.vision.objects import cut_out

        x1, y1, x2, y2 = clip_box(box, (image.shape[1], image.shape[0]))
        where = f"box [{', '.join(f'{value:g}' for value in box)}]"
        if x2 <= x1 or y2 <= y1:
            return SoftFailure(Reason.EMPTY_OBJECT_MASK, f"{where} holds no whole pixel; draw a larger box")
        if mask is None:
            detail = without_hidden(f"SAM ({self.model_path}) returned no mask for {where}")
            return SoftFailure(Reason.SEGMENTER_FAILED, detail)
        crop = cut_out(image, mask, box, bg_color)
        if crop is None:
            return SoftFailure(
                Reason.EMPTY_OBJECT_MASK, f"SAM found no object in {where}; draw the box closer around the object"
            )
        return CutOut(crop, mask[y1:y2, x1:x2])


def cut_outs(
    segmenter: SAMSegmenter, embedding: Embedding, boxes: Iterable[Box], bg_color: Color
) -> list[CutOut | SoftFailure]:
    """What a segmenter cuts out; one with an `isolate` of its own does not tell its masks."""
    if getattr(type(segmenter), "isolate", None) is SAMSegmenter.isolate:
        return segmenter.cut_outs(embedding, list(boxes), bg_color)
    found = segmenter.isolate(embedding, list(boxes), bg_color)
    return [one if isinstance(one, SoftFailure) else CutOut(one, None) for one in found]
