"""Node ids of candidates' checks on the command line.

pytest takes everything after the first bracket of an argument for the parameters of a test, so it cannot find
``cases/a.edit.yaml::red[v2]::emd``; here such an argument becomes its file, and what was not meant is deselected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

_INSIDE = re.compile(r"(?P<path>.+?)::(?P<names>[^\[\]]+\[[^\[\]]*\](?:::.+)?)")


class NodeIdArguments:
    """The arguments of a run that name a check of a candidate; `is_edit_file` tells files of edit cases by name."""

    def __init__(self, config: pytest.Config, is_edit_file: Callable[[str], bool]) -> None:
        self._config = config
        self._asked: dict[tuple[Path, tuple[str, ...]], str] = {}
        rest: dict[str, None] = {}
        files: set[Path] = set()  # pytest 8.0 collects `a` and `./a` both
        for argument in config.args:
            found = _INSIDE.fullmatch(argument)
            if found and is_edit_file(Path(found["path"]).name):
                path = (config.invocation_params.dir / found["path"]).resolve()
                self._asked[path, tuple(found["names"].split("::"))] = argument
                if path not in files:
                    rest[found["path"]] = None
                files.add(path)
            else:
                rest[argument] = None
        # A file, or its directory, that is asked for as a whole.
        others = [argument for argument in config.args if argument not in self._asked.values()]
        self._whole = [(config.invocation_params.dir / argument).resolve() for argument in others]
        if self._asked:
            config.args[:] = list(rest)

    def __bool__(self) -> bool:
        return bool(self._asked)

    def select(self, items: list[pytest.Item]) -> None:
        """Deselect what was not asked for; a `pytest.UsageError` names what there is not."""
        if not self._asked:
            return
        met: set[tuple[Path, tuple[str, ...]]] = set()
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            asked = self._asks_for(item)
            met.update(asked)
            (kept if asked or not self._is_only_asked_in_part(item.path) else left_out).append(item)
        if missing := [argument for key, argument in self._asked.items() if key not in met]:
            self._refuse(missing)
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = kept

    def _refuse(self, missing: list[str]) -> None:
        if not hasattr(self._config, "workerinput"):
            raise pytest.UsageError("\n".join(f"not found: {argument}" for argument in missing))
        for argument in missing:  # what a worker raises is shown as a fault of pytest
            report = pytest.CollectReport(argument, "failed", f"not found: {argument}", [])
            self._config.hook.pytest_collectreport(report=report)

    def _asks_for(self, item: pytest.Item) -> Sequence[tuple[Path, tuple[str, ...]]]:
        names = tuple(item.nodeid.split("::")[1:])
        path = item.path.resolve()
        return [key for key in self._asked if key[0] == path and names[: len(key[1])] == key[1]]

    def _is_only_asked_in_part(self, path: Path) -> bool:
        path = path.resolve()
        if not any(asked == path for asked, _ in self._asked):
            return False
        return not any(path == whole or whole in path.parents for whole in self._whole)
