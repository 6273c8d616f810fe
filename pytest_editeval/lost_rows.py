"""The row of a check whose process is gone: xdist's controller, which collects nothing, reads it from its case file."""

from __future__ import annotations

from dataclasses import replace

from pytest_editeval.candidates import variants
from pytest_editeval.cases import load_cases
from pytest_editeval.check_rows import unscored
from pytest_editeval.checks import BrokenCase, BrokenCheck, resolve_check
from pytest_editeval.collect import control_edits
from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult
from pytest_editeval.run import EditRun


def lost_row(run: EditRun, nodeid: str, detail: str) -> CheckResult | None:
    """The row of an error; `None` where the file is no longer what was collected."""
    path, _, names = nodeid.partition("::")
    node, _, metric = names.rpartition("::")
    try:
        for case in load_cases(run.config.rootpath / path).cases:
            if isinstance(case, BrokenCase):
                continue
            variant = next((one for one in variants(case, run.candidates) if one.name(case) == node), None)
            check = next((one for one in case.checks if getattr(one, "metric", None) == metric), None)
            if variant is None or check is None or isinstance(check, BrokenCheck):
                continue
            resolved = resolve_check(case, check, run.profile)
            edits = control_edits(case, variant, resolved) if variant.control else run.edits(case, variant.candidate)
            row = unscored(nodeid, case, variant, resolved, edits[0], run.profile.name, run.device)
            return replace(row, detail=detail)
    except (EditEvalError, OSError):  # collected without a mistake, so it was changed since
        return None
    return None
