"""Metrics and pipes by name, another package's among them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_editeval import registry
from pytest_editeval.errors import MetricError, UnknownMetricError
from pytest_editeval.registry import (
    MASK_MODES,
    PIPES,
    MetricSpec,
    broken_metrics,
    get_metric,
    metrics,
    register_metric,
)

MINE = MetricSpec("mine", "clip-pipe", True, None, None, "patches", "my_package.scores:mine", "mine")


@pytest.fixture(autouse=True)
def _registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", dict(metrics()))
    yield
    registry._load_entry_points.cache_clear()


@pytest.mark.parametrize(
    ("name", "pipe_name", "scope", "parameter"),
    [
        ("emd", "clip-pipe", "unedit_area", "patch_mask_threshold"),
        ("region_emd", "clip-pipe", "unedit_area", "patch_mask_threshold"),
        ("sam_clip_cls_sim", "clip-pipe", "edit_area", "bg_color"),
        ("dinov3_structure_similarity", "dino-v3-pipe", "edit_area", "patch_mask_threshold"),
        ("sam_dino_cls_sim", "dino-v3-pipe", "edit_area", "bg_color"),
    ],
)
def test_the_contracts_table(name: str, pipe_name: str, scope: str, parameter: str) -> None:
    spec = get_metric(name)
    assert (spec.pipe_name, spec.scope, spec.parameters) == (pipe_name, scope, (parameter,))
    assert callable(spec.load())
    assert spec.direction == ("lower is better" if "emd" in name else "higher is better")


def test_pipes_by_name() -> None:
    assert set(PIPES) == {"clip-pipe", "dino-v3-pipe", "sam-pipe"}
    classes = [pipe.load() for pipe in PIPES.values()]
    assert [cls.__name__ for cls in classes] == ["CLIPPipe", "DINOv3Pipe", "SAMSegmenter"]
    assert [cls.pipe_name for cls in classes[:2]] == ["clip-pipe", "dino-v3-pipe"]
    assert MASK_MODES == {"edit_area": "inner", "unedit_area": "outer"}


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(UnknownMetricError, match="did you mean 'emd'") as caught:
        get_metric("emdd")
    assert isinstance(caught.value, ValueError)
    assert all(name in str(caught.value) for name in metrics())


def test_a_name_belongs_to_one_metric() -> None:
    assert register_metric(MINE) is MINE
    assert register_metric(replace(MINE)) == MINE  # a module that is imported twice
    assert get_metric("mine") is MINE
    with pytest.raises(MetricError, match="'mine' is registered twice"):
        register_metric(replace(MINE, higher_is_better=False))
    with pytest.raises(MetricError, match="'emd' is registered twice"):
        register_metric(replace(MINE, name="emd"))
    assert get_metric("emd").function.startswith("pytest_editeval.")


def entry(load: object) -> SimpleNamespace:
    return SimpleNamespace(name="theirs", value="their_package:SPEC", load=load)


def discover(monkeypatch: pytest.MonkeyPatch, load: object) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry(load)] if group == registry.ENTRY_POINTS else [])
    registry._load_entry_points.cache_clear()


def test_a_metric_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    discover(monkeypatch, lambda: replace(MINE, name="theirs"))
    assert get_metric("theirs").pipe_name == "clip-pipe"


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no module named their_package")

    def leaves() -> None:
        raise SystemExit(3)

    for load, why in ((broken, "ImportError: no module named"), (leaves, "SystemExit: 3"), (str, "it is str, not a M")):
        discover(monkeypatch, load)
        with pytest.raises(MetricError, match=rf"^metric 'theirs' \(their_package:SPEC\) cannot be loaded: {why}"):
            get_metric("theirs")
        assert [*broken_metrics()] == ["theirs"]
        assert get_metric("emd").name == "emd"
        with pytest.raises(UnknownMetricError, match="unknown metric 'their'"):
            get_metric("their")


def test_of_two_packages_with_one_name_neither_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(lambda: replace(MINE, name="theirs")), entry(lambda: replace(MINE, name="theirs", version=2))]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    registry._load_entry_points.cache_clear()
    with pytest.raises(MetricError, match=r"metric 'theirs' cannot be loaded: .* are two metrics of that name"):
        get_metric("theirs")


def test_a_package_cannot_take_the_name_of_a_metric_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    discover(monkeypatch, lambda: replace(MINE, name="emd"))
    assert get_metric("emd") == registry.BUILTIN_METRICS[0]
    (problem,) = broken_metrics().values()
    assert problem == "metric 'theirs' (their_package:SPEC) cannot be loaded: the name 'emd' is taken"


def test_the_group_is_the_documented_one() -> None:
    assert registry.ENTRY_POINTS == "pytest_editeval.metrics"
    assert registry.entry_points is importlib.metadata.entry_points
