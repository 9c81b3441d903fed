"""Small whole datasets of any subset, with rejects and quarantine, to derive others from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imig.output.seal import seal
from imig.output.writing import Contents, write_shards
from imig.packed import Packed
from imig.recipe.identity import stored_recipe_to_sha256
from imig.sample import Sample
from imig.schema import Counts, Manifest, Quarantine, Reject, Source, Subject, Subset
from support.extra_views import add_disc
from support.tiny_dataset import make_sample

FILTER = {"min_instances": 2, "min_box_area": 0.01, "dino": 0.5}
REJECTS = [Reject(id="basic-90000000", stage="ground", reason="too few boxes", figures={"n": 1})]
QUARANTINED = [Quarantine(id="basic-90000001", stage="crop", error="E: x", traceback="t")]


def make_scene(number: int, *, subset: Subset = "basic", things: int = 3) -> Sample:
    """A scene of a subset that `imig validate` accepts, from a source of its own.

    The views of its instances have the DINO similarities 0.9, 0.8 and 0.7.
    """
    sample = make_sample(number, subset=subset, things=things)
    sample.scene.source = Source(
        kind="file",
        path=f"{subset}/{number}.jpg",
        sha256=hashlib.sha256(f"{subset} {number}".encode()).hexdigest(),
    )
    kinds = {"basic": None, "complex": "edit", "flexible": "source"}
    if subset == "flexible":
        sample.scene.subjects = [
            Subject(phrase=one.phrase, noun=one.noun, prompt=one.phrase)
            for one in sample.scene.instances
        ]
    for instance in sample.scene.instances:
        if subset == "flexible":
            instance.subject = instance.index
        kind = kinds[subset]
        if kind is not None:
            add_disc(sample, instance, name=f"ref{instance.index + 10:02d}", kind=kind)
        for view in instance.references:
            view.similarity.dino = round(0.9 - instance.index / 10, 1)
    # All different, and far apart.
    digest = hashlib.sha256(f"hash {subset} {number}".encode()).hexdigest()
    sample.scene.scores.perceptual_hash = digest[:16]
    return sample


def write_dataset(
    folder: Path,
    samples: Sequence[Sample],
    *,
    per_shard: int = 3,
    recipe: dict[str, Any] | None = None,
    rejects: Sequence[Reject] = REJECTS,
    quarantined: Sequence[Quarantine] = QUARANTINED,
    **fields: Any,
) -> Path:
    """Write samples as a finished dataset; returns the folder."""
    contents = Contents(rejects=Packed(rejects), quarantined=Packed(quarantined))
    for subset in sorted({one.scene.subset for one in samples}):
        of_subset = [one for one in samples if one.scene.subset == subset]
        write_shards(folder, of_subset, contents, subset=subset, scenes_per_shard=per_shard)
    recipe = {"name": "small", "filter": FILTER} if recipe is None else recipe
    manifest = Manifest.model_validate(
        {
            "name": "small",
            "recipe": recipe,
            "recipe_sha256": stored_recipe_to_sha256(recipe),
            "models": [],
            "packages": {},
            "counts": Counts(input=0, written=0, rejected=0, quarantined=0),
            "shards": [],
            **fields,
        }
    )
    seal(folder, manifest, contents, funnel=[], seconds=0.0)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the reports, which hold times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("report.")
    }
