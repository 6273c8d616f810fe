"""The settings of one pytest run: options and ini settings, read and checked.

Every pytest run of an environment reads them, so what a setting needs beside the standard library and pytest is
imported once the setting is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.amounts import parse_batch_size, parse_seconds, parse_size
from pytest_editeval.device import check_device
from pytest_editeval.errors import EditEvalError

if TYPE_CHECKING:
    from pytest_editeval.candidates import Candidate
    from pytest_editeval.scoring.cluster.options import RayOptions

CHOICES: Mapping[str, tuple[str, ...]] = {
    "annotations": ("auto", "on", "off"),
    "cache": ("readwrite", "read", "off"),
    "gates": ("auto", "on", "off"),
    "junit_attachments": ("auto", "jenkins", "gitlab", "off"),
    "report_images": ("embed", "link"),
    "root_only": ("on", "off"),
    "soft_failures": ("xfail", "fail"),
}
"""The values of settings that are one of a few; the first is the default."""

PATHS = ("config", "lock", "results", "cache_dir", "edits", "baseline", "noise", "markdown", "report")
DIST_GIVEN: pytest.StashKey[bool] = pytest.StashKey()
KEEP_EDIT_FILES = "keep-edit-files"  # in the place of a mode of xdist, where none was given
WHOLE_FILES = (KEEP_EDIT_FILES, "loadfile", "each")


class RunSettings:
    """The settings of one run; the first mistake in them is an `EditEvalError`."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self._workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        self._patterns = config.getini("editeval_files")
        self._edit_files: dict[str, bool] = {}
        device = self.setting("device") or "auto"
        self.candidates = self._candidates()
        self.cache_bytes = parse_size("editeval_cache_size", self.setting("cache_size") or "2GB")
        self.memory_bytes = parse_size("editeval_memory", self.setting("memory") or "2GB")
        self.batch_size = parse_batch_size(self.setting("batch_size") or "auto")
        self.timeout = parse_seconds("editeval_timeout", self.setting("timeout") or "300")
        self.ray = self._ray_options(device)
        self.max_pixels = self._max_pixels()
        self.retry_soft_failures = self._flag("retry_soft_failures")
        self.device = check_device(device)
        self.cache_dir = self._cache_dir()
        self.soft_failures = self.choice("soft_failures")
        self.cache_mode = self.choice("cache")
        self.root_only = self.choice("root_only")
        self.results_path = self._results_path()
        self.markdown_path = self._markdown_path()
        self.report_path = self._path("report")
        self.config_path = self._path("config")
        self._annotations = self.choice("annotations")
        self._attachments = self.choice("junit_attachments")

    def setting(self, name: str) -> str | None:
        """The option, else the ini setting, whose relative paths are relative to the ini file."""
        value = self.config.getoption(f"editeval_{name}", None)
        if value is None:
            value = self.config.getini(f"editeval_{name}") or None
            if value and name in PATHS and self.config.inipath is not None:
                value = self.config.inipath.parent / value
        return None if value is None else str(value)

    def choice(self, name: str) -> str:
        """A setting that is one of a few; `EditEvalError` lists them."""
        allowed = CHOICES[name]
        value = self.setting(name) or allowed[0]
        if value not in allowed:
            raise EditEvalError(f"unknown editeval_{name} {value!r}; allowed: {', '.join(allowed)}")
        return value

    def _flag(self, name: str) -> bool:
        try:
            return self.setting(name) is not None
        except (ValueError, pytest.UsageError) as error:  # of pytest, for an ini setting that is neither
            raise EditEvalError(f"editeval_{name} is yes or no: {error}") from None

    def _path(self, name: str) -> Path | None:
        path = self.setting(name)
        return Path(path) if path else None

    def _cache_dir(self) -> Path | None:
        path = self._path("cache_dir")
        if path is not None and path.exists() and not path.is_dir():
            raise EditEvalError(f"editeval_cache_dir {self.setting('cache_dir')} is no directory")
        return path

    def _results_path(self) -> Path | None:
        path = self._path("results")
        if path is None:
            return None
        from pytest_editeval.results_file import check_results_path

        return check_results_path(path)

    def _markdown_path(self) -> Path | None:
        path = self._path("markdown")
        if path is not None and path.is_dir():
            raise EditEvalError(f"--editeval-markdown {path}: that is a directory")
        return path

    def _candidates(self) -> tuple[Candidate, ...]:
        given, directory = self.config.getoption("editeval_candidate"), self.config.invocation_params.dir
        if not given:
            given = self.config.getini("editeval_candidates")
            directory = self.config.inipath.parent if self.config.inipath is not None else directory
        if not given:
            return ()
        from pytest_editeval.candidates import read_candidates

        return read_candidates(given, directory)

    def _max_pixels(self) -> int | None:
        pixels = self.setting("max_pixels")
        if pixels is None:
            return None
        from pytest_editeval.pixel_limit import OPTION, parse_pixels

        return parse_pixels(OPTION, pixels)

    def _ray_options(self, device: str) -> RayOptions | None:
        address = self.setting("ray")
        if address is None:
            return None
        if self.is_worker or self.config.getoption("dist", "no") != "no":
            raise EditEvalError("--editeval-ray has actors of its own: leave out -n, or --editeval-ray")
        from pytest_editeval.scoring.cluster.options import RayOptions

        actors, gpus, images = (self.setting(f"ray_{name}") for name in ("actors", "gpus", "images"))
        return RayOptions.read(address, actors, gpus, images, device)

    @property
    def annotates(self) -> bool:
        """Whether GitHub Actions is told what went wrong."""
        mode = self._annotations
        return mode == "on" or (mode == "auto" and os.environ.get("GITHUB_ACTIONS") == "true")

    @property
    def attachments(self) -> str | None:
        """The CI system that JUnit's attachments are for: ``jenkins`` or ``gitlab``."""
        mode = self._attachments
        if mode == "auto":
            return "jenkins" if os.environ.get("JENKINS_URL") else "gitlab" if os.environ.get("GITLAB_CI") else None
        return None if mode == "off" else mode

    @property
    def worker(self) -> int | None:
        """N in xdist's worker gwN."""
        number = re.fullmatch(r"gw(\d+)", self._workerinput.get("workerid", ""))
        return int(number[1]) if number else None

    @property
    def run_id(self) -> str | None:
        """What xdist's workers of one run share; `None` in a plain run."""
        return self._workerinput.get("testrunuid")

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
        file = nodeid.partition("::")[0]
        if file not in self._edit_files:  # asked for every report
            self._edit_files[file] = self.is_edit_file(file.rpartition("/")[2])
        return self._edit_files[file]
