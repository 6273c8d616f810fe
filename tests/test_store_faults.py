"""Whatever happens to the store's folder: nothing wrong is ever read from it, and no run ends otherwise for it."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints import make_timm
from hammering import hammered
from project import Project
from pytest_editeval import digests
from pytest_editeval.needs import ImageRef
from pytest_editeval.results import Score
from pytest_editeval.scoring import store as store_module
from pytest_editeval.scoring.store import Kind, Store, _head

PATCHES = np.arange(12, dtype=np.float32).reshape(4, 3)
CLS = np.array([1, 2, 3], np.float32)
KEYS = ("0123456789abcdef" * 2, "01" * 16)
KINDS: tuple[Kind, ...] = ("features", "scores", "images", "digests")
KIND = st.sampled_from(KINDS)
PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])


def score(place: int) -> Score:
    return Score("emd", 0.1 + place, None, {"pairs": [1e-300, place]})


def save(store: Store) -> None:
    """Two entries of each kind, all different."""
    for place, key in enumerate(KEYS):
        store.save(key, PATCHES + place, CLS + place, f"mask{place}")
        store.save_score(key, score(place))
        store.save_image(key, ImageRef(f"{place}f" * 16, (640 + place, 480)))
        store.save_digest(key, f"{place}d" * 32)


@contextmanager
def filled() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder, "store"))
        save(store)
        yield store


def there(store: Store) -> set[tuple[Kind, int]]:
    """Which entries are there; every one of them holds what was stored."""
    found: set[tuple[Kind, int]] = set()
    for place, key in enumerate(KEYS):
        if (features := store.load(key)) is not None:
            assert np.array_equal(features[0], PATCHES + place)
            assert np.array_equal(features[1], CLS + place)
            assert features[0].dtype == features[1].dtype == np.float32
            assert features[2] == f"mask{place}"
            found.add(("features", place))
        if (value := store.load_score(key)) is not None:
            assert value == (score(place), True)
            found.add(("scores", place))
        if (ref := store.load_image(key)) is not None:
            assert ref == ImageRef(f"{place}f" * 16, (640 + place, 480))
            found.add(("images", place))
        if (digest := store.load_digest(key)) is not None:
            assert digest == f"{place}d" * 32
            found.add(("digests", place))
    return found


ALL = {(kind, place) for kind in KINDS for place in range(2)}


def truncated(path: Path, random: random.Random, others: list[Path]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content))])


def bit_flipped(path: Path, random: random.Random, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def replaced_by_another(path: Path, random: random.Random, others: list[Path]) -> None:
    shutil.copy(random.choice(others), path)


def longer(path: Path, random: random.Random, others: list[Path]) -> None:
    with path.open("ab") as stream:
        stream.write(random.randbytes(random.randint(1, 9)))


def noise(path: Path, random: random.Random, others: list[Path]) -> None:
    path.write_bytes(random.randbytes(random.randrange(300)))


def a_directory(path: Path, random: random.Random, others: list[Path]) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path, random: random.Random, others: list[Path]) -> None:
    path.unlink()
    os.mkfifo(path)


def a_device_without_end(path: Path, random: random.Random, others: list[Path]) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def a_link_to_another(path: Path, random: random.Random, others: list[Path]) -> None:
    path.unlink()
    path.symlink_to(random.choice([*others, Path("/etc/passwd"), Path("/nowhere"), path]))


def larger_than_any(path: Path, random: random.Random, others: list[Path]) -> None:
    """One that has no bytes on disk, and more than there is memory."""
    with path.open("r+b") as stream:
        stream.truncate(1 << 42)


def of_another_format(path: Path, random: random.Random, others: list[Path]) -> None:
    body = path.read_bytes().partition(b"\n")[2]
    version = store_module.FORMAT
    try:
        store_module.FORMAT = "editeval-0"  # type: ignore[misc]
        path.write_bytes(_head(path.parts[-3], path.name, body) + b"\n" + body)  # type: ignore[arg-type]
    finally:
        store_module.FORMAT = version  # type: ignore[misc]


FAULTS = (
    truncated,
    bit_flipped,
    replaced_by_another,
    longer,
    noise,
    a_directory,
    a_pipe,
    a_device_without_end,
    a_link_to_another,
    larger_than_any,
    of_another_format,
)


@given(
    st.lists(st.tuples(KIND, st.integers(0, 1), st.sampled_from(FAULTS)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_entry_is_right_or_absent_and_the_next_write_repairs_it(
    faults: list[tuple[Kind, int, Callable[[Path, random.Random, list[Path]], None]]], random: random.Random
) -> None:
    with filled() as store:
        hit: set[tuple[Kind, int]] = set()
        for kind, place, fault in faults:
            if (kind, place) in hit:
                continue
            path = store._path(kind, KEYS[place])
            others = [store._path(other, KEYS[at]) for other, at in sorted(ALL - hit - {(kind, place)})]
            if others:
                fault(path, random, others)
                hit.add((kind, place))
        assert there(store) == ALL - hit
        save(store)
        assert there(store) == ALL
        assert not store.unwritten


def test_every_byte_of_an_entry_matters() -> None:
    with filled() as store:
        for kind in KINDS:
            path = store._path(kind, KEYS[0])
            content = path.read_bytes()
            for end in range(len(content)):
                path.write_bytes(content[:end])
                assert (kind, 0) not in there(store)
            path.write_bytes(content)
        assert there(store) == ALL


def npy(header: str, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    return magic + len(header).to_bytes(2, "little") + header.encode() + data


def array(shape: str, data: bytes = b"", dtype: str = "'<f4'", order: str = "False") -> bytes:
    return npy(f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n", data)


GOOD = array("(4, 3)", PATCHES.tobytes()), array("(3,)", CLS.tobytes())
FOREIGN_FEATURES = {
    "nothing": b"",
    "one array": GOOD[0],
    "no array": b"{}" * 99,
    "a claim of four terabytes": array("(1000000, 1000000)", b"1234") + GOOD[1],
    "a claim past any integer": array(f"({'9' * 30}, 3)") + GOOD[1],
    "no side": array("(0, 3)") + array("(0,)"),
    "a negative side": array("(-4, -3)", PATCHES.tobytes()) + GOOD[1],
    "objects": array("(1, 3)", b"cos\nsystem\n(S'touch bad'\ntR.", "'|O'") + GOOD[1],
    "doubles": array("(4, 3)", PATCHES.astype("<f8").tobytes(), "'<f8'") + GOOD[1],
    "records": array("(4, 3)", PATCHES.tobytes(), "[('a', '<f4')]") + GOOD[1],
    "columns first": array("(4, 3)", PATCHES.tobytes(), order="True") + GOOD[1],
    "three dimensions": array("(4, 3, 1)", PATCHES.tobytes()) + GOOD[1],
    "another width": array("(3, 4)", PATCHES.tobytes()) + GOOD[1],
    "two matrices": GOOD[0] + GOOD[0],
    "a NaN": array("(4, 3)", (PATCHES * np.nan).tobytes()) + GOOD[1],
    "an infinite CLS": GOOD[0] + array("(3,)", np.full(3, np.inf, np.float32).tobytes()),
    "a mask of other bytes": b"".join(GOOD) + b"\xff\xfe",
    "code in the header": npy("__import__('os').system('touch bad')") + GOOD[1],
    "brackets without end": npy("(" * 60000) + GOOD[1],
    "version 3": npy("{'descr': '<f4', }\n", magic=b"\x93NUMPY\x03\x00") + GOOD[1],
}
DEEP = "[" * 100_000
SCORE: dict[str, Any] = score(0).to_data()
FAILURE = {"reason": "no-boxes", "detail": "There are none."}
FOREIGN_SCORES = {
    "nothing": "",
    "no JSON": "{metric: emd}",
    "not UTF-8": b"\xff",
    "a list": [SCORE],
    "null": None,
    "a number": 3.5,
    "without a value": {key: value for key, value in SCORE.items() if key != "value"},
    "with another key": SCORE | {"threshold": 1.0},
    "a text for a value": SCORE | {"value": "0.5"},
    "true for a value": SCORE | {"value": True},
    "a list for a value": SCORE | {"value": [0.5]},
    "NaN": json.dumps(SCORE).replace("0.1", "NaN"),
    "infinity": json.dumps(SCORE).replace("0.1", "-Infinity"),
    "a number past all floats": json.dumps(SCORE).replace("0.1", "9" * 999),
    "a number past all integers": json.dumps(SCORE).replace("0.1", "9" * 9999),
    "neither value nor failure": SCORE | {"value": None},
    "no name": SCORE | {"metric": 3},
    "details that are none": SCORE | {"details": []},
    "an unknown reason": SCORE | {"soft_failure": FAILURE | {"reason": "mood"}},
    "a reason that is a list": SCORE | {"soft_failure": FAILURE | {"reason": []}},
    "a failure without words": SCORE | {"soft_failure": {"reason": "no-boxes"}},
    "a failure that is a text": SCORE | {"soft_failure": "no-boxes"},
    "an empty failure": SCORE | {"soft_failure": {}},
    "nested without end": DEEP,
    "details nested without end": json.dumps(SCORE).replace("[1e-300", DEEP),
}
FOREIGN_IMAGES = {
    "nothing": "",
    "an object": {"digest": "0f"},
    "no size": ["0f" * 16],
    "another length": ["0f" * 16, 640, 480, 3],
    "a digest that is a path": ["../../etc/passwd", 640, 480],
    "a digest that is a number": [15, 640, 480],
    "an empty digest": ["", 640, 480],
    "no side": ["0f" * 16, 0, 480],
    "a negative side": ["0f" * 16, -640, 480],
    "a broken side": ["0f" * 16, 640.5, 480],
    "true for a side": ["0f" * 16, True, 480],
    "a text for a side": ["0f" * 16, "640", 480],
    "nested without end": DEEP,
}
FOREIGN_DIGESTS = {
    "nothing": "",
    "too short": "0d" * 31,
    "too long": "0d" * 33,
    "capitals": "0D" * 32,
    "a line end": "0d" * 32 + "\n",
    "other letters": "0g" * 32,
    "digits of other scripts": "٣" * 64,
    "not ASCII": b"\xff" * 64,
}


def of_a_run(body: object) -> bytes:
    """A score's body as the second part of an entry whose first part is right."""
    if isinstance(body, bytes):
        return b'["a run", ' + body + b"]"
    return f'["a run", {body if isinstance(body, str) else json.dumps(body)}]'.encode()


FOREIGN = [
    *(("features", name, b"a run\n" + body) for name, body in FOREIGN_FEATURES.items()),
    ("features", "of no run", b"".join(GOOD)),
    *(("scores", name, of_a_run(body)) for name, body in FOREIGN_SCORES.items()),
    ("scores", "of no run", SCORE),
    ("scores", "of a number", [3, SCORE]),
    ("scores", "of two runs", ["a run", "a run", SCORE]),
    *(("images", name, body) for name, body in FOREIGN_IMAGES.items()),
    *(("digests", name, body) for name, body in FOREIGN_DIGESTS.items()),
]


def put(store: Store, kind: Kind, body: object) -> None:
    """What another program writes, which knows how the checksum is made."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    store._path(kind, KEYS[0]).write_bytes(_head(kind, KEYS[0], data) + b"\n" + data)


@pytest.mark.parametrize(
    ("kind", "body"), [pytest.param(kind, body, id=f"{kind}-{name}") for kind, name, body in FOREIGN]
)
def test_what_another_program_wrote_under_a_right_checksum_is_absent(
    kind: Kind, body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled() as store:
        monkeypatch.chdir(store.folder)
        put(store, kind, body)
        assert there(store) == ALL - {(kind, 0)}
        assert not Path("bad").exists()
        save(store)
        assert there(store) == ALL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*SCORE]), part, max_size=4),
    max_leaves=8,
)


@given(KIND, st.binary(max_size=200) | JSON)
@settings(deadline=None)
def test_no_body_of_another_program_raises(kind: Kind, body: object) -> None:
    with filled() as store:
        put(store, kind, body)
        for load in (store.load, store.load_score, store.load_image):
            load(KEYS[0])


@given(st.dictionaries(st.sampled_from([*SCORE, "other"]), JSON))
def test_a_score_of_foreign_data_is_a_score_or_a_value_error(data: dict[str, Any]) -> None:
    try:
        found = Score.from_data(data)
    except ValueError:
        return
    assert found.to_data() == data


def test_entries_are_what_numpys_own_writer_makes() -> None:
    """The header is read by an expression of ours, and NumPy may change how it writes one."""
    import io

    stream = io.BytesIO(b"a run\n")
    stream.seek(0, io.SEEK_END)
    for features in (PATCHES, CLS):
        np.lib.format.write_array(stream, features, allow_pickle=False)
    stream.write(b"mask0")
    with filled() as store:
        put(store, "features", stream.getvalue())
        assert there(store) == ALL
        assert [stored.own for key in KEYS if (stored := store.load(key))] == [False, True]


@pytest.mark.parametrize("what", ["the program", "a library"])
def test_another_version_has_other_keys(what: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> str:
        result = project.pytester.runpytest("-p", "no:cacheprovider", "--editeval-cache-dir", "mine")
        result.assert_outcomes(passed=1)
        return next(line for line in result.outlines if line.startswith("scores:"))

    project.one("region_emd: 1.0e+9")
    first = work()
    assert first.startswith("scores: 1 computed")
    assert work() == "scores: 0 computed, 1 remembered"
    if what == "the program":
        changed = project.path / "changed.py"
        changed.write_text("# another release", "utf-8")
        original = digests._files_digest
        digests.own_code.cache_clear()
        monkeypatch.setattr(digests, "_files_digest", lambda files: original([*files, changed]))
    else:
        digests.versions.cache_clear()
        digests.version_of.cache_clear()
        monkeypatch.setattr(digests, "version", lambda name: "1.0")
    try:
        assert work() == first
    finally:
        digests.own_code.cache_clear()
        digests.versions.cache_clear()
        digests.version_of.cache_clear()


@pytest.mark.parametrize("library", ["timm", "torchao", "accelerate"])
def test_the_version_of_what_only_some_need_is_in_their_keys_and_rows(
    library: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features by another timm are not taken as known; a run that needs no timm does not ask which there is."""
    config = (project.path / "tiny.yaml").read_text("utf-8")
    if library == "timm":
        folder = make_timm(
            project.path / "vit", "vit_small_patch16_224", embed_dim=48, depth=1, num_heads=3, img_size=64
        )
        mine = config.replace(f"{project.models}/dinov3}}", f"{folder}}}")
    else:
        choice = {"torchao": "quantize: int8", "accelerate": "device_map: auto"}[library]
        mine = config.replace("/dinov3}", f"/dinov3, {choice}}}")

    def work() -> str:
        project.write("tiny.yaml", text)
        options = ("--editeval-cache-dir", "mine", "--editeval-results", "rows.jsonl")
        result = project.pytester.runpytest("-p", "no:cacheprovider", *options)
        result.assert_outcomes(passed=1)
        return next(line for line in result.outlines if line.startswith("scores:"))

    def told() -> str | None:
        row = json.loads((project.path / "rows.jsonl").read_text("utf-8"))
        versions: dict[str, str] = row["versions"]
        return versions.get(library)

    project.one("dinov3_structure_similarity: 0.0")
    installed = digests.version_of(library)
    for text, others in ((config, "scores: 0 computed, 1 remembered"), (mine, "scores: 1 computed")):
        assert work().startswith("scores: 1 computed")
        assert told() == (installed if text is mine else None)
        assert work() == "scores: 0 computed, 1 remembered"
        try:
            digests.version_of.cache_clear()
            with monkeypatch.context() as patched:
                patched.setattr(digests, "version", lambda name: "1.0" if name == library else version(name))
                assert work().startswith(others)
            assert told() == ("1.0" if text is mine else None)
        finally:
            digests.version_of.cache_clear()


def test_pruning_a_folder_given_by_mistake_leaves_what_is_not_the_stores(tmp_path: Path) -> None:
    """Somebody's documents, with folders of the same names."""
    key = KEYS[0]
    mine = [
        tmp_path / name
        for name in (
            "thesis.tex",
            "scores/2024.csv",
            "images/01/holiday.jpg",
            "features/list.tmp",
            f"features/ab/{key}",  # not in the folder of its first digits
            f"features/01/{key}.npy",
            f"features/01/{key.upper()}",
            f"scores/01/deep/01/{key}",
            f"scores/{key}",
            "images/01/0123",
        )
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (1, 1))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / key).write_bytes(b"x")
    store = Store(tmp_path, max_bytes=1)
    save(store)
    (tmp_path / "features/01" / ("01" + "f" * 30)).symlink_to(elsewhere / key)
    (tmp_path / "features/01" / ("01" + "e" * 30)).mkdir()
    assert store.score_count() == 2
    store.prune()
    assert not there(store)
    assert all(path.read_bytes() == b"x" * 1000 for path in mine)
    assert (elsewhere / key).exists()


def test_what_is_not_the_stores_takes_none_of_its_room(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=10_000)
    save(store)
    (tmp_path / "scores/large.bin").write_bytes(b"x" * 20_000)
    store.prune()
    assert there(store) == ALL


def test_eight_processes_read_write_and_prune_one_store(tmp_path: Path) -> None:
    """`make store-test` does it for minutes."""
    found = hammered(tmp_path, processes=8, seconds=2.0, seed=random.randrange(1 << 32))
    assert found.wrong == 0
    assert found.right > 100
    assert found.absent > 0
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("call", ["mkdir", "write_bytes", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_is_counted_and_leaves_nothing(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fail)
        save(store)
        assert not there(store)
    assert store.unwritten == {os.strerror(code): len(ALL)}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    save(store)
    assert there(store) == ALL


FOLDER_AFTER = """
import os, shutil
from pathlib import Path

def pytest_runtest_logreport(report):
    store = Path({store!r})
    if report.when != "call" or not store.is_dir():
        return
    shutil.rmtree(store)
    if {blocked}:
        store.write_text("in the way", "utf-8")
"""


def rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines()
    return [json.loads(line) | {"duration": None, "remembered": None} for line in lines]


@pytest.fixture
def expected(project: Project) -> list[dict[str, Any]]:
    """What a run without a store gives."""
    project.cases()
    project.pytester.runpytest("-p", "no:cacheprovider", "--editeval-results", "expected.jsonl")
    return rows(project.path / "expected.jsonl")


def judged(project: Project, *options: str) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
    arguments = ("-p", "no:cacheprovider", "--editeval-cache-dir", "mine", "--editeval-results", "now.jsonl", *options)
    return project.pytester.runpytest(*arguments), rows(project.path / "now.jsonl")


@PLAIN_AND_XDIST
def test_a_folder_that_cannot_be_written_to_changes_no_verdict_and_is_one_line(
    project: Project, expected: list[dict[str, Any]], options: tuple[str, ...]
) -> None:
    (project.path / "file").write_text("in the way", "utf-8")
    result, found = judged(project, "--editeval-cache-dir", "file/store", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert found == expected
    result.stdout.fnmatch_lines(["editeval: store file/store (0 scores, cannot be written)"])
    lines = [line for line in result.outlines if line.startswith("the store")]
    assert len(lines) == 1
    assert lines[0].startswith("the store file/store could not be written, and remembers less: ")
    assert lines[0].endswith(" × Not a directory")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("blocked", [False, True], ids=["deleted", "replaced by a file"])
def test_a_folder_that_goes_while_it_is_used_changes_no_verdict(
    blocked: bool, project: Project, expected: list[dict[str, Any]]
) -> None:
    project.pytester.makeconftest(FOLDER_AFTER.format(store=str(project.path / "mine"), blocked=blocked))
    result, found = judged(project)
    assert found == expected
    if blocked:
        (project.path / "mine").unlink()
    (project.path / "conftest.py").unlink()
    result, found = judged(project)
    assert found == expected
    result, found = judged(project)
    assert found == expected
    result.stdout.fnmatch_lines(["scores: 0 computed, * remembered"])


def test_a_cache_directory_that_pytest_cannot_make_stops_nothing(
    project: Project, expected: list[dict[str, Any]]
) -> None:
    (project.path / ".pytest_cache").unlink(missing_ok=True)
    (project.path / ".pytest_cache").write_text("in the way", "utf-8")
    result = project.pytester.runpytest("--editeval-results", "now.jsonl", "-W", "ignore")
    assert rows(project.path / "now.jsonl") == expected
    result.stdout.fnmatch_lines(["the store .pytest_cache/d/editeval could not be written*: * × Not a directory"])


def test_a_real_limit_of_what_may_be_written_changes_no_verdict(project: Project) -> None:
    """As a full disk: of each entry the first bytes only."""
    project.one("region_emd: 1.0e+9")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--editeval-cache-dir", "mine"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))

    found = subprocess.run(
        command, cwd=project.path, preexec_fn=limited, capture_output=True, encoding="utf-8", check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "the store mine could not be written, and remembers less: 5 × File too large\n" in found.stdout, found.stdout
    assert not [path for path in (project.path / "mine").rglob("*") if path.is_file()]


def test_what_was_not_saved_is_said_in_a_quiet_run(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    (project.path / "file").write_text("in the way", "utf-8")
    result = project.pytester.runpytest("-q", "-p", "no:cacheprovider", "--editeval-cache-dir", "file/store")
    result.stdout.fnmatch_lines(["the store file/store could not be written, and remembers less: 5 × Not a directory"])
