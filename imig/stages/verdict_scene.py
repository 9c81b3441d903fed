"""What the thresholds of a filter say of the figures of a whole scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imig.schema import Scene

if TYPE_CHECKING:
    from imig.stages.filter import FilterConfig


def judge_scene(scene: Scene, config: FilterConfig) -> tuple[str, dict[str, float | int | str]]:
    """The first reason to turn the scene down and its figures; an empty reason when there is none.

    A figure that was not computed fails nothing.
    """
    scores = scene.scores
    lower = (
        (
            "caption does not match",
            "caption_similarity",
            scores.caption_similarity,
            config.min_caption_similarity,
        ),
        ("coverage too low", "coverage", scores.coverage, config.min_coverage),
        ("aesthetics too low", "aesthetics", scores.aesthetics, config.min_aesthetics),
        ("preference too low", "preference", scores.preference, config.min_preference),
        ("not sharp enough", "sharpness", scores.sharpness, config.min_sharpness),
    )
    upper = (
        ("coverage too high", "coverage", scores.coverage, config.max_coverage),
        ("text or watermark", "watermark", scores.watermark, config.max_watermark),
    )
    for judgements, sign in ((lower, 1), (upper, -1)):
        for reason, figure, value, threshold in judgements:
            if value is not None and threshold is not None and sign * value < sign * threshold:
                return reason, {figure: value, "threshold": threshold}
    return "", {}
