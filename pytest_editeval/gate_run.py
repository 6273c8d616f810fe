"""What a run is held against beside its thresholds: gates, a baseline, the noise floor.

Loaded by every pytest run, so it imports the standard library and pytest only at the top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_editeval.errors import EditEvalError
from pytest_editeval.results import CheckResult, Outcome

if TYPE_CHECKING:
    from pytest_editeval.gate_rules import Gate
    from pytest_editeval.gating.baseline import Baseline
    from pytest_editeval.gating.noise import NoiseFloor
    from pytest_editeval.run import EditRun

GATE_MODES = ("auto", "on", "off")
NARROWING = ("keyword", "lf", "stepwise", "deselect")  # options for a look at some checks; -m makes a suite


class GateRun:
    """The gates of one run, and what its checks are compared with. One in every process."""

    def __init__(self, run: EditRun) -> None:
        self.run = run
        self.mode = run.setting("gates") or "auto"
        if self.mode not in GATE_MODES:
            raise EditEvalError(f"unknown editeval_gates {self.mode!r}; allowed: {', '.join(GATE_MODES)}")
        self.allow_mismatch = bool(run.config.getoption("editeval_allow_mismatch"))
        self.of_files: dict[str, tuple[Gate, ...]] = {}
        self.deselected = 0
        baseline, noise = run.setting("baseline"), run.setting("noise")
        self._baseline_path = Path(baseline) if baseline else None
        self._noise_path = Path(noise) if noise else None

    def check_files(self) -> None:
        """Read the baseline and the noise floor, and refuse those of another profile; an `EditEvalError` says why."""
        for name, found in (("baseline", self.baseline), ("noise", self.noise)):
            if found is not None:
                self._refuse(name, found.mismatches(self.run.profile.name, {}))

    def check_models(self) -> None:
        """Refuse a baseline, or a noise floor, of other checkpoints than the profile's."""
        if self.allow_mismatch or (self.baseline is None and self.noise is None):
            return
        from pytest_editeval.gating.baseline import MetricIdentity
        from pytest_editeval.registry import get_metric
        from pytest_editeval.scoring.engine import EditEval

        pool, identities = self.run.pool, {}
        for name, settings in self.run.profile.metrics.items():
            spec, pipe = get_metric(name), pool.pipe(settings.pipe)
            if spec.inputs == "objects" and settings.pipe.sam is not None:
                pipe.sam_block = pool.segmenter(settings.pipe.sam)
            identities[name] = MetricIdentity(spec.version, EditEval.fingerprint(pipe, spec))
        for name, found in (("baseline", self.baseline), ("noise", self.noise)):
            if found is not None:
                self._refuse(name, found.mismatches(self.run.profile.name, identities))

    def _refuse(self, option: str, mismatches: Iterable[str]) -> None:
        lines = list(mismatches)
        if lines and not self.allow_mismatch:
            path = self._baseline_path if option == "baseline" else self._noise_path
            raise EditEvalError(
                f"--editeval-{option} {path}: {'; '.join(lines)} (--editeval-allow-mismatch to look anyway)"
            )

    @cached_property
    def baseline(self) -> Baseline | None:
        """The accepted scores of the last release, if there are any."""
        if self._baseline_path is None:
            return None
        from pytest_editeval.gating.baseline import read_baseline

        return read_baseline(self._baseline_path)

    @cached_property
    def noise(self) -> NoiseFloor | None:
        """What harmless changes of an image do to each metric, if it was measured."""
        if self._noise_path is None:
            return None
        from pytest_editeval.gating.noise import read_noise

        return read_noise(self._noise_path)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Those of the configuration, then those of the case files that were collected."""
        return (*self.run.profile.gates, *(gate for gates in self.of_files.values() for gate in gates))

    @property
    def narrowed(self) -> str | None:
        """The option that makes this a look at some checks, by which no suite can be judged."""
        config = self.run.config
        if self.run.asked or any("::" in str(argument) for argument in config.args):
            return "a node id"
        names = [name for name in NARROWING if config.getoption(name, None)]
        shown = {"keyword": "-k", "lf": "--lf", "stepwise": "--sw", "deselect": "--deselect"}
        return shown[names[0]] if names and self.deselected else None

    @property
    def judges(self) -> bool:
        """Whether this run judges gates."""
        return self.mode == "on" or (self.mode == "auto" and self.narrowed is None)

    def held_against_all(self, result: CheckResult) -> CheckResult:
        """A scored result with everything it is held against: threshold, baseline, noise, and the gate that decides."""
        from pytest_editeval.gating.verdicts import settled
        from pytest_editeval.gating.words import title

        if result.control is None:
            if self.baseline is not None:
                self._same_models("baseline", self.baseline, result)
                result = replace(result, baseline=self.baseline.score_for(result))
            if self.noise is not None:
                self._same_models("noise", self.noise, result)
                result = replace(result, noise=self.noise.noise_of(result.metric))
        result = settled(result)
        if result.outcome is Outcome.FAILED and self.judges:
            decides = next((gate for gate in self.gates if gate.decides(result)), None)
            result = replace(result, covered_by=title(decides) if decides else None)
        return result

    def _same_models(self, option: str, found: Any, result: CheckResult) -> None:
        from pytest_editeval.gating.baseline import MetricIdentity

        if not self.allow_mismatch and result.fingerprint is not None:
            identity = MetricIdentity(result.metric_version, result.fingerprint)
            self._refuse(option, found.mismatches(result.profile, {result.metric: identity}))

    def reference_scores(self, results: Iterable[CheckResult]) -> Mapping[str, float | None] | None:
        """The baseline's scores of the checks that are comparable, by `CheckResult.key`."""
        if self.baseline is None:
            return None
        return {
            result.key: self.baseline.scores[result.key].score
            for result in results
            if result.key in self.baseline.scores and self.baseline.is_comparable(result)
        }


def usage_error(error: EditEvalError) -> pytest.UsageError:
    """What stops a run with one line."""
    return pytest.UsageError(f"editeval: {error}")
