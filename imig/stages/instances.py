"""Keep a scene's instances, layers, relations, references and files consistent."""

from __future__ import annotations

from collections.abc import Sequence

from imig.layout.boxes import parents, relations
from imig.sample import Sample
from imig.schema import Instance, Reference, Scene


def set_instances(
    sample: Sample, instances: Sequence[Instance], *, layer_order: Sequence[int]
) -> None:
    """Give the scene these instances, numbered in this order, layered in `layer_order`.

    Parents and relations follow from the boxes. `layer_order` (farthest first) may be empty: not
    known yet.
    """
    boxes = [instance.box for instance in instances]
    for index, (instance, parent) in enumerate(zip(instances, parents(boxes), strict=True)):
        instance.index = index
        instance.parent = parent
        instance.layer = layer_order.index(index) if layer_order else None
    # A scene validates as a whole: fields assigned one by one would not agree in between.
    sample.scene = Scene.model_validate(
        {
            **dict(sample.scene),
            "instances": list(instances),
            "layer_order": list(layer_order),
            "relations": relations(boxes),
        }
    )


def keep_instances(sample: Sample, indices: Sequence[int]) -> None:
    """Keep only these instances, in their old order, and number everything anew.

    Layers close up; parents and relations are found again among those that stay; references are
    renamed ``ref00``, ``ref01``, ... and their files with them; the files of the others go.
    """
    scene = sample.scene
    kept = sorted(set(indices))
    new_index = {old: new for new, old in enumerate(kept)}
    instances = [scene.instances[old] for old in kept]
    for instance in instances:
        similarity = instance.scores.identity_similarity
        if similarity is not None:
            instance.scores.identity_similarity = [similarity[old] for old in kept]
    old_members = {
        member
        for instance in scene.instances
        for reference in instance.references
        for member in reference_members(reference)
    }
    files = {name: data for name, data in sample.files.items() if name not in old_members}
    numbers = {"ref": 0, "face": 0}
    for instance in instances:
        for reference in instance.references:
            prefix = reference.name.rstrip("0123456789")
            _rename(reference, f"{prefix}{numbers[prefix]:02d}", old=sample.files, new=files)
            numbers[prefix] += 1
    sample.files = files
    order = [new_index[old] for old in scene.layer_order if old in new_index]
    set_instances(sample, instances, layer_order=order)


def reference_members(reference: Reference) -> list[str]:
    """The members that hold a reference: its picture, and its mask where it has one."""
    return [name for name in (reference.image, reference.mask) if name is not None]


def _rename(
    reference: Reference, name: str, *, old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    """Rename a reference; its bytes move from `old` to `new` under the new member names."""
    before = len(reference.name)
    image = name + reference.image[before:]
    new[image] = old[reference.image]
    reference.image = image
    if reference.mask is not None:
        mask = name + reference.mask[before:]
        new[mask] = old[reference.mask]
        reference.mask = mask
    reference.name = name
