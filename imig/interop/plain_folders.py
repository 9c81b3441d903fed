"""Format `folders`: a folder a scene, with pictures that every program opens.

::

    <id>/target.jpg
    <id>/ref00.jpg, ref00.mask.png, ...   references, under the names that they have in the shard
    <id>/mask00.png, ...                  the visible part of instance 0, ..., 1 bit
    <id>/layout.json                      as `imig generate` takes it
    <id>/scene.json                       everything that is known of the scene

A folder that somebody has made by hand needs `target.*` and `layout.json`; each of the layout's
references becomes an instance, its `name` the phrase. A folder with a `scene.json` comes back as it
was exported; masks that were edited come back edited.
"""

from __future__ import annotations

import hashlib
import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from PIL.Image import Image
from pydantic import ValidationError

from imig.checks.pictures import Findings
from imig.checks.sample import check_scene, instance_masks
from imig.contextgen.layout_file import (
    LoadedLayout,
    ReferenceEntry,
    load_layout,
    pixel_scale,
)
from imig.contextgen.scene_layout import layout_to_json, placed_references, scene_to_layout
from imig.errors import DataError, UsageError
from imig.interop.format import (
    Exporter,
    ExportFolder,
    Format,
    Importer,
    ImportSettings,
    Losses,
)
from imig.layout.boxes import lies_within
from imig.layout.masks import Mask, mask_area, mask_to_box, mask_to_rle
from imig.layout.run_lengths import mask_extents
from imig.paths import is_within
from imig.pictures import OpenedPicture, PictureError, open_picture
from imig.regular_file import read_regular_file
from imig.sample import Sample, derive_seed, image_to_jpeg, mask_to_png
from imig.schema import (
    Box,
    Instance,
    InstanceScores,
    Reference,
    Scene,
    Similarity,
    Source,
    Subset,
    first_problem,
    scene_from_json,
    scene_to_json,
)
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER
from imig.shards.manifest import file_sha256
from imig.shards.views import SceneView
from imig.shards.writer import named_members
from imig.stages.instances import set_instances
from imig.stages.nouns import head_noun
from imig.stages.score import scene_coverage

SCENE_NAME: Final = "scene.json"
LAYOUT_NAME: Final = "layout.json"
_TARGETS: Final = ("target.jpg", "target.jpeg", "target.png", "target.webp")


class FoldersExporter(Exporter):
    """Writes a folder a scene."""

    carries_licences = True

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> None:
        """Pictures and masks of references as they are stored, masks of instances as PNG."""
        record = scene.record
        for name in sorted(named_members(record)):
            folder.write(f"{record.id}/{name}", scene.files[name])
        for name in sorted(scene.files.keys() - named_members(record)):
            if name == ENCODED_MEMBER:
                folder.losses.note("what `imig encode` has added", f"{record.id}: {name}")
            else:
                folder.write(f"{record.id}/{name}", scene.files[name])
        for instance in scene.instances:
            if instance.mask is not None:
                name = f"{record.id}/mask{instance.record.index:02d}.png"
                folder.write(name, mask_to_png(instance.mask))
        placed = placed_references(scene)
        if placed:
            names = [
                {"image": one.image, **({} if one.mask is None else {"mask": one.mask})}
                for one in (reference.record for _, reference in placed)
            ]
            layout = layout_to_json(scene_to_layout(scene, files=names))
            folder.write(f"{record.id}/{LAYOUT_NAME}", layout.encode())
        # What the whole dataset is given under stands in no scene, and would stay behind.
        source = record.source.model_copy(update={"licence": self.licence_of(record)})
        written = record.model_copy(update={"source": source})
        folder.write(f"{record.id}/{SCENE_NAME}", scene_to_json(written))


class FoldersImporter(Importer[ImportSettings]):
    """Reads a folder a scene."""

    settings_type = ImportSettings

    def keys(self) -> Sequence[str]:
        """Names of the folders that hold a scene."""
        if not self.source.is_dir():
            raise UsageError(
                f"{self.source} is no folder", cure="name the folder that holds the scenes' folders"
            )
        names = [
            one.name
            for one in sorted(self.source.iterdir())
            if one.is_dir() and any((one / name).is_file() for name in (SCENE_NAME, LAYOUT_NAME))
        ]
        if not names:
            raise UsageError(
                f"{self.source} has no folder with a {LAYOUT_NAME} or a {SCENE_NAME}",
                cure="name the folder that holds the scenes' folders",
            )
        return names

    def version(self) -> str:
        """Scenes, layouts and masks by their bytes, which people edit; pictures by their sizes."""
        digest = hashlib.sha256()
        for key in self.keys():
            for path in sorted((self.source / key).iterdir()):
                said = f"{key}/{path.name}".encode(errors="surrogateescape")
                digest.update(said + b"\0" + _file_version(path).encode() + b"\n")
        return digest.hexdigest()

    def subset(self, key: str) -> Subset:
        """That of an exported scene; `basic` for those made by hand."""
        path = self.source / key / SCENE_NAME
        try:
            found = json.loads(read_regular_file(path)).get("subset")
        except (OSError, ValueError, AttributeError, RecursionError):
            return "basic"  # none, or damaged: reading it says so
        return next((one for one in get_args(Subset) if one == found), "basic")

    def read(self, key: str, sample_id: str, losses: Losses) -> Sample:
        """See `Importer.read`."""
        folder = self.source / key
        if (folder / SCENE_NAME).is_file():
            return _read_exported(folder, sample_id, losses)
        return _read_hand_made(folder, sample_id, losses)


def _file_version(path: Path) -> str:
    is_small = path.suffix == ".json" or (path.suffix == ".png" and "mask" in path.name)
    try:
        if is_small and path.is_file():
            return file_sha256(path)
        return str(path.stat().st_size) if path.is_file() else ""
    except OSError as error:  # reading the scene says so
        return error.strerror or ""


def _read_exported(folder: Path, sample_id: str, losses: Losses) -> Sample:
    path = folder / SCENE_NAME
    try:
        scene = scene_from_json(_read(path).removeprefix(BOM_UTF8))  # as Windows' editors save it
    except ValidationError as error:
        raise DataError(f"{path} does not obey the schema: {first_problem(error)}") from error
    scene.id = sample_id
    files = {name: _read(folder / name) for name in sorted(named_members(scene))}
    if (folder / FEATURES_MEMBER).exists():
        files[FEATURES_MEMBER] = _read(folder / FEATURES_MEMBER)
    sample = Sample(scene, files)
    _require_sound(sample, folder)
    edited = [one.index for one in scene.instances if _take_mask(folder, one, scene)]
    if edited:
        _forget_figures(sample, edited)
        names = ", ".join(f"mask{index:02d}.png" for index in edited)
        losses.note("figures of instances whose masks were edited", f"{sample_id}: {names}")
    return sample


def _require_sound(sample: Sample, folder: Path) -> None:
    """Raise DataError for what is no picture of its stated kind and size: a damaged file."""
    findings = Findings(shard="", sample=sample.scene.id)
    masks = iter(mask_extents(instance_masks(sample.scene)))
    check_scene(findings, sample.scene, sample.files, masks)
    if findings.faults:
        faults = "; ".join(one.message for one in findings.faults[:5])
        raise DataError(f"{folder}: {faults}")


def _take_mask(folder: Path, instance: Instance, scene: Scene) -> bool:
    """Give an instance the mask that lies in the folder; whether it is another than it had."""
    mask = _read_mask(folder / f"mask{instance.index:02d}.png", scene)
    rle = None if mask is None else mask_to_rle(mask)
    if mask is None or rle == instance.mask:
        return False
    instance.mask, instance.area = rle, mask_area(mask)
    instance.box = mask_to_box(mask) or instance.box
    return True


def _forget_figures(sample: Sample, edited: Sequence[int]) -> None:
    """Bring what follows from masks and boxes up to what they are; what is not known goes."""
    for index in edited:
        instance = sample.scene.instances[index]
        instance.occluded_fraction = instance.grounding = instance.segmentation = None
        instance.scores = InstanceScores()
        for reference in instance.references:
            reference.similarity, reference.agreement = Similarity(), None
        if instance.face_box is not None and not lies_within(instance.face_box, instance.box):
            instance.face_box = None
    for instance in sample.scene.instances:
        instance.scores.identity_similarity = instance.scores.phrase_margin = None
    set_instances(sample, sample.scene.instances, layer_order=sample.scene.layer_order)
    if sample.scene.scores.coverage is not None:
        sample.scene.scores.coverage = scene_coverage(sample.scene)


def _read_mask(path: Path, scene: Scene) -> Mask | None:
    if not path.exists():
        return None
    mask = _open(path).to_mask()
    height, width = mask.shape
    if (width, height) != (scene.width, scene.height):
        raise DataError(
            f"{path} has {width}x{height} pixels, the scene {scene.width}x{scene.height}"
        )
    if not mask.any():
        raise DataError(f"{path} is empty", cure="remove the file, and the mask is as it was")
    return mask


def _read_hand_made(folder: Path, sample_id: str, losses: Losses) -> Sample:
    try:
        loaded = load_layout(folder / LAYOUT_NAME)
    except UsageError as error:
        raise DataError(error.message, cure=error.cure) from error
    path = next((folder / name for name in _TARGETS if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} has no target: one of {', '.join(_TARGETS)}")
    target = _open(path)
    layout = loaded.layout
    if target.image.size != (layout.width, layout.height):
        width, height = target.image.size
        raise DataError(
            f"{path} has {width}x{height} pixels, {LAYOUT_NAME} says {layout.width}x{layout.height}"
        )
    if layout.layout is not None:
        losses.note("layout image of its own", f"{sample_id}: {layout.layout}")
    scene = Scene(
        id=sample_id,
        subset="basic",
        caption=layout.caption,
        width=layout.width,
        height=layout.height,
        source=Source(
            kind="file",
            path=f"{folder.name}/{path.name}",
            sha256=hashlib.sha256(_read(path)).hexdigest(),
        ),
        seed=derive_seed(0, sample_id),
    )
    sample = Sample(scene, {scene.target: target.jpeg or image_to_jpeg(target.to_rgb())})
    instances = [
        _to_instance(sample, loaded, number, entry, root=folder.parent)
        for number, entry in enumerate(layout.references)
    ]
    # Its stacking is for drawing the layout image: of what lies before what nothing is known.
    set_instances(sample, instances, layer_order=[])
    return sample


def _to_instance(
    sample: Sample, loaded: LoadedLayout, number: int, entry: ReferenceEntry, *, root: Path
) -> Instance:
    if not entry.name.strip():
        raise DataError(
            f"{loaded.where('references', number)} has no name", cure="name it: the noun phrase"
        )
    reference = _read_reference(sample, loaded, number, entry, root=root)
    size = (sample.scene.width, sample.scene.height)
    return Instance(
        index=number,
        identity_id=hashlib.sha256(f"{sample.scene.id}/{number}".encode()).hexdigest()[:12],
        phrase=entry.name,
        noun=head_noun(entry.name),
        box=_to_box(entry.box, scale=pixel_scale(loaded.layout.units, size), size=size),
        references=[reference],
    )


def _read_reference(
    sample: Sample, loaded: LoadedLayout, number: int, entry: ReferenceEntry, *, root: Path
) -> Reference:
    for file in (entry.image, entry.mask):
        if file is not None and not is_within(loaded.file(file), root):
            raise DataError(f"{loaded.where('references', number)}: {file} lies outside of {root}")
    opened = _open(loaded.file(entry.image))
    cut_out = _CutOut.of(opened, loaded, entry)
    name = f"ref{number:02d}"
    sample.files[f"{name}.jpg"] = opened.jpeg or image_to_jpeg(cut_out.image)
    sample.files[f"{name}.mask.png"] = mask_to_png(cut_out.mask)
    width, height = cut_out.image.size
    return Reference(
        name=name,
        kind="source",
        image=f"{name}.jpg",
        mask=f"{name}.mask.png",
        width=width,
        height=height,
        subject_box=cut_out.subject_box,
    )


@dataclass(frozen=True)
class _CutOut:
    """A reference's picture and what of it is the subject."""

    image: Image
    mask: Mask
    subject_box: Box

    @classmethod
    def of(cls, opened: OpenedPicture, loaded: LoadedLayout, entry: ReferenceEntry) -> _CutOut:
        picture = opened.to_rgb_or_rgba()
        where = loaded.file(entry.mask or entry.image)
        if entry.mask is not None:
            mask = _open(where).to_mask()
        elif picture.mode == "RGBA":
            mask = np.asarray(picture.getchannel("A")) > 127
        else:
            raise DataError(f"{where} has no transparency, and {LAYOUT_NAME} names no mask for it")
        if mask.shape != (picture.height, picture.width):
            raise DataError(
                f"{where} has {mask.shape[1]}x{mask.shape[0]} pixels, its picture "
                f"{picture.width}x{picture.height}"
            )
        box = mask_to_box(mask)
        if box is None:
            raise DataError(f"{where} shows no subject: nothing of it is opaque")
        return cls(picture.convert("RGB"), mask, box)


def _to_box(corners: Sequence[float], *, scale: tuple[float, float], size: tuple[int, int]) -> Box:
    """Whole pixels, inside the picture, at least one a side."""
    (across, down), (width, height) = scale, size
    x1 = min(max(round(corners[0] * across), 0), width - 1)
    y1 = min(max(round(corners[1] * down), 0), height - 1)
    x2 = max(min(round(corners[2] * across), width), x1 + 1)
    y2 = max(min(round(corners[3] * down), height), y1 + 1)
    return x1, y1, x2, y2


def _open(path: Path) -> OpenedPicture:
    try:
        return open_picture(_read(path))
    except PictureError as error:
        raise DataError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


FOLDERS: Final = Format(
    name="folders",
    summary="a folder a scene: target, references, masks, layout.json",
    importer=FoldersImporter,
    exporter=FoldersExporter,
)
