"""The model in the loop: edits that the suite makes while it runs, saved beside the results.

An edit of a model whose key is known (`pytest_editeval_edit_key`) says in its PNG file what it was made of, and serves
later runs too.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from pytest_editeval.candidates import path_name
from pytest_editeval.digests import digest_of
from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.faults import fault_text
from pytest_editeval.pixel_limit import max_bytes
from pytest_editeval.regular_file import read_regular_file
from pytest_editeval.whole_file import written_whole

if TYPE_CHECKING:
    from PIL import Image

    from pytest_editeval.checks import EditCase
    from pytest_editeval.locations import Location
    from pytest_editeval.vision.images import LoadedImage

OURS = frozenset({__file__, *(str(path) for path in Path(pluggy.__file__).parent.glob("*.py"))})

EditModel = Callable[..., Any]
"""``model(case=..., source=..., seed=..., candidate=...)`` gives the edited image."""

MADE_OF = "editeval"
"""The text in an edit's PNG file: the digest of what it was made of."""


class EditModelError(EditEvalError):
    """The editing model raised, or gave no image."""


class Made(NamedTuple):
    """An edit; `is_new`: this run made it, `is_kept`: an earlier one did. Neither: another check of this run had it."""

    path: Path
    is_new: bool = False
    is_kept: bool = False


class EditMaker:
    """Makes each edit once.

    `folder` is where they are saved, as ``<candidate>/<case file>/[<seed>/]<case id>.png``; the case file is named by
    its path from `root`, without its endings. ``key(candidate=...)`` gives what tells a model from others, if anything.
    """

    def __init__(self, folder: Path, root: Path, key: Callable[..., Any]) -> None:
        self.folder = folder
        self._root = root
        self._key = cache(lambda candidate: key(candidate=candidate))
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
        load: Callable[[Location], LoadedImage],
        *,
        again: bool = False,
    ) -> Made:
        """The edit of a case; an `EditModelError` says what the model raised, with its lines of code the first time.

        A model that has failed with a case is not asked for it `again`, unless the check is tried once more. An
        `ImageError` of the source is the source's own.
        """
        known = (case.path, case.id, candidate, seed)
        if (made := self._made.get(known)) is not None:
            if not isinstance(made, EditModelError):
                return Made(made)
            if not again:
                raise made
        source = load(case.source)
        try:
            path, made_of = self._place(case, candidate, seed), self._made_of(case, candidate, seed, source)
            is_kept = made_of is not None and _made_of(path) == made_of
            if not is_kept:
                edited = self._call(case, candidate, seed, model, source.pixels)
                self._save(edited, path, made_of, _where(case, candidate, seed))
        except EditModelError as error:
            self._made[known] = EditModelError(str(error).splitlines()[0])
            raise
        self._made[known] = path
        return Made(path, is_new=not is_kept, is_kept=is_kept)

    def _made_of(self, case: EditCase, candidate: str | None, seed: int, source: LoadedImage) -> str | None:
        """Digest of all that the model is given, `None` where it is not known which model it is."""
        try:
            key = self._key(candidate)
        except (Exception, SystemExit) as error:
            raised = fault_text(error, OURS)
            raise EditModelError(f"{_where(case, candidate, seed)}: pytest_editeval_edit_key raised {raised}") from None
        if key is None:
            return None
        if not isinstance(key, str):
            found = f"pytest_editeval_edit_key has to return a text or None, not {type(key).__name__}"
            raise EditModelError(f"{_where(case, candidate, seed)}: {found}")
        of_the_case = (case.id, case.instruction, case.task, case.tags, case.coords)
        parts = {"model": key, "candidate": candidate, "seed": seed, "case": of_the_case, "source": source.ref.digest}
        return digest_of(parts)

    def _place(self, case: EditCase, candidate: str | None, seed: int) -> Path:
        folder = self.folder / (candidate or "edits") / path_name(case, self._root)
        return (folder / str(seed) if case.repeat else folder) / f"{case.id}.png"

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

    def _save(self, edited: Any, path: Path, made_of: str | None, where: str) -> None:
        from PIL.PngImagePlugin import PngInfo

        from pytest_editeval.vision.decoding import to_rgb

        try:
            image = to_rgb(edited)
        except (EditEvalError, TypeError, ValueError) as error:
            found = f"{type(edited).__name__}: {error}"
            raise EditModelError(f"{where}: the editing model gave no image, {found}") from None
        text = PngInfo()
        if made_of is not None:
            text.add_text(MADE_OF, made_of)
        try:
            with written_whole(path) as unfinished:  # another worker may make the same
                image.save(unfinished, "PNG", pnginfo=text)
        except OSError as error:
            raise EditModelError(f"{where}: the edit cannot be saved: {error}") from None


def _made_of(path: Path) -> str | None:
    """What the edit that lies there was made of; `None` where it does not say so, is damaged, or is not there."""
    from PIL.PngImagePlugin import PngImageFile

    from pytest_editeval.vision.decoding import decode

    try:
        data = read_regular_file(path, max_bytes())
        found = PngImageFile(io.BytesIO(data)).info.get(MADE_OF)
        decode(data, display_path(path))
    except (OSError, SyntaxError, ValueError, EditEvalError):
        return None
    return found if isinstance(found, str) else None


def _where(case: EditCase, candidate: str | None, seed: int) -> str:
    of = f", candidate {candidate}" if candidate else ""
    return f"{case.position}: case {case.id!r}{of}" + (f", seed {seed}" if case.repeat else "")
