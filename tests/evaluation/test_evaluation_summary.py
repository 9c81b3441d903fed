"""Means and intervals: whole cases are drawn, units are what is averaged."""

from __future__ import annotations

import numpy as np
import pytest

from imig.evaluation.summary import Bootstrap


def bootstrap(cases: int, seed: int = 0) -> Bootstrap:
    return Bootstrap(cases, samples=2000, confidence=0.95, seed=seed)


def test_the_mean_is_over_units_not_over_cases() -> None:
    means = bootstrap(2).means([[1.0], [0.0, 0.0, 0.0]])
    assert means is not None
    assert means[0] == 0.25


def test_no_unit_no_mean() -> None:
    assert bootstrap(2).means([[], []]) is None


def test_the_interval_is_that_of_the_binomial() -> None:
    values = [[1.0]] * 60 + [[0.0]] * 40
    means = bootstrap(100).means(values)
    assert means is not None
    estimate = bootstrap(100).estimate(means)
    assert estimate.value == 0.6
    # 1.96 * sqrt(0.6 * 0.4 / 100) = 0.096
    assert estimate.low == pytest.approx(0.504, abs=0.011)
    assert estimate.high == pytest.approx(0.696, abs=0.011)


def test_units_of_one_case_go_together() -> None:
    """Ten equal values in a case say no more than one."""
    alone = bootstrap(20)
    one = [[float(n % 2)] for n in range(20)]
    many = [[float(n % 2)] * 10 for n in range(20)]
    few, lots = alone.means(one), alone.means(many)
    assert few is not None
    assert lots is not None
    assert np.allclose(few, lots)


def test_a_seed_decides_and_pairs() -> None:
    values = [[float(n)] for n in range(9)]

    def means(seed: int) -> list[float]:
        found = bootstrap(9, seed=seed).means(values)
        assert found is not None
        return list(found)

    assert means(3) == means(3)
    assert means(3) != means(4)


def test_draws_without_a_unit_do_not_count() -> None:
    draws = bootstrap(2)
    means = draws.means([[0.5], []])
    assert means is not None
    assert np.isnan(means).any()
    assert draws.estimate(means).low == 0.5
