"""Where images are: paths and URLs, what is shown of them, and what reading them can end in."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.registry import _registry, register_implementation
from fsspec.spec import AbstractFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.errors import ImageError
from pytest_editeval.locations import REASON_LENGTH, display, is_url, locate, read_bytes, stamp

HERE = Path("/cases")


class Faulty(AbstractFileSystem):  # type: ignore[misc]
    """Raises `error` for every file, or holds `data` and does not know its size."""

    protocol = "faulty"
    cachable = False
    error: Exception | None = None
    data: Any = b""

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.data

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        raise OSError("no size")


@pytest.fixture(scope="module")
def faulty() -> Iterator[type[Faulty]]:
    register_implementation("faulty", Faulty)
    yield Faulty
    _registry.pop("faulty")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def failure(location: Path | str, limit: int | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        read_bytes(location, limit)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/a.png", "gs://b/a b.png", "hf://datasets/o/n/a.png", "https://h/a?b=c", "file:///a.png", "a+b.c-d://x"],
)  # fmt: skip
def test_a_url_stays_as_it_is_written(text: str) -> None:
    assert locate(text, HERE) == text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.png", "/cases/a.png"),
        ("../edits/a.png", "/cases/../edits/a.png"),
        ("/data/a.png", "/data/a.png"),
        (r"C:\data\a.png", r"/cases/C:\data\a.png"),
        ("c://a.png", "/cases/c:/a.png"),
        ("S3://bucket/a.png", "/cases/S3:/bucket/a.png"),
        ("3d://a.png", "/cases/3d:/a.png"),
        ("s3:/a.png", "/cases/s3:/a.png"),
        ("a/s3://b.png", "/cases/a/s3:/b.png"),
        ("://a.png", "/cases/:/a.png"),
    ],
)
def test_everything_else_is_a_path(text: str, path: str) -> None:
    assert locate(text, HERE) == Path(path)


@given(st.text() | st.from_regex(r"\A[a-zA-Z:/@?#.]{0,12}://.*"))
def test_locate_never_raises(text: str) -> None:
    found = locate(text, HERE)
    assert isinstance(found, str) == is_url(text)
    assert found == text if is_url(text) else found == HERE / text
    assert isinstance(display(found), str)


@given(st.lists(st.text("abc ._-:@?=#é", min_size=1), min_size=1).map("/".join))
def test_a_path_without_a_scheme_stays_local(text: str) -> None:
    assert isinstance(locate(text, HERE), Path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a@2x.png", "s3://bucket/a@2x.png"),
        ("s3://bucket/a b#1.png", "s3://bucket/a b#1.png"),
        ("hf://datasets/org/name@main/a.png", "hf://datasets/org/name@main/a.png"),
        ("https://user:word@host:80/a.png", "https://host:80/a.png"),
        ("https://token@host/a.png", "https://host/a.png"),
        ("https://user:a@b@host/a.png", "https://host/a.png"),
        ("https://user:a/b@host/a.png", "https://host/a.png"),
        ("https://user:a#b?c@host/a.png", "https://host/a.png"),
        ("http://host:8080/a@2x.png", "http://host:8080/a@2x.png"),
        ("http://[::1]:80/a@2x.png", "http://[::1]:80/a@2x.png"),
        ("https://host/a.png?x=1&token=abc#d&e&", "https://host/a.png?x=…&token=…&…&…"),
        ("https://host/a.png?", "https://host/a.png?"),
        ("https://host/a.png?abc", "https://host/a.png?…"),
        ("https://host/?next=https://u:p@other/", "https://host/?next=…"),
        ("zip://a.png::https://u:p@host/all.zip?t=abc", "zip://a.png::https://host/all.zip?t=…"),
        ("s3://", "s3://"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert display(url) == shown


SECRETS = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(
    lambda text: f"Zq{text}Xw"
)
PASSWORDS = SECRETS.filter(lambda text: not set(text) & set("@"))
VALUES = SECRETS.filter(lambda text: not set(text) & set("&@") and "::" not in text)  # an @ may end a password


@given(
    PASSWORDS.filter(lambda text: "::" not in text), VALUES, st.sampled_from(["https", "s3", "ftp", "zip://x::https"])
)
def test_no_secret_is_shown(password: str, value: str, scheme: str) -> None:
    url = f"{scheme}://user:{password}@host/a.png?key={value}&b={value}"
    shown = display(url)
    assert shown == f"{scheme}://host/a.png?key=…&b=…"
    assert display(shown) == shown


def test_a_path_is_shown_as_a_user_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display(tmp_path / "a" / ".." / "b.png") == "b.png"


def test_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert stamp(path) is None
    path.write_bytes(b"1")
    first = stamp(path)
    assert first is not None
    assert first[2:4] == (1, path.stat().st_mtime_ns)
    assert stamp(path) == first
    path.write_bytes(b"22")
    assert stamp(path) != first
    assert stamp(path.as_uri()) is None
    assert stamp(Path("a\0b")) is None


@pytest.mark.parametrize("as_url", [False, True])
def test_files_are_read(tmp_path: Path, as_url: bool) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    (tmp_path / "empty.png").write_bytes(b"")

    def at(name: str) -> Path | str:
        return (tmp_path / name).as_uri() if as_url else tmp_path / name

    assert read_bytes(at("a.png")) == b"12345"
    assert read_bytes(at("a.png"), 5) == b"12345"
    assert read_bytes(at("empty.png"), 0) == b""
    shown = display(at("a.png"))
    assert failure(at("a.png"), 4) == f"cannot read image {shown}: it has more than 4 bytes"
    assert failure(at("gone.png")) == f"image not found: {display(at('gone.png'))}"
    assert failure(at("a.png/b.png")) == f"image not found: {display(at('a.png/b.png'))}"
    assert failure(at("")).startswith(f"cannot read image {display(at(''))}: ")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("as_url", [False, True])
def test_no_permission(tmp_path: Path, as_url: bool) -> None:
    path = tmp_path / "a.png"
    path.touch(mode=0)
    location = path.as_uri() if as_url else path
    assert failure(location) == f"cannot read image {display(location)}: Permission denied"


def test_a_path_that_no_file_can_have() -> None:
    assert re.match("cannot read image a\0b: ValueError: .*embedded null", failure(Path("a\0b")))


def test_the_memory_filesystem(memory: Any) -> None:
    memory.pipe({"/cases/a.png": b"123", "/cases/empty.png": b""})
    assert read_bytes("memory://cases/a.png") == b"123"
    assert read_bytes("memory://cases/empty.png", 10) == b""
    assert failure("memory://cases/a.png", 2) == "cannot read image memory://cases/a.png: it has more than 2 bytes"
    assert failure("memory://cases/b.png") == "image not found: memory://cases/b.png"
    assert failure("memory://cases/b.png", 10) == "image not found: memory://cases/b.png"
    assert failure("memory://cases") == "image not found: memory://cases"


def test_a_chain_of_filesystems(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.png", b"123")
    where = (tmp_path / "all.zip").as_uri()
    assert read_bytes(f"zip://a.png::{where}") == b"123"
    assert f"zip://b.png::{where}" in failure(f"zip://b.png::{where}")


def test_an_unknown_protocol() -> None:
    assert failure("memry://a.png") == (
        "cannot read image memry://a.png: unknown protocol 'memry'; did you mean 'memory'?"
    )
    assert failure("qqqq://a.png") == "cannot read image qqqq://a.png: unknown protocol 'qqqq'"


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("https", "aiohttp")])
def test_a_missing_package_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, scheme, raising=False)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    url = f"{scheme}://b/a.png"
    assert failure(url) == f"cannot read image {url}: {scheme}:// needs {package}: pip install {package}"


def test_a_package_under_another_name_is_named_by_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "sftp", raising=False)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    message = failure("sftp://user:hunter2@host/a.png")
    assert message.startswith("cannot read image sftp://host/a.png: ")
    assert '"paramiko"' in message


URL = "faulty://user:hunter2@host/a.png?sig=s%2Fecret&v=1"
SHOWN = "faulty://host/a.png?sig=…&v=…"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError("Forbidden"), "PermissionError: Forbidden"),
        (PermissionError(13, "Permission denied", "/a.png"), "Permission denied"),
        (TimeoutError(), "TimeoutError"),
        (OSError("\n"), "OSError"),
        (KeyError("etag"), "KeyError: 'etag'"),
        (RuntimeError("\n  first \nsecond"), "RuntimeError: first"),
        (ImportError("no ssl"), "ImportError: no ssl"),
        (ValueError("odd"), "ValueError: odd"),
        (OSError(f"403 for url='{URL}'"), f"OSError: 403 for url='{SHOWN}'"),
        (OSError("at https://cdn/a?X-Sig=abcd (moved)"), "OSError: at https://cdn/a?X-Sig=… (moved)"),
        (OSError("with url: /a.png?token=abcd&x=1 (no)"), "OSError: with url: /a.png?token=…&x=… (no)"),
        (OSError("login user:hunter2, signature s/ecret"), "OSError: login …:…, signature …"),
        (OSError("x" * 1_000_000), f"OSError: {'x' * (REASON_LENGTH - 1)}…"),
    ],
)
def test_what_a_backend_raises_is_one_line(faulty: type[Faulty], error: Exception, reason: str) -> None:
    faulty.error = error
    assert failure(URL) == f"cannot read image {SHOWN}: {reason}"
    assert failure(URL, 10) == f"cannot read image {SHOWN}: {reason}"


def test_not_found_by_a_backend(faulty: type[Faulty]) -> None:
    faulty.error = FileNotFoundError(URL)
    assert failure(URL) == f"image not found: {SHOWN}"


def test_a_backend_that_knows_no_size(faulty: type[Faulty]) -> None:
    faulty.error, faulty.data = None, memoryview(b"123")
    assert read_bytes(URL, 3) == b"123"
    assert failure(URL, 2) == f"cannot read image {SHOWN}: it has more than 2 bytes"


def test_a_warning_of_a_backend_fails_no_run(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(self: Faulty, path: str) -> bytes:
        import warnings

        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return b"1"

    monkeypatch.setattr(faulty, "cat_file", warn)
    assert read_bytes(URL) == b"1"


@given(st.text(max_size=300))
def test_any_message_ends_in_one_line(faulty: type[Faulty], text: str) -> None:
    faulty.error = OSError(text)
    message = failure(URL)
    assert "hunter2" not in message
    assert len(message) < REASON_LENGTH + 100
