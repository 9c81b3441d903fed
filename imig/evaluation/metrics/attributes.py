"""attributes: is each subject in its box, and of the colour, texture and shape asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image
from pydantic import Field

from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.look import Seen
from imig.evaluation.metrics.answering import AnsweringConfig, fill_prompt
from imig.evaluation.metrics.base import Measure, Metric, Values
from imig.models.protocols import PictureAnswerer
from imig.stages.base import loaded

KINDS: Final = ("colour", "texture", "shape")
MIN_SIDE: Final = 28
"""Pixels to which narrower crops are stretched: vision-language models take no smaller pictures
(Qwen2-VL's smallest is a patch of 28)."""
_COMPARED: Final = (
    'The picture should show "{thing}". Judge its {kind} alone: is it the one that this '
    'description gives? "{phrase}" If the description gives no {kind}, answer Yes. '
    "Answer with Yes or No and nothing else."
)


class AttributesConfig(AnsweringConfig):
    """A vision-language model is shown each box's content and asked about it."""

    spatial_prompt: str = Field(
        default='Is "{thing}" to be seen in this picture? Answer with Yes or No and nothing else.',
        pattern=r"\{(thing|phrase)\}",
        description="Asked first; a no ends it. {thing}: the short description, {phrase}: all of "
        "it. Wordings move the figures; docs/evaluation.md says how these differ from the released "
        "ones.",
    )
    attribute_prompt: str = Field(
        default=_COMPARED,
        pattern=r"\{kind\}",
        description="Then asked for each {kind}: colour, texture, shape.",
    )
    colour_word: str = Field(
        default="colour", description="{kind} of the first: the released question says `color`."
    )


class AttributesMetric(Metric[AttributesConfig]):
    """Spatial, colour, texture and shape by a vision-language model (LayoutSAM-Eval)."""

    name = "attributes"
    measures = (
        Measure(
            name="attribute_spatial", title="Spatial", unit="instance", percent=True,
            meaning="Share of boxes in which the model sees what they are for.",
        ),
        *(
            Measure(
                name=f"attribute_{kind}", title=kind.capitalize(), unit="instance", percent=True,
                meaning=f"Share of boxes in which it does, and finds the {kind} as described.",
            )
            for kind in KINDS
        ),
    )  # fmt: skip

    answerer: PictureAnswerer = loaded("endpoint", "model")

    def lacks(self, case: Case) -> str | None:
        return None if any(one.box for one in case.instances) else "no boxes"

    def __call__(self, seen: Sequence[Seen]) -> list[Values]:
        values: list[dict[str, list[float | None]]] = [
            {measure.name: [None] * len(one.case.instances) for measure in self.measures}
            for one in seen
        ]
        boxes = [
            (number, place, instance, cut_out_box(one.image, instance))
            for number, one in enumerate(seen)
            for place, instance in enumerate(one.case.instances)
            if instance.box is not None
        ]
        there = self._ask(
            [crop for *_, crop in boxes],
            [_prompt(self.config.spatial_prompt, instance) for _, _, instance, _ in boxes],
        )
        asked = []
        for (number, place, instance, crop), is_there in zip(boxes, there, strict=True):
            for measure in self.measures:
                values[number][measure.name][place] = 0.0
            values[number]["attribute_spatial"][place] = float(is_there)
            if is_there:
                asked += [(number, place, instance, crop, kind) for kind in KINDS]
        agree = self._ask(
            [crop for *_, crop, _ in asked],
            [
                _prompt(
                    self.config.attribute_prompt,
                    instance,
                    kind=self.config.colour_word if kind == "colour" else kind,
                )
                for _, _, instance, _, kind in asked
            ],
        )
        for (number, place, _, _, kind), agrees in zip(asked, agree, strict=True):
            values[number][f"attribute_{kind}"][place] = float(agrees)
        return list(values)

    def _ask(self, crops: Sequence[Image.Image], prompts: Sequence[str]) -> list[bool]:
        return [one.yes for one in self.answerer.answer(crops, prompts, verbatim=True)]


def cut_out_box(image: Image.Image, instance: CaseInstance) -> Image.Image:
    """What is inside an instance's box: corners truncated to pixels, as released."""
    assert instance.box is not None
    # before truncation: 255.9999 is a 256 that was scaled
    x1, y1, x2, y2 = (int(round(one, 6)) for one in instance.box)
    x1, y1 = min(x1, image.width - 1), min(y1, image.height - 1)
    crop = image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
    size = max(crop.width, MIN_SIDE), max(crop.height, MIN_SIDE)
    return crop if size == crop.size else crop.resize(size, Image.Resampling.BICUBIC)


def _prompt(template: str, instance: CaseInstance, **values: str) -> str:
    """Slashes are taken out of descriptions, as released."""
    thing, phrase = (one.replace("/", "") for one in (instance.thing, instance.phrase))
    return fill_prompt(template, thing=thing, phrase=phrase, **values)
