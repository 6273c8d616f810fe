"""`EditEval`: scores edits with the models of a profile. It is what the `editeval` fixture returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from pytest_editeval.errors import MetricError, known_names, unknown
from pytest_editeval.needs import ImageRef, Need, ScoreRequest
from pytest_editeval.profiles import MetricSettings
from pytest_editeval.registry import MASK_MODES, PIPES, MetricSpec, Scope, get_metric
from pytest_editeval.results import Score
from pytest_editeval.scoring.ahead import Ahead
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.scoring.remembered import Begun, RememberedScores
from pytest_editeval.scoring.store import Store
from pytest_editeval.statuses import NOT_SAVED, SCORES_COMPUTED, SCORES_REMEMBERED, SOFT_RETRIED, SOFT_SCORED

if TYPE_CHECKING:
    from pytest_editeval.scoring.cluster.actors import Cluster
    from pytest_editeval.vision.images import ImageFiles, ImageLike, LoadedImage
    from pytest_editeval.vision.pipes import Pipe
    from pytest_editeval.vision.scorer import Scorer

Boxes = Iterable[Sequence[float]]
Pairs = Iterable[tuple[Sequence[float], Sequence[float]]]
Fixture = Callable[[str], Any]

MEMORY_BYTES = 2 << 30
SHARES = (2, 16, 16)
"""Which parts of the memory may be features, features that the store has too, and embeddings of SAM."""

TIMEOUT_SECONDS = 300.0


class EditEval:
    """The session's scorer. `fixture` gives the object behind a fixture's name, which a user may have overridden.

    With a `cluster` its actors encode and compute. `timeout` is how many seconds a metric may take from the features to
    the score (`None`: no limit); what takes longer is a `MetricError` of that score. `retry_soft_failures`: those of
    earlier runs are computed again.
    """

    def __init__(
        self,
        pool: PipePool,
        fixture: Fixture,
        store: Store | None = None,
        memory_bytes: int = MEMORY_BYTES,
        cluster: Cluster | None = None,
        timeout: float | None = TIMEOUT_SECONDS,
        *,
        retry_soft_failures: bool = False,
    ) -> None:
        self.profile = pool.profile
        self.pool = pool
        self.memory_bytes = memory_bytes
        self._scores: Counter[str] = Counter()
        self._store = store
        self._fixture = fixture
        self._cluster = cluster
        self._remembered = RememberedScores(store, retry_soft_failures=retry_soft_failures)
        self._timeout = timeout

    @cached_property
    def scorer(self) -> Scorer:
        """What is shared by all pipes of the session: the features, and with them every encoded image."""
        if self._cluster is not None:
            from pytest_editeval.scoring.cluster.scorer import RemoteScorer

            return cast("Scorer", RemoteScorer(self._cluster, self.memory_bytes))  # the part of it that is used
        from pytest_editeval.vision.features import FeatureMemory
        from pytest_editeval.vision.lanes import Lanes
        from pytest_editeval.vision.scorer import Scorer

        memory, copies, embeddings = (FeatureMemory(self.memory_bytes // share) for share in SHARES)
        return Scorer(memory, copies, embeddings, store=self._store, executor=Lanes(self._timeout))

    @cached_property
    def files(self) -> ImageFiles:
        """The session's way to open images."""
        from pytest_editeval.vision.images import ImageFiles

        return ImageFiles(self._store)

    @cached_property
    def ahead(self) -> Ahead:
        """The scores of the checks that come next."""
        return Ahead(self, self.memory_bytes // 2)

    @property
    def counts(self) -> Counter[str]:
        """What was done so far: scores computed and remembered, images encoded by model family, features remembered.

        What the store could not write is counted under `NOT_SAVED` with the reason behind it.
        """
        unwritten = self._store.unwritten if self._store is not None else {}
        not_saved = Counter({NOT_SAVED + reason: count for reason, count in [*unwritten.items()]})
        return self.scorer.counts + self._scores + not_saved

    @property
    def progress(self) -> tuple[int, int]:
        """How many images and objects were encoded, of how many that are known to be needed."""
        return self.scorer.progress

    @property
    def notices(self) -> list[str]:
        """What the user should know of the models: batches that did not fit."""
        models = (*self.scorer.backbones.values(), *self.scorer.segmenters.values())
        return list(dict.fromkeys(line for model in models if hasattr(model, "batch") for line in model.batch.notices))

    def close(self) -> None:
        """Stop what is being worked out ahead, and wait for what a model is in the middle of."""
        if self._cluster is not None:
            self._cluster.close()  # first, because the window waits for what it ends
        if "ahead" in self.__dict__:
            self.ahead.close()
        if "scorer" in self.__dict__:
            self.scorer.executor.close()

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
        images = self.files.load(source), self.files.load(edited)
        threshold = settings.patch_mask_threshold if patch_mask_threshold is None else patch_mask_threshold
        color = settings.bg_color if bg_color is None else bg_color
        request = self.request(self.pipe_for(spec), spec, images[0].ref, images[1].ref, boxes, scope, threshold, color)
        begun = self.begin([request], images)[0]
        result = begun.score.result()
        self.count(result, remembered=begun.remembered, retried=begun.retried)
        return result

    def count(self, score: Score, *, remembered: bool, retried: bool) -> None:
        """A score was used: an earlier run's, or one of this run, perhaps in the place of a soft failure."""
        self._scores[SCORES_REMEMBERED if remembered else SCORES_COMPUTED] += 1
        if retried:
            self._scores[SOFT_RETRIED] += 1
            self._scores[SOFT_SCORED] += score.soft_failure is None

    def begin(
        self,
        requests: Sequence[ScoreRequest],
        images: Iterable[LoadedImage],
        along: Mapping[ImageRef, Sequence[Need]] | None = None,
    ) -> list[Begun]:
        """Begin to score: remembered scores are there at once, the others when their images are encoded.

        `along` are the objects that later requests need of an image; they are encoded with it when it has to be
        segmented now.
        """
        keys = [self._score_key(request) for request in requests]
        recall = self._remembered.recall
        known = [recall(key, request.metric.name) for key, request in zip(keys, requests, strict=True)]
        missing = [request for request, found in zip(requests, known, strict=True) if found is None]
        segmented = {ref for one in missing if one.metric.inputs == "objects" for ref in (one.source, one.edited)}
        later = [need for ref, needs in (along or {}).items() if ref in segmented for need in needs]
        computed = iter(self.scorer.submit(missing, images, later) if missing else ())
        return [
            self._remembered.remember(key, next(computed)) if found is None else found
            for key, found in zip(keys, known, strict=True)
        ]

    def _score_key(self, request: ScoreRequest) -> str | None:
        from pytest_editeval.vision.identity import score_key

        if self._store is None:
            return None
        segmenter = self.scorer.segmenters[request.segmenter] if request.segmenter else None
        return score_key(request, self.scorer.backbones[request.backbone], segmenter)

    def request(
        self,
        pipe: Pipe,
        spec: MetricSpec,
        source: ImageRef,
        edited: ImageRef,
        coords: Boxes,
        scope: Scope | None,
        patch_mask_threshold: float,
        bg_color: tuple[int, int, int],
    ) -> ScoreRequest:
        """The request to the scorer, for a pipe of `pipe_for` and settings that are complete."""
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

    @staticmethod
    def models(pipe: Pipe, spec: MetricSpec) -> dict[str, Any]:
        """What a results file says of the models behind the metric (`Backbone.manifest`), by their part in it.

        A segmenter that a `conftest.py` brings may have nothing to say.
        """
        found = {"backbone": pipe.manifest}
        if spec.inputs == "objects" and pipe.sam_block is not None:
            found["segmenter"] = getattr(pipe.sam_block, "manifest", {})
        return found


def _listed(metric: str, name: str, form: str, values: Any) -> list[Any]:
    """`values`, which may be an array, as a list; none where they are `None`."""
    if values is None:
        return []
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise MetricError(f"{metric}: {name} must be a list of {form}, found {values!r}")
    return list(values)
