"""`CLIPPipe` and `DINOv3Pipe`: a backbone, an optional segmenter, and the metrics that are computed with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import check_boxes
from pytest_editeval.errors import CheckpointError, UnknownMetricError, known_names
from pytest_editeval.needs import ImageNeed, ImageRef, ScoreRequest
from pytest_editeval.regions import MaskProcessor
from pytest_editeval.registry import (
    EXACT_PATCHES,
    PATCH_MASK_THRESHOLD,
    WHITE,
    Color,
    MaskMode,
    MetricSpec,
    get_metric,
    metrics,
    unknown_metric,
)
from pytest_editeval.results import Score
from pytest_editeval.vision.backbones import Backbone, CLIPMixin, DINOv3Mixin
from pytest_editeval.vision.features import FeatureMemory, Features
from pytest_editeval.vision.images import ImageLike, load_image
from pytest_editeval.vision.scorer import Scorer
from pytest_editeval.vision.segmenter import SAMSegmenter

if TYPE_CHECKING:
    import torch

    from pytest_editeval.vision.backbones import PatchMask
    from pytest_editeval.vision.objects import Pixels

Boxes = Iterable[Sequence[float]] | None

PIPE_MEMORY = 256 << 20


class Pipe(MaskProcessor, Backbone):
    """A backbone that scores edits. `sam` holds the segmenter's settings; object metrics need it.

    All other settings are the backbone's (`Backbone`). Images are paths, PIL images or uint8 arrays `(H, W, 3)`;
    boxes are `(x1, y1, x2, y2)` in pixels of the image they belong to.
    """

    pipe_name: ClassVar[str]
    default_metric: ClassVar[str]

    def __init__(self, *, sam: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sam_block = SAMSegmenter(**{"device": self.device, **sam}) if sam else None

    @cached_property
    def scorer(self) -> Scorer:
        """What this pipe has encoded so far; a session replaces it by the one that all its pipes share."""
        return Scorer(FeatureMemory(PIPE_MEMORY))

    def __call__(
        self,
        ref_image: ImageLike,
        edited_image: ImageLike,
        coords: Boxes = None,
        mask_mode: MaskMode | None = None,
        metric: str | None = None,
        patch_mask_threshold: float = PATCH_MASK_THRESHOLD,
        bg_color: Color = WHITE,
    ) -> float | None:
        """The score, or the metric's soft-failure value.

        `ValueError` for an unknown metric or mask mode, or a box that is none; `CheckpointError` when an object metric
        has no `sam` block.
        """
        score = self.score(
            ref_image,
            edited_image,
            coords,
            mask_mode,
            metric,
            patch_mask_threshold=patch_mask_threshold,
            bg_color=bg_color,
        )
        return score.value

    def score(
        self,
        ref_image: ImageLike,
        edited_image: ImageLike,
        coords: Boxes = None,
        mask_mode: MaskMode | None = None,
        metric: str | None = None,
        **parameters: Any,
    ) -> Score:
        """As calling the pipe, with the reason of a soft failure and what explains the score."""
        source, edited = load_image(ref_image), load_image(edited_image)
        request = self.request(metric or self.default_metric, source.ref, edited.ref, coords, mask_mode, **parameters)
        return self.scorer.score([request], (source, edited))[0]

    def request(
        self,
        metric: str,
        source: ImageRef,
        edited: ImageRef,
        coords: Boxes = None,
        mask_mode: MaskMode | None = None,
        patch_mask_threshold: float = PATCH_MASK_THRESHOLD,
        bg_color: Color = WHITE,
    ) -> ScoreRequest:
        """The score that is wanted, checked; the models it needs are made known to the scorer."""
        spec = self.metric(metric)
        if mask_mode not in ("inner", "outer", None):
            raise ValueError(f"unknown mask_mode {mask_mode!r}; known: inner, outer, None")
        self.scorer.backbones[self.key] = self
        segmenter = None
        if spec.inputs == "objects":
            if self.sam_block is None:
                raise CheckpointError(
                    f"{metric} needs a segmenter: give the pipe a sam block, sam={{'model_path': ...}}"
                )
            segmenter = self.sam_block.key
            self.scorer.segmenters[segmenter] = self.sam_block
        return ScoreRequest(
            metric=spec,
            source=source,
            edited=edited,
            coords=check_boxes(coords),
            mask_mode=mask_mode,
            patch_mask_threshold=_share(patch_mask_threshold),
            bg_color=_color(bg_color),
            backbone=self.key,
            geometry=self.image_geometry,
            segmenter=segmenter,
        )

    def metric(self, name: str) -> MetricSpec:
        """The metric, if it is one of this pipe's; `UnknownMetricError` (a `ValueError`) names those."""
        own = {spec.name for spec in metrics().values() if spec.pipe_name == self.pipe_name}
        if name not in own:
            raise UnknownMetricError(f"{unknown_metric(name, own)} of {self.pipe_name}\n  {known_names(own)}")
        return get_metric(name)

    def calc_object_pad_cls_sim(
        self, ref_image: ImageLike, edited_image: ImageLike, coords: Boxes, bg_color: Color = WHITE
    ) -> float | None:
        """Mean cosine of the CLS features of paired objects; `coords`: the source's boxes, then the edited image's."""
        metric = next(
            spec.name for spec in metrics().values() if spec.pipe_name == self.pipe_name and spec.inputs == "objects"
        )
        return self(ref_image, edited_image, coords, metric=metric, bg_color=bg_color)

    def _pad_image_to_target_size(self, cropped_image: Pixels, bg_color: Color = WHITE) -> Pixels:
        """See `pad_to_square`."""
        from pytest_editeval.vision.objects import pad_to_square

        return pad_to_square(cropped_image, self.geometry.input_size, bg_color)

    def _patches(
        self, ref_image: ImageLike, edited_image: ImageLike, mask: PatchMask
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]] | None:
        """Patch features of both images, the edited one at the source's size, through the memory, and those selected.

        `None` where none is.
        """
        source, edited = load_image(ref_image), load_image(edited_image)
        selected = self._selected(mask, source.ref.size)
        if not selected.any():
            return None
        self.scorer.backbones[self.key] = self
        resized_to = None if source.ref.size == edited.ref.size else source.ref.size
        needs = (ImageNeed(self.key, source.ref), ImageNeed(self.key, edited.ref, resized_to))
        encoded = self.scorer.encode(needs, {source.ref: source, edited.ref: edited})
        features = [encoded[need].result() for need in needs]
        left, right = (entry for entry in features if isinstance(entry, Features))
        return left.patches, right.patches, selected


class CLIPPipe(Pipe, CLIPMixin):
    """Metrics over CLIP features: `emd` (default), `region_emd`, `sam_clip_cls_sim`."""

    pipe_name = "clip-pipe"
    default_metric = "emd"

    def calc_emd(self, ref_image: ImageLike, edited_image: ImageLike, bool_mask: PatchMask = None) -> float | None:
        """`emd` with the patches of the edited image selected by a boolean mask `(n_patches,)` (`None`: all).

        `None` when the mask selects none; `ValueError` for an image of more patches than are solved exactly, which a
        call of the pipe averages.
        """
        from pytest_editeval.vision.metrics import earth_movers_distance

        found = self._patches(ref_image, edited_image, bool_mask)
        if found is None:
            return None
        source, edited, selected = found
        if len(source) > EXACT_PATCHES:
            raise ValueError(
                f"calc_emd takes up to {EXACT_PATCHES} patches, and the image has {len(source)}; call the pipe, which "
                "averages neighbouring ones"
            )
        return earth_movers_distance(source, edited[selected]).value


class DINOv3Pipe(Pipe, DINOv3Mixin):
    """Metrics over DINOv3 features: `dinov3_structure_similarity` (default), `sam_dino_cls_sim`."""

    pipe_name = "dino-v3-pipe"
    default_metric = "dinov3_structure_similarity"

    def calc_structure_similarity(
        self, ref_image: ImageLike, edited_image: ImageLike, bool_mask: PatchMask = None
    ) -> float:
        """The metric with the patches of both images selected by a boolean mask `(n_patches,)` (`None`: all).

        0.0 when the mask selects none.
        """
        from pytest_editeval.vision.metrics import structure_similarity

        found = self._patches(ref_image, edited_image, bool_mask)
        if found is None:
            return 0.0
        source, edited, selected = found
        return structure_similarity(source[selected], edited[selected]).value

    def _calc_self_sim_matrix(self, features: NDArray[Any] | torch.Tensor) -> torch.Tensor:
        """Cosine of every row of `(n, dim)` with every row: `(n, n)` float64."""
        import torch

        from pytest_editeval.vision.metrics import self_similarity

        return torch.from_numpy(self_similarity(np.asarray(features)))


def _color(color: Sequence[int]) -> Color:
    values = tuple(color) if isinstance(color, Sequence | np.ndarray) else ()
    if len(values) != 3 or not all(isinstance(value, int | np.integer) and 0 <= value <= 255 for value in values):
        raise ValueError(f"a bg_color is three whole numbers from 0 to 255, not {color!r}")
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _share(threshold: float) -> float:
    if not isinstance(threshold, float | int | np.number) or not 0 <= threshold < 1:
        raise ValueError(f"a patch_mask_threshold is a number from 0 to below 1, not {threshold!r}")
    return float(threshold)
