"""The import direction of docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_editeval"
LAYERS = [
    {"amounts", "errors", "escapes", "faults", "hidden", "reckoning", "results", "statuses"},
    {
        "case_fields",
        "case_schema",
        "cases",
        "check_rows",
        "checks",
        "config",
        "config_data",
        "config_files",
        "config_schema",
        "confinement",
        "device",
        "pixel_limit",
        "digests",
        "gate_rules",
        "locations",
        "needs",
    }
    | {
        "boxes",
        "candidates",
        "case_format",
        "case_reader",
        "controls",
        "derived",
        "evidence",
        "suites",
        "threshold_edits",
    }
    | {"frames", "profiles", "references", "regions", "registry", "results_columns", "results_file", "results_journal"}
    | {"json_text", "lock_file", "regular_file", "results_reader", "tiling", "validation", "whole_file"}
    | {"yaml_builder", "yaml_edits", "yaml_loader", "yamlfile"},
    {"vision"},
    {"scoring", "gating"},
    {
        "plugin",
        "run",
        "run_settings",
        "books",
        "hooks",
        "hook_guards",
        "explanations",
        "failure_display",
        "terminal",
        "hookspecs",
        "gate_run",
        "gate_hooks",
        "attachment_hooks",
        "output_hooks",
        "arguments",
        "distribution",
        "circles",
        "collect",
        "dropped_checks",
        "exit_guard",
        "item",
    }
    | {"making", "selection", "lost_rows", "progress", "cli", "commands", "reports"},
]
HEAVY = {"torch", "torchvision", "transformers", "segment_anything"}
PLUGIN_MAY_IMPORT = {
    "pytest",
    "pytest_editeval.amounts",
    "pytest_editeval.books",
    "pytest_editeval.run",
    "pytest_editeval.run_settings",
    "pytest_editeval.hook_guards",
    "pytest_editeval.hooks",
    "pytest_editeval.progress",
    "pytest_editeval.device",
    "pytest_editeval.errors",
    "pytest_editeval.failure_display",
    "pytest_editeval.statuses",
    "pytest_editeval.terminal",
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def top_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    return next(index for index, names in enumerate(LAYERS) if name in names)


def imports(path: Path, *, top_only: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {node for branch in ast.walk(tree) if _is_type_checking(branch) for node in ast.walk(branch)}
    if top_only:
        skipped |= {
            node for branch in ast.walk(tree) if isinstance(branch, ast.FunctionDef) for node in ast.walk(branch)
        }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_its_own_layer_and_those_below(path: Path) -> None:
    own = layer(top_name(path))
    for name in imports(path, top_only=False):
        if name.startswith("pytest_editeval."):
            imported = name.split(".")[1]
            assert layer(imported) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_engine_and_gates_never_meet(path: Path) -> None:
    """So that scores can be judged again without a model."""
    apart = {"gating": ("scoring", "vision"), "scoring": ("gating",), "vision": ("gating",)}
    for name in imports(path, top_only=False):
        assert not name.startswith(tuple(f"pytest_editeval.{other}" for other in apart.get(top_name(path), ()))), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_vision_imports_model_libraries_at_the_top(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path, top_only=True)} & HEAVY
    assert not found or top_name(path) == "vision"


@pytest.mark.parametrize("path", [path for path in MODULES if top_name(path) != "vision"], ids=lambda path: path.stem)
def test_nothing_but_vision_imports_vision_at_the_top(path: Path) -> None:
    assert not [name for name in imports(path, top_only=True) if name.startswith("pytest_editeval.vision")]


@pytest.mark.parametrize(
    "name",
    [
        "plugin",
        "run",
        "run_settings",
        "amounts",
        "books",
        "hook_guards",
        "hooks",
        "progress",
        "terminal",
        "device",
        "errors",
        "statuses",
    ],
)
def test_what_every_pytest_run_loads_is_light(name: str) -> None:
    import sys

    for imported in imports(PACKAGE / f"{name}.py", top_only=True):
        assert imported in PLUGIN_MAY_IMPORT or imported.split(".")[0] in sys.stdlib_module_names, imported


def test_every_module_has_a_layer() -> None:
    assert {top_name(path) for path in MODULES} == set().union(*LAYERS)
