"""What the model is given of a case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import ValidationError

from imig.contextgen.layout_file import MAX_REFERENCES, LayoutFile
from imig.contextgen.layout_pictures import OpenLayout
from imig.errors import DataError, UsageError
from imig.evaluation.against.coco_mig_references import ReferencePack
from imig.evaluation.case import Against, Case, CaseInstance, CaseReference
from imig.layout.composition import LayoutReference
from imig.schema import first_problem

SHOWN = 3
"""Cases that a message names."""


@runtime_checkable
class HasLayouts(Protocol):
    """Cases that say themselves what the model is given: a dataset's and layout files'."""

    def open_layout(self, case: str) -> OpenLayout:
        """The layout of a case, by its id. Raises DataError or UsageError when there is none."""
        ...


def case_to_layout(case: Case, *, pack: ReferencePack | None = None) -> OpenLayout:
    """A benchmark's case as a layout: every instance's reference in its box.

    References are placed as `instance-fit`, which is what `imig generate` does where a layout file
    says nothing; stacked by their boxes; one without a mask is subject all over.

    Parameters
    ----------
    pack:
        For instances that have no reference of their own.

    Raises
    ------
    DataError
        An instance has no box or no reference, its reference cannot be read, or nothing can be
        drawn of the case at all.
    """
    reason = why_not_drawn(case, pack=pack)
    if reason is not None:
        raise DataError(f"case {case.id}: {reason}")
    try:
        layout = LayoutFile.model_validate(
            {
                "caption": case.caption,
                "width": case.size[0],
                "height": case.size[1],
                "references": [
                    {"name": one.phrase, "image": "in memory", "box": one.box}
                    for one in case.instances
                ],
                "seed": case.seed,
            }
        )
    except ValidationError as error:
        raise DataError(f"case {case.id}: {first_problem(error)}") from error
    return OpenLayout(
        id=case.id,
        layout=layout,
        references=tuple(_read(_reference(one, pack)) for one in case.instances),
    )


def why_not_drawn(case: Case, *, pack: ReferencePack | None) -> str | None:
    """What a case lacks for being drawn ("no boxes"), or None. No picture is looked at."""
    if not case.instances:
        return "no instances"
    if len(case.instances) > MAX_REFERENCES:
        return f"{len(case.instances)} instances; {MAX_REFERENCES} can be placed"
    if any(one.box is None for one in case.instances):
        return "no boxes" if all(one.box is None for one in case.instances) else "too few boxes"
    if any(not _has_reference(one, pack) for one in case.instances):
        return "no references" if pack is None else "too few references"
    return None


def require_drawable(
    cases: Iterable[Case], against: Against, *, pack: ReferencePack | None
) -> None:
    """Before anything is loaded. Raises DataError that says what cases lack, and where it is."""
    if isinstance(against, HasLayouts):
        if pack is not None:
            raise UsageError(
                f"the cases ({against.kind}) have references of their own",
                cure="leave --references out",
            )
        return
    reasons: dict[str, list[str]] = {}
    total = 0
    for case in cases:
        total += 1
        reason = why_not_drawn(case, pack=pack)
        if reason is not None:
            reasons.setdefault(reason, []).append(case.id)
    for reason, ids in reasons.items():
        shown = ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
        raise DataError(
            f"{len(ids)} of {total} cases ({against.kind}) have {reason}, so the model cannot "
            f"draw them: {shown}",
            cure=_CURES.get(reason, "take these cases away, or draw layout files of your own"),
        )


_BOXES = (
    "give the benchmark's file that has them (LAMICBench++: lamicbench_layout.json of its layout "
    "pack), or layout files of your own; docs/evaluation.md"
)
_CURES = {
    "no boxes": _BOXES,
    "too few boxes": _BOXES,
    "no references": "give some: --references DIR (COCO-MIG: cocomig_reference_pack), or layout "
    "files of your own; docs/evaluation.md",
    "too few references": "the folder of --references has to list a picture for every phrase; "
    "docs/evaluation.md",
}


def _has_reference(instance: CaseInstance, pack: ReferencePack | None) -> bool:
    try:
        return bool(instance.references) or (pack is not None and bool(_find(instance, pack)))
    except DataError:
        return False


def _reference(instance: CaseInstance, pack: ReferencePack | None) -> CaseReference:
    if instance.references:
        return instance.references[0]
    assert pack is not None, "why_not_drawn has looked"
    return _find(instance, pack)


def _find(instance: CaseInstance, pack: ReferencePack) -> CaseReference:
    """By the phrase. Raises DataError when the pack has none."""
    assert instance.box is not None, "why_not_drawn has looked"
    x1, y1, x2, y2 = instance.box
    return pack.reference_of(instance.phrase, shape=(x2 - x1) / (y2 - y1))


def _read(reference: CaseReference) -> LayoutReference:
    image, mask = reference.read()
    if mask is None:
        mask = np.ones((image.height, image.width), dtype=np.bool_)
    return LayoutReference(image.convert("RGB"), mask)
