"""What the thresholds of a filter say of the figures of a whole scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imig.figures import SCENE_FIGURES
from imig.schema import Scene

if TYPE_CHECKING:
    from imig.stages.filter import FilterConfig


def judge_scene(scene: Scene, config: FilterConfig) -> tuple[str, dict[str, float | int | str]]:
    """The first reason to turn the scene down and its figures; an empty reason when there is none.

    A figure that was not computed fails nothing.
    """
    lower = [(one, one.too_low, one.minimum, 1) for one in SCENE_FIGURES if one.too_low]
    upper = [(one, one.too_high, one.maximum, -1) for one in SCENE_FIGURES if one.too_high]
    for figure, reason, key, sign in (*lower, *upper):
        value, threshold = figure.of(scene), getattr(config, key)
        if value is not None and threshold is not None and sign * value < sign * threshold:
            return reason, {figure.name: value, "threshold": threshold}
    return "", {}
