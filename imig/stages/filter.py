"""filter: thresholds, in the order of the released filter (REFERENCE 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model, model_validator

from imig.recipe.parts import Cosine, Fraction, StageConfig
from imig.sample import Sample
from imig.schema import INSTANCE_BOUNDS, SCENE_BOUNDS, Bound
from imig.stages.base import Stage
from imig.stages.instances import keep_instances
from imig.stages.verdict import Measured, judge


def _key(bound: Bound) -> tuple[Any, Any]:
    kind = float if bound.default is not None else float | None
    field = Field(
        default=bound.default, ge=bound.lowest, le=bound.highest, description=bound.description
    )
    return kind, field


if TYPE_CHECKING:

    class _FigureThresholds(StageConfig):
        """`min_<figure>` and `max_<figure>`, as `imig.schema.scores` declares them."""

        def __getattr__(self, name: str) -> float | None: ...

else:
    _FigureThresholds = create_model(
        "_FigureThresholds",
        __base__=StageConfig,
        **{one.key: _key(one.bound) for one in (*INSTANCE_BOUNDS, *SCENE_BOUNDS)},
    )


class FilterConfig(_FigureThresholds):
    """Thresholds. Instances that fail are removed; a scene with too few left is rejected."""

    min_instances: int = Field(default=2, ge=1, description="Released filter: 2.")
    max_instances: int = Field(
        default=5, ge=1, description="Released filter: 5, largest by area first."
    )
    min_box_area: Fraction = Field(default=0.01, description="Released filter: 1 % of the image.")
    min_mask_coverage: Fraction = Field(
        default=0.6,
        description="The mask's bounding box covers at least this share of the box in width and "
        "in height (released filter: 60 %).",
    )
    min_grounding_score: Fraction = 0.0
    max_identity_similarity: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="DINO cosine above which two instances of a scene count as duplicates; the "
        "lower grounding score is removed.",
    )
    dino: Cosine | None = Field(
        default=None,
        description="Cosine of masked DINO features of a reference and its instance in the target, "
        "at least (released filter of the flexible subset: 0.82); of crops only where there is no "
        "edited or drawn view.",
    )
    face: Cosine | None = Field(
        default=None,
        description="Recognition cosine from which a face stands in for `dino`, where there is an "
        "aligned face (released filter of the flexible subset: 0.65).",
    )
    agreement: bool = Field(
        default=False,
        description="Remove instances of which a vision-language model said no (`agree`).",
    )
    max_duplicate_iou: Fraction = Field(
        default=0.75, description="Box IoU above which two instances are one (released: 0.75)."
    )

    @model_validator(mode="after")
    def _ranges(self) -> FilterConfig:
        if self.min_instances > self.max_instances:
            raise ValueError("min_instances must not be above max_instances")
        return self


class FilterStage(Stage[FilterConfig]):
    """Removes instances below the thresholds, then turns down scenes with too few left.

    Turns down: "too few instances" (figures: how many each cause removed), "caption does not
    match", "coverage too low", "coverage too high", "aesthetics too low", "preference too low",
    "not sharp enough", "text or watermark". A figure that was not computed fails nothing.

    An instance goes when it fails a threshold of its own or of one of its views; in the complex
    subset without a view of kind `edit`, in the flexible subset without one of kind `source`.
    """

    name = "filter"
    writes = frozenset({"verdict"})

    def prepare(self) -> None:
        config = self.config
        compared = [
            one.key
            for one in (*INSTANCE_BOUNDS, *SCENE_BOUNDS)
            if one.figure.made_by == "score" and getattr(config, one.key) != one.bound.default
        ]
        needs_scores = (
            bool(compared)
            or config.max_identity_similarity is not None
            # flexible: `match` has compared the views already
            or (config.dino is not None and self.context.subset != "flexible")
        )
        self.reads = frozenset({"boxes", "masks"})
        if needs_scores:
            self.reads |= {"scores"}

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            verdict = judge(Measured(sample.scene), self.config)
            keep_instances(sample, verdict.kept)
            if verdict.reason:
                sample.turn_down(stage=self.name, reason=verdict.reason, figures=verdict.figures)
        return samples
