"""By what a feature or a score is known: everything that can change it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pytest_editeval.device import kind_of
from pytest_editeval.digests import code_of, digest_of, own_code, versions
from pytest_editeval.needs import Need, ObjectNeed, ScoreRequest

if TYPE_CHECKING:
    from pytest_editeval.vision.backbones import Backbone
    from pytest_editeval.vision.segmenter import SAMSegmenter


def feature_key(need: Need, backbone: Backbone, segmenter: SAMSegmenter | None) -> str | None:
    """The key of an image's or an object's features; `None` where a model's code has no digest."""
    models = _models(backbone, segmenter)
    if models is None:
        return None
    rest = (need.box, need.bg_color) if isinstance(need, ObjectNeed) else need.resized_to
    return digest_of({**models, "image": need.image, "rest": rest})


def score_key(request: ScoreRequest, backbone: Backbone, segmenter: SAMSegmenter | None) -> str | None:
    """The key of a score; `None` where a model's or the metric's code has no digest."""
    models = _models(backbone, segmenter if request.metric.inputs == "objects" else None)
    code = code_of(request.metric.function)
    if models is None or code is None:
        return None
    metric = {**asdict(request.metric), "summary": None, "code": code}
    patches = request.metric.inputs == "patches"
    region = (request.mask_mode, request.patch_mask_threshold) if patches else request.bg_color
    images = (request.source, request.edited)
    return digest_of({**models, "metric": metric, "images": images, "coords": request.coords, "region": region})


def is_ours(model: object) -> bool:
    """Whether a model is of a class of this package; the code of other classes has no digest."""
    return type(model).__module__.startswith("pytest_editeval.")


def _models(backbone: Backbone, segmenter: SAMSegmenter | None) -> dict[str, object] | None:
    if not is_ours(backbone) or not (segmenter is None or is_ours(segmenter)):
        return None
    return {
        "libraries": {**versions(), **backbone.libraries},
        "code": own_code(),
        "backbone": (type(backbone).__name__, backbone.fingerprint, kind_of(backbone.device)),
        "segmenter": segmenter and (type(segmenter).__name__, segmenter.fingerprint, kind_of(segmenter.device)),
    }
