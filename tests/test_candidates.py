"""Where the edits of candidates are looked for, and how several edits of a case are judged."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.candidates import Candidate, EditFinder, read_candidate, read_candidates
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import EditCase
from pytest_editeval.errors import CaseError, EditEvalError
from pytest_editeval.gating.verdicts import judge_repeats
from pytest_editeval.results import Outcome, Reason, Score, SoftFailure


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def case_of(path: str = "cases/a.edit.yaml", more: str = "", name: str = "red") -> EditCase:
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"cases: [{{id: {name}, instruction: -, source: a.png, metrics: {{emd: 1}}{more}}}]", "utf-8")
    (case,) = load_cases(file).cases
    assert isinstance(case, EditCase)
    return case


def touch(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(case: EditCase, finder: EditFinder | None = None, directory: Path | str = Path("v2")) -> list[str | None]:
    edits = (finder or EditFinder(Path.cwd())).edits(case, Candidate("v2", directory))
    return [edit.problem or str(edit.location) for edit in edits]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_an_edit_is_found_by_its_case_id(suffix: str) -> None:
    touch(f"v2/red{suffix}", "v2/redder.png")
    assert found(case_of()) == [f"v2/red{suffix}"]


def test_a_missing_edit_is_named() -> None:
    touch("v2/blue.png")
    assert found(case_of()) == ["image not found: v2/red.png (nor .jpg, .jpeg, .webp)"]
    assert found(case_of(more=", edited_pattern: 'out/{id}.png'")) == ["image not found: v2/out/red.png"]


def test_two_edits_of_one_name_are_not_chosen_between() -> None:
    touch("v2/red.png", "v2/red.jpg")
    assert found(case_of()) == ["image is ambiguous: v2/red.png and v2/red.jpg"]


def test_a_pattern_says_where() -> None:
    touch("v2/color/a/red-x.webp", "v2/cases/a/red.png")
    case = replace(case_of(more=", edited_pattern: '{task}/{file}/{id}-x'"), task="color")
    assert found(case) == ["v2/color/a/red-x.webp"]
    assert found(case_of(more=", edited_pattern: '{path}/{id}.png'")) == ["v2/cases/a/red.png"]


@pytest.mark.parametrize("form", ["v2/{seed}/red.png", "v2/red/{seed}.png", "v2/cases/a/{seed}/red.png"])
def test_a_directory_per_seed(form: str) -> None:
    touch(*(form.format(seed=seed) for seed in (3, 5)))
    case = case_of(more=", repeat: {pass: 1, of: 3, seeds: [3, 4, 5]}")
    first, second, third = found(case)
    assert (first, third) == (form.format(seed=3), form.format(seed=5))
    assert second == "image not found: v2/4/red.png (nor .jpg, .jpeg, .webp)"


def test_a_pattern_without_seed_cannot_hold_several_edits() -> None:
    with pytest.raises(CaseError, match=r"needs \{seed\}, because of 'repeat'"):
        found(case_of(more=", repeat: {pass: 1, of: 2}, edited_pattern: '{id}'"))


def test_one_image_is_not_taken_for_the_edit_of_two_cases() -> None:
    touch("v2/red.png")
    finder = EditFinder(Path.cwd())
    assert found(case_of(), finder) == ["v2/red.png"]
    (second,) = found(case_of("cases/b.edit.yaml"), finder)
    assert second is not None
    assert second.startswith("image v2/red.png is the edit of cases/a.edit.yaml::red already; set 'edited_pattern'")


def test_a_url_is_not_listed() -> None:
    assert found(case_of(), directory="s3://bucket/v2/") == ["s3://bucket/v2/red.png"]
    assert found(case_of(more=", edited_pattern: '{id}.webp'"), directory="s3://b") == ["s3://b/red.webp"]


def test_the_files_own_edits() -> None:
    case = case_of(more=", edited: 'out/{seed}.png', repeat: {pass: 1, of: 2}")
    edits = EditFinder(Path.cwd()).edits(case, None)
    assert [edit.location for edit in edits] == [Path.cwd() / "cases/out" / f"{seed}.png" for seed in (0, 1)]
    assert EditFinder(Path.cwd()).edits(case_of(), None)[0].location is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 2=out", "a name is letters, digits"),
        ("=out", "a name is letters, digits"),
        ("v2=", "candidate 'v2': nothing is no directory"),
        ("v2=gone", "candidate 'v2': gone is no directory"),
        ("destroyed=.", "that is a control"),
    ],
)
def test_what_is_no_candidate(text: str, message: str) -> None:
    with pytest.raises(EditEvalError, match=message):
        read_candidate(text, Path.cwd())


def test_candidates_have_names_of_their_own() -> None:
    assert read_candidates(["a=.", "b"], Path("x").parent) == (Candidate("a", Path()), Candidate("b", None))
    with pytest.raises(EditEvalError, match="'a' is given twice"):
        read_candidates(["a=.", "a"], Path.cwd())


SOFT = SoftFailure(Reason.NO_PATCH_SELECTED, "-")
VALUES = st.one_of(st.none(), st.floats(-2, 2), st.just(math.nan))


@given(st.lists(VALUES, min_size=1, max_size=6), st.data(), st.booleans(), st.sampled_from(["pass", "fail"]))
def test_a_quota_is_the_verdict_of_counting(
    values: list[float | None], data: st.DataObject, higher: bool, expect: str
) -> None:
    """Passed when enough pass; failed when, even if every soft failure had passed, not enough would."""
    quota = data.draw(st.integers(1, len(values)))
    scores = [Score("m", value, SOFT if value is None else None) for value in values]
    verdict, decides = judge_repeats(scores, 0.5, higher, expect, quota)  # type: ignore[arg-type]
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    good = [value for value in numbers if (value >= 0.5 if higher else value <= 0.5) == (expect == "pass")]
    soft = values.count(None)
    if len(good) >= quota:
        assert verdict.outcome is Outcome.PASSED
        ranked = sorted(good, reverse=higher == (expect == "pass"))
        assert scores[decides].value == ranked[quota - 1]
    elif len(good) + soft >= quota:
        assert verdict.outcome is Outcome.SOFT_FAILURE
        assert scores[decides].soft_failure is SOFT
    else:
        assert verdict.outcome is Outcome.FAILED
        assert scores[decides].value not in good


def test_four_of_five_is_decided_by_the_fourth_best() -> None:
    scores = [Score("emd", value) for value in (3.0, 1.0, 9.0, 2.0, 4.0)]
    verdict, decides = judge_repeats(scores, 4.0, False, "pass", 4)
    assert (verdict.outcome, verdict.margin, decides) == (Outcome.PASSED, 0.0, 4)
    verdict, decides = judge_repeats(scores, 3.5, False, "pass", 4)
    assert (verdict.outcome, verdict.margin, decides) == (Outcome.FAILED, -0.5, 4)
