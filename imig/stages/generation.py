"""What the stages that draw share."""

from __future__ import annotations

from pydantic import Field

from imig.models.protocols import GeneratorSettings
from imig.recipe.parts import RecipePart


class Sampling(RecipePart):
    """How a generator samples; null: what its pipeline does by default."""

    steps: int | None = Field(default=None, gt=0, description="Denoising steps.")
    guidance: float | None = Field(default=None, ge=0, description="Guidance scale.")


def generator_settings(sampling: Sampling) -> GeneratorSettings:
    """A recipe's `sampling` for a generator."""
    return GeneratorSettings(steps=sampling.steps, guidance=sampling.guidance)
