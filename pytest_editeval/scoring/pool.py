"""Pipes and segmenters by their settings: equal settings share one object, and so one loaded model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_editeval.device import gpu_count, resolve_device, spread
from pytest_editeval.errors import EditEvalError
from pytest_editeval.profiles import PipeSettings, Profile, SamSettings
from pytest_editeval.registry import PIPES

if TYPE_CHECKING:
    from pytest_editeval.scoring.store import Store
    from pytest_editeval.vision.pipes import Pipe
    from pytest_editeval.vision.segmenter import SAMSegmenter

LATER = ("domain", "architecture", "quantize", "compile", "device_map", "max_memory", "tile")
"""Settings that a pipe of another package may not know: it gets them where they are set."""


class PipePool:
    """The pipes of a profile; `device`, unless it is auto, wins over the configuration's.

    `batch_size` is how many images go through a backbone at once, `None` what suits the device. `worker` is the number
    of this worker of xdist; workers share the GPUs. The `store` remembers the digests of large checkpoints.
    """

    def __init__(
        self,
        profile: Profile,
        device: str = "auto",
        batch_size: int | None = None,
        worker: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.profile = profile
        self.batch_size = batch_size
        self.device = None if device == "auto" else device
        self.worker = worker
        self._store = store
        self._pipes: dict[PipeSettings, Pipe] = {}
        self._segmenters: dict[SamSettings, SAMSegmenter] = {}

    def pipe(self, settings: PipeSettings) -> Pipe:
        """The pipe with these settings; its weights are not loaded yet."""
        if settings not in self._pipes:
            left_out = {"pipe_name", "sam"} | {name for name in LATER if getattr(settings, name) is None}
            options = {key: value for key, value in asdict(settings).items() if key not in left_out}
            pipe: Pipe = PIPES[settings.pipe_name].load()(**self._on_device(options))
            pipe.records = self._store
            pipe.sam_block = self.segmenter(settings.sam) if settings.sam else None
            self._pipes[settings] = pipe
        return self._pipes[settings]

    def segmenter(self, settings: SamSettings) -> SAMSegmenter:
        """The segmenter with these settings; its weights are not loaded yet."""
        if settings not in self._segmenters:
            segmenter: SAMSegmenter = PIPES["sam-pipe"].load()(**self._on_device(asdict(settings)))
            segmenter.records = self._store
            self._segmenters[settings] = segmenter
        return self._segmenters[settings]

    def default_pipe(self, pipe_name: str) -> Pipe:
        """What the pipe's fixture holds: the profile's first settings for it, preferring some with a segmenter."""
        configured = [entry.pipe for entry in self.profile.metrics.values() if entry.pipe.pipe_name == pipe_name]
        if not configured:
            raise EditEvalError(f"profile {self.profile.name} configures no metric of {pipe_name}")
        return self.pipe(next((settings for settings in configured if settings.sam), configured[0]))

    def default_segmenter(self) -> SAMSegmenter:
        """What the segmenter's fixture holds: the profile's first sam block."""
        blocks = [entry.pipe.sam for entry in self.profile.metrics.values() if entry.pipe.sam]
        if not blocks:
            raise EditEvalError(f"profile {self.profile.name} has no sam block")
        return self.segmenter(blocks[0])

    def _on_device(self, options: dict[str, Any]) -> dict[str, Any]:
        device = self.device or options["device"]
        if self.worker is not None:
            device = spread(resolve_device(device), self.worker, gpu_count())
        return {**options, "device": device, "batch_size": self.batch_size}
