"""What people have corrected in an annotation tool goes back into the scenes it was exported from.

A tool gives back regions: boxes and masks, with a phrase. Each is found again in the scene, by the
mark that it was exported with, else by where it lies; what is not found again was removed, what was
not there before was added. Everything that the tool does not carry stays as it is in the dataset,
unless it is not true any more: figures of a corrected instance, and its crop, which is cut anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from imig.errors import DataError
from imig.interop.format import Losses
from imig.interop.regions import Object, Region, bounds_of, non_empty, objects_of
from imig.interop.xml_text import xml_text
from imig.layout.boxes import iou
from imig.layout.masks import clip_mask_to_box, mask_iou, rle_to_mask
from imig.layout.run_lengths import mask_extents
from imig.sample import Sample
from imig.schema import (
    MAX_INSTANCES,
    MIN_FLEXIBLE_INSTANCES,
    Box,
    Correction,
    Instance,
    InstanceScores,
    MaskRLE,
    Reference,
    ReferenceKind,
    Scene,
    Similarity,
    Subset,
)
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.views import SceneView
from imig.stages.crop import add_crop
from imig.stages.instances import keep_instances, reference_members, set_instances
from imig.stages.nouns import head_noun
from imig.stages.score import scene_coverage
from imig.text import to_stored

PROMISED: Final[dict[Subset, frozenset[ReferenceKind]]] = {
    "basic": frozenset(),
    "complex": frozenset({"crop", "edit"}),
    "flexible": frozenset({"source"}),
}
"""Views without which an instance is none of the subset; see `imig.checks.subset`."""
SAME_THING: Final = 0.5
"""IoU of a mask before and after, below which its edited views may show another thing."""

What = Literal["added", "removed", "box", "mask", "phrase", "noun", "caption"]


@dataclass(frozen=True)
class Returned:
    """A scene as a tool gives it back."""

    tool: str
    by: str | None
    at: str | None
    regions: Sequence[Region]
    boxes_shown: bool
    """Every instance was exported with its box, also those that have a mask."""
    masks_shown: bool
    """Every instance that has a mask was exported with it."""
    caption: str | None = None
    """None: the tool does not say."""


def correct(scene: SceneView, returned: Returned, losses: Losses, *, crop_margin: float) -> Sample:
    """The scene as it was corrected; the sample as it is stored where nothing was.

    `crop_margin` is that of the stage `crop`, for crops that are cut anew.

    Raises
    ------
    DataError
        More instances than a scene may have, or fewer than its subset must.
    """
    sample = carried(scene, losses)
    work = _Work(sample, returned, losses, crop_margin)
    if returned.boxes_shown or returned.masks_shown:
        found, added = objects_of(returned.regions, sample.scene)
        work.instances(found)
        work.add(added)
    elif sample.scene.instances:
        # Of a project made without imig, or before its annotations were loaded.
        work.lose("pictures with nothing on them, nor our mark: instances are as they were", "all")
    work.caption()
    if work.corrections:
        work.settle()
    return sample


def carried(scene: SceneView, losses: Losses) -> Sample:
    """The sample as it is stored, without what `imig encode` added."""
    sample = scene.to_sample()
    if sample.files.pop(ENCODED_MEMBER, None) is not None:
        losses.note("what `imig encode` has added", f"{scene.record.id}: {ENCODED_MEMBER}")
    return sample


@dataclass
class _Work:
    """A sample that is being corrected, and what has been done to it."""

    sample: Sample
    returned: Returned
    losses: Losses
    crop_margin: float
    corrections: list[Correction] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)
    unpromised: list[Instance] = field(default_factory=list)
    """They have lost a view that their subset promises."""
    moved: bool = False
    """A box or a mask is not what it was, or instances have come or gone."""

    @property
    def scene(self) -> Scene:
        return self.sample.scene

    def note(
        self, what: What, instance: Instance | None = None, *, before: str | None = None
    ) -> None:
        self.corrections.append(
            Correction(
                tool=self.returned.tool,
                by=self.returned.by,
                at=self.returned.at,
                what=what,
                identity_id=None if instance is None else instance.identity_id,
                before=before,
            )
        )

    def lose(self, kind: str, details: str) -> None:
        self.losses.note(kind, f"{self.scene.id}: {details}")

    def instances(self, found: dict[int, Object]) -> None:
        """Compare every instance with what was found of it."""
        for instance in self.scene.instances:
            if instance.index not in found:
                self.note("removed", instance, before=instance.phrase)
                self.removed.add(instance.index)
                continue
            self._shape(instance, found[instance.index])
            self._words(instance, found[instance.index])

    def _shape(self, instance: Instance, there: Object) -> None:
        box, mask = self._agreed(instance, there)
        box_before, mask_before = instance.box, instance.mask
        if mask is None and mask_before is None and box == box_before:
            return
        if box != box_before:
            self.note("box", instance)
        if not _same_mask(mask, mask_before):
            self.note("mask", instance)
        elif box == box_before:
            return
        instance.box = box
        instance.mask = mask
        instance.area = None if mask is None else _area(mask)
        instance.occluded_fraction = None
        instance.scores = InstanceScores()
        if box != box_before:
            instance.grounding = None
        if mask != mask_before:
            instance.segmentation = None
        if instance.face_box is not None and not _holds(box, instance.face_box):
            instance.face_box = None
        same = _same_thing((box_before, mask_before), (box, mask))
        self._references(instance, same_thing=same)
        self.moved = True

    def _agreed(self, instance: Instance, there: Object) -> tuple[Box, MaskRLE | None]:
        """A box and a mask that lies in it."""
        box, mask = there.box, there.mask
        if mask is None and not self.returned.masks_shown:
            mask = instance.mask
        mask_changed = not _same_mask(mask, instance.mask)
        bounds = None if mask is None else bounds_of(mask)
        if mask is None or bounds is None:
            return box or instance.box, None
        if mask_changed:
            # A corrected mask brings its box, unless that was corrected too.
            corrected = box is not None and box != instance.box
            return (_around(box, bounds) if box is not None and corrected else bounds), mask
        if box is None:
            return (bounds if self.returned.boxes_shown else instance.box), instance.mask
        if not _holds(box, bounds):
            self.lose("parts of masks outside of a corrected box", f"instance {instance.index}")
            return box, non_empty(clip_mask_to_box(rle_to_mask(mask), box))
        return box, instance.mask

    def _references(self, instance: Instance, *, same_thing: bool) -> None:
        """Views that are still true stay; crops are cut anew."""
        crops = [one for one in instance.references if one.kind == "crop"]
        stay = [one for one in instance.references if one.kind != "crop"]
        instance.references = []
        for crop in crops:
            self._forget(crop)
        if crops and instance.mask is not None:
            self.cut(instance, crops[0].name)
        elif crops:
            self.lose("crops of instances whose mask was removed", crops[0].name)
            self._lost(instance, crops[0])
        for one in stay:
            if self._is_true(one, instance, same_thing=same_thing):
                one.similarity, one.agreement = Similarity(), None
                instance.references.append(one)
            else:
                self.lose(f"views of kind {one.kind} of what is now another thing", one.name)
                self._forget(one)
                self._lost(instance, one)

    @staticmethod
    def _is_true(one: Reference, instance: Instance, *, same_thing: bool) -> bool:
        if one.kind == "source":  # it was there before the target
            return True
        return same_thing and (one.kind != "face" or instance.face_box is not None)

    def _forget(self, reference: Reference) -> None:
        for name in reference_members(reference):
            self.sample.files.pop(name, None)

    def cut(self, instance: Instance, name: str) -> None:
        add_crop(self.sample, instance, self.sample.target(), name=name, margin=self.crop_margin)

    def _words(self, instance: Instance, there: Object) -> None:
        phrase = _said(there.phrase, stored=instance.phrase)
        noun = _said(there.label, stored=instance.noun)
        if phrase != instance.phrase:
            self.note("phrase", instance, before=instance.phrase)
            self.scene.nouns = [
                phrase if one == instance.phrase else one for one in self.scene.nouns
            ]
            instance.phrase = phrase
            if noun == instance.noun:
                noun = head_noun(phrase)
            instance.scores.phrase_similarity = None
            for one in instance.references:
                one.agreement = None
            for other in self.scene.instances:
                other.scores.phrase_margin = None
        if noun != instance.noun:
            self.note("noun", instance, before=instance.noun)
            instance.noun = noun

    def add(self, objects: Sequence[Object]) -> None:
        """Take the removed ones out, and set the added ones behind those that stay."""
        if PROMISED[self.scene.subset] and objects:
            promised = " and ".join(sorted(PROMISED[self.scene.subset]))
            self.lose(
                f"instances added to scenes of the subset {self.scene.subset}",
                f"{objects[0].label}: it has no view {promised}",
            )
            objects = []
        if len(self.scene.instances) - len(self.removed) + len(objects) > MAX_INSTANCES:
            raise DataError(
                f"it has more than {MAX_INSTANCES} instances, the most a scene may have"
            )
        new = [one for one in map(self._new, objects) if one is not None]
        if self.removed:
            stay = {one.index for one in self.scene.instances} - self.removed
            keep_instances(self.sample, sorted(stay))
            self.moved = True
        if not new:
            return
        self.moved = True
        # Somebody drew them on the finished picture: before everything else.
        order = list(self.scene.layer_order)
        first = len(self.scene.instances)
        if order or not first:
            order += range(first, first + len(new))
        set_instances(self.sample, [*self.scene.instances, *new], layer_order=order)
        for instance in self.scene.instances[first:]:
            self.note("added", instance)
            name = _free_name(self.scene)
            if instance.mask is not None and name is not None:
                self.cut(instance, name)

    def _new(self, there: Object) -> Instance | None:
        phrase = to_stored(there.phrase or there.label or "")
        mask = there.mask
        bounds = None if mask is None else bounds_of(mask)
        box = there.box if bounds is None else _around(there.box or bounds, bounds)
        if not phrase or box is None:
            self.lose("regions without a label or a phrase", f"at {list(box or ())}")
            return None
        known = {one.identity_id for one in self.scene.instances}
        return Instance(
            index=0,  # until it has its place
            identity_id=_identity(self.scene.id, [str(box), phrase, str(mask)], known),
            phrase=phrase,
            noun=to_stored(there.label or "") or head_noun(phrase),
            box=box,
            mask=mask if bounds is not None else None,
            area=None if mask is None or bounds is None else _area(mask),
        )

    def caption(self) -> None:
        caption = _said(self.returned.caption, stored=self.scene.caption)
        if caption == self.scene.caption:
            return
        self.note("caption")
        self.scene.caption, self.scene.caption_model = caption, None
        self.scene.scores.caption_similarity = self.scene.scores.preference = None

    def settle(self) -> None:
        """Bring what follows from the instances up to what they are now."""
        self._leave_out_unpromised()
        scene = self.scene
        if self.moved:
            for one in scene.instances:
                one.scores.identity_similarity = one.scores.phrase_margin = None
            set_instances(self.sample, scene.instances, layer_order=scene.layer_order)
            if scene.scores.coverage is not None:
                self.scene.scores.coverage = scene_coverage(self.scene)
        self.scene.corrections = [*self.scene.corrections, *self.corrections]

    def _lost(self, instance: Instance, reference: Reference) -> None:
        if reference.kind in PROMISED[self.scene.subset]:
            self.unpromised.append(instance)

    def _leave_out_unpromised(self) -> None:
        scene = self.scene
        stay = []
        for one in scene.instances:
            if any(one is other for other in self.unpromised):
                kinds = " and ".join(sorted(PROMISED[scene.subset]))
                self.lose(f"instances of scenes of the subset {scene.subset}", f"without {kinds}")
                self.note("removed", one, before=one.phrase)
            else:
                stay.append(one.index)
        if len(stay) < len(scene.instances):
            keep_instances(self.sample, stay)
            self.moved = True
        if scene.subset == "flexible" and len(stay) < MIN_FLEXIBLE_INSTANCES:
            raise DataError(
                f"{len(stay)} of its instances are left; one of the subset flexible has "
                f"{MIN_FLEXIBLE_INSTANCES} or more",
                cure="leave it out, or keep more of them",
            )


def _said(text: str | None, *, stored: str) -> str:
    """What a tool gives back; what differs in no more than tools change by themselves is as it was.

    Text fields are stripped, and XML has no spelling for some characters.
    """
    if not text or _plain(text) == _plain(stored):
        return stored
    return to_stored(text) or stored


def _plain(text: str) -> str:
    return " ".join(xml_text(text).split())


def _same_mask(a: MaskRLE | None, b: MaskRLE | None) -> bool:
    if a is None or b is None or a == b:
        return a is b or a == b
    # The same pixels can be spelt in several ways.
    return bool((rle_to_mask(a) == rle_to_mask(b)).all())


def _same_thing(before: tuple[Box, MaskRLE | None], after: tuple[Box, MaskRLE | None]) -> bool:
    if before[1] is not None and after[1] is not None:
        return mask_iou(rle_to_mask(before[1]), rle_to_mask(after[1])) >= SAME_THING
    return bool(iou([before[0]], [after[0]])[0, 0] >= SAME_THING)


def _area(mask: MaskRLE) -> int:
    extent = mask_extents([mask])[0]
    assert extent is not None, "regions hold masks that can be decoded"
    return extent.area


def _holds(outer: Box, inner: Box) -> bool:
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and outer[2] >= inner[2]
        and outer[3] >= inner[3]
    )


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _identity(scene_id: str, parts: Sequence[str], known: set[str]) -> str:
    """By what it is, so that the same file gives the same identity."""
    for number in range(len(known) + 1):
        text = "\x1f".join([scene_id, *parts, str(number)])
        found = hashlib.sha256(text.encode()).hexdigest()[:12]
        if found not in known:
            break
    return found


def _free_name(scene: Scene) -> str | None:
    """The first name of a reference that is not taken; None: all are."""
    taken = {reference.name for one in scene.instances for reference in one.references}
    names = (f"ref{number:02d}" for number in range(10_000))
    return next((name for name in names if name not in taken), None)
