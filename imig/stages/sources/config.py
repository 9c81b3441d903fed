"""Where the targets of a build come from: the recipe's block `source`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from imig.prompts.config import PromptsSource
from imig.recipe.parts import RecipePart, StageConfig, StatedLicence
from imig.schema import MAX_INSTANCES


class TabletopSource(StageConfig):
    """Scenes of the built-in procedural world; only their pixels enter the build."""

    kind: Literal["tabletop"]
    count: int = Field(default=200, gt=0)
    width: int = Field(default=256, ge=64, le=4096)
    height: int = Field(default=256, ge=64, le=4096)
    instances: tuple[int, int] = Field(default=(2, 6), description="Fewest and most things.")
    combinations: Literal["all", "trained", "novel"] = "all"


DEFAULT_MAX_PIXELS: Final = 100_000_000


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
        default=DEFAULT_MAX_PIXELS, gt=0, description="Pictures above are turned down unread."
    )
    licence: StatedLicence = None


class FolderSource(_PixelLimits):
    """Every image below a folder, in sorted order. `<name>.txt` beside an image is its caption."""

    kind: Literal["folder"]
    path: str = Field(min_length=1)
    recursive: bool = True


class ListSource(_PixelLimits):
    """A file that lists images: one path a line, or JSON lines.

    `{"path": "..", "caption": "..", "nouns": [".."], "licence": ".."}`, of which all but the path
    may be left out.
    """

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


class _AnnotatedSource(_PixelLimits):
    """How annotations become instances; the stages `ground` and `segment` have then nothing to do.

    Phrases are the categories' names, made distinct where there are several of a category.
    """

    masks: bool = Field(
        default=True, description="false: take boxes alone; the stage `segment` finds the masks."
    )
    min_instances: int = Field(
        default=1, ge=0, description="Fewer usable annotations: the scene is rejected."
    )
    max_instances: int = Field(
        default=8,
        gt=0,
        le=MAX_INSTANCES,
        description="Of more annotations the largest are taken (released pipeline: 8 boxes).",
    )


class CocoSource(_AnnotatedSource):
    """Pictures with annotations in the format of COCO or LVIS; crowd regions are left out."""

    kind: Literal["coco"]
    path: str = Field(min_length=1, description="The folder that holds the pictures.")
    annotations: str = Field(
        min_length=1, description="The JSON file of the objects: `instances_train2017.json`."
    )
    captions: str | None = Field(
        default=None, description="The JSON file of the captions: `captions_train2017.json`."
    )
    caption: Literal["first", "longest"] = Field(
        default="first", description="Which of a picture's captions is taken."
    )
    orientation: Literal["auto", "stored", "upright"] = Field(
        default="auto",
        description="What coordinates mean where EXIF turns a picture: the picture as it lies in "
        "its file or as it is seen. auto: what `width` and `height` of the JSON tell; where they "
        "tell nothing, as it lies in its file, which is how COCO's own tools read it.",
    )


class YoloSource(_AnnotatedSource):
    """Pictures with labels as Ultralytics' YOLO has them: boxes or outlines, and `data.yaml`."""

    kind: Literal["yolo"]
    path: str = Field(min_length=1, description="`data.yaml`, or the folder that it lies in.")
    split: str = Field(default="train", min_length=1, description="A key of `data.yaml`.")


SourceConfig = Annotated[
    TabletopSource
    | FolderSource
    | ListSource
    | WebdatasetSource
    | PromptsSource
    | CocoSource
    | YoloSource,
    Field(discriminator="kind"),
]
