"""`EditEval`: scores edits with the models of a profile. It is what the `editeval` fixture returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pytest_editeval.config import MetricSettings
from pytest_editeval.errors import MetricError, known_names, unknown
from pytest_editeval.needs import ScoreRequest
from pytest_editeval.registry import MASK_MODES, PIPES, MetricSpec, Scope, get_metric
from pytest_editeval.results import Score
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.scoring.store import FeatureStore

if TYPE_CHECKING:
    from pytest_editeval.vision.images import ImageLike, LoadedImage
    from pytest_editeval.vision.pipes import Pipe
    from pytest_editeval.vision.scorer import Scorer

Boxes = Iterable[Sequence[float]]
Pairs = Iterable[tuple[Sequence[float], Sequence[float]]]
Fixture = Callable[[str], Any]


class EditEval:
    """The session's scorer. `fixture` gives the object behind a fixture's name, which a user may have overridden."""

    def __init__(self, pool: PipePool, fixture: Fixture, store: FeatureStore | None = None) -> None:
        self.profile = pool.profile
        self.pool = pool
        self._store = store
        self._fixture = fixture

    @cached_property
    def scorer(self) -> Scorer:
        """What is shared by all pipes of the session: the features, and with them every encoded image."""
        from pytest_editeval.vision.scorer import Scorer

        return Scorer(store=self._store)

    def score(
        self,
        metric: str,
        source: ImageLike,
        edited: ImageLike,
        coords: Boxes | None = None,
        *,
        pairs: Pairs | None = None,
        scope: Scope | Literal["default"] | None = "default",
        patch_mask_threshold: float | None = None,
        bg_color: tuple[int, int, int] | None = None,
    ) -> Score:
        """Score one edit with one metric.

        `source` and `edited` are paths, PIL images or uint8 arrays `(H, W, 3)`. `coords` are boxes `(x1, y1, x2, y2)`:
        of a region in the source's pixels; for an object metric the source's boxes, then the edited image's, or give
        `pairs` of (source box, edited box). `scope` is the region, `None` the whole image; by default the profile's for
        this metric, and without boxes the whole image. The other parameters default to the profile's.

        Raises an `EditEvalError` that says in a line what is wrong with an image, a box or a checkpoint.
        """
        from pytest_editeval.vision.images import load_image

        spec = get_metric(metric)
        settings = self.profile.settings(metric)
        boxes = _listed(metric, "coords", "boxes (x1, y1, x2, y2)", coords)
        if pairs is not None:
            if boxes or spec.inputs != "objects":
                raise MetricError(f"{metric}: pairs belong to object metrics, and go without coords")
            form = "pairs of (source box, edited box)"
            paired = [_listed(metric, "pairs", form, pair) for pair in _listed(metric, "pairs", form, pairs)]
            if any(len(pair) != 2 for pair in paired):
                raise MetricError(f"{metric}: pairs must be a list of {form}, found {pairs!r}")
            boxes = [box for box, _ in paired] + [box for _, box in paired]
        if scope not in (*MASK_MODES, "default", None):
            raise MetricError(f"{metric}: {unknown('scope', scope, MASK_MODES)}\n  {known_names(MASK_MODES)}, or None")
        if scope == "default":
            scope = settings.scope if boxes else None
        images = load_image(source), load_image(edited)
        threshold = settings.patch_mask_threshold if patch_mask_threshold is None else patch_mask_threshold
        color = settings.bg_color if bg_color is None else bg_color
        request = self.request(self.pipe_for(spec), spec, *images, boxes, scope, threshold, color)
        return self.scorer.score([request], images)[0]

    def request(
        self,
        pipe: Pipe,
        spec: MetricSpec,
        source: LoadedImage,
        edited: LoadedImage,
        coords: Boxes,
        scope: Scope | None,
        patch_mask_threshold: float,
        bg_color: tuple[int, int, int],
    ) -> ScoreRequest:
        """The request to the scorer, for a pipe of `pipe_for`, images that are open and settings that are complete."""
        mask_mode = MASK_MODES[scope] if scope is not None and spec.inputs == "patches" else None
        try:
            return pipe.request(spec.name, source, edited, coords, mask_mode, patch_mask_threshold, bg_color)
        except ValueError as error:
            raise MetricError(f"{spec.name}: {error}") from None

    def pipe_for(self, spec: MetricSpec, fixture: Fixture | None = None) -> Pipe:
        """The pipe that computes the metric; `fixture` looks fixtures up where the session's view is not wanted.

        The profile may give two metrics of one pipe different settings; a pipe or a segmenter that a `conftest.py`
        puts in a fixture's place serves all metrics that use it.
        """
        fixture = fixture or self._fixture
        settings: MetricSettings = self.profile.settings(spec.name)
        pipe: Pipe = fixture(PIPES[spec.pipe_name].fixture)
        is_profiles = pipe is self.pool.default_pipe(spec.pipe_name)
        if is_profiles:
            pipe = self.pool.pipe(settings.pipe)
        if spec.inputs == "objects":
            segmenter = fixture(PIPES["sam-pipe"].fixture)
            if segmenter is self.pool.default_segmenter() and is_profiles and settings.pipe.sam:
                segmenter = self.pool.segmenter(settings.pipe.sam)
            elif segmenter is self.pool.default_segmenter() and pipe.sam_block is not None:
                segmenter = pipe.sam_block
            # Set every time: another directory's conftest may have put its own in the shared pipe.
            pipe.sam_block = segmenter
        pipe.scorer = self.scorer
        return pipe

    @staticmethod
    def fingerprint(pipe: Pipe, spec: MetricSpec) -> str:
        """Digest of the checkpoints and settings behind the metric; equal fingerprints promise comparable scores."""
        if spec.inputs == "objects" and pipe.sam_block is not None:
            return f"{pipe.fingerprint}+{pipe.sam_block.fingerprint}"
        return pipe.fingerprint


def _listed(metric: str, name: str, form: str, values: Any) -> list[Any]:
    """`values`, which may be an array, as a list; none where they are `None`."""
    if values is None:
        return []
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise MetricError(f"{metric}: {name} must be a list of {form}, found {values!r}")
    return list(values)
