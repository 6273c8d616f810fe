"""`RemoteScorer`: in the place of a `Scorer`, it has the actors of a Ray cluster encode and compute.

The windows, the remembered scores and pytest stay in this process, which imports no torch for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pytest_editeval.errors import EditEvalError
from pytest_editeval.locations import display
from pytest_editeval.needs import ImageRef, Need, Plan, ScoreRequest, plan
from pytest_editeval.results import Score
from pytest_editeval.scoring.cluster.dispatch import Dispatcher
from pytest_editeval.scoring.cluster.groups import Group, grouped, images_of
from pytest_editeval.scoring.cluster.parcels import Model, Picture, Reply, describe

if TYPE_CHECKING:
    from pytest_editeval.scoring.cluster.actors import Cluster
    from pytest_editeval.vision.backbones import Backbone
    from pytest_editeval.vision.features import Encoded
    from pytest_editeval.vision.images import LoadedImage
    from pytest_editeval.vision.lanes import Executor
    from pytest_editeval.vision.scorer import Scorer
    from pytest_editeval.vision.segmenter import SAMSegmenter

LEAST_SHARE = 16


class RemoteScorer:
    """Has the part of `Scorer` that a session uses.

    Features that somebody wants to have, not only a score, are encoded in this process.
    """

    holds_pixels = False

    def __init__(self, cluster: Cluster, memory_bytes: int) -> None:
        from pytest_editeval.vision.lanes import Lanes

        self.backbones: dict[str, Backbone] = {}
        self.segmenters: dict[str, SAMSegmenter] = {}
        self.counts: Counter[str] = Counter()
        self.executor: Executor = Lanes()
        self._cluster = cluster
        self._memory_bytes = memory_bytes
        self._lock = Lock()
        cluster.heard = self._heard

    @property
    def processes(self) -> int:
        """How many actors share the work, as far as is known."""
        return self._cluster.known_count

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """The actors; the first of them start with the first score that is not remembered."""
        share = max(model.batch.size for model in self.backbones.values() if hasattr(model, "batch"))
        dispatcher = Dispatcher(
            self._cluster.start, self._cluster.sizing.count, max(LEAST_SHARE, share), self._memory_bytes // 2
        )
        self._cluster.closing.append(dispatcher.close)
        self._cluster.lost = lambda: dispatcher.lost
        return dispatcher

    @cached_property
    def local(self) -> Scorer:
        """For features that somebody wants to have here."""
        from pytest_editeval.vision.scorer import Scorer

        return Scorer(backbones=self.backbones, segmenters=self.segmenters)

    def score(self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage]) -> list[Score]:
        """As `Scorer.score`."""
        return [future.result() for future in self.submit(requests, images)]

    def encode(self, needs: Iterable[Need], images: Mapping[ImageRef, LoadedImage]) -> dict[Need, Future[Encoded]]:
        """As `Scorer.encode`, in this process."""
        return self.local.encode(needs, images)

    def submit(
        self, requests: Sequence[ScoreRequest], images: Iterable[LoadedImage], along: Iterable[Need] = ()
    ) -> list[Future[Score]]:
        """As `Scorer.submit`."""
        scores: dict[ScoreRequest, Future[Score]] = {}
        models: dict[ScoreRequest, list[Model]] = {}
        for request in dict.fromkeys(requests):
            known = self._known(request)
            if isinstance(known, Future):
                scores[request] = known
            else:
                models[request] = known
        pictures = {image.ref: self._picture(image) for image in images}
        left = {need: None for need in along if need.backbone in self.backbones}
        groups = []
        for part in grouped(list(models)):
            own = images_of(part)
            needs = [need for need in left if need.image in own]
            for need in needs:  # with the first group of an image only
                del left[need]
            needed = {model.key: model for request in part for model in models[request]}
            group = Group(part, {ref: pictures[ref] for ref in own}, list(needed.values()), needs)
            scores |= zip(part, group.scores, strict=True)
            groups.append(group)
        if groups:
            self._add(groups)
        return [scores[request] for request in requests]

    def _known(self, request: ScoreRequest) -> Future[Score] | list[Model]:
        """The models that a request needs, or its score where it is certain without them."""
        from pytest_editeval.vision.compute import failed

        done: Future[Score] = Future()
        try:
            planned = plan(request)
            if isinstance(planned, Plan):
                found = [describe(request.backbone, self.backbones[request.backbone])]
                if request.segmenter is not None:
                    found.append(describe(request.segmenter, self.segmenters[request.segmenter]))
                return found
            done.set_result(failed(request.metric, planned))
        except Exception as error:
            done.set_exception(error)
        return done

    def _add(self, groups: Sequence[Group]) -> None:
        try:
            with self._lock:
                dispatcher = self.dispatcher
        except EditEvalError as error:  # there is no such cluster
            for group in groups:
                group.fail(error)
            return
        dispatcher.add(groups)

    def _picture(self, image: LoadedImage) -> Picture:
        location = image.location
        if location is None:
            from pytest_editeval.vision.images import file_of

            return Picture("image", data=file_of(image))
        return Picture(display(location), location.absolute() if isinstance(location, Path) else location)

    def _heard(self, reply: Reply) -> None:
        """What an actor did, before its scores are known."""
        with self._lock:
            self.counts.update(reply.counts)
            for key, lines in reply.notices.items():
                model = self.backbones.get(key) or self.segmenters.get(key)
                if model is not None:
                    model.batch.notices += [line for line in lines if line not in model.batch.notices]
