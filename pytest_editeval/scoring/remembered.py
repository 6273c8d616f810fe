"""Scores that outlast a run: which of an earlier one are taken, and which of this one are kept."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from pytest_editeval.results import Reason, Score
from pytest_editeval.scoring.ahead import pass_on
from pytest_editeval.scoring.store import Store


class Begun(NamedTuple):
    """A score that is there or will be: an earlier run's (`remembered`), or one of a soft failure that it had there."""

    score: Future[Score]
    remembered: bool = False
    retried: bool = False


class RememberedScores:
    """The scores of a store; with `retry_soft_failures` those that are soft failures count as absent, once each.

    A score is known by its key (`vision.identity.score_key`); one without a key, or where there is no store, is neither
    found nor kept. Threads may share it without a lock: two that ask for a score at the same time may both compute it.
    """

    def __init__(self, store: Store | None, *, retry_soft_failures: bool) -> None:
        self._store = store
        self._retries = retry_soft_failures
        self._retried: dict[str, Begun | None] = {}  # by key; none while it is not begun

    def recall(self, key: str | None, metric: str) -> Begun | None:
        """An earlier run's score; in the place of its soft failure, where they are retried, what this run has begun."""
        if self._store is None or key is None:
            return None
        if (again := self._retried.get(key)) is not None:
            return again
        stored = self._store.load_score(key)
        if stored is None or stored.score.metric != metric:
            return None
        if self._retries and stored.score.soft_failure is not None:
            self._retried[key] = None
            return None
        future: Future[Score] = Future()
        future.set_result(stored.score)
        # Another check of this run may have asked for the same; whether it was done with it is chance.
        return Begun(future, remembered=not stored.own)

    def remember(self, key: str | None, computed: Future[Score]) -> Begun:
        """A score that `recall` did not find, which ends once it is kept."""
        begun = Begun(self._kept(key, computed), retried=key in self._retried)
        if begun.retried and key is not None:
            self._retried[key] = begun
        return begun

    def _kept(self, key: str | None, computed: Future[Score]) -> Future[Score]:
        def keep(score: Score) -> Score:
            # A segmenter that raised may have had a bad moment; every other soft failure is certain to come again.
            certain = score.soft_failure is None or score.soft_failure.reason is not Reason.SEGMENTER_FAILED
            if self._store is not None and key is not None and certain:
                self._store.save_score(key, score)
            return score

        kept: Future[Score] = Future()
        pass_on(computed, kept, keep)
        return kept
