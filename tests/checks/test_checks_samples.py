"""Every kind of fault inside a sample: planted in a good dataset, found on that sample, alone."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from support.tiny_dataset import SIZE, make_samples, seal, write_tiny_dataset

from imig.checks.dataset import validate_dataset
from imig.layout.masks import mask_to_rle, rle_to_mask
from imig.sample import image_to_jpeg, mask_to_png
from imig.schema import MaskRLE, scene_from_json
from imig.shards.writer import sample_to_members, write_members

SICK = "basic-00000001"


@dataclass
class Draft:
    """The sick sample while it is spoiled: its JSON as plain values, its other members."""

    scene: dict[str, Any]
    files: dict[str, bytes]

    def instance(self, index: int = 0) -> Any:
        return self.scene["instances"][index]

    def reference(self) -> Any:
        return self.instance()["references"][0]

    def set_mask(self, mask: np.ndarray) -> None:
        self.instance()["mask"] = mask_to_rle(mask).model_dump()
        self.instance()["area"] = max(int(mask.sum()), 1)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def missing_member(draft: Draft) -> None:
    del draft.files["ref01.mask.png"]


def unexpected_member(draft: Draft) -> None:
    draft.files["extra.txt"] = b"?"


def schema_violation(draft: Draft) -> None:
    draft.scene["instances"][0]["colour"] = "red"


def id_mismatch(draft: Draft) -> None:
    draft.scene["id"] = "basic-99999999"


def missing_identity(draft: Draft) -> None:
    draft.instance()["identity_id"] = " "


def layer_order(draft: Draft) -> None:
    draft.scene["layer_order"].reverse()


def relation(draft: Draft) -> None:
    draft.scene["relations"][0]["iou"] += 0.1


def relation_contains(draft: Draft) -> None:
    draft.scene["relations"][0]["kind"] = "contains"


def parent(draft: Draft) -> None:
    draft.instance(0)["parent"] = 1


def score_range(draft: Draft) -> None:
    draft.reference()["similarity"]["dino"] = 1.5


def score_not_finite(draft: Draft) -> None:
    draft.scene["scores"]["caption_similarity"] = "NaN"


def undecodable_target(draft: Draft) -> None:
    draft.files["target.jpg"] = draft.files["target.jpg"][:-800]


def undecodable_reference_mask(draft: Draft) -> None:
    draft.files["ref00.mask.png"] = draft.files["ref00.mask.png"][:60]


def image_size(draft: Draft) -> None:
    draft.files["target.jpg"] = image_to_jpeg(Image.new("RGB", (SIZE[0], SIZE[1] - 1)))


def reference_size(draft: Draft) -> None:
    draft.reference()["width"] += 1
    draft.files["ref00.mask.png"] = mask_to_png(
        np.pad(np.asarray(Image.open(io.BytesIO(draft.files["ref00.mask.png"]))), ((0, 0), (0, 1)))
    )


def image_format(draft: Draft) -> None:
    draft.files["target.jpg"] = png(Image.new("RGB", SIZE))


def image_mode(draft: Draft) -> None:
    draft.files["face00.png"] = png(Image.new("RGB", (32, 32)))


def mask_mode(draft: Draft) -> None:
    mask = Image.open(io.BytesIO(draft.files["ref00.mask.png"])).convert("L")
    draft.files["ref00.mask.png"] = png(mask)


def box_outside_image(draft: Draft) -> None:
    draft.instance(2)["box"][2] = SIZE[0] + 1


def crop_box_outside_image(draft: Draft) -> None:
    draft.reference()["crop_box"][3] = SIZE[1] + 1


def undecodable_mask(draft: Draft) -> None:
    draft.instance()["mask"]["counts"] = draft.instance()["mask"]["counts"][:-4]


def bomb_mask(draft: Draft) -> None:
    draft.instance()["mask"]["counts"] = "oooooo0" * 9


def mask_size(draft: Draft) -> None:
    draft.set_mask(np.ones((SIZE[1], SIZE[0] + 1), dtype=bool))


def empty_mask(draft: Draft) -> None:
    draft.set_mask(np.zeros((SIZE[1], SIZE[0]), dtype=bool))


def empty_reference_mask(draft: Draft) -> None:
    size = draft.reference()["height"], draft.reference()["width"]
    draft.files["ref00.mask.png"] = mask_to_png(np.zeros(size, dtype=bool))


def mask_outside_box(draft: Draft) -> None:
    mask = rle_to_mask(MaskRLE(**draft.instance()["mask"]))
    mask[-1, -1] = True
    draft.set_mask(mask)


def mask_area(draft: Draft) -> None:
    draft.instance()["area"] += 1


def subject_box(draft: Draft) -> None:
    draft.reference()["subject_box"][0] += 3


def subject_box_much_too_large(draft: Draft) -> None:
    size = draft.reference()["height"], draft.reference()["width"]
    mask = np.zeros(size, dtype=bool)
    mask[20:24, 20:24] = True
    draft.files["ref00.mask.png"] = mask_to_png(mask)


def subject_box_of_a_face(draft: Draft) -> None:
    draft.instance()["references"][1]["subject_box"] = [4, 4, 20, 28]


PLANTED: list[tuple[str, Callable[[Draft], None]]] = [
    ("missing-member", missing_member),
    ("unexpected-member", unexpected_member),
    ("schema-violation", schema_violation),
    ("id-mismatch", id_mismatch),
    ("missing-identity", missing_identity),
    ("layer-order", layer_order),
    ("relation", relation),
    ("relation", relation_contains),
    ("parent", parent),
    ("score-range", score_range),
    ("schema-violation", score_not_finite),
    ("undecodable-image", undecodable_target),
    ("undecodable-image", undecodable_reference_mask),
    ("image-size", image_size),
    ("image-size", reference_size),
    ("image-format", image_format),
    ("image-format", image_mode),
    ("image-format", mask_mode),
    ("box-outside-image", box_outside_image),
    ("box-outside-image", crop_box_outside_image),
    ("undecodable-mask", undecodable_mask),
    ("undecodable-mask", bomb_mask),
    ("mask-size", mask_size),
    ("empty-mask", empty_mask),
    ("empty-mask", empty_reference_mask),
    ("mask-outside-box", mask_outside_box),
    ("mask-area", mask_area),
    ("subject-box", subject_box),
    ("subject-box", subject_box_much_too_large),
    ("subject-box", subject_box_of_a_face),
]


def faults_found(folder: Path) -> set[tuple[str, str | None]]:
    return {(fault.kind, fault.sample) for fault in validate_dataset(folder).faults}


def write_spoiled(folder: Path, spoil: Callable[[list[tuple[str, bytes]]], None]) -> None:
    """Three samples, the members of the second spoiled; index and manifest fit the new bytes."""
    samples = make_samples(3)
    members = [sample_to_members(sample) for sample in samples]
    spoil(members[1])
    with suppress(KeyError, ValidationError):
        # The index repeats what the JSON says, right or wrong.
        spoiled = scene_from_json(dict(members[1])[f"{SICK}.json"])
        samples[1].scene = spoiled.model_copy(update={"id": SICK})
    spans = {"basic-000000.tar": write_members(folder / "basic-000000.tar", members)}
    seal(folder, {"basic-000000.tar": samples}, spans)


@pytest.mark.parametrize(("kind", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_a_planted_fault_is_found_and_nothing_else(
    tmp_path: Path, kind: str, plant: Callable[[Draft], None]
) -> None:
    def spoil(members: list[tuple[str, bytes]]) -> None:
        files = {name.partition(".")[2]: data for name, data in members}
        draft = Draft(scene=json.loads(files.pop("json")), files=files)
        plant(draft)
        files = {**draft.files, "json": json.dumps(draft.scene).encode()}
        members[:] = [(f"{SICK}.{name}", files[name]) for name in sorted(files)]

    write_spoiled(tmp_path, spoil)
    found = faults_found(tmp_path)
    if plant in (score_range, score_not_finite):
        # What the index repeats of the JSON is then wrong too.
        found = {fault for fault in found if not fault[0].startswith("index-")}
    assert found == {(kind, SICK)}


def bad_json(members: list[tuple[str, bytes]]) -> None:
    members[1] = (members[1][0], b'{"id": ')


def missing_json(members: list[tuple[str, bytes]]) -> None:
    assert members.pop(1)[0] == f"{SICK}.json"


def duplicate_member(members: list[tuple[str, bytes]]) -> None:
    members.append(members[-1])


def unsorted_members(members: list[tuple[str, bytes]]) -> None:
    members[0], members[1] = members[1], members[0]


def unsafe_parent(members: list[tuple[str, bytes]]) -> None:
    members.append((f"../{SICK}.txt", b""))


def unsafe_absolute(members: list[tuple[str, bytes]]) -> None:
    members.append((f"/etc/{SICK}.txt", b""))


def unsafe_sign(members: list[tuple[str, bytes]]) -> None:
    members.append((f"{SICK}.a b", b""))


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("bad-json", bad_json),
        ("missing-json", missing_json),
        ("duplicate-member", duplicate_member),
        ("unsorted-members", unsorted_members),
        ("unsafe-name", unsafe_parent),
        ("unsafe-name", unsafe_absolute),
        ("unsafe-name", unsafe_sign),
    ],
)
def test_spoiled_members_are_found(
    tmp_path: Path, kind: str, spoil: Callable[[list[tuple[str, bytes]]], None]
) -> None:
    write_spoiled(tmp_path, spoil)
    found = faults_found(tmp_path)
    samples = {sample for _, sample in found}
    # The index gives the place of the whole sample, odd members included.
    assert {name for name, _ in found} - {"index-offset"} == {kind}
    assert all(sample is not None and sample.endswith(SICK) for sample in samples)


def test_a_good_dataset_has_no_fault(tmp_path: Path) -> None:
    report = validate_dataset(write_tiny_dataset(tmp_path / "shards"), workers=2)
    assert report.faults == []
    assert (report.shards, report.samples) == (2, 6)
    assert report.images == sum(len(one.files) for one in make_samples(6))
