"""What of the model a recipe decides."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AttentionConfig(BaseModel):
    """Which block sees what (REFERENCE 3.2), and the two exact reductions (REFERENCE 3.6a)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    bfloat16_positions: bool = Field(
        default=False,
        description="Round position indices as the released trainer did; published weights saw "
        "them so (indices above 256 collide).",
    )
