"""What travels between the run and the actors of a cluster: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_editeval.errors import EditEvalError
from pytest_editeval.locations import Location
from pytest_editeval.needs import ImageRef, Need, ScoreRequest
from pytest_editeval.results import Score

if TYPE_CHECKING:
    from pytest_editeval.vision.backbones import Backbone
    from pytest_editeval.vision.segmenter import SAMSegmenter

Outcome = Score | Exception


@dataclass(frozen=True)
class Model:
    """A backbone or a segmenter: its key, its class (``"module:name"``) and the settings of its constructor.

    `libraries` are versions of what it needs beside the libraries that every one does.
    """

    key: str
    cls: str
    settings: Mapping[str, Any]
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """Where an actor has an image from: `data` (a file's bytes, or Ray's reference to them), else `location`.

    A derived image is made in the run, and travels as `data`. `error` is why the run could not read it.
    """

    name: str
    location: Location | None = None
    data: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Task:
    """Requests for one actor, with the models and the images they need."""

    requests: Sequence[ScoreRequest]
    along: Sequence[Need]
    models: Sequence[Model]
    pictures: Mapping[ImageRef, Picture]


@dataclass(frozen=True)
class Reply:
    """An outcome for each request, and what the actor did and noticed since its last reply, by a model's key."""

    outcomes: Sequence[Outcome]
    counts: Mapping[str, int] = field(default_factory=dict)
    notices: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """Where an actor runs, and what is installed there."""

    node_id: str
    address: str
    code: str
    versions: Mapping[str, str]


def check_versions(address: str, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """`EditEvalError` for a library that a node has in another version; scores are known by those here."""
    for name, own in here.items():
        found = there.get(name, "unknown")
        if own.partition("+")[0] != found.partition("+")[0]:  # a build for a GPU and one for a CPU are one version
            raise EditEvalError(f"Ray node {address} has {name} {found}, this process {own}; install the same")


def describe(key: str, model: Backbone | SAMSegmenter) -> Model:
    """A model as plain data; an `EditEvalError` says which cannot travel."""
    from pytest_editeval.vision.checkpoints import is_local, local_path
    from pytest_editeval.vision.identity import is_ours

    cls = type(model)
    if not is_ours(model):
        raise EditEvalError(
            f"{cls.__module__}.{cls.__qualname__} cannot travel to Ray's actors: with --editeval-ray the pipes and "
            "the segmenter are of this package's classes"
        )
    settings = dict(model.settings)
    if is_local(model.model_path):
        settings["model_path"] = str(local_path(model.model_path).absolute())  # an actor has another working directory
    return Model(key, f"{cls.__module__}:{cls.__qualname__}", settings, model.libraries)
