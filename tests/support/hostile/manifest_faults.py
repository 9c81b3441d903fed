"""The manifest."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import partial

from support.hostile.planted import (
    COMMANDS,
    MANIFEST,
    NOTHING,
    ONLY_VALIDATE,
    Group,
    Part,
)
from support.hostile.victim import SHARD, Json, Victim

MANIFESTS = Group(
    "The manifest",
    "Read first, by everybody, and refused as a whole where one value does not obey the schema. "
    "Checksums are compared by `validate` alone: others would have to read every shard whole.",
)
NAME = "dataset.json"
_NO_DATASET = frozenset(COMMANDS) - {"validate"}


def _replace(victim: Victim, change: Callable[[bytes], bytes]) -> None:
    path = victim.folder / NAME
    victim.loose(lambda: path.write_bytes(change(path.read_bytes())))


TEXTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "manifest-empty": ("an empty file", lambda data: b""),
    "manifest-null": ("null", lambda data: b"null"),
    "manifest-list": ("a list", lambda data: b"[]"),
    "manifest-cut-off": ("half of the JSON", lambda data: data[: len(data) // 2]),
    "manifest-deep": ("100,000 lists within each other", lambda data: b"[" * 100_000),
    "manifest-utf-16": ("UTF-16", lambda data: data.decode().encode("utf-16")),
    "manifest-bom": ("a byte order mark before it", lambda data: b"\xef\xbb\xbf" + data),
    "manifest-two": ("two documents, one after the other", lambda data: data + data),
    "manifest-nan": ("NaN in place of a count",
                     lambda data: data.replace(b'"input": 8', b'"input": NaN')),
    "manifest-infinity": ("Infinity in place of a count",
                          lambda data: data.replace(b'"input": 8', b'"input": Infinity')),
    "manifest-fraction": ("6.5 samples", lambda data: data.replace(b'"written": 6',
                                                                   b'"written": 6.5')),
    "manifest-count-text": ('"six" samples', lambda data: data.replace(b'"written": 6',
                                                                       b'"written": "six"')),
    "manifest-binary": ("a kilobyte of zeros", lambda data: bytes(1024)),
}  # fmt: skip
for _kind, (_what, _change) in TEXTS.items():
    MANIFESTS.add(_kind, _what, MANIFEST, partial(_replace, change=_change))


@MANIFESTS.fault(ONLY_VALIDATE.naming(NAME, "name"))
def manifest_key_twice(victim: Victim) -> None:
    """a key twice: parsers differ in which value they take (imig takes the last)"""
    _replace(victim, lambda data: data.replace(b'"name"', b'"name": "x",\n "name"', 1))


@MANIFESTS.fault(MANIFEST, usage=_NO_DATASET)
def manifest_missing(victim: Victim) -> None:
    """no manifest: the folder is no dataset, or a build that did not finish"""
    victim.loose((victim.folder / NAME).unlink)


@MANIFESTS.fault(MANIFEST, usage=_NO_DATASET)
def manifest_is_a_folder(victim: Victim) -> None:
    """a folder in place of the manifest"""
    victim.make_folder(NAME)


@MANIFESTS.fault(MANIFEST, usage=_NO_DATASET)
def manifest_is_a_pipe(victim: Victim) -> None:
    """a named pipe in place of the manifest"""
    victim.pipe(NAME)


@MANIFESTS.fault(MANIFEST, usage=_NO_DATASET)
def manifest_is_endless(victim: Victim) -> None:
    """a link to /dev/zero in place of the manifest"""
    victim.link(NAME, "/dev/zero")


def _edit(victim: Victim, edit: Callable[[Json], object]) -> None:
    edit(victim.manifest)


def _shard(manifest: Json, **new: object) -> None:
    manifest["shards"][0] |= new


def _within(depth: int) -> Json:
    recipe: Json = {}
    for _ in range(depth):
        recipe = {"merged": [recipe]}
    return recipe


VALUES: dict[str, tuple[str, Callable[[Json], object]]] = {
    "manifest-name-1-mb": ("a name of 1 MB", lambda one: one.update(name="A" * 10**6)),
    "manifest-shard-absolute": ("a shard at an absolute path",
                                lambda one: _shard(one, name="/tmp/x.tar")),
    "manifest-shard-hidden": ("a shard whose name begins with a dot",
                              lambda one: _shard(one, name=".x.tar")),
    "manifest-shard-address": ("a shard at an address",
                               lambda one: _shard(one, name="http://127.0.0.1/x.tar")),
    "manifest-shard-command": ("a shard whose name is a command",
                               lambda one: _shard(one, name="pipe:touch pwned;.tar")),
    "manifest-shard-nul": ("a shard whose name has a NUL", lambda one: _shard(one, name="a\0.tar")),
    "manifest-shard-number": ("a shard whose name is a number", lambda one: _shard(one, name=7)),
    "manifest-shard-twice": ("a shard twice",
                             lambda one: one["shards"].append(copy.deepcopy(one["shards"][0]))),
    "manifest-samples-negative": ("-1 samples in a shard", lambda one: _shard(one, samples=-1)),
    "manifest-recipe-list": ("a recipe that is a list", lambda one: one.update(recipe=[])),
    "manifest-filter-text": ("a filter that is a text",
                             lambda one: one["recipe"].update(filter="x")),
    "manifest-source-text": ("a source that is a text",
                             lambda one: one["recipe"].update(source="x")),
    "manifest-merged-50-deep": ("60 recipes merged into each other",
                                lambda one: one.update(recipe=_within(60))),
    "manifest-merged-texts": ("recipes that are texts, merged",
                              lambda one: one["recipe"].update(merged=["x"])),
    "manifest-models-null": ("models that are null", lambda one: one.update(models=None)),
    "manifest-unknown-key": ("a key that the schema does not have",
                             lambda one: one.update({"__import__": "os"})),
    "manifest-key-escapes": ("a key that paints on the terminal",
                             lambda one: one.update({"\x1b[2J\x07[/red]": 1})),
}  # fmt: skip
for _kind, (_what, _edit_manifest) in VALUES.items():
    MANIFESTS.add(_kind, _what, MANIFEST, partial(_edit, edit=_edit_manifest))


@MANIFESTS.fault(MANIFEST)
def manifest_200_mb(victim: Victim) -> None:
    """a name of 200 MB"""
    victim.manifest["name"] = "A" * 200_000_000


@MANIFESTS.fault(MANIFEST, usage=frozenset(COMMANDS) - {"validate"})
def manifest_version_99(victim: Victim) -> None:
    """version 99 of the schema: a newer imig's"""
    victim.manifest["schema_version"] = 99


@MANIFESTS.fault(MANIFEST)
def manifest_shard_above(victim: Victim) -> None:
    """a shard above the folder, which is there, as the index says too"""
    victim.edit_rows = lambda rows: [
        row | {"shard": "../x.tar"} if row["shard"] == SHARD else row for row in rows
    ]
    victim.manifest["shards"][0]["name"] = "../x.tar"
    victim.loose(lambda: shutil.copy(victim.shard, victim.root / "x.tar"))


_COUNTED = Part(frozenset(COMMANDS) - {"validate"}, ("index",))
"""Readers compare the manifest's counts with the rows of the index."""


@MANIFESTS.fault(Part(_COUNTED.readers | {"validate"}, ()))
def manifest_shard_samples(victim: Victim) -> None:
    """a shard that is said to have one sample more"""
    victim.manifest["shards"][0]["samples"] += 1


@MANIFESTS.fault(ONLY_VALIDATE.naming("written"))
def manifest_counts(victim: Victim) -> None:
    """counts that do not add up"""
    victim.manifest["counts"]["written"] += 5


@MANIFESTS.fault(ONLY_VALIDATE.naming(SHARD))
def manifest_checksum(victim: Victim) -> None:
    """a wrong SHA-256 of a shard"""

    def spoil() -> None:
        victim.manifest["shards"][0]["sha256"] = "0" * 64
        victim.write_manifest()

    victim.loose(spoil)


@MANIFESTS.fault(ONLY_VALIDATE.naming("index.parquet"))
def manifest_index_checksum(victim: Victim) -> None:
    """a wrong SHA-256 of the index"""

    def spoil() -> None:
        victim.manifest["index_sha256"] = "0" * 64
        victim.write_manifest()

    victim.loose(spoil)


@MANIFESTS.fault(Part(frozenset({"validate", "refilter", "split"}), ("duplicates",)),
                 usage=frozenset({"refilter"}))  # fmt: skip
def manifest_duplicates_wrong(victim: Victim) -> None:
    """thresholds for duplicates that are none"""
    victim.manifest["recipe"]["duplicates"] = {"hash_distance": "x", "y": 1}


@MANIFESTS.fault(Part(frozenset({"validate", "refilter"}), ("filter",)),
                 usage=frozenset({"refilter"}))  # fmt: skip
def manifest_filter_wrong(victim: Victim) -> None:
    """thresholds of the filter that are none"""
    victim.manifest["recipe"]["filter"] = {"min_instances": "many"}


@MANIFESTS.fault(NOTHING, legal="A name may hold anything; where it is shown, it is escaped.")
def manifest_name_markup(victim: Victim) -> None:
    """a name that is a script"""
    victim.manifest["name"] = "</title><script>alert(1)</script>[/red]\x1b[2J"


@MANIFESTS.fault(NOTHING, legal="A recipe is a record; only the blocks that imig reads have types.")
def manifest_recipe_strange(victim: Victim) -> None:
    """a recipe with keys of its own, 50 objects deep"""
    strange: Json = {}
    for _ in range(50):
        strange = {"__proto__": strange}
    victim.manifest["recipe"]["mine"] = strange


@MANIFESTS.fault(ONLY_VALIDATE.naming("dataset (1).json"))
def manifest_second(victim: Victim) -> None:
    """a second manifest beside the first"""
    copied = victim.folder / "dataset (1).json"
    victim.loose(lambda: shutil.copy(victim.folder / NAME, copied))
