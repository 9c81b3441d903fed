"""The figures of a whole scene, each declared once: what it is called, compared with, made by.

Filter, `imig refilter --report`, the plan's checks, statistics, previews and the index take them
from here. A figure is stored in `imig.schema.SceneScores` before any threshold looks at it, and its
thresholds are `min_<name>` and `max_<name>` of `imig.stages.filter.FilterConfig`, as far as it has
reasons to turn a scene down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from imig.schema import Scene


@dataclass(frozen=True)
class SceneFigure:
    """One figure of a scene."""

    name: str
    """Field of `SceneScores`, and column of the index."""
    meaning: str
    """For statistics."""
    shown: str
    """How a preview prints it, as a format."""
    made_by: str
    """Key of the recipe without which it is never computed."""
    too_low: str = ""
    """Why a scene below `min_<name>` is turned down; empty: there is no such threshold."""
    too_high: str = ""
    """The same of `max_<name>`."""

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")

    @property
    def minimum(self) -> str:
        """Key of the filter."""
        return f"min_{self.name}"

    @property
    def maximum(self) -> str:
        """Key of the filter."""
        return f"max_{self.name}"

    def of(self, scene: Scene) -> float | None:
        """None where nobody has computed it."""
        value: float | None = getattr(scene.scores, self.name)
        return value


SCENE_FIGURES: Final = (
    SceneFigure(
        name="caption_similarity",
        meaning="CLIP, target and caption",
        shown="{:.3f}",
        made_by="score",
        too_low="caption does not match",
    ),
    SceneFigure(
        name="coverage",
        meaning="share of the target under masks",
        shown="{:.0%}",
        made_by="score",
        too_low="coverage too low",
        too_high="coverage too high",
    ),
    SceneFigure(
        name="aesthetics",
        meaning="predicted mean opinion of the target, 1 to 10",
        shown="{:.2f}",
        made_by="quality.aesthetics",
        too_low="aesthetics too low",
    ),
    SceneFigure(
        name="preference",
        meaning="PickScore, target and caption",
        shown="{:.1f}",
        made_by="quality.preference",
        too_low="preference too low",
    ),
    SceneFigure(
        name="sharpness",
        meaning="variance of the Laplacian, targets",
        shown="{:.2g}",
        made_by="score",
        too_low="not sharp enough",
    ),
    SceneFigure(
        name="watermark",
        meaning="CLIP's hint of text or a mark, 0 to 1",
        shown="{:.2f}",
        made_by="quality.watermark",
        too_high="text or watermark",
    ),
)
"""In the order in which the filter looks at them: all lower thresholds, then all upper ones."""
