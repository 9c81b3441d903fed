"""Where the targets of a build come from: the recipe's block `source`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from imig.recipe.parts import EndpointConfig, RecipePart, StageConfig


class TabletopSource(StageConfig):
    """Scenes of the built-in procedural world; only their pixels enter the build."""

    kind: Literal["tabletop"]
    count: int = Field(default=200, gt=0)
    width: int = Field(default=256, ge=64, le=4096)
    height: int = Field(default=256, ge=64, le=4096)
    instances: tuple[int, int] = Field(default=(2, 6), description="Fewest and most things.")
    combinations: Literal["all", "trained", "novel"] = "all"


class _PixelLimits(StageConfig):
    """How pictures from outside become targets."""

    min_side: int = Field(default=128, gt=0, description="Smaller pictures are turned down.")
    max_side: int = Field(
        default=1024,
        gt=0,
        le=8192,
        description="Larger ones are scaled down to this; its square is the most that a scene's "
        "picture may have (imig.schema.MAX_PIXELS).",
    )
    max_pixels: int = Field(
        default=100_000_000, gt=0, description="Pictures above are turned down unread."
    )


class FolderSource(_PixelLimits):
    """Every image below a folder, in sorted order. `<name>.txt` beside an image is its caption."""

    kind: Literal["folder"]
    path: str = Field(min_length=1)
    recursive: bool = True


class ListSource(_PixelLimits):
    """A file that lists images: one path a line, or JSON lines `{"path", "caption"?, "nouns"?}`."""

    kind: Literal["list"]
    path: str = Field(min_length=1)


class WebdatasetMembers(RecipePart):
    """Which members of a sample are what; null: found by their names, see docs/archives.md."""

    image: str | None = Field(
        default=None,
        description="A glob, such as `*.image.jpg` or `images/*.jpg`: what the star stands for is "
        "then the sample's key.",
    )
    caption: str | None = Field(
        default=None, description="A glob, or `json:KEY` of the JSON member (nested: `json:a.b`)."
    )
    nouns: str | None = Field(
        default=None,
        description="As `caption`; a list, or a text that separates them by commas or lines.",
    )

    @model_validator(mode="after")
    def _sayable(self) -> WebdatasetMembers:
        for name, text in self:
            if text is None:
                continue
            if not text.strip() or text.strip() in ("json:", "/"):
                raise ValueError(f"{name}: {text!r} names nothing; a glob, or json:KEY")
            if name == "image" and text.startswith("json:"):
                raise ValueError("image: pictures are members, not values of the JSON; give a glob")
        return self


class WebdatasetSource(_PixelLimits):
    """Shards in webdataset form; a picture a sample, and a caption where there is one."""

    kind: Literal["webdataset"]
    path: str = Field(
        min_length=1, description="A folder, a tar file, or a brace pattern (`x-{000..012}.tar`)."
    )
    key: Literal["auto", "first-dot", "last-dot"] = Field(
        default="auto",
        description="Which dot of a member's name ends the sample's key. webdataset: the first; "
        "auto: the last where the first would lay several samples together.",
    )
    members: WebdatasetMembers = WebdatasetMembers()

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A recipe that says nothing about them keeps the checksum that it had before they existed.
        values: dict[str, Any] = serialize(self)
        for name in ("key", "members"):
            if getattr(self, name) == type(self).model_fields[name].default:
                del values[name]
        return values


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


SourceConfig = Annotated[
    TabletopSource | FolderSource | ListSource | WebdatasetSource | PromptsSource,
    Field(discriminator="kind"),
]
