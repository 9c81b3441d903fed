"""identity: is each subject the one of its reference?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.evaluation.case import Case, Mask
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.models.protocols import ImageEmbedder
from imig.recipe.parts import ModelConfig
from imig.schema import Box
from imig.stages.base import Uses, loaded
from imig.stages.pixels import CUT_MARGIN, crop_mask, grow_box


class IdentityConfig(MetricConfig):
    """DINO between what was drawn and what was given."""

    model: Annotated[ModelConfig, Uses(ImageEmbedder)] = ModelConfig(family="dinov2")


class IdentityMetric(Metric[IdentityConfig]):
    """DINO features under the masks, of the subject found and of its first reference."""

    name = "identity"
    looks = True
    measures = (
        Measure(
            name="identity", title="identity", unit="instance", percent=True,
            meaning="DINO cosine of a subject with its reference; 0: it was not found.",
        ),
        Measure(
            name="identity_found", title="identity, found", unit="instance", percent=True,
            meaning="The same, of those alone that were found.",
        ),
        Measure(
            name="identity_other", title="to others", unit="instance", better="lower",
            percent=True,
            meaning="Mean DINO cosine of a subject that was found with the picture's other "
            "references.",
        ),
        Measure(
            name="own_nearest", title="own is nearest", unit="instance", percent=True,
            meaning="Share of subjects found to which no other reference of the picture is nearer "
            "than their own; where there are others.",
        ),
    )  # fmt: skip

    embedder: ImageEmbedder = loaded("model")

    def lacks(self, case: Case) -> str | None:
        return None if any(one.references for one in case.instances) else "no references"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        return [self._measure(one) for one in seen]

    def _measure(self, seen: Seen) -> Values:
        given = [i for i, one in enumerate(seen.case.instances) if one.references]
        drawn = [i for i in given if seen.found[i] is not None]
        wanted = self._embed([seen.case.instances[i].references[0].read() for i in given])
        shown = self._embed([cut_out_found(seen, i) for i in drawn])
        cosines = shown @ wanted.T if drawn else np.zeros((0, len(given)))
        values: dict[str, list[float | None]] = {
            one.name: [None] * len(seen.case.instances) for one in self.measures
        }
        for i in given:
            values["identity"][i] = 0.0
        for row, i in enumerate(drawn):
            own = given.index(i)
            others = np.delete(cosines[row], own)
            values["identity"][i] = values["identity_found"][i] = float(cosines[row, own])
            if len(others):
                values["identity_other"][i] = float(others.mean())
                values["own_nearest"][i] = float(cosines[row, own] >= others.max())
        return values

    def _embed(self, pictures: Sequence[tuple[Image, Mask | None]]) -> NDArray[np.float32]:
        if not pictures:
            return np.zeros((0, 1), np.float32)
        return self.embedder.embed([one for one, _ in pictures], [mask for _, mask in pictures])


def cut_out_found(seen: Seen, instance: int) -> tuple[Image, Mask]:
    """A subject that was found, with a margin, and its mask: as the stage `score` sees one.

    A mask without a pixel inside counts as the whole box.
    """
    found = seen.found[instance]
    assert found is not None
    x1, y1, x2, y2 = found.box
    own: Box = (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))
    box = grow_box(own, margin=CUT_MARGIN, width=seen.image.width, height=seen.image.height)
    mask = crop_mask(found.mask, box)
    return seen.image.crop(box), mask if mask.any() else np.ones_like(mask)
