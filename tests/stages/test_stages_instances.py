import numpy as np
import pytest
from support.tabletop_samples import tabletop_sample

from imig.sample import Sample, png_to_mask
from imig.schema import Scene, scene_from_json, scene_to_json
from imig.stages.instances import keep_instances


def crowded_sample() -> Sample:
    """Tabletop's truth for a scene in which some boxes overlap."""
    for seed in range(50):
        sample = tabletop_sample(seed, instances=(6, 6))
        if len(sample.scene.instances) >= 5 and len(sample.scene.relations) >= 2:
            return sample
    raise AssertionError("no crowded scene among fifty seeds")


@pytest.mark.parametrize("kept", [[0, 2, 4], [4, 1], [3], [], [0, 1, 2, 3, 4]])
def test_what_stays_is_consistent(kept: list[int]) -> None:
    sample, before = crowded_sample(), crowded_sample()
    for instance in sample.scene.instances:
        instance.scores.identity_similarity = [
            instance.index * 0.1 + 0.01 * i for i in range(len(sample.scene.instances))
        ]
    keep_instances(sample, kept)
    scene = sample.scene
    assert Scene.model_validate(scene.model_dump()) == scene
    assert scene_from_json(scene_to_json(scene)) == scene
    old = [before.scene.instances[i] for i in sorted(kept)]
    assert [one.identity_id for one in scene.instances] == [one.identity_id for one in old]
    names = [one.references[0].name for one in scene.instances]
    assert names == [f"ref{i:02d}" for i in range(len(kept))]
    assert set(sample.files) == {"target.jpg"} | {
        f"{name}.{end}" for name in names for end in ("jpg", "mask.png")
    }
    for one, was in zip(scene.instances, old, strict=True):
        reference, old_reference = one.references[0], was.references[0]
        assert sample.files[reference.image] == before.files[old_reference.image]
        assert reference.mask is not None
        mask = png_to_mask(sample.files[reference.mask])
        assert mask.shape == (reference.height, reference.width)
        assert one.scores.identity_similarity == [was.index * 0.1 + 0.01 * i for i in sorted(kept)]
    # Whoever was in front of another still is, and layers are the places in the order.
    layers = np.array([one.layer for one in old], int)
    assert [scene.layer_order.index(i) for i in range(len(kept))] == list(
        np.argsort(np.argsort(layers))
    )
    assert [one.layer for one in scene.instances] == [
        scene.layer_order.index(i) for i in range(len(kept))
    ]


def test_relations_follow_their_instances() -> None:
    sample = crowded_sample()
    relation = sample.scene.relations[0]
    pair = sorted((relation.subject, relation.object))
    keep_instances(sample, pair)
    assert [(one.kind, one.iou) for one in sample.scene.relations] == [
        (relation.kind, relation.iou)
    ]
