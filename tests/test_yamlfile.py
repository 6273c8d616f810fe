import re
import runpy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval import yaml_loader, yamlfile
from pytest_editeval.errors import CaseError, ConfigError, Position
from pytest_editeval.yamlfile import Document, read_yaml


def read(tmp_path: Path, text: str | bytes, *, tuples: bool = False) -> Document:
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, CaseError, tuples=tuples)


def at(position: Position) -> tuple[int, int]:
    return position.line, position.column


def test_data_is_that_of_the_safe_loader(tmp_path: Path) -> None:
    text = (
        "text: plain\nquoted: '1'\nnumbers: [1, 0x10, 1_000, 2.5, .inf, -3]\ntruth: [true, no]\nnothing:\n"
        "date: 2024-01-02\nblock: |\n  two\n  lines\nnested: {a: [{b: c}]}\nequals: =\nempty: [[], {}]\n"
    )
    expected = yaml.safe_load(text.replace("equals: =", "equals: '='"))
    assert read(tmp_path, text).data == expected


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("1E5", 1e5), ("-2.5e3", -2500.0), (".5e1", 5.0), ("1e", "1e"), ("e1", "e1")]
)
def test_floats_of_yaml_1_2(tmp_path: Path, text: str, value: float | str) -> None:
    assert read(tmp_path, f"a: {text}").data == {"a": value}


def test_positions(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "# comment\nfirst: 1\nlist:\n  - name: x\n    boxes: [[1, 2],\n      [3, 4]]\nnone:\nlast: ü: b\n"[:-6],
    )
    assert at(document.position()) == (2, 1)
    assert at(document.position(("first",))) == (2, 8)
    assert at(document.position(("first",), key=True)) == (2, 1)
    assert at(document.position(("list", 0))) == (4, 5)
    assert at(document.position(("list", 0, "name"))) == (4, 11)
    assert at(document.position(("list", 0, "boxes", 1, 0))) == (6, 8)
    assert at(document.position(("none",))) == (7, 1), "an empty value is shown at its key"
    assert document.position().path == tmp_path / "file.yaml"


def test_position_of_what_is_not_there_is_the_nearest_key(tmp_path: Path) -> None:
    document = read(tmp_path, "a:\n  b:\n    c: 1\n  list: [x]\n")
    assert at(document.position(("a", "b", "missing"))) == (2, 3)
    assert at(document.position(("a", "b", "c", "deeper"))) == (3, 5)
    assert at(document.position(("a", "list", 7))) == (4, 3)
    assert at(document.position(("z",))) == (1, 1)
    assert ("a", "b", "c") in document
    assert ("a", "b", "missing") not in document


def test_columns_count_characters(tmp_path: Path) -> None:
    assert at(read(tmp_path, "{ä: ö, ü: [1]}").position(("ü", 0))) == (1, 12)
    assert at(read(tmp_path, "a: 1\r\nb: 2\r\n").position(("b",))) == (2, 4)
    assert at(read(tmp_path, "\ufeffa: 1").position(("a",))) == (1, 4)


def test_a_part_is_a_document_of_its_own(tmp_path: Path) -> None:
    document = read(tmp_path, "cases:\n  - id: a\n    boxes: [1, 2]\n  - &b {id: b}\n  - *b\ndefaults:\n")
    part = document.part(("cases", 0))
    assert part.data == {"id": "a", "boxes": [1, 2]}
    assert at(part.position()) == (2, 5)
    assert at(part.position(("boxes", 1))) == at(document.position(("cases", 0, "boxes", 1))) == (3, 16)
    assert part.place(("boxes", 2)) is None
    assert at(part.position(("boxes", 2))) == (3, 5)
    assert part.size() == document.size(("cases", 0)) == 4
    assert part.written(("id",)) == "a"
    assert at(document.part(("cases", 2)).position(("id",))) == (4, 13)
    assert at(document.part(("defaults",)).position(("x",))) == (6, 1), "the nearest key is the part's own"
    assert at(document.position()) == (1, 1), "the document is what it was"


def test_written_text_of_a_scalar(tmp_path: Path) -> None:
    document = read(tmp_path, "a: yes\nb: [010]\n")
    assert document.written(("a",)) == "yes"
    assert document.written(("b", 0)) == "010"
    assert document.written(("b",)) is None
    assert document.written(("c",)) is None


def test_aliases_and_merge_keys(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "base: &base {a: 1, b: 2}\nmore: &more\n  b: 3\n  c: 4\none:\n  <<: *base\n  b: 9\n"
        "two:\n  <<: [*base, *more]\nthree: {<<: {x: 1}, y: 2}\nfour: {<<: []}\nsame: *base\nvalue: <<\n",
    )
    assert document.data["one"] == {"a": 1, "b": 9}
    assert document.data["two"] == {"a": 1, "b": 2, "c": 4}
    assert document.data["three"] == {"x": 1, "y": 2}
    assert document.data["four"] == {}
    assert document.data["same"] == {"a": 1, "b": 2}
    assert document.data["value"] == "<<"
    assert at(document.position(("one", "a"))) == (1, 17), "a merged value stands where it is written"
    assert at(document.position(("one", "b"))) == (7, 6)
    assert at(document.position(("two", "c"), key=True)) == (4, 3)


def test_tuples_only_where_they_are_allowed(tmp_path: Path) -> None:
    assert read(tmp_path, "a: !tuple [1, [2]]", tuples=True).data == {"a": (1, [2])}
    with pytest.raises(CaseError, match="1:4: unknown YAML tag '!tuple'"):
        read(tmp_path, "a: !tuple [1]")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_an_empty_file_has_no_data(tmp_path: Path, text: str) -> None:
    document = read(tmp_path, text)
    assert document.data is None
    assert document.position(("a",)) == document.position()


BAD = {
    "unclosed list": ("a: [1,\n", "2:1: not YAML: did not find expected node content"),
    "colon in a value": ("a: b: c", "1:5: a ':' is not allowed here"),
    "bad indentation": ("a:\n  b: 1\n c: 2", "3:2: not YAML: did not find expected key"),
    "tab": ("a:\n\tb: 1", "2:1: a tab cannot stand here"),
    "reserved character": ("a: @x", "1:4: this character cannot start a value"),
    "unclosed quote": ('a: "x', "1:6: not YAML: found unexpected end of stream"),
    "undefined alias": ("a: *x", "1:4: alias to an anchor that is not defined before it"),
    "duplicate key": ("a: 1\nb: 2\na: 3", "3:1: duplicate key 'a'; it is first written in line 1"),
    "duplicate key, nested": ("x:\n  - {k: 1, k: 2}", "2:12: duplicate key 'k'; it is first written in line 2"),
    "duplicate merge": ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "2:13: duplicate key '<<'"),
    "duplicate anchor": ("a: &x 1\nb: &x 2", "2:4: duplicate anchor"),
    "merge of text": ("a: {<<: b}", "1:9: '<<' merges a mapping, or a list of mappings"),
    "python object": (
        "a: !!python/object/apply:os.system [ls]",
        "1:4: unsafe YAML tag '!!python/object/apply:os.system'",
    ),
    "python name": ("- !!python/name:os.system x", "1:3: unsafe YAML tag '!!python/name:os.system'"),
    "long form of the tag": ("!<tag:yaml.org,2002:python/none> x", "1:1: unsafe YAML tag '!!python/none'"),
    "own tag": ("a: !mine x", "1:4: unknown YAML tag '!mine'"),
    "tag on a mapping": ("a: !mine {b: 1}", "1:4: unknown YAML tag '!mine'"),
    "tag on a list": ("a: !!python/tuple [1]", "1:4: unsafe YAML tag '!!python/tuple'"),
    "tag on a key": ("!mine a: 1", "1:1: unknown YAML tag '!mine'"),
    "set": ("a: !!set {b}", "1:4: YAML tag '!!set' cannot be used here"),
    "binary": ("a: !!binary aGk=", "1:4: YAML tag '!!binary' cannot be used here"),
    "tag that does not fit": ("a: !!str [b]", "1:4: YAML tag '!!str' cannot be used here"),
    "no number": ("a: !!int b", "1:4: 'b' is not a valid int"),
    "no truth": ("a: !!bool b", "1:4: 'b' is not a valid bool"),
    "no date": ("a: 2024-13-45", "1:4: '2024-13-45' is not a valid date"),
    "long number": ("a: " + "9" * 201, "1:4: a number of more than 200 characters"),
    "list as a key": ("? [a]\n: 1", "1:3: a key must be text"),
    "mapping as a key": ("{{a: b}: 1}", "1:2: a key must be text"),
    "alias to itself": ("a: &a [*a]", "1:8: an alias refers to the part that it stands in"),
    "merge of itself": ("a: &a\n  <<: *a", "2:7: an alias refers to the part that it stands in"),
    "two documents": ("a: 1\n---\nb: 2", "2:1: the file holds several documents; it must hold one"),
    "NUL": ("a: 1\nb: \0", "2:4: character U+0000 is not allowed in YAML"),
    "escape": ("a: \x1b", "1:4: character U+001B is not allowed in YAML"),
    "not UTF-8": (b"a: 1\nb: \xff", "2:4: not UTF-8 text"),
    "not UTF-8 after a mark": (b"\xef\xbb\xbfa: 1\nb: \xff", "2:4: not UTF-8 text"),
    "not UTF-8, at once after a mark": (b"\xef\xbb\xbf\xff", "1:1: not UTF-8 text"),
    "line ends of Mac OS 9": ("a: 1\rb: \0", "2:4: character U+0000 is not allowed in YAML"),
    "UTF-16": ("a: 1".encode("utf-16"), "1:1: not UTF-8 text"),
    "deep lists": ("[" * 100_000, "1:101: nested deeper than 100 levels"),
    "deep mappings": ("{a: " * 5_000, "nested deeper than 100 levels"),
    "deep blocks": ("- " * 100_000, "nested deeper than 100 levels"),
    "deep keys": ("? " * 100_000, "1:3: a key must be text"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_files(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        read(tmp_path, text)
    line = str(caught.value).splitlines()[0]
    assert line.startswith(f"{tmp_path / 'file.yaml'}:")
    assert message in line


def test_alias_bombs(tmp_path: Path) -> None:
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lists += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(CaseError, match=r"aliases expand this file by more than 2,000,000 values"):
        read(tmp_path, "\n".join(lists))
    merges = ["m0: &m0 {k0: 1}"] + [f"m{n}: &m{n} {{<<: *m{n - 1}, k{n}: 1}}" for n in range(1, 4000)]
    with pytest.raises(CaseError, match=r"aliases expand this file by more than 2,000,000 values"):
        read(tmp_path, "\n".join(merges))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "missing.yaml", "1:1: cannot be read: No such file or directory"),
        (tmp_path, "1:1: cannot be read: Is a directory"),
        (tmp_path / "a\0b", "1:1: cannot be read: embedded null byte"),
    ):
        with pytest.raises(CaseError) as caught:
            read_yaml(path, CaseError)
        assert str(caught.value) == f"{path}:{message}".replace("\0", r"\x00")


def test_without_libyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    loader = runpy.run_path(str(yaml_loader.__file__))["Loader"]
    assert issubclass(loader, yaml.SafeLoader)
    monkeypatch.setattr(yamlfile, "Loader", loader)
    assert read(tmp_path, "{a: [1e-3, true, 2024-01-02], b: &b {c: ~}, d: {<<: *b}}").data == {
        "a": [0.001, True, date(2024, 1, 2)],
        "b": {"c": None},
        "d": {"c": None},
    }
    assert at(read(tmp_path, "a:\n  - b: ü\n").position(("a", 0, "b"))) == (2, 8)
    with pytest.raises(CaseError, match="nested deeper than 100 levels"):
        read(tmp_path, "[" * 1000)
    with pytest.raises(CaseError, match="text with half of a surrogate pair"):
        read(tmp_path, 'a: "\\ud800"')
    with pytest.raises(CaseError, match="1:5: "):
        read(tmp_path, "a: b: c")


# Left out: NEL, which PyYAML writes unquoted, and texts that are numbers for us, but not for PyYAML.
TEXTS = st.text(max_size=8).filter(
    lambda text: "\x85" not in text and not re.fullmatch(r"[-+]?[\d_.]*[eE][-+]?\d+", text)
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | TEXTS
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner))


def paths(data: Any) -> list[tuple[Any, ...]]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [(), *((key, *rest) for key, child in children for rest in paths(child))]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yaml")


@given(data=TREES, flow=st.sampled_from([True, False, None]))
def test_round_trip(directory: Path, data: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow)
    document = read(directory, text)
    assert document.data == data
    lines = text.split("\n")
    for path in paths(data):
        value = document.data
        for key in path:
            value = value[key]
        assert path in document
        position = document.position(path)
        if isinstance(value, int) and not isinstance(value, bool) and not set("\u2028\u2029") & set(text):
            assert lines[position.line - 1][position.column - 1 :].startswith(str(value))


@given(tree=TREES, flow=st.sampled_from([True, False, None]))
def test_places_are_those_of_pyyaml_s_own_nodes(directory: Path, tree: Any, flow: bool | None) -> None:
    """Its composer makes a tree of nodes first; parts that are written once and named again are the same node."""
    data = {"first": tree, "again": [tree, {"inner": tree}], "last": [0, {}]}
    text = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow)
    document = read(directory, text)
    assert document.data == data
    root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for path in paths(data):
        key_node, node = None, root
        for step in path:
            if isinstance(node, yaml.MappingNode):
                keys = yaml.SafeLoader("").construct_object
                key_node, node = next(pair for pair in node.value if keys(pair[0]) == step)
            else:
                key_node, node = None, node.value[step]
        marks = [node.start_mark, *([] if key_node is None else [key_node.start_mark])]
        assert at(document.position(path)) == (marks[0].line + 1, marks[0].column + 1)
        assert document.place(path, key=True) == document.position(path, key=True)
        assert at(document.position(path, key=True)) == (marks[-1].line + 1, marks[-1].column + 1)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60), st.text("[]{}:-,&*!<>|\"'# \n\tab1?%@=~.", max_size=60)))
def test_any_file_is_read_or_refused_with_a_position(directory: Path, content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    try:
        document = read(directory, data)
    except CaseError as error:
        caught: CaseError | None = error
    else:
        caught = None
        assert document.data is None or all(path in document for path in paths(document.data))
    assert caught is None or (min(at(caught.position)) >= 1 and "\n" not in caught.message)


def test_a_reference_inside_braces_is_told_to_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("emd: {default_config: ${pipes.clip-pipe}, scope: edit_area}\n", "utf-8")
    with pytest.raises(ConfigError, match=r'a\.yaml:1:\d+: not YAML: .*\n.*quoted: "\$\{\.\.\.\}"'):
        read_yaml(path, ConfigError)
