"""Pictures from tars in webdataset form, whoever wrote them.

Members of a sample share what stands before the first dot of their name. They need not be adjacent
here: a tar's headers are read once, and its pictures later, each at its offset.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import braceexpand

from imig.errors import UsageError
from imig.paths import input_path
from imig.recipe import WebdatasetSource
from imig.sample import Sample
from imig.schema import Source
from imig.stages.sources.base import (
    STAGE,
    SourceKind,
    bytes_to_text,
    fill_from_bytes,
    fill_text,
    printable_path,
)

_PICTURES = ("jpg", "jpeg", "png", "webp")
_CAPTIONS = ("txt", "caption", "text")
_CAPTION_KEYS = ("caption", "text", "prompt")


@dataclass(frozen=True)
class _Member:
    """Where a member's bytes lie in its tar."""

    offset: int
    size: int


@dataclass(frozen=True)
class _Entry:
    """One sample: its tar, its key, its members by extension."""

    shard: Path
    key: str
    members: Mapping[str, _Member]

    def read(self, extension: str) -> bytes:
        member = self.members[extension]
        with self.shard.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    def picture(self) -> str | None:
        """The extension of the target: ``target.*`` (our own shards), else the plainest."""
        found = [name for name in self.members if name.rpartition(".")[2] in _PICTURES]
        return min(found, key=_picture_rank, default=None)


def _picture_rank(extension: str) -> tuple[bool, int, int, str]:
    name, _, suffix = extension.rpartition(".")
    return name != "target", extension.count("."), _PICTURES.index(suffix), extension


class WebdatasetPictures(SourceKind):
    """Every sample of some tars, in the order of names and, within a tar, of first members."""

    def __init__(self, config: WebdatasetSource) -> None:
        self._config = config
        self._shards = _path_to_shards(config.path)

    @cached_property
    def _entries(self) -> list[_Entry]:
        return [entry for shard in self._shards for entry in _shard_to_entries(shard)]

    @property
    def writes(self) -> frozenset[str]:
        extensions = {name for entry in self._entries for name in entry.members}
        written = {"target"}
        if extensions & {*_CAPTIONS, "json"}:
            written.add("caption")
        if "json" in extensions:
            written.add("nouns")
        return frozenset(written)

    def count(self) -> int:
        if not self._entries:
            raise UsageError(f"no samples in {self._config.path}")
        return len(self._entries)

    def record(self, number: int, *, seed: int) -> Source:
        entry = self._entries[number]
        return Source(kind="shard", path=printable_path(f"{entry.shard.name}/{entry.key}"))

    def fill(self, sample: Sample, number: int) -> None:
        entry = self._entries[number]
        picture = entry.picture()
        if picture is None:
            members = " ".join(sorted(entry.members))
            sample.turn_down(
                stage=STAGE,
                reason="no image in the sample",
                figures={"members": printable_path(members)},
            )
            return
        fill_from_bytes(sample, entry.read(picture), self._config)
        if sample.reject is None:
            caption, nouns = _entry_to_text(entry)
            fill_text(sample, caption=caption, nouns=nouns)


def _path_to_shards(path: str) -> list[Path]:
    """A folder, a tar or a brace pattern -> existing tar files; UsageError when one is missing."""
    place = input_path(path)
    if place.is_dir():
        shards = sorted(place.glob("*.tar"))
        if not shards:
            raise UsageError(f"no .tar files in {place}")
        return shards
    try:
        shards = [Path(name) for name in braceexpand.braceexpand(str(place))]
    except ValueError as error:
        raise UsageError(f"{path}: {error}", cure="for example x-{00..12}.tar") from (error)
    missing = [shard for shard in shards if not shard.is_file()]
    if missing:
        raise UsageError(
            f"{missing[0]} is not there ({len(missing)} of {len(shards)} missing)",
            cure="give a folder, a tar file, or a brace pattern such as x-{00..12}.tar",
        )
    return shards


def _shard_to_entries(shard: Path) -> list[_Entry]:
    samples: dict[str, dict[str, _Member]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                folder, _, name = info.name.rpartition("/")
                stem, dot, extension = name.partition(".")
                if not (info.isreg() and stem and dot):
                    continue  # folders, links, hidden files and names without an extension
                key = f"{folder}/{stem}" if folder else stem
                member = _Member(info.offset_data, info.size)
                samples.setdefault(key, {})[extension.lower()] = member
    except (tarfile.TarError, OSError) as error:
        raise UsageError(
            f"{shard} is not a plain tar: {error}",
            cure="unpack compressed ones first; leave damaged ones out",
        ) from error
    return [_Entry(shard, key, members) for key, members in samples.items()]


def _entry_to_text(entry: _Entry) -> tuple[str, list[str]]:
    """Caption and nouns: a text member comes before the JSON's keys."""
    caption = next(
        (bytes_to_text(entry.read(name)) for name in _CAPTIONS if name in entry.members), ""
    )
    nouns: list[str] = []
    if "json" in entry.members:
        try:
            values = json.loads(entry.read("json"))
        except (ValueError, RecursionError):
            return caption, nouns  # another tool's metadata: the picture is what counts
        if isinstance(values, dict):
            texts = (values.get(key) for key in _CAPTION_KEYS)
            caption = caption or next((text for text in texts if isinstance(text, str)), "")
            listed = values.get("nouns")
            if isinstance(listed, list) and all(isinstance(noun, str) for noun in listed):
                nouns = listed
    return caption, nouns
