"""Which members of a tar make one sample.

webdataset's rule is that members of a sample share what stands before the first dot of their name.
Whoever names pictures ``22.05.jpg`` means the last dot. Which of the two is meant is decided for
all tars of a source together, by what is in them and in no order:

* A key that owns several pictures, two of which or more have companions of their own (``22.05.jpg``
  and ``22.05.txt``, ``22.06.jpg`` and ``22.06.txt``), speaks for the last dot.
* So does one that owns nothing but pictures, told apart by what begins with a digit.
* One whose pictures share a companion (``a.image.jpg``, ``a.depth.png``, ``a.txt``) speaks for the
  first dot.
* Nothing but pictures, more than eight of a key, told apart by words that no other key has, speak
  for the last dot: no sample has so many roles.

The last dot needs more voices than the first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from imig.stages.pictures import picture_suffixes
from imig.stages.sources.archive import Member

Names = Mapping[str, tuple[str, Member]]
"""As `imig.stages.sources.archive.Listing.members`."""

MANY_PICTURES: Final = 8
"""More pictures of a key than a sample has roles."""

SIDE_WORDS: Final = frozenset(
    {
        "alpha", "canny", "cond", "conditioning", "control", "depth", "edge", "edges", "hed",
        "heatmap", "lineart", "mask", "masks", "matte", "normal", "normals", "pose", "preview",
        "saliency", "scribble", "seg", "segmentation", "thumb", "thumbnail", "trimap",
    }
)  # fmt: skip
"""Words in a member's name for what belongs to a picture and is none (ControlNet's conditions,
mattes, thumbnails)."""

_WORDS: Final = re.compile(r"[^a-z0-9]+")
_BEGINS_WITH_DIGIT: Final = re.compile(r"[0-9]")


@dataclass
class Group:
    """The members of a sample by extension: what follows the key and its dot, as it stands."""

    key: str
    """As it stands in the tar."""
    members: dict[str, tuple[str, Member]] = field(default_factory=dict)
    """Extension -> (name to compare by, place)."""


@lru_cache(maxsize=4096)  # of millions of members only few extensions differ
def is_picture(name: str) -> bool:
    """Whether a member's name or extension says that it is a picture."""
    return f".{name.rpartition('.')[2].lower()}" in picture_suffixes()


@lru_cache(maxsize=4096)
def is_side_picture(extension: str) -> bool:
    """Whether ``mask.png`` and the like: a picture that is not what the sample shows."""
    words = _WORDS.split(extension.rpartition(".")[0].lower())
    return not SIDE_WORDS.isdisjoint(words)


def group_by_first_dot(names: Names) -> dict[str, Group]:
    """Key to compare by -> sample, in the order of first members."""
    groups: dict[str, Group] = {}
    for name, (raw, member) in names.items():
        start = name.rfind("/") + 1
        dot = name.index(".", start)
        _add(groups, name, raw, member, key_length=dot)
    return groups


def group_by_last_dot(names: Names) -> dict[str, Group]:
    """Keys are names of pictures without their suffix.

    What has no picture of its own joins the picture that it continues: ``22.05.caption.txt`` and
    ``22.05.mask.png`` belong to ``22.05.jpg``.
    """
    pictures = {name.rpartition(".")[0] for name in names if is_picture(name)}
    owners = (_parent(name, pictures) for name in names if not is_picture(name))
    owned = {owner for owner in owners if owner is not None}
    return group_by_stems(names, {one for one in pictures if _is_key(one, pictures, owned)})


def _is_key(stem: str, pictures: Collection[str], owned: Collection[str]) -> bool:
    """Whether a picture has a sample of its own; else it belongs to one whose name it continues."""
    if is_side_picture(f"{stem.rpartition('/')[2]}."):
        return _parent(stem, pictures) is None
    return stem in owned or _parent(stem, owned) is None


def group_by_stems(
    names: Names, stems: Collection[str], *, separators: str = "."
) -> dict[str, Group]:
    """Each member joins the longest of `stems` that its name continues behind a separator.

    What continues none has a key of its own: what stands before the last dot.
    """
    groups: dict[str, Group] = {}
    for name, (raw, member) in names.items():
        key = _parent(name, stems, separators=separators) or name.rpartition(".")[0]
        _add(groups, name, raw, member, key_length=len(key))
    return groups


def _add(groups: dict[str, Group], name: str, raw: str, member: Member, *, key_length: int) -> None:
    key, extension = name[:key_length], name[key_length + 1 :]
    # The raw name may be longer (decomposed characters, `./`): cut as many dots from its end.
    group = groups.get(key)
    if group is None:
        behind = name[key_length:]
        raw_key = raw.rsplit(".", behind.count("."))[0] if behind[0] == "." else key
        group = groups[key] = Group(raw_key)
    group.members[extension] = (name, member)


def _parent(name: str, stems: Collection[str], *, separators: str = ".") -> str | None:
    """The longest of `stems` that the name continues behind a separator."""
    first = name.rfind("/") + 1
    for position in range(len(name) - 1, first, -1):
        if name[position] in separators and name[:position] in stems:
            return name[:position]
    return None


@dataclass
class Votes:
    """What the keys of webdataset's rule say about the dot that is meant."""

    first: int = 0
    last: int = 0
    _many: list[frozenset[str]] = field(default_factory=list)
    _roles: Counter[str] = field(default_factory=Counter)

    def add(self, groups: Iterable[Group]) -> None:
        """Ask the samples of one tar, grouped by the first dot."""
        for group in groups:
            pictures = [one for one in group.members if is_picture(one)]
            if len(pictures) > 1:
                self._ask(group.members, {_role(one) for one in pictures})

    def _ask(self, members: Collection[str], roles: set[str]) -> None:
        if len(roles) < 2:
            return
        companions = [one for one in members if not is_picture(one)]
        if "target" in roles:
            self.first += 1  # a shard of imig's own
        elif companions:
            owners = {_owner(one, roles) for one in companions}
            shared = None in owners
            own = {one for one in owners if one is not None and not is_side_picture(f"{one}.")}
            if len(own) > 1:
                self.last += 1
            elif shared:
                self.first += 1
        elif all(not role or _BEGINS_WITH_DIGIT.match(role) for role in roles):
            self.last += 1
        else:
            self._roles.update(roles)
            if len(roles) > MANY_PICTURES:
                self._many.append(frozenset(roles))

    def is_last(self) -> bool:
        """Whether the last dot is meant."""
        names = sum(all(self._roles[role] == 1 for role in roles) for roles in self._many)
        return self.last + names > self.first


def _role(extension: str) -> str:
    """``image`` of image.jpg; of jpg, nothing."""
    return extension.rpartition(".")[0]


def _owner(extension: str, roles: set[str]) -> str | None:
    """The role whose companion this is: ``05`` of 05.txt, 05.caption.txt and 05.jpg.txt."""
    for prefix in _prefixes(extension):
        if prefix in roles:
            return prefix
    return None


def _prefixes(extension: str) -> Iterator[str]:
    while extension:
        extension = extension.rpartition(".")[0]
        yield extension
