"""Edit case files as pytest nodes: `EditFile` -> `EditCaseNode` (per candidate) -> one `CheckItem` per metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pytest_editeval.candidates import SEED, Edit, Variant, variants
from pytest_editeval.cases import load_cases
from pytest_editeval.checks import BrokenCase, BrokenCheck, EditCase, ResolvedCheck, resolve_check
from pytest_editeval.circles import let_search_wait
from pytest_editeval.controls import controls
from pytest_editeval.errors import CaseError, EditEvalError, LocatedError, display_path
from pytest_editeval.item import CheckItem
from pytest_editeval.run import RUN


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
        """One node per case and candidate; a case with a mistake is one that fails to collect."""
        let_search_wait(self.config)
        run = self.config.stash[RUN]
        loaded = load_cases(self.path, run.confinement)
        if loaded.gates:
            run.gating.of_files[display_path(self.path)] = loaded.gates
        for case in loaded.cases:
            if isinstance(case, BrokenCase):
                yield Broken.from_parent(self, name=case.name, errors=case.errors)
                continue
            for variant in variants(case, run.candidates):
                yield EditCaseNode.from_parent(self, name=variant.name(case), case=case, variant=variant, file=self)


class EditCaseNode(CaseCollector):
    """An edit case, of one candidate or control; its task and tags are markers of its checks."""

    def __init__(self, *, case: EditCase, variant: Variant, file: EditFile, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.variant = variant
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
        run = self.config.stash[RUN]
        try:
            edits = () if self.variant.control else run.edits(self.case, self.variant.candidate)
        except LocatedError as error:
            yield Broken.from_parent(self, name="edited", errors=(error,))
            return
        for check in self.case.checks:
            if isinstance(check, BrokenCheck):
                yield Broken.from_parent(self, name=check.name, errors=check.errors)
                continue
            try:
                resolved = resolve_check(self.case, check, run.profile)
            except LocatedError as error:
                yield Broken.from_parent(self, name=check.metric, errors=(error,))
                continue
            item = CheckItem.of(
                self, self.file.fixture_info, check, resolved, edits or control_edits(self.case, self.variant, resolved)
            )
            if item.cannot_be_made:
                message = f"'edited' in case {self.case.id!r} is missing"
                cure = "or give --editeval-candidate NAME=DIR, or a model: pytest_editeval_edit"
                yield Broken.from_parent(
                    self, name="edited", errors=(CaseError(self.case.edited_position, message, cure),)
                )
                return
            yield item


def control_edits(case: EditCase, variant: Variant, resolved: ResolvedCheck) -> tuple[Edit, ...]:
    """The edited image of a control, which depends on the region that the check looks at."""
    return (Edit(SEED, controls(case, resolved)[str(variant.control)]),)


class Broken(CaseCollector):
    """In the place of a case or check with mistakes: it is counted and named, and the others still run."""

    def __init__(self, *, errors: Sequence[LocatedError], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.errors = errors

    def collect(self) -> Iterator[pytest.Item]:
        """Raise the mistakes."""
        raise EditEvalError("\n".join(str(error) for error in self.errors))
