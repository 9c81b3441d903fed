"""From the values of single pictures to figures with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imig.evaluation.result import PictureResult

if TYPE_CHECKING:
    from imig.evaluation.recipe import EvaluationRecipe

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
        self.times = (
            rng.multinomial(cases, np.full(cases, 1 / cases), size=samples)
            if cases
            else np.zeros((samples, 0), np.int64)
        )
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


class Sample:
    """Pictures, and the draws of their cases.

    Parameters
    ----------
    measured:
        The pictures.
    recipe:
        For the seed of the draws, their number, and the intervals' confidence.
    """

    def __init__(self, measured: Sequence[PictureResult], *, recipe: EvaluationRecipe) -> None:
        self._measured = measured
        self._cases = sorted({one.case for one in measured})
        self.bootstrap = Bootstrap(
            len(self._cases),
            samples=recipe.bootstrap.samples,
            confidence=recipe.bootstrap.confidence,
            seed=recipe.seed,
        )

    def __len__(self) -> int:
        """Pictures."""
        return len(self._measured)

    @property
    def draws(self) -> int:
        """How many there are."""
        return len(self.bootstrap.times)

    def means(self, figure: str) -> Floats | None:
        """(1 + draws,), see `Bootstrap.means`; None: nothing has a value of it."""
        values = self.values(figure)
        return None if values is None else self.bootstrap.means(values)

    def values(self, figure: str) -> list[list[float]] | None:
        """Of each case the values of all its units; None: no picture was measured by it."""
        if not any(figure in one.values for one in self._measured):
            return None
        of_case: dict[str, list[float]] = {one: [] for one in self._cases}
        for one in self._measured:
            of_case[one.case] += [v for v in one.values.get(figure, ()) if v is not None]
        return list(of_case.values())
