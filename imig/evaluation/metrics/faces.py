"""faces: are people who they were asked to be?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imig.errors import UsageError
from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.models.protocols import DetectedFace, FaceAnalyser
from imig.models.weights import find_family
from imig.recipe.parts import ModelConfig
from imig.stages.base import Uses, loaded


class FacesConfig(MetricConfig):
    """A detector and recogniser of faces."""

    model: Annotated[ModelConfig | None, Uses(FaceAnalyser)] = Field(
        default=None, description="Family `insightface` or `dlib`."
    )
    accept_licence: bool = Field(
        default=False,
        description="insightface's published model packs are for non-commercial research only: "
        "true says that you have read and accept that.",
    )


class FacesMetric(Metric[FacesConfig]):
    """Of each person the cosine with the most similar face of the picture (LAMICBench++: IDS)."""

    name = "faces"
    measures = (
        Measure(
            name="face_identity", title="IDS", unit="instance", percent=True,
            meaning="Recognition cosine of the face in a person's reference and the most similar "
            "face of the picture; 0: one of both has no face.",
        ),
        Measure(
            name="reference_has_face", title="reference has a face", unit="instance", percent=True,
            better="neither",
            meaning="Share of people in whose reference a face is found: below 100 the model, not "
            "the picture, costs identity.",
        ),
    )  # fmt: skip

    analyser: FaceAnalyser = loaded("model")

    @cached_property
    def _wanted(self) -> dict[tuple[str, int], NDArray[np.float32] | None]:
        """By case and instance, the face in its reference: pictures of other seeds ask again."""
        return {}

    def unset(self) -> str | None:
        reason = super().unset()
        if reason is None and self.config.model is not None and not self.loaded:
            terms = find_family(self.config.model.family).terms
            if terms and not self.config.accept_licence:
                raise UsageError(
                    f"{self.config.model.family}: {terms}; the recipe does not say that you accept "
                    "that",
                    cure="read the pack's licence, then --set faces.accept_licence=true; or "
                    "measure no faces: --set faces.model=null",
                )
        return reason

    def lacks(self, case: Case) -> str | None:
        return None if any(map(_is_given_person, case.instances)) else "no references of people"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        shown = self.analyser.find_faces([one.image for one in seen])
        return [self._measure(one, faces) for one, faces in zip(seen, shown, strict=True)]

    def _measure(self, seen: Seen, shown: Sequence[DetectedFace]) -> Values:
        values: dict[str, list[float | None]] = {
            one.name: [None] * len(seen.case.instances) for one in self.measures
        }
        for place, instance in enumerate(seen.case.instances):
            if not _is_given_person(instance):
                continue
            wanted = self._of_reference(seen.case.id, place, instance)
            likeness = [] if wanted is None else [float(one.embedding @ wanted) for one in shown]
            values["face_identity"][place] = max(likeness, default=0.0)
            values["reference_has_face"][place] = float(wanted is not None)
        return values

    def _of_reference(
        self, case: str, place: int, instance: CaseInstance
    ) -> NDArray[np.float32] | None:
        """The face that was found most surely, as insightface has them in order."""
        if (case, place) not in self._wanted:
            image, _ = instance.references[0].read()
            (faces,) = self.analyser.find_faces([image])
            best = max(faces, key=lambda one: one.score, default=None)
            self._wanted[case, place] = None if best is None else best.embedding
        return self._wanted[case, place]


def _is_given_person(instance: CaseInstance) -> bool:
    return instance.kind == "person" and bool(instance.references)
