"""The window of scores that are worked out ahead: its order, its bounds, and what it makes of wrong predictions."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import picture
from pytest_editeval import CLIPPipe
from pytest_editeval.config import load_profile
from pytest_editeval.errors import ImageError
from pytest_editeval.scoring.ahead import CHUNKS_AHEAD, LEAST_CHUNK, UNOPENED, Upcoming, Wanted
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.pool import PipePool
from pytest_editeval.vision import images as images_module

WINDOW = CHUNKS_AHEAD * LEAST_CHUNK


class Run:
    """A run of checks, each of one source and one edit, without pytest."""

    def __init__(self, folder: Path, models: Path, *, memory_bytes: int = 1 << 30, side: int = 48) -> None:
        self.folder, self.side = folder, side
        self.pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
        self.editeval = EditEval(PipePool(load_profile(None), "cpu"), lambda _: None, None, memory_bytes)
        self.pipe.scorer = self.editeval.scorer
        self.asked: list[int] = []
        self.template = self.pipe.request("emd", UNOPENED, UNOPENED)

    def check(self, index: int) -> Wanted:
        paths = [self.folder / f"{name}{index}.png" for name in ("source", "edited")]
        for seed, path in enumerate(paths):
            if not path.exists():
                picture(2 * index + seed, self.side, self.side).save(path)
        return Wanted(self.template, *paths)

    def following(self, start: int, count: int) -> Iterator[Upcoming]:
        def upcoming(index: int) -> Upcoming:
            def foreseen(_: Any) -> Wanted:
                self.asked.append(index)
                return self.check(index)

            return foreseen

        return iter([upcoming(index) for index in range(start, count)])

    def score(self, index: int, count: int) -> float | None:
        promise = self.editeval.ahead.ask(
            self.check(index), lambda _: None, lambda: self.following(index + 1, count), lambda _: ()
        )
        return promise.score.result(60).value


@pytest.fixture
def run(tmp_path: Path, models: Path) -> Iterator[Run]:
    run = Run(tmp_path, models)
    yield run
    run.editeval.close()


def test_the_window_is_bounded_and_moves_on(run: Run) -> None:
    count = 80  # 160 images
    expected = [run.pipe(*(image.source, image.edited)) for image in map(run.check, range(3))]
    assert run.score(0, count) == pytest.approx(expected[0], rel=1e-4)
    assert len(run.asked) <= WINDOW // 2 + 1
    for index in range(1, 3):
        assert run.score(index, count) == pytest.approx(expected[index], rel=1e-4)
    for index in range(3, count):
        run.score(index, count)
        assert max(run.asked) - index <= WINDOW // 2 + 1
    assert run.asked == list(range(1, count))  # nothing is foreseen twice
    assert run.editeval.scorer.counts["CLIP"] == 2 * count


def test_what_is_passed_over_is_forgotten(run: Run) -> None:
    for index in (0, 5, 6, 30):
        run.score(index, 40)
    assert next(iter(run.editeval.ahead._promised)) == run.check(30)
    assert run.asked == list(range(1, 40))


def test_a_check_that_was_not_foreseen_begins_a_new_window(run: Run) -> None:
    run.score(0, 4)
    surprise = run.score(20, 24)
    assert surprise == pytest.approx(run.pipe(run.check(20).source, run.check(20).edited), rel=1e-4)
    assert run.asked == [1, 2, 3, 21, 22, 23]


def test_a_promise_is_for_its_very_request(run: Run) -> None:
    """The same images with another parameter are another score, though it was foreseen otherwise."""
    run.score(0, 3)
    other = replace(run.check(1), request=replace(run.template, coords=((5, 5, 20, 20),), mask_mode="inner"))
    ask = run.editeval.ahead.ask
    found = ask(other, lambda _: None, lambda: iter(()), lambda _: ()).score.result(60).value
    assert found == pytest.approx(run.pipe(other.source, other.edited, [(5, 5, 20, 20)], "inner"), rel=1e-4)
    assert found != run.score(1, 3)


def test_an_image_that_is_missing_is_its_own_checks_error(run: Run) -> None:
    gone = run.check(1).edited
    assert isinstance(gone, Path)
    gone.unlink()
    wanted = [Wanted(run.template, run.folder / "source1.png", gone), run.check(2)]
    run.check(0)
    promise = run.editeval.ahead.ask(
        run.check(0), lambda _: None, lambda: iter([lambda _, one=one: one for one in wanted]), lambda _: ()
    )
    assert promise.score.result(60).value is not None
    broken, fine = (run.editeval.ahead._promised[one] for one in wanted)
    assert broken.source.result(60).size == (48, 48)
    with pytest.raises(ImageError, match="image not found"):
        broken.edited.result(60)
    with pytest.raises(ImageError, match="image not found"):
        broken.score.result(60)
    assert fine.score.result(60).value is not None


def test_images_that_several_checks_share_are_opened_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks of each edit, all in one part of the window: opening twice at the same time helps nobody."""
    opened: Counter[str] = Counter()
    read = images_module.read_bytes

    def counted(location: Any, most: int) -> bytes:
        opened[Path(location).name] += 1
        return read(location, most)

    monkeypatch.setattr(images_module, "read_bytes", counted)
    wanted = [
        replace(run.check(index), request=replace(run.template, patch_mask_threshold=threshold))
        for index in range(4)
        for threshold in (0.1, 0.2, 0.3)
    ]
    following = [lambda _, one=one: one for one in wanted[1:]]
    run.editeval.ahead.ask(wanted[0], lambda _: None, lambda: iter(following), lambda _: ()).score.result(60)
    for one in wanted[1:]:
        run.editeval.ahead._promised[one].score.result(60)
    assert opened == Counter(image.name for one in wanted[::3] for image in one.locations if isinstance(image, Path))


def test_decoded_images_in_memory_are_bounded(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 checks of images of 0.75 MB; the bound is 4 MB, so at most 5 and those being opened are there at once."""
    alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    most = 0
    decode = images_module.decode

    def counted(data: bytes, name: str) -> Any:
        nonlocal most
        image = decode(data, name)
        alive[id(image)] = image
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(images_module, "decode", counted)
    run = Run(tmp_path, models, memory_bytes=8_000_000, side=500)
    for index in range(24):
        run.score(index, 24)
    run.editeval.close()
    assert most <= 16


def test_memory_does_not_grow_with_the_number_of_checks(tmp_path: Path, models: Path) -> None:
    """Also while Python does not look for circles of objects, which in a long session it seldom does."""
    run = Run(tmp_path, models, memory_bytes=1_000_000)
    sizes = []
    tracemalloc.start()
    gc.collect()
    gc.disable()
    try:
        for index in range(90):
            run.score(index, 90)
            if index in (44, 89):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        gc.enable()
        tracemalloc.stop()
    run.editeval.close()
    assert run.editeval.scorer.memory.nbytes <= 1_000_000
    assert sizes[1] - sizes[0] < 400_000
