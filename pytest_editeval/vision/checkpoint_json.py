"""A JSON file of a checkpoint, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_editeval.errors import CheckpointError, display_path
from pytest_editeval.faults import first_line

LARGEST_JSON = 32 << 20


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file of a checkpoint; `None` when there is no such file."""
    name = display_path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise CheckpointError(f"{name} is larger than {LARGEST_JSON >> 20} MB; download the checkpoint again")
        data = json.loads(content.decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{name} is not readable JSON ({reason}); download the checkpoint again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{name} holds no JSON object; download the checkpoint again")
    return data
