"""How many scenes other thresholds would keep: `imig refilter --report`.

Each threshold is varied by itself, the others stay as they are. Duplicates are not looked at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from imig.derived.thresholds import THRESHOLDS, Threshold
from imig.shards.dataset import Dataset
from imig.stages.filter import FilterConfig
from imig.stages.verdict import Measured, Verdict, judge

QUANTILES: Final = (0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.9)
"""Where in the stored figures values are tried, beside the present one."""
_COUNTS: Final = ("min_instances", "max_instances")


@dataclass
class Curve:
    """What values of one threshold would keep."""

    threshold: Threshold
    now: float | None
    """The present value; None: off."""
    figures: int
    """How many figures are stored."""
    values: Sequence[float]
    """Ascending."""
    scenes: list[int] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Sweep:
    """All curves of a dataset."""

    scenes: int
    instances: int
    """Both of the dataset as it is."""
    kept_scenes: int
    kept_instances: int
    """With the present thresholds."""
    curves: list[Curve]


def sweep(dataset: Dataset, config: FilterConfig) -> Sweep:
    """Judge every scene with every value; reads the JSON of each sample twice, and no picture.

    Raises
    ------
    DataError
        When a sample is damaged.
    """
    curves = _curves(dataset, config)
    configs = [
        [_with(config, curve.threshold.key, value) for value in curve.values] for curve in curves
    ]
    scenes = instances = kept_scenes = kept_instances = 0
    for curve in curves:
        curve.scenes, curve.instances = ([0] * len(curve.values) for _ in range(2))
    for measured in _measured(dataset):
        scenes += 1
        instances += len(measured.scene.instances)
        present = judge(measured, config)
        kept_scenes += not present.reason
        kept_instances += 0 if present.reason else len(present.kept)
        for curve, tried in zip(curves, configs, strict=True):
            for place, verdict in enumerate(_verdicts(measured, curve, tried)):
                if not verdict.reason:
                    curve.scenes[place] += 1
                    curve.instances[place] += len(verdict.kept)
    return Sweep(scenes, instances, kept_scenes, kept_instances, curves)


def _measured(dataset: Dataset) -> Iterator[Measured]:
    return (
        Measured(scene, dataset.place_of(scene.id)) for scene, _ in dataset.walk_shards(only=())
    )


def _verdicts(measured: Measured, curve: Curve, tried: list[FilterConfig]) -> Iterator[Verdict]:
    """A verdict a value. Values between the same two figures of the scene judge alike."""
    if curve.threshold.key in _COUNTS:
        # How many instances are left depends on all thresholds.
        yield from (judge(measured, config) for config in tried)
        return
    figures = sorted(one for one in curve.threshold.figures(measured) if one is not None)
    known: dict[tuple[int, bool], Verdict] = {}
    for value, config in zip(curve.values, tried, strict=True):
        place = bisect_left(figures, value)
        equal = place < len(figures) and figures[place] == value
        if (place, equal) not in known:
            known[place, equal] = judge(measured, config)
        yield known[place, equal]


def _curves(dataset: Dataset, config: FilterConfig) -> list[Curve]:
    """The thresholds that there are figures for, and the values to try."""
    stored = {one.key: array("d") for one in THRESHOLDS}
    for measured in _measured(dataset):
        for one in THRESHOLDS:
            stored[one.key].extend(x for x in one.figures(measured) if x is not None)
    curves = []
    for one in THRESHOLDS:
        now = getattr(config, one.key)
        figures = np.asarray(stored[one.key])
        # A face stands in for DINO: without that threshold it decides nothing.
        if len(figures) and not (one.key == "face" and config.dino is None):
            values = _values(one, figures, now, config)
            curves.append(Curve(one, now, figures=len(figures), values=values))
    return curves


def _values(
    threshold: Threshold, figures: np.ndarray, now: float | None, config: FilterConfig
) -> Sequence[float]:
    if threshold.key in _COUNTS:
        values = {int(one) for one in np.unique(figures)}
        values = {max(one, 1) for one in values | {int(now or 1)}}
        if threshold.key == "min_instances":
            return sorted(one for one in values if one <= config.max_instances)[:9]
        # More than any scene has changes nothing.
        most = int(figures.max())
        return sorted({min(one, most) for one in values if one >= config.min_instances})[:9]
    quantiles = np.quantile(figures, QUANTILES).tolist()
    rounded = {float(f"{one:.3g}") for one in quantiles}
    return sorted(rounded | ({float(now)} if now is not None else set()))


def _with(config: FilterConfig, key: str, value: float) -> FilterConfig:
    return config.model_copy(update={key: value})
