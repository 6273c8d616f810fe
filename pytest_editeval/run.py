"""The settings of one pytest run, and what is made from them once: profile, pipes, store.

The object lives in every process of a run; `pytest_editeval.hooks` gathers what the run finds.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.amounts import parse_batch_size, parse_seconds, parse_size
from pytest_editeval.device import check_device
from pytest_editeval.errors import EditEvalError
from pytest_editeval.progress import Progress

if TYPE_CHECKING:
    from pytest_editeval.arguments import NodeIdArguments
    from pytest_editeval.candidates import Candidate, Edit, EditFinder
    from pytest_editeval.checks import EditCase
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.gate_run import GateRun
    from pytest_editeval.making import EditMaker
    from pytest_editeval.profiles import Profile
    from pytest_editeval.scoring.cluster.actors import Cluster
    from pytest_editeval.scoring.cluster.options import RayOptions
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.scoring.pool import PipePool
    from pytest_editeval.scoring.store import Store
    from pytest_editeval.selection import Selection

RUN: pytest.StashKey[EditRun] = pytest.StashKey()
DIST_GIVEN: pytest.StashKey[bool] = pytest.StashKey()
SOFT_FAILURES = ("xfail", "fail")
CACHE_MODES = ("readwrite", "read", "off")
DEFAULT_FILES = ["*.edit.yaml", "*.edit.yml"]
GATE_MODES = ("auto", "on", "off")
IMAGE_MODES = ("embed", "link")
ANNOTATION_MODES = ("auto", "on", "off")
ATTACHMENT_MODES = ("auto", "jenkins", "gitlab", "off")
KEEP_EDIT_FILES = "keep-edit-files"  # in the place of a mode of xdist, where none was given
PATHS = (
    "config",
    "lock",
    "results",
    "cache_dir",
    "edits",
    "baseline",
    "noise",
    "markdown",
    "report",
)
ON_OFF = ("on", "off")
WHOLE_FILES = (KEEP_EDIT_FILES, "loadfile", "each")


class EditRun:
    """The settings of one run, and what is made from them once."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self._workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        self.soft_failures = self.setting("soft_failures") or "xfail"
        self.device = self.setting("device") or "auto"
        self.cache_mode = self.setting("cache") or "readwrite"
        self.cache_dir = self.setting("cache_dir")
        self.root_only = self.setting("root_only") or "on"
        self.max_pixels = self.setting("max_pixels")
        self.progress = Progress(config)
        self.editeval: EditEval | None = None  # once a test has asked for it
        self.marks: set[str] = set()  # tasks and tags that pytest was told of
        self._selection: Selection | None = None
        self._counted: Counter[str] = Counter()
        self._patterns = config.getini("editeval_files")
        self._config_path = self.setting("config")
        # xdist's controller passes the arguments on as they are.
        collects = self.is_worker or config.getoption("dist", "no") == "no"
        self.asked: NodeIdArguments | None = None
        if collects and any("[" in argument for argument in config.args):
            from pytest_editeval.arguments import NodeIdArguments

            self.asked = NodeIdArguments(config, self.is_edit_file)
        results_path = self.setting("results")
        self.results_path = Path(results_path) if results_path else None
        markdown_path = self.setting("markdown")
        self.markdown_path = Path(markdown_path) if markdown_path else None
        report_path = self.setting("report")
        self.report_path = Path(report_path) if report_path else None
        self.finder: EditFinder | None = None
        try:
            self.candidates = self._candidates()
            self.cache_bytes = parse_size("editeval_cache_size", self.setting("cache_size") or "2GB")
            self.memory_bytes = parse_size("editeval_memory", self.setting("memory") or "2GB")
            self.batch_size = parse_batch_size(self.setting("batch_size") or "auto")
            self.timeout = parse_seconds("editeval_timeout", self.setting("timeout") or "300")
            self.ray = self._ray_options()
            self._limit_pixels()
            self.retry_soft_failures = self._flag("retry_soft_failures")
            self._check_settings()
            if any(self.setting(name) not in (None, "auto") for name in ("gates", "baseline", "noise")):
                self.gating.check_files()
        except EditEvalError as error:
            raise pytest.UsageError(f"editeval: {error}") from None

    def setting(self, name: str) -> str | None:
        """The option, else the ini setting, whose relative paths are relative to the ini file."""
        value = self.config.getoption(f"editeval_{name}")
        if value is None:
            value = self.config.getini(f"editeval_{name}") or None
            if value and name in PATHS and self.config.inipath is not None:
                value = self.config.inipath.parent / value
        return None if value is None else str(value)

    def _flag(self, name: str) -> bool:
        try:
            return self.setting(name) is not None
        except (ValueError, pytest.UsageError) as error:  # of pytest, for an ini setting that is neither
            raise EditEvalError(f"editeval_{name} is yes or no: {error}") from None

    def _mode(self, name: str) -> str:
        return (self.setting(name) if name == "annotations" else self.config.getini(f"editeval_{name}")) or "auto"

    @property
    def annotates(self) -> bool:
        """Whether GitHub Actions is told what went wrong."""
        mode = self._mode("annotations")
        return mode == "on" or (mode == "auto" and os.environ.get("GITHUB_ACTIONS") == "true")

    @property
    def attachments(self) -> str | None:
        """The CI system that JUnit's attachments are for: ``jenkins`` or ``gitlab``."""
        mode = self._mode("junit_attachments")
        if mode == "auto":
            return "jenkins" if os.environ.get("JENKINS_URL") else "gitlab" if os.environ.get("GITLAB_CI") else None
        return None if mode == "off" else mode

    def _candidates(self) -> tuple[Candidate, ...]:
        given, directory = self.config.getoption("editeval_candidate"), self.config.invocation_params.dir
        if not given:
            given = self.config.getini("editeval_candidates")
            directory = self.config.inipath.parent if self.config.inipath is not None else directory
        if not given:
            return ()
        from pytest_editeval.candidates import read_candidates

        return read_candidates(given, directory)

    @cached_property
    def gating(self) -> GateRun:
        """What the run is held against beside its thresholds."""
        from pytest_editeval.gate_run import GateRun

        return GateRun(self)

    def edits(self, case: EditCase, candidate: Candidate | None) -> tuple[Edit, ...]:
        """The edits of a case. Raises a `CaseError`."""
        if self.finder is None:
            from pytest_editeval.candidates import EditFinder

            self.finder = EditFinder(self.config.rootpath, self.confinement)
        return self.finder.edits(case, candidate)

    @cached_property
    def confinement(self) -> Confinement | None:
        """What case files and configurations may read; `None` where that is anything."""
        if self.root_only == "off":
            return None
        from pytest_editeval.confinement import Confinement

        return Confinement(self.config.rootpath)

    def _limit_pixels(self) -> None:
        if self.max_pixels is None:
            return
        from pytest_editeval.pixel_limit import OPTION, limit_pixels, parse_pixels

        self.config.add_cleanup(limit_pixels(parse_pixels(OPTION, self.max_pixels)))

    @cached_property
    def maker(self) -> EditMaker:
        """What makes edits in the run: beside the results file, else in pytest's cache directory."""
        from pytest_editeval.making import EditMaker

        folder = self.setting("edits")
        if folder is not None:
            path = Path(folder)
        elif self.results_path is not None:
            path = self.results_path.with_name(f"{self.results_path.stem}.edits")
        elif hasattr(self.config, "cache"):
            path = self.config.cache.mkdir("editeval-edits")
        else:
            cure = "give --editeval-edits DIR or --editeval-results FILE"
            raise EditEvalError(f"there is no place to save the edits that are made in the run: {cure}")
        return EditMaker(path.absolute(), self.config.rootpath, self.config.hook.pytest_editeval_edit_key)

    def _check_settings(self) -> None:
        check_device(self.device)
        if self.cache_dir is not None and Path(self.cache_dir).exists() and not Path(self.cache_dir).is_dir():
            raise EditEvalError(f"editeval_cache_dir {self.cache_dir} is no directory")
        if self.soft_failures not in SOFT_FAILURES:
            raise EditEvalError(f"unknown editeval_soft_failures {self.soft_failures!r}; allowed: xfail, fail")
        if self.cache_mode not in CACHE_MODES:
            raise EditEvalError(f"unknown editeval_cache {self.cache_mode!r}; allowed: {', '.join(CACHE_MODES)}")
        if self.root_only not in ON_OFF:
            raise EditEvalError(f"unknown editeval_root_only {self.root_only!r}; allowed: {', '.join(ON_OFF)}")
        if self.results_path is not None:
            from pytest_editeval.results_file import check_results_path

            check_results_path(self.results_path)
        if self.markdown_path is not None and self.markdown_path.is_dir():
            raise EditEvalError(f"--editeval-markdown {self.markdown_path}: that is a directory")
        for name, modes in (("annotations", ANNOTATION_MODES), ("junit_attachments", ATTACHMENT_MODES)):
            if (mode := self._mode(name)) not in modes:
                raise EditEvalError(f"unknown editeval_{name} {mode!r}; allowed: {', '.join(modes)}")
        if self._config_path is not None:
            _ = self.profile
        if self.setting("lock") is not None and not self.is_worker:
            from pytest_editeval.lock_file import read_lock

            read_lock(Path(str(self.setting("lock"))))

    def _ray_options(self) -> RayOptions | None:
        address = self.setting("ray")
        if address is None:
            return None
        if self.is_worker or self.config.getoption("dist", "no") != "no":
            raise EditEvalError("--editeval-ray has actors of its own: leave out -n, or --editeval-ray")
        from pytest_editeval.scoring.cluster.options import RayOptions

        actors, gpus, images = (self.setting(f"ray_{name}") for name in ("actors", "gpus", "images"))
        return RayOptions.read(address, actors, gpus, images, self.device)

    @cached_property
    def cluster(self) -> Cluster | None:
        """The Ray cluster of this run, connected to when it is first needed."""
        if self.ray is None:
            return None
        from pytest_editeval.scoring.cluster.actors import Cluster

        cluster = Cluster(self.ray, self.memory_bytes, self.timeout)
        self.config.add_cleanup(cluster.close)
        return cluster

    @cached_property
    def profile(self) -> Profile:
        """The configuration's profile, or the embedded one."""
        from pytest_editeval.config import load_profile

        return load_profile(Path(self._config_path) if self._config_path else None, self.confinement)

    def check_lock(self) -> None:
        """A `pytest.UsageError` when a checkpoint of the profile is not what the lock file says."""
        path = self.setting("lock")
        if path is None:
            return
        from pytest_editeval.scoring.locking import check_lock

        try:
            check_lock(Path(path), self.profile)
        except EditEvalError as error:
            raise pytest.UsageError(f"editeval: {error}") from None

    @cached_property
    def pool(self) -> PipePool:
        """The profile's pipes; making one checks its settings, its weights are loaded later."""
        from pytest_editeval.scoring.pool import PipePool

        device = self.cluster.device if self.cluster is not None else self.device
        return PipePool(self.profile, device, self.batch_size, self.worker)

    @cached_property
    def store(self) -> Store | None:
        """What earlier runs remember, in pytest's cache directory or the one that was named; none if neither is."""
        if self.cache_mode == "off" or (self.cache_dir is None and not hasattr(self.config, "cache")):
            return None
        from pytest_editeval.scoring.store import Store

        folder = Path(self.cache_dir) if self.cache_dir else self._folder_of_cache("editeval")
        run = self._workerinput.get("testrunuid")  # xdist's workers are one run
        return Store(folder, writable=self.cache_mode == "readwrite", max_bytes=self.cache_bytes, run=run)

    def _folder_of_cache(self, name: str) -> Path:
        """A folder in pytest's cache directory; where pytest cannot make one, the store counts what it cannot write."""
        try:
            return Path(self.config.cache.mkdir(name))
        except OSError:
            return Path(self.config.rootpath, self.config.getini("cache_dir"), "d", name)

    def selection(self, session: pytest.Session) -> Selection:
        """Which checks will run."""
        if self._selection is None:
            from pytest_editeval.selection import Selection

            together = self.keeps_files_together
            self._selection = Selection(session.items, is_worker=self.is_worker, files_together=together)
        return self._selection

    def new_counts(self) -> dict[str, int]:
        """What was computed, remembered and encoded since this was asked last."""
        counts = self.editeval.counts if self.editeval else Counter()
        new = counts - self._counted
        self._counted = counts
        return dict(new)

    @property
    def worker(self) -> int | None:
        """N in xdist's worker gwN."""
        number = re.fullmatch(r"gw(\d+)", self._workerinput.get("workerid", ""))
        return int(number[1]) if number else None

    @property
    def distribution(self) -> str:
        """xdist's mode, or `KEEP_EDIT_FILES` where `-n` was given without one; `no` in a plain run."""
        if self.is_worker:
            return str(self._workerinput.get("editeval_dist", "no"))
        mode = str(self.config.getoption("dist", "no"))
        return KEEP_EDIT_FILES if mode == "load" and not self.config.stash.get(DIST_GIVEN, True) else mode

    @property
    def keeps_files_together(self) -> bool:
        """Whether the checks of one file all run in this process, unless a worker crashes."""
        return not self.is_worker or self._workerinput["workercount"] == 1 or self.distribution in WHOLE_FILES

    def is_edit_file(self, name: str) -> bool:
        """Whether a file of that name holds edit cases."""
        return any(fnmatch(name, pattern) for pattern in self._patterns)

    def is_edit_node(self, nodeid: str) -> bool:
        """Whether a node is a file of edit cases, or lies in one."""
        return self.is_edit_file(nodeid.split("::")[0].rsplit("/", 1)[-1])
