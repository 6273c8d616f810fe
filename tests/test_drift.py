"""`editeval models drift`: its numbers against two runs of pytest, and against numpy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import checkpoints
from project import CONFIG, Project
from pytest_editeval.cli import main
from pytest_editeval.commands.choices import USUAL, allowed_keys, read_choices, with_choice
from pytest_editeval.gating.drift import Drift, Measured, drift
from pytest_editeval.gating.verdicts import settled
from pytest_editeval.profiles import PipeSettings, embedded_profile
from pytest_editeval.reports.drift import Tried, choice_lines, suite_lines, trade_lines
from pytest_editeval.reports.layout import Screen
from pytest_editeval.results import CheckResult, Outcome, Reason, Repeat
from pytest_editeval.vision.costs import weight_bytes
from results import result

CASES = """
defaults: {{instruction: Do it., source: source.png, edited: other.png, coords: [[20, 20, 80, 80]]}}
cases:
  - id: one
    metrics:
      region_emd: {region}
      emd: {{threshold: {emd}, scope: null}}
      dinov3_structure_similarity: {structure}
      sam_dino_cls_sim: {{threshold: {sam}, pairs: [{{source: [10, 10, 80, 80], edited: [10, 10, 80, 80]}}]}}
  - {{id: ends, controls: auto, metrics: {{region_emd: 1.0}}}}
  - {{id: caught, expect: fail, metrics: {{region_emd: {control}}}}}
  - {{id: lost, edited: lost.png, metrics: {{region_emd: 1.0}}}}
  - {{id: speck, coords: [[40, 40, 41, 41]], metrics: {{dinov3_structure_similarity: 0.5}}}}
  - id: seeds
    edited: "seed{{seed}}.png"
    repeat: {{pass: 2, of: 2, seeds: [3, 4]}}
    metrics: {{region_emd: {quota}}}
"""
LENIENT = {"region": 1e9, "emd": 1e9, "structure": 0, "sam": -1, "control": 0, "quota": 1e9}
PLACES = {
    "region": "a.edit.yaml::one::region_emd",
    "emd": "a.edit.yaml::one::emd",
    "structure": "a.edit.yaml::one::dinov3_structure_similarity",
    "sam": "a.edit.yaml::one::sam_dino_cls_sim",
    "control": "a.edit.yaml::caught::region_emd",
}

SIDE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["verdict", "reason", "scores"],
    "properties": {
        "verdict": {"enum": ["passed", "failed", "soft failure"]},
        "reason": {"type": ["string", "null"]},
        "scores": {"type": "array", "minItems": 1, "items": {"type": ["number", "null"]}},
    },
}
REASONS = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["check", "reason"],
        "properties": {"check": {"type": "string"}, "reason": {"type": "string"}},
    },
}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
NAMES = {"choice": {"type": "string"}, "settings": {"type": "object", "minProperties": 1}}
METRIC = {
    "type": "object",
    "additionalProperties": False,
    "required": ["checks", "scores", "median", "largest", "spread", "relative", "flips"],
    "properties": {
        **{name: {"type": "integer", "minimum": 0} for name in ("checks", "scores", "flips")},
        **{name: {"type": ["number", "null"], "minimum": 0} for name in ("median", "largest", "spread", "relative")},
    },
}
CHECK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["check", "metric", "control", "threshold", "before", "after"],
    "properties": {
        "check": {"type": "string"},
        "metric": {"type": "string"},
        "control": {"type": "boolean"},
        "threshold": {"type": "number"},
        "before": SIDE,
        "after": SIDE,
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["format", "profile", "devices", "float32", "choices"],
    "properties": {
        "format": {"const": "pytest-editeval drift 1"},
        "profile": {"type": "string"},
        "devices": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "float32": {
            "type": "object",
            "additionalProperties": False,
            "required": ["seconds", "weights_mib", "left_out"],
            "properties": {"seconds": POSITIVE, "weights_mib": POSITIVE, "left_out": REASONS},
        },
        "choices": {
            "type": "array",
            "items": {
                "oneOf": [
                    {
                        "additionalProperties": False,
                        "required": ["choice", "settings", "problem"],
                        "properties": {**NAMES, "problem": {"type": "string"}},
                    },
                    {
                        "additionalProperties": False,
                        "required": [
                            *("choice", "settings", "problem", "seconds", "weights_mib"),
                            *("metrics", "flips", "left_out", "checks"),
                        ],
                        "properties": {
                            **NAMES,
                            "problem": {"type": "null"},
                            "seconds": POSITIVE,
                            "weights_mib": POSITIVE,
                            "metrics": {"type": "object", "additionalProperties": METRIC},
                            "flips": {"type": "array", "items": {"type": "string"}},
                            "left_out": REASONS,
                            "checks": {"type": "array", "items": CHECK},
                        },
                    },
                ]
            },
        },
    },
}


@pytest.fixture
def suite(project: Project) -> Project:
    """A project whose profile is also there with bfloat16, for CLIP, DINOv3 and SAM alike."""
    from conftest import picture

    for seed in (3, 4):
        picture(seed).save(project.path / f"seed{seed}.png")
    project.cases(CASES.format(**LENIENT))
    config = CONFIG.format(models=project.models)
    project.write("half.yaml", re.sub(r"(model_path: [^}]+)}", r"\1, dtype: bfloat16}", config))
    return project


def run(
    suite: Project, capsys: pytest.CaptureFixture[str], *arguments: str, config: str = "tiny.yaml"
) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["models", "drift", "--config", config, "--device", "cpu", *arguments, "a.edit.yaml"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def measured(suite: Project, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status, out, err = run(suite, capsys, "--json", *arguments)
    assert (status, err) == (0, "")
    data: dict[str, Any] = json.loads(out)
    jsonschema.validate(data, SCHEMA)
    return data


def rows_of(suite: Project, config: str) -> dict[str, dict[str, Any]]:
    """The rows of a run of pytest, by node id."""
    suite.run(f"--editeval-config={config}", "--editeval-results=run.jsonl", "--editeval-cache=off")
    lines = (suite.path / "run.jsonl").read_text("utf-8").splitlines()
    return {row["node_id"]: row for row in map(json.loads, lines)}


def scores(row: dict[str, Any]) -> list[float | None]:
    return [one["score"] if one["reason"] is None else None for one in row["repeats"] or [row]]


def without_costs(data: dict[str, Any]) -> dict[str, Any]:
    for part in (data["float32"], *data["choices"]):
        part.pop("seconds", None)
    return data


def test_moves_and_verdicts_are_those_of_two_runs_of_pytest(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    plain, half = rows_of(suite, "tiny.yaml"), rows_of(suite, "half.yaml")
    data = measured(suite, capsys, "--choice", "dtype=bfloat16")
    assert data["profile"] == "tiny"
    assert data["devices"] == ["cpu"]
    (choice,) = data["choices"]
    assert (choice["choice"], choice["settings"]) == ("dtype=bfloat16", {"dtype": "bfloat16"})

    lost = ["a.edit.yaml::lost::region_emd"]
    assert data["float32"]["left_out"] == [{"check": lost[0], "reason": "image not found: lost.png"}]
    assert choice["left_out"] == []
    found = {one["check"]: one for one in choice["checks"]}
    assert list(found) == [name for name in plain if name not in lost]
    assert "a.edit.yaml::ends[destroyed]::region_emd" in found
    for name, one in found.items():
        for side, row in (("before", plain[name]), ("after", half[name])):
            assert one[side]["verdict"] == row["outcome"]
            assert one[side]["reason"] == row["reason"]
            expected = [None if score is None else pytest.approx(score, rel=1e-4) for score in scores(row)]
            assert one[side]["scores"] == expected
        assert one["control"] == (row["expect"] == "fail" or row["control"] is not None)
        assert one["threshold"] == row["threshold"]
    assert len(found["a.edit.yaml::seeds::region_emd"]["before"]["scores"]) == 2

    names = {one["metric"] for one in found.values()}
    assert list(choice["metrics"]) == list(dict.fromkeys(one["metric"] for one in found.values()))
    for metric in names:
        own = [name for name in found if plain[name]["metric"] == metric]
        sides = [pair for name in own for pair in zip(scores(plain[name]), scores(half[name]), strict=True)]
        before = np.array([one for one, other in sides if one is not None], float)
        moves = np.array([abs(other - one) for one, other in sides if one is not None and other is not None])
        entry = choice["metrics"][metric]
        assert (entry["checks"], entry["scores"]) == (len(own), len(moves))
        assert entry["median"] == pytest.approx(np.median(moves), rel=1e-2, abs=1e-6)
        assert entry["largest"] == pytest.approx(moves.max(), rel=1e-2, abs=1e-6)
        if len(before) > 1:
            assert entry["spread"] == pytest.approx(before.std(ddof=1), rel=1e-4)
            assert entry["relative"] == pytest.approx(moves.max() / before.std(ddof=1), rel=1e-2)
        else:
            assert entry["spread"] is entry["relative"] is None
    assert choice["metrics"]["region_emd"]["largest"] > 0


def test_it_gives_the_same_numbers_each_time(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (without_costs(measured(suite, capsys, "--choice", "dtype=bfloat16")) for _ in range(2))
    assert first == second
    (same,) = measured(suite, capsys, "--choice", "dtype=float32")["choices"]
    assert {metric["largest"] for metric in same["metrics"].values()} == {0.0}


def test_verdicts_between_the_two_scores_flip(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Controls as well; of several edits the one that decides."""
    (choice,) = measured(suite, capsys, "--choice", "dtype=bfloat16")["choices"]
    found = {one["check"]: (one["before"]["scores"], one["after"]["scores"]) for one in choice["checks"]}
    middle = {key: float(np.mean([found[place][0][0], found[place][1][0]])) for key, place in PLACES.items()}
    worst = [max(side) for side in found["a.edit.yaml::seeds::region_emd"]]  # both have to pass, lower is better
    suite.cases(CASES.format(**middle, quota=float(np.mean(worst))))
    expected = [*PLACES.values(), "a.edit.yaml::seeds::region_emd"]

    (choice,) = measured(suite, capsys, "--choice", "dtype=bfloat16")["choices"]
    assert choice["flips"] == [one["check"] for one in choice["checks"] if one["check"] in expected]
    assert sum(metric["flips"] for metric in choice["metrics"].values()) == len(expected)
    plain, half = rows_of(suite, "tiny.yaml"), rows_of(suite, "half.yaml")
    assert {name for name in plain if plain[name]["outcome"] != half[name]["outcome"]} == {*expected}

    status, out, _ = run(suite, capsys, "--choice", "dtype=bfloat16")
    assert status == 0
    assert f"verdicts that flip: {len(expected)}" in out
    verdicts = f"{plain[PLACES['control']]['outcome']} -> {half[PLACES['control']]['outcome']}"
    assert f"  {PLACES['control']} (control): {verdicts}, " in out


def test_the_baseline_is_float32_whatever_the_profile_says(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    data = [
        json.loads(run(suite, capsys, "--json", "--choice", "dtype=bfloat16", config=config)[1])
        for config in ("tiny.yaml", "half.yaml")
    ]
    assert without_costs(data[0]) == without_costs(data[1])


def test_weights_are_those_of_the_files(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each network once, however many metrics it has; SAM's decoder stays in float32."""
    import torch

    clip, dinov3 = (
        sum(tensor.numel() for tensor in load_file(suite.models / name / "model.safetensors").values())
        for name in ("clip", "dinov3")
    )
    sam = torch.load(suite.models / "sam.pth", weights_only=True)
    encoder = sum(tensor.numel() for key, tensor in sam.items() if key.startswith("image_encoder"))
    decoder = sum(tensor.numel() for tensor in sam.values()) - encoder
    data = measured(suite, capsys, "--choice", "dtype=float16")
    whole = 4 * (clip + dinov3 + encoder + decoder) / (1 << 20)
    half = (2 * (clip + dinov3 + encoder) + 4 * decoder) / (1 << 20)
    assert data["float32"]["weights_mib"] == pytest.approx(whole, rel=0.01)  # buffers are not in the files
    assert data["choices"][0]["weights_mib"] == pytest.approx(half, rel=0.01)


def test_weights_that_are_made_of_others_count_as_these() -> None:
    import torch
    from torch.testing._internal.two_tensor import TwoTensor

    network = torch.nn.Linear(4, 6)
    network.weight = torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.int8), requires_grad=False)
    backbone = SimpleNamespace(model=network)
    assert weight_bytes([backbone, backbone], [SimpleNamespace()]) == 6 * 4 + 6 * 4  # type: ignore[list-item]
    network.weight = torch.nn.Parameter(TwoTensor(torch.zeros(6, 4), torch.zeros(6, 4)), requires_grad=False)
    assert weight_bytes([backbone], []) == 2 * 6 * 4 * 4 + 6 * 4  # type: ignore[list-item]


# --- choices ----------------------------------------------------------------------------------------


def test_the_usual_choices_are_those_that_pipes_have() -> None:
    names = {field.name for field in fields(PipeSettings)}
    assert [choice.label for choice in read_choices([])] == [one for one in USUAL if one.split("=")[0] in names]
    assert {"dtype=bfloat16", "dtype=float16"} <= {choice.label for choice in read_choices([])}
    assert {"dtype", "device", "fit", "input_size", "domain"} <= {*allowed_keys()} <= names


def test_a_choice_is_read_as_a_configuration_is() -> None:
    (choice,) = read_choices([" dtype = float16, input_size=448,fit=squash "])
    assert choice.settings == {"dtype": "float16", "input_size": 448, "fit": "squash"}
    assert choice.label == "dtype=float16,input_size=448,fit=squash"
    twice = read_choices(["dtype=float16,fit=crop", "fit=crop,dtype=float16", "device=auto"])
    assert [one.settings for one in twice] == [{"dtype": "float16", "fit": "crop"}, {"device": None}]


def test_a_choice_is_the_segmenters_too_where_it_has_the_setting() -> None:
    profile = embedded_profile()
    pipe = profile.metrics["emd"].pipe
    assert pipe.sam is not None
    pipe = replace(pipe, dtype="float16", fit="squash", sam=replace(pipe.sam, dtype="float16"))
    half = replace(profile, metrics={"emd": replace(profile.metrics["emd"], pipe=pipe)})
    (choice,) = read_choices(["dtype=bfloat16,input_size=448"])
    plain, chosen = (with_choice(half, one).metrics["emd"].pipe for one in (None, choice))
    assert plain == replace(profile.metrics["emd"].pipe, fit="squash")
    sam = replace(pipe.sam, dtype="bfloat16")
    assert chosen == replace(pipe, dtype="bfloat16", input_size=448, sam=sam)


def test_a_choice_may_say_how_much_of_each_device() -> None:
    (choice,) = read_choices(["device_map=auto, max_memory={0: 20GiB, cpu: 60GiB} ,dtype=bfloat16"])
    memory = (("0", "20GiB"), ("cpu", "60GiB"))
    assert choice.settings == {"device_map": "auto", "max_memory": memory, "dtype": "bfloat16"}
    assert choice.label == "device_map=auto,max_memory={0: 20GiB, cpu: 60GiB},dtype=bfloat16"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            "device_map=auto,max_memory={0: 20GiB, gpu: 60GiB}",
            "'max_memory' has gpu: 60GiB; write {0: 20GiB, cpu: 60GiB}",
        ),
        ("max_memory={0: 20GiB, dtype=float16", "'max_memory' must be a mapping"),
        ("bfloat16", "write KEY=VALUE[,KEY=VALUE], for instance dtype=bfloat16"),
        ("", "write KEY=VALUE[,KEY=VALUE], for instance dtype=bfloat16"),
        ("dtyp=bfloat16", "unknown setting of a pipe 'dtyp'; did you mean 'dtype'? (known: "),
        ("model_path=clip", "unknown setting of a pipe 'model_path'"),
        ("sam={}", "unknown setting of a pipe 'sam'"),
        ("dtype=float16,dtype=bfloat16", "dtype is given twice"),
        ("dtype=float8", "'dtype' must be 'float32', 'bfloat16' or 'float16', found 'float8'"),
        ("dtype=", "'dtype' must be 'float32', 'bfloat16' or 'float16', found nothing"),
        ("input_size=0", "'input_size' must be at least 1, found 0"),
        ("input_size=true", "'input_size' must be a number, found true"),
        ("dtype=float16,device=gpu", "unknown device 'gpu'; allowed: auto, cpu"),
        ("fit=[", "'fit' must be 'crop' or 'squash', found '['"),
    ],
)
def test_a_choice_that_is_none_is_one_line(
    choice: str, message: str, suite: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(suite, capsys, "--choice", "dtype=float16", "--choice", choice)
    assert (status, out) == (4, "")
    assert err.startswith(f"editeval: --choice {choice}: {message}")
    assert len(err.splitlines()) == 1


def overflowing(folder: Path) -> Path:
    """A CLIP whose first layer's output is more than float16 can hold."""
    checkpoints.make_clip(folder)
    weights = load_file(folder / "model.safetensors")
    (name,) = (key for key in weights if key.endswith("layers.0.mlp.fc2.weight"))
    weights[name] *= 1e6
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_choice_that_cannot_run_is_a_line_and_the_others_go_on(
    suite: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = overflowing(suite.path / "clip")
    suite.write("tiny.yaml", f"profile: t\nmetric_configs: {{emd: {{default_config: {{model_path: {clip}}}}}}}")
    suite.one("emd: {threshold: 1, scope: null}")
    choices = ("--choice=dtype=float16", "--choice=dtype=bfloat16", "--choice=device=mps")
    status, out, err = run(suite, capsys, *choices)
    assert (status, err) == (0, "")
    nan = f"dtype=float16: cannot run here: {clip} (float16 on cpu) returned NaN or infinite features"
    assert nan in out.splitlines()
    assert re.search("^device=mps: cannot run here: device mps was asked for, but torch .* finds no MPS", out, re.M)
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["choice", "float32", "dtype=bfloat16"]

    status, out, err = run(suite, capsys, *choices, "--json")
    data = json.loads(out)
    jsonschema.validate(data, SCHEMA)
    assert [one["problem"] is None for one in data["choices"]] == [False, True, False]

    status, out, err = run(suite, capsys, "--choice=dtype=float16")
    assert (status, err) == (1, "")
    assert nan in out.splitlines()


def test_a_setting_that_some_checkpoints_do_not_take_leaves_their_checks_out(
    suite: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (choice,) = measured(suite, capsys, "--choice", "input_size=256")["choices"]
    assert {one["metric"] for one in choice["checks"]} == {"dinov3_structure_similarity", "sam_dino_cls_sim"}
    left_out = {one["check"]: one["reason"] for one in choice["left_out"]}
    assert "input_size 256 is not possible" in left_out["a.edit.yaml::one::emd"]
    status, out, _ = run(suite, capsys, "--choice", "input_size=256")
    assert status == 0
    assert f"left out: {len(left_out)}" in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--device", "gpu"), 4, "editeval: unknown device 'gpu'"),
        (("--config", "none.yaml"), 4, "editeval: none.yaml"),
        (("--candidate", "v2"), 4, "editeval: --candidate v2: say where its edits are: v2=DIR"),
        (("--lock", "none.json"), 4, "editeval: lock file not found: none.json"),
        (("missing.edit.yaml",), 4, "editeval: missing.edit.yaml: no such file or directory"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(
    arguments: tuple[str, ...], status: int, message: str, suite: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run(suite, capsys, *arguments)
    assert (found, out) == (status, "")
    assert err.startswith(message)
    assert len(err.splitlines()) <= 2


def test_a_suite_without_scores_and_one_with_mistakes(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    suite.one("region_emd: 1.0", edited="lost.png")
    status, out, err = run(suite, capsys)
    assert status == 4
    assert "  a.edit.yaml::one::region_emd: image not found: lost.png" in out
    assert err == "editeval: no score could be measured: 1 checks in the case files\n"
    suite.one("emdd: 1.0")
    status, out, err = run(suite, capsys)
    assert (status, err) == (1, "")
    assert "unknown metric 'emdd'" in out
    status, out, err = run(suite, capsys, "--json")
    assert (status, out) == (1, "")
    assert "unknown metric 'emdd'" in err


def test_the_edits_of_a_candidate_are_scored(suite: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (suite.path / "v2").mkdir()
    (suite.path / "other.png").rename(suite.path / "v2" / "one.png")
    data = measured(suite, capsys, "--choice", "dtype=bfloat16", "--candidate", "v2=v2")
    names = {one["check"] for one in data["choices"][0]["checks"]}
    assert "a.edit.yaml::one[v2]::emd" in names
    assert "a.edit.yaml::ends[v2]::region_emd" in {one["check"] for one in data["float32"]["left_out"]}


# --- the numbers, and how they are shown ------------------------------------------------------------

VALUES = st.floats(-100, 100)


def error(**overrides: Any) -> CheckResult:
    return result(outcome=Outcome.ERROR, detail="no memory", **overrides)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20))
def test_the_numbers_are_numpys(sides: list[tuple[float, float, float]]) -> None:
    before, after = (
        [settled(result(case=f"c{index}", score=one[side], threshold=one[2])) for index, one in enumerate(sides)]
        for side in (0, 1)
    )
    (found,) = drift(before, after).metrics
    values = np.array(sides)
    moves = np.abs(values[:, 1] - values[:, 0])
    assert (found.checks, found.scores) == (len(sides), len(sides))
    assert found.median == pytest.approx(np.median(moves))
    assert found.largest == moves.max()
    good = values[:, :2] <= values[:, 2:]
    assert found.flips == (good[:, 0] != good[:, 1]).sum()
    if len(sides) == 1:
        assert found.spread is found.relative is None
    elif found.relative is not None:
        spread = values[:, 0].std(ddof=1)
        assert found.spread == pytest.approx(spread, abs=1e-9)
        assert found.relative == moves.max() / found.spread  # type: ignore[operator]


def soft(**overrides: Any) -> CheckResult:
    return result(outcome=Outcome.SOFT_FAILURE, **overrides)


def rows() -> tuple[list[CheckResult], list[CheckResult]]:
    before = [
        result(case="a", score=2.0),
        result(case="b", score=4.0),
        result(case="c", score=6.0, expect="fail"),
        soft(case="d"),
        error(case="e"),
        result(case="f", score=1.0, control="nothing-done"),
        result(case="g", metric="sam_clip_cls_sim", score=0.9, threshold=0.8),
    ]
    after = [
        result(case="a", score=2.25),
        soft(case="b"),
        result(case="c", score=4.5, expect="fail"),
        soft(case="d"),
        result(case="e", score=1.0),
        result(case="f", score=1.0, control="nothing-done"),
        error(case="g", metric="sam_clip_cls_sim"),
    ]
    return before, after


def tried(label: str, sides: tuple[Sequence[CheckResult], Sequence[CheckResult]]) -> Tried:
    key, _, value = label.partition("=")
    return Tried(label, {key: value}, drift(*sides), 1.234, 3 << 19)


def test_the_tables_by_hand() -> None:
    before, after = rows()
    plain = Measured(tuple(before), 2.5, 3 << 20, ("cpu",))
    assert suite_lines("tiny", plain, Screen()) == [
        "profile tiny · device cpu · 7 checks, 2 of them controls, 1 soft failures in float32",
        "left out: 1",
        "  a.edit.yaml::e::emd: no memory",
    ]
    one = tried("dtype=bfloat16", (before, after))
    assert choice_lines(one, Screen()) == [
        "dtype=bfloat16",
        "metric  checks  median move  largest  of spread  flips",
        "emd          5         0.25      1.5       68 %      2",
        "verdicts that flip: 2",
        "  a.edit.yaml::b::emd: passed -> soft failure, 4 -> no-patch-selected, threshold ≤ 5",
        "  a.edit.yaml::c::emd (control): passed -> failed, 6 -> 4.5, threshold ≤ 5",
        "left out: 1",
        "  a.edit.yaml::g::sam_clip_cls_sim: no memory",
    ]
    other = tried("device=cuda", (before, [replace(row, outcome=Outcome.ERROR, detail="no GPU") for row in after]))
    assert choice_lines(other, Screen()) == ["device=cuda: cannot run here: no GPU"]
    assert trade_lines(plain, [one, other], Screen()) == [
        "choice          seconds  MiB  checks  flips  largest of spread  metric",
        "float32            2.50  3.0",
        "dtype=bfloat16     1.23  1.5       5      2               68 %  emd",
    ]


def test_of_several_edits_every_score_moves_and_one_verdict_flips() -> None:
    def check(first: float, second: float | None) -> CheckResult:
        reason = None if second is not None else str(Reason.NO_PATCH_SELECTED)
        edits = (
            Repeat(0, "0.png", first, None, Outcome.PASSED),
            Repeat(1, "1.png", second, None, Outcome.PASSED, reason),
        )
        return settled(result(repeats=edits, quota=2))

    (one,) = drift([check(1.0, 2.0)], [check(1.5, 6.0)]).metrics
    assert (one.checks, one.scores, one.median, one.largest, one.flips) == (1, 2, 2.25, 4.0, 1)
    assert one.spread == pytest.approx(0.5**0.5)
    (one,) = drift([check(1.0, 2.0)], [check(1.5, None)]).metrics
    assert (one.scores, one.median, one.flips) == (1, 0.5, 1)


def test_soft_failures_alone_have_no_moves() -> None:
    found = drift([soft()], [soft()])
    assert found.has_run
    assert found == Drift(found.metrics, found.pairs, ())
    assert choice_lines(tried("fit=squash", ([soft()], [soft()])), Screen())[2] == (
        "emd          1            -        -          -      0"
    )
