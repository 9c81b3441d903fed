"""Figures of scenes and instances, stored before any threshold looks at them.

A figure is declared once, beside the field that stores it: what it means, how it is shown, who
computes it, and below or above which threshold it turns something down. The keys of the recipe's
block `filter`, the filter's verdict, `imig refilter --report`, the plan's checks, statistics,
previews, `imig validate` and the columns of the index follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from imig.schema.parts import SchemaModel

MAX_FIGURES: Final = 100
"""Of stages from outside imig, for a scene or an instance."""

OutsideFigures = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")],
        Annotated[float, Field(allow_inf_nan=False)],
    ],
    Field(
        max_length=MAX_FIGURES,
        exclude_if=lambda figures: not figures,
        description="Of stages from outside imig, by name.",
    ),
]


@dataclass(frozen=True)
class Bound:
    """A key of the recipe's block `filter`: what is below it, or above, is turned down."""

    reason: str
    """Why; short and fixed, so that reasons can be counted."""
    at_least: bool = True
    """`min_<figure>`: what is below is turned down; else `max_<figure>`: what is above."""
    lowest: float | None = None
    """Of the values that a recipe may give."""
    highest: float | None = None
    default: float | None = None
    """None: off."""
    description: str | None = None
    """For the recipe's schema."""

    def turns_down(self, figure: float | None, threshold: float | None) -> bool:
        """A figure that was not computed fails nothing."""
        if figure is None or threshold is None:
            return False
        return figure < threshold if self.at_least else figure > threshold


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Beside a field of `SceneScores` or `InstanceScores`: what it is to those who read it."""

    meaning: str
    """For statistics."""
    rank: int
    """Where it stands among the others: the first that fails is the reason given."""
    bounds: tuple[Bound, ...] = ()
    shown: str = "{:.3f}"
    """How a preview prints it."""
    short: str = ""
    """What a preview calls it where there is little room."""
    made_by: str = "score"
    """Key of the recipe without which it is never computed."""
    magnitude: float | None = None
    """The largest absolute value: 1 of a cosine, 2 of a difference of cosines."""
    indexed: tuple[Literal["min", "mean"], ...] = ()
    """Of an instance: the columns `<min or mean>_<name>` of the index, over the scene's
    instances."""
    name: str = ""
    """Of the field; filled in by `figures_of`."""

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")

    def of(self, scores: SceneScores | InstanceScores) -> float | None:
        """The stored value; None where nobody has computed it."""
        value: float | None = getattr(scores, self.name)
        return value


@dataclass(frozen=True)
class FigureBound:
    """A bound and the figure that it is of."""

    figure: Figure
    bound: Bound

    @property
    def key(self) -> str:
        """Of the block `filter`."""
        return f"{'min' if self.bound.at_least else 'max'}_{self.figure.name}"


class InstanceScores(SchemaModel):
    """Figures of one instance, stored before any threshold looks at them."""

    phrase_similarity: Annotated[
        float | None,
        Figure(
            rank=0,
            meaning="CLIP, crop and phrase",
            short="CLIP",
            magnitude=1,
            bounds=(Bound("phrase_similarity", lowest=-1, highest=1),),
            indexed=("min", "mean"),
        ),
    ] = Field(default=None, description="CLIP cosine of the masked crop and the phrase.")
    phrase_margin: Annotated[
        float | None,
        Figure(
            rank=1,
            meaning="CLIP, own phrase minus the best other",
            short="margin",
            magnitude=2,
            bounds=(
                Bound(
                    "phrase_margin",
                    lowest=-2,
                    highest=2,
                    description="CLIP must prefer the instance's own phrase to the scene's "
                    "others by this.",
                ),
            ),
            indexed=("min",),
        ),
    ] = Field(
        default=None,
        description="CLIP cosine with its own phrase minus the best other phrase of the scene.",
    )
    identity_similarity: list[float] | None = Field(
        default=None,
        description="DINO cosine with every instance of the scene in their order, masked features.",
    )
    sharpness: float | None = Field(
        default=None,
        description="Variance of the Laplacian of the grey values in [0, 1] under the mask.",
    )
    figures: OutsideFigures = Field(default_factory=dict)


class SceneScores(SchemaModel):
    """Figures of the whole scene, stored before any threshold looks at them."""

    caption_similarity: Annotated[
        float | None,
        Figure(
            rank=0,
            meaning="CLIP, target and caption",
            magnitude=1,
            bounds=(Bound("caption does not match", lowest=-1, highest=1),),
        ),
    ] = Field(default=None, description="CLIP cosine of target and caption.")
    aesthetics: Annotated[
        float | None,
        Figure(
            rank=2,
            meaning="predicted mean opinion of the target, 1 to 10",
            shown="{:.2f}",
            made_by="quality.aesthetics",
            bounds=(Bound("aesthetics too low"),),
        ),
    ] = Field(default=None, description="Predicted mean opinion, 1 to 10.")
    preference: Annotated[
        float | None,
        Figure(
            rank=3,
            meaning="PickScore, target and caption",
            shown="{:.1f}",
            made_by="quality.preference",
            bounds=(Bound("preference too low"),),
        ),
    ] = Field(
        default=None, description="PickScore of target and caption: scaled cosine, about 15 to 25."
    )
    watermark: Annotated[
        float | None,
        Figure(
            rank=5,
            meaning="CLIP's hint of text or a mark, 0 to 1",
            shown="{:.2f}",
            made_by="quality.watermark",
            bounds=(Bound("text or watermark", at_least=False, lowest=0, highest=1),),
        ),
    ] = Field(
        default=None, ge=0, le=1, description="CLIP's hint that the target bears text or a mark."
    )
    perceptual_hash: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{16}$", description="64 bits of the target, hexadecimal."
    )
    sharpness: Annotated[
        float | None,
        Figure(
            rank=4,
            meaning="variance of the Laplacian, targets",
            shown="{:.2g}",
            bounds=(Bound("not sharp enough", lowest=0, description="Of the target."),),
        ),
    ] = Field(default=None, description="Variance of the Laplacian of the grey values in [0, 1].")
    coverage: Annotated[
        float | None,
        Figure(
            rank=1,
            meaning="share of the target under masks",
            shown="{:.0%}",
            bounds=(
                Bound(
                    "coverage too low",
                    lowest=0,
                    highest=1,
                    default=0.0,
                    description="Share of the target under masks.",
                ),
                Bound("coverage too high", at_least=False, lowest=0, highest=1, default=1.0),
            ),
        ),
    ] = Field(default=None, ge=0, le=1, description="Share of the target under any mask.")
    figures: OutsideFigures = Field(default_factory=dict)


def figures_of(scores: type[BaseModel]) -> tuple[Figure, ...]:
    """The figures that a class declares, by rank."""
    declared = [
        replace(one, name=name)
        for name, field in scores.model_fields.items()
        for one in field.metadata
        if isinstance(one, Figure)
    ]
    return tuple(sorted(declared, key=lambda one: one.rank))


def bounds_of(figures: Sequence[Figure]) -> tuple[FigureBound, ...]:
    """The keys of the block `filter` that these figures are compared with.

    In the order in which the filter looks at them: all lower thresholds, then all upper ones.
    """
    declared = [FigureBound(figure, bound) for figure in figures for bound in figure.bounds]
    return tuple(sorted(declared, key=lambda one: not one.bound.at_least))


SCENE_FIGURES: Final = figures_of(SceneScores)
INSTANCE_FIGURES: Final = figures_of(InstanceScores)
SCENE_BOUNDS: Final = bounds_of(SCENE_FIGURES)
INSTANCE_BOUNDS: Final = bounds_of(INSTANCE_FIGURES)
