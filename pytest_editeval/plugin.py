"""The pytest plugin: options, collection, distribution and session fixtures.

Every pytest run of an environment loads this module, so it, `pytest_editeval.run`, `.hooks` and `.terminal` import
the standard library and pytest only; everything else is imported inside functions, once an edit case, a setting or a
fixture asks for it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.errors import EditEvalError
from pytest_editeval.hook_guards import HookGuards
from pytest_editeval.hooks import EditHooks
from pytest_editeval.run import RUN, EditRun
from pytest_editeval.run_settings import CHOICES, DIST_GIVEN, KEEP_EDIT_FILES
from pytest_editeval.terminal import TerminalHooks

if TYPE_CHECKING:
    from pytest_editeval.making import EditModel
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.vision.pipes import Pipe
    from pytest_editeval.vision.segmenter import SAMSegmenter

DEFAULT_FILES = ["*.edit.yaml", "*.edit.yml"]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """The hook `pytest_editeval_edit`."""
    from pytest_editeval import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, and the ini settings of the same names."""
    group = parser.getgroup("editeval", "image edit evaluation")
    group.addoption("--editeval-config", metavar="FILE", help="configuration file that names the models (a profile)")
    group.addoption(
        "--editeval-lock", metavar="FILE", help="stop unless the checkpoints are those of `editeval models lock`"
    )
    group.addoption("--editeval-device", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:N or mps")
    group.addoption(
        "--editeval-results", metavar="FILE", help="write one row per check to FILE: .jsonl, .csv or .parquet"
    )
    group.addoption(
        "--editeval-report", metavar="FILE", help="write a page of the run to FILE: images, heat maps, verdicts"
    )
    group.addoption(
        "--editeval-report-images",
        choices=CHOICES["report_images"],
        help="images are in the page (default), or linked",
    )
    group.addoption(
        "--editeval-report-size", metavar="PIXELS", help="longer side of images in the page, or full (default: 512)"
    )
    group.addoption(
        "--editeval-soft-failures",
        choices=CHOICES["soft_failures"],
        help="how a check whose metric could not be computed is reported (default: xfail)",
    )
    group.addoption(
        "--editeval-candidate",
        action="append",
        metavar="NAME[=DIR]",
        help="score a model's edits, DIR/<case id>.png; without DIR they are made in the run (repeatable)",
    )
    group.addoption("--editeval-edits", metavar="DIR", help="where edits that are made in the run are saved")
    group.addoption(
        "--editeval-gates",
        choices=CHOICES["gates"],
        help="auto (default) judges gates unless -k, --lf or a node id leaves checks out",
    )
    group.addoption("--editeval-baseline", metavar="FILE", help="scores of the last release, to compare with")
    group.addoption(
        "--editeval-noise", metavar="FILE", help="noise floor of `editeval noise`, to mark verdicts within it"
    )
    group.addoption(
        "--editeval-allow-mismatch",
        action="store_true",
        help="compare with a baseline or noise floor of other models all the same",
    )
    group.addoption(
        "--editeval-cache",
        choices=CHOICES["cache"],
        help="scores and features of earlier runs (default: readwrite)",
    )
    group.addoption(
        "--editeval-cache-dir", metavar="DIR", help="where they are remembered (default: in pytest's cache directory)"
    )
    group.addoption(
        "--editeval-retry-soft-failures",
        action="store_true",
        default=None,
        help="compute the soft failures that earlier runs remember once more",
    )
    group.addoption("--editeval-cache-size", metavar="SIZE", help="what they may take there (default: 2GB)")
    group.addoption(
        "--editeval-max-pixels", metavar="N", help="larger images are refused: a number or 100MP (default: 178956970)"
    )
    group.addoption(
        "--editeval-root-only",
        choices=CHOICES["root_only"],
        help="case files may read below the root directory only (default: on)",
    )
    group.addoption("--editeval-memory", metavar="SIZE", help="images and features held in memory (default: 2GB)")
    group.addoption(
        "--editeval-batch-size", metavar="N", help="images per forward pass, or auto (default): halved if too many"
    )
    group.addoption(
        "--editeval-timeout",
        metavar="SECONDS",
        help="how long a metric may compute one score (default: 300; 0: no limit)",
    )
    group.addoption(
        "--editeval-ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="score on a Ray cluster: host:port, local, or auto (a running one, else one of this machine)",
    )
    group.addoption("--editeval-ray-actors", metavar="N", help="processes there (default: as many as fit)")
    group.addoption("--editeval-ray-gpus", metavar="G", help="GPUs of each, may be a share (default: 1, or 0)")
    group.addoption("--editeval-ray-images", metavar="HOW", help="local images travel as bytes (default) or paths")
    group.addoption(
        "--editeval-annotations",
        choices=CHOICES["annotations"],
        help="failures as annotations and a job summary of GitHub Actions (auto: where it runs)",
    )
    group.addoption("--editeval-markdown", metavar="FILE", help="write a summary of the run to FILE, in Markdown")
    parser.addini("editeval_files", "file name patterns of edit cases", type="args", default=DEFAULT_FILES)
    parser.addini("editeval_config", "default of --editeval-config, relative to the ini file")
    parser.addini("editeval_lock", "default of --editeval-lock, relative to the ini file")
    parser.addini("editeval_device", "default of --editeval-device", default="auto")
    parser.addini("editeval_results", "default of --editeval-results, relative to the ini file")
    parser.addini("editeval_report", "default of --editeval-report, relative to the ini file")
    parser.addini("editeval_report_images", "default of --editeval-report-images", default="embed")
    parser.addini("editeval_report_size", "default of --editeval-report-size", default="512")
    parser.addini("editeval_candidates", "default of --editeval-candidate, one a line", type="linelist", default=[])
    parser.addini("editeval_edits", "default of --editeval-edits, relative to the ini file")
    parser.addini("editeval_gates", "default of --editeval-gates", default="auto")
    parser.addini("editeval_baseline", "default of --editeval-baseline, relative to the ini file")
    parser.addini("editeval_noise", "default of --editeval-noise, relative to the ini file")
    parser.addini("editeval_cache", "default of --editeval-cache", default="readwrite")
    parser.addini("editeval_cache_dir", "default of --editeval-cache-dir, relative to the ini file")
    parser.addini("editeval_retry_soft_failures", "default of --editeval-retry-soft-failures", type="bool")
    parser.addini("editeval_cache_size", "default of --editeval-cache-size", default="2GB")
    parser.addini("editeval_max_pixels", "default of --editeval-max-pixels")
    parser.addini("editeval_root_only", "default of --editeval-root-only", default="on")
    parser.addini("editeval_memory", "default of --editeval-memory", default="2GB")
    parser.addini("editeval_batch_size", "default of --editeval-batch-size", default="auto")
    parser.addini("editeval_timeout", "default of --editeval-timeout", default="300")
    parser.addini("editeval_ray", "default of --editeval-ray; empty: no cluster", default="")
    parser.addini("editeval_ray_actors", "default of --editeval-ray-actors")
    parser.addini("editeval_ray_gpus", "default of --editeval-ray-gpus")
    parser.addini("editeval_ray_images", "default of --editeval-ray-images", default="bytes")
    parser.addini("editeval_soft_failures", "default of --editeval-soft-failures", default="xfail")
    parser.addini("editeval_annotations", "default of --editeval-annotations", default="auto")
    parser.addini("editeval_markdown", "default of --editeval-markdown, relative to the ini file")
    parser.addini("editeval_junit_properties", "scores of test cases in JUnit as properties", type="bool", default=True)
    parser.addini(
        "editeval_junit_attachments", "images of failures in JUnit: auto, jenkins, gitlab, off", default="auto"
    )


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int | None, int | None]:
    """Note whether a distribution mode was given: xdist's own hook, which comes after this, sets one for `-n`."""
    given = config.getoption("dist", "no") != "no" or config.getoption("distload", False)
    config.stash[DIST_GIVEN] = bool(given)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Check the settings, so that a mistake in them stops the run before anything is collected."""
    run = EditRun(config)
    config.stash[RUN] = run
    hooks = EditHooks(run)
    config.pluginmanager.register(hooks, "editeval-hooks")
    terminal = TerminalHooks(hooks)
    config.pluginmanager.register(terminal, "editeval-terminal")
    config.pluginmanager.register(HookGuards(hooks, terminal), "editeval-guards")
    if run.is_worker or run.annotates or run.markdown_path is not None or run.report_path is not None:
        from pytest_editeval.output_hooks import OutputHooks

        try:
            config.pluginmanager.register(OutputHooks(hooks), "editeval-outputs")
        except EditEvalError as error:
            raise pytest.UsageError(f"editeval: {error}") from None
    if run.attachments is not None and config.getoption("xmlpath", None) and not run.is_worker:
        from pytest_editeval.attachment_hooks import AttachmentHooks

        config.pluginmanager.register(AttachmentHooks(hooks, run.attachments), "editeval-attachments")
    if config.getoption("dist", "no") != "no":
        _register_gates(config)  # xdist's controller collects nothing itself


def _register_gates(config: pytest.Config) -> None:
    """Add the hooks that judge gates, and count what was selected; a run without edit cases does without."""
    if not config.pluginmanager.has_plugin("editeval-gates"):
        from pytest_editeval.dropped_checks import DroppedChecks
        from pytest_editeval.exit_guard import ExitGuard
        from pytest_editeval.gate_hooks import GateHooks

        hooks: Any = config.pluginmanager.get_plugin("editeval-hooks")
        for name, more in (("gates", GateHooks), ("dropped", DroppedChecks), ("exit", ExitGuard)):
            config.pluginmanager.register(more(hooks), f"editeval-{name}")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Files that match `editeval_files` hold edit cases."""
    if not parent.config.stash[RUN].is_edit_file(file_path.name):
        return None
    _register_gates(parent.config)
    from pytest_editeval.collect import EditFile

    return EditFile.from_parent(parent, path=file_path)


# Last, so that a scheduler of a conftest.py or of another plugin comes before it; xdist's own, registered later, is
# still behind it.
@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` and no distribution mode, the checks of one file stay together."""
    run = config.stash[RUN]
    if run.distribution != KEEP_EDIT_FILES:
        return None
    from pytest_editeval.distribution import EditLoadScheduling

    return EditLoadScheduling(config, log, run.is_edit_node)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker the mode, which xdist does not."""
    node.workerinput["editeval_dist"] = node.config.stash[RUN].distribution


@pytest.fixture(scope="session")
def editeval(request: pytest.FixtureRequest) -> Iterator[EditEval]:
    """The scorer of this run's profile: `editeval.score("emd", source, edited, coords=[...])` gives a `Score`."""
    from pytest_editeval.scoring.engine import EditEval

    run = request.config.stash[RUN]
    run.editeval = EditEval(
        run.pool,
        request.getfixturevalue,
        run.store,
        run.memory_bytes,
        run.cluster,
        run.timeout,
        retry_soft_failures=run.retry_soft_failures,
    )
    yield run.editeval
    run.editeval.close()


@pytest.fixture(scope="session")
def clip_pipe(request: pytest.FixtureRequest) -> Pipe:
    """The profile's `CLIPPipe`; weights are loaded when the first image is encoded."""
    return request.config.stash[RUN].pool.default_pipe("clip-pipe")


@pytest.fixture(scope="session")
def dinov3_pipe(request: pytest.FixtureRequest) -> Pipe:
    """The profile's `DINOv3Pipe`; weights are loaded when the first image is encoded."""
    return request.config.stash[RUN].pool.default_pipe("dino-v3-pipe")


@pytest.fixture(scope="session")
def sam_segmenter(request: pytest.FixtureRequest) -> SAMSegmenter:
    """The profile's `SAMSegmenter`; weights are loaded when the first image is embedded."""
    return request.config.stash[RUN].pool.default_segmenter()


@pytest.fixture(scope="session")
def edit_model(request: pytest.FixtureRequest) -> EditModel:
    """The editing model: ``edit_model(case=..., source=..., seed=..., candidate=...)`` gives a PIL image.

    By default it asks the hook `pytest_editeval_edit`; a `conftest.py` may put a model in its place.
    """
    model: EditModel = request.config.hook.pytest_editeval_edit
    return model
