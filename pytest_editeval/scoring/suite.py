"""Scores of many edits without pytest: the same models, windows and batches that a session has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_editeval.checks import ResolvedCheck
from pytest_editeval.locations import Location
from pytest_editeval.profiles import Profile
from pytest_editeval.registry import PIPES, get_metric
from pytest_editeval.results import MetricIdentity, Score
from pytest_editeval.scoring.ahead import UNOPENED, Upcoming, Wanted
from pytest_editeval.scoring.engine import TIMEOUT_SECONDS, EditEval
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.scoring.store import Store

if TYPE_CHECKING:
    from pytest_editeval.vision.pipes import Pipe


@contextmanager
def open_editeval(
    profile: Profile,
    device: str = "auto",
    batch_size: int | None = None,
    store: Store | None = None,
    *,
    in_turn: bool = False,
) -> Iterator[EditEval]:
    """The scorer of a profile. What a `conftest.py` puts in the fixtures' place is not known here.

    With `in_turn` one thing is done after the other, so that images meet in the same batches each time.
    """
    pool = PipePool(profile, device, batch_size, store=store)

    def fixture(name: str) -> Any:
        (pipe_name,) = (pipe.name for pipe in PIPES.values() if pipe.fixture == name)
        return pool.default_segmenter() if pipe_name == "sam-pipe" else pool.default_pipe(pipe_name)

    editeval = EditEval(pool, fixture, store)
    if in_turn:
        from pytest_editeval.vision.lanes import InTurn

        editeval.scorer.executor = InTurn(TIMEOUT_SECONDS)
    try:
        yield editeval
    finally:
        editeval.close()


def wanted_score(
    editeval: EditEval, resolved: ResolvedCheck, source: Location, edited: Location, pipe: Pipe | None = None
) -> Wanted:
    """What a check asks for, with these images; `pipe` is as `EditEval.pipe_for` gives it."""
    spec = get_metric(resolved.check.metric)
    options = (resolved.coords, resolved.scope, resolved.patch_mask_threshold, resolved.bg_color)
    request = editeval.request(pipe or editeval.pipe_for(spec), spec, UNOPENED, UNOPENED, *options)
    return Wanted(request, source, edited)


def identities(editeval: EditEval, names: Iterable[str]) -> dict[str, MetricIdentity]:
    """With what these metrics are measured."""
    specs = [get_metric(name) for name in dict.fromkeys(names)]
    return {
        spec.name: MetricIdentity(spec.version, editeval.fingerprint(editeval.pipe_for(spec), spec)) for spec in specs
    }


def score_all(editeval: EditEval, wanted: Sequence[Wanted]) -> Iterator[Score | Exception]:
    """The scores in the order in which they are wanted; where there is none, why not.

    They are worked out a window ahead of the one that is given next. What is wanted twice is scored once.
    """
    order = list(dict.fromkeys(wanted))
    using: defaultdict[Location, list[Wanted]] = defaultdict(list)
    for one in order:
        for location in {*one.locations} if one.request.metric.inputs == "objects" else ():
            using[location].append(one)

    def following(place: int) -> Iterator[Upcoming]:
        return (_upcoming(one) for one in order[place + 1 :])

    def sharing(location: Location) -> Iterator[Upcoming]:
        return (_upcoming(one) for one in using.get(location, ()))

    places = {one: place for place, one in enumerate(order)}
    scores: dict[Wanted, Score | Exception] = {}
    for one in wanted:
        if one not in scores:
            promise = editeval.ahead.ask(one, lambda _: None, partial(following, places[one]), sharing)
            try:
                scores[one] = promise.score.result()
            except Exception as error:  # a model or a metric of another package may raise anything
                scores[one] = error
        yield scores[one]


def _upcoming(wanted: Wanted) -> Upcoming:
    return lambda _: wanted
