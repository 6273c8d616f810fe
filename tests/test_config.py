# ruff: noqa: E501  (a mistake per line reads best)
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_editeval.config import load_profile
from pytest_editeval.errors import ConfigError, UnknownMetricError
from pytest_editeval.profiles import EMBEDDED_PATH, MetricSettings, PipeSettings, Profile, SamSettings
from pytest_editeval.registry import metrics

# Verbatim from the reference, section 6.
SECTION_6 = """\
_base_:
  pipes_default: "pipes_default.yaml"      # a namespace per file, paths relative to this file
metric_configs:
  emd:
    pipe_name: clip-pipe
    default_config: ${pipes_default.clip-pipe}
    init_config:                            # may be empty; wins over default_config, key by key
    scope: unedit_area
    runtime_params:
      patch_mask_threshold: 0.1
  sam_clip_cls_sim:
    pipe_name: clip-pipe
    default_config: ${pipes_default.clip-pipe}
    init_config:
      sam: ${pipes_default.sam-pipe}
    scope: edit_area
    runtime_params:
      bg_color: !tuple [255, 255, 255]
"""
PIPES_DEFAULT = """\
clip-pipe:
  model_path: ${env:CLIP_PATH:openai/clip-vit-base-patch32}
  device: ${env:DEVICE:}
dino-v3-pipe:
  model_path: ${env:DINO_V3_PATH}
sam-pipe:
  model_path: /models/sam_vit_h.pth
  model_type: vit_h
  model_cfg: null
"""
EMD = "metric_configs: {emd: {}}\n"


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("CLIP_PATH", "DEVICE", "DINO_V3_PATH", "NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def load(text: str, **files: str) -> Profile:
    for name, content in {"profile": text, **files}.items():
        path = Path(f"{name.replace('__', '/')}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return load_profile(Path("profile.yaml"))


def refused(text: str, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **files)
    return str(caught.value)


def test_the_reference_example() -> None:
    profile = load(SECTION_6, pipes_default=PIPES_DEFAULT)
    assert profile.name == "profile"
    assert profile.path == Path("profile.yaml")
    assert not profile.embedded
    assert list(profile.metrics) == ["emd", "sam_clip_cls_sim"]
    emd, similarity = profile.settings("emd"), profile.settings("sam_clip_cls_sim")
    assert emd.pipe == PipeSettings("clip-pipe", "openai/clip-vit-base-patch32")
    assert (emd.scope, emd.patch_mask_threshold) == ("unedit_area", 0.1)
    assert similarity.pipe.sam == SamSettings("/models/sam_vit_h.pth", "vit_h")
    assert (similarity.scope, similarity.bg_color) == ("edit_area", (255, 255, 255))
    assert str(emd.position) == "profile.yaml:4:3"
    assert profile.notices == ("pipes_default.yaml:9:3: 'model_cfg' is ignored",)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_PATH", "./models/${not.a.reference}")
    monkeypatch.setenv("DEVICE", "cuda:1")
    settings = load(SECTION_6, pipes_default=PIPES_DEFAULT).settings("emd")
    assert settings.pipe.model_path == "./models/${not.a.reference}", "the value of a variable is never changed"
    assert settings.pipe.device == "cuda:1"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("${env:NAME:a/b:c}", "a/b:c"),
        ("${env:NAME:${env:OTHER_:x}}", "x"),
        ("${env:NAME:${namespace.path}}", "from/base"),
        ("/m/${namespace.size}/${env:NAME:v}.pth", "/m/16/v.pth"),
        ("${namespace.path}", "from/base"),
        ("${paths.own}", "mine"),
        ("${ namespace.path }", "from/base"),
        ("plain $ {x}", "plain $ {x}"),
        ("${env:NAME:}", None),
        ("~/models", "~/models"),
    ],
)
def test_model_path(in_directory: Path, text: str, path: str | None) -> None:
    base = f"path: from/base\nsize: 16\nunused: ${{env:NAME}}\npaths:\n  own: mine\nmodel: {{model_path: '{text}'}}\n"
    profile = load("_base_: {namespace: base.yaml, again: base.yaml}\n" + emd("${namespace.model}"), base=base)
    assert profile.settings("emd").pipe.model_path == path


def emd(default_config: str, **entry: str) -> str:
    lines = [f"    {key}: {value}\n" for key, value in {"default_config": default_config, **entry}.items()]
    return "metric_configs:\n  emd:\n" + "".join(lines)


def test_relative_model_paths_belong_to_the_file_that_says_them(in_directory: Path) -> None:
    base = "near: {model_path: ./clip}\nup: {model_path: '${env:NAME:../clip}'}\nas_is: {model_path: models/clip}\n"
    for name, path in (
        ("near", f"{in_directory}/conf/clip"),
        ("up", f"{in_directory}/clip"),
        ("as_is", "models/clip"),
    ):
        profile = load(f"_base_: {{b: conf/base.yaml}}\n{emd(f'${{b.{name}}}')}", conf__base=base)
        assert profile.settings("emd").pipe.model_path == path


def test_bases_have_bases_with_paths_relative_to_them() -> None:
    Path("conf/deeper").mkdir(parents=True)
    profile = load(
        "_base_: {one: conf/one.yaml}\n" + emd("${one.pipe}", init_config="${one.two.more}"),
        conf__one="_base_: {two: deeper/two.yaml}\npipe: {model_path: '${two.name}', fit: squash}\n",
        conf__deeper__two="name: from two\nmore: {dtype: bfloat16, device: '${up}'}\nup: cpu\n",
    )
    assert profile.settings("emd").pipe == PipeSettings(
        "clip-pipe", "from two", device="cpu", fit="squash", dtype="bfloat16"
    )


def test_a_base_may_refer_to_the_file_that_uses_it() -> None:
    text = "_base_: {b: b.yaml, models: models.yaml}\n" + emd("${b.pipe}")
    profile = load(text, b="pipe: {model_path: '${models.clip}'}", models="clip: found")
    assert profile.settings("emd").pipe.model_path == "found"


def test_references_through_references_and_whole_blocks() -> None:
    base = "all: ${clips}\nclips:\n  small: ${clips.base}\n  base: {model_path: m, input_size: '${env:NAME:448}'}\n"
    assert load("_base_: {b: b.yaml}\n" + emd("${b.all.small}"), b=base).settings("emd").pipe == PipeSettings(
        "clip-pipe", "m", input_size=448
    )
    profile = load("_base_: {b: b.yaml}\nmetric_configs: ${b}\n", b="emd: {scope: null}\n")
    assert profile.settings("emd").scope is None


def test_init_config_wins_key_by_key() -> None:
    sam = "{model_path: s, model_type: vit_l, device: cpu}"
    text = f"""\
metric_configs:
  sam_clip_cls_sim:
    default_config: {{model_path: m, device: cuda, sam: {sam}}}
    init_config: {{device: auto, sam: {{model_path: t}}}}
"""
    pipe = load(text).settings("sam_clip_cls_sim").pipe
    assert pipe == PipeSettings("clip-pipe", "m", sam=SamSettings("t"))
    assert hash(pipe) == hash(PipeSettings("clip-pipe", "m", sam=SamSettings("t")))


def test_scope_null_and_no_scope_differ() -> None:
    assert load(emd("")).settings("emd").scope == "unedit_area"
    assert load(emd("", scope="null")).settings("emd").scope is None
    assert load(emd("", scope="edit_area")).settings("emd").scope == "edit_area"


def test_region_emd_takes_the_entry_of_emd() -> None:
    profile = load(emd("{model_path: m}", scope="edit_area", runtime_params="{patch_mask_threshold: 0}"))
    settings = profile.settings("region_emd")
    assert settings == MetricSettings(
        "region_emd", PipeSettings("clip-pipe", "m"), "unedit_area", 0.0, position=profile.settings("emd").position
    )
    own = load("metric_configs: {emd: {}, region_emd: {scope: edit_area}}").settings("region_emd")
    assert own.scope == "edit_area"


def test_a_metric_that_the_profile_does_not_configure() -> None:
    profile = load("profile: mine\n" + EMD)
    with pytest.raises(ConfigError) as caught:
        profile.settings("sam_dino_cls_sim")
    assert str(caught.value) == (
        "profile.yaml:2:1: profile 'mine' does not configure metric 'sam_dino_cls_sim'\n  it configures: emd"
    )
    with pytest.raises(UnknownMetricError):
        profile.settings("emdd")


def test_own_keys() -> None:
    gates = "gates:\n  - {metric: emd, statistic: mean, threshold: '${env:NAME:5}'}\n"
    profile = load("profile: clip-b32\n" + gates + EMD)
    assert profile.name == "clip-b32"
    assert [(gate.statistic, gate.threshold, gate.file) for gate in profile.gates] == [("mean", 5.0, None)]
    base = "gates: [{statistic: pass_rate, threshold: 0.5}]"
    (gate,) = load("_base_: {g: g.yaml}\ngates: ${g.gates}\n" + EMD, g=base).gates
    assert gate.threshold == 0.5
    embedded = load("profile: embedded\ngates: [{statistic: pass_rate, threshold: 0.5}]\n")
    assert (embedded.embedded, embedded.metrics, len(embedded.gates)) == (True, load_profile(None).metrics, 1)
    assert gate.position.path.name == "g.yaml"
    assert load("profile: ${env:NAME:by-default}\n" + EMD).name == "by-default"


def test_ignored_keys_are_named_once_and_not_resolved() -> None:
    text = "name: n\nsupport_task: ['${no.such}']\nparser_grounder_config: {1: '${env:NAME}', ? '${a}' : '${a}'}\n"
    text += "metric_configs:\n  emd:\n    runtime_params: {bg_color: nonsense, patch_mask_threshold: 0.2}\n"
    profile = load(text)
    assert profile.notices == (
        "profile.yaml:1:1: 'name' is ignored",
        "profile.yaml:2:1: 'support_task' is ignored",
        "profile.yaml:3:1: 'parser_grounder_config' is ignored",
        "profile.yaml:6:22: metric 'emd' does not read 'bg_color'; ignored",
    )
    assert profile.settings("emd").patch_mask_threshold == 0.2


def test_embedded_profile() -> None:
    profile = load_profile(None)
    assert (profile.name, profile.embedded, profile.path, profile.notices) == ("embedded", True, None, ())
    assert set(profile.metrics) == set(metrics())
    for name, spec in metrics().items():
        settings = profile.settings(name)
        folder = {"clip-pipe": "clip", "dino-v3-pipe": "dinov3"}[spec.pipe_name]
        assert settings.pipe.model_path == str(EMBEDDED_PATH / folder)
        assert settings.pipe.sam == SamSettings(str(EMBEDDED_PATH / "sam" / "sam.pth"))
        assert settings.scope == spec.scope
    assert len({settings.pipe for settings in profile.metrics.values()}) == 2, "equal settings share a model"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(Path("conf/none.yaml"))
    assert str(caught.value) == "conf/none.yaml:1:1: cannot be read: No such file or directory"


M = "metric_configs:\n  "
BAD = {
    "empty file": ("", "1:1: the file is empty"),
    "list": ("[a]", "1:1: a configuration file is a mapping of names to settings"),
    "syntax": ("a: b: c", "1:5: a ':' is not allowed here"),
    "unknown key": ("metric_config: {}", "1:1: unknown key 'metric_config'; did you mean 'metric_configs'?\n  known: _base_, "),
    "no metrics": ("profile: x", "1:1: 'metric_configs' is missing\n  known: dinov3"),
    "empty metrics": ("metric_configs:", "1:1: 'metric_configs' must be a mapping with a metric at least"),
    "unknown metric": (M + "emdd: {}", "2:3: unknown metric 'emdd'; did you mean 'emd'?\n  known: dinov3_structure_similarity, emd"),
    "metric is a number": (M + "1: {}", "2:3: unknown metric 1\n  known: "),
    "metric is text": (M + "emd: x", "2:8: metric 'emd' must be a mapping, found 'x'"),
    "key of a metric": (M + "emd: {scop: null}", "2:9: unknown key 'scop' of metric 'emd'; did you mean 'scope'?\n  known: default_config, init_config, pipe_name, runtime_params, scope"),
    "key is a number": (M + "emd: {1: 2}", "2:9: the key 1 of metric 'emd' must be text\n  quote it"),
    "unknown pipe": (M + "emd: {pipe_name: clip-pip}", "2:20: unknown pipe 'clip-pip'; did you mean 'clip-pipe'?\n  'emd' takes 'clip-pipe'"),
    "wrong pipe": (M + "emd: {pipe_name: dino-v3-pipe}", "2:20: metric 'emd' is not computed by 'dino-v3-pipe'\n  'emd' takes 'clip-pipe'"),
    "scope": (M + "emd: {scope: edit}", "2:16: 'scope' of metric 'emd' must be 'edit_area' or 'unedit_area', found 'edit'"),
    "init_config": (M + "emd: {init_config: [1]}", "2:22: 'init_config' of metric 'emd' must be a mapping, found a list"),
    "key of a pipe": (M + "emd: {init_config: {model: x}}", "2:23: unknown key 'model' of metric 'emd'; did you mean 'model_path'?"),
    "key of sam": (M + "emd: {init_config: {sam: {path: x}}}", "2:29: unknown key 'path' of 'sam' of metric 'emd'\n  known: device, dtype, model_cfg, model_path, model_type"),
    "model_path": (M + "emd: {init_config: {model_path: 7}}", "2:35: 'model_path' of metric 'emd' must be text, found 7\n  quote it"),
    "reference over two lines": (M + 'emd: {default_config: "${a.\\n b}"}', "2:25: reference ${a. b}: unknown name 'a'"),
    "device": (M + "emd: {init_config: {device: gpu}}", "2:31: unknown device 'gpu'; allowed: auto, cpu, cuda, cuda:N, mps"),
    "device of sam": (M + "emd: {init_config: {sam: {model_path: x, device: gpu}}}", "2:52: unknown device 'gpu'; allowed: auto, cpu, cuda, cuda:N, mps"),
    "dtype": (M + "emd: {init_config: {dtype: half}}", "2:30: 'dtype' of metric 'emd' must be 'float32', 'bfloat16' or 'float16', found 'half'"),
    "fit": (M + "emd: {init_config: {fit: pad}}", "2:28: 'fit' of metric 'emd' must be 'crop' or 'squash', found 'pad'"),
    "input_size": (M + "emd: {init_config: {input_size: true}}", "2:35: 'input_size' of metric 'emd' must be a number, found true"),
    "input_size 0": (M + "emd: {init_config: {input_size: 0}}", "2:35: 'input_size' of metric 'emd' must be at least 1, found 0"),
    "input_size 1.5": (M + "emd: {init_config: {input_size: 1.5}}", "2:35: 'input_size' of metric 'emd' must be a whole number, found 1.5"),
    "model_type": (M + "emd: {init_config: {sam: {model_path: x, model_type: h}}}", "2:56: 'sam.model_type' of metric 'emd' must be 'vit_b', 'vit_l' or 'vit_h', found 'h'"),
    "threshold 1": (M + "emd: {runtime_params: {patch_mask_threshold: 1}}", "2:48: 'patch_mask_threshold' of metric 'emd' must be less than 1, found 1"),
    "threshold nan": (M + "emd: {runtime_params: {patch_mask_threshold: .nan}}", "2:48: 'patch_mask_threshold' of metric 'emd' must be a finite number, found .nan"),
    "threshold text": (M + "emd: {runtime_params: {patch_mask_threshold: much}}", "2:48: 'patch_mask_threshold' of metric 'emd' must be a number, found 'much'"),
    "parameter": (M + "emd: {runtime_params: {patch_mask_treshold: 0}}", "2:26: unknown key 'patch_mask_treshold' of metric 'emd'; did you mean 'patch_mask_threshold'?"),
    "colour": (M + "sam_clip_cls_sim: {runtime_params: {bg_color: !tuple [0, 0]}}", "2:49: 'bg_color' of metric 'sam_clip_cls_sim' must be 3 whole numbers [red, green, blue]; found 2"),
    "colour 256": (M + "sam_clip_cls_sim: {runtime_params: {bg_color: [0, 0, 256]}}", "2:56: 'bg_color[2]' of metric 'sam_clip_cls_sim' must be at most 255, found 256"),
    "colour white": (M + "sam_clip_cls_sim: {runtime_params: {bg_color: white}}", "2:49: 'bg_color' of metric 'sam_clip_cls_sim' must be a colour, 3 whole numbers [red, green, blue]; found 'white'"),
    "no DINO path": (M + "dinov3_structure_similarity: {}", "2:3: metric 'dinov3_structure_similarity' needs a 'model_path' in its default_config or init_config\n  'dino-v3-pipe' has no checkpoint of its own"),
    "empty DINO path": (M + "dinov3_structure_similarity: {init_config: {model_path: '${env:NAME:}'}}", "2:3: metric 'dinov3_structure_similarity' needs a 'model_path'"),
    "no sam": (M + "sam_clip_cls_sim: {}", "2:3: metric 'sam_clip_cls_sim' needs a segmenter's 'model_path' in a 'sam' block, and has none"),
    "no sam path": (M + "sam_clip_cls_sim: {init_config: {sam: {model_type: vit_b}}}", "2:3: metric 'sam_clip_cls_sim' needs a segmenter's 'model_path' in its 'sam' block"),
    "profile": ("profile: 1\n" + EMD, "1:10: 'profile' must be a name, as text"),
    "profile of two lines": ('profile: "a\\nb"\n' + EMD, "1:10: 'profile' must be a name, as text"),
    "bases": ("_base_: pipes.yaml\n" + EMD, "1:9: '_base_' is a mapping from a namespace to a file"),
    "base is a list": ("_base_: {a: [b]}\n" + EMD, "1:13: '_base_' is a mapping from a namespace to a file"),
    "missing base": ("_base_: {a: b/c.yaml}\n" + EMD, "1:13: no such file: 'b/c.yaml'\n  looked for b/c.yaml"),
    "base with a NUL": ('_base_: {a: "b\\0"}\n' + EMD, "1:13: no such file: 'b\\x00'"),
    "base is itself": ("_base_: {a: profile.yaml}\n" + EMD, "1:13: '_base_' comes back to 'profile.yaml', which is being read"),
    "missing namespace": (emd("${pipes.clip}"), "3:21: reference ${pipes.clip}: unknown name 'pipes'\n  known: metric_configs"),
    "missing variable": (emd("{model_path: '${env:NAME}'}"), "3:34: environment variable 'NAME' is not set\n  set it, or give a default: ${env:NAME:DEFAULT}"),
    "no variable": (emd("{model_path: '${env:}'}"), "3:34: '${env:}' without the name of an environment variable"),
    "open reference": (emd("{model_path: 'a${b'}"), "3:34: reference without its closing brace: '${b'"),
    "reference in a reference": (emd("{model_path: '${a.${b}}'}"), "3:34: a reference inside a reference: ${a.${b}}"),
    "empty reference": (emd("{model_path: '${}'}"), "3:34: reference ${}: unknown name ''"),
    "mapping inside text": (emd("{model_path: 'a/${metric_configs}'}"), "3:34: "),
    "cycle": (emd("${metric_configs.emd.default_config}"), "3:21: circular reference: ${metric_configs.emd.default_config} -> ${metric_configs.emd.default_config}"),
    "cycle over its parent": (emd("{sam: '${metric_configs.emd}'}"), "circular reference: "),
    "cycle through names": (emd("${metric_configs.emd.default_config.x}"), "circular reference: "),
    "python tag": (emd("!!python/name:os.system x"), "3:21: unsafe YAML tag '!!python/name:os.system'"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_files(text: str, message: str) -> None:
    found = refused(text)
    assert found.startswith("profile.yaml:")
    assert found.startswith(f"profile.yaml:{message}") if message[0].isdigit() else message in found


def test_mistakes_in_a_base_name_the_base() -> None:
    text = "_base_: {b: b.yaml}\n" + emd("${b.clip}")
    assert refused(text, b="clip:\n  fitt: crop").startswith("b.yaml:2:3: unknown key 'fitt' of metric 'emd'; did you")
    assert refused(text, b="clip:\n  fit: cut").startswith("b.yaml:2:8: 'fit' of metric 'emd' must be 'crop' or")
    assert refused(text, b="clip: ${clp}").startswith("b.yaml:1:7: reference ${clp}: unknown name 'clp'; did you mean")
    assert refused(text, b="clip: {model_path: '${env:NAME}'}").startswith("b.yaml:1:20: environment variable 'NAME'")
    assert refused(text, b="clip: [").startswith("b.yaml:")
    assert refused(text, b="").startswith("b.yaml:1:1: the file is empty")
    assert refused(text, b="_base_: {c: profile.yaml}").startswith("b.yaml:1:13: '_base_' comes back to 'profile.yaml'")


def test_a_missing_name_lists_those_that_are_there() -> None:
    text = "_base_: {pipes: pipes.yaml}\n" + emd("${pipes.clip_pipe}")
    assert refused(text, pipes="clip-pipe: {}\ndino: {}\n") == (
        "profile.yaml:4:21: reference ${pipes.clip_pipe}: in 'pipes', unknown name 'clip_pipe'; did you mean 'clip-pipe'?\n"
        "  known: clip-pipe, dino"
    )


def test_a_cycle_names_its_references() -> None:
    text = "_base_: {b: b.yaml}\n" + emd("${b.one}")
    found = refused(text, b="one: ${two}\ntwo: {model_path: '${three}'}\nthree: x/${one.model_path}\n")
    assert found.startswith("b.yaml:")
    assert "circular reference: " in found
    assert "${three} -> x/${one.model_path} -> ${three}" in found or "${one.model_path}" in found


def test_references_cannot_make_a_small_file_endless() -> None:
    base = "t0: xxxxxxxxxx\n" + "".join(f"t{n}: ${{t{n - 1}}}${{t{n - 1}}}\n" for n in range(1, 40))
    text = "_base_: {b: b.yaml}\n" + emd("{model_path: '${b.t39}'}")
    assert "references expand to more than 100,000 characters" in refused(text, b=base)
    base = "l0: [x]\n" + "".join(f"l{n}: [" + f"'${{l{n - 1}}}', " * 10 + "]\n" for n in range(1, 10))
    assert "more than 100,000 values" in refused("_base_: {b: b.yaml}\ngates: ${b.l9}\n" + EMD, b=base)
    base = "c0: x\n" + "".join(f"c{n}: ['${{c{n - 1}}}']\n" for n in range(1, 200))
    assert "nested deeper than 60 levels" in refused("_base_: {b: b.yaml}\ngates: ${b.c199}\n" + EMD, b=base)
    chained = "gates:\n" + "".join(f"  - {'[' * 20}'${{gates.x}}'{']' * 20}\n" for _ in range(2))
    assert "reference ${gates.x}" in refused(chained + EMD)
    assert "nested deeper" in refused(emd("{model_path: '" + "${env:NAME:" * 300 + "}" * 300 + "'}"))


TEXTS = st.text("${}:.-_/ envabx1[]'\"\n", max_size=40) | st.sampled_from(
    ["${a.b}", "${env:X:y}", "${_base_.a}", "${metric_configs}", "${gates.x}", "clip-pipe", "edit_area", "any.yaml"]
)
KEYS = st.sampled_from(
    [
        "_base_",
        "metric_configs",
        "emd",
        "pipe_name",
        "default_config",
        "init_config",
        "runtime_params",
        "scope",
        "sam",
        "model_path",
        "device",
        "fit",
        "input_size",
        "dtype",
        "bg_color",
        "patch_mask_threshold",
        "profile",
        "x",
    ]
)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXTS | st.integers(), inner, max_size=4),
)
ENTRIES = st.dictionaries(KEYS, VALUES, max_size=5)
FILES = VALUES | st.fixed_dictionaries(
    {
        "metric_configs": st.dictionaries(
            st.sampled_from(["emd", "sam_clip_cls_sim", "x"]), ENTRIES | VALUES, max_size=3
        )
    },
    optional={"gates": VALUES, "profile": VALUES, "_base_": VALUES, "name": VALUES},
)


@given(data=FILES)
def test_any_configuration_is_a_profile_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        profile = load_profile(path)
    except ConfigError as error:
        message = error.message
    else:
        message = ""
        assert set(profile.metrics) <= set(metrics())
    assert "\n" not in message
