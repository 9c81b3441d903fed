"""Check one sample: its JSON, and every member that the JSON names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pydantic import ValidationError

from imig.checks.encoded import check_encoded
from imig.checks.json_keys import KIND as DOUBLED_KEY
from imig.checks.json_keys import doubled_keys
from imig.checks.pictures import (
    Findings,
    check_box,
    check_image,
    check_instance_mask,
    check_subject,
)
from imig.checks.subset import check_subset
from imig.errors import DataError
from imig.layout.boxes import iou
from imig.layout.run_lengths import MaskExtent
from imig.schema import (
    INSTANCE_FIGURES,
    SCENE_FIGURES,
    Instance,
    MaskRLE,
    Reference,
    Scene,
    scene_from_json,
)
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER, features_from_bytes
from imig.shards.writer import JSON_MEMBER, named_members

OPTIONAL_MEMBERS = frozenset({ENCODED_MEMBER, FEATURES_MEMBER})
"""Members that the JSON need not name."""

_OPAQUE = [255 * (value > 127) for value in range(256)]

IOU_TOLERANCE = 0.01
"""Relations store rounded figures."""


def read_scene(findings: Findings, names: Collection[str], data: bytes | None) -> Scene | None:
    """The scene of a sample with these members, if its JSON can be read."""
    if data is None:
        findings.add("missing-json", f"only {', '.join(sorted(names))}")
        return None
    try:
        scene = scene_from_json(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        kind = "bad-json" if details[0]["type"] == "json_invalid" else "schema-violation"
        places = [
            f"{'.'.join(str(part) for part in one['loc']) or 'scene'}: {one['msg']}"
            for one in details[:3]
        ]
        findings.add(kind, "; ".join(places))
        return None
    if keys := doubled_keys(data):
        findings.add(DOUBLED_KEY, f"{', '.join(map(repr, keys))} more than once")
    return scene


def instance_masks(scene: Scene) -> list[MaskRLE]:
    """The masks of the instances that have one, in their order."""
    return [one.mask for one in scene.instances if one.mask is not None]


def check_scene(
    findings: Findings,
    scene: Scene,
    files: Mapping[str, bytes],
    extents: Iterator[MaskExtent | None],
) -> None:
    """Collect what is wrong with a sample whose JSON could be read.

    `extents` are those of `instance_masks`; what comes behind them is left for other scenes.
    """
    if scene.id != findings.sample:
        findings.add("id-mismatch", f"the JSON says {scene.id}")
    _check_member_names(findings, scene, files)
    size = (scene.width, scene.height)
    if scene.target in files:
        check_image(findings, scene.target, files[scene.target], size=size, mode="RGB", kind="JPEG")
    for instance in scene.instances:
        _check_instance(findings, instance, extents, size=size)
        for reference in instance.references:
            _check_reference(findings, reference, files, target_size=size)
    _check_structure(findings, scene)
    check_subset(findings, scene)
    _check_scores(findings, scene)
    if ENCODED_MEMBER in files:
        check_encoded(findings, scene, files[ENCODED_MEMBER])
    if FEATURES_MEMBER in files:
        check_features(findings, files[FEATURES_MEMBER])


def check_features(findings: Findings, data: bytes) -> None:
    """Type, shape and norm; which picture the feature is of cannot be seen without the model."""
    try:
        features_from_bytes(data, place=findings.sample)
    except DataError as error:
        findings.add("bad-features", error.message.removeprefix(f"{findings.sample}: "))


def _check_member_names(findings: Findings, scene: Scene, files: Mapping[str, bytes]) -> None:
    named = named_members(scene)
    for name in sorted(named - files.keys()):
        findings.add("missing-member", f"{name} is not in the shard")
    for name in sorted(files.keys() - named - {JSON_MEMBER} - OPTIONAL_MEMBERS):
        findings.add("unexpected-member", f"{name} is not named in the JSON")


def _check_instance(
    findings: Findings,
    instance: Instance,
    extents: Iterator[MaskExtent | None],
    *,
    size: tuple[int, int],
) -> None:
    """`extents` has one for every instance with a mask."""
    what = f"instance {instance.index} ({instance.phrase})"
    width, height = size
    if not instance.identity_id.strip():
        findings.add("missing-identity", f"{what} has an empty identity id")
    check_box(findings, f"{what}: box", instance.box, width=width, height=height)
    check_box(findings, f"{what}: face box", instance.face_box, width=width, height=height)
    if instance.mask is not None:
        check_instance_mask(
            findings,
            what,
            instance.mask,
            next(extents),
            size=size,
            box=instance.box,
            area=instance.area,
        )


def _check_reference(
    findings: Findings,
    reference: Reference,
    files: Mapping[str, bytes],
    *,
    target_size: tuple[int, int],
) -> None:
    what = reference.name
    size = width, height = reference.width, reference.height
    check_box(findings, f"{what}: subject box", reference.subject_box, width=width, height=height)
    check_box(
        findings,
        f"{what}: crop box",
        reference.crop_box,
        width=target_size[0],
        height=target_size[1],
    )
    if reference.face is not None:
        check_box(findings, f"{what}: face box", reference.face.box, width=width, height=height)
    transparent = reference.mask is None
    if reference.image in files:
        image = check_image(
            findings,
            reference.image,
            files[reference.image],
            size=size,
            mode="RGBA" if transparent else "RGB",
            kind="PNG" if transparent else "JPEG",
        )
        if transparent and image is not None:
            alpha = image.getchannel("A").point(_OPAQUE, "1")
            check_subject(findings, what, alpha, subject_box=reference.subject_box)
    if reference.mask is not None and reference.mask in files:
        mask = check_image(
            findings, reference.mask, files[reference.mask], size=size, mode="1", kind="PNG"
        )
        if mask is not None:
            check_subject(findings, what, mask, subject_box=reference.subject_box)


def _check_structure(findings: Findings, scene: Scene) -> None:
    """What the schema cannot see: instances, layers, parents and relations among each other."""
    instances = scene.instances
    boxes = [one.box for one in instances]
    layers = [layer for i in scene.layer_order if (layer := instances[i].layer) is not None]
    if layers != sorted(layers):
        findings.add("layer-order", f"layer_order {scene.layer_order} gives the layers {layers}")
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    for one in instances:
        # Strictly larger parents (equal boxes: the earlier one) also exclude circles.
        if one.parent is not None and (areas[one.parent], -one.parent) <= (
            areas[one.index],
            -one.index,
        ):
            findings.add("parent", f"instance {one.index} is not smaller than its parent")
    overlaps = iou(boxes, boxes) if scene.relations else None
    for relation in scene.relations:
        assert overlaps is not None
        pair = f"{relation.subject} {relation.kind} {relation.object}"
        true_iou = float(overlaps[relation.subject, relation.object])
        if abs(relation.iou - true_iou) > IOU_TOLERANCE:
            findings.add("relation", f"{pair}: IoU {relation.iou}, but the boxes have {true_iou}")
        elif relation.kind == "contains" and instances[relation.object].parent != relation.subject:
            findings.add("relation", f"{pair}, but the latter's parent is another or none")


def _check_scores(findings: Findings, scene: Scene) -> None:
    """Cosines, and what else has a largest magnitude."""
    figures = [(one.name, one.of(scene.scores), one.magnitude) for one in SCENE_FIGURES]
    for each in scene.instances:
        figures += [
            (f"instance {each.index} {one.name}", one.of(each.scores), one.magnitude)
            for one in INSTANCE_FIGURES
        ]
        for reference in each.references:
            for name, value in reference.similarity:
                figures.append((f"{reference.name} {name} similarity", value, 1))
    for name, value, limit in figures:
        # float32 cosines of a vector with itself come out a little above 1.
        if value is not None and limit is not None and abs(value) > limit + 1e-3:
            findings.add("score-range", f"{name} is {value}")
