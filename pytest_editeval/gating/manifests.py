"""In what two runs differ: checkpoints, preprocessing, dtype, device and libraries, as their rows say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_editeval.results import CheckResult

Facts = dict[str, object]


def manifest_differences(one: Iterable[CheckResult], other: Iterable[CheckResult], names: tuple[str, str]) -> list[str]:
    """A line for each fact that is another one in the second run; `names` are the runs'.

    A metric is compared where both have scored it; a fact that one side does not tell is no difference. Rows of a run
    are alike but for the device, of which all are named.
    """
    left, right = _by_metric(one), _by_metric(other)
    found: dict[tuple[str, str, str], list[str]] = {}
    for metric in sorted(left.keys() & right.keys()):
        before, after = left[metric], right[metric]
        for fact in [fact for fact in before if fact in after and before[fact] != after[fact]]:
            if _is_elsewhere(fact, before, after):
                continue
            found.setdefault((fact, _text(before[fact]), _text(after[fact])), []).append(metric)
    both = sorted(left.keys() & right.keys())
    return [
        f"{fact}: {names[0]} has {before}, {names[1]} {after}" + ("" if metrics == both else f" ({', '.join(metrics)})")
        for (fact, before, after), metrics in found.items()
    ]


def models_of(results: Iterable[CheckResult]) -> dict[tuple[str, str], list[str]]:
    """The models that scores are of: by their part in a score, and what is known of them, the metrics that use them."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for part, model in result.models.items():
            if isinstance(model, Mapping) and model:
                told = "; ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in model.items())
                metrics = found.setdefault((str(part), told), [])
                if result.metric not in metrics:
                    metrics.append(result.metric)
    return found


def _by_metric(results: Iterable[CheckResult]) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    devices: dict[str, set[str]] = {}
    for result in results:
        devices.setdefault(result.metric, set()).add(result.device)
        if result.metric not in found:
            found[result.metric] = dict(_facts(result))
    return {metric: {**facts, "device": ", ".join(sorted(devices[metric]))} for metric, facts in found.items()}


def _facts(result: CheckResult) -> Iterator[tuple[str, object]]:
    for part, model in result.models.items():
        if isinstance(model, Mapping):
            for name, value in model.items():
                yield f"{part} {name}", value
    yield from result.versions.items()


def _is_elsewhere(fact: str, before: Facts, after: Facts) -> bool:
    """Whether it is the place of the same files, which another machine has elsewhere."""
    digest = fact.removesuffix("path") + "digest"
    return fact.endswith(" path") and before.get(digest) == after.get(digest) is not None


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
    return "none" if value is None else str(value)
