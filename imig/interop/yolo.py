"""Format `yolo`: boxes or outlines as Ultralytics' YOLO trains on them.

::

    data.yaml                  where the pictures are, and the classes (the nouns)
    images/<split>/<id>.jpg
    labels/<split>/<id>.txt    a line an instance; empty for a scene without any

An outline is one ring. Holes and further parts hang on it by seams that enclose nothing, as
Ultralytics' own conversion of COCO joins parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from imig.interop.annotated import EVERYTHING, AnnotatedImporter, AnnotatedImportSettings
from imig.interop.classes import EarlierClasses, read_yolo_classes
from imig.interop.coco import note_losses
from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings
from imig.interop.yaml_text import yaml_text, yaml_word
from imig.layout.masks import mask_to_box
from imig.layout.polygons import Ring, join_rings, mask_to_rings
from imig.shards.views import InstanceView, SceneView
from imig.stages.sources.config import YoloSource
from imig.stages.sources.yolo import YoloPictures

DATA: Final = "data.yaml"


class YoloExportSettings(FormatSettings):
    """What `imig export yolo --set` may say."""

    labels: Literal["segments", "boxes"] = Field(
        default="segments", description="outlines of masks, or boxes. "
    )
    split: str = Field(
        default="train",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="folder of the pictures, and key of data.yaml. ",
    )
    classes: str | None = Field(
        default=None,
        min_length=1,
        exclude_if=lambda classes: classes is None,
        description="data.yaml of an earlier export: its classes keep their numbers, its other "
        "splits stay in data.yaml. ",
    )


class YoloExporter(Exporter[YoloExportSettings]):
    """Writes targets, and a file of labels for each."""

    settings_type = YoloExportSettings

    @cached_property
    def _earlier(self) -> EarlierClasses:
        return read_yolo_classes(self.settings.classes)

    def inputs(self) -> Sequence[Path]:
        return self._earlier.files

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> dict[str, Any]:
        record = scene.record
        folder.write(f"images/{self.settings.split}/{record.id}.jpg", scene.files[record.target])
        losses = folder.losses
        note_losses(scene, losses)
        if record.caption:
            losses.note("captions", f"{record.id}: {record.caption[:60]}")
        for view in scene.instances:
            for kind in self._lost(view):
                losses.note(kind, f"{record.id}: instance {view.record.index}")
        size = (record.width, record.height)
        labels = [[one.record.noun, self._to_label(one, size)] for one in scene.instances]
        return {"id": record.id, "labels": labels}

    def finish(self, rows: Iterable[dict[str, Any]], folder: ExportFolder) -> None:
        used = {noun for row in rows for noun, _ in row["labels"]}
        classes = self._earlier.extended(used, first=0)
        split = self.settings.split
        for row in rows:
            lines = [f"{classes.numbers[noun]} {label}\n" for noun, label in row["labels"]]
            folder.write(f"labels/{split}/{row['id']}.txt", "".join(lines).encode())
        folder.write(DATA, "".join(_data_lines(classes, split=split)).encode())

    def _lost(self, view: InstanceView) -> Iterator[str]:
        record = view.record
        if record.phrase != record.noun:
            yield "phrases, the noun is written"
        if self.settings.labels == "boxes":
            if view.mask is not None:
                yield "masks"
        elif view.mask is None:
            yield "boxes without a mask, whose outline is written"
        elif mask_to_box(view.mask) != record.box:
            yield "boxes that are wider than their masks"

    def _to_label(self, instance: InstanceView, size: tuple[int, int]) -> str:
        x1, y1, x2, y2 = instance.record.box
        if self.settings.labels == "boxes":
            shares = [(x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1]]
            return _to_text([*shares, (x2 - x1) / size[0], (y2 - y1) / size[1]])
        mask = instance.mask
        # Readers take a row of five numbers among outlines for an outline of two corners.
        ring: Ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        if mask is not None and mask.any():
            ring = join_rings([one for part in mask_to_rings(mask) for one in part])
        return _to_text((ring / np.array(size)).ravel().tolist())


def _to_text(shares: Iterable[float]) -> str:
    """To a thousandth of a pixel of the largest picture."""
    return " ".join(f"{share:.8f}".rstrip("0").rstrip(".") for share in shares)


def _data_lines(classes: EarlierClasses, *, split: str) -> Iterator[str]:
    # Ultralytics wants both keys, and looks for `path` relative to its own folder of datasets
    # unless there is none.
    own = f"images/{split}"
    places = {split: own} | dict.fromkeys(("train", "val"), own) | classes.places | {split: own}
    for key, place in places.items():
        yield f"{yaml_word(key)}: {_place_text(place)}\n"
    yield "names:\n" if classes.names else "names: {}\n"
    for number, name in classes.names.items():
        yield f"  {number}: {yaml_text(name)}\n"


def _place_text(place: str | list[str]) -> str:
    if isinstance(place, str):
        return yaml_word(place)
    return f"[{', '.join(map(yaml_text, place))}]"


class YoloImportSettings(AnnotatedImportSettings):
    """What `imig import yolo --set` may say."""

    split: str = Field(default="train", min_length=1, description="a key of data.yaml. ")


class YoloImporter(AnnotatedImporter[YoloImportSettings]):
    """Reads a split of what a `data.yaml` describes."""

    settings_type = YoloImportSettings

    def pictures(self) -> YoloPictures:
        return YoloPictures(
            YoloSource(
                kind="yolo",
                path=str(self.source.absolute()),
                split=self.settings.split,
                max_pixels=self.settings.max_pixels,
                **EVERYTHING,
            )
        )


YOLO: Final = Format(
    name="yolo",
    summary="Ultralytics' YOLO: data.yaml, images/, labels/ with boxes or outlines",
    importer=YoloImporter,
    exporter=YoloExporter,
)
