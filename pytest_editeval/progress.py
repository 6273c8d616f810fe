"""The line that moves while models load and images are encoded."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest_editeval.scoring.engine import EditEval

T = TypeVar("T")

SECONDS_BETWEEN = 0.1
LEAST_ROOM = 30
ERASE_TO_END = "\x1b[K"


class Progress:
    """Shown behind pytest's own dots while a check waits, and gone when it goes on.

    Only on a terminal: not under `-q`, in a CI log, or in a worker of xdist.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = 0.0

    def wait(self, future: Future[T], editeval: EditEval) -> T:
        """The future's result; the line moves until it is there."""
        writer = None if future.done() else self._terminal()
        if writer is None:
            return future.result()
        from concurrent.futures import wait

        self._started = self._started or time.monotonic()
        try:
            while not wait([future], SECONDS_BETWEEN).done:
                self._draw(writer, *editeval.progress)
        finally:
            self._raw(writer, ERASE_TO_END)
        return future.result()

    def _terminal(self) -> Any:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        quiet = self._config.get_verbosity() < 0 or hasattr(self._config, "workerinput")
        if quiet or reporter is None or not reporter.isatty or os.environ.get("CI"):
            return None
        return self._config.get_terminal_writer()

    def _draw(self, writer: Any, done: int, total: int) -> None:
        room = writer.fullwidth - writer.width_of_current_line - 2
        if room < LEAST_ROOM:
            return
        text = "loading models"
        if done:
            from tqdm import tqdm

            form = "encoding {n_fmt}/{total_fmt} {bar:10} {elapsed} {rate_noinv_fmt}"
            seconds = time.monotonic() - self._started
            text = tqdm.format_meter(done, total, seconds, ncols=room, unit=" images", bar_format=form)
        text = f" {text}"[:room]
        self._raw(writer, f"{ERASE_TO_END}{text}\x1b[{len(text)}D")

    def _raw(self, writer: Any, text: str) -> None:
        """Past pytest's capture of what the test prints, and past the writer's count of columns."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        write = getattr(writer, "write_raw", None) or writer._file.write  # pytest 8 has no way of its own
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            write(text)
            writer.flush()
