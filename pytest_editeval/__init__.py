"""Score image edits with CLIP, DINOv3 and SAM, as pytest items or from Python.

Names are imported on first use, so that `import pytest_editeval` costs nothing in a pytest run without edit cases.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "CLIPMixin": "vision.backbones",
    "CLIPPipe": "vision.pipes",
    "DINOv3Mixin": "vision.backbones",
    "DINOv3Pipe": "vision.pipes",
    "MaskProcessor": "regions",
    "MetricSpec": "registry",
    "Reason": "results",
    "SAMSegmenter": "vision.segmenter",
    "Score": "results",
    "SoftFailure": "results",
    "get_metric": "registry",
    "load_results": "frames",
    "metrics": "registry",
    "register_metric": "registry",
    "to_frame": "frames",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from pytest_editeval.frames import load_results as load_results
    from pytest_editeval.frames import to_frame as to_frame
    from pytest_editeval.regions import MaskProcessor as MaskProcessor
    from pytest_editeval.registry import MetricSpec as MetricSpec
    from pytest_editeval.registry import get_metric as get_metric
    from pytest_editeval.registry import metrics as metrics
    from pytest_editeval.registry import register_metric as register_metric
    from pytest_editeval.results import Reason as Reason
    from pytest_editeval.results import Score as Score
    from pytest_editeval.results import SoftFailure as SoftFailure
    from pytest_editeval.vision.backbones import CLIPMixin as CLIPMixin
    from pytest_editeval.vision.backbones import DINOv3Mixin as DINOv3Mixin
    from pytest_editeval.vision.pipes import CLIPPipe as CLIPPipe
    from pytest_editeval.vision.pipes import DINOv3Pipe as DINOv3Pipe
    from pytest_editeval.vision.segmenter import SAMSegmenter as SAMSegmenter


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
