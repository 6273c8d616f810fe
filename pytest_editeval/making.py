"""The model in the loop: edits that the suite makes while it runs, saved beside the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from pytest_editeval.candidates import path_name
from pytest_editeval.errors import EditEvalError
from pytest_editeval.faults import fault_text
from pytest_editeval.whole_file import written_whole

if TYPE_CHECKING:
    from PIL import Image

    from pytest_editeval.checks import EditCase
    from pytest_editeval.locations import Location

OURS = frozenset({__file__, *(str(path) for path in Path(pluggy.__file__).parent.glob("*.py"))})

EditModel = Callable[..., Any]
"""``model(case=..., source=..., seed=..., candidate=...)`` gives the edited image."""


class EditModelError(EditEvalError):
    """The editing model raised, or gave no image."""


class EditMaker:
    """Makes each edit once; `folder` is where they are saved, as ``<candidate>/<case file>/[<seed>/]<case id>.png``.

    The case file is named by its path from `root`, without its endings.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._root = root
        self._made: dict[tuple[Path, str, str | None, int], Path | EditModelError] = {}

    def known(self, case: EditCase, candidate: str | None, seed: int) -> Path | None:
        """The edit, if it was made."""
        made = self._made.get((case.path, case.id, candidate, seed))
        return made if isinstance(made, Path) else None

    def make(
        self,
        case: EditCase,
        candidate: str | None,
        seed: int,
        model: EditModel,
        load: Callable[[Location], Image.Image],
    ) -> Path:
        """The edit of a case; an `EditModelError` says what the model raised, with its lines of code the first time.

        An `ImageError` of the source is the source's own.
        """
        key = (case.path, case.id, candidate, seed)
        if key not in self._made:
            source = load(case.source)
            try:
                self._made[key] = self._save(self._call(case, candidate, seed, model, source), case, candidate, seed)
            except EditModelError as error:
                self._made[key] = EditModelError(str(error).splitlines()[0])
                raise
        made = self._made[key]
        if isinstance(made, EditModelError):
            raise made
        return made

    def _call(self, case: EditCase, candidate: str | None, seed: int, model: EditModel, source: Image.Image) -> Any:
        where = _where(case, candidate, seed)
        try:
            edited = model(case=case, source=source, seed=seed, candidate=candidate)
        except (Exception, SystemExit) as error:  # whatever it is, it is that case's error
            raise EditModelError(f"{where}: the editing model raised {fault_text(error, OURS)}") from None
        if edited is None:
            cure = "pytest_editeval_edit or the fixture edit_model has to return a PIL image"
            raise EditModelError(f"{where}: no model made the edit; {cure}")
        return edited

    def _save(self, edited: Any, case: EditCase, candidate: str | None, seed: int) -> Path:
        from pytest_editeval.vision.decoding import to_rgb

        folder = self.folder / (candidate or "edits") / path_name(case, self._root)
        if case.repeat:
            folder /= str(seed)
        try:
            image = to_rgb(edited)
        except (EditEvalError, TypeError, ValueError) as error:
            found = f"{type(edited).__name__}: {error}"
            raise EditModelError(f"{_where(case, candidate, seed)}: the editing model gave no image, {found}") from None
        path = folder / f"{case.id}.png"
        try:
            with written_whole(path) as unfinished:  # another worker may make the same
                image.save(unfinished, "PNG")
        except OSError as error:
            raise EditModelError(f"{_where(case, candidate, seed)}: the edit cannot be saved: {error}") from None
        return path


def _where(case: EditCase, candidate: str | None, seed: int) -> str:
    of = f", candidate {candidate}" if candidate else ""
    return f"{case.position}: case {case.id!r}{of}" + (f", seed {seed}" if case.repeat else "")
