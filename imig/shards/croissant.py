"""`croissant.json`: the dataset as MLCommons' Croissant 1.1 describes one, for search and loaders.

http://mlcommons.org/croissant/1.1. What it says of files, checksums included, is the manifest's; of
its record sets, `scenes` reads the index, the others the members of the shards.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from imig.errors import DataError
from imig.schema import Manifest
from imig.shards.atomic import atomic_write_bytes
from imig.shards.hub_columns import Part
from imig.shards.index import INDEX_NAME, INSTANCE_RECORDS

CROISSANT_NAME: Final = "croissant.json"
CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
LICENCES: Final = {
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "cc-by-nc-sa-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
}
"""The hub's identifiers, and where the licences stand; others are stated as they are."""

_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract",
            "field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
            "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
            "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}  # fmt: skip
"""The specification's, whole: readers warn of one that lacks a word."""

_INDEX: Final = "index"
_SHARD: Final = "application/x-tar"
_KINDS: Final = {"int": "sc:Integer", "float": "sc:Float", "str": "sc:Text"}


def write_croissant(folder: Path, part: Part, *, licence: str, keywords: Sequence[str]) -> None:
    """Write the description of a dataset folder.

    Parameters
    ----------
    licence:
        The hub's identifier or an address; `other` and `unknown` say nothing.

    Raises
    ------
    DataError
        When a shard cannot be read.
    """
    value = part_to_croissant(part, licence=licence, keywords=keywords)
    text = json.dumps(value, indent=1, ensure_ascii=False)
    atomic_write_bytes(folder / CROISSANT_NAME, f"{text}\n".encode())


def part_to_croissant(part: Part, *, licence: str, keywords: Sequence[str]) -> dict[str, Any]:
    """The description as a JSON value."""
    manifest, rows = part.manifest, part.rows
    shards = [record.name for record in manifest.shards]
    members = frozenset[str]().union(*part.members.values())
    files = [name for name, (pattern, _, _) in _MEMBERS.items() if _any_matches(members, pattern)]
    # Indices of the first versions have no boxes.
    boxes = any(row.instance_records for row in rows)
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": f"{len(rows)} scenes with {sum(row.instances for row in rows)} instances: "
        "each a target picture with its caption and, for each instance, a phrase, a box, a mask "
        "and reference pictures of its identity. Built with imig.",
        "conformsTo": CONFORMS_TO,
        "keywords": list(keywords),
        "distribution": [
            *_index_files(manifest),
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": record.name,
                    "name": record.name,
                    "description": f"Shard of {record.samples} scenes.",
                    "contentUrl": record.name,
                    "contentSize": f"{record.bytes} B",
                    "encodingFormat": _SHARD,
                    "sha256": record.sha256,
                }
                for record in manifest.shards
            ),
            *(_file_set(name, shards) for name in files),
        ],
        "recordSet": [
            *([_scenes(boxes=boxes)] if manifest.index_sha256 is not None else []),
            *(_record_set(name) for name in files),
        ],
    }
    if licence not in ("other", "unknown"):
        described["license"] = LICENCES.get(licence, licence)
    return described


def stated_checksums(data: bytes) -> dict[str, str]:
    """The files that a description names, with the SHA-256 that it gives of each.

    Raises
    ------
    DataError
        When it cannot be read as one of ours.
    """
    try:
        listed = json.loads(data)["distribution"]
        return {
            str(one["contentUrl"]): str(one["sha256"])
            for one in listed
            if one["@type"] == "cr:FileObject"
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"it cannot be read: {type(error).__name__}: {error}") from error


_MEMBERS: Final = {
    "targets": ("*.target.jpg", "image/jpeg", "Target pictures."),
    "records": ("*.json", "application/json", "Everything that is known of a scene."),
    "references": ("*.ref[0-9]*.jpg", "image/jpeg", "Views of identities."),
    "masks": ("*.mask.png", "image/png", "The subjects of the references, 1 bit."),
    "faces": ("*.face[0-9]*.png", "image/png", "Aligned faces with transparency."),
}
"""File set -> pattern of its members' names in the shards, format, meaning."""

_RECORDS: Final = {
    "targets": "pictures",
    "records": "annotations",
    "references": "reference_pictures",
    "masks": "reference_masks",
    "faces": "face_pictures",
}
"""File set -> the record set that reads it; no two of a description may have one name."""


def _index_files(manifest: Manifest) -> list[dict[str, Any]]:
    if manifest.index_sha256 is None:
        return []
    return [
        {
            "@type": "cr:FileObject",
            "@id": _INDEX,
            "name": INDEX_NAME,
            "description": "One row a scene, with its scores and its place in the shards.",
            "contentUrl": INDEX_NAME,
            "encodingFormat": "application/x-parquet",
            "sha256": manifest.index_sha256,
        }
    ]


def _file_set(name: str, shards: Sequence[str]) -> dict[str, Any]:
    pattern, kind, meaning = _MEMBERS[name]
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": meaning,
        "containedIn": [{"@id": shard} for shard in shards],
        "encodingFormat": kind,
        "includes": pattern,
    }


def _scenes(*, boxes: bool) -> dict[str, Any]:
    columns = {
        "id": ("str", "The scene's id: what stands before the first dot of its members' names."),
        "subset": ("str", "basic, complex or flexible."),
        "caption": ("str", "Of the whole target."),
        "width": ("int", "Pixels of the target."),
        "height": ("int", "Pixels of the target."),
        "instances": ("int", "How many it has."),
        "references": ("int", "How many it has."),
        "shard": ("str", "Where it lies."),
        "caption_similarity": ("float", "CLIP cosine of target and caption."),
        "min_dino_similarity": ("float", "Of the reference least like its instance."),
    }
    fields = [
        _field("scenes", name, _KINDS[kind], meaning, _column(name))
        for name, (kind, meaning) in columns.items()
    ]
    fields.append(
        {
            **_field("scenes", "phrases", "sc:Text", "Of its instances.", _column("phrases")),
            "isArray": True,
            "arrayShape": "-1",
        }
    )
    if boxes:
        source = {**_column(INSTANCE_RECORDS), "transform": {"jsonPath": "box"}}
        meaning = "Of its instances: x1, y1, x2, y2 in pixels; x2 and y2 exclusive."
        fields.append(
            {
                **_field("scenes", "boxes", ["sc:Integer", "cr:BoundingBox"], meaning, source),
                "isArray": True,
                "arrayShape": "-1,4",
            }
        )
    return {
        "@type": "cr:RecordSet",
        "@id": "scenes",
        "name": "scenes",
        "description": "One record a scene.",
        "key": {"@id": "scenes/id"},
        "field": fields,
    }


def _record_set(files: str) -> dict[str, Any]:
    """A record a member of the shards."""
    fields = [_scene_of(files)]
    if files == "records":
        source = _file_property(files, "content")
        meaning = "JSON, as schemas/scene.json of imig has it."
        fields.append(_field(_RECORDS[files], "record", "sc:Text", meaning, source))
    else:
        if files != "targets":
            fields.append(_name_of(files))
        source = _file_property(files, "content")
        fields.append(_field(_RECORDS[files], "picture", "sc:ImageObject", "Decoded.", source))
    one_a_scene = files in ("records", "targets")
    return {
        "@type": "cr:RecordSet",
        "@id": _RECORDS[files],
        "name": _RECORDS[files],
        "description": _MEMBERS[files][2],
        **({"key": {"@id": f"{_RECORDS[files]}/scene"}} if one_a_scene else {}),
        "field": fields,
    }


def _field(
    owner: str, name: str, kind: str | list[str], meaning: str, source: dict[str, Any]
) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{owner}/{name}",
        "name": name,
        "description": meaning,
        "dataType": kind,
        "source": source,
    }


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": _INDEX}, "extract": {"column": name}}


def _file_property(files: str, name: str) -> dict[str, Any]:
    return {"fileSet": {"@id": files}, "extract": {"fileProperty": name}}


def _scene_of(files: str) -> dict[str, Any]:
    # `references` to `scenes/id` would say more, but with it mlcroissant applies a field's regex to
    # all that is taken from the same file name.
    source = {**_file_property(files, "filename"), "transform": {"regex": r"^([^.]+)\..*$"}}
    return _field(_RECORDS[files], "scene", "sc:Text", "The scene's id, as in `scenes`.", source)


def _name_of(files: str) -> dict[str, Any]:
    regex = r"^[^.]+\.((?:ref|face)[0-9]{2,4})\..*$"
    source = {**_file_property(files, "filename"), "transform": {"regex": regex}}
    meaning = "Of the reference in the scene's record."
    return _field(_RECORDS[files], "name", "sc:Text", meaning, source)


def _any_matches(members: Iterable[str], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(f"id.{name}", pattern) for name in members)
