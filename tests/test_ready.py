"""`editeval models profiles`: the ready configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_editeval.cli import main
from pytest_editeval.commands.ready import ready_profiles
from pytest_editeval.config import load_profile
from pytest_editeval.registry import BUILTIN_METRICS
from pytest_editeval.scoring.locking import model_paths
from pytest_editeval.vision.published import PUBLISHED


@pytest.fixture(params=ready_profiles())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_is_printed_and_is_a_whole_configuration(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "profiles", name]) == 0
    path = tmp_path / "release.yaml"
    path.write_text(capsys.readouterr().out, "utf-8")
    profile = load_profile(path)
    assert profile.name == name
    assert not profile.notices
    assert set(profile.metrics) == {metric.name for metric in BUILTIN_METRICS}
    assert set(model_paths([profile])) <= {one.path for one in PUBLISHED}


def test_the_weights_are_those_of_its_checkpoints(name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(ready_profiles()[name], "utf-8")
    vision = {"openai/clip-vit-base-patch32": 87.5, "openai/clip-vit-large-patch14-336": 304}  # without the text tower
    known = {one.path: one.millions for one in PUBLISHED} | vision
    millions = sum(known[path] for path in model_paths([load_profile(path)]))
    assert f"\n# Weights: {millions * 4 / 1000:.1f} GB in float32." in "\n" + path.read_text("utf-8")


def test_they_are_listed_with_what_they_are_for_and_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "profiles"]) == 0
    shown = capsys.readouterr().out
    for name, text in ready_profiles().items():
        assert f"{name}\n  For " in shown
        assert "On a GPU" in text
        assert "Measured on " in text
    assert "editeval models profiles NAME > FILE" in shown


def test_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "profiles", "clip-b32_dinov3-s16_sam"]) == 4
    shown = capsys.readouterr().err
    assert "unknown ready profile 'clip-b32_dinov3-s16_sam'; did you mean 'clip-b32_dinov3-s16_sam-b'?" in shown
    assert "known: clip-b32" in shown
