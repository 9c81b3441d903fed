"""score: figures for the filter, stored with every scene before a threshold looks at them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from imig.layout.masks import Mask
from imig.models.protocols import ImageEmbedder, ImageTextScorer
from imig.recipe.parts import ModelConfig, StageConfig
from imig.sample import Sample
from imig.schema import Box, Instance, Reference, Scene
from imig.stages.base import Stage, Uses, loaded
from imig.stages.pixels import crop_mask, cut_out, grey_out, instance_mask, sharpness
from imig.stages.target_features import target_features
from imig.stages.views import read_reference

Features = NDArray[np.float32]

DRAWN_KINDS = ("edit", "source")
"""Kinds of references that are no cut of the target."""

DECIMALS = 4
"""Of stored cosines: finer digits differ between processors."""


class ScoreConfig(StageConfig):
    """Figures for the filter: CLIP between phrases and crops, and between caption and target."""

    text_model: Annotated[ModelConfig | None, Uses(ImageTextScorer)] = ModelConfig(
        family="open-clip"
    )
    image_model: Annotated[ModelConfig | None, Uses(ImageEmbedder)] = ModelConfig(family="dinov2")
    phrase_template: str = Field(
        default="{phrase}",
        pattern=r"\{phrase\}",
        description="How a phrase is put to the text encoder.",
    )
    background: Literal["grey", "keep"] = Field(
        default="grey",
        description="What the text model sees of a crop outside the instance's mask: mid grey, or "
        "the picture.",
    )


class ScoreStage(Stage[ScoreConfig]):
    """CLIP between phrases and crops, and captions and targets; DINO between identities.

    Either model may be null in the recipe; its figures then stay null.
    """

    name = "score"
    reads = frozenset({"target", "boxes", "masks", "references"})
    writes = frozenset({"scores"})

    text_model: ImageTextScorer | None = loaded("text_model", optional=True)
    image_model: ImageEmbedder | None = loaded("image_model", optional=True)

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        targets = [sample.target() for sample in samples]
        masks = [_masks(sample) for sample in samples]
        for sample, target, own_masks in zip(samples, targets, masks, strict=True):
            sample.scene.scores.sharpness = sharpness(target)
            sample.scene.scores.coverage = _coverage(own_masks)
        if self.text_model is not None:
            self._score_captions(self.text_model, samples, targets)
            self._score_phrases(self.text_model, samples, targets, masks)
            self._score_views(self.text_model, samples, targets, masks)
        if self.image_model is not None:
            _score_identities(self.image_model, samples, targets, masks)
        return samples

    def _score_captions(
        self, model: ImageTextScorer, samples: list[Sample], targets: list[Image.Image]
    ) -> None:
        captioned = [i for i, sample in enumerate(samples) if sample.scene.caption]
        if not captioned:
            return
        features = target_features(samples, targets, model=model, key=self.config.text_model)
        texts = model.embed_texts([samples[i].scene.caption for i in captioned])
        for i, cosine in zip(captioned, _rowwise_cosine(features[captioned], texts), strict=True):
            samples[i].scene.scores.caption_similarity = cosine

    def _score_phrases(
        self,
        model: ImageTextScorer,
        samples: list[Sample],
        targets: list[Image.Image],
        masks: list[list[Mask]],
    ) -> None:
        crops = [
            self._crop(target, instance, mask)
            for sample, target, own_masks in zip(samples, targets, masks, strict=True)
            for instance, mask in zip(sample.scene.instances, own_masks, strict=True)
        ]
        if not crops:
            return
        wordings = {phrase: None for sample in samples for phrase in _phrases(sample)}
        texts = [self.config.phrase_template.replace("{phrase}", phrase) for phrase in wordings]
        column = {phrase: i for i, phrase in enumerate(wordings)}
        cosines = model.embed_images(crops) @ model.embed_texts(texts).T
        row = 0
        for sample in samples:
            for instance in sample.scene.instances:
                own = cosines[row, column[instance.phrase]]
                others = [
                    cosines[row, column[phrase]]
                    for phrase in _phrases(sample)
                    if phrase != instance.phrase
                ]
                instance.scores.phrase_similarity = _stored(own)
                instance.scores.phrase_margin = _stored(own - max(others)) if others else None
                row += 1

    def _score_views(
        self,
        model: ImageTextScorer,
        samples: list[Sample],
        targets: list[Image.Image],
        masks: list[list[Mask]],
    ) -> None:
        """CLIP between each view that is no cut of the target and its instance."""
        views: list[Reference] = []
        pictures: list[Image.Image] = []
        for sample, target, own_masks in zip(samples, targets, masks, strict=True):
            for instance, mask in zip(sample.scene.instances, own_masks, strict=True):
                for view in (one for one in instance.references if one.kind in DRAWN_KINDS):
                    image, subject = read_reference(sample, view)
                    views.append(view)
                    pictures.append(self._see(image, subject, view.subject_box))
                    pictures.append(self._crop(target, instance, mask))
        if not views:
            return
        features = model.embed_images(pictures)
        for view, cosine in zip(views, _rowwise_cosine(features[::2], features[1::2]), strict=True):
            view.similarity.clip = cosine

    def _crop(self, target: Image.Image, instance: Instance, mask: Mask) -> Image.Image:
        return self._see(target, mask, instance.box)

    def _see(self, image: Image.Image, mask: Mask | None, box: Box) -> Image.Image:
        """What the text model sees of a subject: its box, the background as the recipe says."""
        crop = image.crop(box)
        if self.config.background == "keep" or mask is None:
            return crop
        return grey_out(crop, crop_mask(mask, box))


def _score_identities(
    model: ImageEmbedder,
    samples: list[Sample],
    targets: list[Image.Image],
    masks: list[list[Mask]],
) -> None:
    """DINO between the first references of a scene, and of each reference with its instance.

    A crop is compared with the target's patches under the instance's mask. A view that was drawn
    for itself is compared with the instance cut out of the target, which the model then sees as
    large as the view.
    """
    images: list[Image.Image] = []
    image_masks: list[Mask | None] = []

    def show(image: Image.Image, mask: Mask | None) -> int:
        images.append(image)
        image_masks.append(mask)
        return len(images) - 1

    first_rows: list[list[int]] = []
    pairs: list[tuple[Reference, int, int]] = []
    for sample, target, own_masks in zip(samples, targets, masks, strict=True):
        rows = []
        for instance, mask in zip(sample.scene.instances, own_masks, strict=True):
            shown = [
                (view, show(*read_reference(sample, view)))
                for view in instance.references
                if view.kind != "face"
            ]
            if not shown:
                continue
            rows.append(shown[0][1])
            in_target: dict[bool, int] = {}
            for view, row in shown:
                drawn = view.kind in DRAWN_KINDS
                if drawn not in in_target:
                    in_target[drawn] = show(
                        *(cut_out(target, instance, mask) if drawn else (target, mask))
                    )
                pairs.append((view, row, in_target[drawn]))
        first_rows.append(rows)
    if not images:
        return
    features = model.embed(images, image_masks)
    for view, row, column in pairs:
        view.similarity.dino = _stored(features[row] @ features[column])
    for sample, rows in zip(samples, first_rows, strict=True):
        if len(rows) != len(sample.scene.instances):
            continue  # without a reference of every instance there is no square table
        for instance, row in zip(sample.scene.instances, rows, strict=True):
            instance.scores.identity_similarity = [
                _stored(value) for value in features[rows] @ features[row]
            ]


def _phrases(sample: Sample) -> list[str]:
    """All phrases of a scene, those included that were looked for and not found; each once."""
    found = [instance.phrase for instance in sample.scene.instances]
    return list(dict.fromkeys([*found, *sample.scene.nouns]))


def _masks(sample: Sample) -> list[Mask]:
    """One per instance; the whole box where an instance has none."""
    return _masks_of(sample.scene)


def _masks_of(scene: Scene) -> list[Mask]:
    return [instance_mask(one, width=scene.width, height=scene.height) for one in scene.instances]


def scene_coverage(scene: Scene) -> float:
    """`scores.coverage` of the instances that a scene has now."""
    return _coverage(_masks_of(scene))


def _coverage(masks: list[Mask]) -> float:
    """Share of the picture under any mask."""
    return round(float(np.logical_or.reduce(masks).mean()), DECIMALS) if masks else 0.0


def _rowwise_cosine(a: Features, b: Features) -> list[float]:
    """Cosines of the rows of two L2-normalised matrices, rounded for storage."""
    return [_stored(value) for value in (a * b).sum(axis=1)]


def _stored(value: np.floating | float) -> float:
    """A cosine, or a difference of two, as it is stored."""
    return round(float(value), DECIMALS)
