"""Format `fiftyone`: a dataset that FiftyOne opens, of its own type `FiftyOneDataset`.

::

    metadata.json        the fields that samples have
    samples.json         a sample a scene, its instances as Detections with masks
    data/<id>.jpg        targets, as they are stored

Written in the form of FiftyOne 0.23.8, from which newer ones migrate while they load. It is learned
from its importer (fiftyone/utils/data/importers.py) and its documents (fiftyone/core/odm): JSON of
MongoDB, boxes as shares of the picture, a mask as the zlib stream of a NumPy file that covers the
box.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from imig.interop.format import Exporter, ExportFolder, Format
from imig.layout.masks import Mask
from imig.schema import SCENE_FIGURES, Scene
from imig.shards.views import InstanceView, SceneView

VERSION: Final = "0.23.8"
_FIELDS: Final = "fiftyone.core.fields."


class FiftyOneExporter(Exporter):
    """Writes a sample a scene."""

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> Any:
        """See `Exporter.write_scene`."""
        record = scene.record
        data = scene.files[record.target]
        folder.write(f"data/{record.id}.jpg", data)
        if any(one.references for one in record.instances):
            folder.losses.note("references", f"{record.id}: a sample has one picture")
        return {
            "sample": json.dumps(_sample(scene, size=len(data)), ensure_ascii=False),
            "labels": sorted({one.noun for one in record.instances}),
        }

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """The list of samples, and what their fields are."""
        labels: set[str] = set()
        with folder.writing("samples.json") as file:
            separator = b'{"samples": [\n'
            for row in rows:
                labels.update(row["labels"])
                file.write(separator + row["sample"].encode())
                separator = b",\n"
            file.write(b"\n]}\n" if separator == b",\n" else b'{"samples": []}\n')
        metadata = _metadata(self.dataset.manifest.name, sorted(labels))
        folder.write("metadata.json", (json.dumps(metadata, indent=1) + "\n").encode())


def _sample(scene: SceneView, *, size: int) -> dict[str, Any]:
    record = scene.record
    figures = {one.name: one.of(record.scores) for one in SCENE_FIGURES}
    return {
        "_id": _object_id(record.id),
        "filepath": f"data/{record.id}.jpg",
        "tags": [record.subset],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": size,
            "mime_type": "image/jpeg",
            "width": record.width,
            "height": record.height,
            "num_channels": 3,
        },
        "_media_type": "image",
        "_rand": _share(record.id),
        "scene": record.id,
        "caption": record.caption,
        "instances": {
            "_cls": "Detections",
            "detections": [_detection(one, record) for one in scene.instances],
        },
        **figures,
    }


def _detection(view: InstanceView, scene: Scene) -> dict[str, Any]:
    instance, mask = view.record, view.mask
    x1, y1, x2, y2 = instance.box
    width, height = scene.width, scene.height
    return {
        "_id": _object_id(f"{scene.id}/{instance.index}"),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": instance.noun,
        "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
        "mask": None if mask is None else _binary(mask[y1:y2, x1:x2]),
        "confidence": None if instance.grounding is None else instance.grounding.score,
        "index": instance.index,
        "phrase": instance.phrase,
        "identity_id": instance.identity_id,
        "layer": instance.layer,
        "occluded_fraction": instance.occluded_fraction,
        "references": len(instance.references),
    }


def _binary(mask: Mask) -> dict[str, Any]:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(mask), allow_pickle=False)
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
    return {"$binary": {"base64": data, "subType": "00"}}


def _object_id(text: str) -> dict[str, str]:
    """Twelve bytes that the same scene always has."""
    return {"$oid": hashlib.sha256(text.encode()).hexdigest()[:24]}


def _share(text: str) -> float:
    """In place of the random number by which FiftyOne shuffles."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _metadata(name: str, labels: list[str]) -> dict[str, Any]:
    return {
        "_id": _object_id(name),
        "name": name,
        "slug": _slug(name),
        "version": VERSION,
        "persistent": False,
        "media_type": "image",
        "group_media_types": {},
        "tags": [],
        "info": {"written by": "imig"},
        "app_config": {
            "media_fields": ["filepath"],
            "grid_media_field": "filepath",
            "modal_media_field": "filepath",
            "plugins": {},
        },
        "classes": {"instances": labels},
        "default_classes": labels,
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "sample_fields": list(_sample_fields()),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _slug(name: str) -> str:
    words = "".join(one if one.isascii() and one.isalnum() else " " for one in name.lower())
    return "-".join(words.split()) or "imig"


def _sample_fields() -> Iterator[dict[str, Any]]:
    yield _field("id", "ObjectIdField", stored="_id")
    yield _field("filepath", "StringField")
    yield _field("tags", "ListField", of="StringField")
    yield _field("metadata", "EmbeddedDocumentField", document="metadata.ImageMetadata")
    yield _field("_media_type", "StringField")
    yield _field("_rand", "FloatField")
    yield _field("_dataset_id", "ObjectIdField")
    yield _field("scene", "StringField")
    yield _field("caption", "StringField")
    yield _field("instances", "EmbeddedDocumentField", document="labels.Detections")
    for figure in SCENE_FIGURES:
        yield _field(figure.name, "FloatField", text=figure.meaning)


def _field(
    name: str,
    kind: str,
    *,
    stored: str | None = None,
    of: str | None = None,
    document: str | None = None,
    text: str | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": _FIELDS + kind,
        "embedded_doc_type": None if document is None else f"fiftyone.core.{document}",
        "subfield": None if of is None else _FIELDS + of,
        "fields": [],
        "db_field": stored or name,
        "description": text,
        "info": None,
    }


FIFTYONE: Final = Format(
    name="fiftyone",
    summary="a FiftyOneDataset: instances as detections with masks, captions, figures",
    exporter=FiftyOneExporter,
)
