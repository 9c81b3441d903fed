"""What a dataset's samples are to the `datasets` package: a column for each member, with its type.

Without them it takes the members of the first samples for those of all, and refuses shards whose
samples have different references. The types of the column `json` are those of `imig.schema`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Final, Literal

from imig.schema import Manifest, Scene
from imig.shards.features import FEATURES_MEMBER
from imig.shards.index import IndexRow
from imig.shards.writer import JSON_MEMBER, member_names
from imig.stores.path import OutputPath

Split = Literal["train", "validation"]

WHOLE: Final = "default"
"""The configuration that has the samples of all subsets, and that nobody need name."""
_FIRST: Final = ("target.jpg", JSON_MEMBER)
"""Columns that stand first, where people look."""
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp")
_READERS_OWN: Final = ("__key__", "__url__")
"""Columns that every webdataset reader adds: the sample's id, and its shard."""
_SCALARS: Final = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
"""JSON Schema's types, and Arrow's."""


@dataclass(frozen=True)
class Part:
    """A dataset as a card describes it, alone or as one of the two that `imig split` has made."""

    folder: OutputPath
    manifest: Manifest
    rows: Sequence[IndexRow]
    split: Split
    prefix: str = ""
    """From the card's folder to the dataset's: `train/`."""
    known_members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """As `members`, of shards that need not be read for it."""

    @cached_property
    def members(self) -> dict[str, frozenset[str]]:
        """Shard -> the members that any of its samples has. Raises DataError for a damaged one."""
        names = (record.name for record in self.manifest.shards)
        return {
            name: self.known_members.get(name) or member_names(self.folder / name) for name in names
        }


def hub_configurations(parts: Sequence[Part]) -> dict[str, list[dict[str, Any]]]:
    """The keys `configs` and `dataset_info` of a card's front matter; none of an empty dataset.

    One configuration a subset; where there are several, before them the one that has them all.

    Raises
    ------
    DataError
        When a shard cannot be read.
    """
    subsets = sorted({row.subset for part in parts for row in part.rows})
    names = [WHOLE, *subsets] if len(subsets) != 1 else subsets
    configs: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    for name in names:
        wanted = set(subsets) if name == WHOLE else {name}
        data_files, splits, columns = [], [], set[str]()
        for part in parts:
            found, size, rows = set[str](), 0, 0
            for row in part.rows:
                if row.subset in wanted:
                    found.add(row.shard)
                    size, rows = size + row.size, rows + 1
            shards = sorted(found)
            if not shards:
                continue
            data_files.append({"split": part.split, "path": _paths(part, name, shards)})
            splits.append(
                {
                    "name": part.split,
                    "num_bytes": size,
                    "num_examples": rows,
                }
            )
            columns |= set[str]().union(*(part.members[shard] for shard in shards))
        if data_files:
            configs.append({"config_name": name, "data_files": data_files})
            infos.append(
                {"config_name": name, "features": columns_to_features(columns), "splits": splits}
            )
    if len(configs) > 1:
        configs[0]["default"] = True
    return {"configs": configs, "dataset_info": infos} if configs else {}


def columns_to_features(members: Iterable[str]) -> list[dict[str, Any]]:
    """The members of some samples as the list `features` of a card."""
    names = set(members)
    ordered = [*(one for one in _FIRST if one in names), *sorted(names.difference(_FIRST))]
    return [
        *({"name": name, **_member_feature(name)} for name in ordered),
        *({"name": name, "dtype": "string"} for name in _READERS_OWN),
    ]


@cache
def _scene_schema() -> dict[str, Any]:
    return Scene.model_json_schema()


def _member_feature(name: str) -> dict[str, Any]:
    if name == JSON_MEMBER:
        schema = _scene_schema()
        return _schema_feature(schema, schema["$defs"])
    if name == FEATURES_MEMBER:
        return {"list": "float16"}
    if name.endswith(_PICTURES):
        return {"dtype": "image"}
    return {"dtype": "binary"}


def _schema_feature(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A type of JSON Schema as the card writes it; what may be null is so in Arrow anyway."""
    if "$ref" in schema:
        return _schema_feature(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        (kind,) = (one for one in schema["anyOf"] if one.get("type") != "null")
        return _schema_feature(kind, definitions)
    if schema["type"] == "array":
        # A tuple's items are all alike here.
        item = _schema_feature(schema.get("items") or schema["prefixItems"][0], definitions)
        return {"list": item.get("struct") or item.get("dtype") or item}
    if schema["type"] != "object":
        return {"dtype": _SCALARS[schema["type"]]}
    fields = {
        name: field
        for name, field in schema["properties"].items()
        # Figures of stages from outside have names of their own, and Arrow has no place for such.
        if not _is_open(field)
    }
    return {
        "struct": [
            {"name": name, **_schema_feature(field, definitions)} for name, field in fields.items()
        ]
    }


def _is_open(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and "properties" not in schema


def _paths(part: Part, configuration: str, shards: Sequence[str]) -> str | list[str]:
    """A glob pattern where that names these shards and no other, else their names."""
    pattern = "*.tar" if configuration == WHOLE else f"{configuration}-*.tar"
    every = (record.name for record in part.manifest.shards)
    if sorted(fnmatch.filter(every, pattern)) == list(shards):
        return part.prefix + pattern
    return [part.prefix + shard for shard in shards]
