"""The second of the two steps of every score: encode what the plans need, once each and batched, then compute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from threading import Lock, RLock
from typing import Any, ClassVar, TypeVar

from PIL import Image

from pytest_editeval.errors import CheckpointError, MetricError
from pytest_editeval.evidence import mask_data
from pytest_editeval.faults import fault_text, is_users
from pytest_editeval.needs import ImageNeed, ImageRef, Need, ObjectNeed, Plan, ScoreRequest, plan
from pytest_editeval.results import Score, SoftFailure
from pytest_editeval.statuses import FEATURES_REMEMBERED
from pytest_editeval.vision.backbones import Backbone
from pytest_editeval.vision.compute import compute, failed
from pytest_editeval.vision.embedder import Embedder
from pytest_editeval.vision.features import SMALL_BYTES, Encoded, FeatureMemory, Features, FeatureStore
from pytest_editeval.vision.identity import feature_key, is_ours
from pytest_editeval.vision.images import LoadedImage
from pytest_editeval.vision.lanes import Executor, InTurn
from pytest_editeval.vision.segmenter import Embedding, SAMSegmenter, cut_outs

Images = Mapping[ImageRef, LoadedImage]
Inputs = Mapping[Need, Callable[[], Any]]
T = TypeVar("T")


@dataclass(eq=False)
class Scorer:
    """Models by key, and what was encoded so far; threads may share it.

    An image is encoded once per backbone, and embedded by SAM once, however many scores need it and whoever asks first.
    `counts` says what was encoded, by model family, and how many features the store had of earlier runs. `copies` are
    the features that the store has as well, and `embeddings` SAM's, all boxes of which are prompted at once: little is
    lost with either, and a small part of the memory will do.
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
    _crops: dict[str, dict[Need, Callable[[], Any]]] = field(default_factory=lambda: defaultdict(dict))
    _masks: dict[Need, str | None] = field(default_factory=dict)
    _segmenting: int = 0
    _broken: dict[str, str] = field(default_factory=dict)
    _turns: dict[int, Lock] = field(default_factory=lambda: defaultdict(Lock))

    def __post_init__(self) -> None:
        self._embedder = Embedder(self.embeddings, partial(self._count, "SAM"))

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
            self._compute(request, item, [encoded[need] for need in item.needs])
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
        for key, group in whole.items():
            for batch in self._batches(group, self.backbones[key]):
                inputs: Inputs = {need: partial(_pixels, need, images[need.image]) for need in batch}
                tasks.append((order[batch[0]], partial(self._encode, key, inputs), batch))
        for key, by_image in objects.items():
            for refs in self._batches(list(by_image), self.segmenters[key]):
                chosen = {ref: by_image[ref] for ref in refs}
                boxes = [need for ref in refs for need in by_image[ref]]
                tasks.append((order[boxes[0]], partial(self._isolate, key, chosen, images), boxes))
                self._segmenting += 1
        for _, task, part in sorted(tasks, key=lambda entry: entry[0]):
            self._start(task, part)

    def _batches(self, items: list[T], model: Any) -> list[list[T]]:
        """Even batches of at most the model's size; on a CPU at least one for each lane."""
        if not items:
            return []
        count = -(-len(items) // (model.batch.size if hasattr(model, "batch") else 1))
        if model.device == "cpu":
            count = max(count, min(len(items), self.executor.lanes))
        bounds = [index * len(items) // count for index in range(count + 1)]
        return [items[start:stop] for start, stop in pairwise(bounds)]

    def _start(self, task: Callable[[], object], needs: Sequence[Need]) -> None:
        def guarded() -> None:
            try:
                task()
            except BaseException as error:  # whatever it is, nobody may wait for ever
                self._fail(needs, _contained(error))

        try:
            self.executor.model(guarded)
        except RuntimeError:  # the session is over, and its threads are gone
            for need in needs:
                self._running.pop(need).cancel()

    def _encode(self, key: str, inputs: Inputs) -> None:
        """Encode a batch; every need meets its own error only."""
        ready: dict[Need, Any] = {}
        for need, get in inputs.items():
            try:
                ready[need] = get()
            except Exception as error:  # of the image's decoder
                self._fail([need], error)
        self._encode_ready(key, ready)

    def _encode_ready(self, key: str, ready: Mapping[Need, Any]) -> None:
        backbone = self.backbones[key]
        try:
            features = self._with_model(key, backbone, lambda: backbone.encode(list(ready.values())))
        except Exception as error:  # another package's model may raise anything
            if len(ready) == 1 or isinstance(error, CheckpointError):
                self._fail(ready, error)
            else:
                for need, value in ready.items():
                    self._encode_ready(key, {need: value})
            return
        self._count(backbone.family, len(ready))
        for need, entry in zip(ready, features, strict=True):
            if isinstance(
                need, ObjectNeed
            ):  # metrics of objects read the CLS feature; patches are a hundred times more
                entry = Features(entry.patches[:0].copy(), entry.cls, self._masks.pop(need, None))
            self._settle(need, entry)

    def _isolate(self, key: str, group: Mapping[ImageRef, Sequence[ObjectNeed]], images: Images) -> None:
        """Cut the objects out of some images: each is embedded once, and all its boxes are prompted together."""
        try:
            self._cut_out(key, group, images)
        finally:
            with self._lock:
                self._segmenting -= 1
                full = {
                    backbone: self._crops.pop(backbone)
                    for backbone, crops in list(self._crops.items())
                    if not self._segmenting or len(crops) >= self.backbones[backbone].batch.size
                }
            for backbone, crops in full.items():
                for part in self._batches(list(crops), self.backbones[backbone]):
                    self._start(partial(self._encode, backbone, {need: crops[need] for need in part}), part)

    def _cut_out(self, key: str, group: Mapping[ImageRef, Sequence[ObjectNeed]], images: Images) -> None:
        segmenter = self.segmenters[key]
        try:
            embeddings = self._with_model(key, segmenter, lambda: self._embedder.embed(key, segmenter, group, images))
        except Exception as error:  # another package's model may raise anything
            if len(group) == 1 or isinstance(error, CheckpointError):
                self._fail([need for needs in group.values() for need in needs], error)
            else:
                for ref, needs in group.items():
                    self._cut_out(key, {ref: needs}, images)
            return
        for ref, needs in group.items():
            try:
                self._prompt(segmenter, embeddings[ref], needs)
            except Exception as error:  # as above
                self._fail(needs, error)

    def _prompt(self, segmenter: SAMSegmenter, embedding: Embedding, needs: Sequence[ObjectNeed]) -> None:
        by_color: defaultdict[Any, dict[Any, list[ObjectNeed]]] = defaultdict(dict)
        for need in needs:
            by_color[need.bg_color].setdefault(need.box, []).append(need)
        for color, boxes in by_color.items():
            for box_needs, found in zip(boxes.values(), cut_outs(segmenter, embedding, boxes, color), strict=True):
                mask = None if isinstance(found, SoftFailure) or found.mask is None else mask_data(found.mask)
                for need in box_needs:
                    if isinstance(found, SoftFailure):
                        self._settle(need, found)
                        continue
                    size = self.backbones[need.backbone].geometry.input_size
                    with self._lock:
                        self._masks[need] = mask
                        self._crops[need.backbone][need] = partial(_padded, found.crop, size, color)

    def _with_model(self, key: str, model: object, use: Callable[[], T]) -> T:
        """Use a model: others' one at a time, and one that cannot be loaded not a second time."""
        if key in self._broken:
            raise CheckpointError(self._broken[key])
        turn: AbstractContextManager[Any] = nullcontext() if is_ours(model) else self._turns[id(model)]
        try:
            with turn:
                return use()
        except CheckpointError as error:
            self._broken[key] = str(error)
            raise
        except BaseException as error:
            raise _contained(error) from None

    def _compute(self, request: ScoreRequest, planned: Plan, encoded: Sequence[Future[Encoded]]) -> Future[Score]:
        """The score once all its features are there; solvers run beside the models."""
        score: Future[Score] = Future()
        left = len(encoded)
        # Emptied in the end: these futures know `arrived`, which knows `run`, and a circle would hold their features
        # until Python looks for circles, which in a session of many thousand tests it seldom does.
        waited = [*encoded]

        def run() -> None:
            try:
                features = {need: future.result() for need, future in zip(planned.needs, waited, strict=True)}
                score.set_result(compute(request, planned, features, self.executor.limited))
            except BaseException as error:  # whatever it is, nobody may wait for ever
                score.set_exception(error)
            finally:
                waited.clear()

        def arrived(_: Future[Encoded]) -> None:
            nonlocal left
            with self._lock:
                left -= 1
                last = left == 0
            if last:
                try:
                    self.executor.work(run)
                except RuntimeError:  # the session is over
                    score.cancel()

        for future in encoded:
            future.add_done_callback(arrived)
        return score

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
        self._running.pop(need).set_result(entry)

    def _fail(self, needs: Iterable[Need], error: BaseException) -> None:
        for need in needs:
            self._masks.pop(need, None)
            if (future := self._running.pop(need, None)) is not None:
                future.set_exception(error)

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


def _contained(error: BaseException) -> BaseException:
    """The error as that of a check: what ends a process elsewhere, such as `SystemExit`, does not end the run."""
    if isinstance(error, Exception) or is_users(error):
        return error
    return MetricError(f"a model raised {fault_text(error, (__file__,))}")


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


def _pixels(need: ImageNeed, image: LoadedImage) -> Image.Image:
    pixels = image.pixels
    return pixels if need.resized_to is None else pixels.resize(need.resized_to, Image.Resampling.BICUBIC)


def _padded(crop: Any, size: int, color: Any) -> Any:
    from pytest_editeval.vision.objects import pad_to_square

    return pad_to_square(crop, size, color)
