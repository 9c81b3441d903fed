"""filter: thresholds, in the order of the released filter (REFERENCE 2.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from imig.layout.boxes import iou
from imig.layout.masks import box_coverage, rle_to_mask
from imig.recipe import FilterConfig
from imig.sample import Sample
from imig.schema import Instance, Scene
from imig.stages.base import BuildContext, Stage
from imig.stages.instances import keep_instances


class FilterStage(Stage):
    """Removes instances below the thresholds, then turns down scenes with too few left.

    Turns down: "too few instances" (figures: how many each cause removed), "caption does not
    match", "coverage too low", "coverage too high". A figure that was not computed fails nothing.
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
        )
        needs_scores = (
            any(threshold is not None for threshold in scored)
            or config.min_coverage > 0
            or config.max_coverage < 1
        )
        self.reads = frozenset({"boxes", "masks"} | ({"scores"} if needs_scores else set()))

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            self._filter(sample)
        return samples

    def _filter(self, sample: Sample) -> None:
        scene = sample.scene
        removed: Counter[str] = Counter()
        kept: list[Instance] = []
        for instance in scene.instances:
            cause = self._fault(instance, scene)
            if cause:
                removed[cause] += 1
            else:
                kept.append(instance)
        kept, removed["duplicate_box"] = _without_duplicates(kept, self._same_box)
        kept, removed["duplicate_identity"] = _without_duplicates(kept, self._same_identity)
        kept.sort(key=lambda one: (-_box_area(one), one.index))
        removed["more_than_max"] = len(kept[self.config.max_instances :])
        kept = kept[: self.config.max_instances]
        keep_instances(sample, [instance.index for instance in kept])
        if len(kept) < self.config.min_instances:
            causes = {cause: number for cause, number in sorted(removed.items()) if number}
            sample.turn_down(
                stage=self.name,
                reason="too few instances",
                figures={
                    "instances": len(kept),
                    "min_instances": self.config.min_instances,
                    **causes,
                },
            )
            return
        self._judge_scene(sample)

    def _fault(self, instance: Instance, scene: Scene) -> str:
        """Which threshold the instance fails, "" when none."""
        config, scores = self.config, instance.scores
        if _box_area(instance) < config.min_box_area * scene.width * scene.height:
            return "small_box"
        if instance.mask is not None:
            covered = min(box_coverage(rle_to_mask(instance.mask), instance.box))
            if covered < config.min_mask_coverage:
                return "mask_coverage"
        if instance.grounding and instance.grounding.score < config.min_grounding_score:
            return "grounding_score"
        if _below(scores.phrase_similarity, config.min_phrase_similarity):
            return "phrase_similarity"
        if _below(scores.phrase_margin, config.min_phrase_margin):
            return "phrase_margin"
        return ""

    def _same_box(self, a: Instance, b: Instance) -> bool:
        return float(iou([a.box], [b.box])[0, 0]) > self.config.max_duplicate_iou

    def _same_identity(self, a: Instance, b: Instance) -> bool:
        limit, similarity = self.config.max_identity_similarity, a.scores.identity_similarity
        return limit is not None and similarity is not None and similarity[b.index] > limit

    def _judge_scene(self, sample: Sample) -> None:
        config, scores = self.config, sample.scene.scores
        judgements = (
            (
                "caption does not match",
                "caption_similarity",
                scores.caption_similarity,
                config.min_caption_similarity,
                _below,
            ),
            ("coverage too low", "coverage", scores.coverage, config.min_coverage, _below),
            ("coverage too high", "coverage", scores.coverage, config.max_coverage, _above),
        )
        for reason, figure, value, threshold, fails in judgements:
            if value is not None and threshold is not None and fails(value, threshold):
                sample.turn_down(
                    stage=self.name,
                    reason=reason,
                    figures={figure: value, "threshold": threshold},
                )
                return


def _below(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value < threshold


def _above(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value > threshold


def _box_area(instance: Instance) -> int:
    x1, y1, x2, y2 = instance.box
    return (x2 - x1) * (y2 - y1)


def _grounding_score(instance: Instance) -> float:
    return instance.grounding.score if instance.grounding else 0.0


def _without_duplicates(
    instances: list[Instance], same: Callable[[Instance, Instance], bool]
) -> tuple[list[Instance], int]:
    """Of instances that are the same the one with the best grounding score, and how many went."""
    kept: list[Instance] = []
    for instance in sorted(instances, key=lambda one: (-_grounding_score(one), one.index)):
        if not any(same(instance, better) for better in kept):
            kept.append(instance)
    return kept, len(instances) - len(kept)
