"""Datasets for the parts that measure files: tabletop's scenes with their truth, under many ids.

Drawing is what takes long, so a few scenes are drawn and written again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from imig.layout.boxes import parents, relations
from imig.layout.masks import mask_area, mask_to_rle
from imig.output.seal import seal
from imig.output.writing import Contents, write_shards
from imig.recipe.identity import stored_recipe_to_sha256
from imig.sample import Sample, derive_seed, image_to_jpeg
from imig.schema import Counts, Detection, Instance, Manifest, Scene, SceneScores, Source
from imig.stages.base import BuildContext
from imig.stages.crop import CropConfig, CropStage
from imig.tabletop import render_scene, sample_scene

TRUTH = Detection(score=1.0, model="tabletop:truth")


def draw_samples(count: int, *, size: int, instances: tuple[int, int] = (2, 6)) -> list[Sample]:
    """Square scenes with their true boxes and masks, and a crop of every instance.

    As a build stores them: JPEG at quality 95 without chroma subsampling, masks as 1-bit PNG.
    """
    samples = [_draw(seed, size=size, instances=instances) for seed in range(count)]
    stage = CropStage(CropConfig(), BuildContext(recipe_seed=0, subset="basic"))
    return [one for one in stage(samples) if one.reject is None]


def with_new_ids(samples: Iterable[Sample], count: int) -> Iterator[Sample]:
    """`count` samples: the given ones again and again, numbered anew."""
    for number, sample in enumerate(islice(cycle(samples), count)):
        scene = sample.scene.model_copy(update={"id": f"basic-{number:08d}"})
        yield Sample(scene, sample.files)


def write_dataset(folder: Path, samples: Iterable[Sample], *, scenes_per_shard: int) -> Path:
    """A finished dataset of samples of the subset `basic`; returns the folder."""
    contents = Contents()
    write_shards(folder, samples, contents, subset="basic", scenes_per_shard=scenes_per_shard)
    recipe = {"name": "benchmark"}
    manifest = Manifest(
        name="benchmark",
        recipe=recipe,
        recipe_sha256=stored_recipe_to_sha256(recipe),
        models=[],
        packages={},
        counts=Counts(input=0, written=0, rejected=0, quarantined=0),
        shards=[],
    )
    seal(folder, manifest, contents, funnel=[], seconds=0.0)
    return folder


@contextmanager
def dataset_of(count: int, *, drawn: int, size: int) -> Iterator[Path]:
    """A dataset of two shards while the block runs: `count` scenes, of which `drawn` differ."""
    samples = draw_samples(drawn, size=size)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shards"
        scenes_per_shard = -(-count // 2)
        yield write_dataset(folder, with_new_ids(samples, count), scenes_per_shard=scenes_per_shard)


def _draw(seed: int, *, size: int, instances: tuple[int, int]) -> Sample:
    rendered = render_scene(sample_scene(seed, width=size, height=size, instances=instances))
    boxes = [one.box for one in rendered.instances]
    owners = parents(boxes)
    found = [
        Instance(
            index=index,
            identity_id=f"{seed}-{index}",
            phrase=truth.phrase,
            noun=truth.noun,
            box=truth.box,
            mask=mask_to_rle(truth.mask),
            area=mask_area(truth.mask),
            layer=truth.layer,
            occluded_fraction=truth.occluded_fraction,
            parent=owners[index],
            grounding=TRUTH,
            segmentation=TRUTH,
        )
        for index, truth in enumerate(rendered.instances)
    ]
    scene = Scene(
        id=f"basic-{seed:08d}",
        subset="basic",
        style=rendered.style,
        caption=rendered.caption,
        nouns=[one.phrase for one in found],
        width=size,
        height=size,
        source=Source(kind="tabletop", seed=seed),
        seed=derive_seed("benchmark", seed),
        layer_order=sorted(range(len(found)), key=lambda i: rendered.instances[i].layer),
        relations=relations(boxes),
        scores=SceneScores(caption_similarity=0.3),
        instances=found,
    )
    return Sample(scene, {"target.jpg": image_to_jpeg(Image.fromarray(rendered.image))})
