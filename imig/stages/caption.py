"""caption: a caption where the source has none, and the noun phrases to look for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from imig.models.describing import INSTRUCTION
from imig.models.protocols import Captioner, Description, PhraseCaptioner
from imig.recipe.parts import (
    EndpointConfig,
    ModelConfig,
    StageConfig,
    require_endpoint_or_model,
)
from imig.sample import Sample
from imig.stages.base import Stage, Uses, loaded
from imig.stages.nouns import caption_to_phrases, head_noun, phrase_to_noun
from imig.text import first_of_alike, text_to_plain, to_stored

UNFOUND_PHRASE = "phrase that its caption does not have"
"""An oddity: the model named it to the last; it is not looked for, the scene's others are."""
UNNAMED = "caption whose model names no object in it"
"""An oddity: its nouns are found as those of a caption from elsewhere."""


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


class CaptionConfig(StageConfig):
    """A caption, and the noun phrases to look for, where the source has none."""

    model: Annotated[ModelConfig | None, Uses(Captioner)] = ModelConfig(family="blip")
    # Left out of recipes that do not say them, which keep the checksums that they have.
    endpoint: Annotated[EndpointConfig | None, Uses(Captioner)] = Field(
        default=None,
        exclude_if=_is_none,
        description="A vision-language model behind a server, in place of `model`.",
    )
    overwrite: bool = Field(default=False, description="Caption even what has a caption.")
    overwrite_nouns: bool = Field(
        default=False,
        exclude_if=_is_false,
        description="Find nouns even where the source gave some.",
    )
    instruction: str | None = Field(
        default=None,
        min_length=1,
        exclude_if=_is_none,
        description="What a vision-language model is asked to write, in place of imig's own words; "
        "the form of the answer is added.",
    )
    max_nouns: int = Field(default=12, gt=0, description="Phrases looked for in one picture.")
    ignored_nouns: tuple[str, ...] = Field(
        default=(), description="Nouns of a caption that are never looked for, e.g. `table`."
    )

    @model_validator(mode="before")
    @classmethod
    def _endpoint_takes_the_place(cls, values: Any) -> Any:
        """The default model is none beside an endpoint."""
        if isinstance(values, dict) and values.get("endpoint") is not None:
            return {"model": None, **values}
        return values

    @model_validator(mode="after")
    def _one_of_two(self) -> CaptionConfig:
        require_endpoint_or_model(self.endpoint, self.model)
        return self


class CaptionStage(Stage[CaptionConfig]):
    """Captions what has no caption; nouns that the source gave stay.

    A model that says which objects its caption names (`PhraseCaptioner`) gives the nouns with it;
    those of any other caption are read off it.

    Turns down: "no usable caption", "no nouns in caption".
    """

    name = "caption"
    reads = frozenset({"target"})
    writes = frozenset({"caption", "nouns"})

    captioner: Captioner = loaded("endpoint", "model")

    def prepare(self) -> None:
        self._ignored = frozenset(text_to_plain(one).lower() for one in self.config.ignored_nouns)

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.config.overwrite_nouns:
            for sample in samples:
                sample.scene.nouns = []
        self._caption([one for one in samples if self.config.overwrite or not one.scene.caption])
        for sample in samples:
            scene = sample.scene
            if sample.reject is None and not scene.nouns:
                phrases = caption_to_phrases(text_to_plain(scene.caption), ignored=self._ignored)
                scene.nouns = phrases[: self.config.max_nouns]
            if sample.reject is None and not scene.nouns:
                sample.turn_down(
                    stage=self.name,
                    reason="no nouns in caption",
                    figures={"caption": scene.caption},
                )
        return samples

    def _caption(self, samples: list[Sample]) -> None:
        if not samples:
            return
        images = [sample.target() for sample in samples]
        model = self.captioner
        if not isinstance(model, PhraseCaptioner):
            for sample, caption in zip(samples, model.caption(images), strict=True):
                self._set_caption(sample, caption)
            return
        described = model.describe(
            images,
            instruction=self.config.instruction or INSTRUCTION,
            max_phrases=self.config.max_nouns,
        )
        for sample, description in zip(samples, described, strict=True):
            if not description.caption:
                sample.turn_down(
                    stage=self.name,
                    reason="no usable caption",
                    figures={"problem": description.problem},
                )
                continue
            self._set_caption(sample, description.caption)
            if not sample.scene.nouns:
                self._set_nouns(sample, description)

    def _set_caption(self, sample: Sample, caption: str) -> None:
        sample.scene.caption = to_stored(caption)
        sample.scene.caption_model = self.captioner.name

    def _set_nouns(self, sample: Sample, description: Description) -> None:
        """Those that the model named; none where its caption has none of them."""
        for phrase in description.unfound:
            sample.note_oddity(UNFOUND_PHRASE, repr(phrase))
        if not description.phrases:
            sample.note_oddity(UNNAMED, repr(description.caption))
        nouns = first_of_alike(phrase_to_noun(one) for one in description.phrases)
        kept = [one for one in nouns if head_noun(one) not in self._ignored]
        sample.scene.nouns = kept[: self.config.max_nouns]
