"""colour: is each subject of the colour that its phrase names?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.colour_rule import COLOURS, MIN_SHARE, ColourSet, colour_share
from imig.evaluation.look import Seen
from imig.evaluation.metrics.base import Measure, Metric, MetricConfig, Values
from imig.recipe.parts import Fraction


class ColourConfig(MetricConfig):
    """COCO-MIG's colour rule on what was found (`imig.evaluation.colour_rule`)."""

    ranges: ColourSet = Field(
        default="v2", description="Of hue, saturation and value: docs/evaluation.md has both sets."
    )
    min_share: Fraction = Field(
        default=MIN_SHARE, description="Of a subject's pixels that must be of the colour."
    )


class ColourMetric(Metric[ColourConfig]):
    """Share of a subject's pixels that are of the colour that was asked for.

    Of instances that name exactly one of the rule's seven colours; the others have no value.
    """

    name = "colour"
    looks = True
    measures = (
        Measure(
            name="colour_right", title="colour", unit="instance", percent=True,
            meaning="Share of instances that are found and of the colour that they name.",
        ),
        Measure(
            name="colour_right_found", title="colour, found", unit="instance", percent=True,
            meaning="The same, of those alone that were found.",
        ),
        Measure(
            name="colour_share", title="colour share", unit="instance", percent=True,
            meaning="Share of the pixels of an instance that was found that are of its colour.",
        ),
    )  # fmt: skip

    def lacks(self, case: Case) -> str | None:
        if any(named_colour(one) for one in case.instances):
            return None
        return f"no instance that names one of {', '.join(COLOURS)}"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        return [self._measure(one) for one in seen]

    def _measure(self, seen: Seen) -> Values:
        pixels = np.asarray(seen.image)
        values: dict[str, list[float | None]] = {
            one.name: [None] * len(seen.case.instances) for one in self.measures
        }
        for number, (instance, found) in enumerate(
            zip(seen.case.instances, seen.found, strict=True)
        ):
            colour = named_colour(instance)
            if colour is None:
                continue
            values["colour_right"][number] = 0.0
            if found is not None:
                share = colour_share(pixels, found.mask, colour, ranges=self.config.ranges)
                right = float(share >= self.config.min_share)
                values["colour_share"][number] = share
                values["colour_right"][number] = values["colour_right_found"][number] = right
        return values


def named_colour(instance: CaseInstance) -> str | None:
    """The colour that an instance asks for: its attribute, or the one colour in its phrase.

    None where it is none of `COLOURS`, or where the phrase has several ("red and white ball").
    """
    if "colour" in instance.attributes:
        colour = instance.attributes["colour"].lower()
        return colour if colour in COLOURS else None
    words = set(instance.phrase.lower().replace("-", " ").split())
    named = [one for one in COLOURS if one in words]
    return named[0] if len(named) == 1 else None
