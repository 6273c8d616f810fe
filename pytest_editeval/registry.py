"""The metrics and the pipes by name. Direction and names are known here, without importing a model library.

To add a metric: write the function (see `pytest_editeval.vision.metrics`) and register its `MetricSpec`,
here or in another package under the entry point group `pytest_editeval.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from importlib.metadata import entry_points
from typing import Any, Literal

from pytest_editeval.errors import MetricError, UnknownMetricError, known_names, unknown

Scope = Literal["edit_area", "unedit_area"]
MaskMode = Literal["inner", "outer"]

Box = tuple[float, float, float, float]
Color = tuple[int, int, int]

PATCH_MASK_THRESHOLD = 0.1
WHITE: Color = (255, 255, 255)
"""Defaults of the runtime parameters `patch_mask_threshold` and `bg_color`."""

MASK_MODES: Mapping[Scope, MaskMode] = {"edit_area": "inner", "unedit_area": "outer"}
ENTRY_POINTS = "pytest_editeval.metrics"

EXACT_PATCHES = 4096
"""The most patches of an image that go into an earth mover's distance: its cost matrix is then 134 MB, and is solved in
seconds; both grow with the square."""


@dataclass(frozen=True)
class MetricSpec:
    """What is known about a metric without computing it.

    `inputs` is what the metric needs, and so what `function` is called with:

    - ``"patches"``: the patch features of both whole images; `function` takes two arrays of rows
      `(n, dim)` and `(m, dim)`. With `all_source_patches` the first holds every patch of the source,
      else both hold the patches of the region.
    - ``"objects"``: the CLS features of paired objects, isolated by the segmenter; `function` takes two
      arrays `(pairs, dim)`.

    `function` is a lazy reference ``"module:name"``. `settings_of` names the metric whose entry in a
    configuration serves when the configuration has none for this one. `version` belongs to the number:
    raise it when the same inputs would give another score. `bounds` are the lowest and the highest score that there can
    be, as far as that is known. Of an image that would give `function` more than `most_patches` rows, the features of
    neighbouring patches are averaged until it does not; `None`: it gets them all.
    """

    name: str
    pipe_name: str
    higher_is_better: bool
    scope: Scope | None
    soft_failure_value: float | None
    inputs: Literal["patches", "objects"]
    function: str
    summary: str
    all_source_patches: bool = False
    settings_of: str | None = None
    version: int = 1
    bounds: tuple[float, float] = (-math.inf, math.inf)
    most_patches: int | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the runtime parameters that the metric reads."""
        return ("patch_mask_threshold",) if self.inputs == "patches" else ("bg_color",)

    @property
    def direction(self) -> str:
        """In words."""
        return "higher is better" if self.higher_is_better else "lower is better"

    def load(self) -> Callable[..., Any]:
        """Import the metric's function."""
        function: Callable[..., Any] = load_object(self.function)
        return function


@dataclass(frozen=True)
class PipeSpec:
    """A pipe: its name in configurations, the fixture that holds it, and its class (``"module:name"``)."""

    name: str
    fixture: str
    cls: str
    needs_model_path: bool = False

    def load(self) -> Callable[..., Any]:
        """Import the pipe's class."""
        cls: Callable[..., Any] = load_object(self.cls)
        return cls


PIPES: Mapping[str, PipeSpec] = {
    pipe.name: pipe
    for pipe in (
        PipeSpec("clip-pipe", "clip_pipe", "pytest_editeval.vision.pipes:CLIPPipe"),
        PipeSpec("dino-v3-pipe", "dinov3_pipe", "pytest_editeval.vision.pipes:DINOv3Pipe", needs_model_path=True),
        PipeSpec("sam-pipe", "sam_segmenter", "pytest_editeval.vision.segmenter:SAMSegmenter", needs_model_path=True),
    )
}

BUILTIN_METRICS = (
    MetricSpec(
        name="emd",
        pipe_name="clip-pipe",
        higher_is_better=False,
        scope="unedit_area",
        soft_failure_value=None,
        inputs="patches",
        all_source_patches=True,
        function="pytest_editeval.vision.metrics:earth_movers_distance",
        summary="earth mover's distance from all source patches to the region's patches of the edited image",
        bounds=(0, math.inf),
        most_patches=EXACT_PATCHES,
    ),
    MetricSpec(
        name="region_emd",
        pipe_name="clip-pipe",
        higher_is_better=False,
        scope="unedit_area",
        soft_failure_value=None,
        inputs="patches",
        settings_of="emd",
        function="pytest_editeval.vision.metrics:earth_movers_distance",
        summary="earth mover's distance between the region's patches of both images; 0 where nothing changed",
        bounds=(0, math.inf),
        most_patches=EXACT_PATCHES,
    ),
    MetricSpec(
        name="dinov3_structure_similarity",
        pipe_name="dino-v3-pipe",
        higher_is_better=True,
        scope="edit_area",
        soft_failure_value=0.0,
        inputs="patches",
        function="pytest_editeval.vision.metrics:structure_similarity",
        summary="agreement of the patch-by-patch cosine matrices of the region in both images",
        bounds=(0, 1),
    ),
    MetricSpec(
        name="sam_clip_cls_sim",
        pipe_name="clip-pipe",
        higher_is_better=True,
        scope="edit_area",
        soft_failure_value=None,
        inputs="objects",
        function="pytest_editeval.vision.metrics:object_similarity",
        summary="cosine of the CLIP CLS features of paired objects that SAM isolated",
        bounds=(-1, 1),
    ),
    MetricSpec(
        name="sam_dino_cls_sim",
        pipe_name="dino-v3-pipe",
        higher_is_better=True,
        scope="edit_area",
        soft_failure_value=None,
        inputs="objects",
        function="pytest_editeval.vision.metrics:object_similarity",
        summary="cosine of the DINOv3 CLS features of paired objects that SAM isolated",
        bounds=(-1, 1),
    ),
)

_registered: dict[str, MetricSpec] = {spec.name: spec for spec in BUILTIN_METRICS}


def register_metric(spec: MetricSpec) -> MetricSpec:
    """Add a metric; a name can be registered once (`MetricError`)."""
    if _registered.setdefault(spec.name, spec) != spec:
        raise MetricError(f"metric {spec.name!r} is registered twice")
    return spec


@cache
def _load_entry_points() -> Mapping[str, str]:
    """Register other packages' metrics; what is wrong with those that cannot be, by name."""
    broken: dict[str, str] = {}
    of_package: dict[str, str] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        found = f"metric {entry.name!r} ({entry.value})"
        try:
            spec = entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever another package's module raises at import
            from pytest_editeval.faults import fault_line

            broken[entry.name] = f"{found} cannot be loaded: {fault_line(error, (__file__, metadata.__file__))}"
            continue
        if not isinstance(spec, MetricSpec):
            broken[entry.name] = f"{found} cannot be loaded: it is {type(spec).__name__}, not a MetricSpec"
        elif _registered.setdefault(spec.name, spec) == spec:
            of_package[spec.name] = entry.value
        elif spec.name in of_package:
            # Which of the two came first says nothing, and a gate must not depend on it.
            others = f"{of_package[spec.name]} and {entry.value}"
            broken[spec.name] = f"metric {spec.name!r} cannot be loaded: {others} are two metrics of that name"
        else:
            broken[f"{spec.name} of {entry.value}"] = f"{found} cannot be loaded: the name {spec.name!r} is taken"
    for name in broken.keys() & of_package.keys():
        del _registered[name]
    return broken


def metrics() -> Mapping[str, MetricSpec]:
    """Every known metric by name, other packages' included."""
    _load_entry_points()
    return _registered


def broken_metrics() -> Mapping[str, str]:
    """What is wrong with the metrics of other packages that could not be loaded, in a line each, by name."""
    return _load_entry_points()


def get_metric(name: str) -> MetricSpec:
    """The metric of that name; `UnknownMetricError` (a `ValueError`) names the known ones."""
    known = metrics()
    if name not in known:
        raise UnknownMetricError(f"{unknown_metric(name)}\n  {known_names(known)}")
    return known[name]


def unknown_metric(name: object, known: Collection[str] = ()) -> str:
    """Why there is no metric of that name (among the `known` ones, where not all are meant)."""
    return broken_metrics().get(str(name)) or unknown("metric", name, known or metrics())


def load_object(reference: str) -> Any:
    """The object behind ``"module:name"``."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
