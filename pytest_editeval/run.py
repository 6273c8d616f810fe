"""What is made from the settings of one pytest run, once: profile, pipes, store.

The object lives in every process of a run; `pytest_editeval.hooks` gathers what the run finds.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_editeval.errors import EditEvalError
from pytest_editeval.progress import Progress
from pytest_editeval.run_settings import RunSettings

if TYPE_CHECKING:
    from pytest_editeval.arguments import NodeIdArguments
    from pytest_editeval.candidates import Candidate, Edit, EditFinder
    from pytest_editeval.checks import EditCase
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.gate_run import GateRun
    from pytest_editeval.making import EditMaker
    from pytest_editeval.profiles import Profile
    from pytest_editeval.scoring.cluster.actors import Cluster
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.scoring.pool import PipePool
    from pytest_editeval.scoring.store import Store
    from pytest_editeval.selection import Selection

RUN: pytest.StashKey[EditRun] = pytest.StashKey()


class EditRun(RunSettings):
    """The settings of one run, and what is made from them once. A mistake in them is a `pytest.UsageError`."""

    def __init__(self, config: pytest.Config) -> None:
        try:
            super().__init__(config)
            self._limit_pixels()
            self._check_files()
        except EditEvalError as error:
            raise pytest.UsageError(f"editeval: {error}") from None
        self.asked = self._asked()
        self.progress = Progress(config)
        self.editeval: EditEval | None = None  # once a test has asked for it
        self.marks: set[str] = set()  # tasks and tags that pytest was told of
        self._selection: Selection | None = None
        self._counted: Counter[str] = Counter()

    def _limit_pixels(self) -> None:
        if self.max_pixels is None:
            return
        from pytest_editeval.pixel_limit import limit_pixels

        self.config.add_cleanup(limit_pixels(self.max_pixels))

    def _check_files(self) -> None:
        """Read the files that the settings name, so that a mistake in one is found before anything is collected."""
        if self.config_path is not None:
            _ = self.profile
        lock = self.setting("lock")
        if lock is not None and not self.is_worker:
            from pytest_editeval.lock_file import read_lock

            read_lock(Path(lock))
        if any(self.setting(name) not in (None, "auto") for name in ("gates", "baseline", "noise")):
            self.gating.check_files()

    def _asked(self) -> NodeIdArguments | None:
        """The candidates' checks that the command line names; xdist's controller passes them on as they are."""
        collects = self.is_worker or self.config.getoption("dist", "no") == "no"
        if not collects or not any("[" in argument for argument in self.config.args):
            return None
        from pytest_editeval.arguments import NodeIdArguments

        return NodeIdArguments(self.config, self.is_edit_file)

    @cached_property
    def gating(self) -> GateRun:
        """What the run is held against beside its thresholds."""
        from pytest_editeval.gate_run import GateRun

        return GateRun(self)

    def edits(self, case: EditCase, candidate: Candidate | None) -> tuple[Edit, ...]:
        """The edits of a case. Raises a `CaseError`."""
        return self._finder.edits(case, candidate)

    @cached_property
    def _finder(self) -> EditFinder:
        from pytest_editeval.candidates import EditFinder

        return EditFinder(self.config.rootpath, self.confinement)

    @cached_property
    def confinement(self) -> Confinement | None:
        """What case files and configurations may read; `None` where that is anything."""
        if self.root_only == "off":
            return None
        from pytest_editeval.confinement import Confinement

        return Confinement(self.config.rootpath)

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

        return load_profile(self.config_path, self.confinement)

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
        return PipePool(self.profile, device, self.batch_size, self.worker, self.store)

    @cached_property
    def store(self) -> Store | None:
        """What earlier runs remember, in pytest's cache directory or the one that was named; none if neither is."""
        if self.cache_mode == "off" or (self.cache_dir is None and not hasattr(self.config, "cache")):
            return None
        from pytest_editeval.scoring.store import Store

        folder = self.cache_dir or self._folder_of_cache("editeval")
        return Store(folder, writable=self.cache_mode == "readwrite", max_bytes=self.cache_bytes, run=self.run_id)

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
