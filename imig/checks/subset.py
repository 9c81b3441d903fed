"""What a sample's subset promises of its views, and each view of what it says about itself."""

from __future__ import annotations

from collections import Counter

from imig.checks.pictures import Findings
from imig.schema import MIN_FLEXIBLE_INSTANCES, Instance, Reference, ReferenceKind, Scene


def check_subset(findings: Findings, scene: Scene) -> None:
    """Collect what contradicts the subset's rules.

    * basic: an instance that has references has one that was cut from the target, or one that was
      there before it (`source`).
    * complex: every instance has an edited view, and the crop that it was made from.
    * flexible: every instance has the view that was drawn before the target; no two instances have
      the same subject; there are two or more.

    Of a target that was given, a face alone may be all that was found of a subject, as in the
    published IMIG-100K.
    """
    given = scene.source.kind == "file"
    before = {"source", "face"} if given else {"source"}
    for instance in scene.instances:
        kinds = {one.kind for one in instance.references}
        for reference in instance.references:
            _check_kind(findings, instance, reference, given=given)
        if scene.subset == "complex":
            _require(findings, instance, "edit", "crop")
        elif kinds & before:
            pass
        elif scene.subset == "flexible":
            _require(findings, instance, "source")
        elif kinds:
            # A recipe may leave out the stage `crop`: then there are no references at all.
            _require(findings, instance, "crop")
    if scene.subset == "flexible":
        _check_flexible(findings, scene)


def _check_kind(
    findings: Findings, instance: Instance, reference: Reference, *, given: bool
) -> None:
    """A view must say what its kind is about; nothing else can tell how it came about.

    Beside somebody's own file as the target, all views may be their own as well, of which nobody
    says how they were cut out, edited or drawn: so it is in the published IMIG-100K.
    """
    lacking = {
        "crop": "crop_box" if reference.crop_box is None and not given else "",
        "edit": "edit" if reference.edit is None and not given else "",
        "source": "drawing" if reference.drawing is None and not given else "",
        "face": "face" if reference.face is None else "",
    }[reference.kind]
    if lacking:
        findings.add(
            "view-record",
            f"{reference.name} of instance {instance.index} is of kind {reference.kind} and has no "
            f"`{lacking}`",
        )


def _require(findings: Findings, instance: Instance, *kinds: ReferenceKind) -> None:
    present = Counter(one.kind for one in instance.references)
    for kind in kinds:
        if not present[kind]:
            findings.add(
                "missing-view",
                f"instance {instance.index} ({instance.phrase}) has no view `{kind}`",
            )


def _check_flexible(findings: Findings, scene: Scene) -> None:
    if len(scene.instances) < MIN_FLEXIBLE_INSTANCES:
        findings.add(
            "too-few-instances",
            f"{len(scene.instances)} in a scene of the subset flexible, which has "
            f"{MIN_FLEXIBLE_INSTANCES} or more",
        )
    subjects = Counter(one.subject for one in scene.instances)
    for subject, times in subjects.items():
        if subject is None:
            findings.add("subject", f"{times} instance(s) without a subject")
        elif times > 1:
            findings.add("subject", f"subject {subject} is claimed by {times} instances")
