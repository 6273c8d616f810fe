"""Where fuzzing begins: the repository's own files and the examples of the docs, and the words of the formats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pytest_editeval.case_fields import CaseFields, ObjectCheckFields, PatchCheckFields
from pytest_editeval.gate_rules import SCORE_STATISTICS, WHERE, GateFields
from pytest_editeval.gating.baseline import Accepted, Baseline
from pytest_editeval.gating.baseline_file import baseline_text
from pytest_editeval.gating.noise import MetricNoise, NoiseFloor, noise_text
from pytest_editeval.registry import BUILTIN_METRICS, PIPES
from pytest_editeval.results import MetricIdentity
from pytest_editeval.results_columns import COLUMNS
from pytest_editeval.results_file import write_results

ROOT = Path(__file__).parents[2]
MAX_SEED = 4000  # bytes: larger ones are slow to change

_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CONFIGURATION = """_base_: {base: base.yaml}
profile: ${env:PROFILE:tiny}
metric_configs:
  emd: {pipe_name: clip-pipe, default_config: '${base.pipes.clip-pipe}', scope: edit_area}
  sam_clip_cls_sim:
    pipe_name: clip-pipe
    default_config: {model_path: ./clip, dtype: float32}
    init_config: {sam: {model_path: '${env:SAM:${base.a}}', model_type: vit_b}, bg_color: !tuple [0, 0, 0]}
    runtime_params: {patch_mask_threshold: 0.1, bg_color: [255, 255, 255]}
gates:
  - {metric: emd, statistic: p95, threshold: {tiny: 0.3}, confidence: 0.95, by: task, where: {tag: people}}
"""


def seeds(target: str) -> Iterator[bytes]:
    """Valid files for a target, and none."""
    yield b""
    if target in ("cases", "thresholds", "configuration"):
        yield from (text.encode() for text in _yaml(target) if len(text) <= MAX_SEED)
    elif target == "baseline":
        yield baseline_text(
            Baseline(Path("b"), "tiny", {"emd": MetricIdentity(1, "ab")}, {"a::b::emd": Accepted(0.5, "cd")})
        ).encode()
    elif target == "noise":
        yield noise_text(NoiseFloor(None, "tiny", {"emd": MetricNoise(0.1, 1, "ab", 3, {"jpeg": 0.1})})).encode()
    elif target == "labels":
        yield b"case,label,metric,candidate\na,good,emd,\nb,bad,,v2\n"
    else:
        yield results_content(f".{target}")


def results_content(suffix: str) -> bytes:
    """A results file of the example rows of the tests."""
    import tempfile

    from rows import result

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"results{suffix}"
        write_results(path, [result(node_id="a"), result(node_id="b")])
        return path.read_bytes()


def words() -> list[str]:
    """Keys, names and signs that the formats know, as tokens of a dictionary."""
    keys = {
        key for model in (CaseFields, ObjectCheckFields, PatchCheckFields, GateFields) for key in model.model_fields
    }
    names = {spec.name for spec in BUILTIN_METRICS} | {*PIPES, *WHERE, *SCORE_STATISTICS, *COLUMNS}
    own = {"cases", "defaults", "gates", "id", "metrics", "_base_", "metric_configs", "default_config", "init_config"}
    own |= {"runtime_params", "sam", "model_path", "bg_color", "p95", "pass_rate", "baseline", "edit_area", "format"}
    signs = {
        "${",
        "${env:",
        "<<: *a",
        "&a ",
        "*a",
        "!!int ",
        "!tuple ",
        ".inf",
        ".nan",
        "-0",
        "1e999",
        "0o17",
        "1:30:00",
    }
    return sorted(keys | names | own | signs | {"2024-01-01", "true", "null", "? ", "- ", ": ", "|-", "---", "NaN"})


def _yaml(target: str) -> Iterator[str]:
    own = "metric_configs" if target == "configuration" else "cases:"
    examples = [text for page in sorted(ROOT.glob("docs/*.md")) for text in _YAML.findall(page.read_text("utf-8"))]
    files = [path.read_text("utf-8") for path in sorted(ROOT.glob("cases/*.yaml"))]
    yield from (text for text in (*examples, *files, _CONFIGURATION) if own in text)
