"""Results as a pandas table, for notebooks (docs/results.md)."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult, Repeat
from pytest_editeval.results_columns import KINDS
from pytest_editeval.results_file import read_runs, run_names
from pytest_editeval.results_journal import unended

if TYPE_CHECKING:
    import pandas as pd

RUN = "run"

_TEXT = "string[python]"  # the same with and without pyarrow, and with any version of pandas


def load_results(path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> pd.DataFrame:
    """The rows of a results file as a table, in the order of the file; of several files one below the other.

    The columns are those of the file. With several files a first column `run` has the file's name without its ending,
    or its path where two have the same name. A run that has not ended is a `UserWarning`: its journal,
    ``NAME.partial.jsonl``, has the rows that it has finished. Raises an `EditEvalError` as `read_results` does, where a
    file is given twice, and where pandas is not installed.
    """
    _require_pandas()
    import pandas as pd

    paths = [Path(one) for one in (path, *more)]
    for run in filter(None, map(unended, paths)):
        warnings.warn(str(run), stacklevel=2)
    runs = read_runs(paths, partial=True)
    frames = [to_frame(results) for results in runs.values()]
    if len(frames) == 1:
        return frames[0]
    for name, frame in zip(run_names(runs), frames, strict=True):
        frame.insert(0, RUN, pd.Series([name] * len(frame), dtype=_TEXT))
    return pd.concat(frames, ignore_index=True)


def to_frame(results: Sequence[CheckResult]) -> pd.DataFrame:
    """Results as a table: a row for each, and the columns of a results file, whose types do not depend on the rows.

    Text is ``string`` (`pandas.NA` for none), numbers ``float64`` (NaN for none), counts ``int64`` or, where there may
    be none, ``Int64``, yes and no ``bool``; `tags`, `coords` and sizes are tuples, mappings dicts, and `repeats` a list
    of dicts.
    """
    _require_pandas()
    import pandas as pd

    return pd.DataFrame({name: _column([getattr(row, name) for row in results], kind) for name, kind in KINDS.items()})


def _column(values: list[Any], kind: str) -> pd.Series[Any]:
    import pandas as pd

    if kind in ("str", "str | None", "Outcome"):
        return pd.Series([None if value is None else str(value) for value in values], dtype=_TEXT)
    types = {"float": "float64", "float | None": "float64", "int": "int64", "int | None": "Int64", "bool": "bool"}
    if kind in types:
        return pd.Series(values, dtype=types[kind])
    plain: Callable[[Any], Any] = _plain_repeats if kind.startswith("tuple[Repeat") else _plain
    return pd.Series([plain(value) for value in values], dtype="object")


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, tuple) else dict(value)


def _plain_repeats(repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(repeat) | {"outcome": str(repeat.outcome)} for repeat in repeats]


def _require_pandas() -> None:
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise EditEvalError(f"load_results needs {error.name}; pip install 'pytest-editeval[report]'") from None
