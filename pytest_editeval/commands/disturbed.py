"""What disturbances, the batch size and the device do to scores."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_editeval.checks import ResolvedCheck
from pytest_editeval.derived import Derived, Disturbance
from pytest_editeval.device import resolve_device
from pytest_editeval.gating.noise import MetricNoise, metric_noise
from pytest_editeval.locations import Location
from pytest_editeval.profiles import Profile
from pytest_editeval.results import Score
from pytest_editeval.scoring.engine import EditEval
from pytest_editeval.scoring.suite import identities, open_editeval, score_all, wanted_score

BATCH_SIZE, DEVICE = "batch size", "device"
DISTURBANCES = (*map(str, Disturbance), BATCH_SIZE, DEVICE)


@dataclass(frozen=True, eq=False)
class Edit:
    """An edit and a check of it; `label` is how reports call it."""

    label: str
    resolved: ResolvedCheck
    source: Location
    edited: Location

    @property
    def metric(self) -> str:
        """The check's metric."""
        return self.resolved.check.metric


@dataclass(frozen=True)
class Measured:
    """The noise by metric; `left_out` says of every score that is missing why, `notes` what was not measured."""

    metrics: dict[str, MetricNoise]
    left_out: list[str]
    notes: list[str]


def measure_noise(profile: Profile, device: str, edits: Sequence[Edit]) -> Measured:
    """Score every edit as it is, disturbed, with a batch size of 1, and on another kind of device.

    Nothing is remembered from earlier runs: the store knows a score by neither batch size nor run.
    """
    differences: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    left_out: list[str] = []
    plain: dict[Edit, float] = {}
    with open_editeval(profile, device) as editeval:
        measured_with = identities(editeval, (edit.metric for edit in edits))
        for edit, (first, *disturbed) in zip(edits, _scores(editeval, edits, [None, *Disturbance]), strict=True):
            if isinstance(first, str):
                left_out.append(f"{edit.label}: {first}")
                continue
            plain[edit] = first
            for disturbance, value in zip(Disturbance, disturbed, strict=True):
                if isinstance(value, str):
                    left_out.append(f"{edit.label}, {disturbance}: {value}")
                else:
                    differences[edit.metric, disturbance].append(value - first)
        devices = {backbone.device for backbone in editeval.scorer.backbones.values()}
    other = _other_device(devices)
    for what, on, batch_size in ((BATCH_SIZE, device, 1), (DEVICE, other, None)):
        if on is None:
            continue
        with open_editeval(profile, on, batch_size) as editeval:
            for edit, (value,) in zip(plain, _scores(editeval, list(plain), [None]), strict=True):
                if isinstance(value, str):
                    left_out.append(f"{edit.label}, {what}: {value}")
                else:
                    differences[edit.metric, what].append(value - plain[edit])
    counts = Counter(edit.metric for edit in plain)
    metrics = {}
    for metric, (version, fingerprint) in measured_with.items():
        by_name = {name: differences[metric, name] for name in DISTURBANCES}
        measured = metric_noise(version, fingerprint, counts[metric], by_name)
        if measured is not None:
            metrics[metric] = measured
    return Measured(metrics, left_out, [f"{DEVICE}: only cpu here: not measured"] if other is None else [])


def _other_device(devices: set[str]) -> str | None:
    """The CPU where another device was used, else the GPU; `None` where there is none."""
    if devices - {"cpu"}:
        return "cpu"
    gpu = resolve_device()
    return None if gpu == "cpu" else gpu


def _scores(
    editeval: EditEval, edits: Sequence[Edit], disturbances: Sequence[Disturbance | None]
) -> Iterator[list[float | str]]:
    """For each edit its score under each disturbance, or why there is none."""
    images = [[edit.edited if one is None else Derived(edit.edited, one) for one in disturbances] for edit in edits]
    wanted = [
        wanted_score(editeval, edit.resolved, edit.source, image)
        for edit, disturbed in zip(edits, images, strict=True)
        for image in disturbed
    ]
    outcomes = score_all(editeval, wanted)
    for disturbed in images:
        yield [_value(next(outcomes)) for _ in disturbed]


def _value(outcome: Score | Exception) -> float | str:
    if isinstance(outcome, Exception):
        return (str(outcome) or repr(outcome)).splitlines()[0]
    if outcome.soft_failure is not None or outcome.value is None:
        return str(outcome.soft_failure)
    return outcome.value
