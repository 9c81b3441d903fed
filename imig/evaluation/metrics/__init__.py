"""One metric a file. `METRICS` lists them in the order in which reports show them."""

from __future__ import annotations

from typing import Any, Final

from imig.evaluation.metrics.base import Measure, Metric
from imig.evaluation.metrics.copying import CopyingMetric
from imig.evaluation.metrics.identity import IdentityMetric
from imig.evaluation.metrics.position import PositionMetric

CLASSES: Final[tuple[type[Metric[Any]], ...]] = (
    PositionMetric,
    IdentityMetric,
    CopyingMetric,
)

METRICS: Final[dict[str, type[Metric[Any]]]] = {one.name: one for one in CLASSES}

MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure for one in CLASSES for measure in one.measures
}
