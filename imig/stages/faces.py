"""faces: whose face is where in the target, how alike it is to the references', and it aligned.

Optional: without a model on this machine the stage is skipped, which the plan and the manifest say
(`required: true` makes that an error). Figures of faces that are not there stay null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from PIL import Image
from pydantic import Field

from imig.errors import UsageError
from imig.layout.aligned_face import align_face
from imig.layout.masks import Mask
from imig.models.protocols import DetectedFace, FaceAnalyser
from imig.recipe.parts import Cosine, Fraction, ModelConfig, StageConfig
from imig.sample import Sample
from imig.schema import Face, Reference
from imig.stages.base import Stage, Uses, loaded
from imig.stages.face_matching import face_cosine, face_of_subject, faces_of_instances, recognise
from imig.stages.pixels import instance_mask
from imig.stages.views import read_reference


class FacesConfig(StageConfig):
    """Faces: found, recognised, aligned. Without a model on this machine the stage is skipped."""

    model: Annotated[ModelConfig, Uses(FaceAnalyser)] = ModelConfig(
        family="insightface", weights="buffalo_l"
    )
    accept_licence: bool = Field(
        default=False,
        description="insightface's published model packs are for non-commercial research only: "
        "true says that you have read and accept that.",
    )
    required: bool = Field(
        default=False, description="Without a model: stop, instead of skipping the stage."
    )
    min_face: Cosine = Field(
        default=0.4,
        description="Recognition cosine above which two faces are one person's (released "
        "pipeline: 0.4).",
    )
    min_side: int = Field(default=24, gt=0, description="Pixels; smaller faces are left out.")
    min_quality: Fraction = Field(
        default=0.25, description="Detection score below which it is no face (dlib's: 1 - exp(-s))."
    )
    aligned_side: int = Field(
        default=512, gt=0, multiple_of=16, description="Released pipeline: 512."
    )


class FacesStage(Stage[FacesConfig]):
    """Faces of instances and references, their cosines, and references of kind `face`.

    basic, complex: each instance owns the largest face under its mask; every reference's face is
    compared with it. flexible, before `match`: references' faces are looked for among the target's.
    Where a reference's face is the target's, an aligned copy is added: of the edited view, if that
    is so for it, else of the crop. Never turns a scene down.
    """

    name = "faces"

    analyser: FaceAnalyser = loaded("model")

    def prepare(self) -> None:
        self._skipped: str | None = None
        self._looked = False
        flexible = self.context.subset == "flexible"
        self.reads = frozenset({"target", "masks", "views" if flexible else "references"})

    def skipped(self) -> str | None:
        """Why there will be no faces. Decided once: a worker does what the plan has said.

        Raises
        ------
        UsageError
            The model is there, and its licence has not been accepted.
        """
        if not self._looked and not self.loaded:
            self._skipped = _missing(self.config)
            self._looked = True
        return self._skipped

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.skipped() is not None:
            return samples
        flexible = self.context.subset == "flexible"
        references = [_drawn(sample) if flexible else _stored(sample) for sample in samples]
        pictures = [
            [read_reference(sample, one) for one in own]
            for sample, own in zip(samples, references, strict=True)
        ]
        found = self._find(
            [
                [sample.target(), *(image for image, _ in some)]
                for sample, some in zip(samples, pictures, strict=True)
            ]
        )
        for sample, own, some, (in_target, *in_references) in zip(
            samples, references, pictures, found, strict=True
        ):
            seen = [
                _Seen(reference, image, mask, face_of_subject(faces, mask))
                for reference, (image, mask), faces in zip(own, some, in_references, strict=True)
            ]
            for one in seen:
                _store_face(one)
            if flexible:
                self._recognise(sample, seen, in_target)
            else:
                self._assign(sample, seen, in_target)
        return samples

    def _find(self, pictures: list[list[Image.Image]]) -> list[list[list[DetectedFace]]]:
        """The usable faces of each picture, largest first."""
        found = self.analyser.find_faces([one for some in pictures for one in some])
        usable = iter([[face for face in faces if self._usable(face)] for faces in found])
        return [[next(usable) for _ in some] for some in pictures]

    def _usable(self, face: DetectedFace) -> bool:
        x1, y1, x2, y2 = face.box
        return (
            min(x2 - x1, y2 - y1) >= self.config.min_side and face.score >= self.config.min_quality
        )

    def _assign(self, sample: Sample, seen: list[_Seen], in_target: list[DetectedFace]) -> None:
        """basic, complex: instances are known, and with them which face belongs to whom."""
        instances = sample.scene.instances
        width, height = sample.scene.width, sample.scene.height
        masks = [instance_mask(one, width=width, height=height) for one in instances]
        owned = faces_of_instances(in_target, masks)
        views = iter(seen)
        number = 0
        for instance, face in zip(instances, owned, strict=True):
            own = [next(views) for _ in instance.references]
            instance.face_box = None if face is None else face.box
            same = [one for one in own if face is not None and self._compare(one, face)]
            # `edit` before `crop`: it shows the face as the target does not.
            for one in sorted(same, key=lambda view: view.reference.kind != "edit"):
                aligned = self._align(sample, one, name=f"face{number:02d}")
                if aligned is not None:
                    instance.references = [*instance.references, aligned]
                    number += 1
                    break

    def _recognise(self, sample: Sample, seen: list[_Seen], in_target: list[DetectedFace]) -> None:
        """flexible: who is who in the target follows from the faces alone."""
        faces = recognise([one.face for one in seen], in_target, min_cosine=self.config.min_face)
        for view, one, face in zip(sample.drawn, seen, faces, strict=True):
            if face is not None and self._compare(one, face):
                view.target_face = face.box
                name = f"face{view.subject:02d}"
                view.face_reference = self._align(sample, one, name=name)

    def _compare(self, seen: _Seen, face: DetectedFace) -> bool:
        """Store the cosine of a reference's face and the target's; whether it is one person."""
        if seen.face is None:
            return False
        cosine = face_cosine(seen.face, face)
        assert seen.reference.face is not None, "stored before"
        seen.reference.face.score = cosine
        seen.reference.similarity.face = cosine
        return cosine > self.config.min_face

    def _align(self, sample: Sample, seen: _Seen, *, name: str) -> Reference | None:
        """The aligned copy of a reference's face; its picture goes into the sample's files."""
        assert seen.face is not None
        assert seen.reference.face is not None
        side = self.config.aligned_side
        aligned = align_face(
            seen.image, seen.mask, landmarks=seen.face.landmarks, box=seen.face.box, side=side
        )
        if aligned is None:
            return None
        reference = Reference(
            name=name,
            kind="face",
            image=f"{name}.png",
            mask=None,
            width=side,
            height=side,
            subject_box=aligned.subject_box,
            # The reference and the aligned image are one and the same here.
            face=seen.reference.face.model_copy(
                update={"box": aligned.face_box, "aligned_box": aligned.face_box}
            ),
        )
        reference.similarity.face = seen.reference.similarity.face
        sample.files[reference.image] = aligned.png()
        return reference


@dataclass(frozen=True)
class _Seen:
    """A reference, and its subject's face."""

    reference: Reference
    image: Image.Image
    mask: Mask | None
    face: DetectedFace | None


def _missing(config: FacesConfig) -> str | None:
    """Why the stage cannot run here; None where it can, or where the plan is to raise."""
    from imig.models.weights import find_family, resolve_weights

    try:
        family = find_family(config.model.family)
    except UsageError:
        return None
    if "find faces" not in family.tasks:
        return None
    try:
        resolve_weights(config.model)
    except UsageError as error:
        return None if config.required else f"{error.message} ({error.cure})"
    _check_licence(config.model, family.terms, accepted=config.accept_licence)
    return None


def _check_licence(model: ModelConfig, terms: str, *, accepted: bool) -> None:
    if terms and not accepted:
        raise UsageError(
            f"{model.family}: {terms}; the recipe does not say that you accept that",
            cure="read the pack's licence, then set `faces.accept_licence: true`; or take "
            "`model: {family: dlib}`, whose weights are free (pip install 'imig[faces]')",
        )


def _store_face(seen: _Seen) -> None:
    face = seen.face
    seen.reference.face = None if face is None else Face(box=face.box, quality=face.score)


def _drawn(sample: Sample) -> list[Reference]:
    return [view.reference for view in sample.drawn]


def _stored(sample: Sample) -> list[Reference]:
    return [one for instance in sample.scene.instances for one in instance.references]
