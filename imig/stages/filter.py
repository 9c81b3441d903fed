"""filter: thresholds, in the order of the released filter (REFERENCE 2.1)."""

from __future__ import annotations

from imig.recipe import FilterConfig
from imig.sample import Sample
from imig.stages.base import BuildContext, Stage
from imig.stages.instances import keep_instances
from imig.stages.verdict import Measured, judge


class FilterStage(Stage):
    """Removes instances below the thresholds, then turns down scenes with too few left.

    Turns down: "too few instances" (figures: how many each cause removed), "caption does not
    match", "coverage too low", "coverage too high", "aesthetics too low", "preference too low",
    "not sharp enough", "text or watermark". A figure that was not computed fails nothing.

    An instance goes when it fails a threshold of its own or of one of its views; in the complex
    subset without a view of kind `edit`, in the flexible subset without one of kind `source`.
    """

    name = "filter"
    writes = frozenset({"verdict"})

    def __init__(self, config: FilterConfig, context: BuildContext) -> None:
        super().__init__(context)
        self.config = config
        scored = (
            config.min_phrase_similarity,
            config.min_phrase_margin,
            config.min_caption_similarity,
            config.max_identity_similarity,
            config.min_sharpness,
            # flexible: `match` has compared the views already
            None if context.subset == "flexible" else config.dino,
        )
        needs_scores = (
            any(threshold is not None for threshold in scored)
            or config.min_coverage > 0
            or config.max_coverage < 1
        )
        self.reads = frozenset({"boxes", "masks"} | ({"scores"} if needs_scores else set()))

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            verdict = judge(Measured(sample.scene), self.config)
            keep_instances(sample, verdict.kept)
            if verdict.reason:
                sample.turn_down(stage=self.name, reason=verdict.reason, figures=verdict.figures)
        return samples
