"""`--editeval-ray`: runs of pytest on a real cluster of several nodes on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from conftest import picture
from project import CONFIG, Project
from pytest_editeval.cli import main
from pytest_editeval.run import RUN
from pytest_editeval.statuses import GATE_FAILED

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own processes and sockets

STORE = 80 << 20
FOLDERS = os.pathsep.join(str(Path(__file__).parents[depth]) for depth in (1, 0))


class Nodes:
    """A head without CPUs, and nodes of one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        own = {"node_ip_address": "127.0.0.1", "object_store_memory": STORE, "include_dashboard": False}
        self._own = own
        self.cluster = Cluster(initialize_head=True, head_node_args={**own, "num_cpus": 0})
        self.workers = [self.add(), self.add()]

    def add(self) -> Any:
        return self.cluster.add_node(**self._own, num_cpus=1)

    def kill(self, worker: Any) -> None:
        self.workers.remove(worker)
        self.cluster.remove_node(worker, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_DISABLE_IMPORT_WARNING", "RAY_ADDRESS")}
    # Ray's processes have the package from here, whatever is installed.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (FOLDERS, before["PYTHONPATH"])))
    os.environ.pop("RAY_ADDRESS", None)
    nodes = Nodes()
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def on_ray(nodes: Nodes) -> tuple[str, ...]:
    return ("--editeval-ray", nodes.cluster.address)


def rows(project: Project, name: str) -> dict[str, dict[str, Any]]:
    lines = (project.path / name).read_text("utf-8").splitlines()
    return {row["node_id"]: row for row in map(json.loads, lines)}


def junit_names(project: Project, name: str) -> list[tuple[str | None, str | None, list[str]]]:
    cases = ET.parse(project.path / name).iter("testcase")
    return [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in cases]


def line(result: pytest.RunResult, start: str) -> str:
    (found,) = (line for line in result.outlines if line.startswith(start))
    return found


def assert_same(ours: dict[str, dict[str, Any]], local: dict[str, dict[str, Any]]) -> None:
    assert list(ours) == list(local)
    for node_id, row in local.items():
        score = None if row["score"] is None else pytest.approx(row["score"], rel=1e-4, abs=1e-7)
        assert ours[node_id]["score"] == score, node_id
        unequal = {key for key in row if ours[node_id][key] != row[key]}
        assert unequal <= {"score", "margin", "duration", "details"}, node_id


def edits(project: Project, count: int, sources: int = 1) -> None:
    """Cases whose edits are spread over a few sources."""
    lines = ["cases:"]
    for index in range(count):
        source = project.path / f"source{index % sources}.png"
        if not source.exists():
            picture(1000 + index).save(source)
        picture(10 + index).save(project.path / f"edit{index}.png")
        lines.append(
            f"  - {{id: edit{index}, instruction: Do it., source: {source.name}, edited: edit{index}.png, "
            "coords: [[20, 20, 80, 80]], metrics: {emd: 1.0e+9, dinov3_structure_similarity: 0.0}}"
        )
    project.cases("\n".join(lines) + "\n", "b.edit.yaml")


TEST_OF_ONES_OWN = """
from PIL import Image

def test_own(editeval, clip_pipe):
    source, edited = Image.open("source.png"), Image.open("other.png")
    score = editeval.score("emd", source, edited, scope=None).value
    assert abs(clip_pipe("source.png", "other.png", metric="emd") - score) < 1e-4 * score
    assert abs(clip_pipe.calc_emd("source.png", "other.png") - score) < 1e-4 * score
    print(f"own {score:.3f}")
"""


MORE_CASES = """
cases:
  - id: url
    instruction: Do it.
    source: source.png
    edited: {url}
    coords: [[20, 20, 80, 80], [20, 20, 80, 80]]
    metrics:
      sam_clip_cls_sim: 0.0
      sam_dino_cls_sim: 0.0  # its checkpoint is broken
  - id: lost
    instruction: Do it.
    source: source.png
    edited: lost.png
    coords: [[20, 20, 80, 80]]
    metrics: {{emd: 1.0}}
"""


def break_one_checkpoint(project: Project) -> None:
    """The one of `sam_dino_cls_sim`."""
    broken = project.path / "broken"
    shutil.copytree(project.models / "dinov3", broken)
    (weights,) = broken.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    before, _, last = CONFIG.format(models=project.models).rpartition(f"{project.models}/dinov3")
    project.write("tiny.yaml", f"{before}{broken}{last}")


def test_a_run_on_ray_is_a_local_run(project: Project, on_ray: tuple[str, ...]) -> None:
    break_one_checkpoint(project)
    project.cases()
    edits(project, 3)
    project.cases(MORE_CASES.format(url=(project.path / "other.png").as_uri()), "c.edit.yaml")
    project.write("test_own.py", TEST_OF_ONES_OWN)
    apart = ("--editeval-cache-dir", "cache-of-local")
    local = project.run("-rP", *apart, "--editeval-results", "local.jsonl", "--junitxml", "local.xml")
    on_ray = (*on_ray, "--editeval-cache-dir", "cache")
    result = project.run("-rP", *on_ray, "--editeval-results", "ray.jsonl", "--junitxml", "ray.xml")

    assert result.ret == local.ret == 1
    ours = rows(project, "ray.jsonl")
    for row in ours.values():  # an actor has a working directory of its own, to which no path is relative
        row["detail"] = row["detail"] and row["detail"].replace(f"{project.path}{os.sep}", "")
    assert_same(ours, rows(project, "local.jsonl"))
    assert junit_names(project, "ray.xml") == junit_names(project, "local.xml")
    assert line(result, "own ") == line(local, "own ")
    result.stdout.fnmatch_lines(["editeval: profile tiny · device cpu (Ray) *"])
    assert not [text for text in (*result.outlines, *result.errlines) if "raylet" in text or "WARNING" in text]

    # With the number of forward passes.
    assert line(result, "scores: ").split(" · ")[1] == line(local, "scores: ").split(" · ")[1]
    assert re.fullmatch(r"ray: (1 actor on 1 node|2 actors on . nodes?), 1 CPU each", line(result, "ray: "))

    assert "broken" in ours["c.edit.yaml::url::sam_dino_cls_sim"]["detail"]
    assert "image not found: lost.png" in ours["c.edit.yaml::lost::emd"]["detail"]

    again = project.run(*on_ray, "-k", "b.edit.yaml or sam_clip_cls_sim")
    again.assert_outcomes(passed=7, deselected=len(ours) - 6)
    assert line(again, "ray: ") == "ray: no actor"
    again.stdout.fnmatch_lines(["scores: 0 computed, 7 remembered"])


class Killer:
    """Kills a node once two actors have started and something was scored."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.done = False
        self.summary = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        self.cluster = config.stash[RUN].cluster

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        assert self.cluster is not None
        if self.done or report.when != "call":
            return
        self.done = True
        while len(self.cluster.nodes) < 2:
            time.sleep(0.1)
        self.nodes.kill(self.nodes.workers[0])

    def pytest_terminal_summary(self) -> None:
        assert self.cluster is not None
        self.summary = self.cluster.summary


def test_a_node_that_dies_in_the_middle_costs_no_check(project: Project, nodes: Nodes, on_ray: tuple[str, ...]) -> None:
    edits(project, 150, sources=50)
    local = project.run("--editeval-results", "local.jsonl")
    local.assert_outcomes(passed=300)
    try:
        killer = Killer(nodes)
        arguments = ("-p", "no:cacheprovider", *on_ray, "--editeval-ray-images", "paths")
        arguments += ("--editeval-results", "ray.jsonl")
        result = project.pytester.inline_run(*arguments, plugins=[killer])
        assert killer.done
        assert result.ret == 0
        assert "1 lost" in killer.summary
    finally:
        nodes.workers.append(nodes.add())
    assert_same(rows(project, "ray.jsonl"), rows(project, "local.jsonl"))


def test_a_run_that_stops_early_does_not_wait_for_actors(project: Project, on_ray: tuple[str, ...]) -> None:
    edits(project, 20)
    project.one("emd: 0.0", edited="lost.png")
    started = time.monotonic()
    result = project.run(*on_ray, "-x")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*image not found: lost.png*", "not run: 40 of 41 checks: *"])
    assert line(result, "ray: ") == "ray: no actor"
    assert time.monotonic() - started < 10
    assert not ray.is_initialized()


SAYS_WHAT_IS_LOADED = """
import sys

def pytest_unconfigure(config):
    print("loaded:", *(name for name in ("ray", "torch", "transformers") if name in sys.modules))
"""


def test_a_cluster_of_its_own_and_no_torch_in_the_run(project: Project) -> None:
    project.write("conftest.py", SAYS_WHAT_IS_LOADED)
    project.one("emd: 1.0e+9")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "--editeval-ray=local", "-s", timeout=240)
    result.assert_outcomes(passed=1)
    assert line(result, "ray: ").startswith("ray: 1 actor on 1 node, ")
    assert line(result, "loaded:") == "loaded: ray"


OTHER_PIPE = """
import pytest
from pytest_editeval.vision.pipes import CLIPPipe

class Mine(CLIPPipe):
    pass

@pytest.fixture(scope="session")
def clip_pipe():
    return Mine(model_path={path!r}, device="cpu")
"""


def test_a_pipe_of_another_class_cannot_travel(project: Project, on_ray: tuple[str, ...]) -> None:
    project.write("conftest.py", OTHER_PIPE.format(path=str(project.models / "clip")))
    project.one("emd: 1.0e+9")
    result = project.run(*on_ray)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["conftest.Mine cannot travel to Ray's actors: with --editeval-ray the pipes *"])
    assert line(result, "ray: ") == "ray: no actor"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--editeval-ray=local", "-n", "2"], "--editeval-ray has actors of its own: leave out -n, or --editeval-ray"),
        (["--editeval-ray=127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9: Connection refused"),
        (["--editeval-ray", "a.edit.yaml"], "'a.edit.yaml' is no address of a Ray cluster *"),
        (["--editeval-ray=ray://host:10001"], "ray://host:10001 is Ray Client's; *"),
        (["--editeval-ray=local", "--editeval-ray-actors=0"], "editeval_ray_actors is a number of actors from 1, *"),
        (["--editeval-ray=local", "--editeval-ray-gpus=1.5"], "editeval_ray_gpus is a whole number of GPUs *"),
        (["--editeval-ray=local", "--editeval-ray-gpus=1"], "--editeval-device cpu contradicts --editeval-ray-gpus 1"),
        (["--editeval-ray=local", "--editeval-ray-images=ftp"], "unknown editeval_ray_images 'ftp'; *"),
        (
            ["--editeval-ray=local", "--editeval-device=cuda:1"],
            "with --editeval-ray the device is auto, cpu or cuda, *",
        ),
        (["--editeval-ray=local", "--editeval-device=cuda", "--editeval-ray-gpus=0"], "--editeval-device cuda contra*"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(project: Project, arguments: list[str], message: str) -> None:
    project.one("emd: 1.0e+9")
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (found,) = (text for text in result.errlines if text.startswith("ERROR"))
    assert fnmatch(found, f"ERROR: editeval: {message}")


def test_without_ray_it_says_how_to_install_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = project.run("--editeval-ray=local")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: --editeval-ray needs Ray: pip install 'pytest-editeval[[]ray]'"])


HANGS = """
import time
from pytest_editeval import MetricSpec, register_metric

def sleeps(source, edited): time.sleep(600)
def spins(source, edited):
    while True: pass
def fine(source, edited): return float(abs(source).mean())

for name in ("sleeps", "spins", "fine"):
    register_metric(
        MetricSpec(name, "clip-pipe", True, None, None, "patches", f"theirs:{name}", "-", settings_of="emd")
    )
"""


def processes(mark: str) -> list[str]:
    """The command lines of those that have the variable of this name in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text("utf-8", "replace").replace("\0", " "))
    return found


def test_a_metric_that_hangs_in_an_actor_is_an_error_and_nothing_of_ray_is_left(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.pytester.makepyfile(theirs=HANGS, conftest="import theirs")
    lines = [
        f"  - {{id: c{index}, edited: other.png, metrics: {{{metric}: 0, region_emd: 1.0e+9}}}}"
        for index, metric in enumerate(["fine", "sleeps", "fine", "spins", "fine"])
    ]
    project.cases(
        "defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]]}\ncases:\n" + "\n".join(lines)
    )
    mark = f"EDITEVAL_TEST_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    # The metric's module is where the actors find it, as one of an installed package.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(project.path), FOLDERS, os.environ.get("PYTHONPATH", ""))))
    options = ("--editeval-ray=local", "--editeval-ray-actors=1", "--editeval-timeout=2", "--editeval-cache=off")
    outputs = ("--editeval-results=ray.jsonl", "--junitxml=ray.xml")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", *options, *outputs, timeout=240)
    assert processes(mark) == []
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=8, failed=2)
    result.stdout.fnmatch_lines(["scores: 8 computed, 0 remembered*", "checks: 10 = 8 passed + 2 errors"])
    assert line(result, "ray: ").startswith("ray: 1 actor on 1 node, ")
    found = rows(project, "ray.jsonl")
    hung = {"a.edit.yaml::c1::sleeps": "sleeps", "a.edit.yaml::c3::spins": "spins"}
    assert {node_id for node_id, row in found.items() if row["score"] is None} == hung.keys()
    for node_id, name in hung.items():
        assert found[node_id]["outcome"] == "error"
        assert (
            found[node_id]["detail"] == f"metric '{name}' (theirs:{name}) did not end within 2 s (--editeval-timeout)"
        )
    assert (
        sorted(tags for _, _, tags in junit_names(project, "ray.xml") if "failure" in tags)
        == [["properties", "failure"]] * 2
    )
    assert len(found) == len(junit_names(project, "ray.xml")) == 10


@pytest.fixture
def locked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """With its own copy of the checkpoints, and a lock of them."""
    for name in ("clip", "dinov3"):
        shutil.copytree(project.models / name, project.path / name)
    shutil.copy(project.models / "sam.pth", project.path)
    project.write("tiny.yaml", CONFIG.format(models=project.path))
    monkeypatch.chdir(project.path)
    assert main(["models", "lock", "--config", "tiny.yaml"]) == 0
    project.one("region_emd: 1.0e+9, dinov3_structure_similarity: 0.0")
    return project


def test_a_lock_holds_for_a_run_on_ray(locked: Project, on_ray: tuple[str, ...]) -> None:
    options = (*on_ray, "--editeval-lock=editeval.lock.json", "--editeval-results=ray.jsonl", "--editeval-cache=off")
    green = locked.run(*options)
    green.assert_outcomes(passed=2)
    assert green.ret == 0
    assert line(green, "ray: ").startswith("ray: 1 actor on 1 node, ")
    assert len(rows(locked, "ray.jsonl")) == 2

    weights = locked.path / "dinov3" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    stopped = locked.run(*options)
    assert stopped.ret == pytest.ExitCode.USAGE_ERROR
    errors = [text for text in stopped.errlines if text.startswith("ERROR")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: editeval: editeval.lock.json: 1 difference")
    assert "model.safetensors has changed" in stopped.stderr.str()
    assert "INTERNALERROR" not in stopped.stdout.str() + stopped.stderr.str()
    assert rows(locked, "ray.jsonl") == {}, "an earlier run's rows are not this run's"
    stopped.assert_outcomes()
    assert not ray.is_initialized()


def test_gates_controls_and_edits_made_in_the_run(project: Project, on_ray: tuple[str, ...]) -> None:
    project.pytester.makeconftest(
        "def pytest_editeval_edit(case, source, seed, candidate):\n    return source.rotate(90 * seed)\n"
    )
    lines = [
        f"  - {{id: c{index}, metrics: {{region_emd: 0.001, dinov3_structure_similarity: 0.5}}, "
        "repeat: {pass: 1, of: 2}}"
        for index in range(8)
    ]
    project.cases(
        "defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]], controls: auto}\ncases:\n"
        + "\n".join(lines)
        + "\ngates:\n  - {metric: region_emd, statistic: mean, threshold: 0.001}\n"
        "  - {metric: region_emd, statistic: max, threshold: -1}\n"
    )
    local = project.run("--editeval-results=local.jsonl", "--editeval-cache=off")
    ours = project.run("--editeval-results=ray.jsonl", "--editeval-cache=off", *on_ray)
    assert (local.ret, ours.ret) == (GATE_FAILED, GATE_FAILED)
    assert ours.parseoutcomes() == local.parseoutcomes()
    gates = [line for line in local.outlines if line.startswith(("PASS ", "FAIL ", "release gate"))]
    assert [line for line in ours.outlines if line.startswith(("PASS ", "FAIL ", "release gate"))] == gates
    first, second = rows(project, "ray.jsonl"), rows(project, "local.jsonl")
    assert {name: row["outcome"] for name, row in first.items()} == {
        name: row["outcome"] for name, row in second.items()
    }
    destroyed = first["a.edit.yaml::c0[destroyed]::region_emd"]["score"]
    assert destroyed == pytest.approx(second["a.edit.yaml::c0[destroyed]::region_emd"]["score"], rel=1e-4)
    assert destroyed > 0.001
