"""Samples of all tars of a source: which members are the picture and its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from imig.stages.pictures import picture_suffixes
from imig.stages.sources.archive import FileState, Listing, Member, list_archive
from imig.stages.sources.archive_keys import (
    Group,
    Names,
    Votes,
    group_by_first_dot,
    group_by_last_dot,
    group_by_stems,
    is_picture,
    is_side_picture,
)
from imig.stages.sources.archive_pattern import JsonKey, MemberPattern, parse_mapping
from imig.stages.sources.config import WebdatasetMembers
from imig.stores.path import OutputPath

TEXT_SUFFIXES: Final = ("txt", "caption", "text", "captions", "prompt", "prompts")
"""Last part of a caption's name, the likeliest first; ``.caption`` is kohya's."""
JSON_SUFFIXES: Final = ("json", "jsonl", "ndjson")

_PICTURE_ORDER: Final = (
    "jpg", "jpeg", "png", "webp",
    *sorted({suffix[1:] for suffix in picture_suffixes()} - {"jpg", "jpeg", "png", "webp"}),
)  # fmt: skip
_PICTURE_WORDS: Final = ("image", "img", "picture", "photo", "rgb", "original", "main")
_CAPTION_WORDS: Final = ("caption", "prompt", "text", "description", "alt")
_OTHER_TEXTS: Final = frozenset(
    {
        "author", "class", "cls", "credit", "date", "exif", "hash", "id", "key", "label", "labels",
        "licence", "license", "md5", "negative", "ocr", "sha256", "source", "status", "uid", "url",
    }
)  # fmt: skip
"""Words in the name of a text that is no caption."""

Rule = Literal["first-dot", "last-dot", "pattern"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample: its key, and its members by extension."""

    archive: int
    """Number of the tar that has its picture."""
    key: str
    members: Mapping[str, Member]
    chosen: Mapping[str, tuple[str, ...]] | None = None
    """Where the recipe maps members: role -> the extensions that fit."""

    def picture(self) -> str | None:
        """The extension of the target: ``target.*`` (our own shards), else the plainest."""
        if self.chosen is not None and "image" in self.chosen:
            found = [*self.chosen["image"]]
        else:
            found = [one for one in self.members if is_picture(one) and not is_side_picture(one)]
        if len(found) == 1:
            return found[0]
        return min(found, key=self._picture_rank, default=None)

    def _picture_rank(self, extension: str) -> tuple[bool, bool, int, int, int, str, str]:
        lower = extension.lower()
        name, _, suffix = lower.rpartition(".")
        order = _PICTURE_ORDER.index(suffix) if suffix in _PICTURE_ORDER else len(_PICTURE_ORDER)
        empty = self.members[extension].size == 0
        return (
            name != "target", empty, lower.count("."), _place_in(name, _PICTURE_WORDS), order,
            lower, extension,
        )  # fmt: skip

    def texts(self) -> list[str]:
        """Extensions of members that may be the caption, the likeliest first."""
        if self.chosen is not None and "caption" in self.chosen:
            return sorted(self.chosen["caption"])
        picture = self.picture()
        role = picture.lower().rpartition(".")[0] if picture else ""
        ranked = [
            (rank, one.lower(), one)
            for one in self.members
            if (rank := _text_rank(one.lower(), role)) is not None
        ]
        return [one for _, _, one in sorted(ranked)]

    def jsons(self) -> list[str]:
        """Extensions of JSON members, the plainest first."""
        found = [one for one in self.members if is_json(one)]
        return sorted(found, key=lambda one: (one.count("."), one.lower(), one))

    def has_text(self) -> bool:
        """Whether a member that is not empty may say what the picture shows."""
        names = [*self.texts(), *self.jsons(), *(self.chosen or {}).get("nouns", ())]
        return any(self.members[one].size for one in names)


def is_json(extension: str) -> bool:
    """Whether a member's extension says that it is JSON."""
    return extension.lower().rpartition(".")[2] in JSON_SUFFIXES


def _place_in(name: str, words: Sequence[str]) -> int:
    return next((place for place, word in enumerate(words) if word in name), len(words))


@lru_cache(maxsize=4096)  # of millions of members only few extensions differ
def _text_rank(extension: str, role: str) -> tuple[int, ...] | None:
    """How likely a text is the caption; None for what is none."""
    name, _, suffix = extension.rpartition(".")
    if suffix not in TEXT_SUFFIXES:
        return None
    order = TEXT_SUFFIXES.index(suffix)
    if not name:
        return 0, order
    if name == role or is_picture(name):
        return 1, order
    words = set(name.replace("_", ".").replace("-", ".").split("."))
    if not words.isdisjoint(_OTHER_TEXTS):
        return None
    return 2, _place_in(name, _CAPTION_WORDS), order


@dataclass
class Samples:
    """Everything that the listing of a source's tars has found."""

    archives: list[OutputPath]
    entries: list[Entry] = field(default_factory=list)
    rule: Rule = "first-dot"
    decided: bool = False
    """Whether the tars, not the recipe, have decided for the last dot."""
    joined: list[str] = field(default_factory=list)
    """Samples of which another tar held the text."""
    same_keys: int = 0
    """Keys that more than one tar has."""
    repeated: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    hidden: int = 0
    faults: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    """Tars without members."""
    states: list[FileState] = field(default_factory=list)
    """Of each tar, when it was listed."""

    def place(self, entry: Entry) -> str:
        """Where a sample lies, for people and for the scene's record."""
        return f"{self.archives[entry.archive].name}/{entry.key}"


def list_samples(
    archives: list[OutputPath],
    *,
    key: Literal["auto", "first-dot", "last-dot"],
    members: WebdatasetMembers,
) -> Samples:
    """Read every tar's headers and group its members.

    Raises SourceError when a file is no plain tar.
    """
    samples = Samples(archives)
    names: list[Names] = []
    for number, archive in enumerate(archives):
        listing = list_archive(archive, number)
        _note(samples, listing, archive)
        names.append(listing.members)
    patterns = _patterns(members)
    json_only: dict[str, tuple[str, ...]] = dict.fromkeys(json_keys(members), ())
    for number, groups in enumerate(_group_all(samples, names, key=key, patterns=patterns)):
        samples.entries += [
            _group_to_entry(group, number, patterns, json_only) for group in groups.values()
        ]
    if len(archives) > 1:
        _join_across_archives(samples)
    return samples


def _note(samples: Samples, listing: Listing, archive: OutputPath) -> None:
    samples.repeated += [f"{archive.name}/{name}" for name in listing.repeated]
    samples.dangling += [f"{archive.name}/{name}" for name in listing.dangling]
    samples.hidden += listing.hidden
    samples.faults += listing.faults
    assert listing.state is not None
    samples.states.append(listing.state)
    if not listing.members:
        samples.empty.append(archive.name)


def _patterns(members: WebdatasetMembers) -> dict[str, MemberPattern]:
    mapped = {role: parse_mapping(text) for role, text in members}
    return {role: one for role, one in mapped.items() if isinstance(one, MemberPattern)}


def json_keys(members: WebdatasetMembers) -> dict[str, str]:
    """Role -> the JSON key that the recipe names."""
    mapped = {role: parse_mapping(text) for role, text in members}
    return {role: one.path for role, one in mapped.items() if isinstance(one, JsonKey)}


def _group_all(
    samples: Samples,
    names: Sequence[Names],
    *,
    key: Literal["auto", "first-dot", "last-dot"],
    patterns: Mapping[str, MemberPattern],
) -> list[dict[str, Group]]:
    """The groups of each tar, by the same rule for all; notes the rule."""
    image = patterns.get("image")
    if key == "auto" and image is not None and image.names_keys:
        samples.rule = "pattern"
        keyed = [one for one in patterns.values() if one.names_keys]
        return [_group_by_pattern(one, image, keyed) for one in names]
    if key != "last-dot":
        grouped = [group_by_first_dot(one) for one in names]
        votes = Votes()
        for groups in grouped:
            votes.add(groups.values())
        if key == "first-dot" or not votes.is_last():
            return grouped
        samples.decided = True
    samples.rule = "last-dot"
    return [group_by_last_dot(one) for one in names]


def _group_by_pattern(
    names: Names, image: MemberPattern, keyed: Collection[MemberPattern]
) -> dict[str, Group]:
    """Keys are what the star of the picture's pattern stands for."""
    keys = {key for name in names if (key := image.key(name)) is not None}
    ruled: dict[str, str] = {}
    for name in names:
        found = (key for one in keyed if (key := one.key(name)) is not None and key in keys)
        if (key := next(found, None)) is not None:
            ruled[name] = key
    rest = {name: place for name, place in names.items() if name not in ruled}
    others = group_by_stems(rest, keys, separators="._-")
    owner = {name: key for key, group in others.items() for name, _ in group.members.values()}
    groups: dict[str, Group] = {}
    for name, (_, member) in names.items():
        key = ruled.get(name) or owner[name]
        base = name.rpartition("/")[2]
        extension = name[len(key) :].lstrip("._-") if name.startswith(key) else base
        group = groups.setdefault(key, Group(key))
        group.members[extension if extension not in group.members else name] = (name, member)
    return groups


def _group_to_entry(
    group: Group,
    archive: int,
    patterns: Mapping[str, MemberPattern],
    json_only: Mapping[str, tuple[str, ...]],
) -> Entry:
    chosen: dict[str, tuple[str, ...]] | None = None
    if patterns or json_only:
        chosen = {**json_only} | {
            role: tuple(
                extension
                for extension, (name, _) in group.members.items()
                if pattern.fits(name, extension=extension)
            )
            for role, pattern in patterns.items()
        }
    members = {extension: member for extension, (_, member) in group.members.items()}
    return Entry(archive, group.key, members, chosen)


def _join_across_archives(samples: Samples) -> None:
    """Give pictures the texts that another tar holds under the same key.

    Only where nothing else can be meant: one tar has the picture without a text, one the text
    without a picture, no third has the key, and either the text's tar holds no pictures at all, or
    a sample was cut where one tar ends and the next begins.
    """
    by_key: dict[str, list[int]] = {}
    pictures: Counter[int] = Counter()
    texts: Counter[int] = Counter()
    edges: dict[int, tuple[int, int]] = {}
    for number, entry in enumerate(samples.entries):
        by_key.setdefault(entry.key.removeprefix("./"), []).append(number)
        first, _ = edges.get(entry.archive, (number, number))
        edges[entry.archive] = first, number
        (pictures if entry.picture() else texts)[entry.archive] += 1
    gone: set[int] = set()
    for numbers in by_key.values():
        samples.same_keys += len(numbers) > 1
        if len(numbers) != 2:
            continue
        one, other = sorted(numbers, key=lambda n: samples.entries[n].picture() is None)
        picture, text = samples.entries[one], samples.entries[other]
        apart = picture.picture() and not picture.has_text() and not text.picture()
        edge = (
            abs(picture.archive - text.archive) == 1
            and edges[min(picture.archive, text.archive)][1] == min(numbers)
            and edges[max(picture.archive, text.archive)][0] == max(numbers)
        )
        if apart and text.has_text() and (edge or not pictures[text.archive]):
            samples.entries[one] = Entry(
                picture.archive,
                picture.key,
                {**text.members, **picture.members},
                _merged(picture.chosen, text.chosen),
            )
            samples.joined.append(samples.place(picture))
            gone.add(other)
    if gone:
        samples.same_keys -= len(gone)
        samples.entries = [one for n, one in enumerate(samples.entries) if n not in gone]


def _merged(
    one: Mapping[str, tuple[str, ...]] | None, other: Mapping[str, tuple[str, ...]] | None
) -> Mapping[str, tuple[str, ...]] | None:
    if one is None or other is None:
        return one
    return {role: (*one[role], *other[role]) for role in one}
