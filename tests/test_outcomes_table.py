"""Every way a check can end: what the exit status, JUnit and the results file say, as docs/outcomes.md has it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from endings import Way
from pytest_editeval import registry
from ways import WAYS

PAGE = Path(__file__).parents[1] / "docs" / "outcomes.md"
ANY = "any"
RUNS = [
    pytest.param(way, index, id=f"{way.name}-{('plain', 'xdist')[index]}")
    for way in WAYS
    for index in (0, 1)
    if way.statuses[index] is not None
]
NOT_RUN = ("skipped", "not run")


@pytest.mark.parametrize(("way", "index"), RUNS)
def test_a_way_to_end(
    way: Way, index: int, pytester: pytest.Pytester, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setenv("COLUMNS", "240")
    folder = pytester.path
    way.write(folder, models)
    pytester.makeini("[pytest]\nediteval_device = cpu\n")
    cache = () if {"--lf", "--sw"} & {*way.options} else ("-p", "no:cacheprovider")
    arguments = ["-v", *cache, "--editeval-results=rows.jsonl", "--junitxml=junit.xml", "--editeval-cache=off"]
    arguments += [*(("-n", "2") if index else ()), *way.options]
    if way.apart:
        result = pytester.runpytest_subprocess(*arguments)
    else:
        result = pytester.runpytest_inprocess(*arguments, no_reraise_ctrlc=True)
    assert int(result.ret) == way.statuses[index]
    if way.line:
        result.stdout.fnmatch_lines([way.line])
    output = result.stdout.str()
    if way.pytest != ANY:
        assert verdict(output) == way.pytest
    rows = rows_in(folder / "rows.jsonl")
    mine = [row for row in rows if row["case"] == "subject"]
    if way.row != ANY:
        assert [row["outcome"] for row in mine] == ([] if way.row == "none" else [way.row])
        assert all(way.detail in (row["detail"] or "") for row in mine)
    if way.junit != ANY:
        assert in_junit(folder / "junit.xml") == way.junit
    if way.gate != ANY:
        assert gate_in(folder / "junit.xml") == way.gate
    assert len({row["node_id"] for row in rows}) == len(rows)
    if found := re.search(r"^checks: (\d+) = (.+)", output, re.MULTILINE):
        counts = {name: int(count) for count, name in re.findall(r"(\d+) ([a-z ]+?)(?: \+|$)", found[2])}
        assert int(found[1]) == sum(counts.values())
        if "--editeval-results=occupied/rows.jsonl" not in way.options and "without a row" not in output:
            assert len(rows) == sum(count for name, count in counts.items() if name not in NOT_RUN)
        if way.row == "none" and way.pytest == "none":
            assert counts.get("not run", 0) > 0


def verdict(output: str) -> str:
    """The words that pytest has for the check, in the order in which they come."""
    words = re.findall(
        r"^(?:\[gw\d\] \[ *\d+%\] )?(PASSED|FAILED|ERROR|XFAIL|SKIPPED|RERUN)(?: \(.*\))? one\.edit\.yaml::subject"
        r"|^one\.edit\.yaml::subject\S* (PASSED|FAILED|ERROR|XFAIL|SKIPPED|RERUN)",
        output,
        re.MULTILINE,
    )
    found = dict.fromkeys(one or other for one, other in words)
    names = {"XFAIL": "xfailed"}
    return ", ".join(names.get(word, word.lower()) for word in found) or "none"


def rows_in(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def in_junit(path: Path) -> str:
    """The element of the check."""
    if not path.exists():
        return "none"
    cases = [case for case in ElementTree.parse(path).iter("testcase") if "subject" in case.get("classname", "")]
    found = {child.tag for case in cases for child in case} & {"failure", "error", "skipped"}
    return ", ".join(sorted(found)) or ("passed" if cases else "none")


def gate_in(path: Path) -> str:
    if not path.exists():
        return "not judged"
    gates = [case for case in ElementTree.parse(path).iter("testcase") if case.get("classname", "").endswith(".gates")]
    return "not judged" if not gates else "passes" if all(gate.find("failure") is None for gate in gates) else "fails"


def test_the_page_has_these_rows_and_no_others() -> None:
    table = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    written = [[cell.strip() for cell in line.split("|")[1:7]] for line in table]
    assert written == [[way.name, way.pytest, _either(way.statuses), way.junit, way.row, way.gate] for way in WAYS]


def _either(statuses: tuple[int | None, int | None]) -> str:
    shown = ["-" if status is None else str(status) for status in statuses]
    return " / ".join(dict.fromkeys(shown))


def test_no_way_is_green_that_should_not_be() -> None:
    for way in WAYS:
        if 0 in way.statuses:
            assert way.row == "passed" or way.pytest == "xfailed", way.name
