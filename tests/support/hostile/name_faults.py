"""Names of members, and which members there are."""

from __future__ import annotations

from functools import partial

from support.hostile.planted import ARCHIVE, MEMBERS, NOTHING, ONLY_VALIDATE, RECORD, Group, Part
from support.hostile.victim import CANARY, OTHER, SAMPLE, SHARD, Victim, member_bytes

NAMES = Group(
    "Names and order of members",
    "What an unpacking program would write somewhere else, and samples that are not whole. imig "
    "unpacks nothing: names are compared with those that a sample's JSON gives.",
)
_FOREIGN = ARCHIVE
_MEMBER = MEMBERS.naming(SHARD, SAMPLE)


def _stranger(victim: Victim, name: bytes) -> None:
    victim.insert(member_bytes(name, b"pwned"))


STRANGERS = {
    "name-newline": ("a name with a line break", b"evil\nname.jpg"),
    "name-escapes": ("a name that clears the terminal", b"\x1b[2Jowned\x07.jpg"),
    "name-not-ascii": ("a name of Cyrillic letters", "схема.jpg".encode()),
    "name-not-utf8": ("a name that is no UTF-8", b"\xff\xfe\x80.jpg"),
    "name-turned-around": ("a name that is written from right to left", "\u202egpj.x".encode()),
    "name-empty": ("an empty name", b""),
    "name-of-a-device": ("the name of a device on Windows", b"C:\\con.jpg"),
    "name-without-a-sample": ("a name that begins with its dot", b".jpg"),
    "name-long": ("a name that fills its 100 bytes", b"a" * 100),
}
for _kind, (_what, _name) in STRANGERS.items():
    NAMES.add(_kind, _what, _FOREIGN, partial(_stranger, name=_name))


@NAMES.fault(_FOREIGN)
def name_absolute(victim: Victim) -> None:
    """a name that begins with /, of a file that exists"""
    _stranger(victim, str(victim.root / CANARY).encode()[-100:])


@NAMES.fault(_FOREIGN)
def name_above(victim: Victim) -> None:
    """a name that leads out of the folder by .."""
    _stranger(victim, f"../{CANARY}".encode())


@NAMES.fault(_MEMBER)
def member_above(victim: Victim) -> None:
    """a member of a sample whose name leads out of the folder"""
    victim.insert(member_bytes(f"{SAMPLE}.a/../../{CANARY}", b"pwned"), before="json")


@NAMES.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE, "zz.txt"))
def member_nobody_names(victim: Victim) -> None:
    """a member that the JSON does not name: carried along, and never read"""
    victim.put("zz.txt", b"unread")


@NAMES.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE))
def members_unsorted(victim: Victim) -> None:
    """the members of a sample in reverse order"""
    mine = [one for one in victim.members if one[0].startswith(SAMPLE)]
    first = victim.members.index(mine[0])
    victim.members[first : first + len(mine)] = mine[::-1]


@NAMES.fault(_MEMBER.naming(SHARD, SAMPLE, "target.jpg"))
def member_twice(victim: Victim) -> None:
    """a second target, of another sample: readers differ in which one they take"""
    name = f"{SAMPLE}.target.jpg"
    at = [one for one, _ in victim.members].index(name)
    victim.members.insert(at, (name, victim.get("target.jpg", sample=OTHER)))


@NAMES.fault(_MEMBER)
def members_scattered(victim: Victim) -> None:
    """the target of a sample lies behind another sample"""
    name = f"{SAMPLE}.target.jpg"
    data = victim.get("target.jpg")
    victim.drop("target.jpg")
    victim.members.append((name, data))


@NAMES.fault(ARCHIVE)
def sample_twice(victim: Victim) -> None:
    """a whole sample a second time, at the end"""
    victim.placed = victim.tar()
    victim.members += [one for one in victim.members if one[0].startswith(SAMPLE)]


def _without(victim: Victim, member: str) -> None:
    victim.drop(member)


MISSING: dict[str, tuple[str, Part]] = {
    "json": ("a sample without its JSON", RECORD.naming(SHARD, SAMPLE)),
    "target.jpg": ("a sample without its target", MEMBERS),
    "ref00.jpg": ("a sample without a reference that its JSON names", MEMBERS),
    "ref00.mask.png": ("a sample without a mask that its JSON names", MEMBERS),
}
for _member, (_what, _part) in MISSING.items():
    NAMES.add(
        f"{_member.replace('.', '-')}-missing",
        _what,
        _part if _member == "json" else _part.naming(SHARD, SAMPLE, _member),
        partial(_without, member=_member),
    )


@NAMES.fault(NOTHING, legal="Whether samples have features is up to the recipe.")
def features_missing(victim: Victim) -> None:
    """one sample without the feature that the others have"""
    victim.drop("features.npy")
