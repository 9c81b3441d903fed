"""One sample checked as `imig validate` checks those of a shard."""

from collections.abc import Mapping

from imig.checks.pictures import Findings
from imig.checks.sample import check_scene, instance_masks, read_scene
from imig.layout.run_lengths import mask_extents
from imig.schema import Scene
from imig.shards.writer import JSON_MEMBER


def check_sample(findings: Findings, files: Mapping[str, bytes]) -> Scene | None:
    """Collect what is wrong with a sample; its scene if the JSON can be read."""
    scene = read_scene(findings, files.keys(), files.get(JSON_MEMBER))
    if scene is not None:
        check_scene(findings, scene, files, iter(mask_extents(instance_masks(scene))))
    return scene
