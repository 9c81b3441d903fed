"""What a recipe says of prompts: where they are, or who writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imig.recipe.parts import EndpointConfig, RecipePart, StageConfig


class GrammarWriter(RecipePart):
    """Prompts by rules over the tabletop world: offline, the same from the same seed."""

    kind: Literal["grammar"]


class LanguageModelWriter(RecipePart):
    """Prompts by a language model, asked with templates combined at random."""

    kind: Literal["language-model"]
    endpoint: EndpointConfig
    prompts_per_request: int = Field(default=4, gt=0, le=50)
    realistic: float = Field(
        default=0.875,
        ge=0,
        le=1,
        description="Share of realistic prompts (paper: 85 to 90 %).",
    )
    scenes: tuple[str, ...] = Field(
        default=(), description="Settings to choose from; empty: the built-in list."
    )
    styles: tuple[str, ...] = Field(
        default=(), description="Styles beside realistic; empty: the paper's five."
    )
    interactions: tuple[str, ...] = Field(default=(), description="Empty: the built-in list.")
    max_similarity: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Of the word triples of two prompts (Jaccard); above, the later one is a near "
        "duplicate and left out.",
    )
    max_invalid: int = Field(
        default=50,
        gt=0,
        description="Answers in a row that cannot be used, after which writing stops.",
    )


class PromptsSource(StageConfig):
    """Prompts, from a file or written for this build; the stage `draw` makes pictures of them."""

    kind: Literal["prompts"]
    path: str | None = Field(
        default=None,
        min_length=1,
        description="JSON lines as `imig prompts` writes them; null: write them.",
    )
    count: int | None = Field(
        default=None, gt=0, description="So many prompts; null: all that the file has."
    )
    instances: tuple[int, int] = Field(
        default=(2, 5), description="Fewest and most subjects of a prompt that is written."
    )
    writer: Annotated[GrammarWriter | LanguageModelWriter, Field(discriminator="kind")] = (
        GrammarWriter(kind="grammar")
    )

    @model_validator(mode="after")
    def _some(self) -> PromptsSource:
        if self.path is None and self.count is None:
            raise ValueError("give the path of a file of prompts, or the count to write")
        if not 1 <= self.instances[0] <= self.instances[1]:
            raise ValueError("instances: the fewest come first")
        if self.path is None and self.writer.kind == "grammar" and self.instances[1] > 8:
            raise ValueError("instances: the grammar's world draws at most 8 things")
        return self
