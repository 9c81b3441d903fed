"""`imig import imig100k`: entries of the four lists become samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import ValidationError

from imig.errors import DataError, UsageError
from imig.interop.format import Importer, ImportSettings, Losses
from imig.interop.imig100k.files import (
    COMPLEX,
    MAX_NUMBER,
    MAX_VIEWS,
    PROMPTS_NAME,
    SUBSETS,
    ComposedEntry,
    EditedEntry,
    EditedView,
    FoundBox,
    FoundFace,
    crop_place,
    target_name,
    view_names,
)
from imig.interop.json_list import each_element, read_element
from imig.interop.passing import Passed, pass_cut_out, pass_jpeg, pass_mask
from imig.layout.masks import mask_to_rle
from imig.pictures import PictureError
from imig.regular_file import read_regular_file
from imig.sample import Sample, derive_seed
from imig.schema import (
    Box,
    Face,
    Instance,
    Reference,
    ReferenceKind,
    Scene,
    Similarity,
    Source,
    Subject,
    Subset,
    first_problem,
)
from imig.shards.manifest import file_sha256
from imig.stages.instances import set_instances
from imig.stages.nouns import head_noun

_MIN_SUBJECT_IOU: Final = 0.25
"""Of a detector's box and the mask within, below which `imig validate` does not believe them."""

_Place = tuple[str, int, int, int, Subset]
"""Of an entry: its folder, offset and size in the file, its place in the list; what it becomes.
A plain tuple, since a hundred thousand of them go to every worker process."""

EntryT = TypeVar("EntryT", EditedEntry, ComposedEntry)


class Imig100kImporter(Importer[ImportSettings]):
    """Reads the folders that there are, at least one of the four.

    What a sample lacks or has broken is collected, all of it, and the sample is quarantined.
    """

    settings_type = ImportSettings

    def __init__(self, source: Path, settings: ImportSettings) -> None:
        super().__init__(source, settings)
        folders = [name for name in SUBSETS if (source / name).is_dir()]
        if not folders:
            raise UsageError(
                f"{source} has none of the folders {', '.join(SUBSETS)}",
                cure="name the folder that holds them",
            )
        self._places: dict[str, _Place] = {}
        for folder in folders:
            self._add(folder)
        if not self._places:
            raise DataError(f"the lists in {source} name no samples: {', '.join(folders)}")

    def _add(self, folder: str) -> None:
        for position, element in enumerate(each_element(self.source / folder / PROMPTS_NAME)):
            entry = element.value if isinstance(element.value, dict) else {}
            number, subset, key = entry.get("index"), SUBSETS[folder], ""
            if isinstance(number, int) and not isinstance(number, bool):
                key = f"{folder}-{number:06d}" if 0 <= number <= MAX_NUMBER else ""
            if not key or key in self._places:
                key = f"{folder}/{PROMPTS_NAME}#{position}"
            if subset == "flexible" and not _has_two(entry.get("instance")):
                subset = "basic"
            self._places[key] = (folder, element.offset, element.size, position, subset)

    def keys(self) -> Sequence[str]:
        """``imig-basic-000012``; what has no number of its own, by its place in the list."""
        return sorted(self._places)

    def version(self) -> str:
        """Of the lists: an entry may say something else than it did."""
        folders = sorted({folder for folder, *_ in self._places.values()})
        return " ".join(file_sha256(self.source / one / PROMPTS_NAME) for one in folders)

    def subset(self, key: str) -> Subset:
        """That of the folder; a composed target with one instance is no scene of `flexible`."""
        return self._places[key][4]

    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """See `Importer.read`."""
        folder, offset, size, position, subset = self._places[key]
        path = self.source / folder / PROMPTS_NAME
        value = read_element(path, offset=offset, size=size)
        place = f"{path}: entry {position}"
        if SUBSETS[folder] == "flexible":
            composed = _to_entry(ComposedEntry, value, place=place)
            reading = _Reading(self.source, folder, composed.index, sample_id, subset, losses)
            sample = _read_composed(reading, composed)
        else:
            edited = _to_entry(EditedEntry, value, place=place)
            reading = _Reading(self.source, folder, edited.index, sample_id, subset, losses)
            sample = _read_edited(reading, edited)
        if "#" in key:
            reading.faults.append(f"an earlier entry has the index {reading.number}")
        if reading.faults or sample is None:
            raise DataError("; ".join(reading.faults))
        _note_unknown_keys(losses, sample_id, value, SUBSETS[folder])
        return sample


def _has_two(instances: Any) -> bool:
    return isinstance(instances, list) and len(instances) >= 2


def _to_entry(kind: type[EntryT], value: Any, *, place: str) -> EntryT:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{place}: {first_problem(error)}") from error


def _note_unknown_keys(losses: Losses, sample_id: str, value: Any, subset: Subset) -> None:
    kind = ComposedEntry if subset == "flexible" else EditedEntry
    unknown = value.keys() - kind.model_fields.keys()
    for view in value.get("reference_images", ()):
        unknown |= view.keys() - EditedView.model_fields.keys()
    if unknown:
        names = ", ".join(sorted(map(ascii, unknown))[:5])
        losses.note("keys that IMIG-100K does not have", f"{sample_id}: {names}")


@dataclass
class _Reading:
    """The files of a sample, and what is wrong with them."""

    root: Path
    folder: str
    number: int
    sample_id: str
    subset: Subset
    losses: Losses
    faults: list[str] = field(default_factory=list)

    def target(self) -> tuple[Passed, str] | None:
        """The target and its name."""
        name = target_name(self.folder, self.number)
        passed = self._pass(name, "jpeg")
        return None if passed is None else (passed, name)

    def view(self, view: int, kind: ReferenceKind) -> tuple[Passed, Passed] | None:
        """Picture and mask, which is the picture itself where that is a cut-out."""
        picture_name, mask_name = view_names(self.folder, self.number, view, kind)
        if kind == "face":
            face = self._pass(picture_name, "cut-out")
            return None if face is None else (face, face)
        picture = self._pass(picture_name, "jpeg")
        mask = self._pass(mask_name, "mask")
        if picture is None or mask is None:
            return None
        if picture.size != mask.size:
            stated = " and ".join(
                f"{width}x{height}" for width, height in (picture.size, mask.size)
            )
            self.faults.append(f"{picture_name} and its mask have {stated} pixels")
            return None
        return picture, mask

    def box(self, corners: Sequence[float], what: str, *, size: tuple[int, int]) -> Box | None:
        """Whole pixels, within the picture; None, and a fault, where nothing of it is."""
        rounded = [round(one) for one in corners]
        width, height = size
        x1, x2 = (min(max(one, 0), width) for one in rounded[::2])
        y1, y2 = (min(max(one, 0), height) for one in rounded[1::2])
        if x1 >= x2 or y1 >= y2:
            self.faults.append(f"{what} {corners} has no area in a picture of {width}x{height}")
            return None
        box = (x1, y1, x2, y2)
        if list(box) != corners:
            kind = "boxes that reached beyond their picture or were no whole pixels"
            self.losses.note(kind, f"{self.sample_id}: {what}, now {list(box)}")
        return box

    def _pass(self, name: str, kind: str) -> Passed | None:
        how = {"jpeg": pass_jpeg, "mask": pass_mask, "cut-out": pass_cut_out}[kind]
        try:
            passed = how(read_regular_file(self.root / name))
        except FileNotFoundError:
            self.faults.append(f"{name} is missing")
        except OSError as error:
            self.faults.append(f"{name} cannot be read: {error.strerror or error}")
        except PictureError as error:
            self.faults.append(f"{name} is broken: {error}")
        else:
            if passed.anew:
                self.losses.note("bytes of pictures of another kind than the published", name)
            return passed
        return None


class _Names:
    """ref00 to ref99: the number that a view's files have, else the first that is free."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._reserved = {one for one in numbers if one < MAX_VIEWS}
        self._used: set[int] = set()

    def of(self, number: int | None = None) -> str | None:
        """None: there are no more."""
        if number is None or number >= MAX_VIEWS or number in self._used:
            free = (one for one in range(MAX_VIEWS) if one not in self._reserved | self._used)
            number = next(free, None)
            if number is None:
                return None
        self._used.add(number)
        return f"ref{number:02d}"


def _make_scene(reading: _Reading, *, caption: str) -> Sample | None:
    """The target and what is said of the whole."""
    found = reading.target()
    if found is None:
        return None
    target, name = found
    scene = Scene(
        id=reading.sample_id,
        subset=reading.subset,
        caption=caption,
        width=target.size[0],
        height=target.size[1],
        source=Source(kind="file", path=name, sha256=hashlib.sha256(target.data).hexdigest()),
        seed=derive_seed(0, reading.sample_id),
    )
    return Sample(scene, {scene.target: target.data})


def _add_view(
    sample: Sample, name: str, kind: ReferenceKind, view: tuple[Passed, Passed]
) -> Reference:
    """Its files go into the sample; the subject box is the mask's."""
    picture, mask = view
    reference = Reference(
        name=name,
        kind=kind,
        image=f"{name}.png" if kind == "face" else f"{name}.jpg",
        mask=None if kind == "face" else f"{name}.mask.png",
        width=picture.size[0],
        height=picture.size[1],
        subject_box=mask.bounds,
    )
    sample.files[reference.image] = picture.data
    if reference.mask is not None:
        sample.files[reference.mask] = mask.data
    return reference


def _make_instance(
    sample: Sample, index: int, *, number: int, phrase: str, box: Box, views: list[Reference]
) -> Instance:
    return Instance(
        index=index,
        identity_id=hashlib.sha256(f"{sample.scene.id}/{number}".encode()).hexdigest()[:12],
        phrase=phrase,
        noun=head_noun(phrase) or phrase,
        box=box,
        references=views,
    )


def _read_edited(reading: _Reading, entry: EditedEntry) -> Sample | None:
    """A sample of `imig-basic` or `imig-complex`."""
    sample = _make_scene(reading, caption=entry.prompt)
    if sample is None:
        return None
    sample.scene.nouns = entry.nouns
    size = (sample.scene.width, sample.scene.height)
    numbers = [one.index for one in entry.reference_images]
    if len(set(numbers)) < len(numbers):
        reading.faults.append("two of its instances have the same index")
    names, instances = _Names(numbers), []
    edits: list[tuple[Instance, EditedView, tuple[Passed, Passed]]] = []
    for index, one in enumerate(entry.reference_images):
        box = reading.box(one.bbox, f"bbox of instance {one.index}", size=size)
        crop, edit = reading.view(one.index, "crop"), reading.view(one.index, "edit")
        name = names.of(one.index)
        if name is None or box is None or crop is None or edit is None:
            continue
        view = _add_view(sample, name, "crop", crop)
        instance = _make_instance(
            sample, index, number=one.index, phrase=one.phrase, box=box, views=[view]
        )
        _put_back(instance, view, crop[1], size=size)
        instances.append(instance)
        is_crop_again = all(a.data == b.data for a, b in zip(crop, edit, strict=True))
        if reading.folder == COMPLEX or not is_crop_again:
            edits.append((instance, one, edit))
    for instance, one, edit in edits:
        name = names.of()
        if name is None:
            reading.faults.append(f"it has more views than a scene can have: {MAX_VIEWS}")
            break
        view = _add_view(sample, name, "edit", edit)
        _set_subject_box(reading, view, one, edit[1])
        instance.references = [*instance.references, view]
    if not reading.faults:
        set_instances(sample, instances, layer_order=[])
    return sample


def _put_back(instance: Instance, view: Reference, mask: Passed, *, size: tuple[int, int]) -> None:
    """Where the crop was cut out, and with it the instance's own mask."""
    place = crop_place(instance.box, view, size=size)
    if place is None:
        return
    view.crop_box = place
    # Columns first, as run lengths go: turning a megapixel takes longer than encoding it.
    whole = np.zeros((size[1], size[0]), dtype=np.bool_, order="F")
    whole[place[1] : place[3], place[0] : place[2]] = mask.mask
    instance.mask, instance.area = mask_to_rle(whole), int(np.count_nonzero(mask.mask))


def _set_subject_box(reading: _Reading, view: Reference, entry: EditedView, mask: Passed) -> None:
    """The detector's box joined with the mask's bounds, as the released trainer joins them."""
    if entry.valid_bbox is None:
        return
    what = f"valid_bbox of instance {entry.index}"
    found = reading.box(entry.valid_bbox, what, size=(view.width, view.height))
    if found is None:
        return
    bounds = view.subject_box
    joined = (
        min(found[0], bounds[0]),
        min(found[1], bounds[1]),
        max(found[2], bounds[2]),
        max(found[3], bounds[3]),
    )
    view.coverage = round(_coverage(mask, found), 4)
    if _area(bounds) < _MIN_SUBJECT_IOU * _area(joined):
        reading.losses.note(
            "subject boxes of which the mask fills next to nothing",
            f"{reading.sample_id}: {what}, {list(found)}, mask within {list(bounds)}",
        )
    else:
        view.subject_box = joined


def _coverage(mask: Passed, box: Box) -> float:
    """The bounds of the mask within the box as a share of it, the smaller of both ways."""
    assert mask.subject is not None, "a mask has one"
    inside = mask.subject.crop(box).getbbox()
    if inside is None:
        return 0.0
    left, top, right, bottom = inside
    return min((right - left) / (box[2] - box[0]), (bottom - top) / (box[3] - box[1]))


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _read_composed(reading: _Reading, entry: ComposedEntry) -> Sample | None:
    """A sample of `imig-composite` or `imig-multicomposite`."""
    count = len(entry.instance)
    lists: dict[str, Sequence[object]] = {
        "indices": entry.indices,
        "bbox": entry.bbox,
        "face_bbox": entry.face_bbox,
    }
    if entry.instance_prompt:
        lists["instance_prompt"] = entry.instance_prompt
    for name, values in lists.items():
        if len(values) != count:
            reading.faults.append(f"{name} has {len(values)} values for {count} instances")
    if len(set(entry.indices)) < len(entry.indices):
        reading.faults.append("two of its instances have the same index")
    sample = _make_scene(reading, caption=entry.prompt)
    if sample is None or reading.faults:
        return None
    names, instances = _Names(entry.indices), []
    prompts = entry.instance_prompt or entry.instance
    subjects = [
        Subject(phrase=phrase, noun=head_noun(phrase) or phrase, prompt=prompt.strip() or phrase)
        for phrase, prompt in zip(entry.instance, prompts, strict=True)
    ]
    for index in range(count):
        instance = _read_found(reading, sample, entry, index, names)
        if instance is not None:
            instances.append(instance)
    if not reading.faults:
        sample.scene.subjects = subjects
        for instance in instances:
            instance.subject = instance.index
        set_instances(sample, instances, layer_order=[])
    return sample


def _read_found(
    reading: _Reading, sample: Sample, entry: ComposedEntry, index: int, names: _Names
) -> Instance | None:
    """An instance with the view it was composed of, and the aligned face where there is one."""
    number, found, face = entry.indices[index], entry.bbox[index], entry.face_bbox[index]
    size = (sample.scene.width, sample.scene.height)
    face_box = box = None
    if face is not None:
        face_box = reading.box(face.target, f"face of instance {number}", size=size)
    has_aligned = face is not None and face.aligned_face_bbox is not None
    if found is not None:
        box = reading.box(found.bbox, f"bbox of instance {number}", size=size)
    elif has_aligned:
        box = face_box
        picture, _ = view_names(reading.folder, reading.number, number, "source")
        reading.losses.note(
            "views of subjects of which only the face was found",
            f"{reading.sample_id}: {picture}",
        )
    else:
        reading.faults.append(f"instance {number} has neither a bbox nor an aligned face")
    views = []
    name = names.of(number)
    assert name is not None, "an entry has no more instances than there are names"
    if found is not None:
        source = _read_source(reading, sample, name, number, found, face)
        views += [] if source is None else [source]
    if face is not None and has_aligned:
        aligned = _read_aligned(reading, sample, name.replace("ref", "face"), number, face)
        views += [] if aligned is None else [aligned]
    if box is None:
        return None
    instance = _make_instance(
        sample, index, number=number, phrase=entry.instance[index], box=box, views=views
    )
    instance.face_box = face_box
    return instance


def _read_source(
    reading: _Reading,
    sample: Sample,
    name: str,
    number: int,
    found: FoundBox,
    face: FoundFace | None,
) -> Reference | None:
    view = reading.view(number, "source")
    if view is None:
        return None
    reference = _add_view(sample, name, "source", view)
    score = None if face is None else face.score
    reference.similarity = Similarity(dino=found.score, face=score)
    if face is not None and face.ref is not None:
        box = reading.box(face.ref, f"face in reference {number}", size=view[0].size)
        reference.face = None if box is None else Face(box=box, score=score)
    return reference


def _read_aligned(
    reading: _Reading, sample: Sample, name: str, number: int, face: FoundFace
) -> Reference | None:
    view = reading.view(number, "face")
    if view is None or face.aligned_face_bbox is None:
        return None
    box = reading.box(face.aligned_face_bbox, f"aligned face {number}", size=view[0].size)
    if box is None:
        return None
    reference = _add_view(sample, name, "face", view)
    reference.face = Face(box=box, aligned_box=box, score=face.score)
    reference.similarity = Similarity(face=face.score)
    return reference
