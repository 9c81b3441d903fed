"""edit (complex): every instance repainted by an editing model: in other light, from another side.

The view's box and mask are not known yet: `reground` finds them.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from imig.layout.reference_size import TOKEN
from imig.models.protocols import Editor, EditRequest, Origin
from imig.recipe.parts import ModelConfig, RecipePart, StageConfig
from imig.sample import Sample, derive_seed, image_to_jpeg
from imig.schema import Edit, Instance, Reference, Scene
from imig.stages.base import Stage, Uses, loaded
from imig.stages.generation import Sampling, generator_settings
from imig.stages.pixels import grey_out
from imig.stages.views import read_reference


class EditInstruction(RecipePart):
    """One kind of edit: wordings of which a view takes one, and how often it is taken."""

    name: str
    weight: float = Field(gt=0)
    wordings: tuple[str, ...] = Field(
        min_length=1, description="`{phrase}` stands for the subject's phrase."
    )


def _turn(degrees: int) -> tuple[str, ...]:
    return (
        f"show the {{phrase}} with the camera turned by {degrees} degrees to the left",
        f"show the {{phrase}} with the camera turned by {degrees} degrees to the right",
    )


RELEASED_INSTRUCTIONS: tuple[EditInstruction, ...] = (
    EditInstruction(
        name="light or place",
        weight=0.40,
        wordings=(
            "show the {phrase} in warm evening light",
            "show the {phrase} by lamplight at night",
            "show the {phrase} in soft light under an overcast sky",
            "show the {phrase} in bright daylight, standing on grass",
            "show the {phrase} in studio light on a plain background",
            "show the {phrase} in the early morning on a wooden table",
        ),
    ),
    EditInstruction(
        name="motion",
        weight=0.10,
        wordings=(
            "show the {phrase} in another posture, tilted",
            "show the {phrase} in motion",
        ),
    ),
    EditInstruction(name="camera 30", weight=0.15, wordings=_turn(30)),
    EditInstruction(name="camera 45", weight=0.15, wordings=_turn(45)),
    EditInstruction(name="camera 60", weight=0.10, wordings=_turn(60)),
    EditInstruction(name="camera 90", weight=0.10, wordings=_turn(90)),
)
"""Kinds and weights of the released pipeline."""


class EditConfig(StageConfig):
    """An edited view of every instance (complex)."""

    model: Annotated[ModelConfig, Uses(Editor)] = ModelConfig(family="tabletop")
    instructions: tuple[EditInstruction, ...] = Field(
        default=RELEASED_INSTRUCTIONS, min_length=1, description="Drawn by their weights."
    )
    only_subject: str = Field(
        default="Keep only the {phrase}, whole and unchanged; remove everything else and whatever "
        "hides it.",
        description="Added to every instruction; empty: nothing.",
    )
    side: int = Field(
        default=1024,
        ge=64,
        le=4096,
        multiple_of=16,
        description="The view has about side x side pixels at the crop's aspect ratio, its sides "
        "cut down to multiples of 16 (released pipeline: 1024).",
    )
    background: Literal["grey", "keep"] = Field(
        default="keep", description="What the model sees of the crop beside the subject."
    )
    sampling: Sampling = Sampling()


class EditStage(Stage[EditConfig]):
    """Adds a reference of kind `edit` to every instance that has a crop."""

    name = "edit"
    reads = frozenset({"target", "references"})
    writes = frozenset({"edited views"})

    editor: Editor = loaded("model")

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        cropped = [
            (sample, instance, crop)
            for sample in samples
            for instance in sample.scene.instances
            for crop in instance.references
            if crop.kind == "crop"
        ]
        requests = [self._request(*one) for one in cropped]
        images = self.editor.edit(requests, settings=generator_settings(self.config.sampling))
        for (sample, instance, _), request, image in zip(cropped, requests, images, strict=True):
            name = f"ref{_reference_count(sample.scene):02d}"
            reference = Reference(
                name=name,
                kind="edit",
                image=f"{name}.jpg",
                mask=None,  # until `reground` has found the subject
                width=image.width,
                height=image.height,
                subject_box=(0, 0, *image.size),
                edit=Edit(
                    instruction=request.instruction, model=self.editor.name, seed=request.seed
                ),
            )
            sample.files[reference.image] = image_to_jpeg(image)
            instance.references = [*instance.references, reference]
        return samples

    def _request(self, sample: Sample, instance: Instance, crop: Reference) -> EditRequest:
        scene = sample.scene
        seed = derive_seed(scene.seed, self.name, instance.index)
        width, height = edit_size(crop.width, crop.height, side=self.config.side)
        return EditRequest(
            image=self._picture(sample, crop),
            instruction=choose_instruction(
                self.config.instructions,
                phrase=instance.phrase,
                only_subject=self.config.only_subject,
                seed=seed,
            ),
            seed=seed,
            width=width,
            height=height,
            phrase=instance.phrase,
            origin=_origin(scene),
            box=instance.box,
        )

    def _picture(self, sample: Sample, crop: Reference) -> Image.Image:
        image, mask = read_reference(sample, crop)
        return image if self.config.background == "keep" or mask is None else grey_out(image, mask)


def edit_size(width: int, height: int, *, side: int) -> tuple[int, int]:
    """(width, height) in pixels of the view of a crop.

    About side x side in area at the crop's aspect ratio, each side cut down to a multiple of 16 and
    never below 16 (released pipeline, with side 1024).
    """
    factor = side / math.sqrt(width * height)
    # A hair more, so that a square crop of any size gives `side` and not 16 less.
    cut = [math.floor(one * factor / TOKEN + 1e-9) * TOKEN for one in (width, height)]
    return max(cut[0], TOKEN), max(cut[1], TOKEN)


def choose_instruction(
    instructions: tuple[EditInstruction, ...], *, phrase: str, only_subject: str, seed: int
) -> str:
    """The instruction of a view: a kind by its weight, one of its wordings, and the clause."""
    rng = np.random.default_rng(seed)
    weights = np.array([one.weight for one in instructions])
    kind = instructions[int(rng.choice(len(instructions), p=weights / weights.sum()))]
    wording = kind.wordings[int(rng.integers(len(kind.wordings)))]
    text = wording if not only_subject else f"{wording}. {only_subject}"
    text = text.replace("{phrase}", phrase)
    return text[:1].upper() + text[1:]


def _origin(scene: Scene) -> Origin | None:
    """How the target was drawn, where a model drew it."""
    source = scene.source
    if source.prompt is None or source.seed is None:
        return None
    return Origin(prompt=source.prompt, seed=source.seed, width=scene.width, height=scene.height)


def _reference_count(scene: Scene) -> int:
    return sum(len(instance.references) for instance in scene.instances)
