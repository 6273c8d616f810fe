"""`editeval models list`, `fetch` and `verify`; the hub is a server of this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import checkpoints
from pytest_editeval.cli import main
from pytest_editeval.vision.families import FAMILIES
from pytest_editeval.vision.published import PUBLISHED

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_allowed"


class Hub(ThreadingHTTPServer):
    """Repositories by id, each a folder; those of "gated" are for whoever sends the token."""

    daemon_threads = True

    def __init__(self, repositories: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories = repositories
        self.sent: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        is_api = path.startswith("api/models/")
        path = path.removeprefix("api/models/")
        name = next((name for name in self.server.repositories if path == name or path.startswith(f"{name}/")), None)
        if name is None:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif name.startswith("gated/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to it is restricted."})
        elif is_api:
            self.describe(self.server.repositories[name], path.removeprefix(name).strip("/"), name)
        else:
            self.send_file(self.server.repositories[name], path.removeprefix(name).strip("/").split("/", 2)[2])

    def describe(self, folder: Path, what: str, name: str) -> None:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        if what.startswith("tree/"):
            listed = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _etag(p)} for p in files]
            self.reply(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
            return
        found = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": []}
        found["siblings"] = [{"rfilename": path.name} for path in files]
        self.reply(200, json.dumps(found).encode(), {"Content-Type": "application/json", "X-Repo-Commit": COMMIT})

    def send_file(self, folder: Path, name: str) -> None:
        path = folder / name
        if not path.is_file():
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content, status, headers = path.read_bytes(), 200, {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}
        wanted = self.headers.get("Range")
        if wanted:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        if self.command == "GET":
            self.server.sent.append(name)
        self.reply(status, content, headers)

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    clip = checkpoints.make_clip(tmp_path / "clip", width=16, layers=1)
    (clip / "README.md").write_text("not needed", "utf-8")
    (clip / "pytorch_model.bin").write_bytes(b"the same weights again")
    server = Hub({"team/clip-small": clip, "gated/clip": clip})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def editeval(hub: Hub, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HOME", "HUGGING_FACE_HUB_TOKEN")
    known = {name: value for name, value in os.environ.items() if name not in names}
    known |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    code = "import sys; from pytest_editeval.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "models", *arguments],
        env=known | environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_checkpoint_is_fetched_once_and_described(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = editeval(hub, home, "fetch", "team/clip-small")
    assert first.returncode == 0, first.stderr
    size = sum((tmp_path / "clip" / name).stat().st_size for name in hub.sent)
    assert first.stdout == f"fetched: team/clip-small at {COMMIT} (3 files, {size / (1 << 20):,.1f} MiB)\n"
    assert sorted(hub.sent) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert editeval(hub, home, "fetch", "team/clip-small").stdout == first.stdout
    assert len(hub.sent) == 3
    info = editeval(hub, home, "info", "team/clip-small", HF_HUB_OFFLINE="1")
    assert info.returncode == 0, info.stderr
    assert f"commit         {COMMIT}" in info.stdout.splitlines()
    assert "family         clip_vision_model, for clip-pipe" in info.stdout


def test_a_name_of_timms_is_fetched(hub: Hub, tmp_path: Path) -> None:
    own = {"embed_dim": 48, "depth": 1, "num_heads": 3, "img_size": 32}
    hub.repositories["timm/vit_own.sat493m"] = checkpoints.make_timm(
        tmp_path / "vit", "vit_small_patch16_dinov3", **own
    )
    hub.repositories["team/vit"] = hub.repositories["timm/vit_own.sat493m"]
    for name in ("timm:vit_own.sat493m", "timm:team/vit"):
        found = editeval(hub, tmp_path / "home", "fetch", name)
        assert found.returncode == 0, found.stderr
        assert found.stdout.startswith(f"fetched: {name} at {COMMIT} (2 files, ")
        info = editeval(hub, tmp_path / "home", "info", name, HF_HUB_OFFLINE="1")
        assert "family         timm:vit_small_patch16_dinov3, for dino-v3-pipe" in info.stdout, info.stderr
        assert f"commit         {COMMIT}" in info.stdout.splitlines()


def test_what_a_configuration_names_is_fetched(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "profile: own\n"
        "metric_configs:\n"
        "  emd: {default_config: {model_path: team/clip-small}}\n"
        "  dinov3_structure_similarity: {default_config: {model_path: ./clip}}\n",
        "utf-8",
    )
    found = editeval(hub, tmp_path / "home", "fetch", "--config", "own.yaml")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"fetched: team/clip-small at {COMMIT}")
    assert lines[1] == f"on disk: {tmp_path / 'clip'}"


def test_a_gated_checkpoint_gives_the_steps_and_the_others_are_fetched(hub: Hub, tmp_path: Path) -> None:
    found = editeval(hub, tmp_path / "home", "fetch", "gated/clip", "team/nowhere", "team/clip-small")
    assert found.returncode == 1
    assert found.stdout.startswith("fetched: team/clip-small")
    assert "editeval: gated/clip is gated on the Hugging Face hub (HTTP 401).\n  1. accept the licence" in found.stderr
    assert "2. `hf auth login`, or set HF_TOKEN   3. run again" in found.stderr
    assert "editeval: team/nowhere is not on the Hugging Face hub, or is private" in found.stderr
    assert "Traceback" not in found.stderr
    allowed = editeval(hub, tmp_path / "home", "fetch", "gated/clip", HF_TOKEN=TOKEN)
    assert allowed.returncode == 0, allowed.stderr
    assert TOKEN not in allowed.stdout + allowed.stderr


def test_a_download_that_was_cut_off_goes_on(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    weights = tmp_path / "clip" / "model.safetensors"
    blobs = home / "hub" / "models--team--clip-small" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{_etag(weights)}.incomplete").write_bytes(weights.read_bytes()[:1000])
    found = editeval(hub, home, "fetch", "team/clip-small")
    assert found.returncode == 0, found.stderr
    kept = home / "hub" / "models--team--clip-small" / "snapshots" / COMMIT / "model.safetensors"
    assert kept.read_bytes() == weights.read_bytes()


def test_nothing_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch"]) == 4
    assert capsys.readouterr().err == "editeval: nothing to fetch: name ids on the hub, or --config FILE\n"


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "clip-pipe:",
        "dino-v3-pipe:",
        "a sam block:",
        "gated: accept the licence on its page, then `hf auth login` or HF_TOKEN",
    ]
    row = next(line for line in lines if "dinov3-vits16-pretrain" in line)
    assert row.split() == ["facebook/dinov3-vits16-pretrain-lvd1689m", "21.6", "M", "DINOv3", "License,", "gated"]
    assert main(["models", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in found] == [one.path for one in PUBLISHED]
    assert {one["pipe"] for one in found} == {"clip-pipe", "dino-v3-pipe", "sam"}


DINOV3 = {
    "vits16": (384, 1536, 12, 6, False),
    "vits16plus": (384, 1536, 12, 6, True),
    "vitb16": (768, 3072, 12, 12, False),
    "vitl16": (1024, 4096, 24, 16, False),
    "vith16plus": (1280, 5120, 32, 20, True),
    "vit7b16": (4096, 8192, 40, 32, True),
}


@pytest.mark.parametrize("name", DINOV3)
def test_weights_of_dinov3_are_counted(name: str) -> None:
    """On the network itself, at the sizes that the paper's table 2 gives."""
    import torch
    import transformers

    width, inner, layers, heads, gated = DINOV3[name]
    config = transformers.DINOv3ViTConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        use_gated_mlp=gated,
        num_register_tokens=4,
    )
    with torch.device("meta"):
        number = sum(value.numel() for value in transformers.DINOv3ViTModel(config).parameters())
    for one in PUBLISHED:
        if f"dinov3-{name}-pretrain" in one.path:
            assert one.millions == pytest.approx(number / 1e6, rel=0.01)
    assert "dinov3_vit" in FAMILIES


def test_verify_is_the_check_of_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints.make_clip(tmp_path / "clip", width=16, layers=1)
    (tmp_path / "own.yaml").write_text(
        "profile: own\nmetric_configs: {emd: {default_config: {model_path: ./clip}}}\n", "utf-8"
    )
    assert main(["models", "verify", "--config", "own.yaml"]) == 4
    assert "lock file not found: editeval.lock.json" in capsys.readouterr().err
    assert main(["models", "lock", "--config", "own.yaml", "--output", "own.lock"]) == 0
    assert main(["models", "verify", "--config", "own.yaml", "--lock", "own.lock"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "own.lock: 0 differences in 1 checkpoints, 3 files"
    (tmp_path / "clip" / "config.json").write_text("{}", "utf-8")
    assert main(["models", "verify", "--config", "own.yaml", "--lock", "own.lock"]) == 1
    assert "./clip: config.json has changed" in capsys.readouterr().out
    assert main(["models", "verify", "--config", "own.yaml", "--lock", "clip"]) == 4
    assert "--lock clip: that is a directory" in capsys.readouterr().err
