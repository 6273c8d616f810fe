"""The noise floor: its numbers, its file, and the command that measures it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from project import Project
from pytest_editeval import CLIPPipe
from pytest_editeval.cli import main
from pytest_editeval.commands.disturbed import DISTURBANCES
from pytest_editeval.config import load_profile
from pytest_editeval.derived import Derived, Disturbance
from pytest_editeval.errors import EditEvalError
from pytest_editeval.gating.noise import (
    FORMAT,
    MetricNoise,
    NoiseFloor,
    metric_noise,
    mismatches,
    noise_of,
    noise_text,
    read_noise,
    write_noise,
)
from pytest_editeval.results import MetricIdentity as Identity
from pytest_editeval.scoring.ahead import UNOPENED, Wanted
from pytest_editeval.scoring.suite import open_editeval, score_all
from pytest_editeval.vision.images import load_image

EMD = MetricNoise(0.25, 1, "f" * 16, 30, {"jpeg95": 0.25, "shift": 0.125, "device": None})
FLOOR = NoiseFloor(None, "tiny", {"region_emd": replace(EMD, noise=1 / 3), "emd": EMD})

CASES = """
defaults: {instruction: Do it., source: source.png, edited: other.png, coords: [[20, 20, 80, 80]]}
cases:
  - id: one
    metrics:
      region_emd: 1.0
      emd: {threshold: 1, scope: null}
      sam_dino_cls_sim: {threshold: 0.5, pairs: [{source: [10, 10, 80, 80], edited: [10, 10, 80, 80]}]}
  - {id: two, edited: source.png, metrics: {region_emd: 1.0}}
  - {id: caught, expect: fail, metrics: {region_emd: 1.0}}
"""
LEFT_OUT = """
  - {id: lost, edited: lost.png, metrics: {region_emd: 1.0}}
  - {id: speck, coords: [[40, 40, 41, 41]], metrics: {dinov3_structure_similarity: 0.5}}
"""


def percentile_by_hand(values: list[float]) -> float:
    """Linear between the order statistics that 95 % of the way lies between."""
    ordered = sorted(abs(value) for value in values)
    place = 0.95 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.lists(st.floats(-100, 100), max_size=50))
def test_noise_is_the_largest_percentile_over_the_disturbances(jpeg: list[float], shift: list[float]) -> None:
    found = metric_noise(1, "f", 50, {"jpeg95": jpeg, "shift": shift, "device": []})
    assert found is not None
    expected = {"jpeg95": percentile_by_hand(jpeg), "shift": percentile_by_hand(shift) if shift else None}
    assert found.disturbances == pytest.approx({**expected, "device": None})
    assert found.noise == pytest.approx(max(value for value in expected.values() if value is not None))


def test_nothing_measured_is_not_noise_zero() -> None:
    assert metric_noise(1, "f", 0, {"jpeg95": [], "device": []}) is None


def test_a_noise_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    write_noise(path, FLOOR)
    assert read_noise(path) == replace(FLOOR, path=path)
    assert noise_text(read_noise(path)) == path.read_text("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["noise.json"]
    data = json.loads(path.read_text("utf-8"))
    assert data["format"] == FORMAT
    assert list(data["metrics"]) == ["emd", "region_emd"]
    assert noise_of(read_noise(path), "region_emd") == 1 / 3
    assert noise_of(FLOOR, "sam_dino_cls_sim") is noise_of(None, "emd") is None


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EditEvalError, match=r"^cannot write \S+noise\.json: File exists$"):
        write_noise(tmp_path / "file" / "noise.json", FLOOR)


def test_every_mismatch_names_both_sides() -> None:
    assert mismatches(FLOOR, "tiny", {"emd": Identity(1, "f" * 16), "sam_clip_cls_sim": Identity(3, "0")}) == []
    assert mismatches(
        FLOOR, "large", {"emd": Identity(2, "0123456789abcdef"), "region_emd": Identity(1, "f" * 16)}
    ) == [
        "profile: the noise file has 'tiny', this run 'large'",
        "emd: metric version 1 against 2, checkpoints ffffffff… against 01234567…",
    ]


TEXT = noise_text(FLOOR)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"noise\.json: empty"),
        (TEXT[:60].encode(), r"noise\.json:3:20: torn: it ends"),
        (b"\xff\xfe", r"noise\.json:1: not UTF-8: byte 0xff"),
        (b"[" * 100_000, r"noise\.json:1:1: not JSON: nested deeper than 100 levels"),
        (b"[1]", rf'noise\.json: no noise file: it has no "format": "{FORMAT}"'),
        (b'{"format": "pytest-editeval baseline 1"}', rf'noise\.json: no noise file: it has no "format": "{FORMAT}"'),
        (
            TEXT.replace("noise 1", "noise 2").encode(),
            rf"noise\.json: its format is 'pytest-editeval noise 2', and this version reads '{FORMAT}'",
        ),
        (
            TEXT.replace('"noise": 0.25', '"noise": "0.25"').encode(),
            r"noise\.json: 'metrics\.emd\.noise' in the noise file must be a number, found '0\.25'; .*again",
        ),
        (TEXT.replace('"noise": 0.25', '"noise": -1').encode(), r"noise\.json: .* must be at least 0, found -1.*"),
        (TEXT.replace('"noise": 0.25', '"noise": NaN').encode(), r"noise\.json: .* must be a finite number.*"),
        (TEXT.replace('"profile"', '"profil"').encode(), r"noise\.json: 'profile' in the noise file is missing.*"),
        (TEXT.replace('"checks"', '"cheks"').encode(), r"noise\.json: 'metrics\.emd\.checks' .* is missing.*"),
    ],
)
def test_a_file_that_is_torn_or_foreign_is_one_line(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("noise.json").write_bytes(content)
    with pytest.raises(EditEvalError) as caught:
        read_noise(Path("noise.json"))
    assert re.fullmatch(message, str(caught.value)), str(caught.value)


def test_a_file_that_is_not_there_says_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        EditEvalError, match=r"^noise file not found: noise\.json; `editeval noise --output noise\.json"
    ):
        read_noise(Path("noise.json"))
    with pytest.raises(EditEvalError, match=r"that is a directory$"):
        read_noise(tmp_path)


def test_scores_without_pytest_are_those_of_a_pipe(models: Path, project: Project) -> None:
    """In their order, the second time too, with errors in their place."""
    pipe = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    source, other = project.path / "source.png", project.path / "other.png"
    with open_editeval(load_profile(project.path / "tiny.yaml"), "cpu") as editeval:
        pipe.scorer = editeval.scorer
        request = pipe.request("emd", UNOPENED, UNOPENED)
        shifted = Derived(other, Disturbance.SHIFT)
        edits = [other, shifted, source, other, project.path / "gone.png", shifted]
        outcomes = list(score_all(editeval, [Wanted(request, source, edit) for edit in edits]))
    errors = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
    assert errors == [4]
    own = CLIPPipe(model_path=str(models / "clip"), device="cpu")
    for index, edit in enumerate(edits):
        if index not in errors:
            expected = own(source, load_image(edit).pixels, metric="emd")
            assert outcomes[index].value == pytest.approx(expected, rel=1e-4)  # type: ignore[union-attr]


def noise(project: Project, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    status = main(["noise", "--config", "tiny.yaml", "--device", "cpu", *arguments, "a.edit.yaml"])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_the_command_measures_every_metric_of_a_suite(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_editeval.commands.disturbed.resolve_device", lambda: "cpu")
    project.cases(CASES + LEFT_OUT)
    status, out, _ = noise(project, capsys, "--output", "noise.json")
    assert status == 0
    assert re.split(r"  +", out[0]) == ["metric", "checks", *DISTURBANCES, "noise"]
    assert [line.split()[:2] for line in out[1:4]] == [["region_emd", "2"], ["emd", "1"], ["sam_dino_cls_sim", "1"]]
    assert out[4:6] == ["device: only cpu here: not measured", "controls (expect: fail), not measured: 1"]
    assert out[6] == "left out: 2"
    assert out[7] == "  a.edit.yaml::lost::region_emd: image not found: lost.png"
    assert out[8].startswith("  a.edit.yaml::speck::dinov3_structure_similarity: no-patch-selected: ")
    assert out[9:] == ["written: noise.json"]

    floor = read_noise(project.path / "noise.json")
    source, other = project.path / "source.png", project.path / "other.png"
    pipe = CLIPPipe(model_path=str(project.models / "clip"), device="cpu")
    assert floor.metrics["emd"].fingerprint == pipe.fingerprint
    plain = pipe(source, other, metric="emd")
    assert plain is not None
    for disturbance in Disturbance:
        disturbed = pipe(source, load_image(Derived(other, disturbance)).pixels, metric="emd")
        assert disturbed is not None
        assert floor.metrics["emd"].disturbances[disturbance] == pytest.approx(abs(disturbed - plain), rel=1e-3)
    for metric in floor.metrics.values():
        assert metric.disturbances["device"] is None
        assert metric.disturbances["batch size"] == pytest.approx(0, abs=1e-4)
        assert metric.noise == max(value for value in metric.disturbances.values() if value is not None)
    assert floor.metrics["region_emd"].noise > 0


def test_the_batch_size_is_one_for_the_comparison(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another device is compared where there is one."""
    from pytest_editeval.commands import disturbed
    from pytest_editeval.scoring import suite

    opened: list[tuple[object, ...]] = []

    def noted(profile: object, device: str, batch_size: int | None = None, store: object = None) -> object:
        opened.append((device, batch_size, store))
        return suite.open_editeval(profile, "cpu", batch_size)  # type: ignore[arg-type]

    monkeypatch.setattr(disturbed, "open_editeval", noted)
    monkeypatch.setattr(disturbed, "resolve_device", lambda: "cuda")
    project.cases(CASES)
    status, out, _ = noise(project, capsys)
    assert status == 0
    assert opened == [("cpu", None, None), ("cpu", 1, None), ("cuda", None, None)]
    assert "device: only cpu here: not measured" not in out
    assert np.isfinite(float(out[1].split()[-2]))


def test_the_edits_of_a_candidate_are_measured(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.path / "v2").mkdir()
    (project.path / "other.png").rename(project.path / "v2" / "one.png")
    project.cases(CASES)
    status, out, _ = noise(project, capsys, "--candidate", "v2=v2")
    assert status == 0
    assert out[1].split()[:2] == ["region_emd", "1"]
    assert [line for line in out if line.startswith("  a.edit.yaml::two::region_emd: image not found: v2/two.png")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--output", "gone/noise.json"), "--output gone/noise.json: that is a directory, or lies in none"),
        (("--config", "gone.yaml"), "gone.yaml"),
        (("--candidate", "v2"), "--candidate v2: say where its edits are: v2=DIR"),
        (("gone.edit.yaml",), "gone.edit.yaml: no such file or directory"),
        (("empty",), "empty: no case files in it (*.edit.yaml or *.edit.yml)"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(
    arguments: tuple[str, ...], message: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.cases(CASES)
    (project.path / "empty").mkdir()
    (project.path / "v2").mkdir()
    status, _, errors = noise(project, capsys, *arguments)
    assert status == 4
    assert errors.startswith("editeval: ")
    assert message in errors
    assert len(errors.splitlines()) <= 2


def test_nothing_measured_is_an_error(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.one("region_emd: 1.0", edited="lost.png")
    status, out, errors = noise(project, capsys, "--output", "noise.json")
    assert status == 4
    assert "  a.edit.yaml::one::region_emd: image not found: lost.png" in out
    assert errors == "editeval: no score could be measured: 1 checks in the case files\n"
    assert not (project.path / "noise.json").exists()


def test_mistakes_in_case_files_come_first(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.one("emdd: 1.0")
    status, out, _ = noise(project, capsys, "--output", "noise.json")
    assert status == 1
    assert out[0].startswith("a.edit.yaml:1:")
    assert "unknown metric 'emdd'" in out[0]
    assert not (project.path / "noise.json").exists()
