"""The settings of one pytest run, and what is made from them once: profile, pipes, store.

The object lives in every process of a run; `pytest_editeval.hooks` gathers what the run finds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.device import check_device
from pytest_editeval.errors import EditEvalError

if TYPE_CHECKING:
    from pytest_editeval.config import Profile
    from pytest_editeval.scoring.pool import PipePool
    from pytest_editeval.scoring.store import FeatureStore

RUN: pytest.StashKey[EditRun] = pytest.StashKey()
DIST_GIVEN: pytest.StashKey[bool] = pytest.StashKey()
SOFT_FAILURES = ("xfail", "fail")
CACHE_MODES = ("readwrite", "read", "off")
DEFAULT_FILES = ["*.edit.yaml", "*.edit.yml"]
KEEP_EDIT_FILES = "keep-edit-files"  # in the place of a mode of xdist, where none was given
WHOLE_FILES = (KEEP_EDIT_FILES, "loadfile", "each")


class EditRun:
    """The settings of one run, and what is made from them once."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self._workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        self.soft_failures = self._setting("soft_failures") or "xfail"
        self.device = self._setting("device") or "auto"
        self.cache_mode = self._setting("cache") or "readwrite"
        self.one_by_one: set[Path] = set()  # files whose images could not be encoded together
        self._order: dict[pytest.Item, int] = {}
        self._patterns = config.getini("editeval_files")
        self._config_path = self._setting("config")
        results_path = self._setting("results")
        self.results_path = Path(results_path) if results_path else None
        try:
            self._check_settings()
        except EditEvalError as error:
            raise pytest.UsageError(f"editeval: {error}") from None

    def _setting(self, name: str) -> str | None:
        """The option, else the ini setting, whose relative paths are relative to the ini file."""
        value = self.config.getoption(f"editeval_{name}")
        if value is None:
            value = self.config.getini(f"editeval_{name}") or None
            if value and name in ("config", "results") and self.config.inipath is not None:
                value = self.config.inipath.parent / value
        return None if value is None else str(value)

    def _check_settings(self) -> None:
        check_device(self.device)
        if self.soft_failures not in SOFT_FAILURES:
            raise EditEvalError(f"unknown editeval_soft_failures {self.soft_failures!r}; allowed: xfail, fail")
        if self.cache_mode not in CACHE_MODES:
            raise EditEvalError(f"unknown editeval_cache {self.cache_mode!r}; allowed: {', '.join(CACHE_MODES)}")
        if self.results_path is not None:
            from pytest_editeval.reports.table import check_results_path

            check_results_path(self.results_path)
        if self._config_path is not None:
            _ = self.profile

    @cached_property
    def profile(self) -> Profile:
        """The configuration's profile, or the embedded one."""
        from pytest_editeval.config import load_profile

        return load_profile(Path(self._config_path) if self._config_path else None)

    @cached_property
    def pool(self) -> PipePool:
        """The profile's pipes; making one checks its settings, its weights are loaded later."""
        from pytest_editeval.scoring.pool import PipePool

        if self.is_worker:
            from pytest_editeval.vision.loading import share_cores

            share_cores(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
        return PipePool(self.profile, self.device, self.worker)

    @cached_property
    def store(self) -> FeatureStore | None:
        """Features of earlier runs, in pytest's cache directory; none with `-p no:cacheprovider`."""
        if self.cache_mode == "off" or not hasattr(self.config, "cache"):
            return None
        from pytest_editeval.scoring.store import FeatureStore

        return FeatureStore(self.config.cache.mkdir("editeval"), writable=self.cache_mode == "readwrite")

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

    def following(self, item: pytest.Item) -> Iterator[pytest.Item]:
        """The items of the same file that this process will run after this one.

        None in a worker of xdist: another worker may get them.
        """
        items = item.session.items
        if not self._order:
            self._order = {other: index for index, other in enumerate(items)}
        index = self._order[item] + 1
        while not self.is_worker and index < len(items) and items[index].path == item.path:
            yield items[index]
            index += 1
