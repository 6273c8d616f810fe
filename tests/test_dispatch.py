"""Which actor gets what, and what happens when actors die: without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from conftest import picture
from pytest_editeval.errors import CheckpointError, EditEvalError, ImageError, MetricError
from pytest_editeval.needs import ImageRef, ScoreRequest
from pytest_editeval.regions import Geometry
from pytest_editeval.registry import get_metric
from pytest_editeval.results import Score
from pytest_editeval.scoring.cluster.actors import Sizing, size_actors
from pytest_editeval.scoring.cluster.dispatch import MOST_DEATHS, Actor, ActorLostError, Dispatcher
from pytest_editeval.scoring.cluster.groups import Group, grouped, images_of
from pytest_editeval.scoring.cluster.options import RayOptions, split_address
from pytest_editeval.scoring.cluster.parcels import Outcome, Picture, check_versions
from pytest_editeval.scoring.cluster.remote import _open, _portable
from pytest_editeval.vision.images import load_image

GEOMETRY = Geometry(input_size=32, patch_size=16, shortest_edge=32)


def request(source: str, edited: str) -> ScoreRequest:
    refs = (ImageRef(name, (8, 8)) for name in (source, edited))
    return ScoreRequest(get_metric("emd"), *refs, (), None, 0.1, (255, 255, 255), "clip", GEOMETRY)


def group(*pairs: str) -> Group:
    requests = [request(pair[0], pair[1:]) for pair in pairs]
    return Group(requests, {ref: Picture(ref.digest) for ref in images_of(requests)})


class FakeActor:
    """Holds its tasks until the test ends them."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Sequence[Group], Future[Sequence[Outcome]]]] = []
        self.stopped = False

    def send(self, groups: Sequence[Group]) -> Future[Sequence[Outcome]]:
        future: Future[Sequence[Outcome]] = Future()
        self.tasks.append((groups, future))
        return future

    def stop(self) -> None:
        self.stopped = True

    @property
    def sources(self) -> list[list[str]]:
        return [[one.requests[0].source.digest for one in groups] for groups, _ in self.tasks]

    def finish(self) -> None:
        groups, future = self.tasks.pop(0)
        future.set_result([Score("emd", 1.0) for one in groups for _ in one.requests])

    def die(self) -> None:
        tasks, self.tasks = self.tasks, []
        for _, future in tasks:
            future.set_exception(ActorLostError("the node is gone"))


class Starts:
    """Actors that come when the test says so, or at once."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.asked: list[Future[Actor]] = []
        self.actors: list[FakeActor] = []

    def __call__(self) -> Future[Actor]:
        future: Future[Actor] = Future()
        self.asked.append(future)
        if self.at_once:
            self.come(future)
        return future

    def come(self, future: Future[Actor]) -> None:
        self.actors.append(FakeActor())
        future.set_result(self.actors[-1])


def dispatcher(starts: Starts, count: int = 2, share: int = 4, **options: Any) -> Dispatcher:
    return Dispatcher(starts, count, share, 1 << 30, **options)


def scored(one: Group) -> bool:
    return all(score.done() and score.exception() is None for score in one.scores)


def test_requests_that_share_images_are_one_group() -> None:
    parts = grouped([request("a", "1"), request("b", "2"), request("a", "3"), request("c", "2"), request("d", "d")])
    names = [[(one.source.digest, one.edited.digest) for one in part] for part in parts]
    assert names == [[("a", "1"), ("a", "3")], [("b", "2"), ("c", "2")], [("d", "d")]]


def test_a_large_group_is_split_and_an_edit_stays_whole() -> None:
    requests = [request("a", str(index)) for index in range(10) for _ in range(3)]
    parts = grouped(requests, most_images=4)
    assert [len(images_of(part)) for part in parts] == [4, 4, 4, 2]
    assert sorted(str(one) for part in parts for one in part) == sorted(map(str, requests))


def test_no_more_actors_start_than_there_are_groups() -> None:
    starts = Starts()
    dispatch = dispatcher(starts, count=8)
    dispatch.add([group("a1"), group("b2")])
    assert len(starts.actors) == 2
    assert [actor.sources for actor in starts.actors] == [[["a"]], [["b"]]]


def test_the_first_actor_leaves_work_for_those_that_still_start() -> None:
    starts = Starts(at_once=False)
    dispatch = dispatcher(starts, count=2, share=100)
    dispatch.add([group(f"{name}1{name}") for name in "abcdefgh"])
    starts.come(starts.asked[0])
    assert [len(task) for task in starts.actors[0].sources] == [4, 2]
    starts.come(starts.asked[1])
    assert sum(len(task) for task in starts.actors[1].sources) == 2


def test_a_source_goes_to_the_actor_that_has_it() -> None:
    starts = Starts()
    dispatch = dispatcher(starts)
    dispatch.add([group("a1"), group("b2")])
    first, second = starts.actors
    second.finish()
    later = group("a3")
    dispatch.add([later])
    assert second.sources == []
    assert first.sources == [["a"], ["a"]]
    first.finish()
    first.finish()
    assert scored(later)


def test_an_actor_that_is_far_behind_is_helped() -> None:
    starts = Starts()
    dispatch = dispatcher(starts)
    dispatch.add([group("a0"), group("bx")])
    second = starts.actors[1]
    second.finish()
    dispatch.add([group(f"a{index}") for index in range(1, 20)])
    assert [name for task in second.sources for name in task]
    assert {name for task in second.sources for name in task} == {"a"}


def test_a_dead_actors_groups_go_to_others_alone_and_none_is_lost() -> None:
    starts = Starts()
    dispatch = dispatcher(starts, share=100)
    groups = [group(f"{name}1{name}") for name in "abcdefgh"]
    dispatch.add(groups)
    starts.actors[0].die()
    assert starts.actors[0].stopped
    assert dispatch.lost == 1
    assert len(starts.actors) == 3  # one in its place
    for _ in range(100):
        for actor in starts.actors[1:]:
            assert all(len(task) == 1 for task, _ in actor.tasks if any(one.deaths for one in task))
            if actor.tasks:
                actor.finish()
    assert all(scored(one) for one in groups)


def test_a_group_that_kills_its_actors_fails_and_the_others_do_not() -> None:
    starts = Starts()
    dispatch = dispatcher(starts, count=1, share=100)
    poison, good = group("p1"), [group("a2"), group("b3"), group("c4")]
    dispatch.add([good[0], poison, *good[1:]])
    for _ in range(100):
        for actor in starts.actors:
            if actor.tasks:
                actor.die() if any(poison in task for task, _ in actor.tasks) else actor.finish()
    (score,) = poison.scores
    assert str(score.exception()) == f"{MOST_DEATHS} Ray actors died while they scored this: the node is gone"
    assert all(scored(one) for one in good)
    assert dispatch.lost == MOST_DEATHS


def test_an_error_of_a_task_is_not_tried_again() -> None:
    starts = Starts()
    one = group("a1")
    dispatcher(starts).add([one])
    starts.actors[0].tasks[0][1].set_exception(EditEvalError("cannot be unpacked"))
    assert str(one.scores[0].exception()) == "cannot be unpacked"


def test_nothing_waits_for_ever_where_no_actor_can_be_placed() -> None:
    starts = Starts(at_once=False)
    dispatch = dispatcher(starts, patience=0.05)
    one, two = group("a1"), group("b2")
    dispatch.add([one])
    message = "no Ray actor could be placed for 0.05 s; `ray status` says what is taken"
    assert str(one.scores[0].exception(timeout=10)) == message
    started = time.monotonic()
    dispatch.add([two])
    assert str(two.scores[0].exception(timeout=10)) == message
    assert time.monotonic() - started < 5
    starts.come(starts.asked[0])
    three = group("c3")
    dispatch.add([three])
    starts.actors[0].finish()
    assert scored(three)


@pytest.mark.parametrize(("error", "asked"), [(EditEvalError("other versions"), 1), (ActorLostError("crashed"), 3)])
def test_actors_that_do_not_start_are_asked_for_a_few_times(error: Exception, asked: int) -> None:
    calls: list[None] = []

    def start() -> Future[Actor]:
        calls.append(None)
        future: Future[Actor] = Future()
        future.set_exception(error)
        return future

    one = group("a1")
    Dispatcher(start, 1, 4, 1 << 30).add([one])
    assert str(one.scores[0].exception(timeout=10)) == str(error)
    assert len(calls) == asked


def test_closing_cancels_what_waits_and_what_runs() -> None:
    starts = Starts()
    dispatch = dispatcher(starts, count=1, share=1)
    groups = [group("a1"), group("b2"), group("c3"), group("d4")]
    dispatch.add(groups)
    dispatch.close()
    assert all(score.cancelled() for one in groups for score in one.scores)
    assert starts.actors[0].stopped
    starts.actors[0].die()
    late = group("e5")
    dispatch.add([late])
    assert late.scores[0].cancelled()
    assert len(starts.actors) == 1


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        ([{"CPU": 0}, {"CPU": 1}, {"CPU": 1}], RayOptions(), Sizing(2, 1, 0.0)),
        ([{"CPU": 16}, {"CPU": 6}], RayOptions(), Sizing(5, 4, 0.0)),
        ([{"CPU": 16}], RayOptions(actors=2), Sizing(2, 4, 0.0)),
        ([{"CPU": 8}, {"CPU": 32, "GPU": 8}], RayOptions(), Sizing(8, 4, 1.0)),
        ([{"CPU": 8}, {"CPU": 8, "GPU": 8}], RayOptions(), Sizing(8, 1, 1.0)),
        ([{"CPU": 8, "GPU": 1}], RayOptions(gpus=0.1), Sizing(10, 1, 0.1)),
        ([{"CPU": 8, "GPU": 1}], RayOptions(gpus=0.0), Sizing(2, 4, 0.0)),
        ([], RayOptions(), Sizing(1, 1, 0.0)),
    ],
)
def test_how_many_actors_fit(nodes: list[dict[str, float]], options: RayOptions, expected: Sizing) -> None:
    assert size_actors(nodes, options) == expected


def test_gpus_that_no_node_has() -> None:
    with pytest.raises(EditEvalError, match="no node of the Ray cluster has 2 GPU for an actor"):
        size_actors([{"CPU": 8, "GPU": 1}], RayOptions(gpus=2.0))


def test_addresses() -> None:
    assert split_address("host.example:6379") == ("host.example", 6379)
    assert split_address("[::1]:6379") == ("::1", 6379)
    with pytest.raises(EditEvalError, match="is no address of a Ray cluster"):
        split_address("cases/")


def test_an_actor_opens_only_the_image_that_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_editeval.scoring.cluster.remote._node", lambda: ("id", "10.0.0.2"))
    path = tmp_path / "a.png"
    picture(1).save(path)
    ref, data = load_image(path).ref, path.read_bytes()
    assert _open(ref, Picture("a.png", data=data)).tobytes() == _open(ref, Picture("a.png", path)).tobytes()
    picture(2).save(path)
    with pytest.raises(ImageError, match=r"a.png is another image on Ray node 10.0.0.2 than here"):
        _open(ref, Picture("a.png", path))
    with pytest.raises(ImageError, match=r"a.png was changed while the run was using it; run again"):
        _open(ref, Picture("a.png", data=path.read_bytes()))
    with pytest.raises(ImageError, match=r"image not found: .*b.png \(on Ray node 10.0.0.2\)"):
        _open(ref, Picture("b.png", tmp_path / "b.png"))
    with pytest.raises(ImageError, match="why"):
        _open(ref, Picture("a.png", error=ImageError("why")))


@pytest.mark.parametrize("cls", [ImageError, CheckpointError, MetricError, ValueError])
def test_known_errors_come_back_as_they_are(cls: Callable[[str], Exception]) -> None:
    error = _portable(cls("why"))
    assert (type(error), str(error)) == (cls, "why")


def test_another_packages_error_comes_back_as_text() -> None:
    class OwnError(Exception):
        pass

    error = _portable(OwnError("why"))
    assert (type(error), str(error)) == (RuntimeError, "OwnError: why")
    assert "in a Ray actor" in error.__notes__[0]


def test_a_node_with_another_version_is_refused() -> None:
    """A build for a GPU and one for a CPU are one version."""
    here = {"torch": "2.10.0+cpu", "timm": "1.0.20"}
    check_versions("10.0.0.7", here, {"torch": "2.10.0+cu128", "timm": "1.0.20", "scipy": "1.0"})
    with pytest.raises(EditEvalError, match=r"10\.0\.0\.7 has timm 1\.0\.9, this process 1\.0\.20; install the same"):
        check_versions("10.0.0.7", here, {**here, "timm": "1.0.9"})
    with pytest.raises(EditEvalError, match="has timm unknown"):
        check_versions("10.0.0.7", here, {"torch": "2.10.0"})
