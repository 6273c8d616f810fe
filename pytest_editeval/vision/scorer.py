"""The second of the two steps of every score: encode what the plans need, once each and batched, then compute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from threading import RLock
from typing import Any, ClassVar, TypeVar

from PIL import Image

from pytest_editeval.errors import CheckpointError
from pytest_editeval.needs import ImageNeed, ImageRef, Need, ObjectNeed, Plan, ScoreRequest, plan
from pytest_editeval.results import Score, SoftFailure
from pytest_editeval.statuses import FEATURES_REMEMBERED
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.batches import size_of
from pytest_editeval.vision.compute import compute_later, failed
from pytest_editeval.vision.crops import Crops
from pytest_editeval.vision.cutter import Cutter
from pytest_editeval.vision.embedder import Embedder
from pytest_editeval.vision.features import SMALL_BYTES, Encoded, FeatureMemory, Features, FeatureStore, Input
from pytest_editeval.vision.identity import feature_key
from pytest_editeval.vision.images import LoadedImage
from pytest_editeval.vision.lanes import Executor, InTurn
from pytest_editeval.vision.model_guard import ModelGuard, contained
from pytest_editeval.vision.segmenter import SAMSegmenter

Images = Mapping[ImageRef, LoadedImage]
T = TypeVar("T")


@dataclass(eq=False)
class Scorer:
    """Models by key, and what was encoded so far; threads may share it.

    An image is encoded once per backbone, and embedded by SAM once, however many scores need it and whoever asks first.
    `counts` says what was encoded, by model family, and how many features the store had of earlier runs. `copies` are
    the features that the store has as well, and `embeddings` SAM's, all boxes of which are prompted at once: little is
    lost with either, and a small part of the memory will do.

    `_lock` guards the counts and what is `_running`: a need is there from when it is first asked for until it is
    remembered or has failed, so that nothing is encoded twice. It is held while memory and store are asked for a need,
    which may count (so it is reentrant), and never while a model or a future's callback runs. The crops that wait, the
    embedder and the guard of the models have locks of their own.
    """

    processes: ClassVar[int] = 1
    """How many share the work; `holds_pixels` says whether decoded images stay in this one meanwhile."""

    holds_pixels: ClassVar[bool] = True

    memory: FeatureMemory = field(default_factory=FeatureMemory)
    copies: FeatureMemory = field(default_factory=partial(FeatureMemory, SMALL_BYTES))
    embeddings: FeatureMemory = field(default_factory=partial(FeatureMemory, SMALL_BYTES))
    backbones: dict[str, Backbone] = field(default_factory=dict)
    segmenters: dict[str, SAMSegmenter] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    store: FeatureStore | None = None
    executor: Executor = field(default_factory=InTurn)
    _lock: Any = field(default_factory=RLock)
    _running: dict[Need, Future[Encoded]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._guard = ModelGuard()
        self._cutter = Cutter(self._guard, Embedder(self.embeddings, partial(self._count, "SAM")), self.backbones)
        self._crops = Crops(self.backbones)

    def score(self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage]) -> list[Score]:
        """Scores in the order of the requests; `images` are those the requests refer to.

        Raises `MetricError` when a model or a metric gives something that is no finite number.
        """
        return [future.result() for future in self.submit(requests, images)]

    def submit(
        self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage], along: Iterable[Need] = ()
    ) -> list[Future[Score]]:
        """Begin to score. `along` are further needs of these images, which later requests will have."""
        plans = [plan(request) for request in requests]
        needs = dict.fromkeys(need for item in plans if isinstance(item, Plan) for need in item.needs)
        encoded = self.encode([*needs, *along], {image.ref: image for image in images})
        return [
            compute_later(request, item, [encoded[need] for need in item.needs], self.executor)
            if isinstance(item, Plan)
            else _done(failed(request.metric, item))
            for request, item in zip(requests, plans, strict=True)
        ]

    def encode(self, needs: Iterable[Need], images: Images) -> dict[Need, Future[Encoded]]:
        """Features, or the soft failure of the segmenter, for each need; what is remembered is not encoded again."""
        futures: dict[Need, Future[Encoded]] = {}
        begun: list[Need] = []
        with self._lock:
            for need in dict.fromkeys(needs):
                entry = self._recall(need)
                if entry is not None:
                    futures[need] = _done(entry)
                elif need in self._running:
                    futures[need] = self._running[need]
                else:
                    futures[need] = self._running[need] = Future()
                    begun.append(need)
        self._begin(begun, images)
        return futures

    def _begin(self, needs: Sequence[Need], images: Images) -> None:
        """Hand the needs to the executor in batches, in the order in which they will be asked for."""
        whole: defaultdict[str, list[ImageNeed]] = defaultdict(list)
        objects: defaultdict[str, dict[ImageRef, list[ObjectNeed]]] = defaultdict(dict)
        for need in needs:
            if isinstance(need, ImageNeed):
                whole[need.backbone].append(need)
            else:
                objects[need.segmenter].setdefault(need.image, []).append(need)
        order = {need: index for index, need in enumerate(needs)}
        tasks: list[tuple[int, Callable[[], object], Sequence[Need]]] = []
        groups = 0
        for key, group in whole.items():
            tiled = self.backbones[key].tiles is not None  # an image is batches of windows, and may be large
            for batch in [[need] for need in group] if tiled else self._batches(group, self.backbones[key]):
                inputs: dict[Need, Input] = {need: Input(partial(_pixels, need, images[need.image])) for need in batch}
                tasks.append((order[batch[0]], partial(self._encode, key, inputs), batch))
        for key, by_image in objects.items():
            for refs in self._batches(list(by_image), self.segmenters[key]):
                chosen = {ref: by_image[ref] for ref in refs}
                boxes = [need for ref in refs for need in by_image[ref]]
                tasks.append((order[boxes[0]], partial(self._cut, key, chosen, images), boxes))
                groups += 1
        self._crops.expect(groups)
        for _, task, part in sorted(tasks, key=lambda entry: entry[0]):
            self._start(task, part)

    def _batches(self, items: list[T], model: Any) -> list[list[T]]:
        """Even batches of at most the model's size; on a CPU at least one for each lane."""
        if not items:
            return []
        count = -(-len(items) // size_of(model))
        if model.device == "cpu":
            count = max(count, min(len(items), self.executor.lanes))
        bounds = [index * len(items) // count for index in range(count + 1)]
        return [items[start:stop] for start, stop in pairwise(bounds)]

    def _start(self, task: Callable[[], object], needs: Sequence[Need]) -> None:
        def guarded() -> None:
            try:
                task()
            except BaseException as error:  # whatever it is, nobody may wait for ever
                self._fail(needs, contained(error, (__file__,)))

        try:
            self.executor.model(guarded)
        except RuntimeError:  # the session is over, and its threads are gone
            for need in needs:
                if (future := self._ended(need)) is not None:
                    future.cancel()

    def _encode(self, key: str, inputs: Mapping[Need, Input]) -> None:
        """Encode a batch; every need meets its own error only."""
        ready: dict[Need, Any] = {}
        for need, one in inputs.items():
            try:
                ready[need] = one.pixels()
            except Exception as error:  # of the image's decoder
                self._fail([need], error)
        self._encode_ready(key, ready, inputs)

    def _encode_ready(self, key: str, ready: Mapping[Need, Any], inputs: Mapping[Need, Input]) -> None:
        backbone = self.backbones[key]
        whole = all(isinstance(need, ImageNeed) for need in ready)  # a batch is of one kind
        encode = backbone.encode if whole else backbone.encode_crops
        try:
            features = self._guard.use(key, backbone, encode, list(ready.values()))
        except Exception as error:  # another package's model may raise anything
            if len(ready) == 1 or isinstance(error, CheckpointError):
                self._fail(ready, error)
            else:
                for need, value in ready.items():
                    self._encode_ready(key, {need: value}, inputs)
            return
        self._count(backbone.family, len(ready))
        for need, entry in zip(ready, features, strict=True):
            if isinstance(need, ObjectNeed):  # its metrics read the CLS feature; patches are a hundred times more
                entry = Features(entry.patches[:0].copy(), entry.cls, inputs[need].mask)
            self._settle(need, entry)

    def _cut(self, key: str, group: Mapping[ImageRef, Sequence[ObjectNeed]], images: Images) -> None:
        """Cut the objects out of some images, and begin to encode the crops that are worth a batch now."""
        try:
            for need, cut in self._cutter.cut(key, self.segmenters[key], group, images):
                if isinstance(cut, Input):
                    self._crops.add(need, cut)
                elif isinstance(cut, SoftFailure):
                    self._settle(need, cut)
                else:
                    self._fail([need], cut)
        finally:
            for backbone, crops in self._crops.group_ended().items():
                for part in self._batches(list(crops), self.backbones[backbone]):
                    self._start(partial(self._encode, backbone, {need: crops[need] for need in part}), part)

    def _recall(self, need: Need) -> Encoded | None:
        entry: Encoded | None = self.memory.get(need) or self.copies.get(need)
        if entry is None and self.store is not None and (key := self._store_key(need)):
            stored = self.store.load(key)
            if stored is not None:
                patches, cls, mask, own = stored
                self._count(FEATURES_REMEMBERED, not own)
                entry = Features(patches, cls, mask)
                self.copies.put(need, entry)
        return entry

    def _settle(self, need: Need, entry: Encoded) -> None:
        stored = False
        if self.store is not None and isinstance(entry, Features) and (key := self._store_key(need)):
            stored = self.store.save(key, entry.patches, entry.cls, entry.mask)
        (self.copies if stored else self.memory).put(need, entry)
        if (future := self._ended(need)) is not None:
            future.set_result(entry)

    def _fail(self, needs: Iterable[Need], error: BaseException) -> None:
        for need in needs:
            if (future := self._ended(need)) is not None:
                future.set_exception(error)

    def _ended(self, need: Need) -> Future[Encoded] | None:
        """The future of a need that is no longer being encoded; `None` where it failed before."""
        with self._lock:
            return self._running.pop(need, None)

    def _store_key(self, need: Need) -> str | None:
        segmenter = self.segmenters[need.segmenter] if isinstance(need, ObjectNeed) else None
        return feature_key(need, self.backbones[need.backbone], segmenter)

    @property
    def progress(self) -> tuple[int, int]:
        """How many images and objects were encoded, of how many that are known to be needed."""
        with self._lock:
            done = sum(count for what, count in self.counts.items() if what != FEATURES_REMEMBERED)
            return done, done + len(self._running)

    def _count(self, what: str, number: int) -> None:
        with self._lock:
            self.counts[what] += number


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


def _pixels(need: ImageNeed, image: LoadedImage) -> Image.Image:
    pixels = image.pixels
    return pixels if need.resized_to is None else pixels.resize(need.resized_to, Image.Resampling.BICUBIC)
