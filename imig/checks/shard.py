"""Check one shard: the tar, the names and order of its members, then each sample."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imig.checks.encoded import can_be_encoded
from imig.checks.faults import Fault
from imig.checks.pictures import Findings
from imig.checks.sample import check_scene, instance_masks, read_scene
from imig.layout.run_lengths import mask_extents
from imig.packed import Packed
from imig.regular_file import open_regular_file
from imig.schema import EncodingRecord, MemberName, SampleId, Scene
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.index import IndexRow, scene_to_row
from imig.shards.tar import Buffer, TarFault, TarMember, member_data, split_member, walk_tar
from imig.shards.writer import JSON_MEMBER

_SAMPLE_ID: TypeAdapter[str] = TypeAdapter(SampleId)
_MEMBER_NAME: TypeAdapter[str] = TypeAdapter(MemberName)
_OF_THE_END = ("missing-end-of-archive", "data-after-end")
_TOGETHER = 64  # samples whose scenes are in memory at a time; their pictures are not


@dataclass
class ShardCheck:
    """What the check of one shard found; crosses from worker to parent process."""

    name: str
    bytes: int = 0
    sha256: str = ""
    faults: list[Fault] = field(default_factory=list)
    sample_ids: list[str] = field(default_factory=list)
    rows: Packed[IndexRow] = field(default_factory=Packed)
    """What the index should say; only of samples whose JSON can be read."""
    images: int = 0
    masks: int = 0
    encodings: dict[str, EncodingRecord | None] = field(default_factory=dict)
    """How samples were encoded; None: not, though it could have been. Unreadable ones are left
    out: they are faults of their own."""


@dataclass
class _Group:
    """The members of one sample, as far as they are usable."""

    offset: int
    end: int
    members: dict[str, TarMember] = field(default_factory=dict)


def check_shard(path: Path) -> ShardCheck:
    """Check a shard from its first to its last byte; never raises for what the file holds."""
    check = ShardCheck(path.name)
    try:
        with (
            open_regular_file(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            check.bytes = len(data)
            check.sha256 = hashlib.sha256(data).hexdigest()
            groups = list(_group_members(check, data).items())
            for start in range(0, len(groups), _TOGETHER):
                _check_groups(check, data, groups[start : start + _TOGETHER])
    except (OSError, ValueError) as error:
        # ValueError is what mmap says of an empty file.
        check.faults.append(Fault("unreadable-shard", str(error), shard=path.name))
    check.rows.pack()
    return check


def _check_groups(check: ShardCheck, data: Buffer, groups: Sequence[tuple[str, _Group]]) -> None:
    """Some samples; of all of them the masks are measured at once."""
    read: list[tuple[Findings, _Group, Scene | None]] = []
    for sample_id, group in groups:
        findings = Findings(shard=check.name, sample=sample_id)
        member = group.members.get(JSON_MEMBER)
        json = None if member is None else member_data(data, member)
        read.append((findings, group, read_scene(findings, group.members.keys(), json)))
    scenes = [scene for _, _, scene in read if scene is not None]
    extents = iter(mask_extents([mask for scene in scenes for mask in instance_masks(scene)]))
    for findings, group, scene in read:
        if scene is not None:
            files = {name: member_data(data, member) for name, member in group.members.items()}
            check_scene(findings, scene, files, extents)
        _note(check, findings, group, scene)


def _note(check: ShardCheck, findings: Findings, group: _Group, scene: Scene | None) -> None:
    """What the check of one sample found."""
    sample_id = findings.sample
    check.sample_ids.append(sample_id)
    check.faults += findings.faults
    check.images += findings.images
    check.masks += findings.masks
    if findings.encoding is not None:
        check.encodings[sample_id] = findings.encoding
    elif ENCODED_MEMBER not in group.members and scene is not None and can_be_encoded(scene):
        check.encodings[sample_id] = None
    if scene is not None:
        size = group.end - group.offset
        row = scene_to_row(scene, shard=check.name, offset=group.offset, size=size)
        check.rows.extend([row])


def _group_members(check: ShardCheck, data: Buffer) -> dict[str, _Group]:
    """Members by sample; what is wrong with the tar, with names and with their order."""
    groups: dict[str, _Group] = {}
    current, run, last = "", _Group(0, 0), ""

    def add(kind: str, message: str, *, sample: str | None = None) -> None:
        check.faults.append(Fault(kind, message, shard=check.name, sample=sample))

    for item in walk_tar(data):
        if isinstance(item, TarFault):
            add(item.kind, item.message, sample=_sample_of(item, current))
            continue
        key, name = split_member(item.name)
        if not item.plain:
            add("not-a-plain-file", f"{item.name!r} is no plain file", sample=key)
            continue
        if not _is_safe(key, name):
            add("unsafe-name", f"{item.name!r} is no member name of a dataset", sample=key)
            continue
        if key != current:
            if key in groups and name in groups[key].members:
                add("duplicate-sample", f"again at byte {item.offset}", sample=key)
                run = _Group(item.offset, item.end)
            elif key in groups:
                add("scattered-sample", f"{name} lies apart, at byte {item.offset}", sample=key)
                run = groups[key]
            else:
                run = groups[key] = _Group(item.offset, item.end)
            current, last = key, ""
        if name in run.members:
            add("duplicate-member", f"a second {name} at byte {item.offset}", sample=key)
            continue
        if name < last:
            add("unsorted-members", f"{name} stands behind {last}", sample=key)
        run.members[name] = item
        run.end, last = item.end, name
    return groups


def _sample_of(fault: TarFault, current: str) -> str | None:
    """Whose fault damage is: of the member's sample, else of the last one before it."""
    if fault.member is not None:
        return split_member(fault.member)[0]
    return None if fault.kind in _OF_THE_END else current or None


def _is_safe(key: str, member: str) -> bool:
    """Whether a member name is ``<sample id>.<member name>``: no folder, no ``..``, no odd sign."""
    return _obeys(_SAMPLE_ID, key) and (member == JSON_MEMBER or _obeys(_MEMBER_NAME, member))


@lru_cache(4096)
def _obeys(pattern: TypeAdapter[str], name: str) -> bool:
    """Remembered: the members of a sample share its id, and those of all samples few names."""
    try:
        pattern.validate_python(name)
    except ValidationError:
        return False
    return True
