"""A check as a pytest item: one case, of one candidate, and one metric."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.candidates import OF_THE_CASE, Edit, Variant
from pytest_editeval.check_rows import Scored, as_reported, of_deciding, shown, unscored, with_images, with_scores
from pytest_editeval.checks import CheckSpec, EditCase, ResolvedCheck
from pytest_editeval.errors import EditEvalError, ImageError
from pytest_editeval.escapes import visible
from pytest_editeval.faults import fault_line, message_of
from pytest_editeval.locations import Location
from pytest_editeval.registry import PIPES, get_metric
from pytest_editeval.reports.junit import case_properties
from pytest_editeval.reports.text import brief, explanation
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.run import RUN
from pytest_editeval.statuses import EDITS_KEPT, EDITS_MADE

if TYPE_CHECKING:
    from pytest_editeval.collect import EditCaseNode
    from pytest_editeval.needs import ImageRef
    from pytest_editeval.scoring.ahead import Fixture, Promise, Upcoming, Wanted
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.vision.pipes import Pipe


class CheckFailedError(AssertionError):
    """A score on the wrong side of its threshold."""


@cache
def _test_function(fixtures: tuple[str, ...]) -> Callable[..., None]:
    """What pytest calls for a check that uses these fixtures."""

    @pytest.mark.usefixtures(*fixtures)
    def score(editeval: EditEval, request: pytest.FixtureRequest) -> None:
        request.node.score(editeval, request)

    return score


class CheckItem(pytest.Function):
    """A check. `edits` are the images it scores, one unless the case has a `repeat`."""

    case: EditCase
    variant: Variant
    check: CheckSpec
    resolved: ResolvedCheck
    edits: tuple[Edit, ...]
    counts: dict[str, int]
    uses_objects: bool
    _made_now: Counter[str]
    _was_tried: bool
    _result: CheckResult | None
    _wanted: tuple[Pipe, str | None, dict[Location, Wanted]] | None
    _own_properties: list[tuple[str, object]]

    @classmethod
    def of(
        cls,
        parent: EditCaseNode,
        known: dict[tuple[str, ...], Any],
        check: CheckSpec,
        resolved: ResolvedCheck,
        edits: tuple[Edit, ...],
    ) -> CheckItem:
        """The item; the fixtures it uses are those that its metric needs.

        `known` is what pytest found out of them for other checks of the file.
        """
        spec = get_metric(check.metric)
        made = any(edit.location is None and edit.problem is None for edit in edits)
        fixtures = (
            PIPES[spec.pipe_name].fixture,
            *((PIPES["sam-pipe"].fixture,) if spec.inputs == "objects" else ()),
            *(("edit_model",) if made else ()),
        )
        # What pytest finds out about the fixtures is the same for all checks of a file that use them, as it is for the
        # parameters of a test; finding it out takes longer than the rest of an item.
        item: CheckItem = cls.from_parent(
            parent, name=check.metric, callobj=_test_function(fixtures), fixtureinfo=known.get(fixtures)
        )
        known.setdefault(fixtures, getattr(item, "_fixtureinfo", None))
        item.case, item.variant, item.check, item.resolved = parent.case, parent.variant, check, resolved
        item.edits, item.counts, item._made_now, item._was_tried = edits, {}, Counter(), False
        item.uses_objects = spec.inputs == "objects"
        item._wanted = item._result = None
        item._own_properties = list(item.user_properties)
        return item

    @property
    def cannot_be_made(self) -> bool:
        """Whether there is no edit, no candidate, and nothing that could make one."""
        if self.variant is not OF_THE_CASE or "edit_model" not in self.fixturenames:
            return False
        if self.config.hook.pytest_editeval_edit.get_hookimpls():
            return False
        # The plugin's own fixture, which asks the hook, and none in its place.
        found = getattr(getattr(self, "_fixtureinfo", None), "name2fixturedefs", {})
        return len(found.get("edit_model", ())) == 1

    @property
    def locations(self) -> set[Location]:
        """Of its images, as far as they are there."""
        return {self.case.source, *(edit.location for edit in self.edits if edit.location is not None)}

    @property
    def result(self) -> CheckResult:
        """The row of every report; collection alone does not make it."""
        if self._result is None:
            run, edit = self.config.stash[RUN], self.edits[0]
            own = (self.nodeid, self.case, self.variant, self.resolved, edit)
            self._result = unscored(*own, run.profile.name, run.device)
        return self._result

    @result.setter
    def result(self, result: CheckResult) -> None:
        self._result = result

    def score(self, editeval: EditEval, request: pytest.FixtureRequest) -> None:
        """Score, judge, and end as pytest ends: return, fail, or xfail with the soft failure's reason."""
        started = time.perf_counter()
        run, spec = self.config.stash[RUN], get_metric(self.check.metric)
        pipe = editeval.pipe_for(spec, request.getfixturevalue)
        fingerprint, models = editeval.fingerprint(pipe, spec), editeval.models(pipe, spec)
        self._made_now.clear()
        try:
            self._make(editeval, request)
            scores = [self._scored(editeval, pipe, request, edit) for edit in self.edits]
        finally:
            self._wanted, self._was_tried = None, True
            self.counts = {**run.new_counts(), **self._made_now}
        measured = replace(
            self.result,
            fingerprint=fingerprint,
            models=models,
            device=pipe.device,
            versions={**self.result.versions, **pipe.libraries},
            duration=time.perf_counter() - started,
        )
        judged = run.gating.held_against_all(with_scores(measured, self.edits, scores))
        self.result = of_deciding(judged, scores)
        if self.result.outcome is Outcome.SOFT_FAILURE:
            if run.soft_failures == "xfail":
                # Does nothing under --runxfail, and the check fails below.
                pytest.xfail(brief(self.result))
            raise CheckFailedError(explanation(self.result))
        if self.result.outcome is Outcome.FAILED:
            if self.result.control is not None:
                pytest.xfail(f"toothless threshold: {brief(self.result)}")
            if self.result.covered_by is not None:
                pytest.xfail(visible(f"{brief(self.result)} (covered by gate {self.result.covered_by})"))
            raise CheckFailedError(explanation(self.result))

    def _make(self, editeval: EditEval, request: pytest.FixtureRequest) -> None:
        """Have the edits made that are not there yet; another check of the case may have done so."""
        maker = self.config.stash[RUN].maker if "edit_model" in self.fixturenames else None
        for index, edit in enumerate(self.edits):
            if edit.problem is not None:
                raise ImageError(f"{self.case.position}: edited {edit.problem}")
            if edit.location is None and maker is not None:
                candidate = self.result.candidate
                model = request.getfixturevalue("edit_model")
                made = maker.make(self.case, candidate, edit.seed, model, editeval.files.load, again=self._was_tried)
                self._made_now.update({EDITS_MADE: made.is_new, EDITS_KEPT: made.is_kept})
                done = replace(edit, location=made.path)
                self.edits = (*self.edits[:index], done, *self.edits[index + 1 :])
        if maker is not None:
            self.result = replace(self.result, edited=shown(self.edits[0]))

    def _scored(self, editeval: EditEval, pipe: Pipe, request: pytest.FixtureRequest, edit: Edit) -> Scored:
        promise = self._promise(editeval, pipe, request, edit)
        source, edited = self._opened(promise.source, "source"), self._opened(promise.edited, "edited")
        self.result = with_images(self.result, source, edited)
        score = self.config.stash[RUN].progress.wait(promise.score, editeval)
        remembered = promise.remembered.is_set()
        editeval.count(score, remembered=remembered, retried=promise.retried.is_set())
        return Scored(score, source, edited, remembered)

    def wanted(self, editeval: EditEval, pipe: Pipe, edit: Edit) -> Wanted | None:
        """What this check asks for, of a pipe as `EditEval.pipe_for` gives it; `None` while there is no edit."""
        from pytest_editeval.scoring.suite import wanted_score

        location = edit.location or self._made(edit)
        if location is None:
            return None
        segmenter = pipe.sam_block.key if self.uses_objects and pipe.sam_block else None
        if self._wanted is None or self._wanted[:2] != (pipe, segmenter):
            self._wanted = (pipe, segmenter, {})
        known = self._wanted[2]
        if location not in known:
            known[location] = wanted_score(editeval, self.resolved, self.case.source, location, pipe)
        return known[location]

    def _made(self, edit: Edit) -> Location | None:
        if edit.problem is not None or "edit_model" not in self.fixturenames:
            return None
        candidate = self.variant.candidate.name if self.variant.candidate else None
        return self.config.stash[RUN].maker.known(self.case, candidate, edit.seed)

    def _promise(self, editeval: EditEval, pipe: Pipe, request: pytest.FixtureRequest, edit: Edit) -> Promise:
        selection = self.config.stash[RUN].selection(self.session)
        rest = self.edits[self.edits.index(edit) + 1 :]

        def following() -> Iterator[Upcoming]:
            yield from (partial(self.foreseen, editeval, other) for other in rest)
            for item in selection.following(self):
                yield from (partial(item.foreseen, editeval, other) for other in item.edits)

        def sharing(location: Location) -> Iterator[Upcoming]:
            for item in selection.sharing(self, location):
                yield from (partial(item.foreseen, editeval, other) for other in item.edits)

        wanted = self.wanted(editeval, pipe, edit)
        if wanted is None:
            raise ImageError(f"{self.case.position}: edited image of case {self.case.id!r} was not made")
        if self._was_tried:
            from pytest_editeval.scoring.again import asked_again

            return asked_again(editeval, wanted)
        return editeval.ahead.ask(wanted, request.getfixturevalue, following, sharing)

    def foreseen(self, editeval: EditEval, edit: Edit, fixture: Fixture) -> Wanted | None:
        """What this check will ask for, as far as another's fixtures tell; whatever fails, it will meet itself."""
        try:
            return self.wanted(editeval, editeval.pipe_for(get_metric(self.check.metric), fixture), edit)
        except (Exception, SystemExit, pytest.skip.Exception, pytest.fail.Exception, pytest.xfail.Exception):
            return None

    def _opened(self, image: Future[ImageRef], key: str) -> ImageRef:
        position = self.case.source_position if key == "source" else self.case.edited_position
        try:
            return image.result()
        except ImageError as error:
            raise ImageError(f"{position}: {key} {error}") from None

    def attach_result(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Put the result on the report of the call, or of a fixture that failed, as plain data."""
        if report.when == "setup":
            self._result = None  # of an earlier attempt, where a plugin runs the check again
        if report.failed or (report.when == "call" and (report.passed or hasattr(report, "wasxfail"))):
            self._attach(report, error)

    def _attach(self, report: pytest.TestReport, error: BaseException | None) -> None:
        detail = str(report.longrepr) if error is None else message_of(error) or fault_line(error)
        if self.result.outcome is Outcome.ERROR and self.result.detail is None:
            self.result = replace(self.result, detail=detail)
        if report.failed:
            self.result = as_reported(self.result, report.when, detail)
        report.editeval_result = self.result.to_data()  # type: ignore[attr-defined]
        report.editeval_counts = self.counts if report.when == "call" else {}  # type: ignore[attr-defined]
        if self.config.getini("editeval_junit_properties"):
            # On the item as well, because JUnit takes them from the teardown's report.
            self.user_properties = [*self._own_properties, *case_properties(self.result)]
            report.user_properties = list(self.user_properties)

    def attach_error(self, report: pytest.TestReport, error: EditEvalError) -> None:
        """Put on a report, which could not be made as usual, that the check has ended in an error."""
        self.result = replace(self.result, outcome=Outcome.ERROR, margin=None)
        self.attach_result(report, error)

    def forget_result(self) -> None:
        """Let go of the row, which its report has: pytest keeps the items to the end of the run."""
        self._result = None

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A failing check explains itself; only a fault of ours or of another plugin shows a traceback."""
        if isinstance(excinfo.value, CheckFailedError | EditEvalError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """File, line (from 0) and name, as pytest and JUnit show them."""
        return self.path, self.check.position.line - 1, self.nodeid.split("::", 1)[1].replace("::", ".")
