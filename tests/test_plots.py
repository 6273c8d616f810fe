"""Pictures of results: what stands in them, counted in the text of SVGs, and the command."""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_editeval.cli import main
from pytest_editeval.reports.drawing import bin_edges
from pytest_editeval.reports.plot_panels import PANELS, counted
from pytest_editeval.reports.plotting import Pictures
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.results_file import write_results
from rows import result

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>&\"'",
    "$\\frac{x}{$",
    "\x00\x1b[31m",
    "שלום",
    "👩‍👧",
    "日本語",
    "a" * 10_000,
    "\u202eevil",
    "_under",
    "new\nline",
]


def soft(**overrides: object) -> CheckResult:
    return result(score=None, outcome=Outcome.SOFT_FAILURE, **overrides)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plotted(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a run of the command that ends well, with SVGs in `out`."""
    assert main(["plot", *arguments, "--output", "out", "--format", "svg"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def texts(name: str) -> list[str]:
    root = ElementTree.parse(Path("out") / name).getroot()
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def drawn(name: str, color: str) -> int:
    """How many markers of a colour a picture has."""
    uses = ElementTree.parse(Path("out") / name).getroot().iter(f"{SVG}use")
    return sum(color in use.get("style", "").lower() for use in uses)


def emd(count: int, **overrides: object) -> list[CheckResult]:
    """Scores 0, 1, ... of a metric that is better when lower, against 5."""
    return [
        result(**{"case": f"c{score}", "metric": "emd", "threshold": 5.0, "score": float(score)} | overrides)
        for score in range(count)
    ]


def test_scores_are_counted_and_their_threshold_noise_and_controls_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = emd(9, noise=0.25)
    rows += [soft(case="s", metric="emd"), result(case="e", metric="emd", score=None, outcome=Outcome.ERROR)]
    rows += [result(case="n", metric="emd", score=math.nan, outcome=Outcome.FAILED)]
    rows += [result(case="d", metric="emd", score=4.0, threshold=5.0, control="destroyed", expect="fail")]
    rows += [result(case="d2", metric="emd", score=9.0, threshold=5.0, control="destroyed", expect="fail")]
    rows += [result(case="b", metric="emd", score=8.0, threshold=5.0, expect="fail")]
    write_results(folder / "run.jsonl", rows)
    assert plotted(capsys, "run.jsonl", "--kind", "scores") == ["wrote out/scores-emd.svg"]
    found = texts("scores-emd.svg")
    for text in (
        "Scores of emd, profile tiny",
        "9 scores: 6 passed, 3 failed · 1 soft failure · 1 error · 1 not finite, or too large to draw",
        "threshold ≤ 5",
        "noise ± 0.25",
        "destroyed (2)",
        "expected to fail (1)",
        "let through",
        "emd   (← lower is better)",
    ):
        assert text in found


def test_a_threshold_for_every_check_is_a_tick_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in (12, 13):
        rows = [result(case=f"c{i}", metric="emd", score=1.0, threshold=2.0 + i, noise=0.1) for i in range(count)]
        write_results(folder / "run.jsonl", rows)
        plotted(capsys, "run.jsonl", "--kind", "scores")
        found = texts("scores-emd.svg")
        assert f"{count} thresholds ≤ 2 to {count + 1}" in found
        assert ("noise ± 0.1" in found) == (count == 12)


def test_every_margin_is_a_point_and_the_worst_of_each_task_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = emd(4, task="good") + emd(8, task="mixed", file="b.edit.yaml") + emd(1, task=None, file="c.edit.yaml")
    write_results(folder / "run.csv", rows)
    assert plotted(capsys, "run.csv", "--kind", "margins") == ["wrote out/margins-emd.svg"]
    found = texts("margins-emd.svg")
    # By the worst margin: 5 - 7, 5 - 3, 5 - 0.
    assert [text for text in found if re.search(r"\(\d\)$", text)] == ["mixed (8)", "good (4)", "(no task) (1)"]
    assert [text for text in found if re.search(r" c\d$", text)] == ["-2 c7", "2 c3", "5 c0"]
    # One of each in the legend.
    assert drawn("margins-emd.svg", "#0072b2") == 11 + 1
    assert drawn("margins-emd.svg", "#d55e00") == 2 + 1


def test_many_tasks_are_cut_and_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [result(case=f"c{i}", task=f"t{i}", score=float(i), metric="emd") for i in range(45)]
    write_results(folder / "run.jsonl", rows)
    plotted(capsys, "run.jsonl", "--kind", "margins")
    found = texts("margins-emd.svg")
    assert any(text.endswith("· 5 more tasks, whose worst margins are better") for text in found)
    assert "t44 (1)" in found
    assert "t4 (1)" not in found


def test_candidates_are_panels_of_their_own_and_no_picture_is_without_end(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for index in range(PANELS + 1) for row in emd(index + 1, candidate=f"v{index}")]
    write_results(folder / "run.jsonl", rows)
    lines = plotted(capsys, "run.jsonl")
    kinds = ("scores", "margins")
    assert lines == [f"wrote out/{kind}-emd{part}.svg" for kind in kinds for part in ("", "-2")]
    first, second = texts("scores-emd.svg"), texts("scores-emd-2.svg")
    assert "Scores of emd, profile tiny (1 of 2)" in first
    assert "candidate v1 · 2 scores: 2 passed, 0 failed" in first
    assert f"candidate v{PANELS} · 7 scores: 6 passed, 1 failed" in second
    assert not any(text.startswith(f"candidate v{PANELS}") for text in first)


def test_the_roc_curve_has_the_auc_of_the_labels_and_the_point_of_the_threshold(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(folder / "run.jsonl", [*emd(8), *(result(case=f"r{i}", metric="region_emd") for i in range(2))])
    # Of 4 × 4 pairs of a good and a bad edit, (3, 2) is the only one in the wrong order: 15 / 16.
    labels = ["case,label", *(f"c{i},{'good' if i in (0, 1, 3, 4) else 'bad'}" for i in range(8)), "r0,good"]
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    lines = plotted(capsys, "run.jsonl", "--labels", "labels.csv", "--kind", "roc,trend")
    good = "1 good and 0 bad edits with a score (left out: without a label: 1)"
    assert lines == [
        f"roc: nothing to plot of region_emd: {good}",
        "wrote out/roc-emd.svg",
        "trend: nothing to plot: a trend takes at least two runs",
    ]
    found = texts("roc-emd.svg")
    auc = 1 - Counter(good > bad for good in (0, 1, 3, 4) for bad in (2, 5, 6, 7))[True] / 16
    assert auc == 14 / 16
    assert any(text.startswith(f"AUC {auc:.3g}, 95 % interval") for text in found)
    assert {"now ≤ 5", "good (4)", "bad (4)"} <= {*found}


def test_a_trend_has_the_runs_in_their_order_and_marks_another_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(folder / "b.jsonl", emd(9))
    write_results(folder / "a.jsonl", [*emd(4, fingerprint="other"), soft(case="s", metric="emd")])
    write_results(folder / "c.jsonl", [soft(case="s", metric="emd")])
    assert plotted(capsys, "b.jsonl", "a.jsonl", "c.jsonl", "--kind", "trend") == ["wrote out/trend-emd.svg"]
    found = texts("trend-emd.svg")
    assert [text for text in found if text in "abc"] == ["b", "a", "c"]
    assert "emd, profile tiny, over 3 runs" in found
    assert "4 to 9 scores each · 2 soft failures in all · no scores in c" in found
    assert "measured otherwise from here on (profile, version, checkpoints)" in found
    write_results(folder / "a.jsonl", emd(4))
    plotted(capsys, "b.jsonl", "a.jsonl")
    assert not any("measured otherwise" in text for text in texts("trend-emd.svg"))


def test_the_points_of_a_trend_are_medians_and_shares(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the picture's own coordinates: medians 4, 2 and 9; 6 of 10, 5 of 5 and 0 of 1 checks pass."""
    write_results(folder / "a.jsonl", [*emd(9), result(case="e", metric="emd", score=None, outcome=Outcome.ERROR)])
    write_results(folder / "b.jsonl", [*emd(5), soft(case="s", metric="emd")])
    write_results(folder / "c.jsonl", emd(10)[9:])
    plotted(capsys, "a.jsonl", "b.jsonl", "c.jsonl", "--kind", "trend")
    root = ElementTree.parse("out/trend-emd.svg").getroot()
    uses = [use for use in root.iter(f"{SVG}use") if "#0072b2" in use.get("style", "")]
    places = [(float(use.get("x", 0)), float(use.get("y", 0))) for use in uses]
    groups: dict[float, list[float]] = {}
    for x, y in places:
        groups.setdefault(x, []).append(y)
    runs = [ys for x, ys in sorted(groups.items()) if len(ys) == 4]  # median, p10, p90, pass rate
    assert len(runs) == 3
    (a, *_, rate_a), (b, *_, rate_b), (c, *_, rate_c) = runs
    assert (a - b) / (b - c) == pytest.approx((4 - 2) / (2 - 9), rel=1e-3)
    assert (rate_a - rate_b) / (rate_c - rate_b) == pytest.approx((60 - 100) / (0 - 100), rel=1e-3)


def test_any_text_is_shown_as_text_without_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        result(node_id=str(index), case=text, task=text, metric="emd", score=float(index), profile="$p$ 👩")
        for index, text in enumerate(HOSTILE)
    ]
    write_results(folder / "$日本$.jsonl", rows)
    write_results(folder / "b.jsonl", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib")  # as in pyproject.toml
        lines = plotted(capsys, "$日本$.jsonl", "b.jsonl")
        assert main(["plot", "$日本$.jsonl", "b.jsonl", "--output", "png"]) == 0
    assert len(lines) == 3
    assert len(list((folder / "png").iterdir())) == 3
    found = texts("margins-emd.svg")
    for text in (
        "<script>&\"'",
        "$\\frac{x}{$",
        "\\x00\\x1b[31m",
        "שלום",
        "👩\\u200d👧",
        "日本語",
        "\\u202eevil",
        "_under",
    ):
        assert f"{text} (1)" in found
    assert "new\\nline (1)" in found
    assert max(map(len, found)) < 100
    assert "$日本$" in texts("trend-emd.svg")


def test_a_png_has_escapes_of_what_its_font_cannot_draw(folder: Path) -> None:
    png, svg = Pictures(folder, "--output"), Pictures(folder, "--output", "svg")
    assert png.text("é≤日👩") == "é≤\\u65e5\\U0001f469"
    assert svg.text("é≤日👩") == "é≤日👩"
    assert svg.text("\ud800\u200e") == "\\ud800\\u200e"
    assert png.text("abcdefghij", 6) == "abcd…ij"
    assert png.text("日" * 100, 14) == "\\u65e5…"  # an escape is whole, or not there


def test_the_same_results_give_the_same_bytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(folder / "run.jsonl", emd(9, candidate="v1"))
    found = []
    for _ in range(2):
        for format in ("png", "svg"):
            assert main(["plot", "run.jsonl", "--output", "out", "--format", format]) == 0
        found.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert len(found[0]) == 4
    assert found[0] == found[1]
    with Image.open(folder / "out" / "scores-emd.png") as picture:
        assert picture.width == 1008
        assert not picture.info.get("Software")


def test_a_setting_of_the_users_matplotlib_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib as mpl

    write_results(folder / "run.jsonl", emd(9))
    plotted(capsys, "run.jsonl", "--kind", "scores")
    before = (folder / "out" / "scores-emd.svg").read_bytes()
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 10, "axes.grid": True}):
        plotted(capsys, "run.jsonl", "--kind", "scores")
        assert mpl.rcParams["font.size"] == 30
    assert (folder / "out" / "scores-emd.svg").read_bytes() == before
    assert "matplotlib.pyplot" not in sys.modules


def test_pictures_of_like_names_do_not_replace_each_other(folder: Path) -> None:
    from matplotlib.figure import Figure

    pictures = Pictures(folder, "--output")
    names = [pictures.save(Figure(), "scores", name).name for name in ("a b", "a_b", "A_b", "日" * 200)]
    assert names[:3] == ["scores-a_b.png", "scores-a_b-2.png", "scores-A_b-3.png"]
    assert len({*names}) == 4


@given(st.lists(st.floats(-1e99, 1e99), min_size=1) | st.sampled_from([[0.3, 0.1 + 0.2], [1.0, 1.0 + 2**-52]]))
def test_every_score_is_in_a_bin(values: list[float]) -> None:
    edges = bin_edges(values)
    assert edges == sorted({*edges})
    assert sum(np.histogram(values, edges)[0]) == len(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jsonl"], "gone.jsonl: no such file"),
        (["run.jsonl", "./run.jsonl"], "run.jsonl is given 2 times: its scores would count 2 times"),
        (["run.jsonl", "--metric", "emdd"], "--metric: unknown metric 'emdd'; did you mean 'emd'?; known: emd"),
        (["run.jsonl", "--output", "run.jsonl"], "--output run.jsonl: File exists"),
        (["run.jsonl", "--kind", "scores", "--labels", "l.csv"], "--labels is for roc, which --kind leaves out"),
        (["run.jsonl", "--labels", "l.csv"], "l.csv:2: unknown case or check 'nobody'"),
        (["run.jsonl", "--kind", "score"], "unknown kind 'score'; did you mean 'scores'?; allowed: scores, margins, "),
        (["run.jsonl", "--kind", "trend,roc"], "nothing to plot"),
        (["soft.jsonl"], "nothing to plot"),
    ],
)
def test_a_mistake_of_usage_is_one_line(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(folder / "run.jsonl", emd(3))
    write_results(folder / "soft.jsonl", [soft(metric="emd")])
    (folder / "l.csv").write_text("case,label\nnobody,good\n")
    try:
        status = main(["plot", *arguments, *([] if "--output" in arguments else ["--output", "out"])])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    assert status == 4
    assert message in captured.err
    assert not list(folder.glob("out/*"))
    if "soft.jsonl" in arguments:
        lines = [f"{kind}: nothing to plot of emd: no scores · 1 soft failure" for kind in ("scores", "margins")]
        assert captured.out.splitlines() == lines


def test_without_matplotlib_the_package_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(folder / "run.jsonl", emd(3))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "run.jsonl", "--output", "out"]) == 4
    assert capsys.readouterr().err == "editeval: --output needs matplotlib; pip install 'pytest-editeval[report]'\n"


def test_what_is_not_there_is_not_named() -> None:
    assert counted(emd(1)) == "1 score: 1 passed, 0 failed"
    assert counted([]) == "no scores"
    assert counted([soft(), soft(case="b")]) == "no scores · 2 soft failures"
