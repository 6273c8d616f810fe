"""How often the paired test of gates alarms: in vain where the mean worsening is the margin, and when it is more.

Every row is a number of simulated suites of n paired differences, centred on the margin. Columns: alarms in % at the
nominal 5 % of the test that gates use, of SciPy's t-test and of a permutation test by sign flips; then the power of the
first when the mean is worse by 0.25, 0.5 and 1 standard deviations. A second table holds how often the one-sided
95 % bounds of the mean and of p10 are missed, beside the bootstrap's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from common import options, print_table
from pytest_editeval.gating.statistics import bound, paired_test

MARGIN, CONFIDENCE = 0.2, 0.95
SIZES = (8, 12, 30, 100, 300)
EFFECTS = (0.25, 0.5, 1.0)
FLIPS = 499

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def lognormal(sigma: float, sign: int) -> Draw:
    """Centred on 0, with a standard deviation of 1."""
    mean, variance = np.exp(sigma**2 / 2), np.expm1(sigma**2) * np.exp(sigma**2)
    return lambda rng, shape: sign * (rng.lognormal(0, sigma, shape) - mean) / np.sqrt(variance)


def unchanged(share: float) -> Draw:
    """A share is exactly 0, the others are normal, with a standard deviation of 1 in all."""
    return lambda rng, shape: (rng.random(shape) >= share) * rng.standard_normal(shape) / np.sqrt(1 - share)


def mostly_small(share: float) -> Draw:
    """A share lies at one value, the others are clearly worse: the whole is centred on 0, with a deviation of 1."""
    scale = np.sqrt(share * (1 - share) + 0.25 * (1 - share))

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        worse = (rng.random(shape) >= share) * rng.normal(1, 0.5, shape)
        return (worse - (1 - share)) / scale

    return draw


KINDS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "lognormal 0.5": lognormal(0.5, 1),
    "lognormal 1": lognormal(1, 1),
    "-lognormal 0.5": lognormal(0.5, -1),
    "-lognormal 1": lognormal(1, -1),
    "Student t3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "half at the margin": unchanged(0.5),
    "80 % at the margin": unchanged(0.8),
    "half unchanged": mostly_small(0.5),
    "80 % unchanged": mostly_small(0.8),
}


def suites(kind: str, n: int, count: int) -> Floats:
    """Differences of `count` suites, `(count, n)`, centred on 0; the seed is fixed."""
    return KINDS[kind](np.random.default_rng([n, list(KINDS).index(kind)]), (count, n))


def alarms(differences: Floats, effect: float = 0.0) -> float:
    """The share of suites in which the gate's test rejects, when the mean is worse than the margin by `effect`."""
    found = [paired_test(row + MARGIN + effect, MARGIN, CONFIDENCE).p_value for row in differences]
    return float(np.mean(np.array(found) < 1 - CONFIDENCE))


def t_alarms(differences: Floats) -> float:
    """As `alarms`, of SciPy's one-sided t-test."""
    from scipy.stats import ttest_1samp

    varied = differences[np.ptp(differences, axis=1) > 0]
    found = ttest_1samp(varied, 0, axis=1, alternative="greater").pvalue
    return float(np.sum(found < 1 - CONFIDENCE) / len(differences))


def flip_alarms(differences: Floats) -> float:
    """As `alarms`, of the permutation test: under H0, signs around the margin are random."""
    flips = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, differences.shape[1]))
    sums = differences @ flips.T
    found = (1 + (sums >= differences.sum(axis=1, keepdims=True) - 1e-12).sum(axis=1)) / (FLIPS + 1)
    return float(np.mean(found < 1 - CONFIDENCE))


def test_rows(count: int) -> Iterator[tuple[str, ...]]:
    """The rows of the first table."""
    for kind in KINDS:
        for n in SIZES:
            drawn = suites(kind, n, count)
            shares = (alarms(drawn), t_alarms(drawn), flip_alarms(drawn), *(alarms(drawn, by) for by in EFFECTS))
            yield kind, str(n), *percent(shares)


def bound_rows(count: int) -> Iterator[tuple[str, ...]]:
    """How often the lower bounds lie above the truth, of a quarter as many suites."""
    from scipy.stats import bootstrap, norm

    def tenth(values: Floats, axis: int = -1) -> Floats:
        return np.percentile(values, 10, axis=axis)

    for n in SIZES[2:]:
        misses = np.zeros(3)
        for row in suites("normal", n, count // 4):
            interval = bootstrap(
                (row,), tenth, n_resamples=999, method="percentile", alternative="greater", random_state=0
            ).confidence_interval
            lowest = bound("p10", row, CONFIDENCE, upper=False)
            truth = norm.ppf(0.1)
            misses += (
                (bound("mean", row, CONFIDENCE, upper=False) or 0.0) > 0,
                lowest is not None and lowest > truth,
                interval.low > truth,
            )
        yield "normal", str(n), *percent(misses / (count // 4))


def percent(shares: Iterable[float]) -> list[str]:
    """With one decimal."""
    return [f"{100 * share:.1f}" for share in shares]


def main() -> None:
    """Simulate, and print the tables."""
    asked = options(__doc__, device=False, suites=1000).parse_args()
    power = [f"power at {effect:g} sd" for effect in EFFECTS]
    columns = ("differences", "n", "alarms %", "t-test", "sign flips", *power)
    print_table(f"The paired test: {asked.suites} suites a row", columns, test_rows(asked.suites))
    columns = ("scores", "n", "mean: missed %", "p10", "p10, bootstrap")
    print_table("One-sided 95 % bounds: how often the truth lies beyond", columns, bound_rows(asked.suites))


if __name__ == "__main__":
    main()
