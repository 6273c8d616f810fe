"""Which actor scores what: groups wait in the order of the run until an actor has room for them.

A group goes to an actor that has its images, if there is one and it is not far behind. When an actor dies, what it had
goes to others; from then on such a group is given to an idle actor alone, so that it is known which one kills actors.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import RLock, Timer
from typing import Protocol

from pytest_editeval.errors import EditEvalError
from pytest_editeval.needs import ImageRef
from pytest_editeval.scoring.cluster.groups import MOST_IMAGES, Group
from pytest_editeval.scoring.cluster.parcels import Outcome

PATIENCE_SECONDS = 120.0
MOST_DEATHS = 3
MOST_STARTS = 3
IN_FLIGHT = 2
"""Tasks of one actor: the next one's images travel while one is computed."""


class ActorLostError(Exception):
    """The actor is gone, or cannot be reached; what it had can be scored by another."""


class Actor(Protocol):
    """A process that scores."""

    def send(self, groups: Sequence[Group]) -> Future[Sequence[Outcome]]:
        """Score all requests of the groups, one after the other; does not wait."""

    def stop(self) -> None:
        """End it, if it is not gone yet."""


@dataclass(eq=False)
class Worker:
    """An actor that lives, and the tasks it has."""

    actor: Actor
    tasks: list[Sequence[Group]] = field(default_factory=list)

    @property
    def load(self) -> int:
        """Images it was given."""
        return sum(len(group.pictures) for task in self.tasks for group in task)


class Dispatcher:
    """Starts up to `count` actors as they are needed, and gives each up to `share` images at a time."""

    def __init__(
        self,
        start: Callable[[], Future[Actor]],
        count: int,
        share: int,
        pixel_bytes: int,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.lost = 0
        self._start, self._count, self._share, self._patience = start, count, share, patience
        self._pixel_bytes = pixel_bytes
        self._lock = RLock()
        self._waiting: list[Group] = []
        self._workers: list[Worker] = []
        self._homes: defaultdict[ImageRef, set[Worker]] = defaultdict(set)
        self._starting = 0
        self._failed_starts = 0
        self._why = ""
        self._timer: Timer | None = None
        self._gave_up = False
        self._closed = False

    def add(self, groups: Iterable[Group]) -> None:
        """Score them as soon as there is room."""
        with self._lock:
            self._waiting += groups
        self._pump()

    def close(self) -> None:
        """Cancel what waits or runs, and stop the actors."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            running = [group for worker in self._workers for task in worker.tasks for group in task]
            dropped = [*self._waiting, *running]
            workers, self._workers, self._waiting = self._workers, [], []
        for group in dropped:
            group.cancel()
        for worker in workers:
            worker.actor.stop()

    def _pump(self) -> None:
        """Give work to who has room, ask for actors, and give up where none can be had."""
        with self._lock:
            hopeless: list[Group] = []
            begun: list[tuple[Worker, Sequence[Group]]] = []
            if self._closed:
                hopeless, self._waiting = self._waiting, []
            while given := [(worker, task) for worker in self._by_load() if (task := self._take(worker))]:
                begun += given
            busy = sum(1 for worker in self._workers if worker.tasks)
            short = min(self._count, len(self._waiting) + busy) - len(self._workers) - self._starting
            starts = max(0, short) if self._failed_starts < MOST_STARTS and not self._closed else 0
            self._starting += starts
            if self._workers or not self._waiting:
                self._rest()
            elif self._gave_up or not self._starting:
                hopeless, self._waiting = self._waiting, []
            elif self._timer is None:
                self._timer = Timer(self._patience, self._give_up)
                self._timer.daemon = True
                self._timer.start()
        for group in hopeless:
            if self._closed:
                group.cancel()
            else:
                group.fail(EditEvalError(self._why))
        for worker, task in begun:
            worker.actor.send(task).add_done_callback(partial(self._finished, worker, task))
        for _ in range(starts):
            self._start().add_done_callback(self._started)

    def _by_load(self) -> list[Worker]:
        return sorted(self._workers, key=lambda worker: worker.load)

    def _take(self, worker: Worker) -> Sequence[Group]:
        """What an actor does next, noted as its own."""
        if len(worker.tasks) >= IN_FLIGHT or any(group.deaths for task in worker.tasks for group in task):
            return []
        if worker.tasks and len(self._waiting) <= self._starting:
            return []  # for those that are about to come; if they do not, for this one when it is idle
        waiting = sum(len(group.pictures) for group in self._waiting)
        room = min(self._share, -(-waiting // self._count))
        reserved = self._reserved()
        chosen: list[Group] = []
        pixels = 0
        for group in self._waiting:
            if group.deaths:
                # In its turn; those that follow wait too, so that it is not put off for ever.
                if not chosen and not worker.tasks:
                    chosen.append(group)
                break
            homes = self._living_homes(group)
            if homes and worker not in homes and min(reserved[home] for home in homes) < MOST_IMAGES:
                continue
            if chosen and pixels + group.pixel_bytes > self._pixel_bytes:
                break
            chosen.append(group)
            pixels += group.pixel_bytes
            room -= len(group.pictures)
            if room <= 0:
                break
        for group in chosen:
            self._waiting.remove(group)
            for ref in group.pictures:
                self._homes[ref].add(worker)
        if chosen:
            worker.tasks.append(chosen)
        return chosen

    def _living_homes(self, group: Group) -> set[Worker]:
        return {home for ref in group.pictures for home in self._homes.get(ref, ())}

    def _reserved(self) -> Counter[Worker]:
        """How many images wait for each actor that has some of them."""
        return Counter(home for group in self._waiting for home in self._living_homes(group) for _ in group.pictures)

    def _finished(self, worker: Worker, task: Sequence[Group], done: Future[Sequence[Outcome]]) -> None:
        error = None if done.cancelled() else done.exception()
        with self._lock:
            if self._closed:
                return
            worker.tasks.remove(task)
            if isinstance(error, ActorLostError):
                self._lose(worker)
                for group in task:
                    group.deaths += 1
                self._waiting[:0] = [group for group in task if group.deaths < MOST_DEATHS]
        if isinstance(error, ActorLostError):
            for group in task:
                if group.deaths >= MOST_DEATHS:
                    group.fail(EditEvalError(f"{group.deaths} Ray actors died while they scored this: {error}"))
        elif error is not None:
            for group in task:
                group.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        else:
            outcomes = iter(done.result())
            for group in task:
                group.settle([next(outcomes) for _ in group.requests])
        self._pump()

    def _lose(self, worker: Worker) -> None:
        if worker not in self._workers:
            return  # another task of the same actor said so
        self._workers.remove(worker)
        self.lost += 1
        for homes in self._homes.values():
            homes.discard(worker)
        worker.actor.stop()

    def _started(self, started: Future[Actor]) -> None:
        error = None if started.cancelled() else started.exception()
        with self._lock:
            self._starting -= 1
            if error is not None:
                self._why = str(error)
                # What we say ourselves, such as of other versions on a node, does not get better.
                self._failed_starts = MOST_STARTS if isinstance(error, EditEvalError) else self._failed_starts + 1
            elif not started.cancelled():
                actor = started.result()
                self._failed_starts = 0
                if self._closed:
                    actor.stop()
                else:
                    self._workers.append(Worker(actor))
        self._pump()

    def _rest(self) -> None:
        self._gave_up = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        with self._lock:
            self._timer = None
            if self._workers or self._closed:
                return
            self._gave_up = True
            self._why = f"no Ray actor could be placed for {self._patience:g} s; `ray status` says what is taken"
        self._pump()
