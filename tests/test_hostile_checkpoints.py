"""Checkpoints that try to run code, to lie about what they hold, or to take all memory: one line each."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import checkpoints
from conftest import picture
from pytest_editeval import CLIPMixin, DINOv3Mixin, SAMSegmenter
from pytest_editeval.errors import CheckpointError, EditEvalError, MetricError
from pytest_editeval.vision.checkpoint_config import read_config
from pytest_editeval.vision.checkpoints import file_digests
from pytest_editeval.vision.weights import check_weights

IMAGE = picture(1, 80, 60)
PACKAGE = Path(__file__).parents[1] / "pytest_editeval"


class Runs:
    """Unpickled, it makes a directory: a stand-in for `os.system`."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.witness),)


class Gadget:
    """Unpickled, it reaches the same through functions that rebuild tensors and arrays."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return torch._utils._rebuild_parameter_with_state, (Runs(self.witness), True, OrderedDict(), {})


class Reader:
    """Unpickled, it has numpy read another pickle."""

    def __init__(self, witness: Path) -> None:
        self.file = witness.with_suffix(".npy")
        np.save(self.file, np.array([Runs(witness)], dtype=object), allow_pickle=True)

    def __reduce__(self) -> tuple[object, ...]:
        return np.load, (str(self.file), None, True)


def archived(path: Path, witness: Path) -> None:
    torch.save({"weight": Runs(witness)}, path)


def bare(path: Path, witness: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Runs(witness)}, 2))


def old(path: Path, witness: Path) -> None:
    torch.save({"weight": Runs(witness)}, path, _use_new_zipfile_serialization=False)


def gadget(path: Path, witness: Path) -> None:
    torch.save({"weight": Gadget(witness)}, path)


def arrays(path: Path, witness: Path) -> None:
    torch.save({"weight": Reader(witness)}, path)


def tape(path: Path, witness: Path) -> None:
    """The format of torch 0.1, whose members are pickles."""
    part = path.with_name("part")
    part.write_bytes(pickle.dumps(Runs(witness), 2))
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.add(part, name)
    part.unlink()


def script(path: Path, witness: Path) -> None:
    """A TorchScript archive, with a pickle where its constants are."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/extra.pkl", pickle.dumps(Runs(witness), 2))


def package(path: Path, witness: Path) -> None:
    """An archive of `torch.package`, which holds source code."""
    with torch.package.PackageExporter(path) as exporter:
        exporter.save_source_string("evil", f"import os\nos.mkdir({str(witness)!r})\n")
        exporter.save_pickle("model", "model.pkl", {"a": 1})


PAYLOADS = (archived, bare, old, gadget, arrays, tape, script, package)
PLACES = ("sam.pth", "pytorch_model.bin", "shard.bin", "model.safetensors")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    tiny: dict[str, Any] = {"width": 16, "layers": 1}
    checkpoints.make_clip(folder / "clip", image_size=64, patch_size=8, **tiny)
    checkpoints.make_dinov3(folder / "dinov3", image_size=64, patch_size=8, registers=2, **tiny)
    return folder


@pytest.fixture
def clip(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small / "clip", tmp_path / "clip"))


@pytest.fixture
def dinov3(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small / "dinov3", tmp_path / "dinov3"))


def encode(path: Path) -> object:
    return CLIPMixin(model_path=str(path), device="cpu").get_features(IMAGE)


def encode_dinov3(path: Path) -> object:
    return DINOv3Mixin(model_path=str(path), device="cpu").get_features(IMAGE)


def segment(path: Path) -> object:
    return SAMSegmenter(model_path=str(path), device="cpu").extract_object(IMAGE, (5, 5, 50, 50))


def refused(use: Callable[[], object], *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        use()
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == 1
    assert len(message) < 700


@contextmanager
def in_one_line(kind: type[Exception]) -> Iterator[None]:
    """An error of this kind may be raised, in one line; no other may."""
    try:
        yield
    except kind as error:
        if len(str(error).splitlines()) != 1:
            raise


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def indexed(folder: Path, name: str, shard: object) -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": {"pre_layrnorm.weight": shard}}))


# --- code --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore:.*TypedStorage.*:UserWarning")
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    payload: Callable[[Path, Path], None], place: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "was_run"
    for name in ("TRUST_REMOTE_CODE", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "HF_HUB_TRUST_REMOTE_CODE"):
        monkeypatch.setenv(name, "1")
    if place == "sam.pth":
        payload(tmp_path / place, witness)
        refused(lambda: segment(tmp_path / place), place)
    else:
        (clip / "model.safetensors").unlink()
        payload(clip / place, witness)
        if place == "shard.bin":
            indexed(clip, "pytorch_model.bin.index.json", place)
        refused(lambda: encode(clip), clip.name)
    assert not witness.exists()


def test_the_payloads_do_run_where_they_are_trusted(tmp_path: Path) -> None:
    """So that the test above could fail."""
    for payload in (archived, bare, old, gadget, arrays):
        witness = tmp_path / payload.__name__
        payload(tmp_path / "file", witness)
        with suppress(RuntimeError, AttributeError):  # what they rebuild is no tensor
            torch.load(tmp_path / "file", weights_only=False)
        assert witness.is_dir(), payload.__name__


@pytest.mark.parametrize("payload", [archived, gadget])
@pytest.mark.parametrize("place", ["sam.pth", "pytorch_model.bin"])
def test_the_line_says_what_to_do(payload: Any, place: str, clip: Path, tmp_path: Path) -> None:
    (clip / "model.safetensors").unlink()
    path = tmp_path / place if place == "sam.pth" else clip / place
    payload(path, tmp_path / "was_run")
    cure = "torch.save(model.state_dict(), FILE)" if place == "sam.pth" else "model.save_pretrained(DIR)"
    refused(lambda: segment(path) if place == "sam.pth" else encode(clip), "holds more than tensors", cure)


@pytest.mark.parametrize(
    "name", ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "tokenizer.pkl"]
)
def test_pickles_that_nothing_needs_are_not_opened(name: str, clip: Path, tmp_path: Path) -> None:
    archived(clip / name, tmp_path / "was_run")
    digests = file_digests(str(clip))
    encode(clip)
    assert not (tmp_path / "was_run").exists()
    assert name not in digests


@pytest.mark.parametrize("where", ["config.json", "preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("model", ["clip", "sam-hf", "sam2-hf"])
def test_modules_beside_a_checkpoint_are_never_imported(
    where: str, model: str, clip: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = clip if model == "clip" else Path(shutil.copytree(models / model, tmp_path / model))
    witness = tmp_path / "was_run"
    for name in ("evil.py", "custom_generate/generate.py", "modeling_clip.py", "handler.py"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f"import os\nos.mkdir({str(witness)!r})\n")
    names = ("Config", "Model", "ImageProcessor", "FeatureExtractor", "Processor", "Tokenizer", "VideoProcessor")
    evil = {f"Auto{name}": "evil.Evil" for name in names}
    if (path / where).exists():
        change(path / where, auto_map=evil, custom_pipelines={"x": {"impl": "evil.Evil"}}, trust_remote_code=True)
    else:
        (path / where).write_text(json.dumps({"auto_map": evil}))
    (path / "tokenizer_config.json").write_text(json.dumps({"auto_map": evil, "tokenizer_class": "Evil"}))
    (path / "generation_config.json").write_text(json.dumps({"custom_generate": "evil.Evil"}))
    with in_one_line(EditEvalError):
        encode(path) if model == "clip" else segment(path)
    assert not witness.exists()


@pytest.mark.parametrize("key", ["image_processor_type", "feature_extractor_type"])
def test_a_processor_of_a_class_of_its_own_is_refused(key: str, clip: Path, tmp_path: Path) -> None:
    (clip / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was_run')!r})\nclass Evil: pass\n")
    path = clip / "preprocessor_config.json"
    data = json.loads(path.read_text())
    data.pop("image_processor_type", None)
    path.write_text(json.dumps(data | {key: "CLIPEvil", "auto_map": {"AutoImageProcessor": "evil.Evil"}}))
    with pytest.raises(EditEvalError):
        encode(clip)
    assert not (tmp_path / "was_run").exists()


def test_every_loading_call_refuses_code_explicitly() -> None:
    """No default of a library, which an environment variable or a new version may change."""
    wanted = {"from_pretrained": "trust_remote_code", "from_config": "trust_remote_code", "load": "weights_only"}
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, of = node.func.attr, ast.unparse(node.func.value)
            if name not in wanted or (name == "load" and of not in ("torch", "torch.jit", "pickle", "np", "numpy")):
                continue
            given = {
                keyword.arg: ast.literal_eval(keyword.value)
                for keyword in node.keywords
                if keyword.arg in wanted.values()
            }
            assert given.get(wanted[name]) is (name == "load"), f"{path.name}:{node.lineno}"
            seen += 1
    assert seen >= 4


# --- other files than those that were digested ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize(
    "shard", ["../outside.{}", "/etc/outside.{}", "sub/x.{}", "..", "", 7, None, "x\\y.{}", "x.pth"]
)
def test_an_index_names_files_beside_it_only(ending: str, shard: object, clip: Path) -> None:
    stem = "model.safetensors" if ending == "safetensors" else "pytorch_model.bin"
    (clip / "model.safetensors").rename(clip.parent / f"outside.{ending}")
    indexed(clip, f"{stem}.index.json", shard.format(ending) if isinstance(shard, str) else shard)
    refused(lambda: encode(clip), "same directory")
    refused(lambda: file_digests(str(clip)), "same directory")


def test_an_index_names_files_that_exist(clip: Path) -> None:
    (clip / "model.safetensors").rename(clip / "other.safetensors")
    indexed(clip, "model.safetensors.index.json", "model-00001-of-00001.safetensors")
    refused(lambda: encode(clip), "lacks model-00001-of-00001.safetensors")


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "{" * 9, "[" * 100_000])
def test_an_index_that_is_none(content: str, clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    (clip / "model.safetensors.index.json").write_text(content)
    refused(lambda: encode(clip), "model.safetensors.index.json", "download")


def test_shards_load_and_are_digested_with_their_index(clip: Path) -> None:
    expected = encode(clip)
    weights = load_file(clip / "model.safetensors")
    (clip / "model.safetensors").unlink()
    halves = {f"part-{index}.safetensors": sorted(weights)[index::2] for index in (0, 1)}
    for name, keys in halves.items():
        save_file({key: weights[key] for key in keys}, clip / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, keys in halves.items() for key in keys}}
    (clip / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(encode(clip), expected)  # type: ignore[arg-type]
    assert {*halves, "model.safetensors.index.json", "config.json"} <= file_digests(str(clip)).keys()


@pytest.mark.parametrize(
    "values",
    [
        {"transformers_weights": "sub/other.safetensors"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "somebody/kernel"},
        {"vision_config": {"attn_implementation": "somebody/kernel"}},
        {"fusion_config": {"patch_embeddings": True}},
        {"kernel_config": {"x": 1}},
    ],
    ids=str,
)
def test_a_configuration_that_sends_the_loading_elsewhere(values: dict[str, Any], dinov3: Path) -> None:
    change(dinov3 / "config.json", **values)
    refused(lambda: check_weights("it", dinov3, read_config(str(dinov3))), "config.json sets", "remove it")


def test_an_adapter_is_not_left_out_silently(clip: Path) -> None:
    (clip / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    refused(lambda: encode(clip), "adapter_config.json", "merge")


# --- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": 10**6},
        {"intermediate_size": 10**9},
        {"image_size": 10**7},
        {"num_register_tokens": 10**9},
        {"num_channels": 10**8},
        {"hidden_size": 10**30},
        {"patch_size": 10**7},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["clip", "dinov3"])
def test_a_configuration_that_asks_for_all_memory_is_refused(
    values: dict[str, int], family: str, clip: Path, dinov3: Path
) -> None:
    path = clip if family == "clip" else dinov3
    change(path / "config.json", **values)
    use = encode if family == "clip" else encode_dinov3
    if family == "dinov3" and "image_size" in values:
        use(path)  # its positions are computed for any size
    else:
        refused(lambda: use(path), path.name)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"rescale_factor": 0.0}, "rescale_factor of 0"), ({"crop_size": [1, 2]}, "crop_size [1, 2] is not square")],
    ids=str,
)
def test_an_image_processor_that_cannot_be_used_is_refused(values: dict[str, Any], words: str, clip: Path) -> None:
    change(clip / "preprocessor_config.json", **values)
    refused(lambda: encode(clip), words)


@pytest.mark.parametrize("size", [10**7, 8192])
def test_an_image_processor_that_asks_for_all_memory_is_refused(size: int, dinov3: Path) -> None:
    change(dinov3 / "preprocessor_config.json", size={"height": size, "width": size})
    refused(lambda: encode_dinov3(dinov3), str(size), "4096")


@pytest.mark.parametrize("name", ["sam-hf", "sam2-hf"])
@pytest.mark.parametrize("values", [{"num_hidden_layers": 10**9}, {"hidden_size": 10**6}], ids=str)
def test_a_segmenter_that_asks_for_all_memory_is_refused(
    name: str, values: dict[str, int], models: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(models / name, tmp_path / name))
    config = json.loads((path / "config.json").read_text())
    config["mask_decoder_config"] |= values
    (path / "config.json").write_text(json.dumps(config))
    refused(lambda: segment(path), name)


def test_a_pth_whose_views_repeat_one_number_is_refused(models: Path, tmp_path: Path) -> None:
    weights = torch.load(models / "sam.pth", weights_only=True)
    weights["image_encoder.patch_embed.proj.weight"] = torch.zeros(1).expand(10**5, 3, 16, 16)
    torch.save(weights, tmp_path / "sam.pth")
    refused(lambda: segment(tmp_path / "sam.pth"), "patch_embed.proj.weight", "in the file")


def test_a_pth_that_asks_for_a_large_grid_is_refused(models: Path, tmp_path: Path) -> None:
    weights = torch.load(models / "sam.pth", weights_only=True)
    weights["image_encoder.pos_embed"] = torch.zeros(1, 10**6, 1, 1)
    torch.save(weights, tmp_path / "sam.pth")
    refused(lambda: segment(tmp_path / "sam.pth"), "sam.pth")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_a_pth_of_other_numbers_is_refused(dtype: torch.dtype, models: Path, tmp_path: Path) -> None:
    weights = torch.load(models / "sam.pth", weights_only=True)
    first = next(iter(weights))
    torch.save(weights | {first: weights[first].to(dtype)}, tmp_path / "sam.pth")
    refused(lambda: segment(tmp_path / "sam.pth"), first, "floating point")


@pytest.mark.parametrize("place", ["sam.pth", "pytorch_model.bin"])
def test_a_compressed_archive_is_refused(place: str, clip: Path, tmp_path: Path) -> None:
    """A gigabyte of zeros is a megabyte there."""
    torch.save({"weight": torch.zeros(1000, 1000)}, tmp_path / "plain")
    path = tmp_path / place if place == "sam.pth" else clip / place
    with zipfile.ZipFile(tmp_path / "plain") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    (clip / "model.safetensors").unlink()
    refused(lambda: segment(path) if place == "sam.pth" else encode(clip), place, "compressed archive")


# --- safetensors ---------------------------------------------------------------------------------------------------


def framed(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


TENSOR = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        framed(b""),
        framed(b"{}", length=2**63),
        framed(b"{}", length=200_000_000),
        framed(b"[" * 100_000),
        framed(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        framed(b'{"a":' + TENSOR + b"}"),
        framed(b'{"a":' + TENSOR + b',"a":' + TENSOR + b"}", b"\0" * 4),
        framed(b'{"a":' + TENSOR + b',"b":' + TENSOR + b"}", b"\0" * 4),
        framed(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        framed(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"\0" * 4),
        framed(b'{"a":{"dtype":"F32","shape":[9223372036854775807,3],"data_offsets":[0,4]}}', b"\0" * 4),
        framed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b"\0" * 4),
        framed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999]}}', b"\0" * 4),
        framed(b'{"__metadata__":{"a":7},"a":' + TENSOR + b"}", b"\0" * 4),
        framed(b'\xff\xfe{"a":1}'),
    ],
    ids=range(17),
)
def test_a_damaged_safetensors_file_is_one_line(content: bytes, clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(content)
    refused(lambda: encode(clip), "clip")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_other_numbers_are_refused(dtype: torch.dtype, clip: Path) -> None:
    weights = load_file(clip / "model.safetensors")
    name = next(key for key in sorted(weights) if key.endswith(".weight"))
    save_file(weights | {name: weights[name].to(dtype)}, clip / "model.safetensors", {"format": "pt"})
    refused(lambda: encode(clip), name, "F32")


def test_a_safetensors_file_named_pth(small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "clip" / "model.safetensors", tmp_path / "sam.pth")
    refused(lambda: segment(tmp_path / "sam.pth"), "is a safetensors file", "directory")


@pytest.mark.parametrize("part", ["image_encoder.neck.0.weight", "mask_decoder.output_upscaling.0.weight"])
def test_a_segmenter_with_weights_that_are_not_finite_is_an_error(part: str, models: Path, tmp_path: Path) -> None:
    """Not a soft failure: a mask of NaN looks like an object that is not there."""
    weights = torch.load(models / "sam.pth", weights_only=True)
    weights[part] = weights[part] * float("nan")
    torch.save(weights, tmp_path / "sam.pth")
    with pytest.raises(MetricError, match="NaN or infinite masks"):
        segment(tmp_path / "sam.pth")


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I64", "BOOL", "F8_E4M3", "", "X"]) | st.integers(),
        "shape": st.lists(st.integers(-1, 2**64) | st.integers(0, 3), max_size=4) | st.text(max_size=3),
        "data_offsets": st.lists(st.integers(-4, 2**64) | st.integers(0, 64), max_size=3),
    }
)
HEADERS = st.dictionaries(
    st.text(max_size=8) | st.sampled_from(["__metadata__", "a.weight"]), ENTRY | st.none(), max_size=4
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=HEADERS.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=64),
    body=st.binary(max_size=64),
    extra=st.integers(-8, 8),
)
def test_any_header_is_read_or_refused(header: bytes, body: bytes, extra: int, clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(framed(header, body, max(0, len(header) + extra)))
    with in_one_line(CheckpointError):
        check_weights("it", clip, {})


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.floats()
    | st.text(max_size=4)
    | st.just([1, 2])
    | st.just({"a": 1})
)
KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
    "image_size",
    "num_register_tokens",
    "vision_config",
)
KEYS += ("hidden_act", "layer_norm_eps", "model_type", "architectures", "dtype", "attention_dropout", "rope_theta")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2))
@pytest.mark.parametrize("family", ["clip", "dinov3"])
def test_any_configuration_loads_or_is_refused(values: dict[str, Any], family: str, clip: Path, dinov3: Path) -> None:
    path = clip if family == "clip" else dinov3
    before = (path / "config.json").read_bytes()
    change(path / "config.json", **values)
    with in_one_line(EditEvalError):
        encode(path) if family == "clip" else encode_dinov3(path)
    (path / "config.json").write_bytes(before)


PROCESSOR = (
    "size",
    "crop_size",
    "do_center_crop",
    "do_resize",
    "do_rescale",
    "rescale_factor",
    "image_mean",
    "resample",
)
PROCESSOR += ("image_std", "do_convert_rgb", "do_normalize", "image_processor_type", "auto_map", "data_format")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(PROCESSOR), VALUES, min_size=1, max_size=2))
def test_any_image_processor_works_or_is_refused(values: dict[str, Any], clip: Path) -> None:
    before = (clip / "preprocessor_config.json").read_bytes()
    change(clip / "preprocessor_config.json", **values)
    with in_one_line(EditEvalError):
        encode(clip)
    (clip / "preprocessor_config.json").write_bytes(before)
