"""From the values of single pictures to figures with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, and the interval in which it lies for most draws of as many cases."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Draws of cases with replacement: the same draws for every figure.

    So figures of one evaluation, and those of evaluations of the same cases with the same seed, can
    be compared draw by draw.

    Parameters
    ----------
    cases:
        How many there are.
    samples, confidence, seed:
        See `imig.evaluation.recipe.BootstrapConfig`.
    """

    def __init__(self, cases: int, *, samples: int, confidence: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(cases, np.full(cases, 1 / max(cases, 1)), size=samples)
        """(samples, cases): how often a draw has each case."""
        self._confidence = confidence

    def means(self, values: Sequence[Sequence[float]]) -> Floats | None:
        """(1 + samples,) means of a figure over its units: of all cases, then of each draw.

        `values` has one list for each case, of its units; None where all are empty. Draws without
        a unit are NaN.
        """
        counts = np.array([len(one) for one in values], dtype=np.float64)
        if not counts.sum():
            return None
        sums = np.array([sum(one) for one in values], dtype=np.float64)
        times = np.vstack([np.ones(len(values)), self.times])
        units = times @ counts
        means: Floats = np.full(len(times), np.nan)
        return np.divide(times @ sums, units, out=means, where=units > 0)

    def estimate(self, means: Floats) -> Estimate:
        """Value and percentile interval of such means, or of what was computed from them."""
        draws = means[1:][np.isfinite(means[1:])]
        tail = (1 - self._confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (np.nan, np.nan)
        return Estimate(float(means[0]), float(low), float(high))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure of a table that benchmarks make of others."""

    name: str
    title: str
    of: tuple[str, ...]
    """Figures, or columns before it, that it is computed from."""
    meaning: str
    compute: Callable[[Mapping[str, Floats]], Floats]
    """Means of `of` (same draws) -> its own."""
    percent: bool = False
