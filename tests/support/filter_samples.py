"""Scenes of filled boxes for the filter, and the filter run on one of them."""

from __future__ import annotations

import numpy as np

from imig.layout.masks import clip_mask_to_box, mask_area, mask_to_rle
from imig.sample import Sample
from imig.schema import Box, Detection, Instance, InstanceScores, Scene, Source
from imig.stages.base import BuildContext
from imig.stages.filter import FilterConfig, FilterStage
from imig.stages.instances import set_instances

SIZE = 100
ROW: list[Box] = [(0, 0, 20, 20), (25, 0, 50, 25), (55, 0, 70, 15), (75, 0, 95, 19)]


def make_sample(boxes: list[Box], **scores: list[float]) -> Sample:
    """A scene of filled boxes; `scores` are by name, one value an instance."""
    grounding = scores.pop("grounding", [0.9] * len(boxes))
    instances = []
    for i, box in enumerate(boxes):
        mask = clip_mask_to_box(np.ones((SIZE, SIZE), dtype=bool), box)
        instances.append(
            Instance(
                index=i,
                identity_id=f"id{i}",
                phrase=f"thing {i}",
                noun="thing",
                box=box,
                mask=mask_to_rle(mask),
                area=mask_area(mask),
                grounding=Detection(score=grounding[i], model="double"),
                scores=InstanceScores.model_validate({k: v[i] for k, v in scores.items()}),
            )
        )
    scene = Scene(
        id="basic-00000000",
        subset="basic",
        width=SIZE,
        height=SIZE,
        source=Source(kind="file", path="a"),
        seed=0,
    )
    sample = Sample(scene, {"target.jpg": b""})
    set_instances(sample, instances, layer_order=list(reversed(range(len(boxes)))))
    return sample


def run(sample: Sample, **config: object) -> list[str]:
    """Filter one sample; the identities that stay."""
    stage = FilterStage(
        FilterConfig.model_validate(config), BuildContext(recipe_seed=0, subset="basic")
    )
    (same,) = stage([sample])
    assert same is sample
    assert Scene.model_validate(sample.scene.model_dump()) == sample.scene
    return [one.identity_id for one in sample.scene.instances]
