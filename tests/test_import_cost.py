"""What it costs to have the plugin installed, and to collect: imports, counted in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "transformers", "numpy", "pandas", "pydantic", "yaml", "PIL", "cv2", "scipy", "fsspec")
PROBE = """
import sys, pytest
status = pytest.main({arguments!r})
print("STATUS", int(status), "IMPORTED", *[name for name in {heavy!r} if name in sys.modules])
"""

CASES = """
cases:
  - id: one
    instruction: Do it.
    source: a.png
    edited: b.png
    coords: [[1, 2, 30, 40]]
    metrics: {emd: 1.0, sam_clip_cls_sim: {threshold: 0.5, pairs: [{source: [1, 2, 30, 40], edited: [1, 2, 30, 40]}]}}
"""


def imported(folder: Path, arguments: list[str]) -> set[str]:
    # Plugins of others, which some environments have, import what they like.
    others = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:hydra_pytest"]
    code = PROBE.format(arguments=[*others, *arguments], heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    last = run.stdout.splitlines()[-1].split()
    assert last[:3] == ["STATUS", "0", "IMPORTED"], run.stdout + run.stderr
    return set(last[3:])


def test_loading_the_plugin_imports_no_heavy_library(tmp_path: Path) -> None:
    (tmp_path / "test_empty.py").write_text("def test_empty(): pass\n", "utf-8")
    assert imported(tmp_path, []) == set()


def test_collecting_cases_imports_no_model_library(tmp_path: Path) -> None:
    (tmp_path / "a.edit.yaml").write_text(CASES, "utf-8")
    (tmp_path / "b.edit.yaml").write_text(CASES.replace("a.png", "s3://bucket/a.png"), "utf-8")
    assert not imported(tmp_path, ["--collect-only"]) & {"torch", "transformers", "pandas", "cv2", "fsspec"}


def test_a_solver_that_warns_while_it_is_compiled_is_no_error_of_a_strict_run(tmp_path: Path) -> None:
    (tmp_path / "ot.py").write_text('"""Costs of \\d."""\nsolver = "ours"\n', "utf-8")
    code = "import pytest_editeval.vision.metrics as metrics; print(metrics.ot.solver)"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == ("ours\n", "")
