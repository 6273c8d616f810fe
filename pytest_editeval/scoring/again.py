"""Scores that are asked for once more, because a plugin runs a check again that has failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_editeval.errors import ImageError
from pytest_editeval.scoring.ahead import Promise, Wanted

if TYPE_CHECKING:
    from pytest_editeval.scoring.engine import EditEval


def asked_again(editeval: EditEval, wanted: Wanted) -> Promise:
    """The promise of a score that is begun anew, with its images opened anew.

    What was worked out ahead is what has failed: the window would give the same error to every attempt.
    """
    promise, images = Promise(), []
    for side, place in ((promise.source, wanted.source), (promise.edited, wanted.edited)):
        try:
            image = editeval.files.load(place)
        except ImageError as error:
            side.set_exception(error)
            return promise
        side.set_result(image.ref)
        images.append(image)
    source, edited = images
    begun = editeval.begin([replace(wanted.request, source=source.ref, edited=edited.ref)], images)[0]
    promise.keep_with(begun)
    return promise
