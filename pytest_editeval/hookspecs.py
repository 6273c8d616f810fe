"""The hooks that let a suite drive an editing model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from PIL import Image

    from pytest_editeval.checks import EditCase


@pytest.hookspec(firstresult=True)
def pytest_editeval_edit(case: EditCase, source: Image.Image, seed: int, candidate: str | None) -> Any:
    """Edit the source as the case's instruction says; return a PIL image, or `None` to leave it to another plugin.

    It is called once per case, candidate and seed, where the case file names no edited image and the candidate no
    directory. `source` is RGB as a viewer shows it, `candidate` the name that ``--editeval-candidate`` gave.
    """


@pytest.hookspec(firstresult=True)
def pytest_editeval_edit_key(candidate: str | None) -> str | None:
    """What tells this editing model from others: its checkpoint, its code and its settings, in words of your own.

    Edits that an earlier run made under the same key, of the same case, source and seed, are used again; so a run that
    was interrupted makes only those that are missing. Without a key every run makes its own.
    """
