"""What of the model a recipe decides."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from imig.recipe.parts import RecipePart

LONGEST_TEXT: Final = 512
"""Text tokens of the T5 encoder at most, and what FLUX's own pipeline pads every caption to."""


def _number_if_digits(value: Any) -> Any:
    """A command line may bring ``512`` as a text."""
    return LONGEST_TEXT if value == str(LONGEST_TEXT) else value


TextLength = Annotated[Literal["caption", 512], BeforeValidator(_number_if_digits)]
"""Text tokens of a sample: as many as the caption has, or always 512, padding included."""


def text_tokens(length: TextLength, *, caption: int) -> int:
    """How many text tokens a caption of so many has in the sequence."""
    return min(caption, LONGEST_TEXT) if length == "caption" else length


class AttentionConfig(RecipePart):
    """Which block sees what (REFERENCE 3.2), and the two exact reductions (REFERENCE 3.6a)."""

    variant: Literal["released", "paper"] = Field(
        default="released", description="Of ICA; `released` is what published weights need."
    )
    ica: Literal["middle", "first", "last", "all", "none"] = Field(
        default="middle", description="Third of the blocks with ICA; the others have CLA."
    )
    layout: bool = Field(
        default=True,
        description="False: the layout image stays out of the sequence (the ablation `no CLA`).",
    )
    drop_background: bool = Field(
        default=True, description="Background tokens of references stay out of the sequence."
    )
    drop_references: bool = Field(
        default=True, description="References leave the sequence after the last ICA block."
    )
    text_length: TextLength = Field(
        default="caption",
        description="Text tokens: as many as the caption has, or 512: padded as FLUX's own "
        "pipeline and the released trainer pad, every padding token attended to. Published "
        "weights need 512.",
    )
    position_offsets: bool = Field(
        default=True,
        description="False: every reference has the layout image's own position indices (the "
        "ablation of paper table 5).",
    )
    bfloat16_positions: bool = Field(
        default=False,
        description="Round position indices as the released trainer did; published weights saw "
        "them so (indices above 256 collide).",
    )
