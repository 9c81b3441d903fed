"""caption: a caption where the source has none, and the noun phrases to look for."""

from __future__ import annotations

from imig.models.protocols import Captioner
from imig.recipe import CaptionConfig
from imig.sample import Sample
from imig.schema import ModelRecord
from imig.stages.base import BuildContext, Stage
from imig.stages.loading import load_as, record_of
from imig.stages.nouns import caption_to_phrases
from imig.text import text_to_plain, to_stored


class CaptionStage(Stage):
    """Captions what has no caption; nouns that the source gave stay.

    Turns down: "no nouns in caption".

    Parameters
    ----------
    captioner:
        Used instead of the recipe's model, which is then never loaded.
    """

    name = "caption"
    reads = frozenset({"target"})
    writes = frozenset({"caption", "nouns"})

    def __init__(
        self, config: CaptionConfig, context: BuildContext, *, captioner: Captioner | None = None
    ) -> None:
        super().__init__(context)
        self.config = config
        self._captioner = captioner
        self._ignored = frozenset(text_to_plain(one).lower() for one in config.ignored_nouns)

    def setup(self) -> None:
        if self._captioner is not None:
            return
        self._captioner = load_as(
            Captioner, self.config.model, self.config, key="caption.model", task="captioner"
        )

    def models(self) -> list[ModelRecord]:
        return [record_of(self.config.model)]

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
        assert self._captioner is not None, "setup() comes first"
        captions = self._captioner.caption([sample.target() for sample in samples])
        for sample, caption in zip(samples, captions, strict=True):
            sample.scene.caption = to_stored(caption)
            sample.scene.caption_model = self._captioner.name
