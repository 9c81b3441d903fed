"""What differs between two versions of one scene: two records in, changes out, no files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from imig.layout.boxes import iou
from imig.layout.masks import mask_area, mask_iou, rle_to_mask
from imig.schema import Instance, MaskRLE, Reference, Scene

Kind = Literal[
    "captions", "sizes", "targets", "instances", "phrases", "boxes", "masks", "references",
    "scores", "models", "sources", "arrangement", "members", "other",
]  # fmt: skip
"""What kind of thing a change is of, in the order in which they are listed."""
Path: TypeAlias = tuple[str, ...]

_KINDS: Final[Mapping[str, Kind]] = {
    "caption": "captions",
    "width": "sizes",
    "height": "sizes",
    "nouns": "phrases",
    "subjects": "phrases",
    "subject": "phrases",
    "phrase": "phrases",
    "noun": "phrases",
    "references": "references",
    "scores": "scores",
    "score": "scores",
    "similarity": "scores",
    "coverage": "scores",
    "quality": "scores",
    "agreement": "scores",
    "occluded_fraction": "scores",
    "grounding": "models",
    "segmentation": "models",
    "caption_model": "models",
    "model": "models",
    "source": "sources",
    "layer_order": "arrangement",
    "layer": "arrangement",
    "parent": "arrangement",
    "relations": "arrangement",
    "index": "arrangement",
    "name": "arrangement",
    "image": "arrangement",
}
"""By the name of a field: of those on the way to a value, the last that stands here decides."""
_BOXES: Final = frozenset({"box", "face_box", "subject_box", "crop_box", "aligned_box", "cut"})
_MIN_SAME_IOU: Final = 0.5
"""Of the boxes of two instances that count as one, where their identities' ids differ."""


@dataclass(frozen=True)
class Limits:
    """How far apart two values may be and still count as equal."""

    tolerance: float = 1e-6
    """Of figures with decimals: the largest absolute difference."""
    min_iou: float = 1.0
    """Of boxes and masks: the smallest intersection over union."""


@dataclass(frozen=True)
class Change:
    """One value that differs."""

    kind: Kind
    place: str
    """As a path: ``instances[2].box``, numbered as in the first scene, where it is in that."""
    before: Any
    """A JSON value; None where there is none. Of a mask its area in pixels, of a file its size and
    checksum."""
    after: Any
    iou: float | None = None
    """Of two boxes or two masks."""

    @property
    def difference(self) -> float | None:
        """Of two figures with decimals, absolute."""
        if isinstance(self.before, float) and isinstance(self.after, float):
            return abs(self.after - self.before)
        return None


def compare_scenes(before: Scene, after: Scene, limits: Limits) -> Iterator[Change]:
    """What the records say differently; files are not looked at.

    Instances are matched by their identity, so that those behind a removed one are no changes but
    for what counts instances (`arrangement`).

    Raises
    ------
    DataError
        When run lengths of a mask do not describe one.
    """
    first, second = (one.model_dump(exclude={"instances"}) for one in (before, after))
    yield from _compare(first, second, (), limits)
    matched, removed, added = match_instances(before.instances, after.instances)
    for one in removed:
        yield Change("instances", f"instances[{one.index}]", one.phrase, None)
    for one in added:
        yield Change("instances", f"instances[{one.index}]", None, one.phrase)
    for old, new in matched:
        at = (f"instances[{old.index}]",)
        first, second = (one.model_dump(exclude={"references", "area"}) for one in (old, new))
        yield from _compare(first, second, at, limits)
        pairs, gone, came = _match_references(old.references, new.references)
        for reference in gone:
            yield Change("references", _path_text((*at, "references")), reference.name, None)
        for reference in came:
            yield Change("references", _path_text((*at, "references")), None, reference.name)
        for one_view, other_view in pairs:
            where = (*at, f"references[{old.references.index(one_view)}]")
            yield from _compare(one_view.model_dump(), other_view.model_dump(), where, limits)


def compare_files(
    before: Scene, after: Scene, files: tuple[Mapping[str, bytes], Mapping[str, bytes]]
) -> Iterator[Change]:
    """Which stored files differ, byte by byte; those of one reference stand for each other.

    Parameters
    ----------
    files:
        By member name, of both scenes, without their JSON.
    """
    pairs: list[tuple[Kind, str | None, str | None]] = [("targets", before.target, after.target)]
    for old, new in match_instances(before.instances, after.instances)[0]:
        for one, other in _match_references(old.references, new.references)[0]:
            pairs += [("references", one.image, other.image), ("references", one.mask, other.mask)]
    named = [_named_files(one) for one in (before, after)]
    others = (files[0].keys() - named[0]) | (files[1].keys() - named[1])
    pairs += [("members", name, name) for name in sorted(others)]
    for kind, name_before, name_after in pairs:
        one_file = None if name_before is None else files[0].get(name_before)
        other_file = None if name_after is None else files[1].get(name_after)
        if one_file != other_file:
            place = name_before or name_after or ""
            yield Change(kind, place, _describe_bytes(one_file), _describe_bytes(other_file))


def match_instances(
    before: Sequence[Instance], after: Sequence[Instance]
) -> tuple[list[tuple[Instance, Instance]], list[Instance], list[Instance]]:
    """Which are the same ones, which are gone, which have come.

    The same are those of one identity, and of the others those of one noun whose boxes overlap
    most, and by half at least.
    """
    by_identity: dict[str, list[Instance]] = defaultdict(list)
    for one in after:
        by_identity[one.identity_id].append(one)
    partner: dict[int, Instance] = {}
    for one in before:
        if by_identity[one.identity_id]:
            partner[one.index] = by_identity[one.identity_id].pop(0)
    taken = {one.index for one in partner.values()}
    left = [one for one in before if one.index not in partner]
    right = [one for one in after if one.index not in taken]
    if left and right:
        overlaps = iou([one.box for one in left], [one.box for one in right])
        ranked = sorted(
            (-float(overlaps[row, column]), row, column)
            for row, one in enumerate(left)
            for column, other in enumerate(right)
            if one.noun == other.noun and overlaps[row, column] >= _MIN_SAME_IOU
        )
        for _, row, column in ranked:
            if left[row].index not in partner and right[column].index not in taken:
                partner[left[row].index] = right[column]
                taken.add(right[column].index)
    matched = [(one, partner[one.index]) for one in before if one.index in partner]
    removed = [one for one in before if one.index not in partner]
    return matched, removed, [one for one in after if one.index not in taken]


def _match_references(
    before: Sequence[Reference], after: Sequence[Reference]
) -> tuple[list[tuple[Reference, Reference]], list[Reference], list[Reference]]:
    """The first of a kind with the first of that kind, and so on: names count a whole scene's."""
    waiting: dict[str, list[Reference]] = defaultdict(list)
    for one in after:
        waiting[one.kind].append(one)
    pairs, removed = [], []
    for one in before:
        if waiting[one.kind]:
            pairs.append((one, waiting[one.kind].pop(0)))
        else:
            removed.append(one)
    return pairs, removed, [one for kind in waiting.values() for one in kind]


def _compare(before: Any, after: Any, path: Path, limits: Limits) -> Iterator[Change]:
    """The values that differ below two JSON values."""
    name = path[-1] if path else ""
    if before == after:
        return
    if name == "mask" and isinstance(before or after, dict):
        yield from _compare_masks(before, after, path, limits)
    elif name in _BOXES:
        overlap = None if None in (before, after) else float(iou([before], [after])[0, 0])
        if overlap is None or overlap < limits.min_iou:
            yield Change(_kind_of(path), _path_text(path), _plain(before), _plain(after), overlap)
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _compare(before.get(key), after.get(key), (*path, key), limits)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            # Not a name of its own: the field's name decides what a value is.
            yield from _compare(one, other, (*path[:-1], f"{name}[{number}]"), limits)
    elif not (
        isinstance(before, float)
        and isinstance(after, float)
        and abs(before - after) <= limits.tolerance
    ):
        yield Change(_kind_of(path), _path_text(path), _plain(before), _plain(after))


def _compare_masks(before: Any, after: Any, path: Path, limits: Limits) -> Iterator[Change]:
    masks = [None if one is None else rle_to_mask(MaskRLE(**one)) for one in (before, after)]
    one, other = masks
    overlap = None
    if one is not None and other is not None and one.shape == other.shape:
        overlap = 1.0 if (one == other).all() else mask_iou(one, other)
    if overlap is None or overlap < limits.min_iou:
        first, second = (None if mask is None else mask_area(mask) for mask in masks)
        yield Change("masks", _path_text(path), first, second, overlap)


def _kind_of(path: Path) -> Kind:
    names = [one.split("[")[0] for one in path]
    kind: Kind = "other"
    for name in names:
        kind = _KINDS.get(name, kind)
    if names[-1] in _BOXES and kind == "other":
        return "boxes"
    # A reference's mask is the name of a file; a source's picture has nothing to do with one.
    return "arrangement" if names[-1] == "mask" else kind


def _path_text(path: Path) -> str:
    return ".".join(path)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _named_files(scene: Scene) -> set[str]:
    references = [one for instance in scene.instances for one in instance.references]
    masks = {one.mask for one in references if one.mask is not None}
    return {scene.target, *(one.image for one in references), *masks}


def _describe_bytes(data: bytes | None) -> str | None:
    if data is None:
        return None
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}"
