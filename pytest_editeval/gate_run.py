"""What a run is held against beside its thresholds: gates, a baseline, the noise floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_editeval.errors import EditEvalError

if TYPE_CHECKING:
    from pytest_editeval.gate_rules import Gate
    from pytest_editeval.gating.baseline import Baseline
    from pytest_editeval.gating.noise import NoiseFloor
    from pytest_editeval.item import CheckItem
    from pytest_editeval.results import CheckResult, MetricIdentity
    from pytest_editeval.run import EditRun

NARROWING = {"keyword": "-k", "lf": "--lf", "stepwise": "--sw", "deselect": "--deselect"}
"""Options for a look at some checks, as they are written; -m makes a suite."""


class GateRun:
    """The gates of one run, and what its checks are compared with. One in every process."""

    def __init__(self, run: EditRun) -> None:
        self.run = run
        self.mode = run.choice("gates")
        self.allow_mismatch = bool(run.config.getoption("editeval_allow_mismatch"))
        self.of_files: dict[str, tuple[Gate, ...]] = {}
        self.deselected: list[CheckItem] = []
        self._elsewhere: set[tuple[str, str]] = set()
        baseline, noise = run.setting("baseline"), run.setting("noise")
        self._baseline_path = Path(baseline) if baseline else None
        self._noise_path = Path(noise) if noise else None

    def check_files(self) -> None:
        """Read the baseline and the noise floor, and refuse those of another profile; an `EditEvalError` says why."""
        if self.baseline is not None or self.noise is not None:
            self._refuse(self.run.profile.name, {})

    def check_models(self) -> None:
        """Refuse a baseline, or a noise floor, of other checkpoints than the profile's."""
        if self.allow_mismatch or (self.baseline is None and self.noise is None):
            return
        known = {name for found in (self.baseline, self.noise) if found is not None for name in found.metrics}
        self._refuse(self.run.profile.name, {name: one for name in known if (one := self._identity(name)) is not None})

    def _identity(self, metric: str) -> MetricIdentity | None:
        """With what the profile measures a metric; `None` where it does not."""
        from pytest_editeval.errors import ConfigError, UnknownMetricError
        from pytest_editeval.registry import get_metric
        from pytest_editeval.results import MetricIdentity
        from pytest_editeval.scoring.engine import EditEval

        try:
            spec, settings = get_metric(metric), self.run.profile.settings(metric)
        except (ConfigError, UnknownMetricError):
            return None
        pipe = self.run.pool.pipe(settings.pipe)
        if spec.inputs == "objects" and settings.pipe.sam is not None:
            pipe.sam_block = self.run.pool.segmenter(settings.pipe.sam)
        return MetricIdentity(spec.version, EditEval.fingerprint(pipe, spec))

    def _refuse(self, profile: str, identities: Mapping[str, MetricIdentity]) -> None:
        """Refuse what was measured with another profile, or with other versions or checkpoints of these metrics."""
        if self.allow_mismatch:
            return
        if self.baseline is not None:
            from pytest_editeval.gating import baseline

            _raise("baseline", self._baseline_path, baseline.mismatches(self.baseline, profile, identities))
        if self.noise is not None:
            from pytest_editeval.gating import noise

            _raise("noise", self._noise_path, noise.mismatches(self.noise, profile, identities))

    @cached_property
    def baseline(self) -> Baseline | None:
        """The accepted scores of the last release, if there are any."""
        if self._baseline_path is None:
            return None
        from pytest_editeval.gating.baseline_file import read_baseline

        # A file that the run itself replaces has a journal beside it once the run has begun.
        own = self.run.results_path
        partial = own is not None and own.absolute() == self._baseline_path.absolute()
        return read_baseline(self._baseline_path, partial=partial)

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

    def gates_deselected(self) -> set[tuple[str, str]]:
        """The gates (place and name) that are about checks that were deselected, here or in a worker."""
        from pytest_editeval.gating.words import title

        gates = self.gates
        rows = [item.result for item in self.deselected] if gates else []  # there may be many, and a row is long
        own = {(str(gate.position), title(gate)) for gate in gates if any(map(gate.about, rows))}
        return own | self._elsewhere

    def note_worker(
        self, of_files: Mapping[str, Sequence[Mapping[str, Any]]], deselected: Iterable[Sequence[str]]
    ) -> None:
        """What a worker collected of gates, as plain data; xdist's controller collects nothing itself."""
        from pytest_editeval.gate_rules import Gate

        for path, gates in of_files.items():
            self.of_files[path] = tuple(map(Gate.from_data, gates))
        self._elsewhere |= {(place, name) for place, name in deselected}

    def judged_gates(self, results: Sequence[CheckResult]) -> tuple[list[Gate], list[str]]:
        """The gates that this run can judge, and the names of those whose checks were all deselected."""
        from pytest_editeval.gating.words import title

        left_out = self.gates_deselected()
        gates, names = [], []
        for gate in self.gates:
            if (str(gate.position), title(gate)) in left_out and not any(map(gate.about, results)):
                names.append(title(gate))
            else:
                gates.append(gate)
        return gates, names

    @property
    def narrowed(self) -> str | None:
        """The option that makes this a look at some checks, by which no suite can be judged."""
        config = self.run.config
        if self.run.asked or any("::" in str(argument) for argument in config.args):
            return "a node id"
        if not self.deselected:
            return None
        return next((shown for name, shown in NARROWING.items() if config.getoption(name, None)), None)

    @property
    def judges(self) -> bool:
        """Whether this run judges gates."""
        return self.mode == "on" or (self.mode == "auto" and self.narrowed is None)

    def held_against_all(self, result: CheckResult) -> CheckResult:
        """A scored result with everything it is held against: threshold, baseline, noise, and the gate that decides."""
        from pytest_editeval.gating.verdicts import settled
        from pytest_editeval.results import Outcome

        if result.control is None and (self.baseline is not None or self.noise is not None):
            result = self._beside_others(result)
        result = settled(result)
        if result.outcome is not Outcome.FAILED or not self.judges:
            return result
        from pytest_editeval.gating.evaluate import covered

        return covered(result, self.gates)

    def _beside_others(self, result: CheckResult) -> CheckResult:
        from pytest_editeval.gating.baseline import comparable
        from pytest_editeval.gating.noise import noise_of
        from pytest_editeval.results import MetricIdentity

        if result.fingerprint is not None:
            # Asked again for every check, because a `conftest.py` may put other models in the profile's place.
            self._refuse(result.profile, {result.metric: MetricIdentity(result.metric_version, result.fingerprint)})
        accepted = comparable(self.baseline, result) if self.baseline is not None else None
        return replace(result, baseline=accepted, noise=noise_of(self.noise, result.metric))

    def accepted(self, results: Iterable[CheckResult]) -> Mapping[str, float | None] | None:
        """The baseline's scores by `CheckResult.key`, without those of checks that have changed since."""
        if self.baseline is None:
            return None
        from pytest_editeval.gating.baseline import accepted_scores

        return accepted_scores(self.baseline, results)


def _raise(option: str, path: Path | None, mismatches: Sequence[str]) -> None:
    if mismatches:
        where = f"--editeval-{option} {path}"
        raise EditEvalError(f"{where}: {'; '.join(mismatches)} (--editeval-allow-mismatch to look anyway)")
