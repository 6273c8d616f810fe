"""What case files, configurations, candidates and results may read: their tree, and nothing that is not a file."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import picture
from project import Project
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import BrokenCase
from pytest_editeval.cli import main
from pytest_editeval.config import load_profile
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import ConfigError, ImageError
from pytest_editeval.locations import local_parts, read_bytes


@pytest.fixture(autouse=True)
def _with_known_scores(request: pytest.FixtureRequest, remembered_scores: Path) -> None:
    if "project" in request.fixturenames:
        request.getfixturevalue("project").store = remembered_scores


PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """root/cases/a.edit.yaml, root/images/x.png, and outside.png with links to it."""
    root = tmp_path / "root"
    for folder in ("cases", "images"):
        (root / folder).mkdir(parents=True)
    for path in (tmp_path / "outside.png", root / "images" / "x.png"):
        picture(1, 8, 8).save(path)
    (root / "images" / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "images" / "inner.png").symlink_to("x.png")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.png").symlink_to("loop.png")
    return root


ALLOWED = [
    "../images/x.png",
    "x.png",
    "../images/../images/x.png",
    "../images/inner.png",
    "../not/there.png",
    "https://host/a.png",
    "s3://bucket/a.png",
    "zip://a.png::https://host/all.zip",
    "simplecache://a::s3://bucket/a.png",
]
REFUSED = [
    "../../outside.png",
    "../images/../../outside.png",
    "../../not/there.png",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "../images/link.png",
    "../up/outside.png",
    "../up/root/../outside.png",
    "file:///etc/passwd",
    "local:///etc/passwd",
    "file://etc/../../../../../../../../../etc/passwd",
    "file://~/secret.png",
    "zip://a.png::file:///etc/all.zip",
    "zip://a.png::/etc/all.zip",
    "zip://a.png::simplecache::file:///etc/all.zip",
    "simplecache://a::local:///etc/passwd",
    "generic://file:///etc/passwd",
    "reference://a::file:///etc/passwd",
    "git://etc:passwd@main",
    "sftp://localhost/etc/passwd",
    "dask://worker/etc/passwd",
    "jar://a::file:///etc/passwd",
    "zip:///etc/all.zip",
]


def case_file(root: Path, source: str, more: str = "") -> Path:
    path = root / "cases" / "a.edit.yaml"
    path.write_text(
        f"cases:\n- id: one\n  instruction: Do it.\n  source: '{source}'\n  edited: ../images/x.png{more}\n"
        "  metrics: {emd: 1.0}\n"
    )
    return path


@pytest.mark.parametrize("source", ALLOWED)
def test_what_a_case_file_may_name(tree: Path, source: str) -> None:
    assert not isinstance(load_cases(case_file(tree, source), Confinement(tree)).cases[0], BrokenCase)


@pytest.mark.parametrize("source", REFUSED)
def test_what_a_case_file_may_not_name(tree: Path, source: str) -> None:
    path = case_file(tree, source)
    case = load_cases(path, Confinement(tree)).cases[0]
    assert isinstance(case, BrokenCase)
    (message,) = map(str, case.errors)
    assert message.startswith(f"{path}:4:11: 'source' in case 'one': ")
    assert message.endswith("; --editeval-root-only off would allow it")
    assert len(message.splitlines()) == 1
    assert not isinstance(load_cases(path).cases[0], BrokenCase)


@pytest.mark.parametrize("place", ["../../{seed}.png", "../{seed}/outside.png", "/{seed}.png"])
def test_every_edit_of_a_repeat_is_confined(tree: Path, place: str) -> None:
    (tree / "1").symlink_to(tree.parent)
    path = case_file(tree, "../images/x.png", "\n  repeat: {pass: 1, of: 2}")
    path.write_text(path.read_text().replace("edited: ../images/x.png", f"edited: '{place}'"))
    case = load_cases(path, Confinement(tree)).cases[0]
    assert isinstance(case, BrokenCase)
    assert "'edited' in case 'one': " in str(case.errors[0])


def test_a_file_outside_the_root_has_its_own_directory(tree: Path) -> None:
    path = case_file(tree, "x.png", "")
    path.write_text(path.read_text().replace("../images/x.png", "y.png"))
    elsewhere = Confinement(tree / "images")
    assert not isinstance(load_cases(path, elsewhere).cases[0], BrokenCase)
    assert isinstance(load_cases(case_file(tree, "../images/x.png"), elsewhere).cases[0], BrokenCase)


def test_the_whole_file_system_is_no_root(tree: Path) -> None:
    assert isinstance(load_cases(case_file(tree, "/etc/passwd"), Confinement(Path("/"))).cases[0], BrokenCase)


def test_a_root_behind_a_link_is_that_root(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    path = case_file(link, "../images/x.png")
    assert not isinstance(load_cases(path, Confinement(link)).cases[0], BrokenCase)
    assert not isinstance(load_cases(path, Confinement(tree)).cases[0], BrokenCase)


PARTS = st.lists(st.sampled_from(["..", ".", "images", "cases", "up", "root", "x.png", "link.png", ""]), max_size=8)


@given(PARTS, st.booleans())
def test_a_path_is_allowed_exactly_if_what_it_opens_is_below_the_root(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], absolute: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "confined"
    root = folder / "root"
    if not root.exists():
        (root / "cases").mkdir(parents=True)
        (root / "images").mkdir()
        (root / "images" / "link.png").symlink_to(folder)
        (root / "up").symlink_to(folder)
    text = "/".join(parts)
    place = root / text if absolute else root / "cases" / text
    opened = os.path.realpath(place)  # what the system does with it
    inside = opened == str(root) or opened.startswith(f"{root}/")
    refusal = Confinement(root).refusal(place, root / "cases" / "a.edit.yaml")
    assert (refusal is None) == inside


@given(st.lists(st.sampled_from(["zip", "file", "local", "s3", "::", "://", "/", "etc", "simplecache", "generic"])))
def test_no_chain_reaches_a_local_file_unseen(pieces: list[str]) -> None:
    """What fsspec itself takes for the links of the chain: none opens a local file that `local_parts` does not name."""
    import fsspec

    url = "".join(["zip://", *pieces])
    parts = local_parts(url)
    try:
        chain = fsspec.core._un_chain(url, {})
    except Exception:  # nothing is opened
        return
    local = [link for link, protocol, _ in chain if protocol in ("file", "local", "generic")]
    assert parts is None or len(parts) >= bool(local)


def test_base_is_confined(tree: Path) -> None:
    (tree.parent / "base.yaml").write_text("a: 1\n")
    path = tree / "config.yaml"
    path.write_text("_base_: {x: ../base.yaml}\nmetric_configs: {emd: {}}\n")
    with pytest.raises(ConfigError) as caught:
        load_profile(path, Confinement(tree))
    assert str(caught.value).startswith(f"{path}:1:13: '_base_': '")
    assert len(str(caught.value).splitlines()) == 1
    assert load_profile(path).name == "config"


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What is no regular file, by the word for it."""
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        bound.bind("s.png")
        os.chdir(here)
        names = {"a FIFO": "fifo", "a directory": "folder", "a device": "device", "a socket": "s"}
        yield {kind: tmp_path / f"{name}.png" for kind, name in names.items()}


@pytest.mark.parametrize("kind", ["a FIFO", "a directory", "a device", "a socket"])
@pytest.mark.parametrize("form", ["path", "file://", "local://", "zip://a.png::file://"])
def test_what_is_no_regular_file_is_never_opened(special: dict[str, Path], kind: str, form: str) -> None:
    location = special[kind] if form == "path" else f"{form}{special[kind]}"
    with pytest.raises(ImageError, match=f"it is {kind}, not a regular file"):
        read_bytes(location)


def test_a_fifo_that_takes_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    with pytest.raises(ImageError, match="it is a FIFO"):
        read_bytes(path)


@PLAIN_AND_XDIST
def test_a_run_refuses_and_goes_on(project: Project, options: tuple[str, ...]) -> None:
    inside = project.path / "suite"
    inside.mkdir()
    project.pytester.makeini("")
    for name in ("source.png", "other.png", "tiny.yaml"):
        (project.path / name).rename(inside / name)
    picture(3).save(project.path / "private.png")
    (inside / "link.png").symlink_to("../private.png")
    project.write(
        "suite/a.edit.yaml",
        """
        defaults:
          {instruction: Do it., source: source.png, edited: other.png, metrics: {emd: {threshold: 1.0e+9, scope: null}}}
        cases:
        - {id: good}
        - {id: up, source: ../private.png}
        - {id: absolute, edited: /etc/passwd}
        - {id: link, edited: link.png}
        - {id: url, edited: 'file:///etc/passwd'}
        """,
    )
    arguments = ("--rootdir", "suite", "--editeval-config", "suite/tiny.yaml", "--editeval-report", "page.html")
    result = project.run("suite", *arguments, *options)
    result.assert_outcomes(passed=1, errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "suite/a.edit.yaml:6:20: 'source' in case 'up': 'private.png' is outside */suite; *",
            "suite/a.edit.yaml:8:*: 'edited' in case 'link': *leads by a link to a place outside */suite; *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    result = project.run("suite", *arguments, *options, "--editeval-root-only", "off")
    result.assert_outcomes(passed=3, failed=2)


def test_a_candidates_images_are_confined(project: Project) -> None:
    folder = project.path.with_name(f"{project.path.name}-edits")  # outside the root: the user has named it
    folder.mkdir()
    picture(2).save(folder / "plain.png")
    picture(3).save(project.path.with_name("private.png"))
    (folder / "linked.png").symlink_to("../private.png")
    project.cases(
        """
        defaults: {instruction: Do it., source: source.png, metrics: {emd: {threshold: 1.0e+9, scope: null}}}
        cases:
        - {id: plain}
        - {id: linked}
        - {id: up, edited_pattern: ../private}
        - {id: absolute, edited_pattern: /etc/passwd.png}
        """
    )
    result = project.run("--editeval-candidate", f"v2={folder}")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["*edited image '*linked.png' leads by a link to a place outside *"])


def test_a_page_of_results_shows_no_image_from_outside(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private = project.path.with_name(f"{project.path.name}-private.png")
    picture(5).save(private)
    project.one("region_emd: 1.0e+9")
    project.run("--editeval-results", "run.jsonl")
    text = (project.path / "run.jsonl").read_text("utf-8")
    (project.path / "run.jsonl").write_text(text.replace('"edited": "other.png"', f'"edited": "{private}"'), "utf-8")
    monkeypatch.chdir(project.path)
    pages = {}
    for mode in ("on", "off"):
        assert main(["report", "run.jsonl", "--no-gates", "--root-only", mode]) == 0
        pages[mode] = (project.path / "report.html").read_text("utf-8")
    assert "--root-only off would allow it" in pages["on"]
    assert pages["on"].count("data:image") <= pages["off"].count("data:image")
    assert len(pages["off"]) > len(pages["on"]) + 1000


@pytest.mark.parametrize("command", ["lint", "noise"])
def test_the_commands_refuse_too(
    project: Project, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.one("region_emd: 1.0e+9", edited="/etc/passwd")
    monkeypatch.chdir(project.path)
    assert main([command, "a.edit.yaml", "--config", "tiny.yaml"]) == 1
    assert "a.edit.yaml:1:" in (out := capsys.readouterr().out)
    assert "'/etc/passwd' is outside" in out
    assert "--root-only off would allow it" in out


def test_a_wrong_value_of_the_option_is_one_line(project: Project) -> None:
    result = project.run("-o", "editeval_root_only=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: unknown editeval_root_only 'maybe'; allowed: on, off"])
