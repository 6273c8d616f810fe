"""The lock file: what it says, what it refuses, and `editeval models lock`."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_editeval.cli import main
from pytest_editeval.config import load_profile
from pytest_editeval.errors import EditEvalError
from pytest_editeval.lock_file import FORMAT, read_lock
from pytest_editeval.scoring.locking import check_lock, lock_name
from pytest_editeval.vision.hub import hub_snapshot

CONFIG = """
metric_configs:
  emd: {pipe_name: clip-pipe, default_config: {model_path: ./models/clip}}
  sam_clip_cls_sim:
    pipe_name: clip-pipe
    default_config: {model_path: ./models/clip}
    init_config: {sam: {model_path: ./models/sam.pth}}
"""


@pytest.fixture
def folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, two checkpoints and a lock of them."""
    shutil.copytree(models / "clip", tmp_path / "models" / "clip")
    shutil.copy(models / "sam.pth", tmp_path / "models" / "sam.pth")
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert main(["models", "lock", "--config", "config.yaml"]) == 0
    return tmp_path


def test_the_lock_names_every_file_with_its_digest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((folder / "editeval.lock.json").read_text())
    assert list(data) == ["format", "checkpoints"]
    assert list(data["checkpoints"]) == ["./models/clip", "./models/sam.pth"]
    for name, checkpoint in data["checkpoints"].items():
        place = folder / name
        for file, entry in checkpoint["files"].items():
            content = (place if place.is_file() else place / file).read_bytes()
            assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert list(data["checkpoints"]["./models/clip"]["files"]) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert str(folder) not in (folder / "editeval.lock.json").read_text()
    assert main(["models", "lock", "--config", "config.yaml"]) == 0
    assert capsys.readouterr().out == "written: editeval.lock.json (2 checkpoints, 4 files)\n"


def test_equal_checkpoints_give_equal_bytes_wherever_they_are(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "place"
    shutil.copytree(folder, other)
    (other / "editeval.lock.json").unlink()
    assert main(["models", "lock", "--config", str(other / "config.yaml"), "--output", str(other / "l.json")]) == 0
    assert (other / "l.json").read_bytes() == (folder / "editeval.lock.json").read_bytes()


def test_the_embedded_profile_is_locked_without_a_configuration(tmp_path: Path) -> None:
    assert main(["models", "lock", "--output", str(tmp_path / "l.json")]) == 0
    assert sorted(read_lock(tmp_path / "l.json")) == ["embedded:clip", "embedded:dinov3", "embedded:sam/sam.pth"]
    check_lock(tmp_path / "l.json", load_profile(None))


@pytest.mark.parametrize("change", ["byte", "missing", "added", "unlocked", "extra"])
def test_check_says_what_differs(change: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, clip, lock = folder / "config.yaml", folder / "models" / "clip", folder / "editeval.lock.json"
    data = json.loads(lock.read_text())
    if change == "byte":
        content = bytearray((clip / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (clip / "model.safetensors").write_bytes(content)
        words = ["./models/clip: model.safetensors has changed: expected ", " bytes), found "]
    elif change == "missing":
        (folder / "models" / "clip" / "preprocessor_config.json").unlink()
        words = ["./models/clip: preprocessor_config.json is missing"]
    elif change == "added":
        (clip / "processor_config.json").write_text("{}")
        words = ["./models/clip: processor_config.json is not in the lock"]
    elif change == "unlocked":
        config.write_text(CONFIG.replace("./models/sam.pth", "./models/other.pth"))
        shutil.copy(folder / "models" / "sam.pth", folder / "models" / "other.pth")
        words = ["./models/other.pth: the lock does not name this checkpoint"]
    else:
        data["checkpoints"]["somebody/else"] = data["checkpoints"]["./models/clip"]
        lock.write_text(json.dumps(data))
        words = ["somebody/else: the lock names a checkpoint that no configuration uses"]
    before = lock.read_bytes()
    capsys.readouterr()
    assert main(["models", "lock", "--config", "config.yaml", "--check"]) == 1
    out = capsys.readouterr().out
    assert all(word in out for word in words), out
    assert lock.read_bytes() == before
    if change == "extra":
        check_lock(lock, load_profile(config))
    else:
        with pytest.raises(EditEvalError, match="difference"):
            check_lock(lock, load_profile(config))


def test_a_module_beside_the_weights_is_no_difference(folder: Path) -> None:
    """It is never read."""
    (folder / "models" / "clip" / "evil.py").write_text("")
    (folder / "models" / "clip" / "optimizer.pt").write_text("")
    assert main(["models", "lock", "--config", "config.yaml", "--check"]) == 0


def test_a_checkpoint_of_the_hub_is_locked_with_its_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder / "cache" / "snapshots" / commit
    shutil.copytree(folder / "models" / "clip", snapshot)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    hub_snapshot.cache_clear()
    (folder / "hub.yaml").write_text("metric_configs: {emd: {default_config: {model_path: somebody/clip}}}")
    assert main(["models", "lock", "--config", "hub.yaml", "--output", "hub.json"]) == 0
    locked = read_lock(folder / "hub.json")["somebody/clip"]
    assert locked.revision == commit
    assert locked.files == read_lock(folder / "editeval.lock.json")["./models/clip"].files
    hub_snapshot.cache_clear()


def test_configuration_files_without_weights_are_no_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a cache is that was filled in part."""
    (folder / "models" / "clip" / "model.safetensors").unlink()
    assert main(["models", "lock", "--config", "config.yaml"]) == 4
    assert "has no model.safetensors" in capsys.readouterr().err


def test_names_are_the_same_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert lock_name("somebody/clip", tmp_path) == "somebody/clip"
    for path in ("./models", str(tmp_path / "models"), "models"):
        assert lock_name(path, tmp_path) == "./models"
    assert lock_name("/elsewhere/clip", tmp_path) == "/elsewhere/clip"


HOSTILE = [
    (b"", "empty"),
    (b"\xff\xfe", "UTF-8"),
    (b"[" * 100_000, "nested deeper than 100 levels"),
    (b"[]", "no lock file"),
    (b'{"format": 7}', "no lock file"),
    (b'{"format": "pytest-editeval lock 2", "checkpoints": {}}', "this version reads"),
    (b'{"format": "pytest-editeval lock 1"}', "'checkpoints'"),
    (b'{"format": "pytest-editeval lock 1", "checkpoints": []}', "must be a mapping"),
    (b'{"format": "pytest-editeval lock 1", "checkpoints": {"a": {"files": {}}}}', "must not be empty"),
    (
        b'{"format": "pytest-editeval lock 1", "checkpoints": {"a": {"file": {}}}}',
        "'checkpoints.a.files' in the lock file is missing",
    ),
    (
        b'{"format": "pytest-editeval lock 1", "checkpoints": {"a": {"files": {"b": {"sha256": "x", "size": 1}}}}}',
        "sha256",
    ),
    (b'{"format": "pytest-editeval lock 1", "checkpoints": {}, "checkpoints": {}}', "there twice"),
    (b" " * (17 << 20), "more than 16,777,216 bytes"),
]


@pytest.mark.parametrize(("content", "words"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_lock_that_is_none_is_refused_in_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_bytes(content)
    with pytest.raises(EditEvalError, match=words) as caught:
        read_lock(tmp_path / "lock.json")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_a_lock_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(EditEvalError, match=r"that is a directory|not found"):
            read_lock(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["files", "a", "size", "sha256"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(st.sampled_from(["a", "b/c"]), JSON, max_size=2) | JSON)
def test_any_json_is_a_lock_or_refused_in_one_line(data: object, tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"format": FORMAT, "checkpoints": data}))
    try:
        read_lock(path)
    except EditEvalError as error:
        if len(str(error).splitlines()) != 1:
            raise


@pytest.mark.parametrize("command", ["noise", "lint"])
def test_commands_that_score_stop_at_a_checkpoint_that_changed(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models" / "clip" / "preprocessor_config.json").write_text("{}")
    (folder / "a.edit.yaml").write_text("cases: []")
    assert main([command, "a.edit.yaml", "--config", "config.yaml", "--lock", "editeval.lock.json"]) == 4
    assert "preprocessor_config.json has changed" in capsys.readouterr().err


def test_output_in_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "lock", "--output", str(tmp_path / "no" / "lock.json")]) == 4
    assert main(["models", "lock", "--output", str(tmp_path)]) == 4
    assert main(["models", "lock", "--output", str(tmp_path / "lock.json"), "--check"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 3
