"""match (flexible): which candidate of a composed target shows which reference.

As in the released pipeline (REFERENCE 2.1): of the candidates whose masked DINO feature is like the
reference's the best is taken; where the reference's face was recognised in the target, the
candidate that contains that face wins. Unlike there, two references never share an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import Field

from imig.layout.boxes import containment, iou
from imig.layout.masks import Mask, rle_to_mask
from imig.models.protocols import ImageEmbedder
from imig.recipe.parts import Cosine, Fraction, ModelConfig, StageConfig
from imig.sample import DrawnView, Sample
from imig.schema import Box, Instance, Reference, Scene
from imig.stages.base import Stage, Uses, loaded
from imig.stages.ground import identity_id
from imig.stages.instances import keep_instances, reference_members
from imig.stages.pixels import cut_out
from imig.stages.views import read_reference

Cosines = NDArray[np.float32]


class MatchConfig(StageConfig):
    """Which candidate box of a composed target shows which reference (flexible)."""

    image_model: Annotated[ModelConfig, Uses(ImageEmbedder)] = ModelConfig(family="dinov2")
    min_dino: Cosine = Field(
        default=0.5,
        description="Cosine of masked DINO features below which a candidate is none (released "
        "pipeline: 0.5).",
    )
    min_face: Cosine = Field(
        default=0.4,
        description="Cosine of recognition features above which a face is the reference's "
        "(released pipeline: 0.4); the candidate that contains it then wins.",
    )
    min_margin: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="A candidate must be more like its reference than any other reference of the "
        "scene is, by this.",
    )
    max_box_iou: Fraction = Field(
        default=0.75,
        description="Two instances whose boxes overlap more are one (released pipeline: 0.75); the "
        "better match stays.",
    )
    max_face_iou: Fraction = Field(
        default=0.5, description="The same for the boxes of their faces (released pipeline: 0.5)."
    )
    min_instances: int = Field(default=2, ge=1, description="Released pipeline: 2.")


class MatchStage(Stage[MatchConfig]):
    """Gives each drawn view its instance; candidates that show no reference are removed.

    Turns down: "too few matches", with the best cosine of the scene.
    """

    name = "match"
    reads = frozenset({"target", "boxes", "masks", "views"})
    writes = frozenset({"references"})

    image_model: ImageEmbedder = loaded("image_model")

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample, cosines in zip(samples, self._cosines(samples), strict=True):
            matches = choose_matches(
                cosines,
                boxes=[one.box for one in sample.scene.instances],
                faces=[view.target_face for view in sample.drawn],
                config=self.config,
            )
            _attach(sample, matches)
            if len(matches) < self.config.min_instances:
                best = round(float(cosines.max()), 4) if cosines.size else 0.0
                sample.turn_down(
                    stage=self.name,
                    reason="too few matches",
                    figures={
                        "matches": len(matches),
                        "references": cosines.shape[0],
                        "candidates": cosines.shape[1],
                        "best_dino": best,
                        "min_instances": self.config.min_instances,
                    },
                )
        return samples

    def _cosines(self, samples: list[Sample]) -> list[Cosines]:
        """Per sample (views, candidates)."""
        images: list[Image] = []
        masks: list[Mask | None] = []
        for sample in samples:
            for view in sample.drawn:
                image, subject = read_reference(sample, view.reference)
                images.append(image)
                masks.append(subject)
            target = sample.target()
            for instance in sample.scene.instances:
                assert instance.mask is not None, "`segment` leaves no instance without a mask"
                picture, mask = cut_out(target, instance, rle_to_mask(instance.mask))
                images.append(picture)
                masks.append(mask)
        features = self.image_model.embed(images, masks)
        cosines = []
        start = 0
        for sample in samples:
            middle = start + len(sample.drawn)
            stop = middle + len(sample.scene.instances)
            cosines.append(features[start:middle] @ features[middle:stop].T)
            start = stop
        return cosines


@dataclass(frozen=True)
class Match:
    """A reference and the candidate that shows it."""

    view: int
    candidate: int
    score: float
    """DINO cosine."""


def choose_matches(
    cosines: Cosines, *, boxes: list[Box], faces: list[Box | None], config: MatchConfig
) -> list[Match]:
    """The matches of a scene, in the order of the views.

    Parameters
    ----------
    cosines:
        (views, candidates): masked DINO features.
    boxes:
        Of the candidates, in pixels of the target.
    faces:
        For each view the face in the target that was recognised as its own, or None.
    """
    found = [
        match
        for view in range(cosines.shape[0])
        if (match := _best_candidate(view, cosines, boxes, faces[view], config)) is not None
    ]
    kept: list[Match] = []
    for match in sorted(found, key=lambda one: (-one.score, one.view)):
        rivals = [other for other in kept if _same(match, other, boxes, faces, config)]
        if not rivals:
            kept.append(match)
    return sorted(kept, key=lambda one: one.view)


def _best_candidate(
    view: int, cosines: Cosines, boxes: list[Box], face: Box | None, config: MatchConfig
) -> Match | None:
    if not boxes:
        return None
    row = cosines[view]
    allowed = row >= config.min_dino
    if config.min_margin is not None and cosines.shape[0] > 1:
        others = np.delete(cosines, view, axis=0).max(axis=0)
        allowed &= row - others >= config.min_margin
    if face is not None:
        # The tightest of the boxes that hold the whole face, whatever DINO says of it.
        holds = containment([face], boxes)[0] >= 0.99
        if holds.any():
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]
            candidate = min(np.flatnonzero(holds).tolist(), key=lambda i: areas[i])
            return Match(view, candidate, float(row[candidate]))
    if not allowed.any():
        return None
    candidate = int(np.argmax(np.where(allowed, row, -np.inf)))
    return Match(view, candidate, float(row[candidate]))


def _same(
    a: Match, b: Match, boxes: list[Box], faces: list[Box | None], config: MatchConfig
) -> bool:
    """Whether two references were matched to one and the same thing."""
    if a.candidate == b.candidate:
        return True
    if _overlap(boxes[a.candidate], boxes[b.candidate]) > config.max_box_iou:
        return True
    face_a, face_b = faces[a.view], faces[b.view]
    return (
        face_a is not None and face_b is not None and _overlap(face_a, face_b) > config.max_face_iou
    )


def _overlap(a: Box, b: Box) -> float:
    return float(iou([a], [b])[0, 0])


def _attach(sample: Sample, matches: list[Match]) -> None:
    """Hand the matched views over to their instances; forget the other views and candidates."""
    scene = sample.scene
    for match in matches:
        view = sample.drawn[match.view]
        _adopt(scene, scene.instances[match.candidate], view, score=match.score)
    matched = {match.view for match in matches}
    for number, view in enumerate(sample.drawn):
        if number not in matched:
            for reference in view_references(view):
                for member in reference_members(reference):
                    del sample.files[member]
    sample.drawn = []
    keep_instances(sample, [match.candidate for match in matches])


def _adopt(scene: Scene, instance: Instance, view: DrawnView, *, score: float) -> None:
    """Make the subject of a view the instance's own."""
    subject = scene.subjects[view.subject]
    instance.subject = view.subject
    instance.phrase, instance.noun = subject.phrase, subject.noun
    instance.identity_id = identity_id(scene, view.subject)
    instance.face_box = view.target_face
    view.reference.similarity.dino = round(score, 4)
    instance.references = view_references(view)


def view_references(view: DrawnView) -> list[Reference]:
    """The view itself, and its aligned face where there is one."""
    return [one for one in (view.reference, view.face_reference) if one is not None]
