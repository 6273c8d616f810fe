"""What an environment variable gives a configuration is in nothing that a run or a command prints or writes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from project import Project
from pytest_editeval.cli import main
from pytest_editeval.config import load_profile
from pytest_editeval.errors import ConfigError
from pytest_editeval.hidden import without_hidden

SECRET = "hunter2-Zq9xw"
PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
S = "'${env:SECRET_}'"
EMD = "metric_configs: {emd: {default_config: "
INVALID = {
    "model_path of nothing": EMD + f"{{model_path: {S}}}}}}}",
    "device": EMD + f"{{device: {S}}}}}}}",
    "dtype": EMD + f"{{dtype: {S}}}}}}}",
    "fit": EMD + f"{{fit: {S}}}}}}}",
    "input_size": EMD + f"{{input_size: {S}}}}}}}",
    "all of default_config": EMD + f"{S}}}}}",
    "pipe_name": f"metric_configs: {{emd: {{pipe_name: {S}}}}}",
    "scope": f"metric_configs: {{emd: {{scope: {S}}}}}",
    "patch_mask_threshold": f"metric_configs: {{emd: {{runtime_params: {{patch_mask_threshold: {S}}}}}}}",
    "bg_color": f"metric_configs: {{emd: {{runtime_params: {{bg_color: {S}}}}}, sam_dino_cls_sim: {{default_config: "
    f"{{model_path: m, sam: {{model_path: n}}}}, runtime_params: {{bg_color: [{S}, 1, 2]}}}}}}",
    "sam": EMD + f"{{sam: {S}}}}}}}",
    "sam's model_type": EMD + f"{{sam: {{model_path: m, model_type: {S}}}}}}}}}",
    "sam's device": EMD + f"{{sam: {{model_path: m, device: {S}}}}}}}}}",
    "profile": f"profile: {S}\nmetric_configs: {{emd: {{}}}}",
    "metric_configs": f"metric_configs: {S}",
    "gates": f"gates: {S}\nmetric_configs: {{emd: {{}}}}",
    "a gate's name": f"gates: [{{name: {S}, statistic: pass_rate, threshold: 1.0}}]\nmetric_configs: {{emd: {{}}}}",
    "a gate's threshold": f"gates: [{{metric: emd, statistic: mean, threshold: {S}}}]\nmetric_configs: {{emd: {{}}}}",
    "_base_": f"_base_: {{a: {S}}}\nmetric_configs: {{emd: {{}}}}",
    "inside a text": EMD + "{dtype: 'x-${env:SECRET_}-y'}}}",
    "by a reference": "a: {dtype: " + S + "}\nmetric_configs: {emd: {default_config: ${a}}}",
    "as a whole mapping": "_base_: {n: base.yaml}\nmetric_configs: {emd: {default_config: {dtype: '${n.secret}'}}}",
}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_", SECRET)


@pytest.mark.parametrize(
    "place", [place for place in INVALID if place not in ("model_path of nothing", "by a reference")]
)
def test_a_value_that_is_refused_is_not_shown(place: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("secret: ${env:SECRET_}\n")
    path = tmp_path / "config.yaml"
    path.write_text(INVALID[place])
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    for text in (str(caught.value), repr(caught.value)):
        assert "hunter2" not in text
    if place != "metric_configs":
        assert "${env:SECRET_}" in str(caught.value)


@PLAIN_AND_XDIST
@pytest.mark.parametrize("place", ["model_path of nothing", "device"])
def test_a_run_shows_nothing_of_a_value_that_is_refused(project: Project, place: str, options: tuple[str, ...]) -> None:
    project.write("tiny.yaml", INVALID[place])
    project.cases()
    result = project.run("-v", "--tb=long", "--junitxml=junit.xml", "--showlocals", *options)
    assert result.ret
    assert SECRET not in result.stdout.str() + result.stderr.str() + written(project.path)
    assert "${env:SECRET_}" in result.stdout.str() + result.stderr.str()


def written(folder: Path) -> str:
    """Everything in the files below the folder, but for the copies of the checkpoints."""
    files = (path for path in folder.rglob("*") if path.is_file() and SECRET not in str(path))
    return "".join(path.read_bytes().decode("latin-1") for path in files)


@PLAIN_AND_XDIST
def test_a_run_shows_and_writes_nothing_of_its_model_paths(
    project: Project,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    remembered_scores: Path,
) -> None:
    project.store = remembered_scores
    folder = project.path / SECRET
    shutil.copytree(project.models, folder)
    monkeypatch.setenv("MODELS_", str(folder))
    config = (project.path / "tiny.yaml").read_text("utf-8")
    config = re.sub(rf"{project.models}/([\w.]+)", r"'${env:MODELS_}/\1'", config)
    assert config.count("${env:MODELS_}") == 6
    project.write("tiny.yaml", config)
    project.cases()
    project.write(
        "test_own.py",
        """
        def test_own(editeval, clip_pipe):
            assert editeval.score("emd", "source.png", "other.png", scope=None).value < 0, clip_pipe
        def test_settings(editeval):
            assert not editeval.profile
        """,
    )
    outputs = ("--editeval-results=run.jsonl", "--editeval-report=page.html", "--editeval-markdown=run.md")
    result = project.run(
        "-vv",
        "--tb=long",
        "--showlocals",
        "-rA",
        "--junitxml=junit.xml",
        "--editeval-annotations=on",
        *outputs,
        *options,
    )
    shown = result.stdout.str() + result.stderr.str()
    assert result.ret == 1
    result.assert_outcomes(passed=5, failed=4, xfailed=1)
    assert "CLIP ${env:MODELS_}/clip" in shown
    assert SECRET not in shown
    assert SECRET not in written(project.path)
    monkeypatch.chdir(project.path)
    for command in (["report", "run.jsonl"], ["gate", "run.jsonl", "--config", "tiny.yaml"]):
        main(command)
    (folder / "clip" / "config.json").write_text("{}")
    main(["lint", "a.edit.yaml", "--config", "tiny.yaml"])
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    assert SECRET not in written(project.path)


def test_what_another_library_logs_is_hidden(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As the hub's client does while it tries to reach the hub."""
    import logging

    import pytest_editeval.hidden as hidden

    monkeypatch.setattr(hidden, "_shown", {})
    factory = logging.getLogRecordFactory()
    try:
        hidden.hide(f"org/{SECRET}", "${env:A}")
        logging.getLogger("hub").warning("cannot reach %s, try %d", f"https://hub/org/{SECRET}/config.json", 2)
    finally:
        logging.setLogRecordFactory(factory)
    assert caplog.messages[0] == "cannot reach https://hub/${env:A}/config.json, try 2"


def test_only_whole_words_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    import pytest_editeval.hidden as hidden

    monkeypatch.setattr(hidden, "_shown", {})
    hidden.hide("clip", "${env:A}")
    hidden.hide("a", "${env:B}")
    assert without_hidden("clip-pipe and clip: a/clip/x, clipped") == "clip-pipe and ${env:A}: a/${env:A}/x, clipped"
