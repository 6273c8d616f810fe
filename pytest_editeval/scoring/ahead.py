"""Scores of the checks that come next, worked out while the running one is judged.

The main thread says which checks follow, as far ahead as the window reaches (it alone may use pytest's fixtures). One
thread opens their images and hands the requests to the models, chunk by chunk, and waits while too many pixels are in
memory. What was foreseen wrongly costs time, never a wrong score: a check takes only what was worked out for its own
request.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_editeval.boxes import misses
from pytest_editeval.errors import ImageError
from pytest_editeval.locations import Location
from pytest_editeval.needs import ImageRef, Need, ObjectNeed, ScoreRequest
from pytest_editeval.registry import Box
from pytest_editeval.results import Score

if TYPE_CHECKING:
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.scoring.remembered import Begun
    from pytest_editeval.vision.images import LoadedImage

CHUNKS_AHEAD = 4
LEAST_CHUNK, FIRST_CHUNK = 16, 4
UNOPENED = ImageRef("", (0, 0))
"""In a request whose images are not open yet."""


@dataclass(frozen=True)
class Wanted:
    """A score that a check asks for, or will ask for; its request has `UNOPENED` images."""

    request: ScoreRequest
    source: Location
    edited: Location

    @property
    def locations(self) -> tuple[Location, Location]:
        """Of both images."""
        return self.source, self.edited

    def boxes(self, location: Location) -> list[Box]:
        """The objects that an object metric looks at in the image at `location`."""
        coords = self.request.coords
        if self.request.metric.inputs != "objects" or len(coords) % 2:
            return []
        half = len(coords) // 2
        sides = ((self.source, coords[:half]), (self.edited, coords[half:]))
        return [box for place, boxes in sides if place == location for box in boxes]


T = TypeVar("T")
Fixture = Callable[[str], Any]
Upcoming = Callable[[Fixture], Wanted | None]
"""A check that will run, `None` where it cannot be foreseen; the fixtures are those of the check that runs now."""


@dataclass(frozen=True, eq=False)
class Promise:
    """What is being worked out for one wanted score. An image's error is in `source` or `edited`, and in `score`.

    `remembered` and `retried`, once the score is there: whether it is an earlier run's, or was a soft failure there.
    """

    source: Future[ImageRef] = field(default_factory=Future)
    edited: Future[ImageRef] = field(default_factory=Future)
    score: Future[Score] = field(default_factory=Future)
    remembered: Event = field(default_factory=Event)
    retried: Event = field(default_factory=Event)

    def keep_with(self, begun: Begun) -> None:
        """End with a score that was begun for this promise."""
        for noted, happened in ((self.remembered, begun.remembered), (self.retried, begun.retried)):
            if happened:
                noted.set()
        pass_on(begun.score, self.score)


class Ahead:
    """The window of scores that are being worked out. `pixel_bytes` bounds the decoded images in memory."""

    def __init__(self, editeval: EditEval, pixel_bytes: int) -> None:
        self._editeval = editeval
        self._pixel_bytes = pixel_bytes
        self._thread = ThreadPoolExecutor(1, "editeval-ahead")
        self._promised: dict[Wanted, Promise] = {}  # in the order of the run
        self._images: Counter[Location] = Counter()  # how many promises need each
        self._following: Iterator[Upcoming] = iter(())
        self._gathered: set[Location] = set()
        self._in_flight: deque[tuple[int, list[Future[Score]]]] = deque()
        self._largest = 0  # bytes of one image

    def ask(
        self,
        wanted: Wanted,
        fixture: Fixture,
        following: Callable[[], Iterator[Upcoming]],
        sharing: Callable[[Location], Iterable[Upcoming]],
    ) -> Promise:
        """The promise of a score. `following` are the checks that come next, `sharing` those of them with an image."""
        if wanted not in self._promised:
            self._forget_until(None)
            self._following = chain([lambda _: wanted], following())
            self._hand_over(self._chunk(FIRST_CHUNK, fixture), fixture, sharing)  # so that the models begin soon
        self._forget_until(wanted)
        size = self._chunk_size(wanted)
        if len(self._images) <= size * CHUNKS_AHEAD // 2:
            while len(self._images) < size * CHUNKS_AHEAD and (chunk := self._chunk(size, fixture)):
                self._hand_over(chunk, fixture, sharing)
        return self._promised[wanted]

    def close(self) -> None:
        """Drop what has not begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _chunk_size(self, wanted: Wanted) -> int:
        from pytest_editeval.vision.batches import size_of

        scorer = self._editeval.scorer
        return max(LEAST_CHUNK, size_of(scorer.backbones[wanted.request.backbone])) * scorer.processes

    def _chunk(self, size: int, fixture: Fixture) -> list[Wanted]:
        """The next checks, as many as bring that many images that are not in the window yet."""
        chunk: list[Wanted] = []
        enough = len(self._images) + size
        for upcoming in self._following:
            wanted = upcoming(fixture)
            if wanted is not None and wanted not in self._promised:
                self._promised[wanted] = Promise()
                self._images.update({*wanted.locations})
                chunk.append(wanted)
            if len(self._images) >= enough:
                break
        return chunk

    def _forget_until(self, wanted: Wanted | None) -> None:
        """The run has passed these checks: they were judged, or skipped."""
        for passed in list(takewhile(lambda other: other != wanted, self._promised)):
            del self._promised[passed]
            self._images -= Counter({*passed.locations})

    def _hand_over(
        self, chunk: Sequence[Wanted], fixture: Fixture, sharing: Callable[[Location], Iterable[Upcoming]]
    ) -> None:
        later = {}
        for location in dict.fromkeys(place for wanted in chunk for place in wanted.locations):
            if location not in self._gathered:
                self._gathered.add(location)
                later[location] = [one for upcoming in sharing(location) if (one := upcoming(fixture)) is not None]
        self._thread.submit(self._work, [(wanted, self._promised[wanted]) for wanted in chunk], later)

    def _work(self, chunk: Sequence[tuple[Wanted, Promise]], later: Mapping[Location, Sequence[Wanted]]) -> None:
        try:
            for part in self._parts(chunk):
                self._begin(part, later)
        except Exception as error:  # nobody else would hear of it
            for _, promise in chunk:
                if not promise.score.done():
                    promise.score.set_exception(error)

    def _parts(self, chunk: Sequence[tuple[Wanted, Promise]]) -> Iterator[list[tuple[Wanted, Promise]]]:
        """A chunk in parts of so many images that, as large as the largest so far, they take a quarter of the room."""
        part: list[tuple[Wanted, Promise]] = []
        places: set[Location] = set()
        for wanted, promise in chunk:
            both = places.union(wanted.locations)
            if part and len(both) > max(2, self._pixel_bytes // 4 // max(1, self._largest)):
                yield part
                part, both = [], {*wanted.locations}
            part.append((wanted, promise))
            places = both
        yield part

    def _begin(self, chunk: Sequence[tuple[Wanted, Promise]], later: Mapping[Location, Sequence[Wanted]]) -> None:
        """Open the images of a chunk, and begin to score it."""
        while sum(nbytes for nbytes, _ in self._in_flight) > self._pixel_bytes:
            wait(self._in_flight.popleft()[1])
        work, files = self._editeval.scorer.executor.work, self._editeval.files
        places = dict.fromkeys(place for wanted, _ in chunk for place in wanted.locations)
        opening = {place: work(files.load, place) for place in places}  # each once: most are of several checks
        opened: dict[Location, LoadedImage] = {}
        requests: list[ScoreRequest] = []
        promises: list[Promise] = []
        for wanted, promise in chunk:
            sides = ((promise.source, wanted.source), (promise.edited, wanted.edited))
            images = [_opened(opening[place], side) for side, place in sides]
            errors = [image for image in images if isinstance(image, Exception)]
            if errors:
                promise.score.set_exception(errors[0])
                continue
            source, edited = (image for image in images if not isinstance(image, Exception))
            opened |= {wanted.source: source, wanted.edited: edited}
            requests.append(replace(wanted.request, source=source.ref, edited=edited.ref))
            promises.append(promise)
        along: dict[ImageRef, list[Need]] = {}
        for place, image in opened.items():
            along.setdefault(image.ref, []).extend(_objects(later.get(place, ()), place, image.ref))
        images_by_ref = {image.ref: image for image in opened.values()}
        begun = self._editeval.begin(requests, images_by_ref.values(), along)
        scores = [one.score for one in begun]
        for promise, one in zip(promises, begun, strict=True):
            promise.keep_with(one)
        sizes = [3 * ref.size[0] * ref.size[1] for ref in images_by_ref]
        self._largest = max([self._largest, *sizes])
        self._in_flight.append((sum(sizes) if self._editeval.scorer.holds_pixels else 0, scores))
        while self._in_flight and all(score.done() for score in self._in_flight[0][1]):
            self._in_flight.popleft()


def _opened(opening: Future[LoadedImage], side: Future[ImageRef]) -> LoadedImage | Exception:
    try:
        image = opening.result()
    except ImageError as error:
        # Its line says all; its frames would hold the images that were opened beside it.
        side.set_exception(error.with_traceback(None))
        return error
    except Exception as error:
        side.set_exception(error)
        return error
    side.set_result(image.ref)
    return image


def _objects(wanted: Iterable[Wanted], place: Location, ref: ImageRef) -> Iterator[ObjectNeed]:
    """The objects that later checks need of an image."""
    for one in wanted:
        request = one.request
        for box in one.boxes(place):
            if request.segmenter is not None and not misses(box, ref.size):
                yield ObjectNeed(request.backbone, request.segmenter, ref, box, request.bg_color)


def pass_on(first: Future[T], second: Future[T], on_the_way: Callable[[T], T] = lambda value: value) -> None:
    """End the second future as the first one ends; a result goes through `on_the_way`."""

    def done(ended: Future[T]) -> None:  # `first`, which would hold itself if its callback knew it
        if ended.cancelled():
            second.cancel()
            return
        try:
            value = on_the_way(ended.result())
        except BaseException as error:  # whatever it is, it belongs to who waits
            second.set_exception(error)
        else:
            second.set_result(value)

    first.add_done_callback(done)
