"""What a recipe may say of near copies."""

from __future__ import annotations

from pydantic import Field

from imig.recipe.parts import Cosine, RecipePart


class DuplicatesConfig(RecipePart):
    """Scenes of which an earlier one is a near copy are turned down when the build ends."""

    hash_distance: int | None = Field(
        default=4,
        ge=0,
        le=32,
        description="Differing bits of the 64 of the perceptual hash, at most; null: not looked "
        "at.",
    )
    similarity: Cosine | None = Field(
        default=None,
        description="Cosine of the stored features, at least; null: not looked at.",
    )
