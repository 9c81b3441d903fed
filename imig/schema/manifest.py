"""What a dataset says of itself: its manifest, and the scenes that it does not hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from imig.schema.parts import (
    MAX_INSTANCES,
    MAX_MERGES,
    SCHEMA_VERSION,
    Count,
    Licence,
    SampleId,
    SchemaModel,
    SchemaVersion,
    ShardName,
    Side,
    Text,
)


class Reject(SchemaModel):
    """A scene that a stage turned down."""

    # A figure that is no number may be the very reason.
    model_config = ConfigDict(allow_inf_nan=True)

    id: SampleId
    stage: str
    reason: str = Field(description="A short fixed phrase, so that reasons can be counted.")
    figures: dict[str, float | int | str] = Field(default_factory=dict)
    path: str | None = Field(
        default=None,
        description="Where its picture comes from, as `source.path` of a scene has it: relative to "
        "the source's folder, as it is listed, or shard/key; null where that is not known.",
    )


class Quarantine(SchemaModel):
    """A scene whose processing failed."""

    id: SampleId
    stage: str
    error: str = Field(
        description="Class and message of the exception; `WorkerDied`, `WorkerHung`: how the "
        "worker process ended each time that it was alone with the scene."
    )
    traceback: str = Field(description="Of a worker that has died, its last words.")
    path: str | None = Field(default=None, description="As a reject's.")
    fault: Literal["data", "system"] = Field(
        default="data",
        description="`data`: the scene, or what a stage makes of it, is at fault. `system`: a "
        "disk, the network or a server was, for longer than was waited; the scene may be fine.",
    )


class ShardRecord(SchemaModel):
    """One shard in the manifest."""

    name: ShardName
    samples: Count
    bytes: Count
    sha256: str


class ModelRecord(SchemaModel):
    """One model that took part in a build."""

    family: str
    weights: str
    revision: str = Field(description="Hub commit, or sha256 of the weight file (first 12 digits).")


class Counts(SchemaModel):
    """Of the scenes that entered: written + rejected + quarantined = input."""

    input: Count
    written: Count
    rejected: Count
    quarantined: Count


HowOften = Literal["never", "sometimes", "always"]


class EncodingRecord(SchemaModel):
    """What `K.encoded.safetensors` depends on, beside the sample that it is of."""

    weights: str = Field(description="As the recipe had them; they may lie elsewhere by now.")
    revision: str = Field(
        description="sha256 of autoencoder, text encoders and tokenizers (first 12 digits)."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        description="Of these networks, and of what is stored but targets and layouts (float32)."
    )
    target_width: Side
    reference_side: Side
    max_references: int = Field(gt=0, le=MAX_INSTANCES)
    instruction: str
    text_length: Literal["caption", 512] = Field(
        default="caption",
        description="Tokens of a text: as many as it has, or 512, padded before T5 read it.",
    )
    edits: HowOften = Field(
        description="Edits in place of crops; `sometimes` has samples of both kinds."
    )
    faces: HowOften = Field(description="Aligned faces, where there are any; like `edits`.")


class SkippedStage(SchemaModel):
    """A stage of the recipe that did nothing, and why."""

    stage: str
    reason: str


class BatchShare(SchemaModel):
    """Scenes that went through a stage at the same batch size."""

    batch_size: int = Field(gt=0)
    scenes: Count


class StageBatchSizes(SchemaModel):
    """How many scenes a stage's model saw at once, where the recipe does not tell.

    On a GPU the last bits of a figure may depend on it.
    """

    stage: str
    asked: Annotated[int, Field(gt=0)] | Literal["auto"] = Field(
        description="`resources.batch_size` of the recipe."
    )
    used: list[BatchShare] = Field(description="The largest first.")


class ParentDataset(SchemaModel):
    """A dataset that this one was made from."""

    name: str
    manifest_sha256: str = Field(description="Of its dataset.json.")


class Derivation(SchemaModel):
    """How a dataset was made from others that were finished before."""

    operation: Literal["refilter", "split", "merge", "encode", "correct", "remove"]
    settings: dict[str, Any] = Field(default_factory=dict)
    parents: list[ParentDataset] = Field(default_factory=list)


class SourceTerms(SchemaModel):
    """The scenes of one kind of source that are under one licence."""

    kind: Literal["tabletop", "file", "shard", "prompt"] = Field(description="`source.kind`.")
    licence: Licence | None = Field(description="As it was stated; null: nobody has said.")
    terms: Licence | None = Field(
        description="The licence that imig took it for, as imig.licences.table names it; null: "
        "none that it knows."
    )
    scenes: Count


class ModelTerms(SchemaModel):
    """A model that took part, and its licence."""

    family: str
    weights: str
    licence: Licence | None = Field(description="As imig's table has it; null: it does not know.")
    terms: Licence | None = Field(description="As a source's.")
    makes: bool = Field(
        description="Whether something of the dataset itself is its work: pictures or latents. "
        "Others measure, name or outline what is in a picture."
    )
    scenes: Count = Field(description="Whose records name it; a model that only measures has 0.")


class Licences(SchemaModel):
    """The ledger: under which terms a dataset's scenes are, summed over its shards."""

    sources: list[SourceTerms]
    models: list[ModelTerms]
    declared: Licence | None = Field(
        default=None, description="What the dataset's owner gives it under; null: not said."
    )
    license: str = Field(description="What follows for the card: the hub's identifier.")
    license_name: str | None = Field(default=None, description="Where the identifier is `other`.")
    license_link: str | None = Field(default=None, description="Where the identifier is `other`.")


class Manifest(SchemaModel):
    """`dataset.json`: the dataset's table of contents."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    name: Text
    recipe: dict[str, Any]
    recipe_sha256: str
    models: list[ModelRecord]
    packages: dict[str, str]
    counts: Counts
    shards: list[ShardRecord]
    index_sha256: str | None = Field(
        default=None,
        description="Of index.parquet; null in datasets built before it was recorded.",
    )
    encoding: EncodingRecord | None = Field(
        default=None, description="How `imig encode` encoded the samples; null: it did not."
    )
    skipped: list[SkippedStage] = Field(default_factory=list)
    batch_sizes: list[StageBatchSizes] = Field(
        default_factory=list,
        exclude_if=lambda sizes: not sizes,
        description="Of stages whose batches were halved for want of GPU memory, or `auto`.",
    )
    licences: Licences | None = Field(
        default=None,
        exclude_if=lambda licences: licences is None,
        description="Null in datasets that were built before they were added up.",
    )
    derived: list[Derivation] = Field(
        default_factory=list, description="Operations since the build, the latest last."
    )
    encoded_from: str | None = Field(
        default=None, description="SHA-256 of dataset.json of the dataset that was encoded."
    )

    @model_validator(mode="after")
    def _blocks_are_mappings(self) -> Manifest:
        _check_blocks(self.recipe)
        return self

    @model_validator(mode="after")
    def _shards_differ(self) -> Manifest:
        seen = set()
        for record in self.shards:
            if record.name in seen:
                raise ValueError(f"the shard {record.name} is listed twice")
            seen.add(record.name)
        return self


def _check_blocks(recipe: dict[str, Any], *, depth: int = 0) -> None:
    """What imig itself reads of a stored recipe has the right type; the rest is the writer's."""
    if depth > MAX_MERGES:
        raise ValueError(f"recipes merged into each other more than {MAX_MERGES} times")
    for block in ("source", "filter", "duplicates"):
        if not isinstance(recipe.get(block), dict | None):
            raise ValueError(f"recipe.{block} is a {type(recipe[block]).__name__}, not a mapping")
    merged = recipe.get("merged") or []
    if not isinstance(merged, list) or not all(isinstance(one, dict) for one in merged):
        raise ValueError("recipe.merged is no list of recipes")
    for one in merged:
        _check_blocks(one, depth=depth + 1)
