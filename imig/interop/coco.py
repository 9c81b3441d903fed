"""Format `coco`: objects and captions as COCO has them.

::

    images/<id>.jpg
    annotations/instances.json   images, categories (the nouns), annotations
    annotations/captions.json    images, annotations; where any scene has a caption

Both files have the licences of the pictures. Masks are compressed run lengths, in which nothing is
lost. Beside COCO's own keys an annotation has `phrase` and `identity_id`, which readers that do not
know them pass over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from imig.errors import UsageError
from imig.interop.annotated import EVERYTHING, AnnotatedImporter, AnnotatedImportSettings
from imig.interop.classes import EarlierClasses, read_coco_classes
from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings, Losses
from imig.layout.polygons import join_rings, mask_to_rings, mask_to_run_lengths
from imig.shards.views import InstanceView, SceneView
from imig.stages.sources.coco import CocoPictures
from imig.stages.sources.config import CocoSource

ANNOTATIONS: Final = "annotations/instances.json"
CAPTIONS: Final = "annotations/captions.json"

Entry = dict[str, Any]


class CocoExportSettings(FormatSettings):
    """What `imig export coco --set` may say."""

    segmentation: Literal["rle", "runs", "polygons"] = Field(
        default="rle",
        description="compressed run lengths, uncompressed ones, or polygons along the pixels' "
        "edges. ",
    )
    category: Literal["noun", "phrase"] = Field(
        default="noun", description="What the category of an annotation is. "
    )
    classes: str | None = Field(
        default=None,
        min_length=1,
        exclude_if=lambda classes: classes is None,
        description="instances.json of an earlier export: its categories keep their numbers. ",
    )


class CocoExporter(Exporter[CocoExportSettings]):
    """Writes targets, and two files of annotations."""

    settings_type = CocoExportSettings
    carries_licences = True

    @cached_property
    def _earlier(self) -> EarlierClasses:
        return read_coco_classes(self.settings.classes)

    def inputs(self) -> Sequence[Path]:
        return self._earlier.files

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Entry:
        record = scene.record
        name = f"{record.id}.jpg"
        folder.write(f"images/{name}", scene.files[record.target])
        note_losses(scene, folder.losses)
        return {
            "image": {"file_name": name, "width": record.width, "height": record.height},
            "caption": record.caption,
            "licence": self.licence_of(record),
            "annotations": [self._to_annotation(one) for one in scene.instances],
        }

    def finish(self, rows: Iterable[Entry], folder: ExportFolder) -> None:
        used = {one["category"] for row in rows for one in row["annotations"]}
        classes = self._earlier.extended(used, first=1)
        numbers = classes.numbers
        categories = [{"id": number, "name": name} for number, name in classes.names.items()]
        licences = sorted({text for row in rows if (text := row.get("licence")) is not None})
        licence_numbers = {text: number for number, text in enumerate(licences, start=1)}
        head = {
            "info": {"description": self.dataset.manifest.name},
            "licenses": [_to_licence(number, text) for text, number in licence_numbers.items()],
        }

        def image(row: Entry) -> Entry:
            return {**row["image"], "license": licence_numbers.get(row.get("licence"))}

        def objects(row: Entry) -> Iterator[Entry]:
            for one in row["annotations"]:
                yield {**one, "category_id": numbers[one["category"]], "category": None}

        def captions(row: Entry) -> Iterator[Entry]:
            if row["caption"]:
                yield {"caption": row["caption"]}

        with folder.writing(ANNOTATIONS) as file:
            file.writelines(_pieces({**head, "categories": categories}, rows, image, objects))
        if any(row["caption"] for row in rows):
            with folder.writing(CAPTIONS) as file:
                file.writelines(_pieces(head, rows, image, captions))

    def _to_annotation(self, instance: InstanceView) -> Entry:
        record = instance.record
        x1, y1, x2, y2 = record.box
        return {
            "category": record.noun if self.settings.category == "noun" else record.phrase,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": record.area or (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            "segmentation": self._to_segmentation(instance),
            "phrase": record.phrase,
            "identity_id": record.identity_id,
        }

    def _to_segmentation(self, instance: InstanceView) -> Any:
        """An empty list without a mask, as in other exporters' files of boxes."""
        rle = instance.record.mask
        if rle is None:
            return []
        if self.settings.segmentation == "rle":
            return {"size": list(rle.size), "counts": rle.counts}
        mask = instance.mask
        assert mask is not None
        if self.settings.segmentation == "runs":
            return {"size": list(rle.size), "counts": mask_to_run_lengths(mask)}
        return [join_rings(part).ravel().tolist() for part in mask_to_rings(mask)]


def note_losses(scene: SceneView, losses: Losses) -> None:
    """What a picture with annotations has no place for."""
    record = scene.record
    references = sum(len(one.references) for one in record.instances)
    if references:
        losses.note("references", f"{record.id}: {references}")
    if record.layer_order:
        losses.note("layer order", f"{record.id}: {len(record.layer_order)} layers")
    if record.style is not None:
        losses.note("style", f"{record.id}: {record.style}")
    if record.subset != "basic":
        losses.note("subset", f"{record.id}: {record.subset}")
    if faces := sum(one.face_box is not None for one in record.instances):
        losses.note("faces", f"{record.id}: {faces}")
    scored = [record.scores, *(one.scores for one in record.instances)]
    if names := {name for one in scored for name in one.model_dump(exclude_defaults=True)}:
        losses.note("scores", f"{record.id}: {', '.join(sorted(names))}")


def _to_licence(number: int, text: str) -> Entry:
    """Name and address apart, so that both together are the text again."""
    found = re.fullmatch(r"(.*?) ?(https?://\S+)", text)
    name, url = found.groups() if found else (text, "")
    return {"id": number, "name": name, "url": url}


def _pieces(
    head: Entry,
    rows: Iterable[Entry],
    to_image: Callable[[Entry], Entry],
    parts: Callable[[Entry], Iterable[Entry]],
) -> Iterator[bytes]:
    """The bytes of a file of annotations, numbered from 1, an entry a line."""
    text = json.dumps(head, ensure_ascii=False)
    yield text.removesuffix("}").encode() + b',\n"images": ['
    for number, row in enumerate(rows, start=1):
        yield _line(number, {"id": number, **to_image(row)})
    yield b'\n],\n"annotations": ['
    count = 0
    for image, row in enumerate(rows, start=1):
        for one in parts(row):
            count += 1
            yield _line(count, {"id": count, "image_id": image, **one})
    yield b"\n]}\n"


def _line(number: int, entry: Entry) -> bytes:
    said = {key: value for key, value in entry.items() if value is not None}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return (("," if number > 1 else "") + "\n" + text).encode()


class CocoImportSettings(AnnotatedImportSettings):
    """What `imig import coco --set` may say."""

    annotations: str | None = Field(
        default=None, description="below the source; else found by its name. "
    )
    captions: str | None = Field(default=None, description="as annotations. ")
    images: str | None = Field(default=None, description="folder, as annotations. ")
    orientation: Literal["auto", "stored", "upright"] = Field(
        default="auto", description="as of source.kind coco. "
    )


class CocoImporter(AnnotatedImporter[CocoImportSettings]):
    """Reads a folder with pictures and annotations, or a file of annotations."""

    settings_type = CocoImportSettings

    def pictures(self) -> CocoPictures:
        settings = self.settings
        annotations = self._find_annotations()
        captions = self._below(settings.captions)
        if captions is None:
            guess = annotations.with_name(annotations.name.replace("instances", "captions", 1))
            captions = guess if guess != annotations and guess.is_file() else None
        return CocoPictures(
            CocoSource(
                kind="coco",
                path=_plain(self._below(settings.images) or _find_images(annotations)),
                annotations=_plain(annotations),
                captions=None if captions is None else _plain(captions),
                orientation=settings.orientation,
                max_pixels=settings.max_pixels,
                **EVERYTHING,
            ),
            path_setting="images",
            annotations_setting="annotations",
        )

    def _below(self, name: str | None) -> Path | None:
        root = self.source if self.source.is_dir() else self.source.parent
        return None if name is None else root / name

    def _find_annotations(self) -> Path:
        stated = self._below(self.settings.annotations)
        if stated is not None:
            return stated
        if self.source.is_file():
            return self.source
        patterns = (
            ANNOTATIONS,
            "annotations/instances*.json",
            "annotations/lvis*.json",
            "instances*.json",
            "lvis*.json",
            "*.coco.json",
            "*.json",
        )
        for pattern in patterns:
            found = sorted(self.source.glob(pattern))
            if len(found) > 1:
                names = ", ".join(str(one.relative_to(self.source)) for one in found[:3])
                raise UsageError(
                    f"{self.source} has several files of annotations: {names}",
                    cure="say which: --set annotations=FILE",
                )
            if found:
                return found[0]
        raise UsageError(
            f"{self.source} has no file of annotations",
            cure=f"{ANNOTATIONS} is one; say which: --set annotations=FILE",
        )


def _plain(path: Path) -> str:
    """A path that no setting takes for a home: a name may begin with ``~``."""
    return str(path.absolute())


def _find_images(annotations: Path) -> Path:
    """``../images``, ``../train2017`` of ``instances_train2017.json``, or where the file lies."""
    split = annotations.stem.partition("_")[2]
    near = annotations.parent
    root = near.parent if near.name == "annotations" else near
    places = [root / "images" / split, root / "images", *([root / split] if split else []), near]
    return next((one for one in places if one.is_dir()), near)


COCO: Final = Format(
    name="coco",
    summary="COCO's objects and captions: images/, annotations/instances.json, captions.json",
    importer=CocoImporter,
    exporter=CocoExporter,
)
