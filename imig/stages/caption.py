"""caption: a caption where the source has none, and the noun phrases to look for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from imig.models.protocols import Captioner
from imig.recipe.parts import ModelConfig, StageConfig
from imig.sample import Sample
from imig.stages.base import Stage, Uses, loaded
from imig.stages.nouns import caption_to_phrases
from imig.text import text_to_plain, to_stored


class CaptionConfig(StageConfig):
    """A caption, and the noun phrases to look for, where the source has none."""

    model: Annotated[ModelConfig, Uses(Captioner)] = ModelConfig(family="blip")
    overwrite: bool = Field(default=False, description="Caption even what has a caption.")
    max_nouns: int = Field(default=12, gt=0, description="Phrases looked for in one picture.")
    ignored_nouns: tuple[str, ...] = Field(
        default=(), description="Nouns of a caption that are never looked for, e.g. `table`."
    )


class CaptionStage(Stage[CaptionConfig]):
    """Captions what has no caption; nouns that the source gave stay.

    Turns down: "no nouns in caption".
    """

    name = "caption"
    reads = frozenset({"target"})
    writes = frozenset({"caption", "nouns"})

    captioner: Captioner = loaded("model")

    def prepare(self) -> None:
        self._ignored = frozenset(text_to_plain(one).lower() for one in self.config.ignored_nouns)

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        self._write_captions(
            [one for one in samples if self.config.overwrite or not one.scene.caption]
        )
        for sample in samples:
            scene = sample.scene
            if not scene.nouns:
                phrases = caption_to_phrases(text_to_plain(scene.caption), ignored=self._ignored)
                scene.nouns = phrases[: self.config.max_nouns]
            if not scene.nouns:
                sample.turn_down(
                    stage=self.name,
                    reason="no nouns in caption",
                    figures={"caption": scene.caption},
                )
        return samples

    def _write_captions(self, samples: list[Sample]) -> None:
        if not samples:
            return
        captions = self.captioner.caption([sample.target() for sample in samples])
        for sample, caption in zip(samples, captions, strict=True):
            sample.scene.caption = to_stored(caption)
            sample.scene.caption_model = self.captioner.name
