"""SAM's embeddings of images: one for each image and segmenter, whoever asks for it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from threading import Lock

from pytest_editeval.needs import ImageRef
from pytest_editeval.vision.features import FeatureMemory
from pytest_editeval.vision.identity import is_ours
from pytest_editeval.vision.images import LoadedImage
from pytest_editeval.vision.segmenter import Embedding, SAMSegmenter


class Embedder:
    """Embeds images in batches; threads that want the same image at the same time share one pass of the encoder.

    `count` is told how many images were embedded.
    """

    def __init__(self, memory: FeatureMemory, count: Callable[[int], None]) -> None:
        self._memory = memory
        self._count = count
        self._lock = Lock()
        self._running: dict[tuple[str, ImageRef], Future[Embedding]] = {}

    def embed(
        self, key: str, segmenter: SAMSegmenter, refs: Iterable[ImageRef], images: Mapping[ImageRef, LoadedImage]
    ) -> dict[ImageRef, Embedding]:
        """The embeddings of the images; what is remembered, or another thread is at, is not embedded again."""
        found: dict[ImageRef, Embedding] = {}
        mine: dict[ImageRef, Future[Embedding]] = {}
        others: dict[ImageRef, Future[Embedding]] = {}
        with self._lock:
            for ref in refs:
                known = self._memory.get((key, ref))
                if known is not None:
                    found[ref] = known
                elif (key, ref) in self._running:
                    others[ref] = self._running[key, ref]
                else:
                    mine[ref] = self._running[key, ref] = Future()
        try:
            pixels = [images[ref].pixels for ref in mine]
            # A class of another package may have its own way with one image.
            made = segmenter.embed_all(pixels) if is_ours(segmenter) else [segmenter.embed(image) for image in pixels]
            fresh = dict(zip(mine, made, strict=True))
        except BaseException as error:  # whatever it is, nobody may wait for ever
            for ref, future in mine.items():
                del self._running[key, ref]
                future.set_exception(error)
            raise
        self._count(len(mine))
        for ref, future in mine.items():
            self._memory.put((key, ref), fresh[ref])
            del self._running[key, ref]
            future.set_result(fresh[ref])
        return found | fresh | {ref: future.result() for ref, future in others.items()}
