"""Edit case files as pytest nodes: `EditFile` -> `EditCaseNode` -> one `CheckItem` per metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.cases import BrokenCase, BrokenCheck, CheckSpec, EditCase, ResolvedCheck, load_cases, resolve_check
from pytest_editeval.digests import package_versions
from pytest_editeval.errors import EditEvalError, ImageError, LocatedError, display_path
from pytest_editeval.gating.verdicts import judge
from pytest_editeval.locations import Location, display
from pytest_editeval.registry import PIPES, get_metric
from pytest_editeval.reports.junit import case_properties
from pytest_editeval.reports.text import explanation
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.run import RUN

if TYPE_CHECKING:
    from pytest_editeval.needs import ImageRef
    from pytest_editeval.scoring.ahead import Fixture, Promise, Upcoming, Wanted
    from pytest_editeval.scoring.engine import EditEval
    from pytest_editeval.vision.pipes import Pipe


class CheckFailedError(AssertionError):
    """A score on the wrong side of its threshold."""


class CaseCollector(pytest.Collector):
    """A node whose mistakes are shown as lines with a position, not as a traceback."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the terminal shows of a collection error."""
        if isinstance(excinfo.value, EditEvalError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class EditFile(CaseCollector, pytest.File):
    """A file of edit cases. `fixture_info` is what pytest knows of the fixtures of its checks, by their names."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fixture_info: dict[tuple[str, ...], Any] = {}

    def collect(self) -> Iterator[pytest.Collector]:
        """One node per case; a case with a mistake is one that fails to collect."""
        for case in load_cases(self.path).cases:
            if isinstance(case, BrokenCase):
                yield Broken.from_parent(self, name=case.name, errors=case.errors)
            else:
                yield EditCaseNode.from_parent(self, name=case.id, case=case, file=self)


class EditCaseNode(CaseCollector):
    """An edit case; its task and tags are markers of its checks."""

    def __init__(self, *, case: EditCase, file: EditFile, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.file = file
        registered = self.config.stash[RUN].marks
        for mark in (*((case.task,) if case.task else ()), *case.tags):
            if mark not in registered:
                # Registered here, because with --strict-markers a mark has to be known before it is used.
                self.config.addinivalue_line("markers", f"{mark}: a task or tag of edit cases")
                registered.add(mark)
            self.add_marker(mark)

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """One item per check; a check with a mistake is a node that fails to collect."""
        profile = self.config.stash[RUN].profile
        for check in self.case.checks:
            if isinstance(check, BrokenCheck):
                yield Broken.from_parent(self, name=check.name, errors=check.errors)
                continue
            try:
                resolved = resolve_check(self.case, check, profile)
            except LocatedError as error:
                yield Broken.from_parent(self, name=check.metric, errors=(error,))
                continue
            yield CheckItem.of(self, check, resolved)


class Broken(CaseCollector):
    """In the place of a case or check with mistakes: it is counted and named, and the others still run."""

    def __init__(self, *, errors: Sequence[LocatedError], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.errors = errors

    def collect(self) -> Iterator[pytest.Item]:
        """Raise the mistakes."""
        raise EditEvalError("\n".join(str(error) for error in self.errors))


@cache
def _test_function(fixtures: tuple[str, ...]) -> Callable[..., None]:
    """What pytest calls for a check that uses these fixtures."""

    @pytest.mark.usefixtures(*fixtures)
    def score(editeval: EditEval, request: pytest.FixtureRequest) -> None:
        request.node.score(editeval, request)

    return score


class CheckItem(pytest.Function):
    """One case and one metric."""

    case: EditCase
    check: CheckSpec
    resolved: ResolvedCheck
    counts: dict[str, int]
    uses_objects: bool
    _wanted: tuple[Pipe, str | None, Wanted] | None
    _own_properties: list[tuple[str, object]]

    @classmethod
    def of(cls, parent: EditCaseNode, check: CheckSpec, resolved: ResolvedCheck) -> CheckItem:
        """The item; the fixtures it uses are those that its metric needs."""
        spec = get_metric(check.metric)
        fixtures = (PIPES[spec.pipe_name].fixture, *((PIPES["sam-pipe"].fixture,) if spec.inputs == "objects" else ()))
        # What pytest finds out about the fixtures is the same for all checks of a file that use them, as it is for the
        # parameters of a test; finding it out takes longer than the rest of an item.
        known = parent.file.fixture_info
        item: CheckItem = cls.from_parent(
            parent, name=check.metric, callobj=_test_function(fixtures), fixtureinfo=known.get(fixtures)
        )
        known.setdefault(fixtures, getattr(item, "_fixtureinfo", None))
        item.case, item.check, item.resolved, item.counts = parent.case, check, resolved, {}
        item.uses_objects = spec.inputs == "objects"
        item._wanted = None
        item._own_properties = list(item.user_properties)
        return item

    @cached_property
    def result(self) -> CheckResult:
        """Before anything was measured an error, until a score takes its place; collection alone does not make it."""
        run, spec = self.config.stash[RUN], get_metric(self.check.metric)
        return CheckResult(
            node_id=self.nodeid,
            file=display_path(self.case.path),
            line=self.check.position.line,
            case=self.case.id,
            candidate=None,
            control=None,
            metric=spec.name,
            metric_version=spec.version,
            instruction=self.case.instruction,
            task=self.case.task,
            tags=self.case.tags,
            source=display(self.case.source),
            edited=display(self.case.edited) if self.case.edited else "",
            source_size=None,
            edited_size=None,
            source_digest=None,
            edited_digest=None,
            scope=self.resolved.scope,
            coords=self.resolved.coords,
            parameters=self.resolved.parameters,
            expect=self.check.expect,
            threshold=self.resolved.threshold,
            higher_is_better=spec.higher_is_better,
            score=None,
            margin=None,
            outcome=Outcome.ERROR,
            reason=None,
            detail=None,
            quota=None,
            repeats=(),
            covered_by=None,
            baseline=None,
            tolerance=self.check.tolerance,
            noise=None,
            profile=run.profile.name,
            fingerprint=None,
            device=run.device,
            versions=package_versions(),
            duration=0.0,
        )

    def score(self, editeval: EditEval, request: pytest.FixtureRequest) -> None:
        """Score, judge, and end as pytest ends: return, fail, or xfail with the soft failure's reason."""
        started = time.perf_counter()
        run, spec = self.config.stash[RUN], get_metric(self.check.metric)
        pipe = editeval.pipe_for(spec, request.getfixturevalue)
        fingerprint = editeval.fingerprint(pipe, spec)
        try:
            promise = self._promise(editeval, pipe, request)
            source, edited = self._opened(promise.source, "source"), self._opened(promise.edited, "edited")
            self.result = replace(
                self.result,
                source_size=source.size,
                edited_size=edited.size,
                source_digest=source.digest,
                edited_digest=edited.digest,
            )
            score = run.progress.wait(promise.score, editeval)
            editeval.count(promise.remembered.is_set())
        finally:
            self._wanted = None
            self.counts = run.new_counts()
        verdict = judge(score, self.resolved.threshold, spec.higher_is_better, self.check.expect)
        failure = score.soft_failure
        self.result = replace(
            self.result,
            score=score.value,
            margin=verdict.margin,
            outcome=verdict.outcome,
            reason=str(failure.reason) if failure else None,
            detail=failure.detail if failure else None,
            fingerprint=fingerprint,
            device=pipe.device,
            details=dict(score.details),
            duration=time.perf_counter() - started,
        )
        if verdict.outcome is Outcome.SOFT_FAILURE:
            if run.soft_failures == "xfail":
                pytest.xfail(str(failure))  # does nothing under --runxfail, and the check fails below
            raise CheckFailedError(explanation(self.result))
        if verdict.outcome is Outcome.FAILED:
            raise CheckFailedError(explanation(self.result))

    def wanted(self, editeval: EditEval, pipe: Pipe) -> Wanted:
        """What this check asks for, of a pipe as `EditEval.pipe_for` gives it."""
        from pytest_editeval.scoring.ahead import UNOPENED, Wanted

        segmenter = pipe.sam_block.key if self.uses_objects and pipe.sam_block else None
        if self._wanted is None or self._wanted[:2] != (pipe, segmenter):
            spec, resolved = get_metric(self.check.metric), self.resolved
            options = (resolved.coords, resolved.scope, resolved.patch_mask_threshold, resolved.bg_color)
            request = editeval.request(pipe, spec, UNOPENED, UNOPENED, *options)
            assert self.case.edited is not None
            self._wanted = (pipe, segmenter, Wanted(request, self.case.source, self.case.edited))
        return self._wanted[2]

    def _promise(self, editeval: EditEval, pipe: Pipe, request: pytest.FixtureRequest) -> Promise:
        selection = self.config.stash[RUN].selection(self.session)

        def following() -> Iterator[Upcoming]:
            return (partial(other.foreseen, editeval) for other in selection.following(self))

        def sharing(location: Location) -> Iterator[Upcoming]:
            return (partial(other.foreseen, editeval) for other in selection.sharing(self, location))

        wanted = self.wanted(editeval, pipe)
        return editeval.ahead.ask(wanted, request.getfixturevalue, following, sharing)

    def foreseen(self, editeval: EditEval, fixture: Fixture) -> Wanted | None:
        """What this check will ask for, as far as another's fixtures tell; whatever fails, it will meet itself."""
        try:
            return self.wanted(editeval, editeval.pipe_for(get_metric(self.check.metric), fixture))
        except (Exception, pytest.skip.Exception, pytest.fail.Exception, pytest.xfail.Exception):
            return None

    def _opened(self, image: Future[ImageRef], key: str) -> ImageRef:
        position = self.case.source_position if key == "source" else self.case.edited_position
        try:
            return image.result()
        except ImageError as error:
            raise ImageError(f"{position}: {key} {error}") from None

    def attach_result(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Put the result on the report of the call, or of a setup that failed, as plain data."""
        if report.when != "call" and not (report.when == "setup" and report.failed):
            return
        if isinstance(error, Exception) and self.result.outcome is Outcome.ERROR:
            self.result = replace(self.result, detail=str(error) or repr(error))
        report.editeval_result = self.result.to_data()  # type: ignore[attr-defined]
        report.editeval_counts = self.counts  # type: ignore[attr-defined]
        # On the item, because JUnit takes them from the teardown's report.
        self.user_properties = [*self._own_properties, *case_properties(self.result)]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A failing check explains itself; only a fault of ours or of another plugin shows a traceback."""
        if isinstance(excinfo.value, CheckFailedError | EditEvalError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """File, line (from 0) and name, as pytest and JUnit show them."""
        return self.path, self.check.position.line - 1, self.nodeid.split("::", 1)[1].replace("::", ".")
