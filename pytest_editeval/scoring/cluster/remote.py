"""What runs in an actor on a node of a Ray cluster: an ordinary `Scorer`, fed with plain data."""

from __future__ import annotations

import builtins
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pytest_editeval.digests import own_code, versions
from pytest_editeval.errors import CheckpointError, EditEvalError, ImageError
from pytest_editeval.locations import read_bytes
from pytest_editeval.needs import ImageRef, ScoreRequest
from pytest_editeval.pixel_limit import DEFAULT, limit_pixels, max_bytes
from pytest_editeval.registry import load_object
from pytest_editeval.results import Score
from pytest_editeval.scoring.cluster.parcels import Model, Node, Outcome, Picture, Reply, Task, check_versions

if TYPE_CHECKING:
    from PIL import Image


class Remote:
    """The actor. It keeps its models and what they encoded as long as it lives; Ray calls it from several threads."""

    def __init__(self, memory_bytes: int, timeout: float | None, max_pixels: int = DEFAULT) -> None:
        from pytest_editeval.vision.features import FeatureMemory
        from pytest_editeval.vision.lanes import Lanes
        from pytest_editeval.vision.scorer import Scorer

        limit_pixels(max_pixels)
        self._scorer = Scorer(FeatureMemory(memory_bytes), executor=Lanes(timeout))
        self._lock = Lock()
        self._broken: dict[str, Exception] = {}
        self._reported: Counter[str] = Counter()
        self._noticed: Counter[str] = Counter()

    def ready(self) -> Node:
        """Where this is, and what is installed here."""
        import torch  # noqa: F401  the first task does not wait for it

        return Node(*_node(), own_code(), versions())

    def score(self, task: Task) -> Reply:
        """Score; whatever is raised is an outcome."""
        from pytest_editeval.vision.images import LoadedImage

        with self._lock:
            for model in task.models:
                self._build(model)
        images = [LoadedImage(ref, partial(_open, ref, picture)) for ref, picture in task.pictures.items()]
        outcomes: dict[int, Outcome] = {}
        possible: list[ScoreRequest] = []
        for index, request in enumerate(task.requests):
            broken = [self._broken[key] for key in (request.backbone, request.segmenter) if key in self._broken]
            if broken:
                outcomes[index] = broken[0]
            else:
                possible.append(request)
        keys = {*self._scorer.backbones, *self._scorer.segmenters}
        along = [need for need in task.along if {need.backbone, getattr(need, "segmenter", need.backbone)} <= keys]
        scores = iter(self._scorer.submit(possible, images, along))
        for index in range(len(task.requests)):
            if index not in outcomes:
                outcomes[index] = _outcome(next(scores))
        return Reply([outcomes[index] for index in range(len(task.requests))], *self._news())

    def _build(self, model: Model) -> None:
        from pytest_editeval.vision.segmenter import SAMSegmenter

        if model.key in self._broken or model.key in self._scorer.backbones or model.key in self._scorer.segmenters:
            return
        try:
            built = load_object(model.cls)(**model.settings)
            if built.key != model.key:
                raise CheckpointError(f"{built.model_path} on Ray node {_node()[1]} is not the checkpoint that is here")
            check_versions(_node()[1], model.libraries, built.libraries)
        except Exception as error:
            self._broken[model.key] = _portable(error)
            return
        (self._scorer.segmenters if isinstance(built, SAMSegmenter) else self._scorer.backbones)[model.key] = built

    def _news(self) -> tuple[dict[str, int], dict[str, Sequence[str]]]:
        with self._lock:
            counts = Counter(self._scorer.counts)
            new = counts - self._reported
            self._reported = counts
            notices: dict[str, Sequence[str]] = {}
            batches = {key: model.batch for key, model in self._scorer.backbones.items()}
            batches |= {key: model.batch for key, model in self._scorer.segmenters.items()}
            for key, batch in batches.items():
                lines = batch.notices[self._noticed[key] :]
                self._noticed[key] += len(lines)
                if lines:
                    notices[key] = lines
            return dict(new), notices


def _open(ref: ImageRef, picture: Picture) -> Image.Image:
    from pytest_editeval.vision.decoding import decode
    from pytest_editeval.vision.images import content_digest

    if picture.error is not None:
        raise picture.error
    if picture.data is not None:
        image = decode(_fetched(picture.data), picture.name)
        problem = "was changed while the run was using it; run again"
    elif isinstance(picture.location, Path | str):
        try:
            image = decode(read_bytes(picture.location, max_bytes()), picture.name)
        except ImageError as error:
            raise ImageError(f"{error} (on Ray node {_node()[1]})") from None
        problem = f"is another image on Ray node {_node()[1]} than here"
    else:
        raise ImageError(f"{picture.name} did not come to Ray node {_node()[1]}")
    if content_digest(image) != ref.digest:
        raise ImageError(f"{picture.name} {problem}")
    return image


def _fetched(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    import ray

    fetched: bytes = ray.get(data)
    return fetched


def _node() -> tuple[str, str]:
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return ray.get_runtime_context().get_node_id(), address


def _outcome(score: Future[Score]) -> Outcome:
    try:
        return score.result()
    except Exception as error:  # a model or a metric of another package may raise anything
        return _portable(error)


def _portable(error: Exception) -> Exception:
    """The error as it can be read on another machine, which may not have the class."""
    cls = type(error)
    own = isinstance(error, EditEvalError) and cls.__module__ == EditEvalError.__module__
    known = cls.__module__ == builtins.__name__ and all(isinstance(value, str | int) for value in error.args)
    portable = error if own or known else RuntimeError(f"{cls.__name__}: {error}")
    if not isinstance(error, EditEvalError) and not getattr(portable, "__notes__", None):
        portable.add_note("in a Ray actor:\n" + "".join(traceback.format_exception(error)))
    return portable.with_traceback(None)
