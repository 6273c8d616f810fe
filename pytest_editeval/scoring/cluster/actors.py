"""Actors of a Ray cluster, as `pytest_editeval.scoring.cluster.dispatch` wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_editeval.derived import Derived
from pytest_editeval.digests import own_code, versions
from pytest_editeval.errors import EditEvalError
from pytest_editeval.locations import read_bytes
from pytest_editeval.pixel_limit import max_bytes, max_pixels
from pytest_editeval.scoring.cluster.dispatch import IN_FLIGHT, Actor, ActorLostError
from pytest_editeval.scoring.cluster.groups import Group
from pytest_editeval.scoring.cluster.link import RayLink, first_line
from pytest_editeval.scoring.cluster.options import RayOptions
from pytest_editeval.scoring.cluster.parcels import Node, Outcome, Picture, Reply, Task, check_versions

CLOSE_SECONDS = 10
MOST_CPUS = 4
"""CPUs of an actor, which has as many lanes."""


@dataclass(frozen=True)
class Sizing:
    """How many actors, and what each takes."""

    count: int
    cpus: int
    gpus: float


def size_actors(nodes: Sequence[Mapping[str, float]], options: RayOptions) -> Sizing:
    """As many actors as fit on nodes with these resources, unless the options say how many."""
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = options.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    if gpus == 0:
        each = max(1, min(MOST_CPUS, max(cpus, default=1)))
        return Sizing(options.actors or max(1, sum(number // each for number in cpus)), each, 0.0)
    fitting = [int(node.get("GPU", 0) / gpus + 1e-9) for node in nodes]
    if not any(fitting):
        raise EditEvalError(f"no node of the Ray cluster has {gpus:g} GPU for an actor; see --editeval-ray-gpus")
    each = min(number // places for number, places in zip(cpus, fitting, strict=True) if places)
    return Sizing(options.actors or sum(fitting), max(1, min(MOST_CPUS, each)), gpus)


class Cluster:
    """A Ray cluster as one run uses it. It is connected to when that is first needed, and not tried twice."""

    def __init__(self, options: RayOptions, memory_bytes: int, timeout: float | None = None) -> None:
        self.options = options
        self.heard: Callable[[Reply], None] = lambda _: None
        self.closing: list[Callable[[], None]] = []
        self.nodes: list[str] = []  # an entry for each actor that started
        self.lost: Callable[[], int] = lambda: 0
        self._memory_bytes = memory_bytes
        self._timeout = timeout
        self._lock = RLock()
        self._link: RayLink | None = None
        self._sizing: Sizing | EditEvalError | None = None
        self._handles: list[Any] = []
        self._running: set[Future[Any]] = set()
        self._closed = False

    @property
    def sizing(self) -> Sizing:
        """How many actors of which size; connects."""
        with self._lock:
            if self._sizing is None:
                try:
                    if self._closed:
                        raise EditEvalError("the session is over")
                    self._link = RayLink(self.options)
                    alive = [node["Resources"] for node in self._link.ray.nodes() if node["Alive"]]
                    self._sizing = size_actors(alive, self.options)
                except EditEvalError as error:
                    self._sizing = error
            if isinstance(self._sizing, EditEvalError):
                raise EditEvalError(str(self._sizing))
            return self._sizing

    @property
    def device(self) -> str:
        """Of the models in the actors; connects where the options do not say it."""
        return "cuda" if (self.sizing.gpus if self.options.gpus is None else self.options.gpus) else "cpu"

    @property
    def known_count(self) -> int:
        """How many actors there are to be; 1 while that is not known."""
        return self.options.actors or (self._sizing.count if isinstance(self._sizing, Sizing) else 1)

    @property
    def summary(self) -> str:
        """How many actors there were, on how many nodes."""
        if not self.nodes or not isinstance(self._sizing, Sizing):
            return "ray: no actor"
        nodes, gpus = len(set(self.nodes)), self._sizing.gpus
        each = _number(gpus, "GPU") if gpus else _number(self._sizing.cpus, "CPU")
        line = f"ray: {_number(len(self.nodes), 'actor')} on {_number(nodes, 'node')}, {each} each"
        return f"{line} · {lost} lost, others did their work" if (lost := self.lost()) else line

    def start(self) -> Future[Actor]:
        """Ask for an actor; the future ends when it is there."""
        return self._in_thread(self._start)

    def close(self) -> None:
        """Kill the actors and disconnect; work that nobody waits for any more ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            handles, self._handles, link = self._handles, [], self._link
        for close in self.closing:
            close()
        if link is None:
            return
        for handle in handles:
            self.kill(handle)
        wait(list(self._running), CLOSE_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)
        link.close()

    def kill(self, handle: Any) -> None:
        """End an actor, which may be gone already."""
        with suppress(Exception):
            self._ray.kill(handle, no_restart=True)

    def ask(self, handle: Any, groups: Sequence[Group]) -> Future[Sequence[Outcome]]:
        """Have an actor score groups."""
        return self._in_thread(self._ask, handle, groups)

    @property
    def _ray(self) -> Any:
        if self._link is None:
            raise EditEvalError("the session is over")
        return self._link.ray

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Each waits for one task, or for one actor to start."""
        return ThreadPoolExecutor(self.sizing.count * (IN_FLIGHT + 1), "editeval-ray")

    def _in_thread(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with self._lock:
            if self._closed:
                future: Future[Any] = Future()
                future.cancel()
                return future
            future = self._threads.submit(task, *arguments)
            self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def _start(self) -> Actor:
        from pytest_editeval.scoring.cluster.remote import Remote

        ray = self._ray
        options = {"num_cpus": self.sizing.cpus, "num_gpus": self.sizing.gpus, "scheduling_strategy": "SPREAD"}
        options |= {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": IN_FLIGHT}
        handle = ray.remote(Remote).options(**options).remote(self._memory_bytes, self._timeout, max_pixels())
        with self._lock:
            self._handles.append(handle)
            closed = self._closed
        if closed:
            self.kill(handle)
        try:
            node: Node = ray.get(handle.ready.remote())
            _check_same(node)
        except Exception as error:
            self.kill(handle)
            if isinstance(error, EditEvalError):
                raise
            raise ActorLostError(f"a Ray actor did not start: {first_line(error)}") from None
        self.nodes.append(node.node_id)
        return RayActor(self, handle)

    def _ask(self, handle: Any, groups: Sequence[Group]) -> Sequence[Outcome]:
        ray = self._ray
        pictures = {ref: picture for group in groups for ref, picture in group.pictures.items()}
        task = Task(
            [request for group in groups for request in group.requests],
            [need for group in groups for need in group.along],
            list({model.key: model for group in groups for model in group.models}.values()),
            {ref: self._packed(picture) for ref, picture in pictures.items()},
        )
        try:
            reply: Reply = ray.get(handle.score.remote(task))
        except ray.exceptions.RayTaskError as error:
            raise EditEvalError(f"a Ray actor failed: {first_line(error)}") from None
        except ray.exceptions.RayError as error:
            raise ActorLostError(first_line(error)) from None
        self.heard(reply)
        return reply.outcomes

    def _packed(self, picture: Picture) -> Picture:
        """The image's bytes, in the object store until the task is done; or where the actor finds them."""
        data = picture.data
        if data is None:
            location = picture.location
            if location is None or isinstance(location, str):
                return picture
            if isinstance(location, Path) and self.options.images == "paths":
                return picture
            try:
                data = _made(location) if isinstance(location, Derived) else read_bytes(location, max_bytes())
            except Exception as error:
                return replace(picture, error=error)
        return replace(picture, data=self._ray.put(data))


class RayActor:
    """An actor that has started."""

    def __init__(self, cluster: Cluster, handle: Any) -> None:
        self._cluster, self._handle = cluster, handle

    def send(self, groups: Sequence[Group]) -> Future[Sequence[Outcome]]:
        """See `Actor.send`."""
        return self._cluster.ask(self._handle, groups)

    def stop(self) -> None:
        """See `Actor.stop`."""
        self._cluster.kill(self._handle)


def _made(location: Derived) -> bytes:
    from pytest_editeval.vision.images import file_of, load_image

    return file_of(load_image(location))


def _check_same(node: Node) -> None:
    if node.code != own_code():
        raise EditEvalError(f"Ray node {node.address} has another version of pytest-editeval than this process")
    check_versions(node.address, versions(), node.versions)


def _number(count: float, what: str) -> str:
    return f"{count:g} {what}" if count <= 1 else f"{count:g} {what}s"
