"""Format `label-studio`: tasks for Label Studio with boxes, brush masks and phrases, and back.

::

    tasks.json           a task a scene, to be imported into a project
    config.xml           the project's labelling interface
    images/<id>.jpg      targets, as they are stored

Each instance is a rectangle ``box-<index>`` and a brush region ``mask-<index>``, its phrase a text
of the rectangle. Label Studio gives regions that it copies from a prediction new names; their note
``imig <index>`` stays.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from pydantic import Field, field_validator

from imig.errors import DataError, UsageError
from imig.interop.brush import brush_to_mask, mask_to_brush
from imig.interop.correcting import CorrectingImporter, kinds_shown, require_mark, scene_mark
from imig.interop.corrections import Returned
from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings, Losses
from imig.interop.json_list import each_element, read_element
from imig.interop.regions import Region, corners_to_box, non_empty, polygon_to_mask, turned_bounds
from imig.interop.xml_text import xml_text
from imig.schema import Box, Instance, MaskRLE, Scene
from imig.shards.views import InstanceView, SceneView

NAME: Final = "label-studio"
_BOXES: Final = ("rectanglelabels", "rectangle")
_BRUSHES: Final = ("brushlabels", "brush")
_POLYGONS: Final = ("polygonlabels", "polygon")
_DRAWN: Final = (*_BOXES, *_BRUSHES, *_POLYGONS)
_OF_REGIONS: Final = ("textarea", "labels")
_NOTE: Final = re.compile(r"imig (\d{1,4})")
_REGION: Final = re.compile(r"(?:box|mask)-(\d{1,4})")
_UPLOAD_PREFIX: Final = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a picture that is dragged into a project."""

Shapes = Literal["both", "masks", "boxes"]


class LabelStudioSettings(FormatSettings):
    """How tasks are written."""

    shapes: Shapes = Field(
        default="both",
        description="`both`: a box and a mask an instance; `masks`: a box only where there is no "
        "mask; or `boxes`.",
    )
    write: Literal["predictions", "annotations"] = Field(
        default="predictions",
        description="What the instances are: what an annotator begins with, or finished work.",
    )
    image_url: str = Field(
        default="/data/local-files/?d=images/{name}",
        description="Where Label Studio finds a picture; {name} is its file name.",
    )

    @field_validator("image_url")
    @classmethod
    def _names_the_picture(cls, text: str) -> str:
        if "{name}" not in text:
            raise ValueError("it needs {name}, the picture's file name")
        return text


class LabelStudioExporter(Exporter[LabelStudioSettings]):
    """Writes a task a scene."""

    settings_type = LabelStudioSettings

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Any:
        """See `Exporter.write_scene`."""
        record, shapes = scene.record, self.settings.shapes
        name = f"{record.id}.jpg"
        folder.write(f"images/{name}", scene.files[record.target])
        if any(one.references for one in record.instances):
            folder.losses.note("references", f"{record.id}: the import takes them of the dataset")
        results = [
            result for one in scene.instances for result in _instance_results(one, record, shapes)
        ]
        if record.caption:
            results.append(_text("caption", "caption", record.caption))
        task = {
            "data": {
                "image": self.settings.image_url.replace("{name}", name),
                "imig": {"id": record.id, "mark": scene_mark(record), "shapes": shapes},
            },
            self.settings.write: [{"model_version": "imig", "result": results}],
        }
        if self.settings.write == "annotations":
            task["annotations"] = [{"result": results}]
        return {
            "task": json.dumps(task, ensure_ascii=False, separators=(",", ":")),
            "labels": sorted({one.noun for one in record.instances}),
        }

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """The list of tasks, and the labelling interface with every noun as a label."""
        labels: set[str] = set()
        with folder.writing("tasks.json") as file:
            separator = b"[\n"
            for row in rows:
                labels.update(row["labels"])
                file.write(separator + row["task"].encode())
                separator = b",\n"
            file.write(b"\n]\n" if separator != b"[\n" else b"[]\n")
        folder.write("config.xml", _config(sorted(labels) or ["object"]).encode())


def _config(labels: Sequence[str]) -> str:
    choices = "\n".join(f"    <Label value={quoteattr(xml_text(one))}/>" for one in labels)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="box" toName="image">
{choices}
  </RectangleLabels>
  <BrushLabels name="mask" toName="image">
{choices}
  </BrushLabels>
  <TextArea name="phrase" toName="image" perRegion="true" editable="true" maxSubmissions="1"
    placeholder="A noun phrase that singles it out"/>
  <TextArea name="caption" toName="image" editable="true" maxSubmissions="1" rows="3"
    placeholder="Caption"/>
</View>
"""


def _instance_results(view: InstanceView, scene: Scene, shapes: Shapes) -> Iterator[dict[str, Any]]:
    instance, mask = view.record, view.mask
    with_mask = mask is not None and shapes != "boxes"
    names = []
    if shapes != "masks" or not with_mask:
        names.append(f"box-{instance.index}")
        value = _percentages(instance.box, scene)
        yield _region(names[-1], "rectanglelabels", "box", value, instance, scene)
    if with_mask and mask is not None:
        names.append(f"mask-{instance.index}")
        value = {"format": "rle", "rle": mask_to_brush(mask)}
        yield _region(names[-1], "brushlabels", "mask", value, instance, scene)
    yield _text(names[0], "phrase", instance.phrase)


def _percentages(box: Box, scene: Scene) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "x": 100 * x1 / scene.width,
        "y": 100 * y1 / scene.height,
        "width": 100 * (x2 - x1) / scene.width,
        "height": 100 * (y2 - y1) / scene.height,
        "rotation": 0,
    }


def _region(
    name: str, kind: str, control: str, value: dict[str, Any], instance: Instance, scene: Scene
) -> dict[str, Any]:
    return {
        "id": name,
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "original_width": scene.width,
        "original_height": scene.height,
        "image_rotation": 0,
        "value": {**value, kind: [instance.noun]},
        "meta": {"text": [f"imig {instance.index}"]},
    }


def _text(name: str, control: str, text: str) -> dict[str, Any]:
    value = {"text": [text]}
    return {
        "id": name, "type": "textarea", "from_name": control, "to_name": "image", "value": value,
    }  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Of a task in the file."""

    offset: int
    size: int


class LabelStudioImporter(CorrectingImporter[_Place]):
    """Reads what Label Studio exports as "JSON"."""

    tool = NAME

    def find_places(self) -> Mapping[str, _Place]:
        """See `CorrectingImporter.find_places`."""
        places: dict[str, _Place] = {}
        for number, element in enumerate(each_element(self.source)):
            sample_id = _scene_of(element.value, place=f"{self.source}: task {number}")
            if sample_id in places:
                raise DataError(f"{self.source} has two tasks of {sample_id}")
            places[sample_id] = _Place(element.offset, element.size)
        return places

    def returned(self, scene: Scene, place: _Place, losses: Losses) -> Returned | None:
        """See `CorrectingImporter.returned`."""
        task = read_element(self.source, offset=place.offset, size=place.size)
        where = f"{self.source}: the task at byte {place.offset}"
        if _scene_of(task, place=where) != scene.id:
            raise DataError(f"{where} has changed while the file was read")
        ours = task["data"].get("imig")
        ours = ours if isinstance(ours, dict) else {}
        require_mark(scene, ours.get("mark"), place=f"the task of {scene.id}")
        annotation = _annotation(task, scene, losses)
        if annotation is None:
            return None
        regions, caption = _Results(scene, losses).read(_list(annotation, "result", scene.id))
        boxes, masks = kinds_shown(ours.get("shapes"), regions)
        return Returned(
            tool=NAME,
            by=_person(annotation.get("completed_by")),
            at=_moment(annotation),
            regions=regions,
            boxes_shown=boxes,
            masks_shown=masks,
            caption=caption,
        )


def _scene_of(task: Any, *, place: str) -> str:
    """Id of a task's scene: as it was exported, else the picture's name."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        if isinstance(task, dict) and "image" in task:
            raise UsageError(
                f"{place} is of the export JSON-MIN, which leaves out who drew what",
                cure="export from Label Studio as JSON",
            )
        raise DataError(f"{place} has no data")
    data = task["data"]
    ours = data.get("imig")
    if isinstance(ours, dict) and isinstance(ours.get("id"), str):
        return str(ours["id"])
    if not isinstance(data.get("image"), str):
        raise DataError(f"{place} names neither a scene (data.imig.id) nor a picture (data.image)")
    try:
        url = urlsplit(data["image"])
    except ValueError as error:
        raise DataError(f"{place}: data.image is no address: {error}") from error
    path = parse_qs(url.query).get("d", [unquote(url.path)])[0]
    stem = PurePosixPath(path).stem
    return _UPLOAD_PREFIX.sub("", stem) if "upload" in PurePosixPath(path).parts else stem


def _annotation(task: dict[str, Any], scene: Scene, losses: Losses) -> dict[str, Any] | None:
    """The one that counts: the ground truth, else the latest; none that was skipped."""
    there = [one for one in _list(task, "annotations", scene.id) if isinstance(one, dict)]
    there = [one for one in there if not one.get("was_cancelled")]
    if len(there) > 1:
        losses.note("further annotations of a task", f"{scene.id}: {len(there) - 1}")
    return max(
        there, key=lambda one: (bool(one.get("ground_truth")), _moment(one) or ""), default=None
    )


def _list(of: dict[str, Any], key: str, place: str) -> list[Any]:
    value = of.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"the task of {place}: {key} is a {type(value).__name__}, not a list")
    return value


def _person(who: Any) -> str | None:
    """`completed_by` is a number, or all that is known of the account."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("username") or who.get("id")
    return None if who in (None, "") or isinstance(who, list | dict) else str(who)


def _moment(annotation: dict[str, Any]) -> str | None:
    when = annotation.get("updated_at") or annotation.get("created_at")
    return when if isinstance(when, str) else None


@dataclass
class _Drawn:
    """What results of the same id say of a region."""

    box: Box | None = None
    mask: MaskRLE | None = None
    instance: int | None = None
    label: str | None = None
    phrase: str | None = None
    group: str | None = None


@dataclass
class _Results:
    """Reads an annotation's results."""

    scene: Scene
    losses: Losses
    regions: dict[str, _Drawn] = field(default_factory=dict)
    caption: str | None = None

    def read(self, results: Sequence[Any]) -> tuple[list[Region], str | None]:
        for number, result in enumerate(results):
            place = f"the task of {self.scene.id}, result {number}"
            if not isinstance(result, dict):
                raise DataError(f"{place} is a {type(result).__name__}, not an object")
            self._result(result, place)
        regions = [
            Region(one.box, one.mask, one.instance, one.group, one.label, one.phrase)
            for one in self.regions.values()
            if one.box is not None or one.mask is not None
        ]
        return regions, self.caption

    def _result(self, result: dict[str, Any], place: str) -> None:
        kind = result.get("type")
        if kind == "relation":
            self._relate(result)
            return
        value = result.get("value")
        if not isinstance(value, dict):
            raise DataError(f"{place} has no value")
        if kind == "textarea" and result.get("from_name") == "caption":
            self.caption = _joined(value.get("text"))
            return
        if kind not in (*_DRAWN, *_OF_REGIONS):
            self.losses.note(
                f"results of type {str(kind)[:20]}", f"{self.scene.id}: {result.get('id')}"
            )
            return
        name = result.get("id")
        if not isinstance(name, str):
            raise DataError(f"{place} has no id")
        there = self.regions.setdefault(name, _Drawn())
        if kind == "textarea":
            there.phrase = _joined(value.get("text")) or there.phrase
            return
        there.label = _label(value, str(kind)) or there.label
        if kind == "labels":
            return
        there.instance = _instance_index(name, result.get("meta"))
        if kind in _BOXES:
            there.box = self._box(value, place)
        elif kind in _BRUSHES:
            there.mask = self._brush(result, value, place)
        else:
            there.mask = self._polygon(value, place)

    def _relate(self, result: dict[str, Any]) -> None:
        names = [result.get("from_id"), result.get("to_id")]
        drawn = [self.regions[one] for one in names if isinstance(one, str) and one in self.regions]
        group = next((one.group for one in drawn if one.group), str(names[0]))
        for one in drawn:
            one.group = group

    def _box(self, value: dict[str, Any], place: str) -> Box | None:
        x, y, width, height = (
            _number(value.get(key), f"{place}: {key}") for key in ("x", "y", "width", "height")
        )
        across, down = self.scene.width / 100, self.scene.height / 100
        x, y, width, height = x * across, y * down, width * across, height * down
        turn = _number(value.get("rotation", 0), f"{place}: rotation")
        corners = (x, y, x + width, y + height)
        if turn % 360:
            self.losses.note("rotations of boxes", f"{self.scene.id}: {turn} degrees")
            corners = turned_bounds(corners, about=(x, y), degrees=turn)
        box = corners_to_box(corners, self.scene)
        if box is None:
            self.losses.note("regions outside of the picture", f"{self.scene.id}: {place}")
        return box

    def _brush(self, result: dict[str, Any], value: dict[str, Any], place: str) -> MaskRLE | None:
        scene = self.scene
        stated = (result.get("original_width"), result.get("original_height"))
        if stated != (scene.width, scene.height):
            raise DataError(
                f"{place}: its picture has {stated[0]}x{stated[1]} pixels, the scene "
                f"{scene.width}x{scene.height}"
            )
        rle = value.get("rle")
        if not isinstance(rle, list):
            raise DataError(f"{place}: a brush mask without rle")
        try:
            mask = brush_to_mask(rle, size=(scene.width, scene.height))
        except DataError as error:
            raise DataError(f"{place}: {error.message}") from error
        return self._kept(non_empty(mask))

    def _polygon(self, value: dict[str, Any], place: str) -> MaskRLE | None:
        points = value.get("points")
        if not isinstance(points, list) or not all(
            isinstance(one, list) and len(one) == 2 for one in points
        ):
            raise DataError(f"{place}: points is no list of pairs")
        across, down = self.scene.width / 100, self.scene.height / 100
        pixels = [
            (_number(x, f"{place}: points") * across, _number(y, f"{place}: points") * down)
            for x, y in points
        ]
        return self._kept(polygon_to_mask(pixels, self.scene))

    def _kept(self, mask: MaskRLE | None) -> MaskRLE | None:
        if mask is None:
            self.losses.note("masks without a pixel", self.scene.id)
        return mask


def _number(value: Any, place: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise DataError(f"{place} is no number: {str(value)[:40]}")


def _joined(text: Any) -> str | None:
    lines = [text] if isinstance(text, str) else text
    if not isinstance(lines, list):
        return None
    joined = " ".join(one.strip() for one in lines if isinstance(one, str))
    return joined or None


def _label(value: dict[str, Any], kind: str) -> str | None:
    labels = value.get(kind)
    if isinstance(labels, list) and labels and isinstance(labels[0], str):
        return labels[0].strip() or None
    return None


def _instance_index(name: str, meta: Any) -> int | None:
    """Which instance a region was exported from, by its name or by its note."""
    notes = meta.get("text") if isinstance(meta, dict) else None
    notes = [notes] if isinstance(notes, str) else notes
    found = [_NOTE.fullmatch(one) for one in notes or () if isinstance(one, str)]
    match = _REGION.fullmatch(name) or next((one for one in found if one), None)
    return None if match is None else int(match[1])


LABEL_STUDIO: Final = Format(
    name=NAME,
    summary="Label Studio's tasks: boxes, brush masks, phrases; corrections come back",
    importer=LabelStudioImporter,
    exporter=LabelStudioExporter,
)
