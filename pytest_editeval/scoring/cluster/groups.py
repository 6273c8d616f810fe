"""Requests that share images, and what they wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from pytest_editeval.needs import ImageRef, Need, ScoreRequest
from pytest_editeval.results import Score
from pytest_editeval.scoring.cluster.parcels import Model, Outcome, Picture

MOST_IMAGES = 16
"""A group of more is split, so that several actors can share one source with very many edits."""


@dataclass(eq=False)
class Group:
    """Requests that share images, and go to one actor together. `deaths` is how many actors died with it."""

    requests: Sequence[ScoreRequest]
    pictures: Mapping[ImageRef, Picture]
    models: Sequence[Model] = ()
    along: Sequence[Need] = ()
    deaths: int = 0
    scores: Sequence[Future[Score]] = field(init=False)

    def __post_init__(self) -> None:
        self.scores = [Future() for _ in self.requests]

    @property
    def pixel_bytes(self) -> int:
        """Of its images when they are decoded."""
        return sum(3 * ref.size[0] * ref.size[1] for ref in self.pictures)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Give every score its outcome, in the order of the requests."""
        for score, outcome in zip(self.scores, outcomes, strict=True):
            with suppress(InvalidStateError):  # it was cancelled
                if isinstance(outcome, Exception):
                    score.set_exception(outcome)
                else:
                    score.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """All its scores end with the error."""
        self.settle([error] * len(self.scores))

    def cancel(self) -> None:
        """Nobody waits any more."""
        for score in self.scores:
            score.cancel()


def grouped(requests: Sequence[ScoreRequest], most_images: int = MOST_IMAGES) -> list[list[ScoreRequest]]:
    """The requests in groups that share no image, in the order of the run; large groups are split by edited image."""
    root: dict[ImageRef, ImageRef] = {}

    def find(ref: ImageRef) -> ImageRef:
        while root.setdefault(ref, ref) != ref:
            root[ref] = ref = root[root[ref]]
        return ref

    for request in requests:
        root[find(request.edited)] = find(request.source)
    together: defaultdict[ImageRef, list[ScoreRequest]] = defaultdict(list)
    for request in requests:
        together[find(request.source)].append(request)
    return [part for group in together.values() for part in _split(group, most_images)]


def images_of(requests: Iterable[ScoreRequest]) -> dict[ImageRef, None]:
    """Their images, in order."""
    return dict.fromkeys(ref for request in requests for ref in (request.source, request.edited))


def _split(group: Sequence[ScoreRequest], most_images: int) -> list[list[ScoreRequest]]:
    if len(images_of(group)) <= most_images:
        return [list(group)]
    parts: list[list[ScoreRequest]] = []
    by_edited: defaultdict[ImageRef, list[ScoreRequest]] = defaultdict(list)
    for request in group:
        by_edited[request.edited].append(request)
    for same in by_edited.values():
        if parts and len(images_of([*parts[-1], *same])) <= most_images:
            parts[-1] += same
        else:
            parts.append(same)
    return parts
