"""Which rows of a results file count for a baseline or a comparison, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_editeval.errors import EditEvalError, known_names, unknown
from pytest_editeval.results import CheckResult, Outcome


@dataclass(frozen=True)
class Rows:
    """The rows of one candidate: `scored` (soft failures among them), and what is left out, by why."""

    scored: tuple[CheckResult, ...]
    errors: tuple[CheckResult, ...]
    controls: tuple[CheckResult, ...]
    expected_to_fail: tuple[CheckResult, ...]


def sort_out(results: Sequence[CheckResult]) -> Rows:
    """The rows by what they are: controls, and edits that are expected to fail, say nothing about a candidate."""
    groups: tuple[list[CheckResult], ...] = ([], [], [], [])
    scored, errors, controls, expected_to_fail = groups
    for result in results:
        if result.control is not None:
            controls.append(result)
        elif result.expect != "pass":
            expected_to_fail.append(result)
        else:
            (errors if result.outcome is Outcome.ERROR else scored).append(result)
    return Rows(*map(tuple, groups))


def of_candidate(results: Sequence[CheckResult], candidate: str | None, name: str) -> list[CheckResult]:
    """The rows of one candidate, with those of no candidate, which hold for each.

    `name` is the file's, for messages. An `EditEvalError` names the candidates where one has to be chosen, or where the
    chosen one is not among them.
    """
    names = candidates_of(results)
    if candidate is None:
        if len(names) > 1:
            raise EditEvalError(f"{name} has several candidates; choose one of: {', '.join(names)}")
        return list(results)
    check_candidate(candidate, names, name)
    return [result for result in results if result.candidate in (candidate, None)]


def check_candidate(candidate: str, names: Sequence[str], name: str) -> None:
    """Raises an `EditEvalError` unless the candidate is one of those that the file has rows of."""
    if not names:
        raise EditEvalError(f"{name} has no candidates; leave out {candidate!r}")
    if candidate not in names:
        raise EditEvalError(f"{name}: {unknown('candidate', candidate, names)}\n  {known_names(names)}")


def candidates_of(results: Sequence[CheckResult]) -> list[str]:
    """The candidates' names, sorted."""
    return sorted({result.candidate for result in results if result.candidate is not None})


def profile_of(results: Sequence[CheckResult], name: str) -> str:
    """The profile that the rows were scored with; an `EditEvalError` where there are several."""
    profiles = sorted({result.profile for result in results})
    if len(profiles) != 1:
        raise EditEvalError(f"{name} has rows of several profiles: {', '.join(profiles)}")
    return profiles[0]
