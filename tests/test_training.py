"""What the training of the embedded checkpoints relies on, and no figure would show."""

from __future__ import annotations

import struct
import zlib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import ot
import pytest
import torch

TRAINING = Path(__file__).parents[1] / "training"


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of training/, which is no package and not installed."""
    monkeypatch.syspath_prepend(str(TRAINING))

    def load(name: str) -> ModuleType:
        import importlib

        return importlib.import_module(name)

    return load


class Noise:
    """A batch of random numbers, for a run in another process."""

    def __call__(self, rng: np.random.Generator, step: int) -> tuple[torch.Tensor, ...]:
        return (torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)), torch.tensor(step))


class Before:
    """The last batch, as what a loss may compare with."""

    def __init__(self) -> None:
        self.batch = torch.zeros(4, 3)

    def state_dict(self) -> dict[str, Any]:
        return {"batch": self.batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batch = state["batch"]


def trained(common: ModuleType, work: Path, stops: list[int], *, muon: bool) -> dict[str, torch.Tensor]:
    """Weights after twelve steps with a stop, as by a signal after a checkpoint, at each of `stops`."""
    for stop in [*stops, 12]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 2))
        args = Namespace(work=work, steps=12, seed=5, export_only=False)
        before = Before()
        run = common.Run("line", args, model, rate=0.1, decay=0.01, muon=muon, memory=before)
        for batch, step in run.batches(Noise()):
            assert int(step) == run.step
            run.update((model(batch) + model(before.batch) + torch.rand(2)).square().mean(), {"loss": 1.0})
            before.batch = batch
            if run.step == stop:
                run.save()
                break
    return model.state_dict()


@pytest.mark.parametrize("muon", [False, True])
def test_a_run_that_was_stopped_gives_the_weights_of_one_that_was_not(
    training: Callable[[str], ModuleType], tmp_path: Path, *, muon: bool
) -> None:
    common = training("common")
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = trained(common, tmp_path / "whole", [], muon=muon)
    parts = trained(common, tmp_path / "parts", [3, 8], muon=muon)
    for name, weight in whole.items():
        assert torch.equal(weight, parts[name])
    log = (tmp_path / "whole" / "line.csv").read_text("utf-8").splitlines()
    assert log[0] == "step,minutes,loss"
    assert log[-1].startswith("12,")


def resource_collection(files: dict[str, bytes], *, packed: bool) -> bytes:
    """A Qt resource collection of version 1 with one folder, as Qt's own compiler lays it out."""
    names, data = b"", b""

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    nodes = struct.pack(">IHII", 0, 2, 1, 1)
    nodes += struct.pack(">IHII", name("pictures"), 2, len(files), 2)
    for text, content in files.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if packed else content
        nodes += struct.pack(">IHHHI", name(text), int(packed), 0, 0, len(data))
        data += struct.pack(">I", len(stored)) + stored
    head = struct.calcsize(">4s4I")
    starts = head, head + len(nodes), head + len(nodes) + len(data)
    return struct.pack(">4s4I", b"qres", 1, *starts) + nodes + data + names


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_a_resource_collection(training: Callable[[str], ModuleType], tmp_path: Path, *, packed: bool) -> None:
    files = {"a.webp": b"first", "übung.webp": b"second" * 50}
    path = tmp_path / "some.rcc"
    path.write_bytes(resource_collection(files, packed=packed))
    found = dict(training("qt_resources").files(path))
    assert found == {f"pictures/{name}": content for name, content in files.items()}


def test_another_file_is_no_resource_collection(training: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "some.rcc"
    path.write_bytes(b"PK" + bytes(40))
    with pytest.raises(ValueError, match="not a resource collection"):
        list(training("qt_resources").files(path))


def test_only_free_pictures_are_taken(training: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "copyright"
    licences = {
        "pd.jpg": "public-domain",
        "zero.jpg": "CC0-1.0",
        "by.jpg\n       also.png": "CC-BY-2.0",
        "share.jpg": "CC-BY-SA-3.0",
        "nc.jpg": "CC-BY-NC-2.0",
        "both.jpg": "CC-BY-3.0 and GPL-3",
        "gpl.jpg": "GPL-3+",
        "choice.jpg": "public-domain or GFDL",
    }
    path.write_text(
        "Format: x\n\n"
        + "\n\n".join(f"Files: {files}\nCopyright: someone\nLicense: {name}" for files, name in licences.items())
        + "\n\nLicense: CC0-1.0\n text\n",
        "utf-8",
    )
    assert training("data")._free_files(path) == {"pd", "zero", "by", "also"}


def test_the_ranking_loss_compares_the_costs_of_the_metric(training: Callable[[str], ModuleType]) -> None:
    clip = training("train_clip")
    rng = np.random.default_rng(0)
    shape = (2 + clip.LEAKS, clip.SCENES, 49, 8)
    patches = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    free = torch.from_numpy(rng.random((clip.SCENES, 49)) < 0.7)
    cost = clip.Pooled._cost(patches[0], patches[1], free)
    for scene in range(clip.SCENES):
        source, kept = patches[0, scene].numpy(), patches[1, scene][free[scene]].numpy()
        squares = ((source[:, None].astype(np.float64) - kept[None]) ** 2).sum(-1)
        assert float(cost[scene]) == pytest.approx(ot.emd2([], [], squares), rel=1e-5)

    # Leaks far from the source, good edits near it: the loss is small, and the other way round it is not.
    kinds = torch.from_numpy(np.stack([rng.permutation(clip.KINDS)[: clip.LEAKS] for _ in range(clip.SCENES)]))
    near, far = patches[:1] + 0.1 * torch.randn(shape), patches[:1] + 9.0
    right = torch.cat([patches[:1], near[1:2], far.expand(clip.LEAKS, -1, -1, -1)])
    wrong = torch.cat([patches[:1], far, near[2:]])
    losses = [clip.Pooled()(rows.flatten(0, 1), free, kinds) for rows in (right, wrong)]
    assert losses[0][0] < 0.01 < 0.5 < losses[1][0]
    assert all(rate == 1 for rate in losses[0][1])
    assert all(rate == 0 for rate in losses[1][1])


def test_a_small_sam_grows(training: Callable[[str], ModuleType]) -> None:
    sam = training("train_sam")
    small, large = sam.build_sam(sam.SIDE // 2), sam.build_sam()
    weights: dict[str, Any] = sam.enlarged(small.state_dict(), large.state_dict())
    large.load_state_dict(weights)
    old, new = small.image_encoder.pos_embed, large.image_encoder.pos_embed
    assert new.shape[1:3] == (2 * old.shape[1], 2 * old.shape[2])
    # A position table that is the same everywhere stays so.
    torch.nn.init.constant_(old, 0.25)
    flat = sam.enlarged(small.state_dict(), large.state_dict())["image_encoder.pos_embed"]
    assert torch.allclose(flat, torch.full_like(new, 0.25))


def test_each_weight_has_one_optimizer(training: Callable[[str], ModuleType]) -> None:
    sam = training("train_sam").build_sam()
    names = {id(parameter): name for name, parameter in sam.named_parameters()}
    muon, adam = training("common").optimizers(sam, 1e-3, 0.1, muon=True)
    matrices, others = (
        [names[id(p)] for group in optimizer.param_groups for p in group["params"]] for optimizer in (muon, adam)
    )
    assert sorted(matrices + others) == sorted(names.values())
    assert "image_encoder.blocks.0.attn.qkv.weight" in matrices
    # Tables of positions, convolutions and norms are no matrices that turn one activation into another.
    assert {"image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h"} <= set(others)
    assert {"image_encoder.patch_embed.proj.weight", "image_encoder.blocks.0.norm1.weight"} <= set(others)
    decays = {names[id(p)]: group["weight_decay"] for group in adam.param_groups for p in group["params"]}
    assert decays["image_encoder.blocks.0.norm1.weight"] == 0
    assert decays["image_encoder.patch_embed.proj.weight"] == 0.1
    assert len(training("common").optimizers(sam, 1e-3, 0.1, muon=False)) == 1


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A cache of two photographs and twenty-six cut-outs, discs of different sizes."""
    rng = np.random.default_rng(0)
    for number in range(2):
        side = (700, 300)[number]
        np.save(tmp_path / f"photo-{number}.npy", rng.integers(0, 256, (side, side, 3), np.uint8))
    cutouts = np.zeros((26, 160, 160, 4), np.uint8)
    rows, columns = np.mgrid[:160, :160] - 79.5
    for number, cutout in enumerate(cutouts):
        cutout[..., :3] = rng.integers(0, 256, 3)
        cutout[..., 3] = 255 * (np.hypot(rows, columns) < 28 + 2 * number)
    np.save(tmp_path / "cutouts.npy", cutouts)
    np.save(tmp_path / "photographed.npy", cutouts[::5])
    return tmp_path


def test_a_thing_is_cut_out_of_a_photograph(training: Callable[[str], ModuleType]) -> None:
    photographed = training("photographed")
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:200, :320]
    disc = np.hypot((rows - 100) / 60, (columns - 150) / 90) < 1
    hole = np.hypot(rows - 100, columns - 150) < 6
    photo = rng.normal((60, 90, 60), 10, (200, 320, 3))
    photo[disc & ~hole] = rng.normal((200, 80, 60), 10, ((disc & ~hole).sum(), 3))
    found = photographed.cut_out(photo.clip(0, 255).astype(np.uint8), (50, 30, 250, 170))
    assert found.shape == (400, 640, 4)
    alpha = found[::2, ::2, 3] > 127
    assert (alpha & disc).sum() / (alpha | disc).sum() > 0.95
    assert alpha[hole].all()


def test_the_first_of_two_frames(training: Callable[[str], ModuleType]) -> None:
    strip = np.zeros((20, 60, 4), np.uint8)
    strip[5:15, 5:25] = strip[5:15, 35:55] = (9, 8, 7, 255)
    strip[18, 2, 3] = 255  # a bubble
    found = training("photographed").first_frame(strip)
    assert found.shape == (20, 30, 4)
    assert (found[..., 3] > 0).sum() == 200
    assert found[18, 2, 3] == 0


def test_a_stretched_placement_keeps_centre_and_area(training: Callable[[str], ModuleType]) -> None:
    data, sam = training("data"), training("train_sam")
    matrix = data.placement(np.random.default_rng(3), 90.0, (70.0, 40.0), 1.0, flip=True)
    wide = sam.stretched(matrix, 2.25)
    middle = np.array([data.CUTOUT / 2, data.CUTOUT / 2, 1])
    assert wide @ middle == pytest.approx([70, 40], abs=1e-3)
    assert np.linalg.det(wide[:, :2]) == pytest.approx(np.linalg.det(matrix[:, :2]), rel=1e-5)
    # A step along the cut-out's width is 1.5 times as long as it was, one along its height 1.5 times shorter.
    lengths = np.linalg.norm(wide[:, :2], axis=0) / np.linalg.norm(matrix[:, :2], axis=0)
    assert lengths == pytest.approx([1.5, 1 / 1.5], rel=1e-5)


def test_limbs_are_thin_and_fill_their_square(training: Callable[[str], ModuleType], work: Path) -> None:
    data = training("data")
    pictures = data.Pictures(work)
    parts = []
    for seed in range(40):
        rgba = pictures.limbs(np.random.default_rng(seed))
        assert rgba.shape == (data.CUTOUT, data.CUTOUT, 4)
        ys, xs = np.nonzero(rgba[..., 3])
        assert max(np.ptp(ys), np.ptp(xs)) + 1 == pytest.approx(data.CUTOUT - 2, abs=1)
        parts.append(data.solidity(rgba[..., 3]))
    disc = data.solidity(pictures.cutouts[0][..., 3])
    assert disc == pytest.approx(np.pi / 4, abs=0.01)
    assert np.mean(parts) < disc / 2


def test_objects_to_be_outlined_are_mostly_visible(training: Callable[[str], ModuleType], work: Path) -> None:
    data, sam = training("data"), training("train_sam")
    pictures, hidden = data.Pictures(work), 0
    for seed in range(30):
        wholes: list[np.ndarray[Any, Any]] = []

        def recorded(rgba: Any, matrix: Any, height: int, width: int, found: Any = wholes) -> Any:
            layer = data.warp(rgba, matrix, height, width)
            found.append(layer[..., 3] > 127)
            return layer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sam, "PLAIN", 0)
            patch.setattr(sam, "warp", recorded)
            patch.setattr(sam.cv2, "GaussianBlur", lambda layer, *_: layer)
            canvas, masks = sam.scene(pictures, np.random.default_rng(seed), 256)
        assert len(masks) <= 3
        for mask in masks:
            assert mask.shape == canvas.shape[:2]
            visible = [float((whole & (mask > 0)).sum() / whole.sum()) for whole in wholes if whole[mask > 0].all()]
            assert max(visible) >= sam.HIDDEN
            hidden += max(visible) < 1
    assert hidden > 3


def test_where_nothing_stands_out_the_whole_box_is_the_object(
    training: Callable[[str], ModuleType], work: Path
) -> None:
    data, sam = training("data"), training("train_sam")
    pictures = data.Pictures(work)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        before = pictures.background(rng, 200, 256)
        canvas, masks = sam.plain(pictures, rng, before.copy())
        assert canvas.shape == before.shape
        assert 1 <= len(masks) <= 2
        for mask in masks:
            ys, xs = np.nonzero(mask)
            assert data.solidity(mask * 255) == 1
            assert 0.19 * 200 - 1 <= np.ptp(ys) + 1 <= 0.75 * 200
            assert 0.19 * 256 - 1 <= np.ptp(xs) + 1 <= 0.75 * 256


def test_objects_are_cut_out_as_the_package_does_it(
    training: Callable[[str], ModuleType], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for bfloat16, and for how a picture is made smaller."""
    from PIL import Image

    from pytest_editeval.vision.objects import pad_to_square
    from pytest_editeval.vision.segmenter import SAMSegmenter

    data, objects = training("data"), training("objects")
    pictures, rng = data.Pictures(work), np.random.default_rng(4)
    placed = [
        one
        for _ in range(4)
        for one in objects.things(pictures, rng, np.full((320, 320, 3), rng.integers(256, size=3), np.uint8), 3)
    ]
    monkeypatch.setattr(objects, "DOUBT", 0.0)
    found = objects.Cutter(objects.SAM)([one.source for one in placed], [one.box for one in placed], rng)
    segmenter = SAMSegmenter(model_path=str(objects.SAM), device="cpu")
    for one, crop in zip(placed, found, strict=True):
        own = segmenter.extract_object(Image.fromarray(one.source), one.box)
        assert isinstance(own, np.ndarray)
        apart = np.abs(pad_to_square(own, objects.SIDE).astype(int) - crop.astype(int)).max(2) > 30
        assert apart.mean() < 0.03


def test_noise_makes_what_is_cut_out_of_both_pictures_differ(
    training: Callable[[str], ModuleType], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, objects = training("data"), training("objects")
    pictures, cutter = data.Pictures(work), objects.Cutter(objects.SAM)
    placed = objects.things(pictures, np.random.default_rng(1), np.full((256, 256, 3), 90, np.uint8), 4)
    apart = []
    for doubt in (0.0, 1.0):
        monkeypatch.setattr(objects, "DOUBT", doubt)
        rng = np.random.default_rng(2)
        sources, boxes = [one.source for one in placed], [one.box for one in placed]
        twice = zip(cutter(sources, boxes, rng), cutter(sources, boxes, rng), strict=True)
        apart.append(float(np.mean([(one != other).any(2).mean() for one, other in twice if one is not None])))
    assert apart[0] == 0 < 0.02 < apart[1]


def test_two_views_of_each_object_and_who_is_alike(training: Callable[[str], ModuleType], work: Path) -> None:
    data, objects = training("data"), training("objects")
    make = objects.Objects(data.Pictures(work))
    one, two, groups = make(np.random.default_rng(0), 12)
    again, _, _ = make(np.random.default_rng(0), 12)
    assert one.shape == two.shape == (12, 3, 224, 224)
    assert one.dtype == torch.uint8
    assert torch.equal(one, again)
    assert (groups.diff() >= 0).all()
    assert 2 < len(groups.unique()) < 12
    assert all(not torch.equal(*views) for views in zip(one, two, strict=True))


def test_cut_outs_of_one_kind_have_a_photographs_texture_now_and_then(
    training: Callable[[str], ModuleType], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, objects = training("data"), training("objects")
    pictures = data.Pictures(work)
    found = {}
    for textured in (0.0, 1.0):
        monkeypatch.setattr(objects, "TEXTURED", textured)
        found[textured] = objects.of_one_kind(pictures, np.random.default_rng(3), 3)
    for plain, other in zip(found[0.0], found[1.0], strict=True):
        assert np.array_equal(plain[..., 3], other[..., 3])
        assert not np.array_equal(plain[..., :3], other[..., :3])


def test_kept_views_are_those_that_were_made_and_are_framed_anew(
    training: Callable[[str], ModuleType], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, objects, pairs = training("data"), training("objects"), training("pairs")
    monkeypatch.setattr(pairs, "CHUNK", 6)
    with pytest.raises(SystemExit, match=r"objects-groups\.npy is not there yet: run training/pairs\.py"):
        pairs.Pairs(work)
    pairs.build(work, 13, 7)
    kept = pairs.Pairs(work)
    make = objects.Objects(data.Pictures(work))
    one, two, groups = make(np.random.default_rng((7, 1)), 6)
    assert np.array_equal(kept.views[6:, 0], one.permute(0, 2, 3, 1))
    assert np.array_equal(kept.views[6:, 1], two.permute(0, 2, 3, 1))
    assert np.array_equal(kept.groups[6:], groups + 6)
    assert len(kept.groups) == 12

    one, two, groups = kept(np.random.default_rng(0), 12)
    assert sorted(groups.tolist()) == kept.groups.tolist()
    assert groups.unique_consecutive().numel() == groups.unique().numel()
    again, *_ = kept(np.random.default_rng(1), 12)
    assert not torch.equal(one, again)
    monkeypatch.setattr(pairs, "framed", lambda view, rng: view)
    one, two, groups = kept(np.random.default_rng(0), 4)
    for first, second, group in zip(one, two, groups, strict=True):
        shown = {first.numpy().tobytes(), second.numpy().tobytes()}
        there = kept.views[kept.groups == int(group)].transpose(0, 1, 4, 2, 3)
        assert any(
            shown == {np.ascontiguousarray(view[..., ::step]).tobytes() for view in views}
            for views in there
            for step in (1, -1)
        )


def test_a_view_framed_anew_is_on_white_and_hardly_moved(training: Callable[[str], ModuleType]) -> None:
    pairs = training("pairs")
    view = np.full((224, 224, 3), 255, np.uint8)
    view[62:162, 62:162] = 0
    rng = np.random.default_rng(8)
    framed = [pairs.framed(view, rng) for _ in range(200)]
    dark = np.array([[*np.nonzero(one[..., 0] < 128)] for one in framed if not np.array_equal(one, view)], object)
    assert 120 <= len(dark) <= 160
    sides = np.array([[np.ptp(axis) + 1 for axis in one] for one in dark])
    middles = np.array([[(axis.min() + axis.max()) / 2 for axis in one] for one in dark])
    assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 1
    assert 0.03 < np.log(sides[:, 0] / 100).std() < 0.05
    assert middles.mean(0) == pytest.approx((111.5, 111.5), abs=1.5)
    assert middles.std(0) == pytest.approx((4.5, 4.5), abs=0.8)
    assert all(one[0, 0, 0] == 255 for one in framed)


def test_parts_of_a_picture_take_each_others_place(training: Callable[[str], ModuleType], work: Path) -> None:
    data, objects = training("data"), training("objects")
    pictures, rng = data.Pictures(work), np.random.default_rng(5)
    canvas = pictures.background(rng, 256, 256)
    first, *others = objects.parts(pictures, rng, canvas, 4)
    assert np.array_equal(first.source, canvas)
    x0, y0, x1, y1 = map(int, first.box)
    outside = np.ones((256, 256), bool)
    outside[y0:y1, x0:x1] = False
    for one in others:
        assert one.box == one.edited_box == first.box
        assert np.array_equal(one.source[outside], canvas[outside])
        assert not np.array_equal(one.source, canvas)


def test_the_pooled_loss_counts_pairs(training: Callable[[str], ModuleType]) -> None:
    objects = training("objects")
    rng = np.random.default_rng(6)
    one, two = (rng.normal(size=(7, 5)) for _ in range(2))
    groups = [0, 0, 0, 3, 4, 4, 6]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two)]
    same = [float(a @ b) for a, b in zip(*unit, strict=True)]
    every = [(i, j, float(unit[0][i] @ unit[1][j])) for i in range(7) for j in range(7) if i != j]
    alike = [cosine for i, j, cosine in every if groups[i] == groups[j]]
    expected = [
        np.mean([np.log1p(np.exp((cosine - own) / objects.SOFT)) for cosine in cosines for own in same])
        for cosines in (alike, [cosine for _, _, cosine in every])
    ]
    tensors = (torch.from_numpy(one), torch.from_numpy(two), torch.tensor(groups))
    loss, order = objects.pooled_contrast(*tensors)
    assert float(loss) == pytest.approx(np.mean(expected))
    assert order == pytest.approx(np.mean([own > cosine for cosine in alike for own in same]))
    loss, _ = objects.pooled_contrast(*tensors[:2], torch.arange(7))
    assert float(loss) == pytest.approx(expected[1])
