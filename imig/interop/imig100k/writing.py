"""`imig export imig100k`: samples become entries of the four lists, and their files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from imig.interop.format import Exporter, ExportFolder, Losses
from imig.interop.imig100k.files import (
    BASIC,
    COMPLEX,
    COMPOSITE,
    MULTICOMPOSITE,
    PROMPTS_NAME,
    SUBSETS,
    crop_place,
    target_name,
    view_names,
)
from imig.sample import image_to_jpeg, mask_to_png
from imig.schema import Box, Instance, Reference, ReferenceKind, Scene
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER
from imig.shards.views import SceneView

_NUMBERED: Final = re.compile(r"(?:.*-)?([0-9]{1,9})")
"""Ids that end with a number."""


class Imig100kExporter(Exporter):
    """Writes the four folders, also those that stay empty: the released trainer opens all four."""

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Any:
        """The scene's pictures; gives the name of its folder, and its entry in the list."""
        record = scene.record
        is_composed, chosen = _choose_views(record)
        _note_losses(record, scene.files.keys(), chosen, folder.losses, is_composed=is_composed)
        if not chosen:
            return None
        if not is_composed:
            name = COMPLEX if record.subset == "complex" else BASIC
        else:
            name = COMPOSITE if len(chosen) <= 2 else MULTICOMPOSITE
        own, _ = self._numbers[record.id]
        if is_composed and own in (COMPOSITE, MULTICOMPOSITE):
            name = own
        number = self._number(record.id, name)
        if record.id != f"{name}-{number:06d}":
            folder.losses.note("sample ids", f"{record.id}: {name} {number:06d}")
        folder.write(target_name(name, number), scene.files[record.target])
        views = _file_numbers(chosen)
        for view, one in zip(views, chosen, strict=True):
            for kind, reference in one.places(is_composed=is_composed):
                _write_view(scene, folder, view_names(name, number, view, kind), reference)
        make = _composed_entry if is_composed else _edited_entry
        entry = make(record, number=number, views=views, chosen=chosen)
        return [name, entry]

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """The lists, an entry a line; ASCII, since the released trainer asks for no encoding."""
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(folder.writing(f"{name}/{PROMPTS_NAME}"))
                for name in SUBSETS
            }
            separators = dict.fromkeys(SUBSETS, b"[\n")
            for name, entry in (row for row in rows if row is not None):
                files[name].write(separators[name] + json.dumps(entry).encode("ascii"))
                separators[name] = b",\n"
            for name, file in files.items():
                file.write(b"[]\n" if separators[name] == b"[\n" else b"\n]\n")

    def _number(self, sample_id: str, folder: str) -> int:
        """The number that a sample's id ends with, where that is no other's; else one beyond."""
        owner, number = self._numbers[sample_id]
        return number if owner in ("", folder) else self._beyond + self._positions[sample_id]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {sample_id: position for position, sample_id in enumerate(self.dataset.ids)}

    @cached_property
    def _stated(self) -> dict[str, tuple[str, int]]:
        """Sample id -> folder, where it names one, and number; those that have any."""
        stated = {}
        for sample_id in self.dataset.ids:
            folder, _, digits = sample_id.rpartition("-")
            if folder in SUBSETS and digits.isdigit() and f"{int(digits):06d}" == digits:
                stated[sample_id] = (folder, int(digits))
            elif ending := _NUMBERED.fullmatch(sample_id):
                stated[sample_id] = ("", int(ending[1]))
        return stated

    @cached_property
    def _beyond(self) -> int:
        return max((number for _, number in self._stated.values()), default=-1) + 1

    @cached_property
    def _numbers(self) -> dict[str, tuple[str, int]]:
        """Sample id -> number, and the only folder in which that is its own ("": in any)."""
        times = Counter(number for _, number in self._stated.values())
        numbers = {}
        for sample_id, position in self._positions.items():
            owner, number = self._stated.get(sample_id, ("", -1))
            if number < 0 or (not owner and times[number] > 1):
                owner, number = "", self._beyond + position
            numbers[sample_id] = (owner, number)
        return numbers


@dataclass(frozen=True)
class _Chosen:
    """An instance, and those of its views that have a place."""

    instance: Instance
    first: Reference | None
    """The crop, or what the target was composed of; None: only its face was found."""
    edit: Reference | None = None
    face: Reference | None = None

    def places(self, *, is_composed: bool) -> Iterator[tuple[ReferenceKind, Reference]]:
        """Which view is written as which kind."""
        if self.first is not None:
            yield ("source" if is_composed else "crop"), self.first
        if not is_composed:
            edit = self.edit or self.first
            assert edit is not None, "without a view an instance is not chosen"
            yield "edit", edit
        if self.face is not None:
            yield "face", self.face

    def names(self) -> set[str]:
        return {one.name for one in (self.first, self.edit, self.face) if one is not None}


def _choose_views(scene: Scene) -> tuple[bool, list[_Chosen]]:
    """Whether it goes among the composed targets, and its instances that can."""
    kinds = {view.kind for one in scene.instances for view in one.references}
    is_composed = scene.subset == "flexible" or not kinds & {"crop", "edit"}
    chosen = []
    for instance in scene.instances:
        if is_composed:
            source = _view(instance, "source")
            one = _Chosen(instance, source, face=_usable_face(instance, source))
        else:
            edit = _view(instance, "edit")
            one = _Chosen(instance, _view(instance, "crop", "source") or edit, edit=edit)
        if one.names():
            chosen.append(one)
    return is_composed, chosen


def _view(instance: Instance, *kinds: ReferenceKind) -> Reference | None:
    """The first view of the first of these kinds that there is."""
    found = (view for kind in kinds for view in instance.references if view.kind == kind)
    return next(found, None)


def _usable_face(instance: Instance, source: Reference | None) -> Reference | None:
    """The aligned face, where all that goes with one is known."""
    face = _view(instance, "face")
    if face is None or _aligned_box(face) is None or instance.face_box is None:
        return None
    return None if source is not None and source.face is None else face


def _aligned_box(face: Reference) -> Box | None:
    return None if face.face is None else face.face.aligned_box


def _file_numbers(chosen: Sequence[_Chosen]) -> list[int]:
    """Those of the views' names, as an import gives them, where they differ."""
    views = [one.first or one.face for one in chosen]
    numbers = [int(re.sub(r"\D", "", view.name)) for view in views if view is not None]
    return numbers if len(set(numbers)) == len(chosen) else list(range(len(chosen)))


def _edited_entry(
    scene: Scene, *, number: int, views: Sequence[int], chosen: Sequence[_Chosen]
) -> dict[str, Any]:
    return {
        "index": number,
        "prompt": scene.caption,
        "nouns": scene.nouns,
        "reference_images": [
            {"bbox": one.instance.box, "index": view, "phrase": one.instance.phrase}
            | (
                {}
                if one.edit is None or not _is_measured(one.edit)
                else {"valid_bbox": one.edit.subject_box}
            )
            for view, one in zip(views, chosen, strict=True)
        ],
    }


def _is_measured(edit: Reference) -> bool:
    """Whether a detector has found the subject in it again."""
    return edit.coverage is not None or edit.grounding is not None


def _composed_entry(
    scene: Scene, *, number: int, views: Sequence[int], chosen: Sequence[_Chosen]
) -> dict[str, Any]:
    instances = [one.instance for one in chosen]
    return {
        "index": number,
        "prompt": scene.caption,
        "instance": [one.phrase for one in instances],
        "instance_prompt": [
            one.phrase if one.subject is None else scene.subjects[one.subject].prompt
            for one in instances
        ],
        "bbox": [
            None
            if one.first is None
            else {"bbox": one.instance.box, "score": one.first.similarity.dino}
            for one in chosen
        ],
        "face_bbox": [_face_entry(one) for one in chosen],
        "indices": list(views),
    }


def _face_entry(one: _Chosen) -> dict[str, Any] | None:
    """The released trainer reads `ref` of every face whose subject has a `bbox`."""
    seen = None if one.first is None else one.first.face
    aligned = None if one.face is None else one.face.face
    known = seen or aligned
    if known is None or one.instance.face_box is None:
        return None
    return {
        "ref": None if seen is None else seen.box,
        "target": one.instance.face_box,
        "score": known.score,
        "aligned_face_bbox": None if aligned is None else aligned.aligned_box,
    }


def _write_view(
    scene: SceneView, folder: ExportFolder, names: tuple[str, str], reference: Reference
) -> None:
    picture_name, mask_name = names
    if reference.kind == "face" or reference.mask is not None:
        folder.write(picture_name, scene.files[reference.image])
        if reference.mask is not None:
            folder.write(mask_name, scene.files[reference.mask])
        return
    # A cut-out, which the released trainer would not ask for its transparency.
    views = (view for one in scene.instances for view in one.references)
    view = next(one for one in views if one.record.name == reference.name)
    assert view.mask is not None, "an RGBA picture has one"
    folder.write(picture_name, image_to_jpeg(view.image))
    folder.write(mask_name, mask_to_png(view.mask))
    folder.losses.note("cut-outs: written as JPEG and mask", f"{scene.record.id}: {picture_name}")


def _note_losses(
    scene: Scene,
    members: Collection[str],
    chosen: Sequence[_Chosen],
    losses: Losses,
    *,
    is_composed: bool,
) -> None:
    """What of a scene has no place, a kind once."""

    def note(kind: str, details: str = "") -> None:
        losses.note(kind, f"{scene.id}: {details or 'the scene'}")

    for name in (ENCODED_MEMBER, FEATURES_MEMBER):
        if name in members:
            note("what `imig encode` and the stage `score` have added", name)
    if not chosen:
        note("scenes without an instance that has a crop, an edit or a source")
        return
    if scene.width != scene.height:
        note(
            "targets that are not square, which the released trainer squeezes",
            f"{scene.width}x{scene.height}",
        )
    if is_composed and scene.subset != "flexible":
        note("subset: what has no crops goes among the composed targets", scene.subset)
    kept = {name for one in chosen for name in one.names()}
    left_out = [
        one.index for one in scene.instances if one not in [each.instance for each in chosen]
    ]
    if left_out:
        note("instances without a crop, an edit or a source", ", ".join(map(str, left_out)))
    views = [view for one in scene.instances for view in one.references]
    if lost := [view.name for view in views if view.name not in kept]:
        note("views beyond a crop and an edit, or a source and a face", ", ".join(lost))
    instances = [one.instance for one in chosen]
    if not is_composed and any(one.face_box for one in instances):
        note("faces in basic and complex scenes")
    if lost := _without_mask(scene, chosen, is_composed=is_composed):
        note("masks of instances", ", ".join(lost))
    if is_composed and scene.nouns:
        note("nouns of composed targets")
    seen = {one.subject for one in instances}
    if is_composed and any(number not in seen for number in range(len(scene.subjects))):
        note("subjects that were asked for and are not in the picture")
    if scene.layer_order:
        note("layers")
    if scene.style is not None:
        note("style", scene.style)
    if any(view.edit or view.drawing for view in views):
        note("how edits and sources were asked for")
    note("identities, scores, seeds and models")


def _without_mask(scene: Scene, chosen: Sequence[_Chosen], *, is_composed: bool) -> list[str]:
    """Instances whose own mask does not follow from their crop's."""
    size = (scene.width, scene.height)
    return [
        str(one.instance.index)
        for one in chosen
        if one.instance.mask is not None
        and (
            is_composed
            or one.first is None
            or one.first.crop_box is None
            or crop_place(one.instance.box, one.first, size=size) != one.first.crop_box
        )
    ]
