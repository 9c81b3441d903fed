"""A small good dataset: real JPEGs, masks and references, written by imig's own writer.

The pictures are plain (ellipses on a gradient); what matters is that everything in the dataset is
true and agrees.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imig.layout.boxes import relations
from imig.layout.masks import mask_to_box, mask_to_rle
from imig.sample import Sample, derive_seed, image_to_jpeg, mask_to_png
from imig.schema import (
    Box,
    Counts,
    Detection,
    Edit,
    Face,
    Instance,
    InstanceScores,
    Manifest,
    ModelRecord,
    Reference,
    Scene,
    SceneScores,
    Similarity,
    Source,
    Subset,
)
from imig.shards.index import INDEX_NAME, scene_to_row, write_index
from imig.shards.manifest import (
    MANIFEST_NAME,
    file_sha256,
    package_versions,
    shard_record,
    write_manifest,
)
from imig.shards.writer import SampleSpan, write_tar

SIZE = (96, 64)
"""(width, height) of every target."""
LATER_COLUMNS = [
    "preference", "watermark", "perceptual_hash", "min_dino_similarity", "instance_records",
]  # fmt: skip
"""Of the index; those of the first version are without them."""
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 160, 60)}


def make_sample(number: int, *, subset: Subset = "basic", things: int = 3) -> Sample:
    """A scene with that many ellipses; thing 1 overlaps thing 0 and lies over it."""
    width, height = SIZE
    sample_id = f"{subset}-{number:08d}"
    generator = np.random.default_rng(derive_seed("tiny dataset", sample_id))
    boxes = _boxes(generator)[:things]
    picture = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    owner = np.full((height, width), -1)
    for index, (box, fill) in enumerate(zip(boxes, COLOURS.values(), strict=False)):
        x1, y1, x2, y2 = box
        ImageDraw.Draw(picture).ellipse((x1, y1, x2 - 1, y2 - 1), fill=fill)
        drawn = Image.new("1", SIZE)
        ImageDraw.Draw(drawn).ellipse((x1, y1, x2 - 1, y2 - 1), fill=1)
        owner[np.asarray(drawn)] = index
    files = {"target.jpg": image_to_jpeg(picture)}
    instances = []
    for index, colour in enumerate(list(COLOURS)[: len(boxes)]):
        mask = owner == index
        references = [_crop(picture, mask, f"ref{index:02d}", files)]
        if index == 0:
            references.append(_face(picture, files))
        instances.append(
            Instance(
                index=index,
                identity_id=f"{sample_id}-{colour}",
                phrase=f"a {colour} ball",
                noun="ball",
                box=boxes[index],
                mask=mask_to_rle(mask),
                area=int(mask.sum()),
                layer=index,
                occluded_fraction=0.0,
                grounding=Detection(score=0.9 - index / 10, model="oracle:none@0"),
                segmentation=Detection(score=0.8, model="oracle:none@0"),
                scores=InstanceScores(phrase_similarity=0.3 + index / 10, phrase_margin=0.1),
                references=references,
            )
        )
    scene = Scene(
        id=sample_id,
        subset=subset,
        style="plain",
        caption=f"Balls: {', '.join(one.phrase for one in instances)}.",
        nouns=[one.phrase for one in instances],
        width=width,
        height=height,
        source=Source(kind="tabletop", seed=number),
        seed=derive_seed(7, sample_id),
        layer_order=list(range(len(boxes))),
        relations=relations(boxes),
        scores=SceneScores(
            caption_similarity=0.31, sharpness=0.02, coverage=float((owner >= 0).mean())
        ),
        instances=instances,
    )
    return Sample(scene=scene, files=files)


def make_samples(count: int = 6) -> list[Sample]:
    return [make_sample(number, things=2 + number % 2) for number in range(count)]


def write_tiny_dataset(folder: Path, scenes: int = 6, *, scenes_per_shard: int = 3) -> Path:
    """Write a good dataset of `scenes` samples; returns the folder."""
    shards = {
        f"basic-{number:06d}.tar": [sample for _, sample in group]
        for number, group in groupby(
            enumerate(make_samples(scenes)), key=lambda pair: pair[0] // scenes_per_shard
        )
    }
    spans = {name: write_tar(folder / name, samples) for name, samples in shards.items()}
    seal(folder, shards, spans)
    return folder


def write_named(folder: Path, nouns: Mapping[int, Sequence[str]]) -> Path:
    """Write a dataset of these scenes by their numbers, with these nouns for their instances."""
    samples = [make_sample(number, things=len(its)) for number, its in nouns.items()]
    for sample, its in zip(samples, nouns.values(), strict=True):
        for instance, noun in zip(sample.scene.instances, its, strict=True):
            instance.noun = noun
    folder.mkdir(parents=True)
    shard = "basic-000000.tar"
    seal(folder, {shard: samples}, {shard: write_tar(folder / shard, samples)})
    return folder


def seal(
    folder: Path,
    shards: Mapping[str, Sequence[Sample]],
    spans: Mapping[str, Sequence[SampleSpan]],
) -> None:
    """Write the index and the manifest that belong to shards already in the folder."""
    rows = [
        scene_to_row(sample.scene, shard=name, offset=span.offset, size=span.size)
        for name, samples in shards.items()
        for sample, span in zip(samples, spans[name], strict=True)
    ]
    write_index(folder / INDEX_NAME, rows)
    seal_manifest(folder, {name: len(samples) for name, samples in shards.items()})
    (folder / "README.md").write_text("# A tiny dataset for tests\n")


def seal_manifest(folder: Path, samples: dict[str, int]) -> None:
    """Write the manifest with the checksums that the shards have now."""
    written = sum(samples.values())
    write_manifest(
        folder / MANIFEST_NAME,
        Manifest(
            name="tiny",
            recipe={"name": "tiny"},
            recipe_sha256="0" * 64,
            models=[ModelRecord(family="oracle", weights="none", revision="0")],
            packages=package_versions(),
            counts=Counts(input=written, written=written, rejected=0, quarantined=0),
            shards=[shard_record(folder / name, samples=count) for name, count in samples.items()],
            index_sha256=file_sha256(folder / INDEX_NAME),
        ),
    )


def _boxes(generator: np.random.Generator) -> list[Box]:
    """Two that overlap and one apart, all inside `SIZE`."""
    x, y = (int(value) for value in generator.integers(2, 8, size=2))
    return [(x, y, x + 40, y + 36), (x + 28, y + 14, x + 52, y + 44), (66, 6, 90, 30)]


def _crop(picture: Image.Image, mask: np.ndarray, name: str, files: dict[str, bytes]) -> Reference:
    box = mask_to_box(mask)
    assert box is not None
    x1, y1, x2, y2 = box
    crop_box = (max(0, x1 - 2), max(0, y1 - 2), min(SIZE[0], x2 + 2), min(SIZE[1], y2 + 2))
    left, top, right, bottom = crop_box
    files[f"{name}.jpg"] = image_to_jpeg(picture.crop(crop_box))
    files[f"{name}.mask.png"] = mask_to_png(mask[top:bottom, left:right])
    return Reference(
        name=name,
        kind="crop",
        image=f"{name}.jpg",
        mask=f"{name}.mask.png",
        width=right - left,
        height=bottom - top,
        subject_box=(x1 - left, y1 - top, x2 - left, y2 - top),
        crop_box=crop_box,
        similarity=Similarity(dino=0.9, clip=0.8),
    )


def _face(picture: Image.Image, files: dict[str, bytes]) -> Reference:
    """An RGBA reference, as aligned faces are stored."""
    face = picture.resize((32, 32))
    alpha = Image.new("L", (32, 32))
    ImageDraw.Draw(alpha).ellipse((4, 4, 27, 27), fill=255)
    face.putalpha(alpha)
    buffer = io.BytesIO()
    face.save(buffer, "PNG")
    files["face00.png"] = buffer.getvalue()
    return Reference(
        name="face00",
        kind="face",
        image="face00.png",
        mask=None,
        width=32,
        height=32,
        subject_box=(4, 4, 28, 28),
        edit=Edit(instruction="align the face", model="oracle:none@0", seed=0),
        face=Face(box=(4, 4, 28, 28), aligned_box=(2, 2, 30, 30), quality=0.9, score=0.7),
    )


if __name__ == "__main__":  # for tests/other_side, which have no imig to import
    write_tiny_dataset(Path(sys.argv[1]), scenes=int(sys.argv[2]))
