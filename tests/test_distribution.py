"""Which worker gets which checks, without workers: the scheduler on nodes that only note what they are sent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScheduling

from pytest_editeval.distribution import EditLoadScheduling


class Node:
    """A worker in the scheduler's eyes; it runs what it was sent as a worker of xdist does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[int] = []
        self.done = 0
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.sent.extend(indices)

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        """A test starts once it is known what comes after it."""
        return len(self.sent) - self.done >= (1 if self.shutting_down else 2)


class Config:
    """What a scheduler asks of pytest's configuration."""

    def __init__(self, nodes: int, maxschedchunk: int | None = None) -> None:
        self.values = {"tx": ["popen"] * nodes, "maxschedchunk": maxschedchunk}

    def getvalue(self, name: str) -> object:
        return self.values[name]

    getoption = getvalue


def is_edit_node(nodeid: str) -> bool:
    return nodeid.split("::")[0].endswith(".edit.yaml")


def make(config: Config) -> EditLoadScheduling:
    return EditLoadScheduling(config, Producer("test", enabled=False), is_edit_node)  # type: ignore[arg-type]


def start(scheduler: LoadScheduling, nodes: list[Node], ids: list[str]) -> None:
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()


def finish(scheduler: LoadScheduling, nodes: list[Node]) -> None:
    """Every node runs one test in its turn, until all is done."""
    while any(node.can_run for node in nodes):
        for node in nodes:
            if node.can_run:
                node.done += 1
                scheduler.mark_test_complete(node, node.sent[node.done - 1])
        if scheduler.tests_finished:
            for node in nodes:
                node.shutdown()


def checks(file: str, count: int) -> list[str]:
    return [f"{file}.edit.yaml::case{index}::emd" for index in range(count)]


def ordinary(module: str, count: int) -> list[str]:
    return [f"{module}.py::test_{index}" for index in range(count)]


def whole(nodes: list[Node], ids: list[str]) -> bool:
    """Whether every test was sent once, and each file of checks in one go to one node."""
    assert sorted(index for node in nodes for index in node.sent) == list(range(len(ids)))
    files = [
        file
        for node in nodes
        for file, _ in groupby(ids[index].split("::")[0] for index in node.sent)
        if is_edit_node(file)
    ]
    return len(files) == len(set(files))


SUITES: list[Callable[[], list[str]]] = [
    lambda: checks("a", 8),
    lambda: checks("a", 1) + checks("b", 1) + checks("c", 1),
    lambda: checks("a", 8) + checks("b", 8) + checks("c", 8),
    lambda: [nodeid for file in range(30) for nodeid in checks(f"f{file}", 1 + file % 4)],
    lambda: ordinary("test_x", 40) + checks("a", 5) + ordinary("test_y", 40) + checks("b", 1) + checks("c", 30),
    lambda: [nodeid for pair in zip(checks("a", 20), checks("b", 20), strict=True) for nodeid in pair],
    lambda: checks("a", 3) + ordinary("test_x", 1),
    lambda: checks("a", 10_000) + checks("b", 10_000) + ordinary("test_x", 2_000),
]


@pytest.mark.parametrize("maxschedchunk", [None, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("suite", SUITES, ids=range(len(SUITES)))
def test_every_test_runs_once_and_every_file_on_one_node(
    suite: Callable[[], list[str]], count: int, maxschedchunk: int | None
) -> None:
    ids, nodes = suite(), [Node(f"gw{index}") for index in range(count)]
    scheduler = make(Config(count, maxschedchunk))
    start(scheduler, nodes, ids)
    finish(scheduler, nodes)
    assert sum(node.done for node in nodes) == len(ids)
    assert whole(nodes, ids)


def test_the_largest_file_starts_first_and_alone() -> None:
    ids = ordinary("test_x", 4) + checks("small", 2) + checks("large", 50) + checks("middle", 10)
    nodes = [Node("gw0"), Node("gw1")]
    start(make(Config(2)), nodes, ids)
    assert [[ids[index].split("::")[0] for index in node.sent] for node in nodes] == [
        ["large.edit.yaml"] * 50,
        ["middle.edit.yaml"] * 10,
    ]


def test_without_checks_it_is_xdists_own() -> None:
    ids = ordinary("test_x", 60) + ordinary("test_y", 60)
    sent = []
    for scheduler in (make(Config(3)), LoadScheduling(Config(3))):  # type: ignore[arg-type]
        nodes = [Node(f"gw{index}") for index in range(3)]
        start(scheduler, nodes, ids)
        assert type(scheduler) is LoadScheduling
        finish(scheduler, nodes)
        sent.append([node.sent for node in nodes])
    assert sent[0] == sent[1]


@pytest.mark.parametrize("done", [0, 1, 4, 9])
def test_after_a_crash_the_rest_of_the_file_goes_to_one_node(done: int) -> None:
    ids = checks("a", 10) + checks("b", 6) + ordinary("test_x", 20)
    nodes = [Node("gw0"), Node("gw1")]
    scheduler = make(Config(2))
    start(scheduler, nodes, ids)
    crashing, other = nodes
    for _ in range(done):
        crashing.done += 1
        scheduler.mark_test_complete(crashing, crashing.sent[crashing.done - 1])
    assert scheduler.remove_node(crashing) == ids[done]
    replacement: Any = Node("gw2")
    scheduler.add_node(replacement)
    scheduler.add_node_collection(replacement, ids)
    scheduler.schedule()
    finish(scheduler, [other, replacement])
    ran = crashing.sent[:done] + other.sent + replacement.sent
    assert sorted([*ran, done]) == list(range(len(ids)))
    assert len({node.name for node in (other, replacement) if set(node.sent) & set(range(10))}) == (done < 9)
